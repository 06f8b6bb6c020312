"""The intake loop: from the CRM into the ledger.

`Intake.run_once` takes one page of one sync: reads keys, commits them with the position in one transaction, and only
then tells the source. It never waits for delivery: a spent quota leaves the CRM as free as ever. Where nothing is to
be read, it goes on with a scan (`scanning`): what changes now goes before what was there already.

Mutable state, used by the intake thread alone (others read `trouble` and `remark`): where the source stands.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from syncd.capture import Existing, Page, Position, Source
from syncd.errors import CaptureLost, CrmError
from syncd.ledger import Ledger
from syncd.model import Clock, Instant, is_set_back
from syncd.scanning import Progress, Scanner

_RETRY_SECS = (1.0, 2.0, 5.0, 15.0, 30.0, 60.0)
_CONFIRM_SECS = 0.25


@dataclass(frozen=True, slots=True)
class IntakeResult:
    """What one turn of a sync did."""

    sync: str
    rows: int
    """Rows or events read, known ones included."""
    new: int
    """Leads captured for the first time."""
    again: int
    """Known leads that became pending again."""
    swept: int
    """Leads among `new` that capture had missed, and the sweep found."""
    more: bool
    """Whether the next turn has work at once."""
    seconds: float
    trouble: CrmError | None = None
    """Why the CRM gave nothing, or None."""
    next_at: Instant = 0.0
    current: bool | None = None
    """Whether this turn found that everything there was has been read; None where it did not look."""
    progress: Progress | None = None
    """How far the rows are that were there at the start, where this turn dealt with some."""
    gap: str | None = None
    """Why changes were missed, where this turn noticed."""
    notice: str | None = None
    """What is not as it should be, though capture works."""
    slot_lag_bytes: int | None = None
    """WAL that the CRM's server keeps for this sync."""


def begin_sync(ledger: Ledger, sync_id: int, source: Source, now: Instant) -> None:
    """Write down where the very first run of a sync begins.

    Raises:
        CrmError: the CRM cannot say.
        LedgerError: the ledger cannot take it.
    """
    start = source.first_start(now)
    existing = None if start.existing is Existing.LEAVE else start.existing.value
    ledger.begin(sync_id, start.since, start.watermark, existing)


