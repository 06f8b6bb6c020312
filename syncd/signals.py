"""Signals to the daemon, as flags that end a wait."""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress
from types import FrameType


class Signals:
    """SIGTERM, SIGINT and SIGHUP as flags, and a pipe that ends a wait.

    Not as `threading.Event`: its lock is not re-entrant, and a handler that sets one while the same thread begins to
    wait for it would wait for itself.
    """

    def __init__(self) -> None:
        self.stop = False
        self.reload = False
        self._woken, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def install(self) -> None:
        """Catch the signals; only the main thread may."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, self._reload)

    @property
    def pending(self) -> bool:
        """Whether there is something to heed."""
        return self.stop or self.reload

    def wait(self, secs: float) -> bool:
        """Wait for a signal, so long at most; whether there is something to heed."""
        if not self.pending and select.select([self._woken], [], [], secs)[0]:
            os.read(self._woken, 4096)
        return self.pending

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stop = True
        self._ring()

    def _reload(self, number: int, frame: FrameType | None) -> None:
        self.reload = True
        self._ring()

    def _ring(self) -> None:
        with suppress(BlockingIOError):  # it is full: there is enough to read
            os.write(self._wake, b"!")
