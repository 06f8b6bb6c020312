"""What delivery writes before a call: what needs none, and the intent. `outcomes` is what it writes after."""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    bindparam,
    case,
    func,
    insert,
    literal_column,
    select,
    update,
)

from syncd.errors import LedgerError, QuotaSpent, SenderDeposed
from syncd.ledger import people
from syncd.ledger.captures import shift_tally
from syncd.ledger.home import Home
from syncd.ledger.people import IN_FLIGHT
from syncd.ledger.schema import call, lead, lease, sync
from syncd.model import Claimed, Instant, Rejection, Settlement, Sign
from syncd.states import CallState, LeadState

PENDING: ColumnElement[str] = literal_column("'pending'")
"""Written into the statement, not bound: only so may the planner choose the partial index."""
SURGE_SECS = 3600.0
"""`max_leads_per_hour` looks back so far."""
LEAVES_SECS = 30.0
"""A request leaves within so many seconds of its intent, if at all: whoever was frozen for twenty does not post, and a
connection stands within ten (`delivery.sending`, `wolkvox.CONNECT_SECS`)."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Pending leads that delivery will read, and the moment of capture at which it looked."""

    seq: int
    leads: Sequence[Claimed]


@dataclass(frozen=True, slots=True)
class Intent:
    """A call that is about to be made."""

    id: str
    """Unique for ever, and short enough to type."""
    kind: str
    campaign_id: str | None
    quota_day: str
    budget: int
    """Calls that this quota day may see in all; the intent is refused beyond."""
    body_hash: bytes | None
    started_at: Instant
    deadline_at: Instant
    lead_ids: Sequence[int] = ()
    fingerprints: Mapping[int, bytes] = field(default_factory=dict)
    signs: Mapping[int, Collection[Sign]] = field(default_factory=dict)
    """By what each lead is recognised, where the sync dedupes."""
    forget_before: Instant | None = None
    """Signs of calls before this are of no use to any sync; None keeps all."""
    prints: bytes = b""
    """The keyed hash of each record, as `resolving.pack_prints` gives it."""
    marker: str | None = None
    """The field that every record is stamped in with the call's id."""


_SEQ: Final = select(sync.c.seq).where(sync.c.id == bindparam("of_sync"))
_PENDING_OF_SYNC: Final = (
    select(lead.c.id, lead.c.key, lead.c.captured_at, lead.c.fingerprint)
    .where(lead.c.sync_id == bindparam("of_sync"), lead.c.state == PENDING)
    .order_by(lead.c.rank, lead.c.captured_at, lead.c.id)
)
_CLAIM: Final = _PENDING_OF_SYNC.limit(bindparam("most"))


def claim(connection: Connection, sync_id: int, limit: int) -> Claim:
    """The pending leads that have waited longest, those that were there at the start last; nothing is written."""
    return _claimed(connection, sync_id, _CLAIM, most=limit)


_CLAIM_OF_CAMPAIGN: Final = _CLAIM.where(lead.c.campaign_id == bindparam("of_campaign"))
_CLAIM_UNROUTED: Final = _CLAIM.where(lead.c.campaign_id.is_(None))


def claim_routed(connection: Connection, sync_id: int, campaign_id: str | None, limit: int) -> Claim:
    """The same of those that go to one campaign; None for those of which it is not known yet."""
    if campaign_id is None:
        return _claimed(connection, sync_id, _CLAIM_UNROUTED, most=limit)
    return _claimed(connection, sync_id, _CLAIM_OF_CAMPAIGN, most=limit, of_campaign=campaign_id)


def claim_these(connection: Connection, home: Home, sync_id: int, ids: Sequence[int]) -> Claim:
    """Those of some leads that are pending still."""
    return _claimed(connection, sync_id, _PENDING_OF_SYNC.where(home.among(lead.c.id, ids)))


def _claimed(connection: Connection, sync_id: int, query: Select[Any], **given: Any) -> Claim:
    seq = connection.scalar(_SEQ, {"of_sync": sync_id})
    rows = connection.execute(query, given | {"of_sync": sync_id}).all()
    return Claim(seq or 0, [Claimed._make(row) for row in rows])


