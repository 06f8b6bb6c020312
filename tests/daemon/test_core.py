"""A crash leaves no memory behind: it holds the token and leads."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.daemon.conftest import Start
from tests.docs.pages import ROOT
from tests.support.site import Site

_ANY_CORE = (
    "import resource, signal; most = resource.getrlimit(resource.RLIMIT_CORE)[1];"
    "resource.setrlimit(resource.RLIMIT_CORE, (most, most));"
    "signal.signal(signal.SIGQUIT, signal.SIG_DFL);"
)
"""What a shell with `ulimit -c unlimited` gives to whatever it starts; one that starts it in the background may let
SIGQUIT be ignored besides."""
PROGRAM = f"{_ANY_CORE} import sys; from syncd.cli import main; sys.exit(main())"
PATTERN = Path("/proc/sys/kernel/core_pattern")
FATAL = [signal.SIGABRT, signal.SIGQUIT]


def cores(folder: Path) -> list[Path]:
    return list(folder.glob("core*"))


def limit(pid: int) -> list[str]:
    """The soft and the hard limit of a process for core files, as the kernel tells them."""
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return next(line for line in lines if line.startswith("Max core file size")).split()[4:6]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a process that the test starts works, and would leave its core."""
    made = tmp_path / "works-here"
    made.mkdir()
    monkeypatch.chdir(made)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return made


def test_the_limit_is_nothing_and_the_filter_empty(site: Site, start: Start, folder: Path) -> None:
    daemon = start(site, program=PROGRAM)
    daemon.wait_until_sending()
    assert limit(daemon.pid) == ["0", "0"]
    assert int(Path(f"/proc/{daemon.pid}/coredump_filter").read_text(), 16) == 0
    # It stays open to the tools of its own user.
    assert Path(f"/proc/{daemon.pid}/environ").stat().st_uid == os.getuid()
    assert list(Path(f"/proc/{daemon.pid}/fd").iterdir())


def test_a_configuration_that_is_refused_comes_after_it(site: Site, start: Start, folder: Path) -> None:
    """Nothing of the file is read before: a crash while it is read leaves nothing either."""
    told = "import atexit, resource; atexit.register(lambda: print(resource.getrlimit(resource.RLIMIT_CORE)));"
    site.config.write_text("no configuration")
    daemon = start(site, program=told + PROGRAM)
    assert daemon.popen.wait(30) == 78
    assert "(0, 0)" in daemon.output


@pytest.mark.skipif("/" in PATTERN.read_text() or PATTERN.read_text()[0] == "|", reason="cores go elsewhere here")
@pytest.mark.skipif(resource.getrlimit(resource.RLIMIT_CORE)[1] == 0, reason="no process may leave a core here")
@pytest.mark.parametrize("number", FATAL)
def test_a_fatal_signal_leaves_no_core(site: Site, start: Start, folder: Path, number: signal.Signals) -> None:
    done = subprocess.run([sys.executable, "-c", f"{_ANY_CORE} import os; os.kill(os.getpid(), {int(number)})"])
    assert done.returncode == -number
    if not cores(folder):
        pytest.skip("no process leaves a core in its folder here")
    for core in cores(folder):
        core.unlink()
    daemon = start(site, program=PROGRAM)
    daemon.wait_until_sending()
    assert daemon.end(number) == -number
    assert cores(folder) == []
