"""What delivery writes after a call: its outcome, and where its leads go."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, bindparam, case, func, literal_column, null, select, update

from syncd.errors import LedgerError
from syncd.ledger import people
from syncd.ledger.calls import LEAVES_SECS
from syncd.ledger.captures import CLEARED, remember_life, shift_tally
from syncd.ledger.home import Home
from syncd.ledger.people import IN_FLIGHT
from syncd.ledger.schema import call, lead
from syncd.model import Instant, RecordError
from syncd.states import CallState, LeadState, add_counts, after_settling


@dataclass(frozen=True, slots=True)
class Ending:
    """How a call ended, for the ledger."""

    state: CallState
    ended_at: Instant
    http_status: int | None
    verdict: str
    sentence: str
    rest: LeadState
    """Where the leads go that are not among `refused`."""
    refused: Mapping[int, RecordError] = field(default_factory=dict)
    """Leads that wolkvox refused one by one."""
    left_at: Instant | None = None
    """By when the request had left, where no answer proves that wolkvox is not at work on it any more."""


def finish(connection: Connection, home: Home, number: int, ending: Ending, *, resend_changed: bool) -> dict[str, int]:
    """Write what came of a call, and settle its leads.

    Returns:
        How many leads went to each state.
    """
    outcome = {
        "state": ending.state.value,
        "ended_at": ending.ended_at,
        "http_status": ending.http_status,
        "verdict": ending.verdict,
        "sentence": ending.sentence,
        "left_at": ending.left_at,
    }
    if ending.state is not CallState.UNKNOWN:
        outcome["prints"] = None
    row = connection.execute(_FINISH, outcome | {"number": number}).one_or_none()
    if row is None:
        if _is_written(connection, number, ending):
            return {}
        raise LedgerError(f"Call number {number} has an outcome already.")
    if row.sync_id is None:
        return {}
    people.lock_syncs(connection, home, int(row.sync_id))
    gone = _not_taken(connection, home, number, ending)
    counted = connection.execute(_COUNT_IN_FLIGHT, {"number": number})
    came_from: dict[str, int] = {state: leads for state, leads in counted.all()}  # noqa: C416  # Row is no tuple to mypy
    settled = add_counts(
        _settle_refused(connection, home, number, ending),
        _settle_rest(connection, home, number, ending, resend_changed=resend_changed),
    )
    shifts = add_counts(settled, {state: -leads for state, leads in came_from.items()})
    shift_tally(connection, int(row.sync_id), shifts)
    again = people.let_go(connection, home, number, gone, ending.ended_at)
    return add_counts(settled, {"pending": again}) if again else settled


def _not_taken(connection: Connection, home: Home, number: int, ending: Ending) -> list[int]:
    """The leads of a call that are in flight still, and of which wolkvox says that it has not taken them."""
    query = select(lead.c.id).where(lead.c.call_n == number, IN_FLIGHT)
    if ending.rest is not LeadState.PENDING:
        if not ending.refused:
            return []
        query = query.where(home.among(lead.c.id, list(ending.refused)))
    return list(connection.scalars(query))


_FINISH: Final = (
    update(call)
    .where(
        call.c.n == bindparam("number"),
        call.c.state.in_([literal_column("'intended'"), literal_column("'unknown'")]),
    )
    .returning(call.c.sync_id)
)
"""Of the columns that its parameters name, as `_SETTLE`."""
_OF_CALL: Final = (lead.c.call_n == bindparam("number"), IN_FLIGHT)
_COUNT_IN_FLIGHT: Final = select(lead.c.state, func.count()).where(*_OF_CALL).group_by(lead.c.state)
_SETTLE: Final = update(lead).where(*_OF_CALL)
_OPEN_LEADS: Final = select(lead.c.id).where(*_OF_CALL)
_CHANGED_LEADS: Final = _OPEN_LEADS.where(lead.c.changed == 1)


def _is_written(connection: Connection, number: int, ending: Ending) -> bool:
    """Whether this very outcome is there already: a commit whose answer was lost is tried again."""
    query = select(call.c.state, call.c.ended_at, call.c.verdict).where(call.c.n == number)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise LedgerError(f"The ledger has no call number {number} any more.", "Was it restored from a copy?")
    return tuple(row) == (ending.state.value, ending.ended_at, ending.verdict)


def _settle_refused(connection: Connection, home: Home, number: int, ending: Ending) -> dict[str, int]:
    """The leads that wolkvox named: rejected, or pending where their row has changed since."""
    if not ending.refused:
        return {}
    by_reason: dict[str, list[int]] = defaultdict(list)
    for lead_id, error in ending.refused.items():
        by_reason[error.reason].append(lead_id)
    rejected = again = 0
    for reason, ids in by_reason.items():
        # A late outcome finds leads that a check has let go of meanwhile: they may be in another call by now.
        among = home.among(lead.c.id, ids) & (lead.c.call_n == number) & IN_FLIGHT
        changed = list(connection.scalars(select(lead.c.id).where(among, lead.c.changed == 1)))
        if changed:
            remember_life(connection, home, changed, ending.ended_at, f"refused by wolkvox: {reason}")
            _back_to_pending(connection, home, changed, ending.ended_at)
        rejected += connection.execute(
            update(lead)
            .where(among)
            .values(
                state="rejected",
                settled_at=ending.ended_at,
                rule="wolkvox",
                field="",
                reason=reason,
                absent_at=None,
                fingerprint=lead.c.fingerprint_before,
            )
        ).rowcount
        again += len(changed)
    return {"rejected": rejected, "pending": again}


def _settle_rest(
    connection: Connection, home: Home, number: int, ending: Ending, *, resend_changed: bool
) -> dict[str, int]:
    of_call = {"number": number}
    if ending.rest is LeadState.HELD:
        held = connection.execute(_SETTLE, of_call | {"state": "held"}).rowcount
        return {"held": held}
    if ending.rest is LeadState.PENDING:
        ids = list(connection.scalars(_OPEN_LEADS, of_call))
        if ids:
            remember_life(connection, home, ids, ending.ended_at, f"not taken by wolkvox: {ending.verdict}")
            _back_to_pending(connection, home, ids, None)
        return {"pending": len(ids)}
    settled: dict[str, int] = {}
    if after_settling(ending.rest, changed=True, resend_changed=resend_changed) is LeadState.PENDING:
        changed = list(connection.scalars(_CHANGED_LEADS, of_call))
        if changed:
            remember_life(connection, home, changed, ending.ended_at, "delivered, and the row changed meanwhile")
            _back_to_pending(connection, home, changed, ending.ended_at, keep_print=True)
            settled["pending"] = len(changed)
    values = {"state": ending.rest.value, "settled_at": ending.ended_at, "changed": 0, "absent_at": None}
    settled[ending.rest.value] = connection.execute(_SETTLE, of_call | values).rowcount
    return settled


def _back_to_pending(
    connection: Connection,
    home: Home,
    ids: Sequence[int],
    captured_at: Instant | None,
    *,
    keep_print: bool = False,
) -> None:
    values: dict[str, Any] = {"state": "pending"} | CLEARED
    # Ten thousand leads of a refused call need not be read again to know where they go; a row that has changed must.
    values["campaign_id"] = case((lead.c.changed == 1, null()), else_=lead.c.campaign_id)
    if captured_at is not None:
        values["captured_at"] = captured_at
    if not keep_print:
        values |= NOT_TAKEN
    connection.execute(update(lead).where(home.among(lead.c.id, ids)).values(values))


NOT_TAKEN: Final[dict[str, Any]] = {"fingerprint": lead.c.fingerprint_before}
"""What a lead's hash is again where wolkvox has not taken it."""


