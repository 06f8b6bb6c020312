"""The proof: every lead that should have arrived did, once, and no other. Pure.

Three who do not talk to each other are compared, lead by lead: the CRM's table, which says who must have been sent
(must_arrive.sql); the simulator, which counted what arrived and shows its records; and the ledger, in which syncd says
what it did.

Several leads with one telephone number are one person, who must be reached once, through whichever of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from syncd.model import Instant

RACE_SECS = 1.0
"""Between the moment at which a call's rows are read and the moment at which the ledger says that it began: whoever
withdraws in between is called all the same, and by right."""


class CrmLead(NamedTuple):
    """A lead as the CRM's table has it in the end."""

    key: str
    person: str | None
    """The telephone number, where it is one."""
    must: bool


@dataclass(frozen=True, slots=True)
class Sent:
    """What the ledger says of a lead."""

    state: str
    began: Instant | None
    """When the call began that carried it, or None."""
    accepted: Instant | None
    """When that call was accepted, if it was."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that is not as it should be."""

    kind: str
    """missing | twice | unwanted | number | ledger | calls"""
    key: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Proof:
    """What the comparison found."""

    must: int
    """Leads that must arrive: one for each person."""
    arrived: int
    """Leads that arrived, as the simulator counted them."""
    gone: int
    """Leads that arrived, and were withdrawn or deleted afterwards."""
    duplicates: int
    """Leads that rightly did not arrive, for another of the same person did."""
    kept_away: int
    """Leads that were not to arrive, and did not."""
    differences: tuple[Difference, ...]

    @property
    def holds(self) -> bool:
        """Whether there is no difference."""
        return not self.differences

    def count(self, kind: str) -> int:
        """How many differences there are of a kind."""
        return sum(difference.kind == kind for difference in self.differences)


def prove(
    crm: Sequence[CrmLead],
    arrived: Mapping[str, int],
    dialled: Mapping[str, str],
    ledger: Mapping[str, Sent],
    withdrawn: Mapping[str, Instant],
    calls: tuple[int, int],
) -> Proof:
    """Compare.

    Args:
        crm: every lead in the table, in the end.
        arrived: how often the simulator accepted each key.
        dialled: the telephone number in the record of each key, without the operation's dial prefix.
        ledger: what syncd says of each key.
        withdrawn: when a lead was withdrawn or deleted.
        calls: how many calls syncd counted, and how many the simulator did.
    """
    found = [*_twice(arrived), *_against_ledger(arrived, ledger), *_other_numbers(crm, dialled)]
    persons: dict[str, int] = defaultdict(int)
    for lead in crm:
        if lead.person is not None:
            persons[lead.person] += arrived.get(lead.key, 0)
    must = {lead.person or lead.key: lead.key for lead in crm if lead.must}
    for person, key in must.items():
        if persons[person] == 0:
            found.append(Difference("missing", key, f"Lead {key} must have arrived, and did not."))
    found += _persons_twice(crm, arrived, persons)
    wanted = {lead.key for lead in crm if lead.must}
    gone = 0
    for key in arrived.keys() - wanted:
        if _had_left(key, ledger, withdrawn):
            gone += 1
        else:
            found.append(Difference("unwanted", key, f"Lead {key} arrived, and must not have."))
    if calls[0] != calls[1]:
        found.append(Difference("calls", "", f"syncd counted {calls[0]} calls, and the simulator {calls[1]}."))
    return Proof(
        must=len(must),
        arrived=len(arrived),
        gone=gone,
        duplicates=sum(lead.must and lead.key not in arrived and persons[lead.person or ""] > 0 for lead in crm),
        kept_away=sum(not lead.must and lead.key not in arrived for lead in crm),
        differences=tuple(sorted(found, key=lambda each: (each.kind, each.key.zfill(20)))),
    )


def _twice(arrived: Mapping[str, int]) -> list[Difference]:
    return [
        Difference("twice", key, f"Lead {key} arrived {times} times.") for key, times in arrived.items() if times != 1
    ]


def _other_numbers(crm: Sequence[CrmLead], dialled: Mapping[str, str]) -> list[Difference]:
    return [
        Difference("number", lead.key, f"Lead {lead.key} arrived with another telephone number than the CRM has.")
        for lead in crm
        if lead.key in dialled and dialled[lead.key] != lead.person
    ]


def _persons_twice(crm: Sequence[CrmLead], arrived: Mapping[str, int], persons: Mapping[str, int]) -> list[Difference]:
    """Persons who were reached through several leads of theirs."""
    through: dict[str, list[str]] = defaultdict(list)
    for lead in crm:
        if lead.person is not None and persons[lead.person] > 1 and lead.key in arrived:
            through[lead.person].append(lead.key)
    return [
        Difference("twice", keys[0], f"Leads {' and '.join(keys)} are one person, and all of them arrived.")
        for keys in through.values()
        if len(keys) > 1
    ]


def _had_left(key: str, ledger: Mapping[str, Sent], withdrawn: Mapping[str, Instant]) -> bool:
    """Whether a lead's call had begun when it was withdrawn."""
    sent = ledger.get(key)
    if key not in withdrawn or sent is None or sent.began is None:
        return False
    return sent.began - RACE_SECS <= withdrawn[key]


def _against_ledger(arrived: Mapping[str, int], ledger: Mapping[str, Sent]) -> list[Difference]:
    found = []
    for key in arrived.keys() | ledger.keys():
        state = ledger[key].state if key in ledger else "unknown"
        if (state == "delivered") != (key in arrived):
            counted = "counted it" if key in arrived else "has not seen it"
            found.append(Difference("ledger", key, f"syncd says that lead {key} is {state}; the simulator {counted}."))
        elif state in ("pending", "sending", "held", "expired"):
            found.append(Difference("ledger", key, f"Lead {key} is {state}: nothing has become of it yet."))
    return found
