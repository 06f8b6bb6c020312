"""What must wait after a refusal: the sender, a campaign or a sync, each with its own back-off. Pure.

Mutable state: what is parked; used by the delivery thread alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from syncd.model import Instant, is_set_back

SENDER = "sender"
SLOWEST_SECS = 3600.0
"""The longest that something waits before it is tried again, unless its first wait is longer."""


def campaign_key(campaign_id: str) -> str:
    """What a campaign is parked under."""
    return f"campaign {campaign_id}"


def sync_key(sync: str) -> str:
    """What a sync is parked under."""
    return f"sync {sync}"


@dataclass(frozen=True, slots=True)
class Park:
    """Something that must wait."""

    since: Instant
    until: Instant
    times: int
    """How often in a row, for the same verdict."""
    verdict: str
    sentence: str


class Parks:
    """All that is parked.

    Args:
        next_day: when the quota day after an instant begins.
    """

    def __init__(self, next_day: Callable[[Instant], Instant]) -> None:
        self._next_day = next_day
        self._parks: dict[str, Park] = {}

    def park(
        self,
        key: str,
        now: Instant,
        secs: float,
        verdict: str,
        sentence: str,
        *,
        slowest: float = SLOWEST_SECS,
    ) -> Park:
        """Let something wait; the wait doubles with each repetition.

        Args:
            secs: the first wait; infinity waits for the next quota day.
            slowest: the longest wait, where `secs` is not longer itself.
        """
        before = self._parks.get(key)
        times = before.times + 1 if before is not None and before.verdict == verdict else 1
        if secs == float("inf"):
            until = self._next_day(now)
        else:
            until = now + min(secs * 2 ** min(times - 1, 10), max(secs, slowest))
        self._parks[key] = Park(now, until, times, verdict, sentence)
        return self._parks[key]

    def waiting(self, now: Instant, *keys: str) -> Park | None:
        """The first of `keys` that must still wait."""
        for key in keys:
            park = self._parks.get(key)
            # A clock that was set back would make it last as long as that jump: then it is tried at once instead.
            if park is not None and not is_set_back(now, park.since) and now < park.until:
                return park
        return None

    def on_trial(self, *keys: str) -> bool:
        """Whether one of `keys` was refused last, and has not been accepted since."""
        return any(key in self._parks for key in keys)

    def release(self, *keys: str) -> None:
        """These work again."""
        for key in keys:
            self._parks.pop(key, None)
