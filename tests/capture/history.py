"""Short made-up histories of a table: several writers, late commits, rollbacks, bulk statements, faults of syncd's own.

One thread plays all the writers, so that a seed gives the same order of commits again; no writer ever waits for
another (SKIP LOCKED).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

from syncd.errors import LedgerUnavailable
from syncd.ledger import Ledger
from syncd.ledger.captures import Captured
from syncd.model import Change, Instant
from tests.capture.harness import Catcher, Kit, Leads

WRITERS = 5
MARKS = {
    "timestamptz": "clock_timestamp()",
    "timestamp": "clock_timestamp()",
    "bigint": "nextval('marks')",
}
"""What an update writes; an insert writes the column's default."""


class Refusing(Ledger):
    """A ledger whose next commits may fail, as with a full disk; nothing of such a transaction stays."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger.home, ledger.hasher)
        self.refuse = 0

    def capture(
        self,
        sync_id: int,
        changes: Sequence[Change],
        reached: str | None,
        now: Instant,
        *,
        resend_changed: bool,
    ) -> Captured:
        if self.refuse and changes:
            self.refuse -= 1
            raise LedgerUnavailable("The made-up disk is full.")
        return super().capture(sync_id, changes, reached, now, resend_changed=resend_changed)


@dataclass
class Writer:
    """One connection of the CRM, and what it did since it began."""

    connection: psycopg.Connection
    working: bool = False
    savepoint: bool = False


@dataclass
class History:
    """One history, and syncd watching it."""

    catcher: Catcher
    ledger: Refusing
    writers: list[Writer]
    chance: random.Random
    next_key: int = 1
    committed: set[str] = field(default_factory=set)
    """Keys that a reader could ever see."""

    def play(self, steps: int) -> None:
        """So many steps, then the end of every transaction."""
        moves: list[tuple[int, Callable[[], None]]] = [
            (6, self._insert),
            (2, self._bulk),
            (3, self._update),
            (1, self._delete),
            (1, self._savepoint),
            (5, self._commit),
            (1, self._rollback),
            (8, self._turn),
            (1, self._restart),
            (1, self._fault),
        ]
        weights, actions = [weight for weight, _ in moves], [action for _, action in moves]
        for _ in range(steps):
            self.chance.choices(actions, weights)[0]()
        for writer in self.writers:
            self._end(writer, "COMMIT")

    def settle(self) -> None:
        """syncd comes to rest."""
        self.ledger.refuse = 0
        self.catcher.drain()

    # -- the writers -------------------------------------------------------------------------------------------

    def _writer(self) -> Writer:
        writer = self.chance.choice(self.writers)
        writer.working = True  # psycopg begins a transaction with the first statement
        return writer

    def _run(self, query: str, parameters: Sequence[Any] = ()) -> None:
        self._writer().connection.execute(sql.SQL(query), parameters)

    def _insert(self) -> None:
        self._run("INSERT INTO leads (id) VALUES (%s)", (self.next_key,))
        self.next_key += 1

    def _bulk(self) -> None:
        count = self.chance.randint(3, 12)
        self._run(
            "INSERT INTO leads (id) SELECT * FROM generate_series(%s::bigint, %s::bigint)",
            (self.next_key, self.next_key + count - 1),
        )
        self.next_key += count

    def _some_keys(self) -> list[int]:
        return [self.chance.randint(1, self.next_key) for _ in range(self.chance.randint(1, 6))]

    def _update(self) -> None:
        # Half of them write the instant of their transaction's beginning, which may be long ago.
        fresh = MARKS[self.catcher.leads.mark_type]
        mark = fresh if "next" in fresh or self.chance.random() < 0.5 else "now()"
        self._run(
            f"UPDATE leads SET updated_at = {mark} WHERE id IN (SELECT id FROM leads WHERE id = ANY(%s::bigint[])"
            " FOR UPDATE SKIP LOCKED)",
            (self._some_keys(),),
        )

    def _delete(self) -> None:
        self._run(
            "DELETE FROM leads WHERE id IN (SELECT id FROM leads WHERE id = ANY(%s::bigint[]) FOR UPDATE SKIP LOCKED)",
            (self._some_keys()[:1],),
        )

    def _savepoint(self) -> None:
        writer = self._writer()
        writer.connection.execute("ROLLBACK TO SAVEPOINT s" if writer.savepoint else "SAVEPOINT s")
        writer.savepoint = True

    def _commit(self) -> None:
        self._end(self.chance.choice(self.writers), "COMMIT")

    def _rollback(self) -> None:
        self._end(self.chance.choice(self.writers), "ROLLBACK")

    def _end(self, writer: Writer, how: str) -> None:
        if not writer.working:
            return
        if how == "COMMIT":
            rows = writer.connection.execute("SELECT id::text FROM leads").fetchall()  # its own rows among them
            writer.connection.commit()
            self.committed.update(key for (key,) in rows)
        else:
            writer.connection.rollback()
        writer.working = writer.savepoint = False

    # -- syncd -------------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        with suppress(LedgerUnavailable):
            self.catcher.turn()

    def _restart(self) -> None:
        self.catcher.restart()

    def _fault(self) -> None:
        self.ledger.refuse = self.chance.randint(1, 2)


def begin(
    kit: Kit,
    url: str,
    connections: Sequence[psycopg.Connection],
    ledger: Ledger,
    seed: int,
    **described: Any,
) -> History:
    """A history on a fresh table, in a database of its own; the first of `connections` makes the table."""
    chance = random.Random(seed)
    kind = list(MARKS)[seed % 3]
    default = "nextval('marks')" if kind == "bigint" else ("now()" if chance.random() < 0.7 else "clock_timestamp()")
    leads = Leads(mark_type=kind, mark_default=default, **described)
    admin = connections[0]
    admin.execute("DROP TABLE IF EXISTS leads")
    admin.execute("DROP SEQUENCE IF EXISTS marks")
    admin.execute("CREATE SEQUENCE marks")
    leads.create(admin)
    admin.commit()
    refusing = Refusing(ledger)
    catcher = Catcher(kit, url, leads, refusing)
    return History(catcher, refusing, [Writer(connection) for connection in connections[:WRITERS]], chance)
