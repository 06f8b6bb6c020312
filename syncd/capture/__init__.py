"""Finding which leads changed. `Source` is the contract; `poll`, `listen` and `slot` keep it, each in its way.

A source hands over keys, and moves on only when told that the ledger has them: what is read and not acknowledged is
read again. It may hand over a key more than once; the ledger knows it by the version.

Two ways lead from the table to the ledger. *Reading* follows what changes, and is what makes a lead arrive soon.
*Scanning* goes through the keys of the table in order, a bounded chunk at a time: for the rows that were there at the
first start, and for the sweep, which finds what reading has missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from syncd.model import Change, Instant

BEGINNING = "beginning"
"""As `since`: every row that ever was is ours."""
NOTED = "noted"
"""As `since`: no column tells old rows from new ones; the ledger has noted the keys that were there at the start."""
SCANNED = "scanned"
"""The version of a key that a scan found, where the table has no column that tells versions."""


class Existing(StrEnum):
    """What is to be done, once, with the rows that are there at the first start."""

    TAKE = "take"
    """They are leads: a backfill."""
    NOTE = "note"
    """They are none, and only a list of their keys will tell a sweep so."""
    LEAVE = "leave"
    """They are none, and `since` tells."""


@dataclass(frozen=True, slots=True)
class Start:
    """Where the very first run of a sync begins; written to the ledger once."""

    since: str
    """`BEGINNING`, `NOTED`, or a value of the watermark column: rows that have less are not ours."""
    watermark: str | None
    """From where to read; None for whatever is there to read."""
    existing: Existing


@dataclass(frozen=True, slots=True)
class Position:
    """How far the ledger is."""

    since: str
    watermark: str | None
    """As the last acknowledged page had it; None where there was none."""
    identity: str | None
    """What the source called itself when that watermark was written."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """How a source goes on."""

    identity: str
    """Tells one source from another that took its place: ``poll 16402``, ``slot 7301/1``. Kept in the ledger."""
    watermark: str | None
    """From where it reads; another than the ledger's only where there is a gap."""
    gap: str | None = None
    """A sentence where changes between the ledger's position and this one can be seen by nobody any more: the
    whole table is swept, and the sentence is said aloud. None where nothing is missing."""


@dataclass(frozen=True, slots=True)
class Page:
    """What one reading of the CRM gave."""

    changes: Sequence[Change]
    """Keys that may be new to the ledger; each at most once."""
    reached: str | None
    """The watermark to write down with them; None where it has not moved."""
    more: bool
    """Whether there is more to read at once."""
    rows: int
    """Rows or events read, known ones included."""
    again_secs: float | None = None
    """Where it is neither at once nor at the next look: read again after so long."""
    held: bool = False
    """Whether something was read that cannot be handed over yet, for others do not see its transaction."""
    gap: str | None = None
    """As `Resumed.gap`: reading itself noticed that it missed something."""


class Source(Protocol):
    """One way to find changes, for one sync. Used by one thread.

    Each method that asks the CRM raises `CrmError` where the CRM cannot say, and `CaptureLost` where the table is fine
    but changes cannot be followed any more: the sweep goes on meanwhile.
    """

    notice: str | None
    """A sentence where capture works, though not as it should: late notifications, a slot that keeps much WAL."""
    settle_secs: float
    """A scan of what was there at the start counts only if it began this long after the start."""
    slot_lag_bytes: int | None
    """WAL that the server keeps for this source; None where it keeps none, or that is not known yet."""

    def first_start(self, now: Instant) -> Start:
        """Where the very first run begins. May be asked again, if the ledger could not take the answer."""
        ...

    def resume(self, position: Position) -> Resumed:
        """Go on from where the ledger is; nothing that was seen in an earlier life is remembered.

        Takes `position.since` in before anything can fail: upon `CaptureLost`, scans go on.
        """
        ...

    def read(self, now: Instant) -> Page:
        """The next changes; never waits for them."""
        ...

    def acknowledge(self, page: Page, now: Instant) -> None:
        """The ledger has `page`, durably."""
        ...

    def scan(self, after: str | None, limit: int) -> Sequence[Change]:
        """Keys of rows that are ours, in the key's order, after a key; fewer than `limit` at the end.

        Leaves out what reading may not have come to yet, where a column tells.
        """
        ...

    def estimate(self) -> int | None:
        """About how many rows a whole scan will find, as the planner thinks; None where it does not know."""
        ...

    def without_watermark(self) -> int:
        """Rows that nobody will ever capture, for their watermark is NULL; counted to a thousand at most."""
        ...

    def mark(self) -> str | None:
        """The newest change there is, for `passed`."""
        ...

    def passed(self, mark: str | None) -> bool:
        """Whether reading has come past `mark`, given that a `read` since then said that there is no more."""
        ...

    def fileno(self) -> int | None:
        """A descriptor that becomes readable when something arrives; None where nothing ever does."""
        ...

    def awake(self) -> bool:
        """Whether something has arrived since the last `read`, or the connection broke. Never blocks, never raises."""
        ...

    def close(self) -> None:
        """Leave the CRM; `read` comes back by itself."""
        ...
