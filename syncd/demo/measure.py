"""How it went, asked of syncd's own commands, as an operator would ask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from syncd.demo.proof import Sent
from syncd.demo.stage import SYNC, Command
from syncd.demo.traffic import Book
from syncd.model import Instant

_ALL = "10000000"


@dataclass(frozen=True, slots=True)
class Call:
    """A call to wolkvox."""

    began: Instant
    ended: Instant | None
    state: str


@dataclass(frozen=True, slots=True)
class Told:
    """What syncd tells of every lead and every call."""

    leads: Mapping[str, Sent]
    rejected: Sequence[tuple[str, str, str, int]]
    """Field, rule, reason, and how many leads; the most first."""
    calls: Sequence[Call]
    """The first first."""

    @property
    def states(self) -> dict[str, int]:
        """How many leads are in each state."""
        return dict(Counter(lead.state for lead in self.leads.values()))


@dataclass(frozen=True, slots=True)
class Waits:
    """How long some leads took from their commit to their acceptance."""

    leads: int
    p50: float | None
    p95: float | None
    longest: float | None


@dataclass(frozen=True, slots=True)
class Timing:
    """The speed of it."""

    live: Waits
    """Every lead that was inserted while the daemon ran, and delivered."""
    undisturbed: Waits
    """Those of them that did not wait while wolkvox refused."""
    corrected: Waits
    """Rejected leads, from their correction on."""
    backfill_leads: int
    backfill_secs: float
    """From the start of the daemon to the last acceptance of a lead that was there before."""


def listen_to(command: Command) -> Told:
    """Ask for every lead and call.

    Raises:
        EnvironmentFault: a command fails.
    """
    calls = {
        call["call"]: Call(_instant(call["started_at"]) or 0.0, _instant(call["ended_at"]), call["state"])
        for call in command.ask("calls", "--limit", _ALL)
    }
    leads: dict[str, Sent] = {}
    reasons: Counter[tuple[str, str, str]] = Counter()
    for lead in command.ask("leads", SYNC, "--limit", _ALL):
        call = calls.get(lead["call"])
        accepted = call.ended if call is not None and lead["state"] == "delivered" else None
        leads[lead["key"]] = Sent(lead["state"], call.began if call is not None else None, accepted)
        if lead["state"] == "rejected":
            reasons[lead["field"] or "", lead["rule"] or "", lead["reason"] or ""] += 1
    rejected = [(*reason, count) for reason, count in reasons.most_common()]
    return Told(leads, rejected, sorted(calls.values(), key=lambda call: call.began))


def time_it(told: Told, book: Book, began: Instant) -> Timing:
    """Measure.

    Args:
        began: when the daemon was started.
    """
    live = _spans(told, book.committed)
    pauses = _pauses(told.calls)
    undisturbed = [
        (since, until) for since, until in live if not any(since < end and until > begin for begin, end in pauses)
    ]
    before = [
        sent.accepted
        for key, sent in told.leads.items()
        if sent.accepted is not None and key not in book.committed and key not in book.corrected
    ]
    return Timing(
        live=waits([until - since for since, until in live]),
        undisturbed=waits([until - since for since, until in undisturbed]),
        corrected=waits([until - since for since, until in _spans(told, book.corrected)]),
        backfill_leads=len(before),
        backfill_secs=max(before, default=began) - began,
    )


def waits(secs: Sequence[float]) -> Waits:
    """Percentiles by nearest rank: each is a wait that some lead really had."""
    ordered = sorted(secs)
    if not ordered:
        return Waits(0, None, None, None)

    def rank(percent: int) -> float:
        return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]

    return Waits(len(ordered), rank(50), rank(95), ordered[-1])


def _spans(told: Told, since: Mapping[str, Instant]) -> list[tuple[Instant, Instant]]:
    spans = []
    for key, at in since.items():
        sent = told.leads.get(key)
        if sent is not None and sent.accepted is not None:
            spans.append((at, sent.accepted))
    return spans


def _pauses(calls: Sequence[Call]) -> list[tuple[Instant, Instant]]:
    """From each refused call to the acceptance after the next one: the probe carries a single lead."""
    pauses = []
    for place, call in enumerate(calls):
        if call.state == "refused":
            accepted = [later.ended for later in calls[place:] if later.state == "accepted" and later.ended]
            pauses.append((call.began, accepted[min(1, len(accepted) - 1)] if accepted else float("inf")))
    return pauses


def _instant(text: Any) -> Instant | None:
    return None if text is None else datetime.fromisoformat(text).timestamp()
