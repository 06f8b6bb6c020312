"""What happens in the CRM while the daemon runs, and the book of it.

A plan of steps, each due at a share of the time: single leads, bursts, changes, a transaction that commits late, leads
withdrawn while they wait, a rejected lead put right, and one call that wolkvox refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from syncd.demo.crm import Crm, LateTransaction
from syncd.demo.people import People
from syncd.demo.stage import Pages
from syncd.model import Instant

SHORTEST_WITH_REFUSAL_SECS: Final = 30.0
"""After a refusal syncd pauses for 15 seconds: a shorter demo does without."""
REFUSAL: Final[Mapping[str, object]] = {
    "kind": "reply",
    "api": "add_record",
    "status": 403,
    "stored": False,
    "body": '{"code": "403", "error": "true", "msg": "EXCEEDS THE LIMIT OF SIMULTANEOUS REQUESTS PER TOKEN (2)",'
    ' "data": []}',
}
"""What wolkvox says when another program uses the token at the same moment; it takes nothing of the call."""

_SINGLE_EVERY_SECS = 0.7
_CHANGE_EVERY_SECS = 2.5
_LATE_SECS = 6.0
_BURSTS = (0.08, 0.22, 0.62, 0.78)
_REFUSE_AT, _COME_AT, _GO_AT = 0.30, 0.37, 0.46


@dataclass
class Book:
    """What the demo did, and when. Written by the traffic, read at the end."""

    committed: dict[str, Instant] = field(default_factory=dict)
    """Leads inserted while the daemon ran, by key: when their transaction was about to commit."""
    withdrawn: dict[str, Instant] = field(default_factory=dict)
    """Leads withdrawn or deleted: when that had committed."""
    corrected: dict[str, Instant] = field(default_factory=dict)
    """Rejected leads that were put right: when that had committed."""
    changes: int = 0
    """Changes of leads that called for nothing."""
    refusals: int = 0
    """Calls that the simulator was told to refuse."""


@dataclass(frozen=True, slots=True)
class Ids:
    """Leads of the first fill that the plan needs: by key."""

    well: list[str]
    """Leads that are well, and will have been delivered."""
    undialable: str
    """A lead whose telephone number is no number."""


class Traffic:
    """Lets things happen; `tick` does what is due. Used by one thread.

    Args:
        secs: how long it lasts.
        burst: leads in one burst.
        say: is told what happens, in a sentence.
    """

    def __init__(
        self, crm: Crm, people: People, simulator: Pages, ids: Ids, secs: float, burst: int, say: Callable[[str], None]
    ) -> None:
        self._crm = crm
        self._people = people
        self._simulator = simulator
        self._ids = ids
        self._secs = secs
        self._burst = burst
        self._say = say
        self._late: LateTransaction | None = None
        self._waiting: list[str] = []
        self._plan = self._planned()
        self.book = Book()

    def tick(self, elapsed: float) -> None:
        """Do whatever is due, in order."""
        while self._plan and self._plan[0][0] <= elapsed:
            self._plan.pop(0)[1]()

    @property
    def over(self) -> bool:
        """Whether everything has happened."""
        return not self._plan

    def close(self) -> None:
        """End what is still open, undone."""
        if self._late is not None:
            self._late.abandon()
            self._late = None

    def _planned(self) -> list[tuple[float, Callable[[], None]]]:
        secs, every = self._secs, self._every
        plan = [(at * secs, self._burst_comes) for at in _BURSTS]
        plan += [(at, self._single_comes) for at in every(_SINGLE_EVERY_SECS, until=secs)]
        plan += [(at, self._change) for at in every(_CHANGE_EVERY_SECS, until=secs * 0.9)]
        late = 0.12 * secs
        plan += [(late, self._late_begins), (late + min(_LATE_SECS, 0.3 * secs), self._late_commits)]
        if secs >= SHORTEST_WITH_REFUSAL_SECS:
            plan.append((_REFUSE_AT * secs, self._refuse))
        plan += [(_COME_AT * secs, self._doubtful_come), (_GO_AT * secs, self._doubtful_go)]
        plan += [(0.70 * secs, self._put_right), (0.84 * secs, self._withdraw_delivered)]
        return sorted(plan, key=lambda step: step[0])

    @staticmethod
    def _every(step: float, *, until: float) -> list[float]:
        return [step * place for place in range(1, int(until / step) + 1)]

    # -- steps -----------------------------------------------------------------------------------------------

    def _enter(self, leads: int) -> None:
        keys, at = self._crm.insert(self._people.many(leads))
        self.book.committed |= dict.fromkeys(keys, at)

    def _single_comes(self) -> None:
        self._enter(1)

    def _burst_comes(self) -> None:
        self._enter(self._burst)
        self._say(f"CRM: {self._burst} leads come at once, in one transaction")

    def _change(self) -> None:
        key = self._ids.well[self.book.changes % len(self._ids.well)]
        self._crm.update(key, notes=f"cambio {self.book.changes}")
        self.book.changes += 1

    def _late_begins(self) -> None:
        self._late = self._crm.begin_late(self._people.well() for _ in range(5))
        self._say("CRM: a slow import inserts 5 leads and does not commit yet")

    def _late_commits(self) -> None:
        assert self._late is not None
        at = self._late.commit()
        self.book.committed |= dict.fromkeys(self._late.keys, at)
        self._late = None
        self._say("CRM: the slow import commits, behind leads that were read already")

    def _refuse(self) -> None:
        self._simulator.post("/_simulator/faults", [REFUSAL])
        self.book.refusals += 1
        self._say("wolkvox: will refuse the next call, as if another program used the token at that moment")

    def _doubtful_come(self) -> None:
        keys, at = self._crm.insert(self._people.well() for _ in range(3))
        self.book.committed |= dict.fromkeys(keys, at)
        self._waiting = keys

    def _doubtful_go(self) -> None:
        first, second, third = self._waiting
        for key in (first, second):
            self.book.withdrawn[key] = self._crm.update(key, consent=False)
        self.book.withdrawn[third] = self._crm.delete(third)
        self._say("CRM: two leads of a moment ago withdraw their consent, and a third is deleted")

    def _put_right(self) -> None:
        key = self._ids.undialable
        self.book.corrected[key] = self._crm.update(key, mobile=self._people.well()["mobile"])
        self._say(f"CRM: a salesperson puts right the telephone number of lead {key}, which had been rejected")

    def _withdraw_delivered(self) -> None:
        key = self._ids.well[-1]
        self.book.withdrawn[key] = self._crm.update(key, consent=False)
        self._say(f"CRM: lead {key}, delivered long ago, withdraws its consent (wolkvox has it: that is for people)")
