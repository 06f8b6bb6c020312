"""What is written when an unknown outcome becomes known, by asking wolkvox or by somebody's word."""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, bindparam, func, literal_column, null, select, update

from syncd.errors import UnknownName
from syncd.ledger import people
from syncd.ledger.captures import CLEARED, remember_life, shift_tally
from syncd.ledger.home import Home
from syncd.ledger.outcomes import NOT_TAKEN
from syncd.ledger.schema import call, history, lead, sync
from syncd.model import Instant
from syncd.states import CallState, LeadState, add_counts, after_settling

_PRINT = struct.Struct(">q8s")
HELD: ColumnElement[str] = literal_column("'held'")
"""Written into the statement: so may the planner use the partial index of leads in flight."""


@dataclass(frozen=True, slots=True)
class OpenCall:
    """A call whose outcome is not known."""

    number: int
    id: str
    sync: str
    sync_id: int
    campaign_id: str
    leads: int
    """That it carried."""
    started_at: Instant
    ended_at: Instant
    checks: int
    """How often wolkvox was asked about it, to an end."""
    checked_at: Instant | None
    """When that was last; with no check, since when one is asked for."""
    left_at: Instant | None
    """By when its request had left."""
    marker: str | None
    """The field that every record was stamped in with the call's id, whatever the configuration says by now."""


@dataclass(frozen=True, slots=True)
class HeldLead:
    """A lead of such a call."""

    id: int
    key: str
    absent_at: Instant | None
    """When wolkvox was first seen not to have it, without a break since."""
    print: bytes | None
    """The keyed hash of the record that was sent, if it is known."""
    before: bool
    """Whether wolkvox had taken this lead before: what is found of it may be that."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What one check found; leads that are in neither list stay as they are, and nothing is known of them."""

    there: Sequence[int] = ()
    """Leads that wolkvox has from this call."""
    absent: Sequence[int] = ()
    """Leads that wolkvox has not."""


def pack_prints(prints: Mapping[int, bytes]) -> bytes:
    """Eight bytes of each record's keyed hash, with its lead's number."""
    return b"".join(_PRINT.pack(lead_id, value[:8]) for lead_id, value in prints.items())


def unpack_prints(packed: bytes | None) -> dict[int, bytes]:
    """The inverse of `pack_prints`; empty for None."""
    return dict(_PRINT.iter_unpack(packed or b""))


def unresolved(connection: Connection) -> list[OpenCall]:
    """Calls with leads whose outcome is not known, the first first."""
    return [OpenCall(*tuple(row)) for row in connection.execute(_UNRESOLVED)]


_UNRESOLVED: Final = (
    select(
        call.c.n,
        call.c.id,
        sync.c.name,
        sync.c.id,
        call.c.campaign_id,
        call.c.leads,
        call.c.started_at,
        call.c.ended_at,
        call.c.checks,
        call.c.checked_at,
        call.c.left_at,
        call.c.marker,
    )
    .join_from(call, sync, call.c.sync_id == sync.c.id)
    .where(call.c.state == CallState.UNKNOWN.value, call.c.kind == "add_record")
    .order_by(call.c.n)
)


def held(connection: Connection, number: int) -> list[HeldLead]:
    """The leads of a call that are held still, by number."""
    prints = unpack_prints(connection.scalar(_PRINTS, {"number": number}))
    rows = connection.execute(_HELD_OF, {"number": number})
    return [HeldLead(row.id, row.key, row.absent_at, prints.get(row.id), bool(row.before)) for row in rows]


def _delivered_before() -> ColumnElement[bool]:
    return (
        select(history.c.id)
        .where(
            history.c.lead_id == lead.c.id,
            (history.c.left_state == LeadState.DELIVERED.value) | history.c.cause.startswith("delivered,"),
        )
        .exists()
    )


_PRINTS: Final = select(call.c.prints).where(call.c.n == bindparam("number"))
_HELD_OF: Final = (
    select(lead.c.id, lead.c.key, lead.c.absent_at, _delivered_before().label("before"))
    .where(lead.c.call_n == bindparam("number"), lead.c.state == HELD)
    .order_by(lead.c.id)
)


def note_check(
    connection: Connection,
    home: Home,
    number: int,
    findings: Findings,
    now: Instant,
    *,
    again_secs: float,
    resend_changed: bool,
) -> dict[str, int]:
    """Write what a check found: what is there is delivered; what was absent for so long, and still is, is released.

    Args:
        again_secs: how far apart two absences must be for a lead to be pending again.

    Returns:
        How many leads went to each state.
    """
    sync_id = _open(connection, home, number)
    if sync_id is None:
        return {}
    still = {found.id: found for found in held(connection, number)}
    there = [lead_id for lead_id in findings.there if lead_id in still]
    absent = [lead_id for lead_id in findings.absent if lead_id in still]
    gone = [lead_id for lead_id in absent if _is_long(still[lead_id].absent_at, now, again_secs)]
    first = [lead_id for lead_id in absent if still[lead_id].absent_at is None]
    unsure = [lead_id for lead_id in still if lead_id not in {*there, *absent}]
    for ids, since in ((first, now), (unsure, None)):
        if ids:
            connection.execute(update(lead).where(home.among(lead.c.id, ids)).values(absent_at=since))
    settled = _deliver(connection, home, there, now, resend_changed=resend_changed)
    shift_tally(connection, sync_id, settled | {"held": -len(there)})
    released = _release(connection, home, sync_id, number, gone, now, "wolkvox was asked twice, and has it not")
    settled = add_counts(settled, released)
    connection.execute(_NOTE, {"number": number, "checked_at": now, "more": len(there)})
    _close_if_done(connection, number, "verified")
    return settled


