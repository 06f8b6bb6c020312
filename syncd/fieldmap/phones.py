"""Reading telephone numbers, and writing them as a dialler takes them. Pure.

libphonenumber, through `phonenumbers`, knows the numbering plans; a number that is not valid there is not
dialled. A cell must hold one number, unless the rule spreads them: letters are refused, though the library would
dial them as a keypad does, and so is a second number, which the library would take for an extension. An extension
itself is dropped, unless the rule refuses it: a dialler reaches the switchboard and no further.
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
    PhoneNumber,
    PhoneNumberType,
    country_code_for_region,
    is_alpha_number,
    national_significant_number,
    number_type,
    parse,
)

from syncd.fieldmap import colombia
from syncd.fieldmap.rules import PhoneRule

REGIONS: Final[frozenset[str]] = frozenset(SUPPORTED_REGIONS)
"""The countries that libphonenumber knows."""

FORMATS: Final = ("national", "e164")
KINDS: Final = ("any", "mobile", "fixed")
EXTENSIONS: Final = ("drop", "reject")

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
_WORDS: Final = re.compile(r"[\s-]+")
_WORDS_OF_A_NUMBER: Final = 6
_MOST_WORDS: Final = 60
"""A cell of more words is a comment."""
_BEFORE_DIGITS: Final = re.compile(r"^[^\d+]+")
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
    EXTENSION = "holds a telephone number with an extension"
    INVALID = "holds a telephone number that does not exist in its country's numbering plan"
    NOT_MOBILE = "holds a telephone number that is not a mobile"
    NOT_FIXED = "holds a telephone number that is not a fixed line"
    NOWHERE = "holds no country as ISO 3166 writes it, such as CO"
    ABROAD = "holds a telephone number of another country, which cannot be dialled in national form"


Dial = Callable[[str, str], "str | Undialable"]
"""From a text and the country of numbers without a country code to what the dialler dials."""
DialAll = Callable[[str, str], "tuple[str, ...] | Undialable"]
"""The same for every number of a text, each once; why there is none, where there is none."""


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
        area = rule.area if region == rule.region else None
        number = read(text, region, rule.kind, area=area, extension=rule.extension)
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


def compile_spread(rule: PhoneRule) -> DialAll:
    """Make the reader and writer of all numbers of a cell: a text that holds several is divided at what stands
    between numbers (``,`` ``;`` ``/`` ``|`` ``&``, `y`, `o`, `and`, `or`), and where that is not enough, at spaces
    and dashes, so that each part is a number. Parts that are none are left out where there is one at all."""
    dial = compile_phone(rule)

    @lru_cache(maxsize=_REMEMBERED)
    def dial_parts(text: str, region: str) -> tuple[str, ...] | Undialable:
        found: dict[str, None] = {}
        why: Undialable | None = None
        for part in filter(None, map(str.strip, _BETWEEN.split(text))):
            numbers = _numbers_in(part, region, dial)
            if isinstance(numbers, Undialable):
                why = why or numbers
            else:
                found |= dict.fromkeys(numbers)
        return tuple(found) or why or Undialable.NO_NUMBER

    def dial_all(text: str, region: str) -> tuple[str, ...] | Undialable:
        number = dial(text, region)
        return (number,) if isinstance(number, str) else dial_parts(text, region)

    return dial_all


def _numbers_in(part: str, region: str, dial: Dial) -> list[str] | Undialable:
    """The numbers of a text that has nothing but spaces and dashes between them: each time the most words that
    make a number."""
    number = dial(part, region)
    if isinstance(number, str):
        return [number]
    words = _WORDS.split(part)
    if len(words) > _MOST_WORDS:
        return Undialable.SEVERAL
    found: list[str] = []
    begin = 0
    while begin < len(words):
        for end in range(min(len(words), begin + _WORDS_OF_A_NUMBER), begin, -1):
            piece = dial(" ".join(words[begin:end]) or "-", region)
            if isinstance(piece, str):
                found.append(piece)
                begin = end
                break
        else:
            begin += 1
    return found or number


def read(
    text: str, region: str, kind: str = "any", *, area: str | None = None, extension: str = "drop"
) -> tuple[int, str] | Undialable:
    """Read one number with the library, and an old Colombian one as `syncd.fieldmap.colombia` says.

    Args:
        text: not empty.
        region: the country of a number without a country code.
        kind: one of `KINDS`.
        area: the area code of a local number, or None.
        extension: one of `EXTENSIONS`.

    Returns:
        its country code and its significant digits, or why there is none.
    """
    single = _single(text)
    if single is None:
        return Undialable.SEVERAL
    text = single
    if region not in REGIONS:
        return Undialable.NOWHERE
    try:
        number = parse(colombia.with_plus(text) if region == colombia.REGION else text, region)
    except NumberParseException as fault:
        too_long = fault.error_type == NumberParseException.TOO_LONG
        return Undialable.SEVERAL if too_long else Undialable.NO_NUMBER
    if len(number.extension or "") >= _NUMBER_DIGITS:
        return Undialable.SEVERAL
    if number.extension and extension == "reject":
        return Undialable.EXTENSION
    if _has_letters(text):
        return Undialable.LETTERS
    found = number_type(number)  # unknown exactly where is_valid_number says no, at half the price of both
    if found == PhoneNumberType.UNKNOWN:
        completed = _completed(number, region, area)
        if completed is number:
            return Undialable.INVALID
        number, found = completed, number_type(completed)
    if found == PhoneNumberType.UNKNOWN:
        return Undialable.INVALID
    if kind != "any" and found not in _KINDS[kind]:
        return Undialable.NOT_MOBILE if kind == "mobile" else Undialable.NOT_FIXED
    return number.country_code or 0, national_significant_number(number)


_code_of = lru_cache(maxsize=None)(country_code_for_region)
"""The country code of a region, of which there are some 250."""


def _completed(number: PhoneNumber, region: str, area: str | None) -> PhoneNumber:
    """What a number that its country's plan has not may stand for: one of an older plan, or one without its area."""
    if number.country_code != _code_of(region):
        return number
    national = national_significant_number(number)
    if region == colombia.REGION:
        area = colombia.area_digits(area) if area else None
        renewed = colombia.renewed(national)
        if renewed is not None:
            return PhoneNumber(country_code=number.country_code, national_number=int(renewed))
        if len(national) != colombia.LOCAL_DIGITS:
            return number
    if area is None:
        return number
    try:
        return parse(area + national, region)
    except NumberParseException:
        return number


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


def _has_letters(text: str) -> bool:
    if text.isdigit() or _LETTERLESS.fullmatch(text):
        return False
    # The library begins at the first digit: what stands before it must not hide the letters after it.
    return is_alpha_number(_BEFORE_DIGITS.sub("", text))


def _single(text: str) -> str | None:
    """The text of one number, without the decimals of a spreadsheet; None where there is more than one."""
    if text.isdigit():
        return text
    numeric = _SPREADSHEET.fullmatch(text)
    if numeric:
        return numeric[1]
    return None if _several(text) else text


def _several(text: str) -> bool:
    parts = _BETWEEN.split(text)
    if len(parts) == 1:
        return False
    return sum(sum(map(str.isdigit, part)) >= _NUMBER_DIGITS for part in parts) > 1
