"""The rule that says which campaign a lead goes to: a number, or a named rejection, for any row."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.fieldmap import FieldMapError, FieldRule, Route, compile_route
from syncd.model import Rejection

ZONE = ZoneInfo("America/Bogota")
LOOKUP = {"Bogotá": "12345", "Cali": "12346"}


def route(rule: FieldRule) -> Route:
    return compile_route(rule, ["document", "city"], ZONE)


def one(rule: FieldRule, *row: object) -> str | Rejection:
    return route(rule).map_many([row], 0)[0]


def test_columns_of_the_map_come_first_and_each_column_is_there_once() -> None:
    assert route(FieldRule(column="city")).columns == ("document", "city")
    assert route(FieldRule(column="account.region")).columns == ("document", "city", "account.region")


@pytest.mark.parametrize(
    ("rule", "city", "campaign"),
    [
        (FieldRule(column="city", lookup=LOOKUP), "Bogotá", "12345"),
        (FieldRule(column="city", lookup=LOOKUP), " Cali  ", "12346"),
        (FieldRule(column="city", lookup=LOOKUP, default="12399"), "Pasto", "12399"),
        (FieldRule(column="city", lookup=LOOKUP, default="12399"), None, "12399"),
        (FieldRule(column="city"), 777, "777"),
        (FieldRule(template="12{city}"), "3", "123"),
    ],
)
def test_a_row_goes_where_its_rule_says(rule: FieldRule, city: object, campaign: str) -> None:
    assert one(rule, "doc", city) == campaign


@pytest.mark.parametrize(
    ("rule", "city", "broken"),
    [
        (FieldRule(column="city", lookup=LOOKUP), "Pasto", "lookup"),
        (FieldRule(column="city", lookup=LOOKUP), None, "required"),
        (FieldRule(column="city", lookup=LOOKUP, default=""), "Pasto", "required"),
        (FieldRule(column="city"), "Pasto", "digits"),
        (FieldRule(column="city"), "١٢٣", "digits"),
        (FieldRule(column="city"), "1" * 19, "digits"),
    ],
)
def test_a_row_that_goes_nowhere_is_rejected_without_its_value(rule: FieldRule, city: object, broken: str) -> None:
    rejection = one(rule, "doc", city)
    assert isinstance(rejection, Rejection)
    assert (rejection.field, rejection.rule) == ("campaign", broken)
    assert "Pasto" not in rejection.reason
    assert 'column "city"' in rejection.reason


def test_the_campaigns_of_a_lookup_are_known_ahead_and_those_of_a_column_are_not() -> None:
    assert route(FieldRule(column="city", lookup=LOOKUP, default="1")).campaigns == ("12345", "12346", "1")
    assert route(FieldRule(column="city")).campaigns == ()


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (FieldRule(column="city", lookup={"Cali": "abc"}), "'abc': must be the campaign's number"),
        (FieldRule(column="city", lookup=LOOKUP, default="none"), "'none': must be the campaign's number"),
        (FieldRule(), "exactly one source"),
        (FieldRule(value="12345"), "one campaign is written as"),
        (FieldRule(column="city", path="nowhere"), "must be a path"),
    ],
)
def test_a_rule_that_cannot_name_campaigns_is_a_problem_before_any_row(rule: FieldRule, words: str) -> None:
    with pytest.raises(FieldMapError, match=words):
        route(rule)


@given(
    st.lists(
        st.tuples(
            st.none(),
            st.one_of(st.none(), st.text(), st.integers(), st.floats(), st.binary(), st.sampled_from([*LOOKUP])),
        ),
        max_size=20,
    ),
    st.sampled_from([FieldRule(column="city"), FieldRule(column="city", lookup=LOOKUP), FieldRule(template="{city}")]),
)
def test_any_row_gives_a_number_or_a_rejection_of_the_campaign(rows: list[Any], rule: FieldRule) -> None:
    found = route(rule).map_many(rows, 0)
    assert len(found) == len(rows)
    for each in found:
        if isinstance(each, Rejection):
            assert each.field == "campaign"
        else:
            assert each.isascii()
            assert each.isdigit()
