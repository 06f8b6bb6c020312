"""A disk that fills up under the daemon: it stops cleanly, says so, and goes on by itself."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.conftest import Start
from tests.daemon.test_life import arrived, is_sound, states
from tests.support.site import Site
from tests.support.waiting import eventually


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few megabytes of its own."""
    path = tmp_path / "disk"
    path.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=6m,mode=0700", "syncd-test", str(path)]
    if os.getuid() != 0 or subprocess.run(mounting, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root may mount a small file system, and not in every container")
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


def fill(path: Path) -> None:
    """Use up what is left, to the last byte."""
    with path.open("wb", buffering=0) as file:
        for size in (65_536, 4096, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue


def test_a_full_disk_stops_it_cleanly_and_it_goes_on_once_there_is_room(
    site: Site, start: Start, small_disk: Path
) -> None:
    site.ledger_file = small_disk / "ledger.db"
    site.write(ledger__url=f"sqlite:///{site.ledger_file}", delivery__max_wait_secs=1)
    daemon = start(site, hasty=True)
    daemon.wait_until_sending()
    ids = site.insert(20)
    arrived(site, ids)
    eventually(lambda: states(site) == {"delivered": 20}, "the outcome is written")
    fill(small_disk / "somebody-elses")
    ids += site.insert(5000, first=21)
    trouble = daemon.wait_for("ledger.unavailable", loop="intake")
    assert str(site.ledger_file) in trouble["reason"]
    assert daemon.popen.poll() is None
    (small_disk / "somebody-elses").unlink()
    arrived(site, ids)
    eventually(lambda: states(site) == {"delivered": len(ids)}, "the outcome is written")
    assert daemon.end() == 0
    is_sound(site)
