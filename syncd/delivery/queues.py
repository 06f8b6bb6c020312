"""What waits: for each lane, and where its leads go to several campaigns, for each of these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from syncd.batch import Lane, route
from syncd.ledger import Claim, Ledger
from syncd.ledger.ledger import Waiting
from syncd.model import Instant


@dataclass(frozen=True, slots=True)
class Queue:
    """The pending leads of one sync that go to one campaign."""

    lane: Lane
    """Of that campaign."""
    sync_id: int
    load: Waiting
    unrouted: Lane | None = None
    """The sync's own lane, where some of its leads go to a campaign that is not known yet."""

    @property
    def is_unrouted(self) -> bool:
        """Whether it is these that wait here."""
        return self.lane is self.unrouted


def queues_of(ledger: Ledger, lane: Lane, sync_id: int) -> list[Queue]:
    """What waits in a lane; nothing where nothing does."""
    load = ledger.waiting(sync_id)
    if not load.pending:
        return []
    if lane.route is None:
        return [Queue(lane, sync_id, load)]
    known = ledger.routing.queues(sync_id)
    unknown = load.pending - sum(each.pending for each in known)
    first = ledger.routing.claim(sync_id, None, 1).leads if unknown > 0 else ()
    unrouted = lane if first else None
    found = [
        Queue(lane.to(each.campaign_id), sync_id, Waiting(each.pending, each.oldest_at, each.fresh), unrouted)
        for each in known
    ]
    if first:
        found.append(Queue(lane, sync_id, Waiting(unknown, first[0].captured_at, load.fresh), unrouted))
    return found


def claim(ledger: Ledger, lane: Lane, sync_id: int, limit: int) -> Claim:
    """The leads of a lane that have waited longest; nothing is written."""
    if lane.route is None:
        return ledger.claim(sync_id, limit)
    return ledger.routing.claim(sync_id, lane.campaign.id or None, limit)


def send_on(ledger: Ledger, lane: Lane, sync_id: int, limit: int, now: Instant) -> dict[str, int]:
    """Ask where leads go of which that is not known, and write it down.

    Returns:
        How many leads went to each state: those that go nowhere.

    Raises:
        CrmError: their rows cannot be read.
    """
    unrouted = ledger.routing.claim(sync_id, None, limit)
    routes, settlements = route(lane, unrouted, now)
    ledger.routing.note(sync_id, unrouted.seq, routes)
    return ledger.settle_unsent(sync_id, unrouted.seq, settlements, now)


def others_of(ledger: Ledger, lane: Lane, sync_id: int, limit: int) -> Sequence[int]:
    """Leads of a lane that wait."""
    return [lead.id for lead in claim(ledger, lane, sync_id, limit).leads]
