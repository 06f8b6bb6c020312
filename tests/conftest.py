"""What every test may ask for: a Postgres of its worker's, and a fresh database in it."""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncd.embedded import EmbeddedPostgres
from tests.support import majors

MAJOR = int(os.environ.get("SYNCD_POSTGRES", majors.NEWEST))
"""Of the server that all tests have which ask for no other: SYNCD_POSTGRES=14 runs the suite on that one."""
FAST = {"fsync": "off", "full_page_writes": "off", "max_wal_senders": "20", "max_replication_slots": "20"}


@pytest.fixture(scope="session", autouse=True)
def no_state_of_this_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Where syncd is installed on this host, no test may meet what lies in its folder, nor leave anything there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STATE_DIRECTORY", str(tmp_path_factory.getbasetemp() / "no-such-folder"))
        yield


@pytest.fixture(scope="session")
def postgres_template(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A data directory that initdb made once for all workers, for `EmbeddedPostgres(template=...)`."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    template = shared / "postgres-template"
    with (shared / "postgres-template.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not template.exists():
            EmbeddedPostgres().make_template(template)
    return template


@pytest.fixture(scope="session")
def postgres_server(postgres_template: Path) -> Iterator[EmbeddedPostgres]:
    """A running server, shared by the tests of one worker: leave no roles or settings behind in it."""
    template = postgres_template if MAJOR == majors.NEWEST else None
    with EmbeddedPostgres(template=template, bindir=majors.bindir_or_skip(MAJOR), settings=FAST) as server:
        yield server


@pytest.fixture(scope="session", params=[major for major in majors.chosen() if major != MAJOR])
def other_server(request: pytest.FixtureRequest) -> Iterator[EmbeddedPostgres]:
    """A running server of each other major, one after the other: pytest puts the tests of each together."""
    with EmbeddedPostgres(bindir=majors.bindir_or_skip(request.param), settings=FAST) as server:
        yield server


@pytest.fixture
def database(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    """The URL of a fresh, empty database, as superuser; dropped afterwards with whatever still uses it."""
    name = f"test_{uuid.uuid4().hex}"
    postgres_server.create_database(name)
    yield postgres_server.url(name)
    postgres_server.drop_database(name)
