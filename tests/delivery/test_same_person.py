"""Nobody is called twice by one of their values within the hours of dedupe, and nobody is left out for nothing."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import event

from syncd.batch import Batch, Lane, prepare
from syncd.crm import RowReader
from syncd.fieldmap import FieldRule, compile_map
from syncd.ledger import Ending, Intent, Ledger
from syncd.model import Campaign, Change, RecordError
from syncd.simulator.faults import Fault
from syncd.states import CallState, LeadState
from tests.delivery.stage import NOON, ZONE, Stage
from tests.support.effort import examples
from tests.support.ledgers import assert_conserved, opened, rows

Start = Callable[..., Stage]
HOUR = 3600.0


# -- what is remembered --------------------------------------------------------------------------------------


def test_a_number_that_a_lead_has_given_up_was_called_all_the_same(start: Start) -> None:
    stage = start(dedupe_hours=24, resend=True)
    stage.resent_on_purpose = True
    (moved,) = stage.add("ana", mobile="90000000001")
    stage.turn()
    stage.change(moved, mobile="90000000002")
    stage.run(1000)
    assert stage.posts() == 2
    old, new = stage.add("beto", mobile="90000000001"), stage.add("caro", mobile="90000000002")
    stage.run(1000)
    assert stage.states() == {moved: "delivered", old[0]: "duplicate", new[0]: "duplicate"}


def test_a_delivered_lead_that_is_looked_at_again_blocks_another_in_the_same_batch(start: Start) -> None:
    stage = start(dedupe_hours=24, resend=True)
    (old,) = stage.add("ana", mobile="90000000001")
    stage.turn()
    stage.capture(old)
    (again,) = stage.add("ana-bis", mobile="90000000001")
    stage.run(1000)
    assert stage.states() == {old: "unchanged", again: "duplicate"}


# -- by what a person is recognised --------------------------------------------------------------------------


@pytest.mark.parametrize("together", [True, False])
def test_of_several_fields_one_that_is_the_same_is_enough_and_empty_ones_tell_nothing(
    start: Start, *, together: bool
) -> None:
    stage = start(dedupe_hours=24, dedupe_by=("tel1", "email"))
    keys: list[str] = []
    for name, mobile, mail in (
        ("ana", 1, "a@example.com"),
        ("by-mail", 2, "a@example.com"),
        ("by-number", 1, "b@example.com"),
        ("other", 3, ""),
        ("no-mail", 4, ""),
    ):
        keys += stage.add(name, mobile=f"9000000000{mobile}", mail=mail)
        stage.clock.now += 1
        if not together:
            stage.run(1000)
    stage.run(1000)
    states = ["delivered", "duplicate", "duplicate", "delivered", "delivered"]
    assert stage.states() == dict(zip(keys, states, strict=True))


def test_a_telephone_is_the_same_in_whichever_field_it_stands(start: Start) -> None:
    stage = start(dedupe_hours=24, dedupe_by=("tel1", "tel2"))
    (first,) = stage.add("ana", mobile="90000000001", other="90000000002")
    stage.turn()
    twins = stage.add("a", mobile="90000000002") + stage.add("b", mobile="90000000003", other="90000000001")
    others = stage.add("c", mobile="90000000004", other="90000000005")
    stage.run(1000)
    assert stage.states() == {first: "delivered", others[0]: "delivered"} | dict.fromkeys(twins, "duplicate")


def test_a_customers_id_that_reads_like_a_number_is_not_that_telephone(start: Start) -> None:
    stage = start(dedupe_hours=24, dedupe_by=("customer_id", "tel1"))
    stage.add("90000000001", mobile="90000000002")
    stage.turn()
    stage.add("ana", mobile="90000000001")
    stage.run(1000)
    assert set(stage.states().values()) == {"delivered"}


def test_who_waits_for_a_twin_keeps_nobody_else(start: Start) -> None:
    stage = start(dedupe_hours=24, dedupe_by=("tel1", "tel2"))
    keys: list[str] = []
    for name, mobile, other in (("ana", 1, None), ("both", 1, "90000000002"), ("beto", 2, None)):
        keys += stage.add(name, mobile=f"9000000000{mobile}", other=other)
        stage.clock.now += 1
    stage.turn()
    assert stage.states() == dict(zip(keys, ["delivered", "pending", "delivered"], strict=True))
    stage.run(1000)
    assert stage.states() == dict(zip(keys, ["delivered", "duplicate", "delivered"], strict=True))


# -- across syncs --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("across", [(), ("web", "fair"), ("fair",)])
def test_leads_of_other_syncs_count_where_both_say_so(start: Start, across: Sequence[str]) -> None:
    stage = start(dedupe_hours=24, syncs=("web", "fair"), campaigns=("12345", "12345"), across=across)
    (first,) = stage.add("ana", mobile="90000000001")
    stage.turn()
    (second,) = stage.add("ana-bis", mobile="90000000001", sync="fair")
    stage.run(1000)
    assert stage.states() == {first: "delivered", second: "duplicate" if len(across) == 2 else "delivered"}


def test_a_duplicate_in_another_sync_is_called_where_its_twin_was_not(start: Start) -> None:
    both = ("web", "fair")
    stage = start(dedupe_hours=24, syncs=both, campaigns=("12345", "12345"), across=both)
    stage.simulator.script(Fault("cut-before"))
    (first,) = stage.add("ana", mobile="90000000001")
    stage.turn()
    (second,) = stage.add("ana-bis", mobile="90000000001", sync="fair")
    stage.run(1000)
    assert stage.states() == {first: "held", second: "duplicate"}
    assert stage.lead(second)["twin_id"] == stage.lead(first)["id"]
    (made,) = (made for made in stage.calls() if made["state"] == "unknown")
    stage.ledger.doubts.resolve(made["id"], LeadState.PENDING, stage.clock(), "ana", "seen", resend_changed=False)
    assert stage.states() == {first: "pending", second: "pending"}
    assert stage.lead(second)["twin_id"] is None
    stage.run(1000)
    assert sorted(stage.states().values()) == ["delivered", "duplicate"]
    assert sum(stage.accepted().values()) == 1


# -- any order of arrivals, changes and outcomes -------------------------------------------------------------

WITHIN = 10 * HOUR
NEVER = float("inf")
MAP = {name: FieldRule(column=name) for name in ("customer_id", "tel1", "tel2", "tel3", "email")}
BY = ("tel1", "tel2", "email")
_runs, _calls = itertools.count(1), itertools.count(1)

TELEPHONES = ("", "3000000001", "3000000002", "3000000003")
ADDRESSES = ("", "", "a@example.com", "b@example.com")
STEPS = 40


def step(dice: random.Random) -> tuple[Any, ...]:
    """What happens next."""
    values = (dice.choice(TELEPHONES), dice.choice(TELEPHONES), dice.choice(ADDRESSES))
    place = dice.randrange(20)
    what = dice.choices(("add", "change", "touch", "send", "resolve", "wait"), (6, 4, 2, 10, 2, 2))[0]
    return {
        "add": (what, dice.randrange(2), values),
        "change": (what, place, values),
        "touch": (what, place),
        "send": (what, dice.randrange(2), dice.choice((1, 2, 4)), dice.choice(("ok", "ok", "none", "some", "lost"))),
        "resolve": (what, place, dice.choice((LeadState.DELIVERED, LeadState.PENDING))),
        "wait": (what, dice.choice((1.0, 4.0, 9.0))),
    }[what]


@dataclass
class Person:
    """A row of the CRM."""

    key: str
    sync: int
    values: tuple[str, str, str]
    version: int = 0

    @property
    def signs(self) -> set[str]:
        return set(self.values) - {""}


@dataclass
class Taken:
    """A lead that a call carried, and that wolkvox has taken, or may have."""

    at: float
    key: str
    sync: int
    signs: set[str]
    call: int
    known_at: float
    """When its outcome became known; never, until then."""


@dataclass
class Office:
    """Two syncs, a CRM of rows in memory, and calls whose outcomes the test decides; the ledger is real."""

    ledger: Ledger
    across: bool
    people: dict[str, Person] = field(default_factory=dict)
    taken: list[Taken] = field(default_factory=list)

    def __post_init__(self) -> None:
        number = next(_runs)
        self.now = NOON + number * 1e7
        self.names = (f"web-{number}", f"fair-{number}")
        self.ids = [self.ledger.register(name, self.now) for name in self.names]
        fieldmap = compile_map(MAP, campaign_type="predictive", require=[], zone=ZONE)
        self.columns = fieldmap.columns
        reader: RowReader = self  # type: ignore[assignment]  # it reads
        self.lanes = [
            Lane(
                sync=name,
                campaign=Campaign("1", "predictive", "start"),
                reader=reader,
                fieldmap=fieldmap,
                resend_changed=True,
                dedupe_by=BY,
                dedupe_secs=WITHIN,
                marker=None,
                dedupe_across=self.names if self.across else (),
            )
            for name in self.names
        ]

    def read(self, keys: Sequence[str]) -> list[tuple[Any, ...]]:
        found = []
        for key in keys:
            one = self.people[key]
            row = dict(zip(BY, one.values, strict=True)) | {"customer_id": key, "tel3": f"31000{int(key):05}"}
            found.append((key, *(row[name] for name in self.columns)))
        return found

    def capture(self, one: Person) -> None:
        one.version += 1
        change = Change(one.key, str(one.version))
        self.ledger.capture(self.ids[one.sync], [change], None, self.now, resend_changed=True)

    def do(self, what: str, *how: Any) -> None:
        self.now += 1
        known = list(self.people.values())
        if what == "add":
            self.people[str(len(known))] = one = Person(str(len(known)), *how)
            self.capture(one)
        elif what == "wait":
            self.now += how[0] * HOUR
        elif what == "send":
            self.send(*how)
        elif what == "resolve" and (open_calls := [taken.call for taken in self.taken if taken.known_at == NEVER]):
            self.resolve(open_calls[how[0] % len(open_calls)], how[1])
        elif what in ("change", "touch") and known:
            one = known[how[0] % len(known)]
            one.values = how[1] if what == "change" else one.values
            self.capture(one)

    def send(self, sync: int, limit: int, outcome: str) -> int:
        """One turn of delivery; how many leads it carried or settled."""
        claim = self.ledger.claim(self.ids[sync], limit)
        batch = prepare(self.lanes[sync], self.ledger, self.ids[sync], claim, "call", self.now)
        if not batch.lead_ids:
            settled = self.ledger.settle_unsent(self.ids[sync], claim.seq, batch.settlements, self.now)
            return sum(settled.values())
        call_id = f"call-{next(_calls)}"
        number, _ = self.ledger.intend(
            None,
            Intent(
                call_id,
                "add_record",
                "1",
                call_id,
                9,
                None,
                self.now,
                self.now + 75,
                batch.lead_ids,
                fingerprints=batch.fingerprints,
                signs=batch.signs,
                forget_before=self.now - WITHIN,
            ),
            sync_id=self.ids[sync],
            seq=claim.seq,
            settlements=batch.settlements,
        )
        self.end(number, sync, batch, {lead.id: lead.key for lead in claim.leads}, outcome)
        return len(batch.lead_ids)

    def end(self, number: int, sync: int, batch: Batch, keys: dict[int, str], outcome: str) -> None:
        refused = batch.lead_ids[:1] if outcome == "some" else ()
        errors = {lead_id: RecordError(place, "bad") for place, lead_id in enumerate(refused)}
        state, rest = {
            "ok": (CallState.ACCEPTED, LeadState.DELIVERED),
            "some": (CallState.ACCEPTED_IN_PART, LeadState.DELIVERED),
            "none": (CallState.REFUSED, LeadState.PENDING),
            "lost": (CallState.UNKNOWN, LeadState.HELD),
        }[outcome]
        known_at = NEVER if outcome == "lost" else self.now
        for lead_id in batch.lead_ids:
            one = self.people[keys[lead_id]]
            assert not self.called_lately(one), "called twice"
            if outcome != "none" and lead_id not in refused:
                self.taken.append(Taken(self.now, one.key, sync, one.signs, number, known_at))
        self.ledger.finish(number, Ending(state, self.now, 200, "verdict", "Why.", rest, errors), resend_changed=True)

    def called_lately(self, one: Person) -> list[Taken]:
        """Other leads that were called by one of this one's values, or may have been."""
        return [
            taken
            for taken in self.taken
            if taken.key != one.key
            and (self.across or taken.sync == one.sync)
            and taken.signs & one.signs
            and (taken.known_at == NEVER or self.now - taken.at <= WITHIN)
        ]

    def resolve(self, number: int, word: LeadState) -> None:
        self.ledger.doubts.decide(number, word, self.now, "somebody", resend_changed=True)
        if word is LeadState.DELIVERED:
            for taken in self.taken:
                taken.known_at = self.now if taken.call == number else taken.known_at
        else:
            self.taken = [taken for taken in self.taken if taken.call != number]

    def assert_nobody_was_left_out_for_nothing(self) -> None:
        for sync in (0, 1):
            for key, row in rows(self.ledger, self.ids[sync]).items():
                one = self.people[key]
                if row["state"] == "duplicate":
                    at = float(str(row["settled_at"]))
                    assert any(
                        taken.key != key
                        and (self.across or taken.sync == sync)
                        and taken.signs & one.signs
                        and (at <= taken.known_at or at - taken.at <= WITHIN)
                        for taken in self.taken
                    ), f"{key} is a duplicate of nobody who was called"

    def close(self) -> None:
        """Every doubt is resolved, and everybody goes who may."""
        for number in {taken.call for taken in self.taken if taken.known_at == NEVER}:
            self.resolve(number, LeadState.PENDING)
        for sync in (0, 1):
            while self.send(sync, 50, "ok"):
                self.now += 1
            assert "pending" not in {row["state"] for row in rows(self.ledger, self.ids[sync]).values()}


def test_in_any_order_nobody_is_called_twice_and_nobody_is_left_out_for_nothing(home_url: str) -> None:
    with opened(home_url) as ledger:
        if ledger.home.is_sqlite:  # no test here cuts the power
            event.listen(ledger.home.engine, "connect", lambda raw, _: raw.execute("PRAGMA synchronous=OFF"))
            ledger.home.engine.dispose()

        for seed in range(examples(20)):
            dice = random.Random(f"same person {seed}")
            office = Office(ledger, across=dice.random() < 0.5)
            try:
                for _ in range(STEPS):
                    office.do(*step(dice))
                    office.assert_nobody_was_left_out_for_nothing()
                office.close()
                office.assert_nobody_was_left_out_for_nothing()
            except AssertionError as error:
                error.add_note(f"seed {seed}")
                raise
        assert_conserved(ledger)
