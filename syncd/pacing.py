"""When to spend a call. Pure: instants, counts and rules in, a decision out.

The rule of this version: the calls that are left are spread evenly over the open hours that are left, a full batch
leaves at once, and no lead waits longer than ``max_wait_secs`` while calls are left. On a quiet day, where the last
call is longer ago than the spacing, a lead therefore leaves at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from syncd.model import Instant

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_LOOK_AHEAD_DAYS = 400
_ENTRY = re.compile(r"(?:(?P<days>[A-Za-z,-]+) )?(?P<from>\d\d:\d\d)-(?P<to>\d\d:\d\d)")


class HoursError(ValueError):
    """An entry of ``delivery.hours`` that does not say when."""


def _minute(text: str, entry: str) -> int:
    hours, minutes = int(text[:2]), int(text[3:])
    if minutes > 59 or hours * 60 + minutes > 24 * 60:
        raise HoursError(f'has "{entry}", where {text} is no time of day (00:00 to 24:00)')
    return hours * 60 + minutes


def _weekdays(text: str | None, entry: str) -> Iterator[int]:
    if text is None:
        yield from range(7)
        return
    for part in text.split(","):
        first, dash, last = part.partition("-")
        for name in (first, last) if dash else (first,):
            if name not in DAYS:
                raise HoursError(f'has "{entry}", where "{name}" is no day; the days are {", ".join(DAYS)}')
        begin, end = DAYS.index(first), DAYS.index(last or first)
        yield from ((begin + step) % 7 for step in range((end - begin) % 7 + 1))


@dataclass(frozen=True, slots=True)
class OpenHours:
    """The hours of the week in which leads may leave, less the days on which none does."""

    windows: tuple[tuple[tuple[int, int], ...], ...] | None
    """For Monday to Sunday, the windows as minutes of the local day; None: always open."""

    @classmethod
    def parse(cls, entries: Sequence[str]) -> OpenHours:
        """Read entries such as ``"Mon-Fri 07:00-19:00"`` or ``"Sat,Sun 08:00-15:00"``; none at all is always.

        Raises:
            HoursError: naming the entry and the rule.
        """
        if not entries:
            return cls(None)
        week: list[list[tuple[int, int]]] = [[] for _ in DAYS]
        for entry in entries:
            match = _ENTRY.fullmatch(entry)
            if match is None:
                raise HoursError(f'has "{entry}"; must be written like "Mon-Fri 07:00-19:00"')
            begin, end = _minute(match["from"], entry), _minute(match["to"], entry)
            if begin >= end:
                raise HoursError(f'has "{entry}", which ends before it begins; write two entries, one up to 24:00')
            for day in _weekdays(match["days"], entry):
                week[day].append((begin, end))
        return cls(tuple(tuple(sorted(day)) for day in week))

    def spans(
        self, begin: Instant, end: Instant, zone: ZoneInfo, closed_on: Callable[[date], bool]
    ) -> Iterator[tuple[Instant, Instant]]:
        """The open spans between two instants, in order; spans may overlap where entries do.

        Args:
            closed_on: tells holidays.
        """
        day = datetime.fromtimestamp(begin, zone).date()
        while (midnight := _at(day, 0, zone)) < end:
            if not closed_on(day):
                for first, last in ((0, 1440),) if self.windows is None else self.windows[day.weekday()]:
                    opens = max(begin, midnight if first == 0 else _at(day, first, zone))
                    closes = min(end, _at(day, last, zone))
                    if opens < closes:
                        yield opens, closes
            day += timedelta(days=1)

    def next_open(self, now: Instant, zone: ZoneInfo, closed_on: Callable[[date], bool]) -> Instant | None:
        """`now` where it is open, else when it next opens; None if that is not within a year or so."""
        horizon = now + _LOOK_AHEAD_DAYS * 86_400
        return next((opens for opens, _ in self.spans(now, horizon, zone, closed_on)), None)

    def open_secs(self, begin: Instant, end: Instant, zone: ZoneInfo, closed_on: Callable[[date], bool]) -> float:
        """Seconds between two instants in which leads may leave."""
        total, reached = 0.0, begin
        for opens, closes in self.spans(begin, end, zone, closed_on):
            if closes > reached:
                total += closes - max(opens, reached)
                reached = closes
        return total


def _at(day: date, minute: int, zone: ZoneInfo) -> Instant:
    """A local wall-clock minute as an instant; 24:00 is the next day's midnight."""
    if minute == 1440:
        day, minute = day + timedelta(days=1), 0
    return datetime.combine(day, time(minute // 60, minute % 60), zone).timestamp()


def quota_day(now: Instant, zone: ZoneInfo) -> date:
    """The quota day that an instant belongs to: the local date."""
    return datetime.fromtimestamp(now, zone).date()


def quota_resets_at(now: Instant, zone: ZoneInfo) -> Instant:
    """When the next quota day begins."""
    return _at(quota_day(now, zone) + timedelta(days=1), 0, zone)


class Step(StrEnum):
    """What to do now."""

    SEND = "send"
    WAIT = "wait"
    IDLE = "idle"
    CLOSED = "closed"
    QUOTA_EXHAUSTED = "quota_exhausted"


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now, and when to ask again."""

    step: Step
    at: Instant | None
    """When to ask again at the latest; None: when something arrives."""


@dataclass(frozen=True, slots=True)
class Situation:
    """All that the decision rests on, for one campaign."""

    now: Instant
    pending: int
    oldest_at: Instant | None
    """When the lead that waits longest was captured; None where none waits."""
    batch_size: int
    max_wait_secs: float
    calls_left: int
    last_call_at: Instant | None
    """When the last call of any campaign was started."""
    opens_at: Instant | None
    """`now` or earlier where the hours are open; else when they open; None: never."""
    open_secs_left: float
    """Open seconds to the end of the quota day."""
    resets_at: Instant


def decide(situation: Situation) -> Decision:
    """Whether to spend a call now, and else when to ask again."""
    s = situation
    if s.pending == 0 or s.oldest_at is None:
        return Decision(Step.IDLE, None)
    if s.opens_at is None or s.opens_at > s.now:
        return Decision(Step.CLOSED, s.opens_at)
    if s.calls_left <= 0:
        return Decision(Step.QUOTA_EXHAUSTED, s.resets_at)
    # A call that lies ahead: the clock was set back. Nobody knows how long ago it was, and no lead must wait for it.
    if s.pending >= s.batch_size or s.last_call_at is None or s.last_call_at > s.now:
        return Decision(Step.SEND, s.now)
    spacing = s.open_secs_left / s.calls_left
    due = min(s.last_call_at + spacing, s.oldest_at + s.max_wait_secs)
    return Decision(Step.SEND, s.now) if s.now >= due else Decision(Step.WAIT, due)
