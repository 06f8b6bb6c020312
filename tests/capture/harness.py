"""Driving one way of capturing by hand: a table, an intake over it, a clock that the test turns, and the ledger.

The suite is written against `syncd.capture.Source`: a `Kit` makes one from a table, and another way to capture gets
the same tests by another kit.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import psycopg
from psycopg import sql
from sqlalchemy import select

from syncd.capture import Source
from syncd.capture.poll import PollSource
from syncd.crm import CrmConnection
from syncd.intake import Intake, IntakeResult
from syncd.ledger import Ledger
from syncd.ledger.hashes import Hasher
from syncd.ledger.home import Home, make_private
from syncd.ledger.migration import migrate
from syncd.ledger.schema import lead
from syncd.ledger.schema import sync as sync_table

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
    where: str | None = None
    start: str | datetime = "beginning"
    lookback_secs: float = 300.0
    sweep_secs: float = 3600.0
    resend_changed: bool = False

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
        """What a reader sees: version by key, of rows that can be captured."""
        rows = connection.execute(
            sql.SQL("SELECT {0}::text, {1}::text FROM {2} WHERE {1} IS NOT NULL").format(
                sql.Identifier(self.key), sql.Identifier(self.mark), self.identifier
            )
        )
        return dict(rows.fetchall())


Kit = Callable[[CrmConnection, Leads], Source]


def poll_kit(connection: CrmConnection, leads: Leads) -> PollSource:
    """Capture by polling."""
    return PollSource(
        connection,
        ("public", leads.name),
        key=leads.key,
        watermark=leads.mark,
        where=leads.where,
        start=leads.start,
        lookback_secs=leads.lookback_secs,
        about='sync "leads"',
    )


KITS: dict[str, Kit] = {"poll": poll_kit}


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
    """One sync's intake over one table.

    Args:
        kit: makes the source.
        name: of the sync in the ledger.
    """

    def __init__(self, kit: Kit, url: str, leads: Leads, ledger: Ledger, name: str | None = None) -> None:
        self.kit = kit
        self.url = url
        self.leads = leads
        self.ledger = ledger
        self.name = name or f"sync-{next(_counter)}"
        self.clock = Clock()
        self.results: list[IntakeResult] = []
        self.connection = CrmConnection(url, None, "capture", 10)
        self.restart()

    def restart(self, **changes: object) -> None:
        """A new life of syncd, which knows no more than the ledger does; perhaps configured anew."""
        self.connection.close()
        self.leads = replace(self.leads, **changes)  # type: ignore[arg-type]  # the fields own names
        self.connection = CrmConnection(self.url, None, "capture", 10)
        self.source = self.kit(self.connection, self.leads)
        self.intake = Intake(
            self.ledger,
            self.source,
            self.name,
            resend_changed=self.leads.resend_changed,
            poll_secs=5.0,
            sweep_secs=self.leads.sweep_secs,
            clock=self.clock,
        )

    def close(self) -> None:
        """Leave the CRM."""
        self.connection.close()

    def turn(self) -> IntakeResult:
        """One turn of the loop, when it is due."""
        self.clock.now = max(self.clock.now, self.intake.next_at)
        result = self.intake.run_once()
        self.results.append(result)
        return result

    def wants_sweep(self) -> bool:
        """Whether the next turn would be one of a sweep."""
        return self.intake.wants_sweep

    def drain(self) -> None:
        """Turn until everything there was is read, at two looks, so that one of them looks behind the watermark."""
        for _ in range(2):
            while (result := self.turn()).more:
                pass
            assert result.trouble is None, result.trouble

    def sweep(self) -> int:
        """A whole sweep; returns what it found."""
        self.clock.advance(2 * self.leads.sweep_secs)
        self.drain()
        assert self.wants_sweep()
        found = 0
        while self.wants_sweep():
            found += self.intake.run_once().swept
        return found

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
    def position(self) -> tuple[str | None, str | None]:
        """Start and watermark, as the ledger has them."""
        return self.ledger.position(self.ledger.register(self.name, self.clock()))


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
