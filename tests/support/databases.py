"""One database for many tests, emptied between them: a new one each costs more than most of the tests."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from syncd.embedded import EmbeddedPostgres

LEAVE = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type IN ('client backend', 'walsender');
SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database();
"""
EMPTY = f"""
{LEAVE}
DO $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT pubname FROM pg_publication LOOP
        EXECUTE format('DROP PUBLICATION %I', name);
    END LOOP;
END
$$;
DROP SCHEMA IF EXISTS public, syncd, syncd_outbox CASCADE;
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
def emptied_database(shared_database: str) -> Iterator[str]:
    """In place of the fixture of that name at the top: the shared database, empty."""
    yield emptied(shared_database)
    # Slots belong to the server: one that is left here would be in the way of a test on another database.
    with psycopg.connect(shared_database, autocommit=True) as admin:
        admin.execute(LEAVE)


def emptied(url: str) -> str:
    """The database at `url`, with nothing of an earlier test in it, nor anybody."""
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(sql.SQL("ALTER DATABASE {} RESET ALL").format(sql.Identifier(admin.info.dbname)))
        admin.execute(EMPTY)
    return url
