"""A site, and the commands run in this process on it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from syncd.cli import main
from tests.support.databases import emptied_database, shared_database  # noqa: F401  # fixtures
from tests.support.site import Site, simulated


@dataclass(frozen=True)
class Said:
    """What a command said, and its exit status."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Said]


@pytest.fixture
def site(tmp_path: Path, database: str) -> Iterator[Site]:
    """A whole site, whose table is there and empty."""
    with simulated() as simulator:
        made = Site(tmp_path, database, simulator)
        made.make_table()
        yield made


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, site: Site) -> Run:
    """``run("status", "--json")`` is that command on the site's configuration."""
    monkeypatch.setenv("SYNCD_CONFIG", str(site.config))

    def run(*arguments: str) -> Said:
        capfd.readouterr()
        status = main(list(arguments))
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        return Said(status, out, err)

    return run
