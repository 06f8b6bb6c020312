"""A ledger in each home, emptied as often as a test asks."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from syncd.embedded import EmbeddedPostgres
from syncd.ledger.schema import metadata
from tests.support.ledgers import home_url as home_url
from tests.support.ledgers import made_once as made_once
from tests.support.ledgers import shared_database as shared_database

Empty = Callable[[], str]


@pytest.fixture
def empty(
    home_url: str, shared_database: str, made_once: tuple[Path, str], postgres_server: EmbeddedPostgres, tmp_path: Path
) -> Empty:
    """``empty()`` is the URL of an empty ledger, once in each home: each time the same one, emptied anew."""
    tables = ", ".join(f'"{table.schema}"."{table.name}"' for table in metadata.tables.values())

    def emptied() -> str:
        if home_url.startswith("sqlite"):
            for file in tmp_path.glob("ledger.db*"):
                file.unlink()
            shutil.copy(made_once[0], tmp_path / "ledger.db")
        else:
            with psycopg.connect(home_url, autocommit=True) as connection:
                connection.execute(f"TRUNCATE {tables} RESTART IDENTITY")
        return home_url

    return emptied
