"""Points in time: read from the database's types and from texts, and written as a rule says. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Final
from zoneinfo import ZoneInfo

from syncd.fieldmap.rules import DatetimeRule
from syncd.fieldmap.text import Unfit, clean

_UNREADABLE: Final = "holds no date and time that can be read"
_DATE_ALONE: Final = re.compile(r"\d{8}|\d{4}-(?:\d\d-\d\d|W\d\d-\d)|\d{4}W\d{3}", re.ASCII)
_HAS_A_TIME: Final = re.compile(r"%[HIMSfpcXTR]")
_WRITABLE: Final = re.compile(r"(?:[^%]|%[dmYyHIMSpj%])+", re.DOTALL)
_SAMPLE: Final = datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC)


def compile_moment(rule: DatetimeRule, zone: ZoneInfo) -> Callable[[object], str]:
    """Make the reader and writer of points in time.

    Args:
        rule: without any problem.
        zone: where the clock hangs that the result shows, and that of times which name none, unless the rule
            names another.

    Returns:
        from a datetime, a date (midnight, wherever), or a text, to what is written, seconds cut off; ``""`` for
        None and empty text. It raises `Unfit` for anything else, or beyond the years 1 to 9999.
    """
    source = ZoneInfo(rule.zone) if rule.zone is not None else None
    pattern = rule.read
    dates_alone = pattern is not None and _HAS_A_TIME.search(pattern) is None
    write = _compact if rule.write is None else _by(rule.write)

    def moment(value: object) -> str:
        try:
            if isinstance(value, str):
                text = clean(value)
                if not text:
                    return ""
                # A time without an offset is in the zone already.
                at = datetime.strptime(text, pattern) if pattern else datetime.fromisoformat(text)  # noqa: DTZ007
                value = at.date() if dates_alone or (pattern is None and _DATE_ALONE.fullmatch(text)) else at
            if isinstance(value, datetime):
                if value.tzinfo is None and source is not None:
                    value = value.replace(tzinfo=source)
                return write(value if value.tzinfo is None else value.astimezone(zone))
            if isinstance(value, date):
                return write(datetime(value.year, value.month, value.day))  # noqa: DTZ001 - midnight in the zone
        except Exception as error:
            # A pattern, a date near the year 9999 and a zone of the driver's may each fail in their own way.
            raise Unfit(_UNREADABLE) from error
        if value is None:
            return ""
        raise Unfit(_UNREADABLE)

    return moment


def can_read(pattern: str) -> bool:
    """Whether texts can be read by a format: it says at least which year."""
    try:
        return datetime.strptime(_SAMPLE.strftime(pattern), pattern).year == _SAMPLE.year  # noqa: DTZ007
    except Exception:  # noqa: BLE001 - it is made a regular expression, which fails in ways of its own
        return False


def can_write(pattern: str) -> bool:
    """Whether a format says something of the moment, and the same on every machine."""
    return _WRITABLE.fullmatch(pattern) is not None and "%" in pattern.replace("%%", "") and bool(clean(pattern))


def _compact(at: datetime) -> str:
    # As one number, whose digits are the result: a third of the time of strftime.
    day = (at.year * 100 + at.month) * 100 + at.day
    return str(((day * 100 + at.hour) * 100 + at.minute) * 100 + at.second).zfill(14)


def _by(pattern: str) -> Callable[[datetime], str]:
    return lambda at: clean(at.strftime(pattern))
