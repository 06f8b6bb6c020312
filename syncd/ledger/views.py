"""What operators ask of the ledger. Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Select, bindparam, func, select

from syncd.errors import UnknownName
from syncd.ledger.calls import PENDING
from syncd.ledger.captures import EXISTING_RANK
from syncd.ledger.schema import act, call, history, lead, lease, sync, tally
from syncd.model import Instant


@dataclass(frozen=True, slots=True)
class SyncView:
    """One sync as the ledger has it."""

    name: str
    watermark: str | None
    states: dict[str, int]
    oldest_pending_at: Instant | None
    existing: str | None
    """What is being done with the rows that were there at the start; None: nothing."""
    scanned: int
    scan_estimate: int | None
    gap: str | None
    """Why a sweep of the whole table is due; None: it is not."""
    paused: str | None
    """Why nothing of it is sent; None: it is."""


def syncs(connection: Connection) -> list[SyncView]:
    """Every sync that the ledger knows, with its counts."""
    counts: dict[int, dict[str, int]] = {}
    for sync_id, state, leads in connection.execute(select(tally.c.sync_id, tally.c.state, tally.c.leads)):
        counts.setdefault(sync_id, {})[state] = leads
    return [
        SyncView(
            name=row.name,
            watermark=row.watermark,
            states=counts.get(row.id, {}),
            oldest_pending_at=oldest_pending(connection, row.id),
            existing=row.existing,
            scanned=row.scanned,
            scan_estimate=row.scan_estimate,
            gap=row.gap,
            paused=row.pause_reason,
        )
        for row in connection.execute(select(sync).order_by(sync.c.id)).all()
    ]


def oldest_pending(connection: Connection, sync_id: int) -> Instant | None:
    """When the lead that waits longest was captured."""
    return min(oldest_by_rank(connection, sync_id).values(), default=None)


_OLDEST: Final = (
    select(lead.c.captured_at)
    .where(lead.c.sync_id == bindparam("of_sync"), lead.c.state == PENDING, lead.c.rank == bindparam("of_rank"))
    .order_by(lead.c.captured_at, lead.c.id)
    .limit(1)
)


def oldest_by_rank(connection: Connection, sync_id: int) -> dict[int, Instant]:
    """The same for each rank that waits: each is one look into the index of pending leads."""
    found = {}
    for rank in (0, EXISTING_RANK):
        at = connection.scalar(_OLDEST, {"of_sync": sync_id, "of_rank": rank})
        if at is not None:
            found[rank] = at
    return found


def unresolved_calls(connection: Connection) -> int:
    """How many calls have an outcome that is not known."""
    return connection.scalar(select(func.count()).where(call.c.state == "unknown")) or 0


def last_call_at(connection: Connection) -> Instant | None:
    """When the last call was started, of whatever kind."""
    return connection.scalar(_LAST_CALL)


_LAST_CALL: Final = select(call.c.started_at).order_by(call.c.n.desc()).limit(1)


def sender(connection: Connection) -> str | None:
    """Who holds, or held last, the lease."""
    return connection.scalar(select(lease.c.holder))


@dataclass(frozen=True, slots=True)
class LeadView:
    """One lead as the ledger has it: never a value of its row."""

    key: str
    state: str
    captured_at: Instant
    settled_at: Instant | None
    call_id: str | None
    field: str | None
    rule: str | None
    reason: str | None


def _leads() -> Select[Any]:
    return select(
        lead.c.key,
        lead.c.state,
        lead.c.captured_at,
        lead.c.settled_at,
        call.c.id,
        lead.c.field,
        lead.c.rule,
        lead.c.reason,
    ).join_from(lead, call, lead.c.call_n == call.c.n, isouter=True)


def leads(connection: Connection, name: str, state: str | None, limit: int) -> list[LeadView]:
    """The leads of a sync, the latest first.

    Raises:
        UnknownName: where the ledger knows no such sync.
    """
    query = _leads().where(lead.c.sync_id == sync_id_of(connection, name))
    if state is not None:
        query = query.where(lead.c.state == state)
    return [LeadView(*row) for row in connection.execute(query.order_by(lead.c.id.desc()).limit(limit))]


def rejected_by_reason(connection: Connection, name: str) -> list[tuple[str, str, str, int]]:
    """How many leads were rejected, by field, rule and reason; the most first."""
    rows = connection.execute(
        select(lead.c.field, lead.c.rule, lead.c.reason, func.count().label("leads"))
        .where(lead.c.sync_id == sync_id_of(connection, name), lead.c.state == "rejected")
        .group_by(lead.c.field, lead.c.rule, lead.c.reason)
        .order_by(func.count().desc())
    )
    return [tuple(row) for row in rows]


@dataclass(frozen=True, slots=True)
class Event:
    """One step in the life of a lead."""

    at: Instant
    what: str
    call_id: str | None


def trace(connection: Connection, name: str, key: str) -> tuple[LeadView, list[Event]]:
    """A lead and every step of it, the first first.

    Raises:
        UnknownName: where the ledger has no such sync or key.
    """
    sync_id = sync_id_of(connection, name)
    row = connection.execute(_leads().where(lead.c.sync_id == sync_id, lead.c.key == key)).one_or_none()
    if row is None:
        raise UnknownName(
            f'The ledger has no lead "{key}" in sync "{name}".',
            "Either the key is written differently, the row does not match `where`, or it has not been captured yet.",
        )
    view = LeadView(*row)
    lives = connection.execute(
        select(history, *_OF_ITS_CALL)
        .join_from(history, lead, history.c.lead_id == lead.c.id)
        .join(call, history.c.call_n == call.c.n, isouter=True)
        .where(lead.c.sync_id == sync_id, lead.c.key == key)
        .order_by(history.c.id)
    )
    events: list[Event] = []
    captured = None
    for life in lives:
        if life.captured_at != captured:
            events.append(Event(life.captured_at, "captured", None))
        events += _of_call(life, life.left_state)
        if life.settled_at is not None:
            events.append(Event(life.settled_at, _settled(life.left_state, life.reason, life), life.call_id))
        events.append(Event(life.at, f"pending again: {life.cause}", None))
        captured = life.at
    last = connection.execute(
        select(lead.c.captured_at, lead.c.settled_at, *_OF_ITS_CALL)
        .join_from(lead, call, lead.c.call_n == call.c.n, isouter=True)
        .where(lead.c.sync_id == sync_id, lead.c.key == key)
    ).one()
    if view.captured_at != captured and (not events or view.captured_at > events[0].at):
        events.append(Event(view.captured_at, "captured" if not events else "captured again", None))
    events += _of_call(last, view.state)
    if view.settled_at is not None:
        events.append(Event(view.settled_at, _settled(view.state, view.reason, last), view.call_id))
    for pause in _pauses(connection, name, events[0].at, view.settled_at):
        later = (place for place, event in enumerate(events) if event.at > pause.at)
        events.insert(next(later, len(events)), pause)
    return view, events


_OF_ITS_CALL = (
    call.c.id.label("call_id"),
    call.c.started_at.label("sent_at"),
    call.c.ended_at.label("call_ended_at"),
    call.c.resolved_by,
)


def _of_call(row: Any, state: str) -> list[Event]:
    """The steps of a call: when it was sent, and that its outcome was not known, where that is or was so."""
    if not row.call_id:
        return []
    events = [Event(row.sent_at, "sending", row.call_id)]
    if state == "held" or (row.resolved_by is not None and row.call_ended_at is not None):
        events.append(
            Event(row.call_ended_at or row.sent_at, "held: what became of the call is not known", row.call_id)
        )
    return events


def _settled(state: str, reason: str | None, row: Any) -> str:
    """How a life ended, and who said so where wolkvox's reply did not."""
    why = reason or (row.resolved_by if row.call_id else None)
    return state + (f": {why}" if why else "")


