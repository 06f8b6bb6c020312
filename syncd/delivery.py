"""The delivery loop: from the ledger to wolkvox.

`Delivery.run_once` spends at most one call: it asks `pacing` whether to, claims leads, prepares their batch, commits
the intent, posts it once, judges the reply, and commits the outcome. Whatever goes wrong between the intent and the
outcome leaves the call ``intended``; the next start holds its leads, for nobody knows whether they were taken.

Mutable state, used by the delivery thread alone (others read `standing`, which is replaced whole): what is parked.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from syncd.batch import Batch, Lane, prepare
from syncd.errors import CrmError, QuotaSpent
from syncd.ledger import Claim, Ending, Intent, Ledger
from syncd.ledger.ledger import Waiting
from syncd.model import Clock, Exchange, Instant, Quota, RecordError
from syncd.pacing import Decision, OpenHours, Situation, Step, decide, quota_day, quota_resets_at
from syncd.parking import SENDER, SLOWEST_SECS, Parks, campaign_key, sync_key
from syncd.replies import Outcome, Scope, Verdict, judge
from syncd.states import CallState, LeadState
from syncd.wolkvox import SERVER_SECS, Wolkvox

LOOK_SECS = 60.0
"""The loop looks again after this long at the latest, whatever it waits for."""
_CRM_PARK_SECS = 15.0
_BUSY_SECS = 2.0
_UNREACHABLE_SECS = 300.0
"""The longest wait for what cannot be reached: it may come back at any moment, and leads go cold."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What delivery obeys, from the configuration."""

    batch_size: int
    max_wait_secs: float
    hours: OpenHours
    closed_on: Callable[[date], bool]
    zone: ZoneInfo
    daily_limit: int
    """Calls a day that the licences give."""
    reserve_calls: int
    concurrent_calls: int

    @property
    def budget(self) -> int:
        """Calls a day that syncd may start."""
        return self.daily_limit - self.reserve_calls


@dataclass(frozen=True, slots=True)
class CallReport:
    """One call, for logs and metrics."""

    call_id: str
    sync: str
    campaign_id: str
    leads: int
    verdict: str
    outcome: str
    http_status: int | None
    seconds: float
    sentence: str
    error: str
    waited: Mapping[float, int]
    """Leads by the seconds from their capture to their acceptance; empty unless accepted."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where delivery stands, in a word and a sentence."""

    state: str
    """sending | idle | waiting | closed | quota_exhausted | held"""
    reason: str


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """What one turn did."""

    standing: Standing
    next_at: Instant
    """When there may be something to do."""
    sync: str | None = None
    settled: Mapping[str, int] = field(default_factory=dict)
    """Leads by the state that they went to."""
    call: CallReport | None = None
    trouble: CrmError | None = None


@dataclass(frozen=True, slots=True)
class _Made:
    """A call that was made, and what came of it."""

    lane: Lane
    batch: Batch
    exchange: Exchange
    verdict: Verdict
    call_id: str
    number: int
    ended: Instant
    settled: Mapping[str, int]
    """What was settled along with its intent."""


