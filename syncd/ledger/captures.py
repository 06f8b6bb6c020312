"""What intake writes: keys and the position, in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import BigInteger, Connection, bindparam, cast, func, insert, literal, select, update
from sqlalchemy.dialects import postgresql, sqlite

from syncd.ledger.home import Home
from syncd.ledger.schema import history, lead, noted, sync, tally
from syncd.model import Change, Instant
from syncd.states import LeadState, recapture

EXISTING_RANK = 1
"""Leads that were there at the start wait behind all others."""


@dataclass(frozen=True, slots=True)
class Captured:
    """What one capture did."""

    new: int
    """Leads that the ledger did not know."""
    again: int
    """Known leads that became pending again."""
    seen: int
    """Changes given, known or not."""


def begin_sync(connection: Connection, home: Home, name: str, now: Instant) -> int:
    """The number of a sync, which is registered upon its first use; two threads may ask at once."""
    found = connection.scalar(_BY_NAME, {"of_name": name})
    if found is None:
        make = sqlite.insert if home.is_sqlite else postgresql.insert
        connection.execute(make(sync).values(name=name, started_at=now).on_conflict_do_nothing())
        found = connection.scalar(_BY_NAME, {"of_name": name})
        assert found is not None
        connection.execute(
            make(tally).on_conflict_do_nothing(),
            [{"sync_id": found, "state": state.value, "leads": 0} for state in LeadState],
        )
    return int(found)


_BY_NAME: Final = select(sync.c.id).where(sync.c.name == bindparam("of_name"))


@dataclass(frozen=True, slots=True)
class SyncPosition:
    """How far a sync is, as the ledger has it."""

    started_at: Instant
    """When it was registered."""
    since: str | None
    """From which watermark rows are ours; None where it has not begun."""
    watermark: str | None
    """How far reading has come; None for nowhere."""
    identity: str | None
    """What the source called itself then."""
    gap: str | None
    """Why the whole table is to be swept, soon; None where it is not."""
    existing: str | None
    """What is being done with the rows that were there at the start: ``take``, ``note``, or None."""
    scanned_to: str | None
    """The last key that this has come to."""
    scanned: int
    """How many rows it has come past."""
    scan_estimate: int | None
    """Of about how many."""


def position(connection: Connection, sync_id: int) -> SyncPosition:
    """How far a sync is."""
    return SyncPosition(*connection.execute(_POSITION, {"of_sync": sync_id}).one())


_POSITION: Final = select(
    sync.c.started_at,
    sync.c.start,
    sync.c.watermark,
    sync.c.identity,
    sync.c.gap,
    sync.c.existing,
    sync.c.scanned_to,
    sync.c.scanned,
    sync.c.scan_estimate,
).where(sync.c.id == bindparam("of_sync"))


def move(connection: Connection, sync_id: int, **values: Any) -> None:
    """Write where a sync is: columns of `sync` by name."""
    connection.execute(_MOVE, values | {"of_sync": sync_id})


_MOVE: Final = update(sync).where(sync.c.id == bindparam("of_sync"))
"""Of the columns that its parameters name."""


def note(connection: Connection, home: Home, sync_id: int, keys: Sequence[str]) -> None:
    """Remember keys that were there before the start, so that no sweep takes them."""
    texts = home.texts(keys).subquery()
    key = texts.c[0]
    known = select(noted.c.key).where(noted.c.sync_id == sync_id, noted.c.key == key).exists()
    connection.execute(insert(noted).from_select(["sync_id", "key"], select(literal(sync_id), key).where(~known)))


def add_existing(connection: Connection, home: Home, sync_id: int, changes: Sequence[Change], now: Instant) -> int:
    """Take rows that were there at the start: those that the ledger does not know, behind all that is fresh."""
    seq = _next_seq(connection, sync_id, None)
    new = _insert_unknown(connection, home, sync_id, changes, seq, now, rank=EXISTING_RANK) if changes else 0
    shift_tally(connection, sync_id, {LeadState.PENDING.value: new})
    return new


_NEXT_SEQ: Final = (
    update(sync).where(sync.c.id == bindparam("of_sync")).values(seq=sync.c.seq + 1).returning(sync.c.seq)
)
_NEXT_SEQ_AND_WATERMARK: Final = _NEXT_SEQ.values(watermark=bindparam("reached"))


def _next_seq(connection: Connection, sync_id: int, reached: str | None) -> int:
    """Take the sync's lock, which lets one transaction at a time capture; the watermark moves where one is given."""
    if reached is None:
        seq = connection.scalar(_NEXT_SEQ, {"of_sync": sync_id})
    else:
        seq = connection.scalar(_NEXT_SEQ_AND_WATERMARK, {"of_sync": sync_id, "reached": reached})
    assert seq is not None
    return int(seq)


