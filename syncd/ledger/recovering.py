"""What tells a restored ledger, and what is written to make it true again.

A ledger has an id of its own from its birth, and remembers those that it had before it was recovered.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Select, bindparam, func, insert, select, update

from syncd.ledger import acts, calls, captures, people
from syncd.ledger.home import Home
from syncd.ledger.schema import call, lead, meta, sync
from syncd.model import Change, Instant, Sign
from syncd.states import CallState, LeadState

RECOVERED: Final = "recovered-"
"""So begins the id of a call that was not made: it stands for those that a restored ledger has forgotten."""
_BEFORE_SECS = 120.0
"""It counts as begun so long ago: no call waits for it to end."""
_UID, _FORMER, _HELD = "uid", "former_uids", "restored"


@dataclass(frozen=True, slots=True)
class Identity:
    """What a ledger says of itself."""

    uid: str | None
    """Its id; None where it never had one."""
    former: Collection[str]
    """Ids that it had before it was recovered, and those of the ledgers in whose place it was put."""
    restored: str | None
    """Why a sender found it to be restored, until it is recovered."""
    has_call: bool
    """Whether it has the call that was asked about."""
    starts: Mapping[str, str]
    """Where each sync's first run began."""


@dataclass(frozen=True, slots=True)
class KnownLead:
    """A lead as a restored ledger has it."""

    id: int
    state: LeadState
    version: str


@dataclass(frozen=True, slots=True)
class Recovered:
    """A lead of which wolkvox's export says something."""

    key: str
    version: str
    fingerprint: bytes | None = None
    signs: Collection[Sign] = ()


