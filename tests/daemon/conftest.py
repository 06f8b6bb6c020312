"""A site and the daemons on it, which end with their test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from syncd.simulator import Simulator
from tests.support.databases import emptied_database, shared_database  # noqa: F401  # fixtures
from tests.support.process import Process
from tests.support.site import Site, simulated


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with simulated() as made:
        yield made


@pytest.fixture(params=["sqlite", "postgres"])
def each_ledger(request: pytest.FixtureRequest, tmp_path: Path, database: str, simulator: Simulator) -> Site:
    """A site with its ledger in a file, and one with its ledger beside the CRM."""
    made = Site(tmp_path, database, simulator, "sqlite" if request.param == "sqlite" else database)
    made.make_table()
    return made


@pytest.fixture
def site(tmp_path: Path, database: str, simulator: Simulator) -> Site:
    """A site with its ledger in a file."""
    made = Site(tmp_path, database, simulator)
    made.make_table()
    return made


Start = Callable[..., Process]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """``start(site)`` is a daemon on it; ``hasty=True`` and ``environ={...}`` as `Process` has them."""
    started: list[Process] = []

    def start(site: Site, **options: Any) -> Process:
        process = Process(site.config, tmp_path / f"log-{len(started)}", **options)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
    for process in started:
        assert "Traceback" not in process.output
        assert "Warning" not in process.output
