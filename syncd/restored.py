"""What `syncd recover` finds, and for which leads the records that wolkvox has vouch. Pure but for its own lists."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from syncd.batch import Lane
from syncd.ledger.recovering import KnownLead, Recovered
from syncd.states import LeadState

_FOREIGN = (LeadState.REJECTED, LeadState.WITHDRAWN, LeadState.EXPIRED, LeadState.DUPLICATE)
"""Not in wolkvox because of this lead, as the ledger knows; so it stays, unless its row has changed since."""
ORDER: dict[LeadState | None, int] = {
    LeadState.DELIVERED: 0,
    LeadState.UNCHANGED: 0,
    LeadState.SENDING: 1,
    LeadState.HELD: 1,
    LeadState.PENDING: 2,
    None: 2,
}
"""Whose record it is, where wolkvox has fewer than there are leads."""


@dataclass(slots=True)
class SyncFindings:
    """What was found of one sync."""

    sync: str
    rows: int = 0
    """Rows of the CRM that were compared."""
    known: int = 0
    """Leads that the ledger knew to be delivered."""
    gone: int = 0
    """Of these, the ones whose customer wolkvox has not any more."""
    delivered: list[Recovered] = field(default_factory=list)
    """Leads that wolkvox has, and the ledger did not know so."""
    unsure: list[Recovered] = field(default_factory=list)
    """Leads whose customer wolkvox has, with other values or too few times."""
    refreshed: list[Recovered] = field(default_factory=list)
    absent: int = 0
    """Leads that wait, or will, and that wolkvox has not: they will be sent."""
    campaigns: dict[str, str] = field(default_factory=dict)
    """Where the leads go that were found, by their key."""

    def by_campaign(self, leads: Sequence[Recovered]) -> dict[str, list[Recovered]]:
        """Some of the leads that were found, by where they go."""
        found: dict[str, list[Recovered]] = {}
        for lead in leads:
            found.setdefault(self.campaigns[lead.key], []).append(lead)
        return found


@dataclass(frozen=True, slots=True)
class Candidate:
    """A row whose customer wolkvox knows."""

    findings: SyncFindings
    lane: Lane
    lead: Recovered
    customer: str
    values: tuple[str, ...]
    known: KnownLead | None


def groups_of(campaigns: Iterable[set[str]]) -> list[set[str]]:
    """Campaigns that share a sync, together: a lead that goes to one of them now may have gone to another before."""
    groups: list[set[str]] = []
    for each in campaigns:
        together = set(each).union(*(group for group in groups if group & each))
        groups = [group for group in groups if not group & each] + [together]
    return groups


def judge(candidates: list[Candidate], held: Mapping[str, Counter[tuple[str, ...]]]) -> None:
    """Each record of the export vouches for one lead."""
    for each in sorted(candidates, key=lambda one: ORDER.get(one.known.state if one.known else None, 3)):
        records = held[each.customer]
        there = records[each.values] > 0
        records[each.values] -= there
        state = each.known.state if each.known else None
        if state in (LeadState.DELIVERED, LeadState.UNCHANGED):
            if there and each.lane.resend_changed:
                each.findings.refreshed.append(each.lead)
        elif state in (LeadState.SENDING, LeadState.HELD):
            continue  # verification knows what was sent
        elif there:
            each.findings.delivered.append(each.lead)
        elif state not in _FOREIGN or (each.known and each.known.version != each.lead.version):
            each.findings.unsure.append(each.lead)
