"""What people do to the ledger, each with its reason: pause and resume a sync, retry leads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, bindparam, func, insert, literal_column, select, update

from syncd.ledger.calls import PENDING, RESUMED_AT
from syncd.ledger.captures import CLEARED, remember_life, shift_tally
from syncd.ledger.home import Home
from syncd.ledger.schema import act, call, lead, sync
from syncd.model import Instant
from syncd.states import LeadState

RETRIED = (LeadState.REJECTED, LeadState.EXPIRED, LeadState.WITHDRAWN, LeadState.DUPLICATE)
"""States from which an operator may send a lead on its way again: nobody was called because of it."""


def write_act(
    connection: Connection, now: Instant, who: str, what: str, subject: str, reason: str, leads: int = 0
) -> None:
    """Write down what somebody did, and why."""
    connection.execute(insert(act).values(at=now, who=who, what=what, subject=subject, reason=reason, leads=leads))


def pause(connection: Connection, sync_id: int, now: Instant, reason: str) -> None:
    """Send nothing of a sync until it is resumed; capture goes on."""
    connection.execute(update(sync).where(sync.c.id == sync_id).values(paused_at=now, pause_reason=reason))


def as_sentence(reason: str) -> str:
    """A reason that a sentence may follow."""
    return reason if reason.endswith((".", "!", "?")) else reason + "."


def resume(connection: Connection, sync_id: int, now: Instant) -> None:
    """Send again; what has come until now is no surge."""
    connection.execute(
        update(sync).where(sync.c.id == sync_id).values(paused_at=None, pause_reason=None, resumed_at=now)
    )


def lately(connection: Connection, sync_id: int, since: Instant) -> int:
    """Leads that came since an instant, and since the sync was resumed, and wait or left with a call.

    Neither those that were there at the start nor those that were retried in bulk count. Of the leads that left, those
    count that had come within the hour before their call.
    """
    resumed = connection.scalar(RESUMED_AT, {"of_sync": sync_id})
    given = {"of_sync": sync_id, "since": max(since, resumed or since)}
    return int(connection.scalar(_WAITING, given) or 0) + int(connection.scalar(_LEFT, given) or 0)


_WAITING: Final = select(func.count()).where(
    lead.c.sync_id == bindparam("of_sync"),
    lead.c.state == PENDING,
    lead.c.rank == 0,
    lead.c.captured_at > bindparam("since"),
)
_LEFT: Final = select(func.coalesce(func.sum(call.c.fresh), 0)).where(
    call.c.sync_id == bindparam("of_sync"),
    call.c.started_at > bindparam("since"),
    call.c.state.not_in([literal_column("'refused'"), literal_column("'not_sent'")]),
)


def retry(
    connection: Connection,
    home: Home,
    sync_id: int,
    ids: Sequence[int],
    state: LeadState,
    now: Instant,
    reason: str,
    *,
    rank: int = 0,
) -> int:
    """Leads of one state of `RETRIED` become pending; the caller has locked their sync. Returns how many.

    Args:
        ids: leads that are in `state`.
        rank: `EXISTING_RANK` lets them wait behind all others, and is no surge.
    """
    if not ids:
        return 0
    remember_life(connection, home, ids, now, f"retried: {reason}")
    moved = connection.execute(
        update(lead)
        .where(home.among(lead.c.id, ids))
        .values({"state": "pending", "captured_at": now, "rank": rank} | CLEARED)
    ).rowcount
    shift_tally(connection, sync_id, {state.value: -moved, "pending": moved})
    return moved


@dataclass(frozen=True, slots=True)
class Act:
    """Something that somebody did."""

    at: Instant
    who: str
    what: str
    subject: str
    reason: str
    leads: int


def acts(connection: Connection, limit: int) -> list[Act]:
    """What people did, the latest first."""
    rows = connection.execute(
        select(act.c.at, act.c.who, act.c.what, act.c.subject, act.c.reason, act.c.leads)
        .order_by(act.c.id.desc())
        .limit(limit)
    )
    return [Act(*row) for row in rows]
