"""Many numbers in one cell, none twice in a record, and Colombian numbers of before 2021. The numbers are nobody's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import phonenumbers
import pytest

from syncd.fieldmap import FieldMap, FieldRule, PhoneRule, compile_map
from syncd.fieldmap.colombia import renewed
from syncd.fieldmap.phones import Undialable, compile_phone, compile_spread
from syncd.model import Rejection
from syncd.record import DIALLED

One = Callable[..., Any]
MANY = PhoneRule("CO", area="1", spread=True)
A, B, C, D = "3000000001", "3000000002", "6013000003", "3000000004"


def phones(rules: dict[str, FieldRule], *row: object, require: tuple[str, ...] = ()) -> list[str]:
    """The telephones tel1 to tel10 of one row, up to the last that is not empty."""
    whole = {"customer_id": FieldRule(value="1")} | rules
    field_map = compile_map(whole, campaign_type="predictive", require=require, zone=ZoneInfo("America/Bogota"))
    record = field_map.map(row, 0)
    assert not isinstance(record, Rejection), record
    numbers = [record[field] for field in DIALLED]
    while numbers and not numbers[-1]:
        numbers.pop()
    return numbers


@pytest.mark.parametrize(
    ("cell", "numbers"),
    [
        (A, [A]),
        (f"{A} / {C}; 300 000 0004", [A, C, D]),
        (f"{A},{B}", [A, B]),
        (f"{A} {B}", [A, B]),
        ("300-000-0001 300-000-0002", [A, B]),
        (f"{A}-{B}", [A, B]),
        (f"cel {A} y casa (1) 300 0003", [A, C]),
        ("300 000 0001 300 0003", [A, C]),
        (f"{A} o {A} o +57 {A}", [A]),
        (f"{A} / no tiene", [A]),
        (f"12 / {A}", [A]),
        (" / ".join(f"30000000{n:02}" for n in range(12)), [f"30000000{n:02}" for n in range(10)]),
        ("", []),
    ],
)
def test_the_numbers_of_a_cell_are_spread_over_the_telephones(cell: str, numbers: list[str]) -> None:
    rules = {"tel1": FieldRule(column="a", phone=MANY), "tel10": FieldRule(column="b")}
    if len(numbers) == 10:
        del rules["tel10"]
        assert phones(rules, cell) == numbers
    else:
        assert phones(rules, cell, "999") == [*numbers, *[""] * (9 - len(numbers)), "999"]


@pytest.mark.parametrize("cell", ["no tiene", "12 / 34", "x" * 500, " ".join(["12"] * 100)])
def test_a_cell_without_any_number_rejects_the_lead_or_gives_the_default(one: One, cell: str) -> None:
    rejection = one(FieldRule(column="a", phone=MANY), cell, field="tel2")
    assert isinstance(rejection, Rejection)
    assert (rejection.field, rejection.rule) == ("tel2", "phone")
    assert one(FieldRule(column="a", phone=MANY, default=""), cell, field="tel2") == ""
    assert one(FieldRule(column="a", phone=MANY, default=B), cell, field="tel2") == B


def test_only_numbers_of_the_kind_are_taken() -> None:
    rule = PhoneRule("CO", kind="mobile", prefix="9", spread=True)
    assert phones({"tel1": FieldRule(column="a", phone=rule)}, f"{C} / {A} / {B}") == [f"9{A}", f"9{B}"]


def test_numbers_go_to_telephones_without_a_rule_up_to_the_next_that_spreads() -> None:
    rules = {
        "tel1": FieldRule(column="a", phone=MANY),
        "tel2": FieldRule(column="b"),
        "tel4": FieldRule(column="c", phone=MANY),
    }
    assert phones(rules, f"{A}/{B}/{D}/3000000005", "999", C) == [A, "999", B, C]
    assert phones(rules, A, None, f"{B}/{C}") == [A, "", "", B, C]


def test_a_map_says_which_telephones_it_fills(compiled: Callable[..., FieldMap]) -> None:
    rules = {"tel2": FieldRule(column="a", phone=MANY), "tel8": FieldRule(column="b"), "tel9": FieldRule(value=A)}
    assert compiled(rules).telephones == DIALLED
    assert compiled({"tel8": FieldRule(column="b")}).telephones == ("tel1", "tel8")


def test_telephones_before_the_one_that_spreads_get_none() -> None:
    assert phones({"tel3": FieldRule(column="a", phone=MANY)}, f"{A}/{B}") == ["", "", A, B]


def test_of_equal_numbers_the_first_stays_and_others_do_not_move() -> None:
    rules = {field: FieldRule(column=field, phone=PhoneRule("CO")) for field in ("tel1", "tel2", "tel3")}
    assert phones(rules, A, f"+57 {A}", B) == [A, "", B]
    assert phones(rules, A, B, A) == [A, B]
    assert phones(rules, None, A, A) == ["", A]
    assert phones({"tel1": FieldRule(value=A), "tel2": FieldRule(column="a")}, A) == [A]
    assert phones({"tel1": FieldRule(column="a"), "tel2": FieldRule(value=A)}, A) == [A]


def test_numbers_of_one_cell_move_up_where_one_is_left_out() -> None:
    rules = {"tel1": FieldRule(column="a"), "tel2": FieldRule(column="b", phone=MANY), "tel5": FieldRule(column="c")}
    assert phones(rules, A, f"{A}/{B}/{D}", B) == [A, B, D]
    assert phones(rules, A, A, B) == [A, "", "", "", B]


def test_a_required_telephone_keeps_its_number_though_it_is_there_twice() -> None:
    rules = {"tel1": FieldRule(column="a"), "tel2": FieldRule(column="b", required=True)}
    assert phones(rules, A, A) == [A, A]
    del rules["tel2"]
    rules["tel2"] = FieldRule(column="b", phone=MANY)
    assert phones(rules, A, A, require=("tel2",)) == [A, A]


def test_a_rejected_row_does_not_disturb_the_numbers_of_its_neighbours(compiled: Callable[..., FieldMap]) -> None:
    field_map = compiled({"tel1": FieldRule(column="a", phone=MANY)})
    first, none, last = field_map.map_many([(f"{A}/{B}",), ("x",), (f"{B}/{A}",)], 0)
    assert isinstance(none, Rejection)
    assert not isinstance(first, Rejection)
    assert not isinstance(last, Rejection)
    assert [first["tel1"], first["tel2"], last["tel1"], last["tel2"]] == [A, B, B, A]


OLD = [
    ("13000003", "6013000003"),
    ("(1) 300 0003", "6013000003"),
    ("+57 1 300 0003", "6013000003"),
    ("57 1 3000003", "6013000003"),
    ("03 1 3000003", "6013000003"),
    ("05 4 300 0003", "6043000003"),
    ("0 1 3000003", "6013000003"),
    ("+57 (8) 3000003", "6083000003"),
    ("0057 601 3000003", "6013000003"),
    ("0057 300 0000001", "3000000001"),
    ("057 300 0000001", "3000000001"),
    ("03 300 0000001", "3000000001"),
    ("(057) 300-000-0001", "3000000001"),
    ("057 3000003", "6073000003"),
    ("0057 1 300 0003", "6013000003"),
    ("57 57 3000000001", "3000000001"),
    ("6013000003", "6013000003"),
    ("(601) 300 0003", "6013000003"),
    ("300 000 0001", "3000000001"),
]


@pytest.mark.parametrize(("old", "new"), OLD)
def test_a_number_of_before_2021_is_written_as_it_is_dialled_now(old: str, new: str) -> None:
    assert compile_phone(PhoneRule("CO"))(old, "CO") == new
    assert compile_phone(PhoneRule("CO", format="e164"))(old, "CO") == f"57{new}"


def test_the_library_by_itself_takes_no_old_number() -> None:
    old = [text for text, new in OLD if new.startswith("60") and "60" not in text]
    assert len(old) > 6
    assert not any(phonenumbers.is_valid_number(phonenumbers.parse(text, "CO")) for text in old)


def test_a_local_number_needs_its_area() -> None:
    assert compile_phone(PhoneRule("CO"))("300 0003", "CO") is Undialable.INVALID
    assert compile_phone(PhoneRule("CO", area="1"))("300 0003", "CO") == "6013000003"
    assert compile_phone(PhoneRule("CO", area="604"))("300 0003", "CO") == "6043000003"
    assert compile_phone(PhoneRule("US", area="202"))("555 0123", "US") == "2025550123"
    assert compile_phone(PhoneRule("US", area="202"))("555 0123", "CO") is Undialable.INVALID


@pytest.mark.parametrize(
    "text",
    ["33000003", "93000003", "11000003", "130000034", "+1 1 3000003", "7 3000000001", "3 3000000001", "53000003 4"],
)
def test_what_was_no_number_before_is_none_now(text: str) -> None:
    assert isinstance(compile_phone(PhoneRule("CO"))(text, "CO"), Undialable)


def test_every_old_number_becomes_one_of_the_present_plan() -> None:
    for area in "124567 8".replace(" ", ""):
        for first in "2345678":
            new = renewed(f"{area}{first}000003")
            assert new == f"60{area}{first}000003"
            assert phonenumbers.is_valid_number(phonenumbers.parse(new, "CO"))
    assert renewed("3000000001") is None


def test_an_extension_is_dropped_or_rejects() -> None:
    for text in ("6013000003 ext 12", "6013000003 x12", "(1) 300 0003 ext. 12"):
        assert compile_phone(PhoneRule("CO"))(text, "CO") == "6013000003"
        assert compile_phone(PhoneRule("CO", extension="reject"))(text, "CO") is Undialable.EXTENSION
    assert compile_phone(PhoneRule("CO", extension="reject"))("6013000003", "CO") == "6013000003"


def test_letters_before_a_number_do_not_hide_letters_in_it() -> None:
    assert compile_phone(PhoneRule("CO"))("ZQX777ZZZZZ", "CO") is Undialable.LETTERS
    assert compile_phone(PhoneRule("CO"))("cel 321 123 CASA", "CO") is Undialable.LETTERS
    assert compile_phone(PhoneRule("CO"))("cel: 3000000001", "CO") == "3000000001"


def test_the_cache_of_cells_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syncd.fieldmap.phones._REMEMBERED", 3)
    dial = compile_spread(MANY)
    for last in range(10):
        assert dial(f"{C} / 300000000{last}", "CO") == (C, f"300000000{last}")
