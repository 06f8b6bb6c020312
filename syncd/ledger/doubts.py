"""`Doubts`: calls whose outcome is not known, and what people decide; each method is one transaction."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from sqlalchemy import Connection, bindparam, insert, select, update

from syncd.errors import UnknownName
from syncd.ledger import acts, resolving, views
from syncd.ledger.calls import check_term, lock_sync
from syncd.ledger.captures import EXISTING_RANK
from syncd.ledger.home import Home
from syncd.ledger.schema import lead, meta, sync
from syncd.model import Instant
from syncd.states import LeadState


class Doubts:
    """The part of the ledger that verification and operators write.

    Args:
        home: where it is.
    """

    def __init__(self, home: Home) -> None:
        self._home = home

    # -- verification ----------------------------------------------------------------------------------------

    def unresolved(self) -> list[resolving.OpenCall]:
        """Calls with leads whose outcome is not known, the first first."""
        with self._home.read() as connection:
            return resolving.unresolved(connection)

    def find(self, call_id: str) -> resolving.OpenCall:
        """An unresolved call by its id.

        Raises:
            UnknownName: there is none such.
        """
        with self._home.read() as connection:
            return resolving.find_open(connection, call_id)

    def held(self, number: int) -> list[resolving.HeldLead]:
        """The leads of a call that are held still."""
        with self._home.read() as connection:
            return resolving.held(connection, number)

    def note_check(
        self,
        number: int,
        findings: resolving.Findings,
        now: Instant,
        *,
        again_secs: float,
        resend_changed: bool,
        term: int | None = None,
    ) -> dict[str, int]:
        """Write what a check found; see `resolving.note_check`.

        Args:
            term: the sender's.

        Raises:
            SenderDeposed: another process has the lease: what this one was told may be long ago.
        """
        with self._home.write() as connection:
            check_term(connection, self._home, term)
            return resolving.note_check(
                connection,
                self._home,
                number,
                findings,
                now,
                again_secs=again_secs,
                resend_changed=resend_changed,
            )

    def decide(
        self,
        number: int,
        state: LeadState,
        now: Instant,
        by: str,
        *,
        resend_changed: bool,
        only: Collection[int] | None = None,
        term: int | None = None,
    ) -> dict[str, int]:
        """Settle what is held of a call by a setting's word; see `resolving.decide` and `note_check`."""
        with self._home.write() as connection:
            check_term(connection, self._home, term)
            return resolving.decide(
                connection, self._home, number, state, now, by, resend_changed=resend_changed, only=only
            )

    # -- operators -------------------------------------------------------------------------------------------

    def resolve(
        self, call_id: str, state: LeadState | None, now: Instant, who: str, reason: str, *, resend_changed: bool
    ) -> dict[str, int]:
        """An operator's word on a call, with its trail.

        Args:
            state: ``delivered``, or ``pending`` to send it again; None lets wolkvox be asked at once.

        Returns:
            How many leads went to each state.

        Raises:
            UnknownName: there is no such unresolved call.
        """
        with self._home.write() as connection:
            found = resolving.find_open(connection, call_id)
            what = {None: "resolve --verify", LeadState.DELIVERED: "resolve --delivered"}.get(state, "resolve --resend")
            if state is None:
                settled: dict[str, int] = {}
                resolving.ask_again(connection, found.number, now)
            else:
                settled = resolving.decide(
                    connection, self._home, found.number, state, now, f"{who}: {reason}", resend_changed=resend_changed
                )
            acts.write_act(connection, now, who, what, call_id, reason, sum(settled.values()))
            return settled

    def pause(self, name: str, now: Instant, who: str, reason: str) -> bool:
        """Send nothing of a sync until it is resumed; whether that is new. A pause that is there keeps its reason.

        Raises:
            UnknownName: the ledger knows no such sync.
        """
        with self._home.write() as connection:
            sync_id, paused = self._locked(connection, name)
            if not paused:
                acts.pause(connection, sync_id, now, reason)
            acts.write_act(connection, now, who, "pause", name, reason)
            return not paused

    def resume(self, name: str, now: Instant, who: str, reason: str) -> bool:
        """Send again; whether it was paused.

        Raises:
            UnknownName: the ledger knows no such sync.
        """
        with self._home.write() as connection:
            sync_id, paused = self._locked(connection, name)
            acts.resume(connection, sync_id, now)
            acts.write_act(connection, now, who, "resume", name, reason)
            return paused

    def _locked(self, connection: Connection, name: str) -> tuple[int, bool]:
        """A sync that nobody else writes to until the end of the transaction, and whether it is paused."""
        sync_id = views.sync_id_of(connection, name)
        lock_sync(connection, self._home, sync_id)
        return sync_id, connection.scalar(select(sync.c.paused_at).where(sync.c.id == sync_id)) is not None

    def paused(self, sync_id: int) -> str | None:
        """Why a sync is paused; None where it is not."""
        with self._home.read() as connection:
            return connection.scalar(_PAUSED, {"of_sync": sync_id})

    def lately(self, sync_id: int, since: Instant) -> int:
        """Leads of a sync that came or left since an instant, or since it was resumed: what a surge is told by.

        Leads that were there at its start are not counted.
        """
        with self._home.read() as connection:
            return acts.lately(connection, sync_id, since)

    def kept(self, name: str) -> str | None:
        """Something that a part of syncd has kept in the ledger."""
        with self._home.read() as connection:
            return connection.scalar(_KEPT, {"of_name": name})

    def keep(self, name: str, value: str) -> None:
        """Keep something in the ledger."""
        with self._home.write() as connection:
            if connection.execute(_KEEP, {"of_name": name, "value": value}).rowcount == 0:
                connection.execute(insert(meta).values(name=name, value=value))

    def retry_key(self, name: str, key: str, now: Instant, who: str, reason: str) -> LeadState:
        """One lead becomes pending; the state that it leaves.

        Raises:
            UnknownName: there is no such lead, or its state is none of `acts.RETRIED`.
        """
        with self._home.write() as connection:
            sync_id, _ = self._locked(connection, name)
            row = connection.execute(
                select(lead.c.id, lead.c.state).where(lead.c.sync_id == sync_id, lead.c.key == key)
            ).one_or_none()
            if row is None:
                raise UnknownName(
                    f'The ledger has no lead "{key}" in sync "{name}".',
                    f"`syncd leads {name}` lists those that it has.",
                )
            state = LeadState(row.state)
            if state not in acts.RETRIED:
                raise UnknownName(f'Lead "{key}" of sync "{name}" is {state}, and is not retried.', _INSTEAD[state])
            acts.retry(connection, self._home, sync_id, [row.id], state, now, reason)
            acts.write_act(connection, now, who, "retry", f"{name} {key}", reason, 1)
            return state

    def retry_state(
        self, name: str, state: LeadState, now: Instant, who: str, reason: str, *, field: str | None = None
    ) -> int:
        """Every lead of a state becomes pending, behind all that is fresh; how many.

        Args:
            state: one of `acts.RETRIED`.
            field: only those that this field's rule rejected; None: all of that state.

        Raises:
            UnknownName: the ledger knows no such sync.
        """
        with self._home.write() as connection:
            sync_id, _ = self._locked(connection, name)
            those = select(lead.c.id).where(lead.c.sync_id == sync_id, lead.c.state == state.value)
            if field is not None:
                those = those.where(lead.c.field == field)
            ids: Sequence[int] = connection.scalars(those).all()
            moved = 0
            for begin in range(0, len(ids), _MANY):
                part = ids[begin : begin + _MANY]
                moved += acts.retry(connection, self._home, sync_id, part, state, now, reason, rank=EXISTING_RANK)
            subject = f"{name} --state {state.value}" + (f" --field {field}" if field is not None else "")
            acts.write_act(connection, now, who, "retry", subject, reason, moved)
            return moved

    def acts(self, limit: int) -> list[acts.Act]:
        """What people did, the latest first."""
        with self._home.read() as connection:
            return acts.acts(connection, limit)


_MANY = 10_000
_PAUSED: Final = select(sync.c.pause_reason).where(sync.c.id == bindparam("of_sync"))
_KEPT: Final = select(meta.c.value).where(meta.c.name == bindparam("of_name"))
_KEEP: Final = update(meta).where(meta.c.name == bindparam("of_name"))
_INSTEAD = {
    LeadState.PENDING: "It waits for its call already.",
    LeadState.SENDING: "Its call is under way.",
    LeadState.HELD: "Nobody knows whether wolkvox has it: `syncd resolve` its call.",
    LeadState.DELIVERED: "wolkvox has it: another call would call that person twice.",
    LeadState.UNCHANGED: "wolkvox has it just so: another call would call that person twice.",
}
