"""What delivery obeys, and what a turn of it gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from zoneinfo import ZoneInfo

from syncd.errors import CrmError
from syncd.model import Instant
from syncd.pacing import Decision, OpenHours, Step

LOOK_SECS = 60.0
"""The loop looks again after this long at the latest, whatever it waits for."""
PAUSED_LOOK_SECS = 5.0
"""And after this long where a sync is paused: whoever resumes it waits for that."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What delivery obeys, from the configuration."""

    batch_size: int
    max_wait_secs: float
    hours: OpenHours
    closed_on: Callable[[date], bool]
    zone: ZoneInfo
    daily_limit: int
    """Calls a day that the licences give."""
    reserve_calls: int
    concurrent_calls: int
    verify_calls: int = 0
    """Calls a day that are kept for verification."""

    @property
    def budget(self) -> int:
        """Calls a day that may carry leads."""
        return self.daily_limit - self.reserve_calls - self.verify_calls


@dataclass(frozen=True, slots=True)
class CallReport:
    """One call, for logs and metrics."""

    call_id: str
    sync: str
    campaign_id: str
    leads: int
    verdict: str
    outcome: str
    http_status: int | None
    seconds: float
    sentence: str
    error: str
    waited: Mapping[float, int]
    """Leads by the seconds from their capture to their acceptance; empty unless accepted."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where delivery stands, in a word and a sentence."""

    state: str
    """sending | idle | waiting | closed | quota_exhausted | paused | held"""
    reason: str


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """What one turn did."""

    standing: Standing
    next_at: Instant
    """When there may be something to do."""
    sync: str | None = None
    settled: Mapping[str, int] = field(default_factory=dict)
    """Leads by the state that they went to."""
    call: CallReport | None = None
    trouble: CrmError | None = None
    surges: Sequence[tuple[str, str]] = ()
    """Syncs that this turn has paused, each with a sentence."""


def wait(state: str, reason: str, now: Instant, until: Instant | None) -> DeliveryResult:
    """Nothing is to be done before `until`, or before the next look."""
    latest = now + LOOK_SECS
    return DeliveryResult(Standing(state, reason), latest if until is None else min(max(until, now), latest))


def explain(decision: Decision, now: Instant) -> DeliveryResult:
    """Why pacing spends no call now."""
    match decision.step:
        case Step.CLOSED:
            return wait("closed", "Outside the hours of delivery.", now, decision.at)
        case Step.QUOTA_EXHAUSTED:
            return wait("quota_exhausted", "The day's calls are used.", now, decision.at)
        case _:
            return wait("sending", "Gathering leads for the next call.", now, decision.at)
