"""Bringing a ledger's tables to the version that this syncd expects, by Alembic's numbered migrations."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

from sqlalchemy import Connection, column, inspect, select, table, text
from sqlalchemy.schema import CreateSchema

from syncd.errors import LedgerEmpty, LedgerSchemaError
from syncd.ledger.home import Home
from syncd.ledger.schema import REVISION, SCHEMA

_SCRIPTS = Path(__file__).with_name("migrations")


def revision_of(home: Home) -> str | None:
    """The migration that the ledger is at; None for an empty database.

    Raises:
        LedgerUnavailable: where the database does not answer.
        LedgerSchemaError: where a SQLite file holds something else.
    """
    with home.read() as connection:
        schema = None if home.is_sqlite else SCHEMA
        if not inspect(connection).has_table("alembic_version", schema=schema):
            if home.is_sqlite and inspect(connection).get_table_names():
                raise LedgerSchemaError(
                    f"{home.where} is a database of something else.", "Name another file in ledger.url."
                )
            return None
        found = connection.scalar(select(column("version_num")).select_from(table("alembic_version", schema=schema)))
        return None if found is None else str(found)


def require_current(home: Home) -> None:
    """Refuse a ledger of another version; make the tables of an empty one.

    Raises:
        LedgerSchemaError: where the ledger is older or newer than this syncd.
    """
    found = revision_of(home)
    if found is None:
        migrate(home)
    elif found < REVISION:
        raise LedgerSchemaError(
            f"The ledger at {home.where} has version {found}; this syncd needs {REVISION}.",
            "Stop every syncd on it, back it up, and run `syncd migrate`.",
        )
    elif found > REVISION:
        raise _too_new(home, found)


def require_existing(home: Home) -> None:
    """Refuse a ledger that is not there, or is of another version; makes nothing.

    Raises:
        LedgerSchemaError: where that is so.
    """
    if home.path is not None and not home.path.exists():
        raise LedgerSchemaError(f"There is no ledger at {home.where} yet.", "`syncd run` makes it.")
    if revision_of(home) is None:
        raise LedgerEmpty(f"The ledger at {home.where} is empty.", "`syncd run` or `syncd migrate` fills it.")
    require_current(home)


def migrate(home: Home) -> tuple[str | None, str]:
    """Apply what is missing, in one transaction; returns the versions before and after.

    Raises:
        LedgerUnavailable: where the database does not answer or may not be changed.
        LedgerSchemaError: where the ledger is newer than this syncd.
    """
    from alembic import command  # slow to import, and needed once in a ledger's life
    from alembic.config import Config as AlembicConfig

    before = revision_of(home)
    if before is not None and before > REVISION:
        raise _too_new(home, before)
    settings = AlembicConfig(stdout=io.StringIO())
    settings.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    with home.write() as connection:
        _one_at_a_time(connection, home)
        if not home.is_sqlite and SCHEMA not in inspect(connection).get_schema_names():
            connection.execute(CreateSchema(SCHEMA, if_not_exists=True))
        settings.attributes["connection"] = connection
        with contextlib.redirect_stdout(io.StringIO()):
            command.upgrade(settings, "head")
    return before, REVISION


def _too_new(home: Home, found: str) -> LedgerSchemaError:
    return LedgerSchemaError(
        f"The ledger at {home.where} has version {found}, newer than this syncd, which knows {REVISION}.",
        "Install the newer syncd again.",
    )


def _one_at_a_time(connection: Connection, home: Home) -> None:
    """Two daemons that start on an empty Postgres at once must not both make its tables."""
    if not home.is_sqlite:
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('syncd ledger migration'))"))
