"""A database with a table of leads, and the intake over it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest

from syncd.ledger import Ledger
from tests.capture.harness import KITS, Catcher, Kit, Leads, fresh_ledger
from tests.support.databases import emptied_database, shared_database  # noqa: F401  # fixtures


@pytest.fixture(scope="session")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """A ledger for all of a worker's tests; each has syncs of its own in it."""
    with fresh_ledger(tmp_path_factory.mktemp("ledger") / "ledger.db") as made:
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


@pytest.fixture
def connect(database: str) -> Iterator[Callable[[], psycopg.Connection]]:
    """More connections of the CRM, with transactions."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(psycopg.connect(database))


Catch = Callable[..., Catcher]


@pytest.fixture
def catch(database: str, crm: psycopg.Connection, ledger: Ledger, kit: Kit) -> Iterator[Catch]:
    """``catch(key_type="uuid")`` makes such a table and an intake over it; ``make=False`` leaves the table out."""
    made: list[Catcher] = []

    def catch(*, make: bool = True, **described: Any) -> Catcher:
        leads = Leads(**described)
        if make:
            leads.create(crm)
        made.append(Catcher(kit, database, leads, ledger))
        return made[-1]

    yield catch
    for catcher in made:
        catcher.close()
