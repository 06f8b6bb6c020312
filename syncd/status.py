"""What state is syncd in: one answer for the page, the command and the metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from syncd.config import Config
from syncd.ledger import Ledger
from syncd.ledger.acts import as_sentence
from syncd.ledger.views import SyncView
from syncd.model import Instant, Quota
from syncd.pacing import quota_day, quota_resets_at


@dataclass(frozen=True, slots=True)
class SyncStatus:
    """One sync."""

    name: str
    capture: str
    watermark: str | None
    states: dict[str, int]
    oldest_pending_secs: float | None
    backfill: tuple[int, int | None] | None
    """While rows that were there at the start are taken: how many were gone through, of about how many."""
    remark: str | None
    """What is not as it should be, in words."""


@dataclass(frozen=True, slots=True)
class Status:
    """The whole of it."""

    ready: bool
    state: str
    reason: str
    quota: Quota
    syncs: tuple[SyncStatus, ...]
    unresolved_calls: int

    def as_json(self, zone: ZoneInfo) -> dict[str, Any]:
        """The status JSON, whose names are a contract."""
        return {
            "ready": self.ready,
            "state": self.state,
            "reason": self.reason,
            "quota": {
                "limit": self.quota.limit,
                "used": self.quota.used,
                "remaining": self.quota.remaining,
                "reserved": self.quota.reserved,
                "resets_at": datetime.fromtimestamp(self.quota.resets_at, zone).isoformat(),
            },
            "syncs": [
                {
                    "name": sync.name,
                    "capture": sync.capture,
                    "watermark": sync.watermark,
                    "states": sync.states,
                    "oldest_pending_secs": sync.oldest_pending_secs,
                    "backfill": sync.backfill and {"rows": sync.backfill[0], "of_about": sync.backfill[1]},
                    "remark": sync.remark,
                }
                for sync in self.syncs
            ],
            "unresolved_calls": self.unresolved_calls,
        }


def status_of(
    config: Config,
    ledger: Ledger,
    now: Instant,
    *,
    ready: bool,
    state: str,
    reason: str,
    remarks: Mapping[str, str] | None = None,
) -> Status:
    """Ask the ledger; the state itself is the caller's to know, and so is what there is to remark of a sync.

    Raises:
        LedgerError: the ledger does not answer.
    """
    zone = config.wolkvox.zone
    quota = Quota(
        limit=config.wolkvox.daily_limit,
        used=ledger.calls_started(quota_day(now, zone).isoformat()),
        reserved=config.wolkvox.reserve_calls,
        resets_at=quota_resets_at(now, zone),
    )
    known = {view.name: view for view in ledger.syncs()}
    syncs = []
    for sync in config.sync:
        view = known.get(sync.name)
        oldest = view.oldest_pending_at if view else None
        syncs.append(
            SyncStatus(
                name=sync.name,
                capture=sync.capture,
                watermark=view.watermark if view else None,
                states=view.states if view else {},
                oldest_pending_secs=None if oldest is None else round(max(0.0, now - oldest), 3),
                backfill=(view.scanned, view.scan_estimate) if view and view.existing == "take" else None,
                remark=_remark(sync.name, view, (remarks or {}).get(sync.name)),
            )
        )
    return Status(ready, state, reason, quota, tuple(syncs), ledger.unresolved_calls())


def _remark(name: str, view: SyncView | None, capturing: str | None) -> str | None:
    """What there is to say of a sync: that it is paused, and what capture has to say."""
    paused = view.paused if view else None
    said = [
        f"paused: {as_sentence(paused)} `syncd resume {name}` sends its leads." if paused is not None else None,
        capturing or (view.gap if view else None),
    ]
    return " ".join(sentence for sentence in said if sentence) or None


def in_words(status: Status, zone: ZoneInfo) -> str:
    """The status for a person, as plain text."""
    quota = status.quota
    resets = datetime.fromtimestamp(quota.resets_at, zone)
    allowed = quota.limit - quota.reserved
    lines = [f"{status.state}: {status.reason}"]
    lines.append(
        f"calls    {quota.used} used of {allowed} today, {quota.remaining} left"
        f" ({quota.reserved} reserved for others); anew at {resets:%Y-%m-%d %H:%M %Z}"
    )
    if status.unresolved_calls:
        lines.append(f"unresolved calls: {status.unresolved_calls} (see `syncd calls --unresolved`)")
    for sync in status.syncs:
        counts = ", ".join(f"{leads:,} {state}" for state, leads in sync.states.items() if leads) or "no leads yet"
        lines.append(f"{sync.name:<8} {counts}")
        if sync.oldest_pending_secs is not None:
            lines.append(f"{'':<8} the oldest has waited {sync.oldest_pending_secs:,.0f} s")
        reached = sync.watermark or ("what is in the outbox" if sync.capture == "listen" else "nowhere yet")
        lines.append(f"{'':<8} captured by {sync.capture}, up to {reached}")
        if sync.backfill is not None:
            rows, of_about = sync.backfill
            about = "" if of_about is None else f" of about {max(rows, of_about):,}"
            lines.append(f"{'':<8} backfill: {rows:,}{about} rows that were there at the start")
        if sync.remark is not None:
            lines.append(f"{'':<8} {sync.remark}")
    return "\n".join(lines) + "\n"


def utc(instant: Instant | None) -> str | None:
    """An instant for a machine: ISO 8601 in UTC."""
    return None if instant is None else datetime.fromtimestamp(instant, UTC).isoformat(timespec="milliseconds")