_NOTE: Final = (
    update(call)
    .where(call.c.n == bindparam("number"))
    .values(checks=call.c.checks + 1, found=call.c.found + bindparam("more"))
)


def decide(
    connection: Connection,
    home: Home,
    number: int,
    state: LeadState,
    now: Instant,
    by: str,
    *,
    resend_changed: bool,
    only: Collection[int] | None = None,
) -> dict[str, int]:
    """Settle what is held of a call by somebody's word.

    Args:
        state: ``delivered``, or ``pending`` to send it again.
        by: who, or which setting, decides.
        only: the leads that are decided on; None for all that are held.

    Returns:
        How many leads went to each state; empty where the call is not unresolved any more.
    """
    sync_id = _open(connection, home, number)
    if sync_id is None:
        return {}
    ids = [found.id for found in held(connection, number) if only is None or found.id in only]
    if state is LeadState.DELIVERED:
        settled = _deliver(connection, home, ids, now, resend_changed=resend_changed)
        shift_tally(connection, sync_id, settled | {"held": -len(ids)})
        connection.execute(update(call).where(call.c.n == number).values(found=call.c.found + len(ids)))
    else:
        settled = _release(connection, home, sync_id, number, ids, now, f"to be sent again: {by}")
    _close_if_done(connection, number, by)
    return settled


def ask_again(connection: Connection, number: int, now: Instant) -> None:
    """Let the next check come at once, as if there had been none; `checked_at` then says since when."""
    connection.execute(update(call).where(call.c.n == number).values(checks=0, checked_at=now))


def find_open(connection: Connection, call_id: str) -> OpenCall:
    """An unresolved call by its id.

    Raises:
        UnknownName: there is no such call, or its outcome is known.
    """
    for found in unresolved(connection):
        if found.id == call_id:
            return found
    state = connection.scalar(select(call.c.state).where(call.c.id == call_id))
    if state is None:
        raise UnknownName(f'The ledger has no call "{call_id}".', "`syncd calls` lists them.")
    if state == CallState.INTENDED.value:
        raise UnknownName(f'Call "{call_id}" is under way.', "Its outcome is written when it ends; try again then.")
    raise UnknownName(
        f'The outcome of call "{call_id}" is known: {state}.', "`syncd calls --unresolved` lists those that are not."
    )


_SYNC_AND_STATE: Final = select(call.c.sync_id, call.c.state).where(call.c.n == bindparam("number"))


def _open(connection: Connection, home: Home, number: int) -> int | None:
    """The sync of a call that is unresolved, locked; None where it is not any more."""
    row = connection.execute(_SYNC_AND_STATE, {"number": number}).one()
    if row.state != CallState.UNKNOWN.value or row.sync_id is None:
        return None
    people.lock_syncs(connection, home, int(row.sync_id))
    return int(row.sync_id)


def _is_long(since: Instant | None, now: Instant, secs: float) -> bool:
    return since is not None and now - since >= secs


def _deliver(
    connection: Connection, home: Home, ids: Sequence[int], now: Instant, *, resend_changed: bool
) -> dict[str, int]:
    if not ids:
        return {}
    settled: dict[str, int] = {}
    among = home.among(lead.c.id, ids)
    if after_settling(LeadState.DELIVERED, changed=True, resend_changed=resend_changed) is LeadState.PENDING:
        changed = list(connection.scalars(select(lead.c.id).where(among, lead.c.changed == 1)))
        if changed:
            remember_life(connection, home, changed, now, "delivered, and the row changed meanwhile")
            connection.execute(
                update(lead)
                .where(home.among(lead.c.id, changed))
                .values({"state": "pending", "captured_at": now, "absent_at": None} | CLEARED)
            )
            settled["pending"] = len(changed)
    settled["delivered"] = connection.execute(
        update(lead)
        .where(among, lead.c.state == "held")
        .values(state="delivered", settled_at=now, changed=0, absent_at=None)
    ).rowcount
    return settled


def _release(
    connection: Connection, home: Home, sync_id: int, number: int, ids: Sequence[int], now: Instant, cause: str
) -> dict[str, int]:
    """Held leads that wolkvox has not become pending, and so do those that were left out as their duplicates."""
    if not ids:
        return {}
    remember_life(connection, home, ids, now, cause)
    again: dict[str, Any] = {"state": "pending"} | CLEARED
    connection.execute(update(lead).where(home.among(lead.c.id, ids)).values(again | NOT_TAKEN))
    shift_tally(connection, sync_id, {"held": -len(ids), "pending": len(ids)})
    return {"pending": len(ids) + people.let_go(connection, home, number, ids, now)}


_STILL_HELD: Final = select(func.count()).where(lead.c.call_n == bindparam("number"), lead.c.state == HELD)


def _close_if_done(connection: Connection, number: int, by: str) -> None:
    """Give the call its outcome once none of its leads is held."""
    if connection.scalar(_STILL_HELD, {"number": number}):
        return
    # Counted as they were found: a lead that has changed since may be on its way again.
    carried, found = connection.execute(select(call.c.leads, call.c.found).where(call.c.n == number)).one()
    state = CallState.ACCEPTED_IN_PART
    if found >= carried:
        state = CallState.ACCEPTED
    elif not found:
        state = CallState.REFUSED
    connection.execute(update(call).where(call.c.n == number).values(state=state.value, resolved_by=by, prints=null()))