def _pauses(connection: Connection, name: str, since: Instant, until: Instant | None) -> list[Event]:
    """When its sync was paused and resumed while a lead lived."""
    rows = connection.execute(
        select(act.c.at, act.c.who, act.c.what, act.c.reason)
        .where(act.c.subject == name, act.c.what.in_(("pause", "resume")), act.c.at >= since)
        .order_by(act.c.id)
    )
    return [
        Event(row.at, f"its sync was {row.what}d by {row.who}: {row.reason}", None)
        for row in rows
        if until is None or row.at <= until
    ]


@dataclass(frozen=True, slots=True)
class CallView:
    """One call as the ledger has it."""

    id: str
    kind: str
    sync: str | None
    campaign_id: str | None
    state: str
    leads: int
    started_at: Instant
    ended_at: Instant | None
    http_status: int | None
    verdict: str | None
    sentence: str | None
    checks: int
    """How often wolkvox was asked what became of it."""
    resolved_by: str | None
    """How an unknown outcome became known: ``verified``, a setting, or who said so and why."""


def calls(connection: Connection, *, unresolved: bool, limit: int) -> list[CallView]:
    """Calls, the latest first."""
    query = select(
        call.c.id,
        call.c.kind,
        sync.c.name,
        call.c.campaign_id,
        call.c.state,
        call.c.leads,
        call.c.started_at,
        call.c.ended_at,
        call.c.http_status,
        call.c.verdict,
        call.c.sentence,
        call.c.checks,
        call.c.resolved_by,
    ).join_from(call, sync, call.c.sync_id == sync.c.id, isouter=True)
    if unresolved:
        query = query.where(call.c.state.in_(("intended", "unknown")))
    return [CallView(*tuple(row)) for row in connection.execute(query.order_by(call.c.n.desc()).limit(limit))]


_SYNC_ID: Final = select(sync.c.id).where(sync.c.name == bindparam("of_name"))


def sync_id_of(connection: Connection, name: str) -> int:
    found = connection.scalar(_SYNC_ID, {"of_name": name})
    if found is None:
        raise UnknownName(f'The ledger knows no sync "{name}".', "See `syncd status` for those that it knows.")
    return int(found)
