"""The sources of several columns, words of yes and no, names, and points in time in other forms."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest

from syncd.fieldmap import BoolRule, DatetimeRule, FieldMap, FieldRule, NumberRule, ReplaceRule
from syncd.model import Rejection

NOW = datetime(2030, 5, 6, 12, 0, tzinfo=UTC).timestamp()
One = Callable[..., Any]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (("a", "b"), "a"),
        ((None, "b"), "b"),
        ((" \t", 5), "5"),
        ((None, ""), ""),
        ((0, "b"), "0"),
        ((False, "b"), "false"),
    ],
)
def test_first_takes_the_first_that_is_not_empty(one: One, values: tuple[object, ...], text: str) -> None:
    assert one(FieldRule(first=["x", "y"]), *values) == text


@pytest.mark.parametrize(
    ("separator", "values", "text"),
    [
        (None, ("Calle 1", "2"), "Calle 1 2"),
        (None, ("", "2"), "2"),
        (", ", (None, None), ""),
        (", ", ("a", 2), "a, 2"),
        ("", ("a", "b"), "ab"),
        ("", ("e", "\u0301"), "é"),
        ("  ", ("a", "b"), "a b"),
    ],
)
def test_join_leaves_out_what_is_empty(one: One, separator: str | None, values: tuple[object, ...], text: str) -> None:
    assert one(FieldRule(join=["x", "y"], separator=separator), *values) == text


def test_several_columns_are_asked_for_in_their_order(compiled: Callable[..., FieldMap]) -> None:
    rules = {"city": FieldRule(first=["a", "b"]), "zone": FieldRule(join=["b", "c"])}
    assert compiled(rules).columns == ("a", "b", "c")
    assert compiled(rules).source_of("city") == 'the first of columns "a", "b"'
    assert compiled(rules).source_of("zone") == 'the join of columns "b", "c"'


def test_a_value_that_is_no_text_rejects_by_its_own_column(one: One) -> None:
    for rule in (FieldRule(first=["x", "y"]), FieldRule(join=["x", "y"])):
        rejection = one(rule, None, b"\0")
        assert rejection == Rejection("city", "text", 'city: column "y" holds binary data.')
    assert one(FieldRule(first=["x", "y"]), "a", b"\0") == "a"


@pytest.mark.parametrize("word", [True, "t", "YES", "y", "on", 1, "Sí", "SI", "s", "verdadero"])
def test_words_of_yes(one: One, word: object) -> None:
    assert one(FieldRule(column="a", bool=BoolRule("Claro", "Nunca")), word) == "Claro"


@pytest.mark.parametrize("word", [False, "f", "no", "N", "off", 0, "Falso"])
def test_words_of_no(one: One, word: object) -> None:
    assert one(FieldRule(column="a", bool=BoolRule("Claro", "Nunca")), word) == "Nunca"


def test_a_word_that_is_neither_rejects_or_gives_the_default(one: One) -> None:
    rule = BoolRule("Sí", "")
    assert one(FieldRule(column="a", bool=rule), None) == ""
    assert one(FieldRule(column="a", bool=rule), "no") == ""
    reason = 'city: column "a" holds a word that is neither yes nor no.'
    assert one(FieldRule(column="a", bool=rule), "ZQX") == Rejection("city", "bool", reason)
    assert one(FieldRule(column="a", bool=rule, default="?"), "ZQX") == "?"


def test_a_lookup_may_go_without_case_and_accents(one: One) -> None:
    table = {"Bogotá": "11001", "cali": "76001"}
    rule = FieldRule(column="a", lookup=table, fold=True)
    assert [one(rule, text) for text in ("BOGOTA", "bogotá", "Cáli", "")] == ["11001", "11001", "76001", ""]
    assert isinstance(one(rule, "Cal"), Rejection)
    assert isinstance(one(FieldRule(column="a", lookup=table), "BOGOTA"), Rejection)


def test_names_and_surnames_are_taken_apart(one: One) -> None:
    whole = "María del Carmen Gómez de la Torre"
    assert one(FieldRule(column="a", split="names"), whole) == "María del Carmen"
    assert one(FieldRule(column="a", split="surnames", case="upper"), whole) == "GÓMEZ DE LA TORRE"


def test_a_rule_may_require_its_field(compiled: Callable[..., FieldMap]) -> None:
    field_map = compiled({"city": FieldRule(column="a", lookup={"x": "", "y": "z"}, required=True, default="")})
    reason = 'city is required, and column "a" gives nothing for it.'
    assert field_map.map(("x",), NOW) == Rejection("city", "required", reason)


def test_the_steps_on_letters_have_their_order(one: One) -> None:
    rule = FieldRule(
        case="upper", ascii=True, replace=[ReplaceRule("n", "ñ")], strip="-", column="a", split="first", max=3
    )
    assert one(rule, "-niño x-") == "NIN"
    assert one(FieldRule(digits=True, lookup={"12": "b"}, replace=[ReplaceRule("3")], column="a"), "1-23") == "b"


NAIVE = datetime(2030, 7, 1, 3, 30)  # noqa: DTZ001 - a timestamp without time zone


@pytest.mark.parametrize(
    ("rule", "value", "text"),
    [
        (DatetimeRule(write="%d/%m/%Y"), datetime(2030, 7, 1, 3, 30, tzinfo=UTC), "30/06/2030"),
        (DatetimeRule(write="%d/%m/%Y"), date(2030, 7, 1), "01/07/2030"),
        (DatetimeRule(write="%d/%m/%Y"), NAIVE, "01/07/2030"),
        (DatetimeRule(zone="UTC"), NAIVE, "20300630223000"),
        (DatetimeRule(zone="UTC"), "2030-07-01 03:30", "20300630223000"),
        (DatetimeRule(zone="UTC"), "2030-07-01T03:30-05:00", "20300701033000"),
        (DatetimeRule(zone="UTC"), "2030-07-01", "20300701000000"),
        (DatetimeRule(zone="UTC"), "20300701", "20300701000000"),
        (DatetimeRule(zone="UTC"), date(2030, 7, 1), "20300701000000"),
        (DatetimeRule(read="%d.%m.%Y", zone="UTC"), "01.07.2030", "20300701000000"),
        (DatetimeRule(read="%d.%m.%Y %H:%M", zone="UTC"), "01.07.2030 03:30", "20300630223000"),
        (DatetimeRule(write="%H:%M %p"), NAIVE, "03:30 AM"),
        (DatetimeRule(write="%Y"), None, ""),
        (DatetimeRule(write="%Y"), " ", ""),
    ],
)
def test_a_moment_is_read_and_written_in_other_forms(one: One, rule: DatetimeRule, value: object, text: str) -> None:
    assert one(FieldRule(column="at", datetime=rule), value) == text


def test_a_text_may_be_mended_before_it_is_read_as_a_moment(one: One) -> None:
    rule = FieldRule(column="at", datetime=True, strip="*", replace=[ReplaceRule(r" \(.*\)")])
    assert one(rule, "*2030-07-01 (aprox.)*") == "20300701000000"
    assert one(rule, NAIVE) == "20300701033000"


def test_a_moment_may_be_the_first_of_several_and_a_join(one: One) -> None:
    assert one(FieldRule(first=["a", "b"], datetime=True), "", NAIVE) == "20300701033000"
    assert one(FieldRule(join=["a", "b"], datetime=True), date(2030, 7, 1), "15:45") == "20300701154500"


def test_the_rules_are_said_in_words(compiled: Callable[..., FieldMap]) -> None:
    field_map = compiled(
        {
            "city": FieldRule(
                column="a",
                strip="-",
                replace=[ReplaceRule("x")],
                ascii=True,
                lookup={"a": "b"},
                fold=True,
                required=True,
            ),
            "opt1": FieldRule(column="a", datetime=DatetimeRule(read="%Y", write="%d/%m", zone="UTC")),
            "opt2": FieldRule(column="a", bool=BoolRule("S", "N")),
        }
    )
    assert field_map.source_of("city") == (
        'column "a", without "-" at its ends, 1 replacement, without accents, lookup of 1 in any case, required'
    )
    assert field_map.source_of("opt1") == 'column "a", date and time by %Y of UTC written as %d/%m'
    assert field_map.source_of("opt2") == 'column "a", "S" or "N"'


def test_a_value_that_is_told_step_by_step_has_the_fault_that_it_has_in_the_map(
    compiled: Callable[..., FieldMap],
) -> None:
    for rule in (FieldRule(column="a", number=NumberRule()), FieldRule(column="a", datetime=True)):
        field_map = compiled({"city": rule})
        rejection = field_map.map((b"\0",), NOW)
        assert isinstance(rejection, Rejection)
        assert [run.faults.get(0) for run in field_map.runs([(b"\0",)], NOW)] == [rejection]


def test_the_steps_of_a_number_are_told_as_texts(compiled: Callable[..., FieldMap]) -> None:
    rule = FieldRule(column="a", strip="~", number=NumberRule(2), default="0")
    (run,) = compiled({"city": rule}).runs([(1.5,), ("~2",), (None,)], NOW)
    assert run.steps == (
        ("source", ["1.5", "~2", ""]),
        ("strip", ["1.5", "2", ""]),
        ("number", ["1.50", "2.00", ""]),
        ("default", ["1.50", "2.00", "0"]),
    )
