"""A site, daemons on it, its commands, and copies of its ledger to put back."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from syncd import assembly
from syncd.config import load
from syncd.delivery import Standing
from syncd.embedded import EmbeddedPostgres
from syncd.ledger import Lease, Ledger, open_ledger
from syncd.simulator import Simulator
from syncd.witness import Guard
from tests.daemon.conftest import simulator, start  # noqa: F401  # fixtures
from tests.support.databases import emptied_database, shared_database  # noqa: F401  # fixtures
from tests.support.ledgers import rows
from tests.support.site import Site
from tests.support.waiting import eventually

SYNC = "web"


class Rig:
    """A site whose ledger can be copied and put back, in either home.

    Args:
        server: where a Postgres ledger lies; None for a SQLite one.
    """

    def __init__(self, site: Site, server: EmbeddedPostgres | None) -> None:
        self.site = site
        self._server = server
        self._name = f"ledger_{uuid.uuid4().hex}"
        self.witness = site.folder / "elsewhere" / "witness"
        self.witness.parent.mkdir()
        if server is not None:
            server.create_database(self._name)
            site.write(ledger__url=server.url(self._name))
        site.write(ledger__witness_file=str(self.witness), ledger__hash_key_file="hash-key")
        site.write(sync__0__poll_secs=0.4)  # on a slow machine, scans come to nothing beside a shorter one

    def copy(self) -> None:
        """Take a copy of the ledger; nobody may use it."""
        if self._server is None:
            shutil.copy(self.site.ledger_file, self.site.folder / "copy.db")
        else:
            self._admin(f"CREATE DATABASE {self._name}_copy TEMPLATE {self._name}")

    def put_back(self) -> None:
        """Put the copy in the place of the ledger."""
        self.lose(create=False)
        if self._server is None:
            shutil.copy(self.site.folder / "copy.db", self.site.ledger_file)
        else:
            self._admin(f"CREATE DATABASE {self._name} TEMPLATE {self._name}_copy")

    def lose(self, *, create: bool = True) -> None:
        """The ledger is gone."""
        if self._server is None:
            for suffix in ("", "-wal", "-shm"):
                Path(f"{self.site.ledger_file}{suffix}").unlink(missing_ok=True)
        else:
            self._server.drop_database(self._name)
            if create:
                self._server.create_database(self._name)

    def end(self) -> None:
        """Drop what it made on the server."""
        if self._server is not None:
            for name in (self._name, f"{self._name}_copy"):
                self._admin(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _admin(self, statement: str) -> None:
        assert self._server is not None
        with psycopg.connect(self._server.url(), autocommit=True) as connection:
            connection.execute(statement.encode())

    # -- what an operator does and sees ----------------------------------------------------------------------

    def syncd(self, *words: str, status: int = 0) -> str:
        """Run a command to its end; what it printed."""
        ran = subprocess.run(
            [sys.executable, "-m", "syncd", "--config", str(self.site.config), *words],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ran.returncode == status, ran.stdout + ran.stderr
        assert "Traceback" not in ran.stderr
        return ran.stdout + ran.stderr

    def recover(self, *words: str) -> dict[str, Any]:
        """`syncd recover --yes --json`, and what it says of the one sync."""
        answer = json.loads(self.syncd("recover", "--yes", "--json", *words))
        (found,) = answer.pop("syncs")
        return {**answer, **found}

    def leads(self) -> dict[str, str]:
        """The state of each lead by key."""
        ledger = self.ledger()
        try:
            return {key: str(row["state"]) for key, row in rows(ledger).items()}
        finally:
            ledger.close()

    def ledger(self) -> Ledger:
        """The ledger, as another process sees it."""
        return open_ledger(load(self.site.config), self.site.config, purpose="test", tables="require")

    def states(self) -> dict[str, int]:
        """Leads by state; the tally must agree with the leads."""
        ledger = self.ledger()
        try:
            eventually(lambda: ledger.tally() == ledger.recount(), "the tally agrees")  # somebody may be writing
            found: dict[str, int] = {}
            for (_, state), leads in ledger.tally().items():
                found[state] = found.get(state, 0) + leads
            return found
        finally:
            ledger.close()

    def arrived(self, ids: list[str]) -> None:
        """Wait until wolkvox has them all; once each."""
        eventually(lambda: set(self.site.accepted()) >= set(ids), f"{len(ids)} leads arrive")
        assert {lead: count for lead, count in self.site.accepted().items() if count != 1} == {}


@pytest.fixture(params=["sqlite", "postgres"])
def rig(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    database: str,
    simulator: Simulator,  # noqa: F811
    postgres_server: EmbeddedPostgres,
) -> Iterator[Rig]:
    """A rig with its ledger in each home."""
    site = Site(tmp_path, database, simulator)
    site.make_table()
    made = Rig(site, postgres_server if request.param == "postgres" else None)
    yield made
    made.end()


@pytest.fixture
def small(tmp_path: Path, database: str, simulator: Simulator) -> Rig:  # noqa: F811
    """A rig with its ledger in a file."""
    site = Site(tmp_path, database, simulator)
    site.make_table()
    return Rig(site, None)


def flow(rig: Rig) -> Standing:
    """Let leads flow as the daemon would, without a process, until there is no more; where delivery stands then."""
    config, path = load(rig.site.config), rig.site.config
    ledger = open_ledger(config, path, purpose="flow")
    connections = assembly.CrmConnections(config, path)
    lease = Lease(ledger.home, time.time, "a test")
    try:
        assert lease.acquire()
        term = lease.term or 0
        guard = Guard(ledger, assembly.witness(config))
        guard.begin()
        intakes = assembly.intakes(config, ledger, connections, time.time)
        client = assembly.client(config, path)
        delivery, _ = assembly.sending(config, ledger, connections.delivery, client, lambda: term, time.time, guard)

        def turn() -> bool:
            looked = [intake.run_once() for intake in intakes if intake.due_at(time.time()) <= time.time()]
            result = delivery.run_once()
            quiet = looked != [] and not any(one.more or one.new or one.again for one in looked)
            swept = all(view.gap is None and view.existing is None for view in ledger.syncs())
            return quiet and swept and not result.call and result.standing.state in ("idle", "held")

        eventually(turn, "nothing is left to do")
        lease.release()
        return delivery.standing
    finally:
        lease.close()
        ledger.close()
        connections.close()
