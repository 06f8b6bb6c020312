"""One database for many tests, emptied between them: a new one each costs more than most of the tests."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from syncd.embedded import EmbeddedPostgres

EMPTY = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend';
DROP SCHEMA IF EXISTS public, syncd CASCADE;
CREATE SCHEMA public;
GRANT USAGE ON SCHEMA public TO PUBLIC;
"""


@pytest.fixture(scope="session")
def shared_database(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    """The URL of a database of this worker's."""
    name = f"test_{uuid.uuid4().hex}"
    postgres_server.create_database(name)
    yield postgres_server.url(name)
    postgres_server.drop_database(name)


@pytest.fixture(name="database")
def emptied_database(shared_database: str) -> str:
    """In place of the fixture of that name at the top: the shared database, empty."""
    with psycopg.connect(shared_database, autocommit=True) as admin:
        admin.execute(sql.SQL("ALTER DATABASE {} RESET ALL").format(sql.Identifier(admin.info.dbname)))
        admin.execute(EMPTY)
    return shared_database
