"""The side that is measured: `syncd run` as a process of its own."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.errors import BenchFailed
from bench.stage import environment

_READY_SECS = 30.0
_END_SECS = 120.0
_LOOK_SECS = 0.005


class Daemon:
    """One daemon, from its spawn to its end.

    Mutable state: the peak memory that was seen last; when it said that it is ready, set by the thread that listens.

    Args:
        config: its configuration.
    """

    def __init__(self, config: Path) -> None:
        self._config = config
        self.log = config.with_name("daemon.log")
        self._channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify = f"syncd-bench-{secrets.token_hex(8)}"
        self._channel.bind(f"\0{notify}")  # no file, whose path might be too long
        self._ready = threading.Event()
        self.ready_at = 0.0
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self._peak_kib = 0
        self.cpu_secs = 0.0
        """Processor time, known once it has ended."""
        with self.log.open("ab") as sink:
            self.spawned_epoch, self.spawned = time.time(), time.monotonic()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "syncd", "run", "--config", str(config)],
                env={**environment(), "NOTIFY_SOCKET": f"@{notify}"},
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.returncode is None:
            self._process.kill()
            self._process.wait()
        self._channel.shutdown(socket.SHUT_RDWR)
        self._listener.join()
        self._channel.close()

    def check(self) -> None:
        """See that it runs.

        Raises:
            BenchFailed: it has ended; the message has its last words.
        """
        status = self._process.poll()
        if status is not None:
            words = self.log.read_text("utf-8", "replace").strip().splitlines()[-3:]
            raise BenchFailed(f"syncd ended with status {status}: {' '.join(words)}")

    def ready_secs(self) -> float:
        """Seconds from the spawn to READY=1, as systemd would hear it.

        Raises:
            BenchFailed: it does not become ready.
        """
        if not self._ready.wait(_READY_SECS):
            self.check()
            raise BenchFailed(f"syncd is not ready after {_READY_SECS:.0f} s.")
        return self.ready_at - self.spawned

    def end(self) -> None:
        """SIGTERM: it settles the call in flight and ends.

        Raises:
            BenchFailed: it does not end with status 0.
        """
        self.check()
        self._process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + _END_SECS
        while True:
            self._look()
            pid, status, usage = os.wait4(self._process.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() > deadline:
                raise BenchFailed(f"syncd does not end {_END_SECS:.0f} s after SIGTERM.")
            time.sleep(_LOOK_SECS)
        self._process.returncode = os.waitstatus_to_exitcode(status)
        self.cpu_secs = usage.ru_utime + usage.ru_stime
        if self._process.returncode != 0:
            raise BenchFailed(f"syncd ended with status {self._process.returncode} after SIGTERM.")

    @property
    def peak_mb(self) -> float:
        """The most memory that it held, in megabytes of 1,048,576 bytes; known once it has ended."""
        return self._peak_kib / 1024

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._process.pid

    def verify_ledger(self, leads: int, state: str = "delivered") -> None:
        """See that the ledger holds every lead in one state, and nothing else.

        Raises:
            BenchFailed: that is not so.
        """
        done = subprocess.run(
            [sys.executable, "-m", "syncd", "status", "--json", "--config", str(self._config)],
            env=environment(),
            capture_output=True,
            check=False,
            timeout=60,
        )
        if done.returncode != 0:
            raise BenchFailed(f"`syncd status` ended with status {done.returncode}: {done.stderr.decode()}")
        found = json.loads(done.stdout)["syncs"][0]["states"]
        states = {state: count for state, count in found.items() if count}
        if states != {state: leads}:
            raise BenchFailed(f"The ledger holds {states} instead of {leads} {state}.")

    def events(self) -> list[dict[str, Any]]:
        """What it logged."""
        return [json.loads(line) for line in self.log.read_text("utf-8").splitlines() if line.startswith("{")]

    def _look(self) -> None:
        """Read the peak of its memory; the kernel keeps it, and forgets it when the process ends."""
        try:
            lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        except OSError:
            return
        found = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
        self._peak_kib = max(self._peak_kib, *map(int, found), 0)

    def _listen(self) -> None:
        while message := self._channel.recv(4096):
            if b"READY=1" in message and not self._ready.is_set():
                self.ready_at = time.monotonic()
                self._ready.set()
