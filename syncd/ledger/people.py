"""Who was called by what: the signs of the leads of each call, which tell that another lead is the same person.

A sign is written with the intent, so that whoever is on their way counts as called; it goes where wolkvox has not taken
the lead, and whoever was left out for it then waits again. What is left tells who was called, whatever becomes of the
lead later: its row may change, and it may be called again by another number.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, delete, insert, literal_column, or_, select, update

from syncd.ledger.captures import CLEARED, remember_life, shift_tally
from syncd.ledger.home import Home
from syncd.ledger.schema import called, lead, sync
from syncd.model import Instant, Settlement, Sign, Twin
from syncd.states import LeadState

IN_FLIGHT: ColumnElement[bool] = lead.c.state.in_([literal_column("'sending'"), literal_column("'held'")])
"""Of leads whose call has no known outcome."""
_FORGET_MANY = 20_000
"""Each call forgets so many signs, about: more than most calls write, and no pause at the first."""

_on_the_way = (
    select(lead.c.id).where(lead.c.id == called.c.lead_id, lead.c.call_n == called.c.call_n, IN_FLIGHT).exists()
)


def note(
    connection: Connection, sync_id: int, number: int, signs: Mapping[int, Collection[Sign]], called_at: Instant
) -> None:
    """Write by what the leads of a call are recognised; for one lead, the same sign at most once."""
    values = [
        {"lead_id": lead_id, "call_n": number, "kind": kind, "hash": value, "sync_id": sync_id, "called_at": called_at}
        for lead_id, its in signs.items()
        for kind, value in its
    ]
    if values:
        connection.execute(insert(called), values)


def known(
    connection: Connection, home: Home, sync_ids: Collection[int], hashes: Collection[int], since: Instant
) -> dict[Sign, list[Twin]]:
    """Which leads were called by some values since an instant, or are on their way, by their sign.

    Args:
        sync_ids: whose leads count.
        hashes: of the values.
        since: of the beginning of the call; whoever is on their way counts whenever that was.
    """
    if not hashes:
        return {}
    rows = connection.execute(
        select(called.c.kind, called.c.hash, called.c.lead_id, called.c.call_n).where(
            home.among(called.c.hash, list(hashes)),
            called.c.sync_id.in_(sync_ids),
            or_(called.c.called_at >= since, _on_the_way),
        )
    )
    found: dict[Sign, list[Twin]] = defaultdict(list)
    for kind, value, lead_id, call_n in rows:
        found[Sign(kind, value)].append(Twin(lead_id, call_n))
    return found


def without_released(connection: Connection, home: Home, settlements: Sequence[Settlement]) -> Sequence[Settlement]:
    """Those that hold still: a duplicate stays pending where its twin was let go since it was looked for."""
    twins = {found.twin for found in settlements if found.twin is not None}
    if not twins:
        return settlements
    among = home.among(called.c.lead_id, [twin.lead_id for twin in twins])
    rows = connection.execute(select(called.c.lead_id, called.c.call_n).distinct().where(among))
    there = {Twin(lead_id, call_n) for lead_id, call_n in rows}
    return [found for found in settlements if found.twin is None or found.twin in there]


def lock_syncs(connection: Connection, home: Home, sync_id: int) -> None:
    """Lock the sync of a call that may let leads go; and every other, where one may have duplicates of them.

    In the order of their numbers: two that did so at once would else wait for each other for ever.
    """
    if home.is_sqlite:
        return  # it has one writer anyway
    locks = select(sync.c.id).order_by(sync.c.id).with_for_update()
    if connection.scalar(select(called.c.lead_id).limit(1)) is None:
        locks = locks.where(sync.c.id == sync_id)
    connection.execute(locks)


def let_go(connection: Connection, home: Home, number: int, ids: Sequence[int], now: Instant) -> int:
    """Forget that leads of a call were called, and let those wait again that were left out as their duplicates.

    Args:
        ids: leads that wolkvox has not taken; `lock_syncs` was called.

    Returns:
        How many duplicates are pending now; the tally knows of those that are not duplicates any more.
    """
    if not ids:
        return 0
    connection.execute(delete(called).where(home.among(called.c.lead_id, ids), called.c.call_n == number))
    of_these = home.among(lead.c.twin_id, ids) & (lead.c.state == LeadState.DUPLICATE.value)
    twins = connection.execute(select(lead.c.id, lead.c.sync_id).where(of_these)).all()
    if not twins:
        return 0
    twin_ids = [row.id for row in twins]
    remember_life(connection, home, twin_ids, now, "whom it was a duplicate of was not taken by wolkvox")
    connection.execute(update(lead).where(home.among(lead.c.id, twin_ids)).values({"state": "pending"} | CLEARED))
    for sync_id, count in sorted(Counter(row.sync_id for row in twins).items()):
        shift_tally(connection, sync_id, {"duplicate": -count, "pending": count})
    return len(twins)


def forget(connection: Connection, before: Instant) -> None:
    """Remove signs of calls before an instant, the oldest first; not of those whose outcome is not known."""
    old = (called.c.called_at < before, ~_on_the_way)
    many = select(called.c.called_at).where(*old).order_by(called.c.called_at).offset(_FORGET_MANY).limit(1)
    enough = connection.scalar(many)
    connection.execute(delete(called).where(*old, *(() if enough is None else (called.c.called_at <= enough,))))
