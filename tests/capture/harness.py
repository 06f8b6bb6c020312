"""Driving one way of capturing by hand: a table, an intake over it, a clock that the test turns, and the ledger.

The suite is written against `syncd.capture.Source`: a `Kit` makes one from a table, and each way to capture gets the
same tests by a kit of its own (kits.py).
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from select import select as select_io

import psycopg
from psycopg import sql
from sqlalchemy import select

from syncd.capture import Source
from syncd.config.objects import Objects
from syncd.crm import CrmConnection
from syncd.errors import CrmError, LedgerUnavailable
from syncd.intake import Intake, IntakeResult
from syncd.ledger import Captured, Ledger, SyncPosition
from syncd.ledger.hashes import Hasher
from syncd.ledger.home import Home, make_private
from syncd.ledger.migration import migrate
from syncd.ledger.schema import lead
from syncd.ledger.schema import sync as sync_table
from syncd.model import Change, Instant

PATIENCE_SECS = 30.0
LISTEN_SECS = 0.02

_counter = itertools.count(1)


@dataclass(frozen=True)
class Leads:
    """A table of leads as the CRM has it, and how syncd is told to look at it."""

    name: str = "leads"
    key: str = "id"
    key_type: str = "bigint"
    key_default: str = ""
    mark: str = "updated_at"
    mark_type: str = "timestamptz"
    mark_default: str = "now()"
    watermarked: bool = True
    """Whether syncd is told of the column `mark`."""
    where: str | None = None
    start: str | datetime = "beginning"
    lookback_secs: float = 300.0
    sweep_secs: float = 3600.0
    resend_changed: bool = False
    role: str = "postgres"
    """As whom syncd connects; what is installed grants it what it needs."""

    @property
    def watermark(self) -> str | None:
        """`sync.watermark_column`."""
        return self.mark if self.watermarked else None

    @property
    def identifier(self) -> sql.Identifier:
        """The table's name, quoted."""
        return sql.Identifier("public", self.name)

    def create(self, connection: psycopg.Connection) -> None:
        """Make it: key, watermark, `note` for a condition to look at."""
        default = f" DEFAULT {self.mark_default}" if self.mark_default else ""
        key_default = f" DEFAULT {self.key_default}" if self.key_default else ""
        connection.execute(
            sql.SQL("CREATE TABLE {} ({} {} PRIMARY KEY, {} {}, note text NOT NULL DEFAULT '')").format(
                self.identifier,
                sql.Identifier(self.key),
                sql.SQL(self.key_type + key_default),  # the test's own words
                sql.Identifier(self.mark),
                sql.SQL(self.mark_type + default),
            )
        )
        connection.execute(sql.SQL("CREATE INDEX ON {} ({})").format(self.identifier, sql.Identifier(self.mark)))

    def add(self, connection: psycopg.Connection, key: object, mark: object = ..., note: str = "") -> None:
        """Insert a row; without `mark`, the column's default counts."""
        columns, values = [self.key, "note"], [key, note]
        if mark is not ...:
            columns.append(self.mark)
            values.append(mark)
        connection.execute(
            sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
                sql.Identifier("public", self.name.replace("%", "%%")),
                sql.SQL(", ").join(sql.Identifier(column.replace("%", "%%")) for column in columns),
                sql.SQL(", ").join(sql.Placeholder() for _ in values),
            ),
            values,
        )

    def visible(self, connection: psycopg.Connection) -> dict[str, str]:
        """What a reader sees: watermark by key, of rows that can be captured."""
        rows = connection.execute(
            sql.SQL("SELECT {0}::text, {1}::text FROM {2} WHERE {1} IS NOT NULL").format(
                sql.Identifier(self.key), sql.Identifier(self.mark), self.identifier
            )
        )
        return dict(rows.fetchall())


Install = Callable[[psycopg.Connection, Leads, Objects], None]
Make = Callable[[str, CrmConnection, Leads, Objects], Source]


def nothing(admin: psycopg.Connection, leads: Leads, objects: Objects) -> None:
    """What poll installs, and what removes it."""


@dataclass(frozen=True)
class Kit:
    """One way of capturing."""

    name: str
    make: Make
    """The source: as whom, over which connection for reading, of which table, with which objects in the CRM."""
    install: Install = nothing
    """What `syncd setup NAME --apply` does; again where it was done before, or the table was replaced."""
    remove: Install = nothing
    """What `syncd setup NAME --remove` does; whatever is left, and whether the table is still there or not."""

    @property
    def follows(self) -> bool:
        """Whether it sees each change by itself, whatever the watermark column says."""
        return self.name != "poll"


