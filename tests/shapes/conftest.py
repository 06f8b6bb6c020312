"""A site whose table each test makes itself, and the commands run on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import run as run
from tests.daemon.conftest import start as start
from tests.support.databases import emptied_database, shared_database  # noqa: F401  # fixtures
from tests.support.site import Site, simulated


@pytest.fixture
def site(tmp_path: Path, database: str) -> Iterator[Site]:
    """A site without a table."""
    with simulated(keep_bodies=20) as simulator:
        yield Site(tmp_path, database, simulator)
