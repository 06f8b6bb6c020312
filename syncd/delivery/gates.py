"""What keeps a sync's leads from being sent, beside pacing: its pause, a surge, and a clock that has jumped.

Mutable state, used by the delivery thread alone: how far the CRM's clock is from this host's, as last believed.
"""

from __future__ import annotations

from collections.abc import Callable

from syncd.batch import Lane
from syncd.ledger import Ledger
from syncd.ledger.acts import as_sentence
from syncd.ledger.calls import SURGE_SECS
from syncd.model import Instant

CLOCK_TOLERANCE_SECS = 300.0
"""A clock that has moved away from the CRM's by more is not believed."""
_KEPT = "clock_offset"


class ClockGate:
    """Notices that one of two clocks has jumped, by their distance.

    A jump of this host's clock could reset the quota, expire leads or open the hours; the CRM's clock is the witness.
    A distance that shrinks is always believed: somebody has corrected a clock.

    Args:
        crm_clock: asks the CRM for its time; may raise CrmError.
    """

    def __init__(self, ledger: Ledger, crm_clock: Callable[[], Instant]) -> None:
        self._ledger = ledger
        self._crm_clock = crm_clock
        # -- mutable --
        self._believed: float | None = None

    def objection(self, clock: Callable[[], Instant]) -> str | None:
        """Why the time cannot be trusted; None where it can.

        Raises:
            CrmError: the CRM does not say what time it is.
        """
        if self._believed is None:
            kept = self._ledger.doubts.kept(_KEPT)
            self._believed = None if kept is None else float(kept)
        before = clock()
        theirs = self._crm_clock()
        offset = theirs - (before + clock()) / 2
        if self._believed is not None and not _is_nearer(offset, self._believed):
            return (
                f"The CRM's clock is {_apart(offset)} this host's, and was {_apart(self._believed)} it: one of them has"
                " jumped. Nothing is sent until they agree; set the clock that is wrong (timedatectl)."
            )
        if self._believed is None or abs(offset - self._believed) > CLOCK_TOLERANCE_SECS / 10:
            self._ledger.doubts.keep(_KEPT, repr(offset))
            self._believed = offset
        return None


def _is_nearer(offset: float, believed: float) -> bool:
    """Whether a distance is the believed one, or lies between that and none."""
    return min(0.0, believed) - CLOCK_TOLERANCE_SECS <= offset <= max(0.0, believed) + CLOCK_TOLERANCE_SECS


def _apart(offset: float) -> str:
    return f"{abs(offset):,.0f} seconds {'ahead of' if offset >= 0 else 'behind'}"


def pause_of(lane: Lane, ledger: Ledger, sync_id: int, now: Instant) -> tuple[str | None, bool]:
    """Why a sync is not to be sent from; a surge pauses it.

    Returns:
        A sentence, or None where leads may leave; and whether the pause has just begun.
    """
    reason, is_new = ledger.doubts.paused(sync_id), False
    if reason is None and lane.max_per_hour is not None:
        lately = ledger.doubts.lately(sync_id, now - SURGE_SECS)
        if lately > lane.max_per_hour:
            is_new = True
            reason = (
                f"{lately:,} leads within an hour are more than max_leads_per_hour = {lane.max_per_hour:,};"
                " was there a bulk change in the CRM?"
            )
            ledger.doubts.pause(lane.sync, now, "syncd", reason)
    if reason is None:
        return None, False
    return f"{lane.sync} is paused: {as_sentence(reason)} `syncd resume {lane.sync}` sends them.", is_new
