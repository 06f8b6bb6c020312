"""Plays one sabotage in a copy of the tree: puts the bug in, and runs the tests that must notice."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.sabotage.bug import ROOT, Bug

LIMIT_SECS = 300.0
"""A run that takes longer has proved nothing."""
_START = """
import os, sys, pytest, syncd
assert os.path.realpath(syncd.__file__).startswith(os.path.realpath(os.getcwd())), "another syncd would be tested"
sys.exit(pytest.main(sys.argv[1:]))
"""
_FOUND = {0: "SURVIVED", 1: "caught"}


@dataclass(frozen=True, slots=True)
class Played:
    """What came of a run."""

    verdict: str
    """``caught``, ``SURVIVED``, or ``UNCLEAR`` where no test could say."""
    words: str
    """The first test that failed and how; for ``UNCLEAR``, the last lines of the output."""
    seconds: float


def play(bug: Bug) -> Played:
    """Run a bug's tests against a copy that has it."""
    with _copy() as tree:
        try:
            bug.apply(tree)
        except ValueError as error:
            return Played("UNCLEAR", str(error), 0.0)
        return run(tree, bug.tests)


def play_nothing(tests: Sequence[str]) -> Played:
    """Run tests against a copy as it is: whatever fails here proves nothing there."""
    with _copy() as tree:
        return run(tree, tests, LIMIT_SECS * 4)


def run(tree: Path, tests: Sequence[str], limit_secs: float = LIMIT_SECS) -> Played:
    """Run tests in a tree, in a process of their own.

    Args:
        limit_secs: after which it is given up.
    """
    command = [sys.executable, "-c", _START, "-x", "-q", "-p", "no:randomly", "-p", "no:cacheprovider"]
    command += ["--timeout=60", f"--basetemp={tree.parent / 't'}", *tests]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "SYNCD_"))}
    began = time.monotonic()
    with subprocess.Popen(
        command,
        cwd=tree,
        env=environment | {"PYTHONPATH": str(tree)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=limit_secs)
        except subprocess.TimeoutExpired:
            return Played("UNCLEAR", f"no end within {limit_secs:.0f} s", time.monotonic() - began)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    verdict = _FOUND.get(process.returncode, "UNCLEAR")
    if "_ ERROR at setup of " in output:
        verdict = "UNCLEAR"  # no server, say: that has nothing to do with the bug
    return Played(verdict, _words(output, verdict), time.monotonic() - began)


def _words(output: str, verdict: str) -> str:
    found = re.search(r"^(?:FAILED|ERROR) .*", output, re.MULTILINE)
    if verdict == "caught" and found is not None:
        return found[0][:200]
    return "\n".join(output.splitlines()[-12:])


@contextmanager
def _copy() -> Iterator[Path]:
    """A copy of the tree as it is now, in a folder of its own that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="sabotage-", ignore_cleanup_errors=True) as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".*", "build", "dist"), symlinks=True)
        yield tree
