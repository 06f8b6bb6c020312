"""Going through the keys of a table in order, a bounded chunk at a time: what reading changes cannot give.

Two scans. The first, once in a sync's life, deals with the rows that were there at its start: it takes them as leads
that wait behind all fresh ones, or notes their keys where nothing else tells them from leads. The second, the *sweep*,
comes again every `sweep_secs`, and at once where there is a gap: it compares the table with the ledger, and takes what
is missing. What a sweep finds, reading has missed; so that a lead which is merely on its way is not taken for missed,
what is missing is looked for again when reading has come past the moment of the look.

Mutable state, used by the intake thread alone: which scan is under way, and how far.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from syncd.capture import Existing, Source
from syncd.ledger import Ledger, SyncPosition
from syncd.model import Change, Clock, Instant

SCAN_ROWS = 10_000
"""Rows of one chunk: about a tenth of a second of the CRM's time."""
_RETRY_SECS = 30.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the rows that were there at the start are dealt with."""

    rows: int
    """Rows that the scan has come past."""
    of_about: int | None
    """How many there are, as the planner thinks."""
    done: bool


@dataclass(frozen=True, slots=True)
class Scanned:
    """What one chunk gave."""

    rows: int
    new: int = 0
    """Leads that the ledger did not know."""
    swept: int = 0
    """Those of them that reading had missed."""
    progress: Progress | None = None
    """Where the chunk was of the rows that were there at the start."""


class Scanner:
    """The scans of one sync.

    Args:
        sweep_secs: from the end of one sweep to the beginning of the next.
        resend_changed: as `Ledger.capture`.
    """

    def __init__(
        self, ledger: Ledger, source: Source, *, sweep_secs: float, resend_changed: bool, clock: Clock
    ) -> None:
        self._ledger = ledger
        self._source = source
        self._sweep_secs = sweep_secs
        self._resend_changed = resend_changed
        self._clock = clock
        # -- mutable --
        self._sync_id = 0
        self._started_at: Instant = 0.0
        self._existing: Existing = Existing.LEAVE
        self._estimate: int | None = None
        self._scanned = 0
        self._pass_began: Instant = 0.0
        self._after: str | None = None
        self._gap = False
        self._sweeping = False
        self._last = False
        self._sweep_due: Instant | None = None
        self._not_before: Instant = 0.0
        self._suspects: Sequence[Change] = ()
        self._suspected_at: str | None = None
        self._read_since = False
        self.without_watermark = 0
        """Rows that the last sweep counted whose watermark is NULL."""

    def begin(self, sync_id: int, position: SyncPosition, now: Instant) -> None:
        """Go on from where the ledger is; harmless where this scanner is under way already."""
        self._sync_id, self._started_at = sync_id, position.started_at
        self._gap = self._gap or position.gap is not None
        if self._existing is Existing.LEAVE and position.existing is not None:
            self._existing = Existing(position.existing)
            self._after, self._scanned = position.scanned_to, position.scanned
            # What an earlier process has scanned, it may have scanned too early to count.
            self._pass_began = now if self._after is None else 0.0
            self._estimate = position.scan_estimate
        if self._sweep_due is None:
            self._sweep_due = now + self._sweep_secs
        if self._gap and not self._sweeping:
            self._sweep_due = now

    def expect(self, rows: int | None) -> None:
        """About how many rows were there at the start."""
        self._estimate = rows

    def sweep_now(self, now: Instant) -> None:
        """There is a gap, which the ledger knows: sweep the whole table, from its beginning."""
        self._gap = True
        self._sweep_due = now
        self._not_before = 0.0
        self._sweeping, self._last, self._suspects = False, False, ()

    def failed(self, now: Instant) -> None:
        """The CRM could not answer: look again later."""
        self._not_before = now + _RETRY_SECS

    def has_read(self) -> None:
        """Reading has just said that there is no more."""
        self._read_since = True

    @property
    def waits_for_reading(self) -> bool:
        """Whether the scan goes on only after another look at what changes."""
        return bool(self._suspects) and not self._may_confirm()

    def wants(self, now: Instant) -> bool:
        """Whether there is something to scan now."""
        if self._not_before - _RETRY_SECS <= now < self._not_before:
            return False
        if self._existing is not Existing.LEAVE:
            return now >= self._pass_began
        return self._may_confirm() if self._suspects else self._sweeping or self._swept_next(now) <= now

    def next_at(self, now: Instant) -> Instant:
        """When there is something to scan next, as far as time tells."""
        if self._existing is not Existing.LEAVE:
            return max(self._pass_began, self._not_before)
        return max(now if self._sweeping else self._swept_next(now), self._not_before)

    def _swept_next(self, now: Instant) -> Instant:
        """When the next sweep is due: at once where the clock was set back, which would put it off by that jump."""
        due = self._sweep_due or now
        return due if due <= now + self._sweep_secs else now

    def turn(self, *, lost: bool) -> Scanned:
        """One chunk.

        Args:
            lost: reading does not work, so that nothing is on its way.

        Raises:
            CrmError: the CRM cannot say.
            LedgerError: the ledger cannot take it.
        """
        if self._existing is not Existing.LEAVE:
            return self._scan_existing()
        return self._sweep(lost=lost)

    # -- what was there at the start -------------------------------------------------------------------------

    def _scan_existing(self) -> Scanned:
        changes = self._source.scan(self._after, SCAN_ROWS)
        rows, new = len(changes), 0
        if changes:
            scanned, after = self._scanned + rows, changes[-1].key
            if self._existing is Existing.TAKE:
                new = self._ledger.take_existing(self._sync_id, changes, scanned, after, self._clock())
            else:
                keys = [change.key for change in changes]
                self._ledger.note_existing(self._sync_id, keys, scanned, after)
            self._scanned, self._after = scanned, after  # not before: the ledger may have refused
        done = rows < SCAN_ROWS and self._end_pass()
        return Scanned(rows, new, progress=Progress(self._scanned, self._estimate, done))

    def _end_pass(self) -> bool:
        """Whether everything that was there at the start is dealt with."""
        settled_at = self._started_at + self._source.settle_secs
        self._after = None
        if self._source.settle_secs and self._pass_began < settled_at:
            self._pass_began, self._scanned = settled_at, 0
            return False
        self._ledger.end_existing(self._sync_id)
        self._existing = Existing.LEAVE
        return True

    # -- the sweep -------------------------------------------------------------------------------------------

    def _may_confirm(self) -> bool:
        return self._read_since and self._source.passed(self._suspected_at)

    def _sweep(self, *, lost: bool) -> Scanned:
        rows = swept = 0
        if self._last and not self._suspects:  # in a turn of its own: what was taken is told, even if this fails
            self._end_sweep(lost=lost)
        elif self._suspects:
            swept = self._take(self._ledger.missing(self._sync_id, self._suspects))
            self._suspects = ()
        else:
            changes, missing = self._look()
            rows = len(changes)
            mark = self._source.mark() if missing and not lost else None
            swept = self._take(missing) if lost else 0
            # Not before: the CRM or the ledger may have refused, and then this chunk comes again.
            self._last = rows < SCAN_ROWS
            self._after = changes[-1].key if changes else self._after
            if missing and not lost:
                self._suspects, self._suspected_at, self._read_since = missing, mark, False
                return Scanned(rows)
        return Scanned(rows, swept, swept)

    def _look(self) -> tuple[Sequence[Change], Sequence[Change]]:
        """The next chunk, and those of it that the ledger does not know."""
        if not self._sweeping:
            self._sweeping, self._after = True, None
        changes = self._source.scan(self._after, SCAN_ROWS)
        return changes, self._ledger.missing(self._sync_id, changes)

    def _take(self, missing: Sequence[Change]) -> int:
        if not missing:
            return 0
        return self._ledger.capture(
            self._sync_id, missing, None, self._clock(), resend_changed=self._resend_changed
        ).new

    def _end_sweep(self, *, lost: bool) -> None:
        self.without_watermark = self._source.without_watermark()
        if self._gap and not lost:  # while changes cannot be followed, the gap grows
            self._ledger.close_gap(self._sync_id)
            self._gap = False
        self._sweeping, self._last, self._after = False, False, None
        self._sweep_due = self._clock() + self._sweep_secs
