"""A real `syncd run` as a process of its own: started, watched by its log and its pages, signalled, ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.waiting import eventually

HASTY = (
    "import sys, syncd.delivery.sending, syncd.daemon, syncd.loops;"
    "syncd.delivery.sending.SERVER_SECS = 0.3; syncd.daemon._STANDBY_SECS = 0.2; syncd.loops.RETRY_SECS = 0.3;"
    "from syncd.cli import main; sys.exit(main())"
)
"""The same program, with some of its waits shortened: 0.3 s for wolkvox's own 60 s."""


class Process:
    """One daemon.

    Args:
        config: its configuration.
        log: where its standard error goes; appended to.
        hasty: shorten the waits that only matter to a real wolkvox.
        program: run this Python instead, which shortens waits of its own choice.
        environ: more variables.
    """

    def __init__(
        self,
        config: Path,
        log: Path,
        *,
        hasty: bool = False,
        program: str | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.log_file = log
        self._from = log.stat().st_size if log.exists() else 0
        code = program or (HASTY if hasty else None)
        command = [sys.executable, *(("-m", "syncd") if code is None else ("-c", code))]
        with log.open("ab") as sink:
            self.popen = subprocess.Popen(
                [*command, "run", "--config", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                env={**os.environ, "PYTHONWARNINGS": "error", **(environ or {})},
            )
        self.pid = self.popen.pid

    def __repr__(self) -> str:
        return f"Process({self.pid})"

    @property
    def output(self) -> str:
        """All that this process wrote so far."""
        with self.log_file.open("rb") as file:
            file.seek(self._from)
            return file.read().decode()

    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        """The events that it logged so far, of one name or all."""
        found = [json.loads(line) for line in self.output.splitlines(keepends=True) if line.endswith("}\n")]
        return [event for event in found if name in (None, event["event"])]

    def wait_for(self, name: str, count: int = 1, **fields: Any) -> dict[str, Any]:
        """The event of that name, once it was logged `count` times with those fields."""

        def matching() -> list[dict[str, Any]]:
            found = [e for e in self.events(name) if all(e.get(key) == value for key, value in fields.items())]
            if len(found) < count:
                assert self.popen.poll() is None or self.events(name) != [], f"ended early: {self.output[-2000:]}"
                return []
            return found

        what = f"{name} {fields} x{count}; log:\n{self.output[-3000:]}"
        return eventually(matching, what, secs=90)[count - 1]  # longer than the longest wait between two tries

    def wait_until_sending(self) -> None:
        """Until it has the lease and its loops turn."""
        self.wait_for("sender.began")

    def port(self, secs: float = 30.0) -> int:
        """The port that it listens on, as the kernel tells it."""

        def listening() -> int | None:
            sockets = set()
            for link in Path(f"/proc/{self.pid}/fd").iterdir():
                try:
                    sockets.add(str(link.readlink()))
                except OSError:
                    continue
            for line in Path(f"/proc/{self.pid}/net/tcp").read_text().splitlines()[1:]:
                words = line.split()
                if words[3] == "0A" and f"socket:[{words[9]}]" in sockets:
                    return int(words[1].partition(":")[2], 16)
            return None

        found = eventually(listening, "the daemon listens", secs)
        assert found is not None
        return found

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of one of its pages."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port()}{path}", timeout=10) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def send(self, number: int) -> None:
        """Send a signal."""
        self.popen.send_signal(number)

    def end(self, number: int = signal.SIGTERM, secs: float = 30.0) -> int:
        """Send a signal and wait for the end; returns the exit status."""
        self.popen.send_signal(number)
        return self.popen.wait(secs)

    def kill(self) -> None:
        """SIGKILL; harmless where it has ended."""
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()