def capture(
    connection: Connection,
    home: Home,
    sync_id: int,
    changes: Sequence[Change],
    reached: str | None,
    now: Instant,
    *,
    resend_changed: bool,
) -> Captured:
    """Take changes into the ledger, and move the watermark, in the caller's transaction.

    Args:
        changes: keys with the versions seen; a key at most once.
        reached: the new watermark, as Postgres writes it; None leaves it where it is.
        resend_changed: whether a delivered lead becomes pending again when its row changes.
    """
    seq = _next_seq(connection, sync_id, reached)
    if not changes:
        return Captured(0, 0, 0)
    new = _insert_unknown(connection, home, sync_id, changes, seq, now, rank=0)
    shifts = {LeadState.PENDING.value: new}
    again = 0
    if new < len(changes):
        again = _apply_known(connection, home, sync_id, changes, seq, now, shifts, resend_changed=resend_changed)
    shift_tally(connection, sync_id, shifts)
    return Captured(new, again, len(changes))


def _insert_unknown(
    connection: Connection, home: Home, sync_id: int, changes: Sequence[Change], seq: int, now: Instant, *, rank: int
) -> int:
    pairs = home.pairs(changes)
    known = select(lead.c.id).where(lead.c.sync_id == sync_id, lead.c.key == pairs.c.a).exists()
    rows = select(
        literal(sync_id),
        pairs.c.a,
        literal(LeadState.PENDING.value),
        pairs.c.b,
        literal(seq),
        literal(now),
        literal(rank),
    ).where(~known)  # nobody else inserts meanwhile: `capture` has the sync's lock; ON CONFLICT would cost a third more
    if not home.is_sqlite:
        rows = rows.order_by(pairs.c.place)  # leads of one moment are numbered, and so sent, as they were seen
    statement = insert(lead).from_select(["sync_id", "key", "state", "version", "seq", "captured_at", "rank"], rows)
    # SQLAlchemy keeps the count of an INSERT only when asked.
    return connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount


def _apply_known(
    connection: Connection,
    home: Home,
    sync_id: int,
    changes: Sequence[Change],
    seq: int,
    now: Instant,
    shifts: dict[str, int],
    *,
    resend_changed: bool,
) -> int:
    """Apply to leads that are known already, where the version is another; returns how many became pending."""
    # Looked up by a list of keys, compared here: SQLite would join the list to every lead of the sync, one by one.
    seen = dict(changes)
    known = connection.execute(
        select(lead.c.id, lead.c.key, lead.c.state, lead.c.version).where(
            lead.c.sync_id == sync_id, lead.c.key.in_(home.texts(list(seen))), lead.c.seq != seq
        )
    )
    groups: dict[str, list[tuple[int, str]]] = {"stays": [], "remembered": [], "pending": []}
    for lead_id, key, state, version in known:
        if version == seen[key]:
            continue
        step = recapture(LeadState(state), resend_changed=resend_changed)
        if step.remember:
            groups["remembered"].append((lead_id, seen[key]))
        elif step.state == state:
            groups["stays"].append((lead_id, seen[key]))
        else:
            groups["pending"].append((lead_id, seen[key]))
            shifts[state] = shifts.get(state, 0) - 1
            shifts["pending"] = shifts.get("pending", 0) + 1
    if groups["pending"]:
        remember_life(connection, home, [lead_id for lead_id, _ in groups["pending"]], now, "the row changed")
    again = {"state": LeadState.PENDING.value, "captured_at": now, "rank": 0} | CLEARED
    # A row that changes is fresh, wherever it came from.
    for name, values in (
        ("stays", {"rank": 0, "campaign_id": None}),
        ("remembered", {"changed": 1}),
        ("pending", again),
    ):
        if groups[name]:
            pairs = home.pairs([(str(lead_id), version) for lead_id, version in groups[name]])
            connection.execute(
                update(lead)
                .where(lead.c.id == cast(pairs.c.a, BigInteger))
                .values({"version": pairs.c.b, "seq": seq} | values)
            )
    return len(groups["pending"])