class Intake:
    """The intake of one sync.

    Args:
        resend_changed: whether a delivered lead becomes pending again when its row changes.
        poll_secs: from one look to the next, where nothing is heard meanwhile.
        sweep_secs: from one sweep to the next.
    """

    def __init__(
        self,
        ledger: Ledger,
        source: Source,
        sync: str,
        *,
        resend_changed: bool,
        poll_secs: float,
        sweep_secs: float,
        clock: Clock,
    ) -> None:
        self._ledger = ledger
        self.source = source
        self.sync = sync
        self._resend_changed = resend_changed
        self._poll_secs = poll_secs
        self._clock = clock
        self._scanner = Scanner(ledger, source, sweep_secs=sweep_secs, resend_changed=resend_changed, clock=clock)
        self.captured: Callable[[], None] = lambda: None
        """Is called as soon as the ledger has leads that wait."""
        # -- mutable --
        self.next_at: Instant = 0.0
        """When to read next, if nothing is heard before."""
        self.up_to_date = False
        """Whether the last turn read everything that there was."""
        self.trouble: CrmError | None = None
        self.remark: str | None = None
        """What there is to say of this sync, in words: its trouble, or what is not as it should be."""
        self._sync_id: int | None = None  # None: the source does not know yet where the ledger is
        self._turned_at: Instant = 0.0  # when the last turn ended
        self._failures = 0
        self._begun = False
        self._is_late = False  # whether the next look was due when the last one had ended
        self._lost = False
        self._gap: str | None = None  # to be said in the next result

    def due_at(self, now: Instant) -> Instant:
        """When the next turn has work: `now` or earlier for at once."""
        if is_set_back(now, self._turned_at) or self._has_heard() or self._may_scan(now):
            return now
        if self._begun and (self.up_to_date or self._lost) and not self._scanner.waits_for_reading:
            return min(self.next_at, self._scanner.next_at(now))
        return self.next_at

    def run_once(self) -> IntakeResult:
        """One page of changes, or a chunk of a scan where there are none.

        Raises:
            LedgerError: the ledger cannot take it; nothing was acknowledged.
        """
        began = self._clock()
        if is_set_back(began, self._turned_at):
            self.next_at = began
        # In turn, where looks are due faster than they can be made: neither may starve the other.
        may_look_later = self.next_at > began or self._is_late
        if may_look_later and not self._has_heard() and self._may_scan(began):
            self._is_late = False
            self._turned_at = began
            return self._scan(began)
        try:
            result = self._read(began)
        except CrmError as error:
            result = self._fail(error, began)
        self._turned_at = self._clock()
        self._is_late = self.next_at <= self._turned_at
        return result

    def _has_heard(self) -> bool:
        return self.trouble is None and self.source.awake()

    def _may_scan(self, now: Instant) -> bool:
        return self._begun and (self.up_to_date or self._lost) and self._scanner.wants(now)

    # -- reading ---------------------------------------------------------------------------------------------

    def _read(self, began: Instant) -> IntakeResult:
        sync_id = self._begin(began)
        page = self.source.read(began)
        new = again = 0
        if page.gap is not None:
            self._miss(sync_id, page.gap, began)
            self._gap = page.gap
        if page.changes or page.reached is not None:
            captured = self._ledger.capture(
                sync_id, page.changes, page.reached, self._clock(), resend_changed=self._resend_changed
            )
            new, again = captured.new, captured.again
            if new or again:
                self.captured()  # the source is told meanwhile
        now = self._clock()
        try:
            self.source.acknowledge(page, now)
        except CrmError as error:  # the ledger has it all the same: it is read again, and known
            return self._fail(error, began, new=new, again=again)
        self._failures, self.trouble, self._lost = 0, None, False
        self.up_to_date = not page.more and not page.held
        if self.up_to_date:
            self._scanner.has_read()
        self.next_at = self._next_look(page, began, now)
        return self._result(began, rows=page.rows, new=new, again=again, more=page.more, current=self.up_to_date)

    def _next_look(self, page: Page, began: Instant, now: Instant) -> Instant:
        if page.more:
            return began
        if page.again_secs is not None:
            return now + page.again_secs
        if self._scanner.waits_for_reading:
            return now + min(self._poll_secs, _CONFIRM_SECS)
        # Steady looks: the time that one takes is part of the interval, unless it takes longer.
        return max(began + self._poll_secs, now)

    def _begin(self, now: Instant) -> int:
        """Upon the first turn, and after trouble: go on from where the ledger is."""
        if self._sync_id is not None:
            return self._sync_id
        sync_id = self._ledger.register(self.sync, now)
        kept = self._ledger.position(sync_id)
        if kept.since is None:
            begin_sync(self._ledger, sync_id, self.source, now)
            kept = self._ledger.position(sync_id)
        assert kept.since is not None
        self._scanner.begin(sync_id, kept, now)
        self._begun = True
        resumed = self.source.resume(Position(kept.since, kept.watermark, kept.identity))
        if (resumed.identity, resumed.watermark) != (kept.identity, kept.watermark) or resumed.gap is not None:
            self._ledger.adopt(sync_id, resumed.identity, resumed.watermark, resumed.gap)
            self._gap = resumed.gap
        if kept.existing is not None and kept.scan_estimate is None:
            estimate = self.source.estimate()
            self._ledger.expect(sync_id, estimate)
            self._scanner.expect(estimate)
        if resumed.gap is not None or self._lost:
            self._scanner.sweep_now(now)
        self._sync_id = sync_id
        return sync_id

    def _miss(self, sync_id: int, gap: str, now: Instant) -> None:
        """Changes were missed: the whole table is swept, even if this process ends before."""
        self._ledger.open_gap(sync_id, gap)
        self._scanner.sweep_now(now)

    def _fail(self, error: CrmError, began: Instant, *, new: int = 0, again: int = 0) -> IntakeResult:
        """The source begins anew from the ledger: whatever it remembered may be wrong by now."""
        wait = _RETRY_SECS[min(self._failures, len(_RETRY_SECS) - 1)]
        self._failures += 1
        self._sync_id = None
        self.trouble, self.up_to_date = error, False
        self.next_at = self._clock() + wait
        if isinstance(error, CaptureLost) and self._begun and not self._lost:
            self._miss(self._ledger.register(self.sync, began), str(error), began)
            self._lost = True
        return self._result(began, new=new, again=again, current=False)

    # -- scanning --------------------------------------------------------------------------------------------

    def _scan(self, began: Instant) -> IntakeResult:
        try:
            scanned = self._scanner.turn(lost=self._lost)
        except CrmError as error:
            self._scanner.failed(self._clock())
            return self._result(began, trouble=error)
        if scanned.new:
            self.captured()
        if self._scanner.waits_for_reading:
            self.next_at = began
        return self._result(began, rows=scanned.rows, new=scanned.new, swept=scanned.swept, progress=scanned.progress)

    def _result(
        self,
        began: Instant,
        *,
        rows: int = 0,
        new: int = 0,
        again: int = 0,
        swept: int = 0,
        more: bool = False,
        current: bool | None = None,
        progress: Progress | None = None,
        trouble: CrmError | None = None,
    ) -> IntakeResult:
        gap, self._gap = self._gap, None
        trouble = trouble or self.trouble
        notice = self._notice()
        self.remark = notice if trouble is None else str(trouble)
        return IntakeResult(
            self.sync,
            rows,
            new,
            again,
            swept,
            more,
            self._clock() - began,
            trouble=trouble,
            next_at=self.next_at,
            current=current,
            progress=progress,
            gap=gap,
            notice=notice,
            slot_lag_bytes=self.source.slot_lag_bytes,
        )

    def _notice(self) -> str | None:
        if self.source.notice is not None or not self._scanner.without_watermark:
            return self.source.notice
        count = self._scanner.without_watermark
        return f"{'More than ' if count >= 1000 else ''}{count} rows have no watermark, and are never captured."