class Clock:
    """syncd's clock, which only the test turns."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now

    def advance(self, secs: float) -> None:
        """Let time pass."""
        self.now += secs


class Catcher:
    """One sync's intake over one table, which is there already.

    Args:
        kit: makes the source, and first installs what it needs.
        url: the database as its administrator.
        name: of the sync in the ledger, and of its objects in the CRM.
    """

    def __init__(self, kit: Kit, url: str, leads: Leads, ledger: Ledger, name: str | None = None) -> None:
        self.kit = kit
        self.admin_url = url
        self.url = url
        """As syncd connects; a test may change it, for another role."""
        self.leads = leads
        self.ledger = ledger
        self.name = name or f"sync-{next(_counter)}"
        self.objects = Objects(self.name)
        self.clock = Clock()
        self.results: list[IntakeResult] = []
        self._admin: psycopg.Connection | None = None
        self._open()

    def _open(self) -> None:
        self.connection = CrmConnection(self.url, None, "capture", 10)
        self.source = self.kit.make(self.url, self.connection, self.leads, self.objects)
        self.intake = Intake(
            self.ledger,
            self.source,
            self.name,
            resend_changed=self.leads.resend_changed,
            poll_secs=5.0,
            sweep_secs=self.leads.sweep_secs,
            clock=self.clock,
        )

    @property
    def admin(self) -> psycopg.Connection:
        """A connection of the administrator's, which commits each statement."""
        if self._admin is None or self._admin.closed:
            self._admin = psycopg.connect(self.admin_url, autocommit=True)
        return self._admin

    def install(self) -> None:
        """As `syncd setup NAME --apply`."""
        self.kit.install(self.admin, self.leads, self.objects)

    def restart(self, **changes: object) -> None:
        """A new life of syncd, which knows no more than the ledger does; perhaps configured anew."""
        self.leave()
        self.leads = replace(self.leads, **changes)  # type: ignore[arg-type]  # the fields own names
        self._open()

    def leave(self) -> None:
        """syncd stops; what is installed in the CRM stays."""
        self.source.close()
        self.connection.close()

    def close(self) -> None:
        """Leave the CRM, and nothing in it."""
        self.leave()
        self.kit.remove(self.admin, self.leads, self.objects)
        self.admin.close()

    # -- turning ---------------------------------------------------------------------------------------------

    def turn(self) -> IntakeResult:
        """One turn of the loop, when it is due."""
        self.clock.now = max(self.clock.now, self.intake.due_at(self.clock.now))
        result = self.intake.run_once()
        self.results.append(result)
        return result

    def until(self, done: Callable[[], bool], what: str) -> None:
        """Turn until `done`; between turns, wait a little for what the server may have on its way."""
        deadline = time.monotonic() + PATIENCE_SECS
        while True:
            result = self.turn()
            assert result.trouble is None, result.trouble
            if not result.more and done():
                return
            assert time.monotonic() < deadline, f"turned {PATIENCE_SECS} s in vain: {what}"
            if not result.more and not self.intake._may_scan(self.clock()):
                self.listen()

    def listen(self) -> None:
        """Wait for something to arrive, though not for long."""
        descriptor = self.source.fileno()
        if descriptor is not None and descriptor >= 0:
            select_io([descriptor], [], [], LISTEN_SECS)

    def drain(self) -> None:
        """Turn until everything there was is read; a poll at two looks, so that one of them looks behind the watermark.

        So too, where there was a gap, everything; and of what was there at the start as much as is due by now.
        """
        if self.source_is_idle():
            self.turn_well()  # it begins, or begins again after trouble
        mark = self.source.mark()
        looks, enough = 0, 1 if self.kit.follows else 2

        def done() -> bool:
            nonlocal looks
            looks += bool(self.results[-1].current and self.source.passed(mark))
            return looks >= enough and self.position.gap is None and not self.intake._may_scan(self.clock())

        self.until(done, "everything is read")

    def backfill(self) -> None:
        """Turn until what was there at the start is dealt with, however long that takes."""
        self.drain()
        while self.position.existing is not None:
            self.clock.now = max(self.clock.now, self.intake._scanner.next_at(self.clock.now))
            self.drain()

    def wait(self, done: Callable[[], bool], what: str) -> None:
        """Until `done`, which turns by itself if it is to turn."""
        deadline = time.monotonic() + PATIENCE_SECS
        while not done():
            assert time.monotonic() < deadline, f"waited {PATIENCE_SECS} s in vain: {what}"
            self.listen()

    def troubled(self) -> CrmError:
        """Turn until the CRM cannot say, at the latest in a sweep; returns why."""
        deadline = time.monotonic() + PATIENCE_SECS
        while (trouble := self.turn().trouble) is None:
            assert time.monotonic() < deadline, "there was no trouble"
            if not self.results[-1].more and not self.is_sweeping():
                self.listen()
                self.clock.advance(self.leads.sweep_secs / 10)
        return trouble

    def recover(self) -> list[CrmError]:
        """Turn until there is no trouble, and drain; returns the troubles that it took."""
        troubles: list[CrmError] = []
        while (trouble := self.turn().trouble) is not None:
            troubles.append(trouble)
            assert len(troubles) < 10, trouble
        self.drain()
        return troubles

    def kill(self, admin: psycopg.Connection) -> None:
        """End all of syncd's sessions, as an administrator may."""
        admin.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE application_name LIKE 'syncd %%' AND datname = current_database() AND pid <> pg_backend_pid()",
            (),
        )

    def source_is_idle(self) -> bool:
        """Whether the source is not under way: it knows of no table yet, or has met trouble."""
        return self.intake._sync_id is None

    def turn_well(self) -> IntakeResult:
        """One turn, which must do."""
        result = self.turn()
        assert result.trouble is None, result.trouble
        return result

    def is_sweeping(self) -> bool:
        """Whether a sweep is due or under way."""
        scanner = self.intake._scanner
        return scanner._sweeping or (scanner._sweep_due or 0.0) <= self.clock()

    def sweep(self) -> int:
        """A whole sweep; returns what it found that reading had missed."""
        self.backfill()
        self.clock.advance(2 * self.leads.sweep_secs)
        assert self.is_sweeping()
        before = len(self.results)
        self.until(lambda: not self.is_sweeping(), "the sweep ends")
        return sum(result.swept for result in self.results[before:])

    # -- the ledger ------------------------------------------------------------------------------------------

    @property
    def versions(self) -> dict[str, str]:
        """Version by key, as the ledger has it."""
        with self.ledger.home.read() as connection:
            rows = connection.execute(
                select(lead.c.key, lead.c.version)
                .join_from(lead, sync_table, lead.c.sync_id == sync_table.c.id)
                .where(sync_table.c.name == self.name)
            ).all()
        found = {key: version for key, version in rows}  # noqa: C416  # a Row is no pair to mypy
        assert len(found) == len(rows)
        return found

    @property
    def keys(self) -> set[str]:
        """The keys that the ledger has."""
        return set(self.versions)

    @property
    def captured(self) -> int:
        """How many leads were captured, over all turns; more than there are keys if one was taken twice."""
        return sum(result.new for result in self.results)

    @property
    def position(self) -> SyncPosition:
        """How far the sync is, as the ledger has it."""
        return self.ledger.position(self.ledger.register(self.name, self.clock()))


