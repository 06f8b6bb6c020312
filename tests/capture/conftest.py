"""A database with a table of leads, and the intake over it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
import pytest
from psycopg import sql

from syncd import scanning
from syncd.capture import listen, poll, slot_page
from syncd.ledger import Ledger
from tests.capture.harness import Catcher, Kit, Leads, fresh_ledger
from tests.capture.kits import KITS
from tests.support.databases import emptied_database, shared_database  # noqa: F401  # fixtures


@pytest.fixture(scope="session")
def ledger() -> Iterator[Ledger]:
    """A ledger for all of a worker's tests; each has syncs of its own in it. In memory where there is such a place."""
    memory = Path("/dev/shm")  # noqa: S108  a directory of its own is made in it
    with (
        TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as directory,
        fresh_ledger(Path(directory, "ledger.db")) as made,
    ):
        yield made


@pytest.fixture(params=KITS)
def kit(request: pytest.FixtureRequest) -> Kit:
    """Each way of capturing."""
    return KITS[request.param]


@pytest.fixture
def crm(database: str) -> Iterator[psycopg.Connection]:
    """The CRM's own connection, which commits each statement."""
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


Connect = Callable[[], psycopg.Connection]


@pytest.fixture
def connect(database: str) -> Iterator[Connect]:
    """More connections of the CRM, with transactions."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(psycopg.connect(database))


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two keys a page, three a chunk of a scan."""
    _shrink(monkeypatch, 2, 3)


@pytest.fixture
def pages_of_seven(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven keys a page or chunk."""
    _shrink(monkeypatch, 7, 7)


def _shrink(monkeypatch: pytest.MonkeyPatch, page: int, chunk: int) -> None:
    monkeypatch.setattr(poll, "PAGE_ROWS", page)
    monkeypatch.setattr(listen, "PAGE_KEYS", page)
    monkeypatch.setattr(slot_page, "PAGE_KEYS", page)
    monkeypatch.setattr(scanning, "SCAN_ROWS", chunk)


@pytest.fixture
def role(crm: psycopg.Connection) -> Iterator[str]:
    """A role that may log in and nothing else; gone afterwards."""
    name = f"reader_{uuid.uuid4().hex}"
    crm.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'made-up'").format(sql.Identifier(name)))
    yield name
    crm.execute(sql.SQL("DROP OWNED BY {0}").format(sql.Identifier(name)))
    crm.execute(sql.SQL("DROP ROLE {0}").format(sql.Identifier(name)))


def url_of(database: str, role: str) -> str:
    """The database for another role."""
    return database.replace("postgresql://postgres@", f"postgresql://{role}:made-up@")


Catch = Callable[..., Catcher]


@pytest.fixture
def catch(database: str, crm: psycopg.Connection, ledger: Ledger, kit: Kit) -> Iterator[Catch]:
    """``catch(key_type="uuid")`` makes such a table and an intake over it, installed.

    ``make=False`` leaves the table out, and ``install=False`` what is to be installed.
    """
    made: list[Catcher] = []

    def catch(*, make: bool = True, install: bool = True, **described: Any) -> Catcher:
        leads = Leads(**described)
        if make:
            leads.create(crm)
        made.append(Catcher(kit, database, leads, ledger))
        if make and install:
            made[-1].install()
        return made[-1]

    yield catch
    for catcher in made:
        catcher.close()
