"""The intake loop: from the CRM into the ledger.

`Intake.run_once` takes one page of one sync: reads keys, commits them with the watermark in one transaction, and only
then tells the source. It never waits for delivery: a spent quota leaves the CRM as free as ever.

Mutable state, used by the intake thread alone: where the source stands, and how far a sweep is.
"""

from __future__ import annotations

from dataclasses import dataclass

from syncd.capture import Source
from syncd.errors import CrmError
from syncd.ledger import Ledger
from syncd.model import Clock, Instant

SWEEP_ROWS = 10_000
_RETRY_SECS = (1.0, 2.0, 5.0, 15.0, 30.0, 60.0)


@dataclass(frozen=True, slots=True)
class IntakeResult:
    """What one turn of a sync did."""

    sync: str
    rows: int
    """Rows read, known ones included."""
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


class Intake:
    """The intake of one sync.

    Args:
        resend_changed: whether a delivered lead becomes pending again when its row changes.
        poll_secs: from one look to the next.
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
        self._source = source
        self.sync = sync
        self._resend_changed = resend_changed
        self._poll_secs = poll_secs
        self._sweep_secs = sweep_secs
        self._clock = clock
        # -- mutable --
        self.next_at: Instant = 0.0
        self.up_to_date = False
        """Whether the last turn read everything that there was."""
        self.trouble: CrmError | None = None
        self._sync_id: int | None = None
        self._failures = 0
        self._sweep_due: Instant | None = None
        self._sweep_after: str | None = None
        self._sweeping = False

    def run_once(self) -> IntakeResult:
        """One page of changes, or of a sweep where there are none.

        Raises:
            LedgerError: the ledger cannot take it; nothing was acknowledged.
        """
        began = self._clock()
        try:
            result = self._turn(began)
            self._failures, self.trouble = 0, None
            return result
        except CrmError as error:
            # The source begins anew from the ledger: whatever it remembered may be wrong by now.
            wait = _RETRY_SECS[min(self._failures, len(_RETRY_SECS) - 1)]
            self._failures += 1
            self._sync_id = None
            self.trouble, self.up_to_date = error, False
            self.next_at = self._clock() + wait
            return IntakeResult(
                self.sync, 0, 0, 0, 0, False, self._clock() - began, trouble=error, next_at=self.next_at
            )

    def _turn(self, began: Instant) -> IntakeResult:
        sync_id = self._begin(began)
        if self._sweeping and self.up_to_date and self.next_at > began:
            return self._sweep(sync_id, began)
        page = self._source.read(began)
        new = again = 0
        if page.changes or page.reached is not None:
            captured = self._ledger.capture(
                sync_id, page.changes, page.reached, self._clock(), resend_changed=self._resend_changed
            )
            new, again = captured.new, captured.again
        now = self._clock()
        self._source.acknowledge(page, now)
        self.up_to_date = not page.more
        if page.more:
            self.next_at = began
        else:
            # Steady polls: the time that one takes is part of the interval, unless it takes longer.
            self.next_at = max(began + self._poll_secs, now)
            self._consider_sweep(now)
        return IntakeResult(self.sync, page.rows, new, again, 0, page.more, now - began, next_at=self.next_at)

    def _begin(self, now: Instant) -> int:
        """Upon the first turn, and after trouble: go on from where the ledger is."""
        if self._sync_id is None:
            sync_id = self._ledger.register(self.sync, now)
            start, watermark = self._ledger.position(sync_id)
            if start is None:
                start = self._source.first_start(now)
                self._ledger.set_start(sync_id, start)
            self._source.resume(start, watermark)
            self._sync_id = sync_id
        return self._sync_id

    # -- the sweep: what capture missed ----------------------------------------------------------------------

    def _consider_sweep(self, now: Instant) -> None:
        if self._sweep_due is None:
            self._sweep_due = now + self._sweep_secs
        elif not self._sweeping and now >= self._sweep_due:
            self._sweeping, self._sweep_after = True, None

    @property
    def wants_sweep(self) -> bool:
        """Whether the next turn may sweep before the next poll is due."""
        return self._sweeping and self.up_to_date

    def _sweep(self, sync_id: int, began: Instant) -> IntakeResult:
        changes = self._source.sweep(self._sweep_after, SWEEP_ROWS)
        found = self._ledger.missing(sync_id, changes)
        swept = 0
        if found:
            captured = self._ledger.capture(sync_id, found, None, self._clock(), resend_changed=self._resend_changed)
            swept = captured.new
        if len(changes) < SWEEP_ROWS:
            self._sweeping = False
            self._sweep_due = self._clock() + self._sweep_secs
        else:
            self._sweep_after = changes[-1].key
        seconds = self._clock() - began
        return IntakeResult(self.sync, len(changes), swept, 0, swept, False, seconds, next_at=self.next_at)