def never_sent(connection: Connection, home: Home, call_id: str, now: Instant) -> None:
    """Settle a call whose intent may have been committed or not, and which was not made for that."""
    query = select(call.c.n).where(call.c.id == call_id, call.c.state == CallState.INTENDED.value)
    number = connection.scalar(query)
    if number is not None:
        sentence = "The ledger did not answer when this call was written down; it was not made."
        ending = Ending(CallState.NOT_SENT, now, None, "unwritten", sentence, LeadState.PENDING)
        finish(connection, home, number, ending, resend_changed=False)


def give_up_intended(connection: Connection, home: Home, now: Instant) -> list[tuple[str, int]]:
    """At start: whatever a dead process had intended may have been sent, so its outcome is unknown.

    Returns:
        The ids of such calls, and how many leads each now holds.
    """
    query = select(call.c.n, call.c.id, call.c.kind, call.c.started_at).where(call.c.state == "intended")
    given_up = []
    for number, call_id, kind, started_at in connection.execute(query).all():
        sentence = "syncd ended while this call was under way; whether wolkvox took the records is not certain."
        left_at = min(now, started_at + LEAVES_SECS)
        ending = Ending(CallState.UNKNOWN, now, None, "interrupted", sentence, LeadState.HELD, left_at=left_at)
        held = finish(connection, home, number, ending, resend_changed=False)
        if kind == "add_record":
            given_up.append((call_id, held.get("held", 0)))
        else:  # a read: nothing hangs on it
            connection.execute(update(call).where(call.c.n == number).values(state=CallState.REFUSED.value))
    return given_up
