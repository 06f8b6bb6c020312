"""Numbers as a CRM holds them, and as they are written."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.fieldmap import FieldRule, NumberRule, ReplaceRule
from syncd.fieldmap.numbers import number_of, written
from syncd.fieldmap.text import Unfit
from syncd.model import Rejection

One = Callable[..., Any]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1500", "1500"),
        ("-12", "-12"),
        ("+5", "5"),
        ("1.234,50", "1234.50"),
        ("1,234.50", "1234.50"),
        ("1.234.567", "1234567"),
        ("1,234,567", "1234567"),
        ("1 234 567,8", "1234567.8"),
        ("1'234'567.8", "1234567.8"),
        ("12 345", "12345"),
        ("1234.500", "1234.500"),
        ("0.500", "0.500"),
        ("0,500", "0.500"),
        (",5", "0.5"),
        ("1,5", "1.5"),
        ("15.", "15"),
        ("$1,234.50", "1234.50"),
        ("-$1,234.50", "-1234.50"),
        ("US$ 1.200.000", "1200000"),
        ("COP 1.200.000", "1200000"),
        ("1.200,00 €", "1200.00"),
        ("1200 USD", "1200"),
        ("15 %", "15"),
    ],
)
def test_a_text_is_read_in_either_notation_where_it_shows_which(text: str, number: str) -> None:
    assert number_of(text) == Decimal(number)


@pytest.mark.parametrize("text", ["1.500", "12,345", "$ 1.500", "-999,999"])
def test_a_text_that_could_be_read_in_two_ways_is_refused_unless_the_rule_says_which(text: str) -> None:
    with pytest.raises(Unfit, match="two ways"):
        number_of(text)
    whole, part = text.removeprefix("$ ").replace(",", ".").split(".")
    mark = "," if "," in text else "."
    assert number_of(text, mark) == Decimal(f"{whole}.{part}")
    assert number_of(text, "." if mark == "," else ",") == Decimal(whole + part)


@pytest.mark.parametrize(
    "value",
    [
        "x",
        "1.2.3",
        "1.23.456",
        "1,2,3",
        "12,34.5",
        "1..2",
        "--1",
        "-$-1",
        "1e5",
        "1 2",
        "1/2",
        "²",
        "\u0663",
        "9" * 61,
        "NaN",
        "Infinity",
        True,
        float("nan"),
        float("inf"),
        Decimal("NaN"),
        Decimal("1e99"),
        b"1",
        [1],
        10**70,
    ],
)
def test_what_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(Unfit):
        number_of(value)


@pytest.mark.parametrize(
    ("value", "rule", "text"),
    [
        (1234567.891, NumberRule(2, ",", "."), "1.234.567,89"),
        (Decimal("0.125"), NumberRule(2), "0.13"),
        (Decimal("-0.125"), NumberRule(2), "-0.13"),
        (Decimal("-0.001"), NumberRule(2), "0.00"),
        (Decimal("1.500"), NumberRule(), "1.5"),
        (Decimal("1E+3"), NumberRule(thousands=" "), "1 000"),
        (Decimal("1.5"), NumberRule(0), "2"),
        (1200, NumberRule(2, thousands="'"), "1'200.00"),
        (0.1, NumberRule(), "0.1"),
        ("1.500", NumberRule(read=","), "1500"),
        ("1.500", NumberRule(read="."), "1.5"),
        (" ", NumberRule(2), ""),
        (None, NumberRule(2), ""),
        ("12 345,6", NumberRule(2), "12345.60"),
    ],
)
def test_a_number_is_written_as_the_rule_says(one: One, value: object, rule: NumberRule, text: str) -> None:
    assert one(FieldRule(column="amount", number=rule), value) == text


def test_what_cannot_be_read_rejects_the_lead_or_gives_the_default(one: One) -> None:
    rejected = one(FieldRule(column="amount", number=NumberRule()), "ZQX")
    assert rejected == Rejection("city", "number", 'city: column "amount" holds no number that can be read.')
    assert one(FieldRule(column="amount", number=NumberRule(), default="0"), "ZQX") == "0"


def test_a_text_may_be_mended_before_it_is_read_and_a_number_is_left_alone(one: One) -> None:
    rule = FieldRule(
        column="amount", strip="~", replace=[ReplaceRule(r"\(.*\)"), ReplaceRule("5", "6")], number=NumberRule()
    )
    assert one(rule, "~ 1500 (aprox.)") == "1600"
    assert one(rule, 1500) == "1500"


def test_a_number_may_come_from_json_from_the_first_of_several_and_from_a_join(one: One) -> None:
    assert one(FieldRule(column="j", path="$.n", number=NumberRule(1)), {"n": 1.25}) == "1.3"
    assert one(FieldRule(first=["a", "b"], number=NumberRule(1)), " ", Decimal("1.500")) == "1.5"
    assert one(FieldRule(join=["a", "b"], separator=".", number=NumberRule(1)), 12, 75) == "12.8"


@given(st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**12), max_value=10**12))
def test_what_is_written_with_two_decimals_is_read_again(number: Decimal) -> None:
    for decimal, thousands in ((",", "."), (".", ","), (",", " "), (".", "'"), (".", "")):
        assert number_of(written(number, NumberRule(2, decimal, thousands))) == number