def settle_unsent(
    connection: Connection,
    home: Home,
    sync_id: int,
    seq: int,
    settlements: Sequence[Settlement],
    now: Instant,
) -> dict[str, int]:
    """Settle pending leads for which no call is needed; one that changed after the claim stays pending.

    Returns:
        How many went to each state.
    """
    lock_sync(connection, home, sync_id)
    settlements = people.without_released(connection, home, settlements)
    groups: dict[tuple[LeadState, Rejection | None], list[int]] = defaultdict(list)
    for settlement in settlements:
        groups[LeadState(settlement.state), settlement.rejection].append(settlement.lead_id)
    settled: dict[str, int] = {}
    for (state, why), ids in groups.items():
        moved = connection.execute(
            update(lead)
            .where(home.among(lead.c.id, ids), lead.c.state == "pending", lead.c.seq <= seq)
            .values(
                state=state.value,
                settled_at=now,
                field=why.field if why else None,
                rule=why.rule if why else None,
                reason=why.reason if why else None,
            )
        ).rowcount
        settled[state.value] = settled.get(state.value, 0) + moved
    twins = {found.lead_id: found.twin.lead_id for found in settlements if found.twin is not None}
    if twins:
        connection.execute(
            update(lead)
            .where(lead.c.id == bindparam("lead"), lead.c.state == "duplicate")
            .values(twin_id=bindparam("twin")),
            [{"lead": lead_id, "twin": twin_id} for lead_id, twin_id in twins.items()],
        )
    shift_tally(connection, sync_id, settled | {"pending": -sum(settled.values())})
    return settled


def lock_sync(connection: Connection, home: Home, sync_id: int) -> None:
    """Let one transaction at a time touch the leads of a sync: capture takes the same lock, by its update of seq.

    Without it, a lead could go from pending to sending between the moment at which capture looks at its state and
    the moment at which it writes, and the change would be forgotten. SQLite has one writer anyway.
    """
    if not home.is_sqlite:
        connection.execute(_LOCK, {"of_sync": sync_id})


_LOCK: Final = select(sync.c.id).where(sync.c.id == bindparam("of_sync")).with_for_update()


_INTEND: Final = insert(call).returning(call.c.n)


def intend(connection: Connection, home: Home, term: int | None, intent: Intent, seq: int, sync_id: int | None) -> int:
    """Write the intent of a call, in the caller's transaction; only after its commit may a byte leave.

    Args:
        term: the sender's; None for a call that only reads, which anybody may make.

    Returns:
        The call's number.

    Raises:
        SenderDeposed: another process has the lease.
        QuotaSpent: the day's budget is used up.
    """
    check_term(connection, home, term)
    if sync_id is not None:
        lock_sync(connection, home, sync_id)
    used = calls_started(connection, intent.quota_day)
    if used >= intent.budget:
        raise QuotaSpent(f"All {intent.budget} calls of {intent.quota_day} are used.")
    number = connection.scalar(
        _INTEND,
        {
            "id": intent.id,
            "kind": intent.kind,
            "sync_id": sync_id,
            "campaign_id": intent.campaign_id,
            "state": CallState.INTENDED.value,
            "term": term or 0,
            "quota_day": intent.quota_day,
            "leads": len(intent.lead_ids),
            "body_hash": intent.body_hash,
            "prints": intent.prints or None,
            "marker": intent.marker,
            "started_at": intent.started_at,
            "deadline_at": intent.deadline_at,
        },
    )
    assert number is not None
    if intent.lead_ids:
        assert sync_id is not None
        _take_aboard(connection, home, intent, int(number), seq, sync_id)
    return int(number)


