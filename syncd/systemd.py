"""Telling systemd how we are (sd_notify(3)): one datagram to the socket that it names.

A module of our own, since the packages that do this are old or need a compiler, and the protocol is a line of text.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress


class Notifier:
    """Speaks to the service manager; says nothing where there is none."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        usec = environ.get("WATCHDOG_USEC", "")
        ours = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.watchdog_secs = int(usec) / 1e6 if usec.isdigit() and ours and self._address else None
        """How often systemd wants to hear from us at the least, in seconds; None where it does not care."""
        self._status = ""
        self._last_alive = float("-inf")

    def ready(self, status: str) -> None:
        """Started, or reloaded: at work from now on."""
        self._send(f"READY=1\nSTATUS={_line(status)}")

    def status(self, status: str) -> None:
        """What `systemctl status` shows; sent when it changes."""
        if status != self._status:
            self._status = status
            self._send(f"STATUS={_line(status)}")

    def reloading(self) -> None:
        """A reload has begun; `ready` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self, wait_secs: float) -> None:
        """The end has begun, and may take so many seconds more."""
        self._send(f"STOPPING=1\nEXTEND_TIMEOUT_USEC={int(wait_secs * 1e6)}\nSTATUS=Finishing the call in flight.")

    def alive(self) -> None:
        """The loops do their work; may be called as often as it is true, and is sent as often as systemd needs."""
        now = time.monotonic()
        if self.watchdog_secs is not None and now - self._last_alive >= self.watchdog_secs / 4:
            self._last_alive = now
            self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.sendto(message.encode(), address)


def _line(text: str) -> str:
    return text.replace("\n", " ")
