"""Finding the leads for which wolkvox refuses a whole call without naming them. Pure.

A few leads of the refused call are sent alone first, and then a few that were not in it: as soon as wolkvox takes
one, the fault is some leads' and not the campaign's; if it takes none of them, taking the call apart is in vain. Then
the rest is halved, and so is each half that is refused again, until single leads are left, which are condemned. The
calls are counted: one lead must not eat the day.

Mutable state: which parts are still to be sent; used by the delivery thread alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

PROBES = 4
"""So many leads are sent alone before the campaign is taken to be at fault."""
SPARE_CALLS = 8
_POISONED = 3
"""The calls are enough for so many poisoned leads; where there are more, the next refused call is taken apart, too."""


@dataclass(frozen=True, slots=True)
class _Part:
    """Some leads that are to be sent together."""

    leads: Sequence[int]
    is_first_half: bool = False
    """Of a part that was refused: if this half is taken, the fault lies in the other one."""


class Bisection:
    """One refused call, being taken apart.

    Args:
        lead_ids: its leads.
        others: leads that wait behind it; where all of its own are refused, these tell whether any is taken.
        some_accepted: whether it is known already that wolkvox takes others.
    """

    def __init__(self, lead_ids: Sequence[int], others: Sequence[int] = (), *, some_accepted: bool = False) -> None:
        last = len(lead_ids) - 1
        places = dict.fromkeys((0, last, last // 2, last // 4, 3 * last // 4, 1, 2, 3))
        own = [lead_ids[place] for place in places if place <= last]
        self._probes = [*own[:PROBES], *others]
        self._leads = lead_ids
        self._tried: set[int] = set()
        self._parts: list[_Part] = []
        self._is_parted = False
        self._singled_out: dict[int, int] = {}
        self._some_accepted = some_accepted
        self._calls_left = 2 * _POISONED * last.bit_length() + SPARE_CALLS

    def next_part(self) -> Sequence[int] | None:
        """The leads to send next; None where nothing is left to find out, or no call is."""
        if self._calls_left <= 0:
            return None
        if not self._is_parted and self._probes:
            return self._probes[:1]
        return self._parts[-1].leads if self._parts else None

    def refused(self, sent: Sequence[int], seq: int) -> None:
        """The part was refused as a whole, again.

        Args:
            sent: what the call carried: of the part, those leads that still had to be sent.
            seq: the moment of capture at which they were claimed.
        """
        self._calls_left -= 1
        self._pop()
        if len(sent) == 1:
            self._singled_out[sent[0]] = seq
        else:
            self._halve(sent)
        self._go_on()

    def accepted(self) -> None:
        """wolkvox took the part, or refused some of it by name and took the others."""
        self._calls_left -= 1
        self._some_accepted = True
        if self._pop().is_first_half and len(self._parts[-1].leads) > 1:
            self._halve(self._parts.pop().leads)
        self._go_on()

    def gone(self, *, called: bool) -> None:
        """The part needs no call any more, or it had one that told nothing of its neighbours."""
        if self.is_over:
            return
        self._pop()
        self._calls_left -= called
        self._go_on()

    @property
    def is_over(self) -> bool:
        """Whether there is nothing more to send."""
        return self.next_part() is None

    @property
    def condemned(self) -> Mapping[int, int]:
        """Leads that are refused by themselves, where others are not; each with the moment at which it was claimed."""
        return self._singled_out if self._some_accepted else {}

    @property
    def in_vain(self) -> bool:
        """Whether it has ended, and nothing was taken: the leads are not known to be at fault."""
        return self.is_over and not self._some_accepted

    @property
    def is_exhausted(self) -> bool:
        """Whether it has ended for want of calls."""
        return self._calls_left <= 0 and bool(self._parts)

    def _pop(self) -> _Part:
        if self._is_parted:
            return self._parts.pop()
        self._tried.add(self._probes[0])
        return _Part([self._probes.pop(0)])

    def _go_on(self) -> None:
        """From single leads to halves, or to the end."""
        if self._is_parted or (self._probes and not self._some_accepted):
            return
        self._is_parted = True
        if self._singled_out and not self._some_accepted:
            return  # there are no more than these
        rest = [lead_id for lead_id in self._leads if lead_id not in self._tried]
        if self._singled_out or len(rest) < 2:
            self._parts = [_Part(rest)] if rest else []  # the culprit may be found already
        else:
            self._halve(rest)

    def _halve(self, leads: Sequence[int]) -> None:
        middle = len(leads) // 2
        # The first half on top: leads that have waited longer go first.
        self._parts += [_Part(leads[middle:]), _Part(leads[:middle], is_first_half=True)]
