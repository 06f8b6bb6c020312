"""How each type of Postgres becomes text."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from ipaddress import ip_address
from unicodedata import is_normalized
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from syncd.fieldmap.text import Unfit, clean, is_clean, text_of, texts


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        ("Bogotá", "Bogotá"),
        ("  María \t José\n Díaz ", "María José Díaz"),
        ("Calle\u00a05\u20034", "Calle 5 4"),
        ("Jose\u0301", "José"),
        ("a\0b\x07c\ud83dd", "abcd"),
        ("\u202a321\u202c\ufeff\u200b", "321"),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (-7, "-7"),
        (1020304050.0, "1020304050"),
        (0.1, "0.1"),
        (1e20, "100000000000000000000"),
        (2.5e-7, "0.00000025"),
        (float("nan"), "NaN"),
        (float("-inf"), "-Infinity"),
        (1e300, "1" + "0" * 300),
        ([], ""),
        ({}, ""),
        ([float("inf"), {"a": (float("nan"),)}], '["Infinity", {"a": ["NaN"]}]'),
        (Decimal("1500.00"), "1500.00"),
        (Decimal("1E+3"), "1000"),
        (Decimal("0E-10"), "0.0000000000"),
        (Decimal("NaN"), "NaN"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (date(2030, 1, 2), "2030-01-02"),
        (time(10, 5), "10:05:00"),
        (datetime(2030, 1, 2, 3, 4, tzinfo=UTC), "2030-01-02T03:04:00+00:00"),
        (timedelta(days=1), "1 day, 0:00:00"),
        (ip_address("192.0.2.1"), "192.0.2.1"),
        (["á", None, Decimal("1.0"), date(2030, 1, 2)], '["á", null, "1.0", "2030-01-02"]'),
        ({"presupuesto": 5}, '{"presupuesto": 5}'),
        ("$1,500.00", "$1,500.00"),
    ],
)
def test_a_value_is_written_plainly(value: object, text: str) -> None:
    assert text_of(value) == text


class Mute:
    """A type whose text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("ZQX")


class Word(str):
    """A type of a driver that is a string, and not only that."""

    __slots__ = ()


NESTED: list[object] = []
NESTED.append(NESTED)


@pytest.mark.parametrize(
    "value",
    [b"x", bytearray(b"x"), memoryview(b"x"), [b"x"], Mute(), NESTED, {(1, 2): 3}, 10**5000],
    ids=["bytes", "bytearray", "memoryview", "list of bytes", "mute", "nested", "odd key", "huge"],
)
def test_what_cannot_be_written_is_unfit(value: object) -> None:
    with pytest.raises(Unfit):
        text_of(value)
    assert texts(["a", value])[0] == ["a", ""]
    assert list(texts(["a", value])[1]) == [1]
    assert texts([value])[0] == [""]


@pytest.mark.parametrize("value", [Decimal("1E+999999"), Decimal("1E-999999"), Decimal("9" * 2000)])
def test_a_number_of_a_million_digits_is_unfit(value: Decimal) -> None:
    with pytest.raises(Unfit, match="too many digits"):
        text_of(value)


def test_a_string_of_another_type_becomes_a_plain_one() -> None:
    assert [type(cell) for cell in texts([Word("a"), Word(" b ")])[0]] == [str, str]


@given(st.text(st.characters()))
def test_cleaning_gives_what_is_clean_and_twice_changes_nothing(text: str) -> None:
    cleaned = clean(text)
    assert clean(cleaned) == cleaned
    assert is_normalized("NFC", cleaned)
    assert not any(character < " " or "\x7f" <= character <= "\x9f" for character in cleaned)
    json.dumps(cleaned, ensure_ascii=False).encode()
    if is_clean(text):
        assert cleaned == text


CELLS = st.lists(st.none() | st.text(st.sampled_from("a |é\u0301\n\u00a0")) | st.integers(0, 9), max_size=6)


@example(["a", " b", "c"])
@example(["a", "b ", "c"])
@example([" a", "b"])
@example(["a", "b "])
@example(["e", "\u0301"])
@example(["a|b", "| c"])
@given(CELLS)
def test_a_column_is_written_as_each_of_its_cells(cells: list[object]) -> None:
    assert texts(cells) == ([text_of(cell) for cell in cells], {})