class Delivery:
    """Sends the leads of every lane, one call at a time.

    Args:
        term: gives the term of this process's lease.
    """

    def __init__(
        self,
        ledger: Ledger,
        lanes: Sequence[Lane],
        client: Wolkvox,
        rules: Rules,
        term: Callable[[], int],
        clock: Clock,
    ) -> None:
        self._ledger = ledger
        self._lanes = list(lanes)
        self._client = client
        self._rules = rules
        self._term = term
        self._clock = clock
        # -- mutable --
        self._parks = Parks(lambda now: quota_resets_at(now, rules.zone))
        self._made: _Made | None = None  # the call whose outcome the ledger has not taken yet
        self.standing = Standing("idle", "Nothing waits.")

    def run_once(self) -> DeliveryResult:
        """Spend a call if that is right now; else say when to ask again.

        Raises:
            SenderDeposed: another process sends by now.
            LedgerError: the ledger does not answer. The outcome of a call that was made is kept, and written
                before anything else is done.
        """
        result = self._turn(self._clock()) if self._made is None else self._settle(self._made)
        self.standing = result.standing
        return result

    def quota(self) -> Quota:
        """Today's budget, as counted from intents."""
        now = self._clock()
        used = self._ledger.calls_started(quota_day(now, self._rules.zone).isoformat())
        rules = self._rules
        return Quota(rules.daily_limit, used, rules.reserve_calls, quota_resets_at(now, rules.zone))

    # -- deciding --------------------------------------------------------------------------------------------

    def _turn(self, now: Instant) -> DeliveryResult:
        waiting = [(lane, self._ledger.register(lane.sync, now)) for lane in self._lanes]
        loads = [(lane, sync_id, self._ledger.waiting(sync_id)) for lane, sync_id in waiting]
        loads = [load for load in loads if load[2].pending]
        if not loads:
            return _wait("idle", "Nothing waits.", now, None)
        if (parked := self._parks.waiting(now, SENDER)) is not None:
            state = "quota_exhausted" if parked.verdict == "quota-spent" else "held"
            return _wait(state, parked.sentence, now, parked.until)
        busy = self._ledger.busy_until(now, self._rules.concurrent_calls, SERVER_SECS)
        if busy is not None:
            # It may be a `syncd check` that ends in a second: look again soon.
            soon = min(busy, now + _BUSY_SECS)
            return _wait("waiting", "An unanswered call may still be at work in wolkvox.", now, soon)
        loads.sort(key=lambda load: (not load[2].fresh, load[2].oldest_at or now))
        shared = self._shared_situation(now)
        latest: DeliveryResult | None = None
        for lane, sync_id, load in loads:
            parked = self._parks.waiting(now, campaign_key(lane.campaign.id), sync_key(lane.sync))
            if parked is not None:
                step = _wait("held", f"{lane.sync}: {parked.sentence}", now, parked.until)
            else:
                decision = decide(self._situation(now, load, shared))
                if decision.step is Step.SEND:
                    return self._send(lane, sync_id, now)
                step = _explain(decision, now)
            if latest is None or step.next_at < latest.next_at:
                latest = step
        assert latest is not None
        return latest

    def _shared_situation(self, now: Instant) -> Situation:
        rules, quota = self._rules, self.quota()
        return Situation(
            now=now,
            pending=0,
            oldest_at=None,
            batch_size=rules.batch_size,
            max_wait_secs=rules.max_wait_secs,
            calls_left=quota.remaining,
            last_call_at=self._ledger.last_call_at(),
            opens_at=rules.hours.next_open(now, rules.zone, rules.closed_on),
            open_secs_left=rules.hours.open_secs(now, quota.resets_at, rules.zone, rules.closed_on),
            resets_at=quota.resets_at,
        )

    def _situation(self, now: Instant, load: Waiting, shared: Situation) -> Situation:
        return replace(shared, pending=load.pending, oldest_at=load.oldest_at)

    # -- sending ---------------------------------------------------------------------------------------------

    def _send(self, lane: Lane, sync_id: int, now: Instant) -> DeliveryResult:
        # After a refusal, one lead goes first: it asks the same question as a full batch, and risks less.
        on_trial = self._parks.on_trial(SENDER, campaign_key(lane.campaign.id))
        claim = self._ledger.claim(sync_id, 1 if on_trial else self._rules.batch_size)
        call_id = new_call_id(now)
        try:
            batch = prepare(lane, self._ledger, sync_id, claim, call_id, now)
        except CrmError as error:
            self._parks.park(sync_key(lane.sync), now, _CRM_PARK_SECS, "crm", str(error), slowest=_UNREACHABLE_SECS)
            standing = Standing("held", f"{lane.sync}: {error}")
            return DeliveryResult(standing, now + 1, sync=lane.sync, trouble=error)
        self._parks.release(sync_key(lane.sync))
        if not batch.lead_ids:
            settled = self._ledger.settle_unsent(sync_id, claim.seq, batch.settlements, now)
            return DeliveryResult(Standing("sending", "Leads leave."), now, sync=lane.sync, settled=settled)
        try:
            number, settled = self._commit_intent(lane, sync_id, claim, batch, call_id)
        except QuotaSpent as error:
            return _wait("quota_exhausted", str(error), now, quota_resets_at(now, self._rules.zone))
        exchange = self._client.add_record(lane.campaign, batch.body)
        verdict = judge(exchange, len(batch.lead_ids))
        ended = self._clock()
        self._heed(lane, verdict, ended)
        self._made = made = _Made(lane, batch, exchange, verdict, call_id, number, ended, settled)
        return self._settle(made)

    def _settle(self, made: _Made) -> DeliveryResult:
        """Write the outcome of a call that was made; where the ledger cannot take it, the next turn begins with it."""
        ending = _ending(made.verdict, made.exchange, made.batch, made.ended)
        after = self._ledger.finish(made.number, ending, resend_changed=made.lane.resend_changed)
        self._made = None
        return self._report(made, _sum(made.settled, after))

    def _commit_intent(
        self, lane: Lane, sync_id: int, claim: Claim, batch: Batch, call_id: str
    ) -> tuple[int, dict[str, int]]:
        started = self._clock()
        intent = Intent(
            id=call_id,
            kind="add_record",
            campaign_id=lane.campaign.id,
            quota_day=quota_day(started, self._rules.zone).isoformat(),
            budget=self._rules.budget,
            body_hash=self._ledger.hasher.body(batch.body),
            started_at=started,
            deadline_at=started + self._client.timeout_secs,
            lead_ids=batch.lead_ids,
            fingerprints=batch.fingerprints,
            persons=batch.persons,
        )
        return self._ledger.intend(self._term(), intent, sync_id=sync_id, seq=claim.seq, settlements=batch.settlements)

    def _heed(self, lane: Lane, verdict: Verdict, now: Instant) -> None:
        """Park what the reply concerns; after an acceptance, nothing is parked any more."""
        key = campaign_key(lane.campaign.id)
        if verdict.outcome in (Outcome.ACCEPTED, Outcome.ACCEPTED_IN_PART):
            self._parks.release(SENDER, key)
        elif verdict.parks is not Scope.NOTHING:
            key = SENDER if verdict.parks is Scope.SENDER else key
            slowest = _UNREACHABLE_SECS if verdict.outcome is Outcome.NOT_SENT else SLOWEST_SECS
            self._parks.park(key, now, verdict.park_secs, verdict.name, verdict.sentence, slowest=slowest)

    def _report(self, made: _Made, settled: Mapping[str, int]) -> DeliveryResult:
        lane, batch, exchange, verdict, ended = made.lane, made.batch, made.exchange, made.verdict, made.ended
        accepted = verdict.outcome in (Outcome.ACCEPTED, Outcome.ACCEPTED_IN_PART)
        refused = {error.position for error in verdict.errors}
        report = CallReport(
            call_id=made.call_id,
            sync=lane.sync,
            campaign_id=lane.campaign.id,
            leads=len(batch.lead_ids),
            verdict=verdict.name,
            outcome=verdict.outcome.value,
            http_status=exchange.status,
            seconds=exchange.seconds,
            sentence=verdict.sentence,
            error=exchange.error,
            waited=Counter(
                ended - at for place, at in enumerate(batch.captured_at) if accepted and place not in refused
            ),
        )
        parked = self._parks.waiting(ended, SENDER, campaign_key(lane.campaign.id))
        standing = Standing("sending", "Leads leave.") if parked is None else Standing("held", parked.sentence)
        return DeliveryResult(standing, ended, sync=lane.sync, settled=settled, call=report)


