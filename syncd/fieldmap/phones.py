"""Reading telephone numbers, and writing them as a dialler takes them. Pure.

libphonenumber, through `phonenumbers`, knows the numbering plans; a number that is not valid there is not
dialled. A cell must hold one number: letters are refused, though the library would dial them as a keypad
does, and so is a second number, which the library would take for an extension. An extension itself is
dropped: a dialler reaches the switchboard and no further.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum
from functools import lru_cache
from typing import Final

from phonenumbers import (
    SUPPORTED_REGIONS,
    NumberParseException,
    PhoneMetadata,
    PhoneNumberType,
    country_code_for_region,
    is_alpha_number,
    national_significant_number,
    number_type,
    parse,
)

from syncd.fieldmap.rules import PhoneRule

REGIONS: Final[frozenset[str]] = frozenset(SUPPORTED_REGIONS)
"""The countries that libphonenumber knows."""

FORMATS: Final = ("national", "e164")
KINDS: Final = ("any", "mobile", "fixed")

PLAIN_REGIONS: Final = frozenset({"CL", "CO", "EC", "ES", "MX", "PE"})
"""Where a number that looks like a mobile is read without the library, some forty times faster. It may be
done where a mobile begins neither with what one dials to leave the country nor with a trunk prefix, and no
other country shares the code; the tests compare with the library in each of these."""

_REMEMBERED: Final = 4096
"""Numbers that the library has read, kept for the next row: an office's number comes many times. Bounded."""

_SEPARATORS: Final = dict.fromkeys(map(ord, " -.()"))
_SPREADSHEET: Final = re.compile(r"(\d{7,15})\.0{1,4}", re.ASCII)
"""A number that went through a spreadsheet or a numeric column: the library would dial the zero."""
_BETWEEN: Final = re.compile(r"[,;/|&]|\s[-yoe]\s|\s(?:and|or)\s", re.IGNORECASE)
_LETTERLESS: Final = re.compile(r"[\d +().-]+", re.ASCII)
_NUMBER_DIGITS: Final = 7
"""As many digits are a number of their own, not an extension."""

_KINDS: Final = {
    "mobile": frozenset({PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE}),
    "fixed": frozenset({PhoneNumberType.FIXED_LINE, PhoneNumberType.FIXED_LINE_OR_MOBILE}),
}


class Undialable(Enum):
    """Why a text gives no number; the value follows the name of its source in a sentence."""

    NO_NUMBER = "holds no telephone number"
    LETTERS = "has letters where a telephone number should be"
    SEVERAL = "holds more than one telephone number"
    INVALID = "holds a telephone number that does not exist in its country's numbering plan"
    NOT_MOBILE = "holds a telephone number that is not a mobile"
    NOT_FIXED = "holds a telephone number that is not a fixed line"
    NOWHERE = "holds no country as ISO 3166 writes it, such as CO"
    ABROAD = "holds a telephone number of another country, which cannot be dialled in national form"


Dial = Callable[[str, str], "str | Undialable"]
"""From a text and the country of numbers without a country code to what the dialler dials."""


def compile_phone(rule: PhoneRule) -> Dial:
    """Make the reader and writer of one rule's numbers.

    Args:
        rule: with a region of `REGIONS`, a format of `FORMATS`, a kind of `KINDS`.

    Returns:
        a function that raises nothing.
    """
    home_code = country_code_for_region(rule.region)
    before = rule.prefix + (str(home_code) if rule.format == "e164" else "")
    plain = plain_mobile(rule.region) if rule.kind != "fixed" else _never

    @lru_cache(maxsize=_REMEMBERED)
    def look_up(text: str, region: str) -> str | Undialable:
        number = read(text, region, rule.kind)
        if isinstance(number, Undialable):
            return number
        country_code, national = number
        if rule.format == "e164":
            return f"{rule.prefix}{country_code}{national}"
        # Dialled without its country code, a foreign number would call somebody else at home.
        return rule.prefix + national if country_code == home_code else Undialable.ABROAD

    def dial(text: str, region: str) -> str | Undialable:
        if region == rule.region:
            mobile = plain(text) or (None if text.isdigit() else plain(text.translate(_SEPARATORS)))
            if mobile:
                return before + mobile[1]
        return look_up(text, region)

    return dial


def read(text: str, region: str, kind: str = "any") -> tuple[int, str] | Undialable:
    """Read one number with the library.

    Args:
        text: not empty.
        region: the country of a number without a country code.
        kind: one of `KINDS`.

    Returns:
        its country code and its significant digits, or why there is none.
    """
    numeric = _SPREADSHEET.fullmatch(text)
    if numeric:
        text = numeric[1]
    if _several(text):
        return Undialable.SEVERAL
    if region not in REGIONS:
        return Undialable.NOWHERE
    try:
        number = parse(text, region)
    except NumberParseException as fault:
        too_long = fault.error_type == NumberParseException.TOO_LONG
        return Undialable.SEVERAL if too_long else Undialable.NO_NUMBER
    if len(number.extension or "") >= _NUMBER_DIGITS:
        return Undialable.SEVERAL
    if not _LETTERLESS.fullmatch(text) and is_alpha_number(text):
        return Undialable.LETTERS
    found = number_type(number)  # unknown exactly where is_valid_number says no, at half the price of both
    if found == PhoneNumberType.UNKNOWN:
        return Undialable.INVALID
    if kind != "any" and found not in _KINDS[kind]:
        return Undialable.NOT_MOBILE if kind == "mobile" else Undialable.NOT_FIXED
    return number.country_code or 0, national_significant_number(number)


def plain_mobile(region: str) -> Callable[[str], re.Match[str] | None]:
    """A matcher for a mobile number of digits alone, with or without country code; its group 1 is the
    national number. It matches what the library would read as that number, though not all of it: nothing,
    outside `PLAIN_REGIONS`."""
    if region not in PLAIN_REGIONS:
        return _never
    metadata = PhoneMetadata.metadata_for_region(region)
    if metadata is None or metadata.mobile is None:
        return _never
    pattern = rf"(?:\+?{metadata.country_code})?({metadata.mobile.national_number_pattern})"
    return re.compile(pattern, re.ASCII).fullmatch


def _never(_text: str) -> re.Match[str] | None:
    return None


def _several(text: str) -> bool:
    parts = _BETWEEN.split(text)
    if len(parts) == 1:
        return False
    return sum(sum(map(str.isdigit, part)) >= _NUMBER_DIGITS for part in parts) > 1
