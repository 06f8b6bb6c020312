"""Colombian numbers as they were written before the numbering plan of 2021. Pure.

Until then a fixed number had 7 digits, after an area code of one (1, 2, 4 to 8), after 0 and the digit of a
long-distance carrier (03, 05, 07, 09) or three (0 4xx). Since 1 September 2021 it has 10: 60, the old area code,
and the old 7 digits; a mobile keeps its 10 and is dialled without 03 (Comisión de Regulación de Comunicaciones,
Resolución CRC 5826 de 2019). CRMs are full of the old ones, and libphonenumber knows the new ones alone:
`3456789`, `(1) 345 6789`, `+57 1 345 6789` and `03 1 345 6789` are all invalid to it.
"""

from __future__ import annotations

import re
from typing import Final

REGION: Final = "CO"
LOCAL_DIGITS: Final = 7
"""Of a number without an area code."""

_INTERNATIONAL: Final = re.compile(r"\(?0057(?=[\s().-]*\d)|\(?057(?=(?:[\s().-]*\d){10}$)", re.ASCII)
"""The country code after 00, which the library reads as 005, a carrier, and 7, Russia; or after 0, where a number of
10 digits follows (of 7, it is carrier 05 and area 7)."""
_OLD: Final = re.compile(r"(?:0[3579]?|57)*([124-8])([2-9][0-9]{6})", re.ASCII)
_CODED_MOBILE: Final = re.compile(r"(?:0[3579]?|57)?(3[0-9]{9})", re.ASCII)
_CODED_FIXED: Final = re.compile(r"(?:0[3579]?|57)?(60[124-8][0-9]{7})", re.ASCII)


def with_plus(text: str) -> str:
    """A text that begins with 0057 or 057 with +57 instead."""
    begun = _INTERNATIONAL.match(text)
    return text if begun is None else "+57" + text[begun.end() :]


def renewed(national: str) -> str | None:
    """What an old number is now; None where it is none.

    Args:
        national: digits alone, without country code, which the present plan has not.

    Returns:
        a number of 10 digits, which the present plan may still not have.
    """
    old = _OLD.fullmatch(national)
    if old:
        return f"60{old[1]}{old[2]}"
    coded = _CODED_MOBILE.fullmatch(national) or _CODED_FIXED.fullmatch(national)
    return coded[1] if coded and coded[1] != national else None


def area_digits(area: str) -> str:
    """The area code of the present plan: 601 for 1."""
    return f"60{area}" if len(area) == 1 else area