def _ending(verdict: Verdict, exchange: Exchange, batch: Batch, ended: Instant) -> Ending:
    states = {
        Outcome.ACCEPTED: (CallState.ACCEPTED, LeadState.DELIVERED),
        Outcome.ACCEPTED_IN_PART: (CallState.ACCEPTED_IN_PART, LeadState.DELIVERED),
        Outcome.REFUSED: (CallState.REFUSED, LeadState.PENDING),
        Outcome.NOT_SENT: (CallState.NOT_SENT, LeadState.PENDING),
        Outcome.UNKNOWN: (CallState.UNKNOWN, LeadState.HELD),
    }
    state, rest = states[verdict.outcome]
    refused: dict[int, RecordError] = {batch.lead_ids[error.position]: error for error in verdict.errors}
    return Ending(state, ended, exchange.status, verdict.name, verdict.sentence, rest, refused)


def _wait(state: str, reason: str, now: Instant, until: Instant | None) -> DeliveryResult:
    latest = now + LOOK_SECS
    return DeliveryResult(Standing(state, reason), latest if until is None else min(max(until, now), latest))


def _explain(decision: Decision, now: Instant) -> DeliveryResult:
    match decision.step:
        case Step.CLOSED:
            return _wait("closed", "Outside the hours of delivery.", now, decision.at)
        case Step.QUOTA_EXHAUSTED:
            return _wait("quota_exhausted", "The day's calls are used.", now, decision.at)
        case _:
            return _wait("sending", "Gathering leads for the next call.", now, decision.at)


def _sum(first: Mapping[str, int], second: Mapping[str, int]) -> dict[str, int]:
    return {state: first.get(state, 0) + second.get(state, 0) for state in {*first, *second}}


def new_call_id(now: Instant) -> str:
    """An id for a call: unique for ever, sorts by time, and short enough to type."""
    return f"{datetime.fromtimestamp(now, UTC):%y%m%d-%H%M%S}-{secrets.token_hex(3)}"