class Restoration:
    """The part of the ledger that the witness and `syncd recover` use; each method is one transaction."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def identity(self, number: int = 0, call_id: str = "") -> Identity:
        """What the ledger says of itself, and whether it has a call."""
        with self._home.read() as connection:
            names = (_UID, _FORMER, _HELD)
            kept = _pairs(connection, select(meta.c.name, meta.c.value).where(meta.c.name.in_(names)))
            found = connection.scalar(select(call.c.id).where(call.c.n == number)) if number else None
            return Identity(
                uid=kept.get(_UID),
                former=tuple(kept.get(_FORMER, "").split()),
                restored=kept.get(_HELD) or None,
                has_call=found is not None and found == call_id,
                starts=_pairs(connection, select(sync.c.name, sync.c.start).where(sync.c.start.is_not(None))),
            )

    def newest(self) -> tuple[int, str]:
        """Number and id of the last call with leads; 0 and "" where none was made."""
        with self._home.read() as connection:
            row = connection.execute(
                select(call.c.n, call.c.id).where(call.c.kind == "add_record").order_by(call.c.n.desc()).limit(1)
            ).one_or_none()
            return (0, "") if row is None else (int(row.n), str(row.id))

    def be_born(self) -> str:
        """Give the ledger an id, if it has none; its id."""
        with self._home.write() as connection:
            found = connection.scalar(select(meta.c.value).where(meta.c.name == _UID))
            if found is None:
                found = secrets.token_hex(8)
                connection.execute(insert(meta).values(name=_UID, value=found))
            return found

    def hold(self, why: str) -> None:
        """Write down that this ledger was restored, so that no other host sends from it either."""
        with self._home.write() as connection:
            _keep(connection, _HELD, why)

    def known(self, sync_id: int, keys: Sequence[str]) -> dict[str, KnownLead]:
        """What the ledger has of some leads, by key."""
        with self._home.read() as connection:
            rows = connection.execute(
                select(lead.c.key, lead.c.id, lead.c.state, lead.c.version).where(
                    lead.c.sync_id == sync_id, lead.c.key.in_(self._home.texts(keys))
                )
            )
            return {row.key: KnownLead(row.id, LeadState(row.state), row.version) for row in rows}

    def record(
        self, term: int, sync_id: int, campaign_id: str, state: LeadState, leads: Sequence[Recovered], now: Instant
    ) -> int:
        """Write that leads are delivered, or held because nobody can tell; those that are so already stay.

        Args:
            state: ``delivered`` or ``held``.

        Returns:
            How many leads it moved.

        Raises:
            SenderDeposed: another process has the lease.
        """
        with self._home.write() as connection:
            calls.check_term(connection, self._home, term)
            return _record(connection, self._home, term, sync_id, campaign_id, state, leads, now)

    def refresh(self, term: int, sync_id: int, leads: Sequence[Recovered]) -> None:
        """Delivered leads whose present record wolkvox has: their change needs no call."""
        values = [{"k": one.key, "v": one.version, "f": one.fingerprint} for one in leads]
        with self._home.write() as connection:
            calls.check_term(connection, self._home, term)
            calls.lock_sync(connection, self._home, sync_id)
            if values:
                connection.execute(
                    update(lead)
                    .where(lead.c.sync_id == sync_id, lead.c.key == bindparam("k"))
                    .where((lead.c.state == "delivered") | (lead.c.state == "unchanged"))
                    .values(version=bindparam("v"), fingerprint=bindparam("f")),
                    values,
                )

    def count_lost(self, term: int, quota_day: str, used: int, now: Instant) -> int:
        """Count the calls of a day that the ledger has forgotten; how many those are."""
        with self._home.write() as connection:
            calls.check_term(connection, self._home, term)
            missing = max(0, used - calls.calls_started(connection, quota_day))
            values = [
                _call_values("lost", f"lost-{secrets.token_hex(6)}", term, now, quota_day=quota_day)
                for _ in range(missing)
            ]
            if values:
                connection.execute(insert(call), values)
            return missing

    def end(
        self, term: int, former: str | None, starts: Mapping[str, str], now: Instant, who: str, reason: str, leads: int
    ) -> str:
        """The ledger is true again: it gets a new id, the tables are to be swept, and the hold is over.

        Args:
            former: the id of the ledger that this one was put in the place of.
            starts: where each sync's first run began, as the witness knows it.

        Returns:
            The new id.
        """
        with self._home.write() as connection:
            calls.check_term(connection, self._home, term)
            kept = _pairs(connection, select(meta.c.name, meta.c.value))
            ids = {*kept.get(_FORMER, "").split(), kept.get(_UID), former} - {None, ""}
            uid = secrets.token_hex(8)
            _keep(connection, _FORMER, " ".join(sorted(str(one) for one in ids)))
            _keep(connection, _UID, uid)
            _keep(connection, _HELD, "")
            gap = "The ledger was restored from a copy: what changed since the copy is looked for."
            connection.execute(update(sync).where(sync.c.start.is_not(None)).values(gap=gap, resumed_at=now))
            for name, start in starts.items():
                connection.execute(update(sync).where(sync.c.name == name).values(start=start))
            acts.write_act(connection, now, who, "recover", uid, reason, leads)
            return uid


def _pairs(connection: Connection, query: Select[Any]) -> dict[str, str]:
    return {name: value for name, value in connection.execute(query).all()}  # noqa: C416  # Row is no tuple to mypy


def _keep(connection: Connection, name: str, value: str) -> None:
    if connection.execute(update(meta).where(meta.c.name == name).values(value=value)).rowcount == 0:
        connection.execute(insert(meta).values(name=name, value=value))


def _call_values(kind: str, call_id: str, term: int, now: Instant, **more: Any) -> dict[str, Any]:
    return {
        "id": call_id,
        "kind": kind,
        "sync_id": None,
        "campaign_id": None,
        "state": CallState.REFUSED.value,
        "term": term,
        "quota_day": "recovered",
        "leads": 0,
        "started_at": now - _BEFORE_SECS,
        "deadline_at": now,
        "ended_at": now,
        "verdict": "recovered",
        "sentence": "A call that the restored ledger had forgotten.",
    } | more


def _record(
    connection: Connection,
    home: Home,
    term: int,
    sync_id: int,
    campaign_id: str,
    state: LeadState,
    leads: Sequence[Recovered],
    now: Instant,
) -> int:
    by_key = {one.key: one for one in leads}
    calls.lock_sync(connection, home, sync_id)
    keys = lead.c.key.in_(home.texts(list(by_key)))
    found = select(lead.c.key, lead.c.id, lead.c.state).where(lead.c.sync_id == sync_id, keys)
    known = {row.key for row in connection.execute(found)}
    unknown = [Change(one.key, one.version) for one in leads if one.key not in known]
    captures.capture(connection, home, sync_id, unknown, None, now, resend_changed=False)
    rows = [row for row in connection.execute(found).all() if row.state not in _STAYS]
    if not rows:
        return 0
    shifts: dict[str, int] = {state.value: len(rows)}
    for row in rows:
        shifts[row.state] = shifts.get(row.state, 0) - 1
    settled = [row.id for row in rows if row.state != LeadState.PENDING]
    if settled:
        captures.remember_life(connection, home, settled, now, "recovered: the ledger was restored from a copy")
    delivered = state is LeadState.DELIVERED
    number = connection.scalar(
        insert(call)
        .values(
            _call_values(
                "add_record",
                f"{RECOVERED}{secrets.token_hex(4)}",
                term,
                now,
                sync_id=sync_id,
                campaign_id=campaign_id,
                state=(CallState.ACCEPTED if delivered else CallState.UNKNOWN).value,
                leads=len(rows),
                sentence=_SENTENCES[state],
            )
        )
        .returning(call.c.n)
    )
    values = captures.CLEARED | {"state": state.value, "call_n": number, "settled_at": now if delivered else None}
    if delivered:
        values |= {"reason": "recovered: wolkvox has it"}
    connection.execute(update(lead).where(home.among(lead.c.id, [row.id for row in rows])).values(values))
    connection.execute(
        update(lead)
        .where(lead.c.id == bindparam("lead"))
        .values(
            version=bindparam("seen"),
            fingerprint=func.coalesce(bindparam("print", type_=lead.c.fingerprint.type), lead.c.fingerprint),
        ),
        [{"lead": row.id, "seen": by_key[row.key].version, "print": by_key[row.key].fingerprint} for row in rows],
    )
    assert number is not None
    people.note(connection, sync_id, int(number), {row.id: by_key[row.key].signs for row in rows}, now)
    captures.shift_tally(connection, sync_id, shifts)
    return len(rows)


_STAYS = frozenset({LeadState.DELIVERED, LeadState.UNCHANGED, LeadState.HELD, LeadState.SENDING})
"""Of these, the ledger or verification knows more than an export tells."""
_SENTENCES = {
    LeadState.DELIVERED: "The ledger was restored; wolkvox's export has these records.",
    LeadState.HELD: "The ledger was restored; wolkvox's export has these customers with other values.",
}