class Refusing(Ledger):
    """A ledger whose next commits may fail, as with a full disk; nothing of such a transaction stays."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger.home, ledger.hasher)
        self.refuse = 0
        self.taken = 0
        """Leads that it took; more than it has if it took one twice."""

    def capture(
        self,
        sync_id: int,
        changes: Sequence[Change],
        reached: str | None,
        now: Instant,
        *,
        resend_changed: bool,
    ) -> Captured:
        """As a ledger; refuses where there is something to take."""
        self._perhaps_refuse(changes)
        captured = super().capture(sync_id, changes, reached, now, resend_changed=resend_changed)
        self.taken += captured.new
        return captured

    def take_existing(
        self, sync_id: int, changes: Sequence[Change], scanned: int, scanned_to: str | None, now: Instant
    ) -> int:
        """As a ledger; refuses where there is something to take."""
        self._perhaps_refuse(changes)
        new = super().take_existing(sync_id, changes, scanned, scanned_to, now)
        self.taken += new
        return new

    def _perhaps_refuse(self, changes: Sequence[Change]) -> None:
        if self.refuse and changes:
            self.refuse -= 1
            raise LedgerUnavailable("The made-up disk is full.")


@contextmanager
def fresh_ledger(path: Path) -> Iterator[Ledger]:
    """An empty ledger in a file."""
    make_private(path)
    home = Home(f"sqlite:///{path}")
    try:
        migrate(home)
        yield Ledger(home, Hasher("made-up-key-of-the-tests"))
    finally:
        home.close()