def _take_aboard(connection: Connection, home: Home, intent: Intent, number: int, seq: int, sync_id: int) -> None:
    moved = connection.execute(
        update(lead)
        .where(home.among(lead.c.id, intent.lead_ids), lead.c.state == "pending")
        .values(state="sending", call_n=number, changed=case((lead.c.seq > seq, 1), else_=0))
    ).rowcount
    if moved != len(intent.lead_ids):
        raise LedgerError(
            f"{len(intent.lead_ids) - moved} of {len(intent.lead_ids)} leads were not pending any more.",
            "Is another program writing to the ledger?",
            retry=True,
        )
    if intent.fingerprints:
        connection.execute(
            update(lead)
            .where(lead.c.id == bindparam("lead"))
            .values({lead.c.fingerprint_before: lead.c.fingerprint, lead.c.fingerprint: bindparam("hash")}),
            [{"lead": lead_id, "hash": value} for lead_id, value in intent.fingerprints.items()],
        )
    if intent.signs:
        people.note(connection, sync_id, number, intent.signs, intent.started_at)
        if intent.forget_before is not None:
            people.forget(connection, intent.forget_before)
    _count_fresh(connection, intent, number, sync_id)
    shift_tally(connection, sync_id, {"pending": -moved, "sending": moved})


def _count_fresh(connection: Connection, intent: Intent, number: int, sync_id: int) -> None:
    """Write how many of a call's leads a surge is told by: they came within the hour, and since the resumption."""
    resumed_at = connection.scalar(RESUMED_AT, {"of_sync": sync_id}) or 0.0
    since = max(intent.started_at - SURGE_SECS, resumed_at)
    connection.execute(_NOTE_FRESH, {"number": number, "since": since})


RESUMED_AT: Final = select(sync.c.resumed_at).where(sync.c.id == bindparam("of_sync"))
_NOTE_FRESH: Final = (
    update(call)
    .where(call.c.n == bindparam("number"))
    .values(
        fresh=select(func.count())
        .where(
            lead.c.call_n == bindparam("number"),
            IN_FLIGHT,
            lead.c.rank == 0,
            lead.c.captured_at > bindparam("since"),
        )
        .scalar_subquery()
    )
)


_TERM: Final = select(lease.c.term).where(lease.c.id == 1)
_TERM_LOCKED: Final = _TERM.with_for_update()


def check_term(connection: Connection, home: Home, term: int | None) -> None:
    """Refuse to go on where another sender has taken over.

    Args:
        term: the sender's; None for one who only counts a call, in turn with the sender.

    Raises:
        SenderDeposed: the lease's term is not `term`.
    """
    # Nobody may take over between this and the commit, nor another thread count the day's calls meanwhile.
    found = connection.scalar(_TERM if home.is_sqlite else _TERM_LOCKED)
    if term is not None and found != term:
        raise SenderDeposed("Another syncd has become the sender of this ledger; this one sends nothing more.")


def calls_started(connection: Connection, quota_day: str) -> int:
    """Calls of a quota day, counted from intents."""
    return connection.scalar(_STARTED, {"of_day": quota_day}) or 0


_STARTED: Final = select(func.count()).where(call.c.quota_day == bindparam("of_day"))


_AT_WORK: Final = (
    select(call.c.started_at + LEAVES_SECS)
    .where(
        call.c.state.in_([literal_column("'intended'"), literal_column("'unknown'")]),  # as the index has it
        call.c.ended_at.is_(None),
        call.c.started_at > bindparam("intended_after"),
    )
    .union_all(select(call.c.left_at).where(call.c.left_at > bindparam("left_after")))
)


def busy_until(connection: Connection, now: Instant, concurrent: int, hold_secs: float) -> Instant | None:
    """When the next call may start: an unanswered call counts as in flight until wolkvox's own limit has passed.

    Args:
        concurrent: calls that may be in flight at once.
        hold_secs: wolkvox's own limit for one call, from the moment at which its request has left.

    Returns:
        An instant in the future; None where nothing stands in the way.
    """
    given = {"intended_after": now - hold_secs - LEAVES_SECS, "left_after": now - hold_secs}
    # A clock that was set back must not block for longer than the limit.
    left = sorted(min(at, now) for at in connection.scalars(_AT_WORK, given))
    return left[-concurrent] + hold_secs if len(left) >= concurrent else None


def new_call_id(now: Instant) -> str:
    """An id for a call: unique for ever, sorts by time, and short enough to type."""
    return f"{datetime.fromtimestamp(now, UTC):%y%m%d-%H%M%S}-{secrets.token_hex(3)}"
