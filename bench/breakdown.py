"""Where syncd's time went, from its own log and from the moments at which the simulator accepted its calls.

Delivery is one thread, so its steps add up to the whole; capture is another, and runs beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bench.sink import Accepted


@dataclass(frozen=True, slots=True)
class Breakdown:
    """Seconds. The first three and the sums of the next three are the run."""

    start_up: float
    """From the spawn to `daemon.started`: the interpreter, imports, the configuration, the ledger's tables."""
    until_sender: float
    """From there to `sender.began`: the lease and the threads."""
    first_page: float
    """From there to the first chunk of keys in the ledger."""
    prepare: float
    """All calls: claiming, reading rows, mapping, encoding, the intent; and waiting for keys or for the processor."""
    post: float
    """All calls: from the connection to the acceptance."""
    settle: float
    """All calls but the last: from the acceptance to the outcome in the ledger."""
    capture: float
    """From `sender.began` to the last key in the ledger, beside delivery, and waiting for the processor with it."""
    calls: int
    keys: int

    def rows(self) -> list[tuple[str, float]]:
        """Each step in words, with its seconds."""
        return [
            ("start-up: imports, configuration, tables", self.start_up),
            ("lease and threads", self.until_sender),
            ("first chunk of keys", self.first_page),
            (f"prepare and intend, {self.calls} calls", self.prepare),
            (f"post, {self.calls} calls", self.post),
            (f"settle, {self.calls - 1} calls", self.settle),
            (f"(beside it: the scan of {self.keys:,} keys)", self.capture),
        ]


def break_down(events: Sequence[dict[str, Any]], spawned: float, accepted: Sequence[Accepted]) -> Breakdown:
    """Part a run into its steps.

    Args:
        events: what the daemon logged, as dictionaries.
        spawned: when it was started, in seconds since the epoch.
        accepted: its calls, as the simulator saw them.
    """
    scans = _of(events, "intake.backfill")  # the first chunk, now and then another, and the end
    finished = _of(events, "call.finished")
    started, began = (_at(_of(events, name)[0]) for name in ("daemon.started", "sender.began"))
    first = min(max(_at(scans[0]), began), accepted[0].epoch)
    posts = [float(event["seconds"]) for event in finished]
    ends = [_at(event) for event in finished]
    settle = sum(end - call.epoch for end, call in zip(ends[:-1], accepted, strict=False))
    return Breakdown(
        start_up=started - spawned,
        until_sender=began - started,
        first_page=first - began,
        prepare=accepted[-1].epoch - first - sum(posts) - settle,
        post=sum(posts),
        settle=settle,
        capture=_at(scans[-1]) - began,
        calls=len(finished),
        keys=scans[-1]["rows"],
    )


def _of(events: Sequence[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [event for event in events if event["event"] == name]


def _at(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["timestamp"]).timestamp()
