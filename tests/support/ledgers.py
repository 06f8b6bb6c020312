"""A ledger in either home, and a scene that plays capture and calls upon it by the names of keys."""

from __future__ import annotations

import itertools
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import select

from syncd.embedded import EmbeddedPostgres
from syncd.ledger import Captured, Claim, Ending, Intent, Lease, Ledger, migration
from syncd.ledger.hashes import Hasher
from syncd.ledger.home import Home
from syncd.ledger.schema import lead, metadata
from syncd.model import Change, RecordError, Rejection, Settlement
from syncd.states import CallState, LeadState

HASH_KEY = "a-key-of-the-tests-0123456789"
NOON = 1_790_000_000.0
"""An instant; nothing hangs on which."""
DAY = "2026-09-21"
REASON = Rejection("tel1", "phone", "The number is too short.")


@pytest.fixture(scope="session")
def made_once(
    postgres_server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, str]]:
    """A SQLite ledger to copy and a Postgres database to empty, each migrated once a worker: that is most of the time
    of a test. `test_migration` has databases of its own."""
    path, name = tmp_path_factory.mktemp("ledger") / "ledger.db", f"ledgers_{uuid.uuid4().hex}"
    postgres_server.create_database(name)
    for url in (f"sqlite:///{path}", postgres_server.url(name)):
        with opened(url):
            pass
    yield path, name
    postgres_server.drop_database(name)


@pytest.fixture
def shared_database(made_once: tuple[Path, str], postgres_server: EmbeddedPostgres) -> str:
    """A Postgres database with an empty ledger, and nothing else."""
    name = made_once[1]
    with psycopg.connect(postgres_server.url(), autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        connection.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", [name])
    url = postgres_server.url(name)
    tables = ", ".join(f'"{table.schema}"."{table.name}"' for table in metadata.tables.values())
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"TRUNCATE {tables} RESTART IDENTITY")
        connection.execute("DROP TABLE IF EXISTS public.leads, public.elsewhere")
    return url


@pytest.fixture(params=["sqlite", "postgres"])
def home_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an empty ledger is: once in each home."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("made_once")[0], tmp_path / "ledger.db")
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    return str(request.getfixturevalue("shared_database"))


@contextmanager
def opened(url: str, *, prepare: bool = True) -> Iterator[Ledger]:
    """A ledger as `open_ledger` makes it, without a configuration."""
    ledger = Ledger(Home(url, name="syncd test"), Hasher(HASH_KEY))
    try:
        if prepare:
            migration.require_current(ledger.home)
            ledger.check_key()
        yield ledger
    finally:
        ledger.close()


def rows(ledger: Ledger, sync_id: int = 0) -> dict[str, dict[str, object]]:
    """The leads of a sync, or of all, as they lie in the table, by key."""
    query = select(lead).where(lead.c.sync_id == sync_id) if sync_id else select(lead)
    with ledger.home.read() as connection:
        return {row.key: dict(row._mapping) for row in connection.execute(query)}


class Scene:
    """One sync of one sender upon a real ledger; keys are named, numbers are looked up."""

    def __init__(self, ledger: Ledger, name: str = "web", *, resend: bool = False) -> None:
        self.ledger = ledger
        self.resend = resend
        self.sync_id = ledger.register(name, NOON)
        self.lease = Lease(ledger.home, lambda: NOON, "tester")
        assert self.lease.acquire()
        self._numbers = itertools.count(1)

    @property
    def term(self) -> int:
        assert self.lease.term is not None
        return self.lease.term

    def capture(self, *keys: str, version: str = "1", at: float = NOON, reached: str | None = None) -> Captured:
        """Rows with these keys were seen."""
        changes = [Change(key, version) for key in keys]
        return self.ledger.capture(self.sync_id, changes, reached, at, resend_changed=self.resend)

    def states(self) -> dict[str, str]:
        """The state of each key."""
        return {key: str(row["state"]) for key, row in rows(self.ledger, self.sync_id).items()}

    def id_of(self, key: str) -> int:
        """The number of a lead."""
        number = rows(self.ledger, self.sync_id)[key]["id"]
        assert isinstance(number, int)
        return number

    def claim(self, limit: int = 100) -> Claim:
        return self.ledger.claim(self.sync_id, limit)

    def intent(self, *keys: str, budget: int = 1000, at: float = NOON, **values: object) -> Intent:
        """The intent of a call with these leads."""
        given: dict[str, object] = {
            "id": f"call-{self.sync_id}-{next(self._numbers)}",
            "kind": "add_record",
            "campaign_id": "12345",
            "quota_day": DAY,
            "budget": budget,
            "body_hash": b"b" * 16,
            "started_at": at,
            "deadline_at": at + 75,
            "lead_ids": [self.id_of(key) for key in keys],
        }
        return Intent(**{**given, **values})  # type: ignore[arg-type]  # the values are the tests' own

    def intend(
        self,
        *keys: str,
        seq: int | None = None,
        settlements: Sequence[Settlement] = (),
        term: int | None = None,
        **values: object,
    ) -> int:
        """Commit the intent of a call with these leads, claimed just now unless `seq` says when."""
        number, _ = self.ledger.intend(
            self.term if term is None else term,
            self.intent(*keys, **values),  # type: ignore[arg-type]  # as above
            sync_id=self.sync_id if keys else None,
            seq=self.claim().seq if seq is None else seq,
            settlements=settlements,
        )
        return number

    def finish(
        self,
        number: int,
        state: CallState,
        rest: LeadState,
        *,
        refused: Mapping[str, str] | None = None,
        at: float = NOON + 1,
        left_at: float | None = None,
    ) -> dict[str, int]:
        """Commit the outcome of a call."""
        errors = {
            self.id_of(key): RecordError(position, reason)
            for position, (key, reason) in enumerate((refused or {}).items())
        }
        ending = Ending(state, at, 201, "verdict", "A sentence.", rest, errors, left_at)
        return self.ledger.finish(number, ending, resend_changed=self.resend)

    def accept(self, number: int, at: float = NOON + 1) -> dict[str, int]:
        return self.finish(number, CallState.ACCEPTED, LeadState.DELIVERED, at=at)

    def settle(self, key: str, state: LeadState, *, seq: int | None = None) -> dict[str, int]:
        """Settle a lead without a call."""
        why = REASON if state is LeadState.REJECTED else None
        at = self.claim().seq if seq is None else seq
        return self.ledger.settle_unsent(self.sync_id, at, [Settlement(self.id_of(key), state, why)], NOON + 1)

    def bring(self, key: str, state: LeadState) -> None:
        """Capture a key and lead it into a state."""
        self.capture(key)
        if state in (LeadState.SENDING, LeadState.HELD, LeadState.DELIVERED):
            number = self.intend(key)
            if state is LeadState.HELD:
                self.finish(number, CallState.UNKNOWN, LeadState.HELD)
            elif state is LeadState.DELIVERED:
                self.accept(number)
        elif state is not LeadState.PENDING:
            self.settle(key, state)
        assert self.states()[key] == state


def assert_conserved(ledger: Ledger) -> None:
    """The tally says what a recount says."""
    assert ledger.tally() == ledger.recount()
