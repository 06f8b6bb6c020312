"""Numbers: read from the database's types and from texts, and written as a rule says. Pure."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Final

from syncd.fieldmap.rules import NumberRule
from syncd.fieldmap.text import Unfit, clean

MOST_DECIMALS: Final = 15
DECIMALS: Final = (".", ",")
THOUSANDS: Final = ("", ".", ",", " ", "'")

_MOST_DIGITS: Final = 60
"""A number of more is no amount, and would fill the field."""
_CONTEXT: Final = Context(prec=4 * _MOST_DIGITS, rounding=ROUND_HALF_UP)
_CURRENCY: Final = r"(?:[A-Za-z]{1,3}\.? ?)?[$€£¥]|[A-Za-z]{3}"
_WRITTEN: Final = re.compile(
    rf"([+-]?)\s?(?:{_CURRENCY})?\s?([+-]?)\s?([0-9][0-9.,' ]*|[.,][0-9]+)\s?(?:%|{_CURRENCY})?", re.ASCII
)
_GROUPS: Final = re.compile(r"[0-9]{1,3}(?:([.,' ])[0-9]{3})(?:\1[0-9]{3})*")


def number_of(value: object, mark: str | None = None) -> Decimal | None:
    """Read a number; None for None and empty text.

    Args:
        value: a number, or a text with one, with or without a currency.
        mark: the decimal mark of texts; None: as the text shows.

    Raises:
        Unfit: if it is none, has too many digits, or could be read in two ways.
    """
    match value:
        case None:
            return None
        case bool():
            raise Unfit("holds no number")
        case int() | Decimal():
            number = Decimal(value)
        case float():
            number = Decimal(repr(value))
        case str():
            text = clean(value)
            if not text:
                return None
            number = _read(text, mark)
        case _:
            raise Unfit("holds no number")
    if not number.is_finite():
        raise Unfit("holds no number")
    if max(abs(number.adjusted()), len(number.as_tuple().digits)) > _MOST_DIGITS:
        raise Unfit("holds a number of too many digits")
    return number


def written(number: Decimal, rule: NumberRule) -> str:
    """Write a number of `number_of` as a rule says."""
    if rule.decimals is not None:
        number = number.quantize(Decimal(1).scaleb(-rule.decimals), context=_CONTEXT)
    if not number:
        number = abs(number)  # there is no minus zero
    text = format(number, f"{',' if rule.thousands else ''}f")
    whole, point, part = text.partition(".")
    if rule.decimals is None:
        part = part.rstrip("0")
    return whole.replace(",", rule.thousands) + (rule.decimal + part if point and part else "")


def _read(text: str, mark: str | None) -> Decimal:
    found = _WRITTEN.fullmatch(text) if len(text) <= 2 * _MOST_DIGITS else None
    if found is None or (found[1] and found[2]):
        raise Unfit("holds no number that can be read")
    sign, digits = found[1] or found[2], found[3].strip()
    marks = [character for character in digits if character in ".,"]
    if mark is None:
        mark = _decimal_mark(digits, marks)
    whole, _, part = digits.rpartition(mark) if mark and mark in digits else (digits, "", "")
    if part and not part.isdigit():
        raise Unfit("holds no number that can be read")
    if whole and not whole.isdigit() and (_GROUPS.fullmatch(whole) is None or (mark and mark in whole)):
        raise Unfit("holds no number that can be read")
    plain = "".join(character for character in whole if character.isdigit())
    return Decimal(f"{sign}{plain or '0'}.{part or '0'}")


def _decimal_mark(digits: str, marks: list[str]) -> str:
    """Which mark of a text is the decimal one; ``""`` where none is.

    Raises:
        Unfit: if it may be either.
    """
    if not marks:
        return ""
    if len(set(marks)) == 2:
        return marks[-1]
    if len(marks) > 1:
        return ""
    whole, _, part = digits.partition(marks[0])
    # One mark and three digits after it: thousands or thousandths, unless the digits before it are no group.
    if len(part) != 3 or not whole or whole.startswith("0") or len(whole) > 3 or not whole.isdigit():
        return marks[0]
    raise Unfit("holds a number that can be read in two ways, with a mark that may be of decimals or of thousands")
