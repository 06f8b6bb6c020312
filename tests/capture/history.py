"""Short made-up histories of a table: several writers, late commits, rollbacks, bulk statements, faults of all kinds.

One thread plays all the writers, so that a seed gives the same order of commits again; no writer ever waits for
another (SKIP LOCKED, and a key that is in somebody's hands is left alone).
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
from tests.capture.harness import Catcher, Kit, Leads, Refusing

WRITERS = 8
MARKS = {
    "timestamptz": "clock_timestamp()",
    "timestamp": "clock_timestamp()",
    "bigint": "nextval('marks')",
}
"""What an update writes; an insert writes the column's default."""
LOOKBACKS = (300.0, 300.0, 0.02, 0.0)
"""Most transactions are longer than the last two."""


@dataclass
class Writer:
    """One connection of the CRM, and what it did since it began."""

    connection: psycopg.Connection
    working: bool = False
    savepoint: bool = False
    deleted: set[int] = field(default_factory=set)
    revived: set[int] = field(default_factory=set)


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
    hidden: set[str] = field(default_factory=set)
    """Keys that were written where no trigger fires."""
    free: set[int] = field(default_factory=set)
    """Keys of rows that were deleted."""

    def play(self, steps: int) -> None:
        """So many steps, then the end of every transaction."""
        moves: list[tuple[float, Callable[[], None]]] = [
            (6, self._insert),
            (1, self._bulk),
            (1, self._copy),
            (1, self._upsert),
            (3, self._update),
            (1, self._delete),
            (1, self._revive),
            (1, self._hide),
            (1, self._savepoint),
            (5, self._commit),
            (1, self._rollback),
            (8, self._turn),
            (0.7, self._restart),
            (1, self._fault),
            (0.2, self._kill_syncd),
            (0.2, self._kill_writer),
        ]
        weights, actions = [weight for weight, _ in moves], [action for _, action in moves]
        for _ in range(steps):
            self.chance.choices(actions, weights)[0]()
        self.end()

    def end(self, how: str = "COMMIT") -> None:
        """Every transaction ends."""
        for writer in self.writers:
            self._end(writer, how)

    def settle(self) -> None:
        """syncd comes to rest."""
        self.ledger.refuse = 0
        self.catcher.recover()

    # -- the writers -------------------------------------------------------------------------------------------

    def _writer(self) -> Writer:
        writer = self.chance.choice(self.writers)
        writer.working = True  # psycopg begins a transaction with the first statement
        return writer

    def _run(self, query: str, parameters: Sequence[Any] = ()) -> psycopg.Cursor:
        return self._writer().connection.execute(sql.SQL(query), parameters)

    def _new_keys(self, count: int) -> range:
        keys = range(self.next_key, self.next_key + count)
        self.next_key += count
        return keys

    def _insert(self) -> None:
        self._run("INSERT INTO leads (id) VALUES (%s)", self._new_keys(1))

    def _bulk(self) -> None:
        keys = self._new_keys(self.chance.randint(3, 12))
        self._run("INSERT INTO leads (id) SELECT * FROM generate_series(%s::bigint, %s::bigint)", (keys[0], keys[-1]))

    def _copy(self) -> None:
        with self._writer().connection.cursor().copy("COPY leads (id) FROM STDIN") as copy:
            for key in self._new_keys(self.chance.randint(1, 8)):
                copy.write_row([key])

    def _some_keys(self) -> list[int]:
        return [self.chance.randint(1, self.next_key) for _ in range(self.chance.randint(1, 6))]

    def _mark(self) -> str:
        # Half of them write the instant of their transaction's beginning, which may be long ago.
        fresh = MARKS[self.catcher.leads.mark_type]
        return fresh if "next" in fresh or self.chance.random() < 0.5 else "now()"

    def _upsert(self) -> None:
        self._run(
            "WITH held AS (SELECT id FROM leads WHERE id = ANY(%s::bigint[]) FOR UPDATE SKIP LOCKED)"
            " INSERT INTO leads (id) SELECT id FROM held UNION SELECT %s::bigint"
            f" ON CONFLICT (id) DO UPDATE SET updated_at = {self._mark()}",
            (self._some_keys(), self._new_keys(1)[0]),
        )

    def _update(self) -> None:
        self._run(
            f"UPDATE leads SET updated_at = {self._mark()} WHERE id IN"
            " (SELECT id FROM leads WHERE id = ANY(%s::bigint[]) FOR UPDATE SKIP LOCKED)",
            (self._some_keys(),),
        )

    def _delete(self) -> None:
        writer = self._writer()
        rows = writer.connection.execute(
            "DELETE FROM leads WHERE id IN"
            " (SELECT id FROM leads WHERE id = ANY(%s::bigint[]) FOR UPDATE SKIP LOCKED) RETURNING id",
            (self._some_keys(),),
        ).fetchall()
        if not writer.savepoint:  # else the delete may be undone alone
            writer.deleted.update(key for (key,) in rows)

    def _revive(self) -> None:
        """A key that was deleted is used again."""
        if self.free:
            key = self.chance.choice(sorted(self.free))
            writer = self._writer()
            self.free.discard(key)
            writer.revived.add(key)
            writer.connection.execute("INSERT INTO leads (id) VALUES (%s)", (key,))

    def _hide(self) -> None:
        connection, key = self._writer().connection, self._new_keys(1)[0]
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute("INSERT INTO leads (id) VALUES (%s)", (key,))
        connection.execute("SET LOCAL session_replication_role = origin")
        self.hidden.add(str(key))

    def _savepoint(self) -> None:
        writer = self._writer()
        writer.connection.execute("ROLLBACK TO s" if writer.savepoint else "SAVEPOINT s")
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
            there = {int(key) for (key,) in rows}
            self.free |= (writer.deleted | writer.revived) - there
        else:
            with suppress(psycopg.OperationalError):  # it may have been killed
                writer.connection.rollback()
            self.free |= writer.revived
        writer.working = writer.savepoint = False
        writer.deleted, writer.revived = set(), set()

    # -- syncd, and what befalls it ------------------------------------------------------------------------------

    def _turn(self) -> None:
        with suppress(LedgerUnavailable):
            self.catcher.turn()

    def _restart(self) -> None:
        self.catcher.restart()

    def _fault(self) -> None:
        self.ledger.refuse = self.chance.randint(1, 2)

    def _kill_syncd(self) -> None:
        self.catcher.kill(self.catcher.admin)

    def _kill_writer(self) -> None:
        writer = self.chance.choice(self.writers)
        self.catcher.admin.execute("SELECT pg_terminate_backend(%s, 5000)", (writer.connection.info.backend_pid,))
        self._end(writer, "ROLLBACK")
        writer.connection.close()
        writer.connection = psycopg.connect(self.catcher.admin_url)


def begin(
    kit: Kit,
    url: str,
    ledger: Ledger,
    writers: list[Writer],
    seed: int,
    **described: Any,
) -> History:
    """A history on a fresh table, in a database of its own; the first of the writers makes the table."""
    chance = random.Random(seed)
    kind = list(MARKS)[seed % 3]
    default = "nextval('marks')" if kind == "bigint" else chance.choice(("now()", "now()", "clock_timestamp()"))
    described = {"lookback_secs": chance.choice(LOOKBACKS)} | described
    leads = Leads(mark_type=kind, mark_default=default, **described)
    admin = writers[0].connection
    admin.execute("DROP TABLE IF EXISTS leads")
    admin.execute("DROP SEQUENCE IF EXISTS marks")
    admin.execute("CREATE SEQUENCE marks")
    leads.create(admin)
    before = chance.choice((0, 0, 1, 20))
    admin.execute("INSERT INTO leads (id) SELECT * FROM generate_series(1, %s)", (before,))
    admin.commit()
    refusing = Refusing(ledger)
    catcher = Catcher(kit, url, leads, refusing)
    catcher.install()
    history = History(catcher, refusing, writers, chance, next_key=before + 1)
    history.committed = {str(key) for key in range(1, before + 1)}
    return history
