"""What a bench stands on: a Postgres with the CRM's tables, the ledgers, and syncd's configuration."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from itertools import count
from pathlib import Path
from typing import Final, Literal

import psycopg
from psycopg.conninfo import conninfo_to_dict

from bench.errors import BenchFailed
from bench.leads import WHERE, fields_as_toml, statements
from syncd.embedded import EmbeddedPostgres
from syncd.pacing import DAYS

TOKEN: Final = "simulator-token"  # noqa: S105  # the simulator's, and no secret
CAMPAIGN: Final = "12345"
LICENSES: Final = 1000
"""So many that no call waits for its turn in the day."""

Ledger = Literal["sqlite", "postgres"]
LEDGERS: Final[tuple[Ledger, ...]] = ("sqlite", "postgres")
IN_WORDS: Final[dict[Ledger, str]] = {"sqlite": "SQLite", "postgres": "Postgres"}

Capture = Literal["poll", "listen", "slot"]
CAPTURES: Final[tuple[Capture, ...]] = ("poll", "listen", "slot")


@dataclass(frozen=True, slots=True)
class Manner:
    """What is configured otherwise than for a backfill."""

    capture: Capture = "poll"
    start: Literal["beginning", "now"] = "beginning"
    poll_secs: float = 5
    licenses: int = LICENSES
    closed: bool = False
    """Whether nothing may leave, for the hours of delivery are on another day."""

    @property
    def hours(self) -> list[str]:
        """The hours of delivery; where closed, a minute of the day after tomorrow."""
        if not self.closed:
            return []
        day = datetime.now(UTC) + timedelta(days=2)
        return [f"{DAYS[day.weekday()]} 12:00-12:01"]


BACKFILL: Final = Manner()


class Stage:
    """The databases and files of a bench.

    Args:
        server: with its default durability: fsync is on.
        folder: for this bench alone.
    """

    def __init__(self, server: EmbeddedPostgres, folder: Path) -> None:
        self._server = server
        self._folder = folder
        self._numbers = count(1)

    @property
    def server(self) -> EmbeddedPostgres:
        """The Postgres that holds everything."""
        return self._server

    @property
    def server_version(self) -> str:
        """Of the Postgres that holds everything."""
        with psycopg.connect(self._server.url()) as connection:
            return f"{connection.info.server_version // 10000}.{connection.info.server_version % 10000}"

    def make_crm(self, leads: int) -> str:
        """Make a database with so many leads; its URL."""
        name = f"crm_{next(self._numbers)}"
        self._server.create_database(name)
        url = self._server.url(name)
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in statements(leads):
                connection.execute(statement.encode())
        return url

    def drop_crm(self, url: str) -> None:
        """Drop a database that `make_crm` made, and its slots."""
        self._server.drop_database(str(conninfo_to_dict(url)["dbname"]))

    def settle(self) -> None:
        """Let the server write what earlier runs left to be written, so that no run pays for another."""
        with psycopg.connect(self._server.url(), autocommit=True) as connection:
            connection.execute("CHECKPOINT")

    @contextmanager
    def configured(self, crm: str, ledger: Ledger, sink: str, manner: Manner = BACKFILL) -> Iterator[Path]:
        """A configuration with a ledger that does not exist yet; both are gone afterwards.

        Args:
            crm: the URL of the CRM.
            sink: the base URL of the simulator.
        """
        number = next(self._numbers)
        folder = self._folder / f"run-{number}"
        folder.mkdir()
        database = f"ledger_{number}"
        if ledger == "postgres":
            self._server.create_database(database)
        try:
            url = self._server.url(database) if ledger == "postgres" else f"sqlite:///{folder / 'ledger.db'}"
            values = {
                "crm": crm,
                "ledger": url,
                "licenses": str(manner.licenses),
                "sink": sink,
                "capture": manner.capture,
                "crm_name": str(conninfo_to_dict(crm)["dbname"]),
                "poll_secs": str(manner.poll_secs),
                "hours": json.dumps(manner.hours),
                "start": manner.start,
                "where": WHERE,
                "campaign": CAMPAIGN,
                "fields": fields_as_toml(),
            }
            text = files("bench").joinpath("config.toml").read_text("utf-8")
            for name, value in values.items():
                text = text.replace(f"@{name}@", value)
            (folder / "token").write_text(TOKEN)
            (folder / "hash-key").write_text("a key that the bench made up, and no secret")
            config = folder / "config.toml"
            config.write_text(text, encoding="utf-8")
            yield config
        finally:
            if ledger == "postgres":
                self._server.drop_database(database)
            for path in folder.iterdir():
                path.unlink()
            folder.rmdir()


def set_up(config: Path) -> None:
    """`syncd setup bench --apply`: what capture needs in the CRM.

    Raises:
        BenchFailed: it was refused.
    """
    done = subprocess.run(
        [sys.executable, "-m", "syncd", "setup", "bench", "--apply", "--config", str(config)],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if done.returncode != 0:
        raise BenchFailed(f"`syncd setup` ended with status {done.returncode}: {done.stderr.strip()}")


def environment() -> dict[str, str]:
    """Nothing that belongs to another syncd, to a service manager, or to another Postgres."""
    foreign = ("PG", "SYNCD_", "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_", "PYTHONPATH")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
