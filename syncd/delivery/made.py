"""A call that was made, between its reply and the ledger's taking of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from syncd.batch import Batch, Lane
from syncd.delivery.results import CallReport
from syncd.model import Exchange, Instant
from syncd.replies import Outcome, Verdict


@dataclass(frozen=True, slots=True)
class Made:
    """A call that was made, and what came of it."""

    lane: Lane
    sync_id: int
    seq: int
    """Of the claim."""
    batch: Batch
    exchange: Exchange
    verdict: Verdict
    call_id: str
    number: int
    ended: Instant
    settled: Mapping[str, int]
    """What was settled along with its intent."""
    pending: int
    """Leads of the lane that waited before it."""

    def report(self) -> CallReport:
        """The same for logs and metrics."""
        batch, verdict = self.batch, self.verdict
        accepted = verdict.outcome in (Outcome.ACCEPTED, Outcome.ACCEPTED_IN_PART)
        refused = {error.position for error in verdict.errors}
        return CallReport(
            call_id=self.call_id,
            sync=self.lane.sync,
            campaign_id=self.lane.campaign.id,
            leads=len(batch.lead_ids),
            verdict=verdict.name,
            outcome=verdict.outcome.value,
            http_status=self.exchange.status,
            seconds=self.exchange.seconds,
            sentence=verdict.sentence,
            error=self.exchange.error,
            waited=Counter(
                self.ended - at for place, at in enumerate(batch.captured_at) if accepted and place not in refused
            ),
        )