CLEARED: dict[str, Any] = {
    "settled_at": None,
    "call_n": None,
    "field": None,
    "rule": None,
    "reason": None,
    "changed": 0,
    "absent_at": None,
    "twin_id": None,
    "campaign_id": None,  # where it goes is asked of its row again
}
"""What a lead forgets when it becomes pending again; `history` keeps it."""


def remember_life(connection: Connection, home: Home, ids: Sequence[int], now: Instant, cause: str) -> None:
    """Copy what is about to be overwritten into the history, for `syncd trace`."""
    connection.execute(
        insert(history).from_select(
            ["lead_id", "at", "left_state", "captured_at", "settled_at", "call_n", "reason", "cause"],
            select(
                lead.c.id,
                literal(now),
                lead.c.state,
                lead.c.captured_at,
                lead.c.settled_at,
                lead.c.call_n,
                lead.c.reason,
                literal(cause),
            ).where(home.among(lead.c.id, ids)),
        )
    )


_SHIFT: Final = (
    update(tally)
    .where(tally.c.sync_id == bindparam("of_sync"), tally.c.state == bindparam("of_state"))
    .values(leads=tally.c.leads + bindparam("by"))
)


def shift_tally(connection: Connection, sync_id: int, shifts: Mapping[str, int]) -> None:
    """Keep the count of leads by state; last in a transaction, and in one order, so that no two writers lock up."""
    for state in sorted(shifts):
        if shifts[state]:
            connection.execute(_SHIFT, {"of_sync": sync_id, "of_state": state, "by": shifts[state]})


def missing(connection: Connection, home: Home, sync_id: int, changes: Sequence[Change]) -> list[Change]:
    """Those of `changes` whose key the ledger knows neither as a lead nor as older than the start."""
    if not changes:
        return []
    keys = home.texts([change.key for change in changes])
    known = set(connection.scalars(select(lead.c.key).where(lead.c.sync_id == sync_id, lead.c.key.in_(keys))))
    if len(known) < len(changes):
        known |= set(connection.scalars(select(noted.c.key).where(noted.c.sync_id == sync_id, noted.c.key.in_(keys))))
    return [change for change in changes if change.key not in known]


def count_in(connection: Connection, sync_id: int, state: LeadState) -> int:
    """How many leads of a sync are in a state."""
    return connection.scalar(_COUNT, {"of_sync": sync_id, "of_state": state}) or 0


_COUNT: Final = select(tally.c.leads).where(
    tally.c.sync_id == bindparam("of_sync"), tally.c.state == bindparam("of_state")
)


def recount(connection: Connection) -> dict[tuple[int, str], int]:
    """Leads by sync and state, counted one by one: what `tally` must say."""
    rows = connection.execute(select(lead.c.sync_id, lead.c.state, func.count()).group_by(lead.c.sync_id, lead.c.state))
    return {(sync_id, state): leads for sync_id, state, leads in rows}
