"""Finding which leads changed. `Source` is the contract; `poll` keeps it by asking at intervals.

A source hands over keys, and moves on only when told that the ledger has them: what is read and not acknowledged is
read again. It may hand over a key more than once; the ledger knows it by the version.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from syncd.model import Change, Instant

BEGINNING = "beginning"
"""As a start: the first row that ever was."""


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
    """Rows read, known ones included."""


class Source(Protocol):
    """One way to find changes, for one sync. Used by one thread."""

    def first_start(self, now: Instant) -> str:
        """Where the very first run begins, as the ledger keeps it: a watermark, or `BEGINNING`.

        Raises:
            CrmError: the CRM cannot say.
        """
        ...

    def resume(self, start: str, watermark: str | None) -> None:
        """Go on from where the ledger is."""
        ...

    def read(self, now: Instant) -> Page:
        """The next changes.

        Raises:
            CrmError: the CRM cannot say.
        """
        ...

    def acknowledge(self, page: Page, now: Instant) -> None:
        """The ledger has `page`, durably."""
        ...

    def sweep(self, after: str | None, limit: int) -> Sequence[Change]:
        """Keys in order, after a key, of rows that capture must have seen by now; fewer than `limit` at the end.

        Raises:
            CrmError: the CRM cannot say.
        """
        ...
