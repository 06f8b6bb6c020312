"""One sender per ledger.

The lease is a row with a term. Whoever takes it raises the term, and the transaction that writes an intent checks
that the term is still its own: a sender that was frozen and thawed finds that it was deposed, and sends nothing.

In Postgres the lease expires by the database's own clock, so that the clocks of two hosts need not agree. In SQLite,
which has one host, a lock on a file beside the ledger says whether the holder lives: the kernel lets it go with the
process.

Mutable state: `_lock_fd`, the open lock file of a SQLite ledger; touched by the thread that keeps the lease alone.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Row, func, literal_column, select, update
from sqlalchemy.dialects import postgresql, sqlite

from syncd.ledger.home import Home
from syncd.ledger.schema import lease
from syncd.model import Clock

LEASE_SECS = 20.0
"""How long a lease lasts without renewal: a standby takes over within this of a death."""
RENEW_SECS = 5.0

_LOCKED: Final = select(lease.c.term, lease.c.holder, lease.c.expires_at).where(lease.c.id == 1).with_for_update()
_TAKE: Final = update(lease).where(lease.c.id == 1)


class Lease:
    """The right to send, as one process sees it.

    Args:
        holder: who asks, in words that an operator understands: host and process id.
    """

    def __init__(self, home: Home, clock: Clock, holder: str) -> None:
        self._home = home
        self._clock = clock
        self.holder = holder
        self._lock_fd: int | None = None
        self.term: int | None = None
        """The term under which this process may send; None while it may not."""

    def acquire(self) -> bool:
        """Take the lease if it is free; True where this process is the sender now."""
        if self._home.path is not None and not self._lock_file(self._home.path):
            return False
        with self._home.write() as connection:
            row = self._row(connection)
            now = self._now(connection)
            if self._home.path is None and row.expires_at > now and not _is_dead(row.holder):
                return False
            values = {"term": row.term + 1, "holder": self.holder, "expires_at": now + LEASE_SECS}
            connection.execute(_TAKE, values)
        self.term = int(values["term"])
        return True

    def renew(self) -> bool:
        """Keep the lease; False where another process has it by now."""
        if self._lock_fd is not None:  # the lock file keeps it; the disk is spared a write every few seconds
            with self._home.read() as connection:
                kept = connection.scalar(select(lease.c.term).where(lease.c.id == 1)) == self.term
            if not kept:
                self.term = None
            return kept
        with self._home.write() as connection:
            kept = connection.execute(
                update(lease)
                .where(lease.c.id == 1, lease.c.term == self.term)
                .values(expires_at=self._now(connection) + LEASE_SECS)
            ).rowcount
        if not kept:
            self.term = None
        return bool(kept)

    def release(self) -> None:
        """Give the lease back, so that a standby need not wait for it to expire."""
        if self.term is not None:
            with self._home.write() as connection:
                connection.execute(
                    update(lease).where(lease.c.id == 1, lease.c.term == self.term).values(expires_at=0.0)
                )
            self.term = None
        self.close()

    def close(self) -> None:
        """Let go of the lock file, as the end of the process would."""
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    def other(self) -> str:
        """Who holds the lease, for the one that stands by."""
        with self._home.read() as connection:
            return str(connection.scalar(select(lease.c.holder)) or "nobody")

    def _row(self, connection: Connection) -> Row[Any, Any, Any]:
        """The lease, locked. On a new ledger there is none yet, and two that start at once may both make it."""
        row = connection.execute(_LOCKED).one_or_none()
        if row is None:
            make = sqlite.insert if self._home.is_sqlite else postgresql.insert
            values = {"id": 1, "term": 0, "holder": "", "expires_at": 0.0}
            connection.execute(make(lease).values(values).on_conflict_do_nothing())
            row = connection.execute(_LOCKED).one()
        return row

    def _now(self, connection: Connection) -> float:
        if self._home.is_sqlite:
            return self._clock()
        return float(connection.scalar(select(func.extract("epoch", literal_column("clock_timestamp()")))) or 0)

    def _lock_file(self, ledger: Path) -> bool:
        if self._lock_fd is None:
            fd = os.open(ledger.with_name(ledger.name + ".sender"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                return False
            self._lock_fd = fd
        return True


def this_process() -> str:
    """A name for this process: host, boot, process id and when it began, so that its death can be told."""
    return f"{os.uname().nodename} {_boot()} {os.getpid()} {_began(os.getpid())}"


def _boot() -> str:
    """This boot of this machine, and whose process ids we see: two containers may share a host's name."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return "?"


def _began(pid: int) -> str:
    """When a process began, in clock ticks since boot; ``""`` where it has ended, ``"?"`` where that is not shown."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except OSError:
        pass  # it is there, and another's
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]
    except (OSError, IndexError):
        return "?"


def _is_dead(holder: str) -> bool:
    """Whether the holder was a process of this boot of this host (not of another container) that is gone."""
    host, _, rest = holder.partition(" ")
    boot, _, rest = rest.partition(" ")
    pid, _, began = rest.partition(" ")
    if host != os.uname().nodename or boot != _boot() or boot == "?" or not pid.isdigit():
        return False
    found = _began(int(pid))
    return found != began and "?" not in (found, began)
