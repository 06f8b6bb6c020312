"""The made-up leads are as odd as they claim, and the CRM's reckoning knows which of them must arrive."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import phonenumbers
import pytest
from phonenumbers import carrier

from syncd.demo.crm import Crm
from syncd.demo.people import BLOCKS, FATAL, ODD, UNWANTED, People, Row


@pytest.fixture
def crm(database: str) -> Iterator[Crm]:
    crm = Crm(database)
    try:
        crm.prepare("syncd_demo_reader", "x")
        yield crm
        crm._connection.execute("DROP OWNED BY syncd_demo_reader")
    finally:
        crm._connection.execute("DROP ROLE IF EXISTS syncd_demo_reader")
        crm.close()


def flawed(flaws: object) -> list[Row]:
    """Each flaw several times, for those that choose."""
    people, chance, rows = People(), random.Random(3), []
    for flaw in list(flaws) * 12:  # type: ignore[call-overload]
        row = people.well()
        flaw(row, chance)
        rows.append(row)
    return rows


def test_odd_leads_must_arrive_and_the_others_must_not(crm: Crm) -> None:
    odd, fatal, unwanted = flawed(ODD), flawed(FATAL), flawed(UNWANTED)
    crm.fill([*odd, *fatal, *unwanted])
    must = [lead.must for lead in crm.reckon()]
    assert must == [True] * len(odd) + [False] * (len(fatal) + len(unwanted))


def test_the_first_fill_takes_the_keys_from_one_on_and_is_older_than_any_look_back(crm: Crm) -> None:
    crm.fill(People().many(120))
    assert [lead.key for lead in crm.reckon()] == [str(place) for place in range(1, 121)]
    youngest = crm._connection.execute("SELECT now() - max(updated_at) > '10 minutes' FROM leads").fetchone()
    assert youngest == (True,)


def test_telephone_numbers_are_valid_each_ones_own_and_of_no_operator() -> None:
    people = People()
    numbers = [phonenumbers.parse(people.well()["mobile"], "CO") for _ in range(2000)]
    assert all(map(phonenumbers.is_valid_number, numbers))
    assert len({number.national_number for number in numbers}) == len(numbers)
    operator: Callable[[phonenumbers.PhoneNumber, str], str] = carrier.name_for_number
    for block in BLOCKS:
        assert operator(phonenumbers.parse(block + "000000", "CO"), "en") == ""


def test_the_same_seed_gives_the_same_people() -> None:
    def names(seed: int) -> list[object]:
        return [row["full_name"] for row in People(seed).many(50)]

    assert names(7) == names(7) != names(8)


def test_addresses_are_of_nobody() -> None:
    mails = [row["email"] for row in People().many(300) if row["email"]]
    assert all(mail.lower().endswith("@example.com") for mail in mails)
