"""The nouns that pass between the rooms: small, frozen, and few.

Instants are seconds since the Unix epoch as ``float`` (`Instant`), wherever they are not shown to a
person; durations are seconds and end in ``_secs``. A clock is a function that returns an instant, and is
passed in, so that a test can turn it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

Instant = float
Clock = Callable[[], Instant]

_SET_BACK_SECS = 60.0
"""A clock that is corrected by less than this changes nothing."""


def is_set_back(now: Instant, since: Instant) -> bool:
    """Whether the clock was set back since an instant, so that a wait which began then would last as long as that."""
    return now < since - _SET_BACK_SECS


Record = dict[str, str]
"""A wolkvox record: every field of the campaign's type, each a string, ``""`` where absent."""


class Change(NamedTuple):
    """A key that capture saw, with the version of the row that it saw."""

    key: str
    """The row's key as Postgres writes it."""
    version: str
    """What tells one state of the row from the next: for polling, the watermark column as text."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a row gives no record. Holds no value of the row, so that it may be logged and stored."""

    field: str
    """The wolkvox field concerned, or ``""`` where it is the record as a whole."""
    rule: str
    """The rule that was broken: a short, stable word such as ``required`` or ``phone``."""
    reason: str
    """A sentence that a salesperson understands."""


class Claimed(NamedTuple):
    """A pending lead that delivery is about to read; a tuple, for there are ten thousand in a call."""

    id: int
    """The lead's number in the ledger."""
    key: str
    captured_at: Instant
    fingerprint: bytes | None
    """The keyed hash of the record delivered last, if any was."""


class Sign(NamedTuple):
    """One value by which a person is recognised; a tuple, for a call may have a hundred thousand."""

    kind: str
    """``tel`` for any telephone, else the field: a customer's id that reads like a number is not that telephone."""
    hash: int
    """The keyed hash of the value."""


class Twin(NamedTuple):
    """A lead that was called, or may have been, by a value that another lead has too."""

    lead_id: int
    call_n: int
    """In the ledger's number of this call."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """Where one lead goes, and why."""

    lead_id: int
    state: str
    rejection: Rejection | None = None
    twin: Twin | None = None
    """duplicate: whom it is a duplicate of, for the case that he was not called after all."""


@dataclass(frozen=True, slots=True)
class Campaign:
    """A dialling campaign of wolkvox."""

    id: str
    type: str
    """``predictive`` or ``preview``."""
    status: str
    """``start`` or ``stop``: a command to the dialler that goes with every call."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """What came of one HTTP exchange, before anybody judges it."""

    sent: bool
    """False only where no byte of the request can have left: the connection never stood."""
    status: int | None
    """The HTTP status, or None where no whole reply came."""
    body: bytes
    error: str
    """Why there is no reply, in words that hold no secret; ``""`` where there is one."""
    seconds: float
    sent_secs: float | None = None
    """Of these, until the request had left whole; None where it never did."""
    fault: str = ""
    """Where nothing was sent: what is wrong with the other side's TLS and what to do, in two sentences; else ``""``."""

    def left_by(self, ended: Instant) -> Instant:
        """By when the request had left, of an exchange that ended then: from there on wolkvox may be at work on it."""
        return ended if self.sent_secs is None else ended - self.seconds + self.sent_secs


@dataclass(frozen=True, slots=True)
class RecordError:
    """One refused record, as wolkvox named it."""

    position: int
    """0-based place in the batch."""
    reason: str


@dataclass(frozen=True, slots=True)
class Quota:
    """The day's budget of calls."""

    limit: int
    """Calls a day that the licences give."""
    used: int
    """Calls started since the quota day began, counted from intents."""
    reserved: int
    """Calls left to other integrations."""
    resets_at: Instant

    @property
    def remaining(self) -> int:
        """Calls that syncd may still start today; never negative."""
        return max(0, self.limit - self.reserved - self.used)
