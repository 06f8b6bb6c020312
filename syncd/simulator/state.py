"""What a test, the demo or a rehearsal asks afterwards: how many calls, which leads, how often."""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import date

from syncd.simulator.campaigns import Campaigns, Summary
from syncd.simulator.faults import Fault, Script
from syncd.simulator.gate import Gate
from syncd.simulator.settings import Settings

_LAST_CALLS = 1000
_LOOK_SECS = 0.01  # not all that changes is noted: a call in flight is not


@dataclass(frozen=True, slots=True)
class Seen:
    """One call as it went.

    at: when its headers had been read, by the simulator's clock (seconds since the epoch).
    took: real seconds from then until its reply or cut.
    status: what was answered, 0 if nothing was. reason: of a refusal.
    records: in the body, as far as it was read. accepted: how many were stored.
    fault: the kind that struck it, or "".
    """

    at: float
    took: float
    api: str
    campaign_id: str
    status: int
    reason: str
    records: int
    accepted: int
    fault: str


class State:
    """Reads of a running simulator; each is a copy, safe from any thread."""

    def __init__(self, settings: Settings, gate: Gate, campaigns: Campaigns, script: Script) -> None:
        self._settings = settings
        self._gate = gate
        self._campaigns = campaigns
        self._script = script
        self._noted = threading.Condition()
        # Behind the condition:
        self._calls: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._struck: Counter[str] = Counter()
        self._last: deque[Seen] = deque(maxlen=_LAST_CALLS)

    def note(self, seen: Seen) -> None:
        """Count a call; the server does so before the client can know how it went."""
        with self._noted:
            self._calls[seen.api] += 1
            if seen.reason:
                self._refused[seen.reason] += 1
            if seen.fault:
                self._struck[seen.fault] += 1
            self._last.append(seen)
            self._noted.notify_all()

    def wait_for(self, condition: Callable[["State"], bool], timeout: float = 10.0) -> bool:
        """Wait, at most ``timeout`` real seconds, until ``condition(state)``; whether it came true."""
        until = time.monotonic() + timeout
        with self._noted:
            while not (met := condition(self)) and time.monotonic() < until:
                self._noted.wait(_LOOK_SECS)
            return met

    def calls(self) -> dict[str, int]:
        """Calls that arrived, by api ("unknown" for one that does not exist)."""
        with self._noted:
            return dict(self._calls)

    def refused(self) -> dict[str, int]:
        """Calls refused, by reason."""
        with self._noted:
            return dict(self._refused)

    def struck(self) -> dict[str, int]:
        """Faults that struck, by kind."""
        with self._noted:
            return dict(self._struck)

    def last_calls(self) -> tuple[Seen, ...]:
        """The last thousand calls, in the order in which they ended."""
        with self._noted:
            return tuple(self._last)

    def quota_used(self, token: str | None = None, day: date | None = None) -> int:
        """Units spent on ``day`` (today, by the simulator's clock): by one token, or by all."""
        return self._gate.used(token, day)

    def in_flight(self) -> int:
        """Calls admitted and not yet answered."""
        return self._gate.in_flight()

    def peak_simultaneous(self) -> int:
        """The most calls that one token had at once, those refused for it among them."""
        return self._gate.peak()

    def accepted(self, campaign_id: str) -> dict[str, int]:
        """How many times each lead was accepted, by the ``identity`` field; {} for an unknown campaign."""
        return self._campaigns.accepted(campaign_id)

    def records(self, campaign_id: str) -> list[dict[str, str]]:
        """The records that the campaign holds, oldest first. Empty if ``keep_records`` is off."""
        return [dict(kept.fields) for kept in self._campaigns.kept(campaign_id)]

    def campaigns(self) -> tuple[Summary, ...]:
        """Every campaign in numbers."""
        return self._campaigns.summaries()

    def bodies(self) -> tuple[bytes, ...]:
        """The last ``keep_bodies`` bodies of add_record, oldest first."""
        return self._campaigns.bodies()

    def faults(self) -> tuple[Fault, ...]:
        """The faults that may still strike."""
        return self._script.waiting()

    def reset(self) -> None:
        """Forget the counts of calls, faults and refusals."""
        with self._noted:
            for counter in (self._calls, self._refused, self._struck):
                counter.clear()
            self._last.clear()

    def to_json(self) -> Mapping[str, object]:
        """All of it in one object, as GET /_simulator/state shows it."""
        campaigns = self.campaigns()
        return {
            "calls": self.calls(),
            "refused": self.refused(),
            "quota": {
                "limit": self._settings.quota,
                "used": self.quota_used(),
                "day": self._gate.today().isoformat(),
            },
            "campaigns": {each.id: {k: v for k, v in asdict(each).items() if k != "id"} for each in campaigns},
            "total_accepted": sum(each.accepted for each in campaigns),
            "unique_leads": sum(each.unique_leads for each in campaigns),
            "leads_accepted_more_than_once": sum(each.leads_accepted_more_than_once for each in campaigns),
            "in_flight": self.in_flight(),
            "peak_simultaneous": self.peak_simultaneous(),
            "faults_struck": self.struck(),
            "faults_waiting": [fault.to_json() for fault in self.faults()],
        }
