"""Which campaign each pending lead goes to, where the leads of one sync go to several.

What is kept is where a lead was last seen to go: it tells whom a parked campaign must not keep waiting, and how many
leads a call would carry. Where a lead really goes is asked again of its row before each call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select, update

from syncd.ledger.calls import PENDING, Claim, claim_routed
from syncd.ledger.home import Home
from syncd.ledger.schema import lead
from syncd.model import Instant


@dataclass(frozen=True, slots=True)
class Queue:
    """The pending leads of a sync that go to one campaign."""

    campaign_id: str
    pending: int
    oldest_at: Instant
    fresh: bool
    """Whether some of them are more than rows that were there at the start."""


class Routing:
    """Campaigns of pending leads; each method is one transaction."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def queues(self, sync_id: int) -> list[Queue]:
        """The pending leads of a sync by their campaign, without those of which it is not known yet."""
        query = (
            select(lead.c.campaign_id, func.count(), func.min(lead.c.captured_at), func.min(lead.c.rank))
            .where(lead.c.sync_id == sync_id, lead.c.state == PENDING, lead.c.campaign_id.is_not(None))
            .group_by(lead.c.campaign_id)
            .order_by(lead.c.campaign_id)
        )
        with self._home.read() as connection:
            rows = connection.execute(query).all()
        return [Queue(campaign_id, pending, oldest_at, rank == 0) for campaign_id, pending, oldest_at, rank in rows]

    def claim(self, sync_id: int, campaign_id: str | None, limit: int) -> Claim:
        """The pending leads of one campaign that have waited longest; nothing is written.

        Args:
            campaign_id: None for those of which it is not known yet.
        """
        with self._home.read() as connection:
            return claim_routed(connection, sync_id, campaign_id, limit)

    def note(self, sync_id: int, seq: int, routes: Mapping[str, Sequence[int]]) -> None:
        """Write down where pending leads go.

        Args:
            seq: the moment of capture at which they were claimed; a lead that has changed since is routed anew.
            routes: leads by campaign.
        """
        if not routes:
            return
        with self._home.write() as connection:
            for campaign_id, ids in routes.items():
                connection.execute(
                    update(lead)
                    .where(self._home.among(lead.c.id, ids), lead.c.state == "pending", lead.c.seq <= seq)
                    .values(campaign_id=campaign_id)
                )

    def forget(self, sync_id: int) -> None:
        """Route every pending lead of a sync anew: the rule may be another since."""
        with self._home.write() as connection:
            connection.execute(
                update(lead)
                .where(lead.c.sync_id == sync_id, lead.c.state == PENDING, lead.c.campaign_id.is_not(None))
                .values(campaign_id=None)
            )
