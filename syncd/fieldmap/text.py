"""How a value from Postgres is written as the text of a record. Pure.

None is empty; text is kept, made NFC, each run of whitespace one space, none at the ends; control characters,
lone surrogates and invisible marks of direction (which come with numbers copied from chats) are dropped.
Booleans are ``true`` and ``false``; numbers are plain, without exponent, and ``NaN`` and ``Infinity`` where they
are none; dates and times are ISO 8601; arrays and json are JSON, and empty where they hold nothing. Binary is
refused. Anything else is what ``str`` says, which for a type that Python has not is what Postgres writes.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from datetime import date, time
from decimal import Decimal
from typing import Final
from unicodedata import is_normalized, normalize

_DROPPED: Final = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]"
)
_TOO_MANY_DIGITS: Final = 1000
"""A number with more digits is refused: written plainly, 1E+999999999 is a gigabyte."""


class Unfit(Exception):
    """A value that a rule cannot take.

    Args:
        reason: what is wrong with it, to follow the name of its source; without the value.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def clean(text: str) -> str:
    """Fold whitespace, drop what is not text, and compose to NFC. Cleaning twice changes nothing."""
    return " ".join(normalize("NFC", _DROPPED.sub("", text)).split())


def is_clean(text: str) -> bool:
    """Whether `clean` would change nothing; may say no where it would not, never the reverse."""
    return (
        text.isprintable()  # of whitespace, only the space is printable; no control, surrogate or mark is
        and "  " not in text
        and text.strip() == text
        and (text.isascii() or is_normalized("NFC", text))
    )


def text_of(value: object) -> str:
    """Write one value as clean text.

    Raises:
        Unfit: if it is binary, or cannot be written.
    """
    if value is None:
        return ""
    try:
        return clean(_plain(value))
    except Unfit:
        raise
    except Exception as error:
        # Any type may come out of a database driver, and its text may fail in any way (a nesting too deep, a
        # key that JSON has not): that must reject this lead, and no other.
        raise Unfit("holds a value that cannot be written as text") from error


def texts(cells: Sequence[object]) -> tuple[list[str], dict[int, str]]:
    """Write a column of values as text.

    Returns:
        the texts, ``""`` where one was unfit; and the reasons of those, by their place.
    """
    kinds = set(map(type, cells))
    if kinds == {int}:
        try:
            return list(map(str, cells)), {}
        except ValueError:  # one of them has thousands of digits, and is refused below, alone
            pass
    if kinds <= {str, type(None)}:
        column = [cell or "" for cell in cells]
        # One look at the whole column instead of one at each cell. The bar between cells keeps a space at the
        # end of one from hiding at the start of the next; a bar in a cell costs a second look.
        joined = "|".join(column)  # type: ignore[arg-type]
        if is_clean(joined) and " |" not in joined and "| " not in joined:
            return column, {}  # type: ignore[return-value]
    written: list[str] = []
    faults: dict[int, str] = {}
    for place, cell in enumerate(cells):
        if type(cell) is str and is_clean(cell):
            written.append(cell)
            continue
        try:
            written.append(text_of(cell))
        except Unfit as unfit:
            written.append("")
            faults[place] = unfit.reason
    return written, faults


def _plain(value: object) -> str:
    match value:
        case str():
            return str(value)
        case bool():
            return "true" if value else "false"
        case float():
            return _plain_float(value)
        case Decimal():
            return _plain_decimal(value)
        case date() | time():
            return value.isoformat()  # a datetime is a date
        case bytes() | bytearray() | memoryview():
            raise Unfit("holds binary data")
        case list() | dict() | tuple():
            return _json(value) if value else ""
        case _:
            return str(value)


def _json(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, default=_plain, allow_nan=False)
    except ValueError:
        return json.dumps(_without_nan(value), ensure_ascii=False, default=_plain, allow_nan=False)


def _without_nan(value: object) -> object:
    """The same with a text for each number that JSON has not."""
    match value:
        case float():
            return value if math.isfinite(value) else _plain_float(value)
        case dict():
            return {key: _without_nan(each) for key, each in value.items()}
        case list() | tuple():
            return [_without_nan(each) for each in value]
        case _:
            return value


def _plain_float(value: float) -> str:
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"  # as numeric is written
    if value.is_integer() and abs(value) < 1e15:
        return str(int(value))  # a document number that went through a spreadsheet is 1020304050.0
    written = repr(value)
    return format(Decimal(written), "f") if "e" in written else written


def _plain_decimal(value: Decimal) -> str:
    if value.is_finite() and max(abs(value.adjusted()), len(value.as_tuple().digits)) > _TOO_MANY_DIGITS:
        raise Unfit("holds a number of too many digits")
    return format(value, "f")
