"""A power cut at any moment, upon SQLite: what was written and not synced is lost.

strace tells which bytes the process wrote, and when it had the disk keep them. From that the ledger is built as it
would be found after a cut: at each system call, from the synced bytes alone, and once more with all others.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import select

from syncd.ledger.schema import call
from tests.support.ledgers import assert_conserved, opened
from tests.support.rawserver import Peer, raw_server, response

POSTS = 3
ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
from syncd.model import Campaign
from tests.support.ledgers import Scene, opened
from syncd.states import CallState, LeadState
from syncd.wolkvox import Wolkvox
client = Wolkvox(sys.argv[2], "0042", "simulator-token", 30.0)
with opened(sys.argv[1], prepare=False) as ledger:
    scene = Scene(ledger)
    for number in range(int(sys.argv[3])):
        scene.capture(f"k{number}")
        made = scene.intend(f"k{number}", id=f"the-call-{number}")
        client.add_record(Campaign("12345", "predictive", "start"), b'[{"customer_id":"the-call-%d"}]' % number)
        scene.accept(made)
    scene.lease.close()
"""
_LINE = re.compile(r"^(\d+) +(\w+)\((.*)\) += (-?\d+)")
"""One call of strace's: thread, name, arguments, result."""


@dataclass
class Disk:
    """Files as a process writes them, and as the disk keeps them."""

    folder: Path
    open: dict[int, str] = field(default_factory=dict)
    """Names of the ledger's open files."""
    written: dict[str, bytearray] = field(default_factory=dict)
    kept: dict[str, bytes] = field(default_factory=dict)

    def take(self, name: str, arguments: str, result: int) -> None:
        """Follow one system call."""
        if name == "openat" and result >= 0:
            path = Path(arguments.split('"')[1])
            if path.parent == self.folder and path.name in ("ledger.db", "ledger.db-wal", "ledger.db-journal"):
                self.open[result] = path.name
                self.written.setdefault(path.name, bytearray())
            return
        number = int(arguments.split(",")[0]) if arguments.split(",")[0].isdigit() else -1
        file = self.open.get(number)
        if file is None:
            return
        if name == "close":
            del self.open[number]
        elif name == "pwrite64":
            data = bytes.fromhex(arguments.split('"')[1].replace("\\x", ""))
            place = int(arguments.rsplit(",", 1)[1])
            assert len(data) == result, "strace was to show all of it"
            content = self.written[file]
            content.extend(b"\0" * (place + len(data) - len(content)))
            content[place : place + len(data)] = data
        elif name == "ftruncate":
            del self.written[file][int(arguments.split(",")[1]) :]
        elif name in ("fsync", "fdatasync"):
            self.kept[file] = bytes(self.written[file])


def traced(folder: Path, url: str) -> Iterator[tuple[str, str, int]]:
    """The system calls of the program, in order."""
    trace = folder / "trace"
    calls = "openat,close,pwrite64,ftruncate,fsync,fdatasync,sendto,sendmsg"
    command = ["strace", "-f", "-xx", "-s", "1000000", "-o", str(trace), "-e", f"trace={calls}"]
    program = [sys.executable, "-c", PROGRAM, f"sqlite:///{folder / 'ledger.db'}", url, str(POSTS)]
    done = subprocess.run([*command, *program], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    if "ptrace" in done.stderr.lower():
        pytest.skip(f"strace may not trace here: {done.stderr.splitlines()[0]}")
    assert done.returncode == 0, done.stderr[-2000:]
    text = trace.read_text()
    assert "unfinished" not in text or "resumed" in text
    for line in whole(text.splitlines()):
        if found := _LINE.match(line):
            yield found[2], _plain(found[2], found[3]), int(found[4])


def whole(lines: list[str]) -> Iterator[str]:
    """Lines of strace, with calls that another thread interrupted put together, where they end."""
    begun: dict[str, str] = {}
    for line in lines:
        pid = line.split()[0]
        if line.endswith("<unfinished ...>"):
            begun[pid] = line.removesuffix("<unfinished ...>").rstrip()
        elif " resumed>" in line:
            yield begun.pop(pid) + line.split(" resumed>", 1)[1]
        else:
            yield line


def _plain(name: str, arguments: str) -> str:
    """Arguments with their strings readable, but for what was written to a file."""
    if name == "pwrite64":
        return arguments
    return re.sub(r"\\x([0-9a-f]{2})", lambda found: chr(int(found[1], 16)), arguments)


def calls_in(disk: Disk, folder: Path, files: dict[str, bytes]) -> dict[str, str]:
    """The calls of the ledger that a cut leaves, by id: their states. It must be whole."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    with opened(f"sqlite:///{folder / 'ledger.db'}", prepare=False) as ledger:
        with ledger.home.read() as connection:
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
            rows = connection.execute(select(call.c.id, call.c.state)).all()
        assert_conserved(ledger)
    return {row.id: row.state for row in rows}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_power_cut_at_any_moment_leaves_the_intent_of_each_call_that_left(
    made_once: tuple[Path, str], tmp_path: Path
) -> None:
    if shutil.which("strace") is None:
        pytest.skip("There is no strace here: what the disk has is not told.")
    shutil.copy(made_once[0], tmp_path / "ledger.db")
    disk = Disk(tmp_path)
    start = (tmp_path / "ledger.db").read_bytes()
    disk.written["ledger.db"], disk.kept["ledger.db"] = bytearray(start), start

    def accept(peer: Peer) -> None:
        peer.read_request()
        peer.send(response(b'{"code":"201","error":"","msg":"All records","data":[]}'))

    left: list[str] = []
    cuts = 0
    seen: dict[str, bytes] = {}
    with raw_server(accept) as server:
        for name, arguments, result in traced(tmp_path, server.url):
            disk.take(name, arguments, result)
            if name in ("sendto", "sendmsg"):
                if "POST /" in arguments:
                    left.append(f"the-call-{len(left)}")
            elif disk.kept == seen:
                continue  # the disk has what it had
            seen = dict(disk.kept)
            cuts += 1
            found = calls_in(disk, tmp_path / "cut", seen)
            assert set(left) <= set(found), f"after {name}: a call has left whose intent a power cut undoes"
            everything = {file: bytes(content) for file, content in disk.written.items()}
            assert set(left) <= set(calls_in(disk, tmp_path / "cut", everything))
    assert len(left) == POSTS, "the trace shows every call leave"
    assert cuts >= 4 * POSTS, "capture, intent, call and outcome of each"
