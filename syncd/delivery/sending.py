"""The delivery loop: from the ledger to wolkvox.

`Delivery.run_once` spends at most one call: it asks `pacing` whether to, claims leads, prepares their batch, commits
the intent, posts it once, judges the reply, and commits the outcome. Whatever goes wrong between the intent and the
outcome leaves the call ``intended``; the next start holds its leads, for nobody knows whether they were taken.

Mutable state, used by the delivery thread alone (others read `standing`, which is replaced whole): what is
parked, and which refused calls are being taken apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from syncd.batch import Batch, Lane, prepare
from syncd.delivery.gates import ClockGate, pause_of
from syncd.delivery.isolating import Isolation
from syncd.delivery.made import Made
from syncd.delivery.queues import Queue, claim, queues_of, send_on
from syncd.delivery.results import PAUSED_LOOK_SECS, DeliveryResult, Rules, Standing, explain, wait
from syncd.errors import CrmError, QuotaSpent
from syncd.ledger import Claim, Ending, Intent, Ledger, new_call_id
from syncd.ledger.ledger import Waiting
from syncd.model import Clock, Exchange, Instant, Quota, RecordError
from syncd.pacing import Situation, Step, decide, quota_day, quota_resets_at
from syncd.parking import SENDER, SLOWEST_SECS, Parks, campaign_key, sync_key
from syncd.questions import FROZEN_SECS
from syncd.replies import Outcome, Scope, Verdict, judge
from syncd.states import CallState, LeadState, add_counts
from syncd.witness import Guard
from syncd.wolkvox import SERVER_SECS, Wolkvox

_CRM_PARK_SECS = 15.0
_BUSY_SECS = 2.0
_UNREACHABLE_SECS = 300.0
"""The longest wait for what cannot be reached: it may come back at any moment, and leads go cold."""
_FROZEN_PARK_SECS = 5.0
"""The first wait after that; where it happens again and again, each costs a call."""
_FROZEN_VERDICT = Verdict(
    "frozen",
    Outcome.NOT_SENT,
    (),
    Scope.SENDER,
    _FROZEN_PARK_SECS,
    "syncd stood still, or its clock jumped, between preparing a call and making it; nothing was sent.",
    "",
)

_NOTHING = Exchange(sent=False, status=None, body=b"", error="", seconds=0.0)
"""A call that was not made."""


class Delivery:
    """Sends the leads of every lane, one call at a time.

    Args:
        term: gives the term of this process's lease.
        clock_gate: tells whether the clock can be trusted; None trusts it.
        guard: tells whether the ledger can be trusted; None trusts it.
    """

    def __init__(
        self,
        ledger: Ledger,
        lanes: Sequence[Lane],
        client: Wolkvox,
        rules: Rules,
        term: Callable[[], int],
        clock: Clock,
        clock_gate: ClockGate | None = None,
        guard: Guard | None = None,
    ) -> None:
        self._ledger = ledger
        self._lanes = list(lanes)
        self._client = client
        self._rules = rules
        self._term = term
        self._clock = clock
        self._clock_gate = clock_gate
        self._guard = guard
        # -- mutable --
        self._parks = Parks(lambda now: quota_resets_at(now, rules.zone))
        self._isolation = Isolation(ledger, self._parks)
        self._routed: set[int] = set()  # syncs whose leads were forgotten to go anywhere: the rule may be new
        self._surges: list[tuple[str, str]] = []  # syncs that were paused just now, and why
        self._made: Made | None = None  # the call whose outcome the ledger has not taken yet
        self._doubtful: str | None = None  # the id of a call of which nobody knows whether its intent is committed
        self.standing = Standing("idle", "Nothing waits.")
        self.distrusts_ledger = False
        """Whether the last turn found a ledger that must not be sent from."""

    def run_once(self) -> DeliveryResult:
        """Spend a call if that is right now; else say when to ask again.

        Raises:
            SenderDeposed: another process sends by now.
            LedgerError: the ledger does not answer. The outcome of a call that was made is kept, and written
                before anything else is done.
        """
        if self._doubtful is not None:
            self._ledger.never_sent(self._term(), self._doubtful, self._clock())
            self._doubtful = None
        result = self._turn(self._clock()) if self._made is None else self._settle(self._made)
        self.standing = result.standing
        result, self._surges = replace(result, surges=self._surges), []
        return result

    def quota(self) -> Quota:
        """Today's budget, as counted from intents."""
        now = self._clock()
        used = self._ledger.calls_started(quota_day(now, self._rules.zone).isoformat())
        rules = self._rules
        return Quota(rules.daily_limit, used, rules.reserve_calls, quota_resets_at(now, rules.zone))

    # -- deciding --------------------------------------------------------------------------------------------

    def _turn(self, now: Instant) -> DeliveryResult:
        objection = self._guard.objection() if self._guard is not None else None
        self.distrusts_ledger = objection is not None
        if objection is not None:
            return wait("held", objection, now, None)
        queues = self._queues(now)
        if not queues:
            return wait("idle", "Nothing waits.", now, None)
        if (parked := self._parks.waiting(now, SENDER)) is not None:
            state = "quota_exhausted" if parked.verdict == "quota-spent" else "held"
            return wait(state, parked.sentence, now, parked.until)
        busy = self._ledger.busy_until(now, self._rules.concurrent_calls, SERVER_SECS)
        if busy is not None:
            # It may be a `syncd check` that ends in a second: look again soon.
            soon = min(busy, now + _BUSY_SECS)
            return wait("waiting", "An unanswered call may still be at work in wolkvox.", now, soon)
        shared = self._shared_situation(now)
        steps: list[DeliveryResult] = []
        for queue in queues:
            if (step := self._obstacle(queue.lane, queue.sync_id, queue.load, now)) is None:
                decision = decide(self._situation(queue.lane, queue.load, shared))
                if decision.step is Step.SEND:
                    return self._send_on(queue, now) or self._send(queue.lane, queue.sync_id, now, queue.load.pending)
                step = explain(decision, now)
            steps.append(step)
        # A pause is the state of the whole only where nothing else waits.
        foremost = min(steps, key=lambda step: (step.standing.state == "paused", step.next_at))
        return replace(foremost, next_at=min(step.next_at for step in steps))

    def _queues(self, now: Instant) -> list[Queue]:
        """What waits, those first who have waited longest; rows that were there at the start come last."""
        found: list[Queue] = []
        for lane in self._lanes:
            sync_id = self._ledger.register(lane.sync, now)
            if lane.route is not None and sync_id not in self._routed:
                self._ledger.routing.forget(sync_id)
                self._routed.add(sync_id)
            found += queues_of(self._ledger, lane, sync_id)
        return sorted(found, key=lambda queue: (not queue.load.fresh, queue.load.oldest_at or now))

    def _send_on(self, queue: Queue, now: Instant) -> DeliveryResult | None:
        """Ask where leads go of which that is not known, before a call that they may ride along with leaves."""
        lane = queue.unrouted
        full = queue.load.pending >= self._rules.batch_size or self._isolation.is_under_way(queue.lane.name)
        if lane is None or (full and not queue.is_unrouted):
            return None
        try:
            settled = send_on(self._ledger, lane, queue.sync_id, self._rules.batch_size, now)
        except CrmError as error:
            return self._crm_trouble(lane, error, now)
        return DeliveryResult(Standing("sending", "Leads leave."), now, sync=lane.sync, settled=settled)

    def _obstacle(self, lane: Lane, sync_id: int, load: Waiting, now: Instant) -> DeliveryResult | None:
        """What keeps a lane's leads from being sent, beside pacing."""
        paused, is_new = pause_of(lane, self._ledger, sync_id, now)
        if paused is not None:
            if is_new:
                self._surges.append((lane.sync, paused))
            return wait("paused", paused, now, now + PAUSED_LOOK_SECS)
        key = campaign_key(lane.campaign.id)
        parked = self._parks.waiting(now, key, sync_key(lane.sync))
        if parked is None or self._isolation.wants_company(lane.name, lane.campaign.id, load.pending):
            return None
        return wait("held", f"{lane.sync}: {parked.sentence}", now, parked.until)

    def _shared_situation(self, now: Instant) -> Situation:
        rules, quota = self._rules, self.quota()
        return Situation(
            now=now,
            pending=0,
            oldest_at=None,
            batch_size=rules.batch_size,
            max_wait_secs=rules.max_wait_secs,
            calls_left=max(0, quota.remaining - rules.verify_calls),
            last_call_at=self._ledger.last_call_at(),
            opens_at=rules.hours.next_open(now, rules.zone, rules.closed_on),
            open_secs_left=rules.hours.open_secs(now, quota.resets_at, rules.zone, rules.closed_on),
            resets_at=quota.resets_at,
        )

    def _situation(self, lane: Lane, load: Waiting, shared: Situation) -> Situation:
        # What waits for a poisoned neighbour has waited long enough: as a full batch, it leaves at once.
        pending = max(load.pending, shared.batch_size) if self._isolation.is_under_way(lane.name) else load.pending
        return replace(shared, pending=pending, oldest_at=load.oldest_at)

    # -- sending ---------------------------------------------------------------------------------------------

    def _send(self, lane: Lane, sync_id: int, now: Instant, pending: int) -> DeliveryResult:
        call_id = new_call_id(now)
        try:
            if self._clock_gate is not None and (objection := self._clock_gate.objection(self._clock)) is not None:
                return wait("held", objection, now, None)
            claimed = self._claim(lane, sync_id)
            batch = prepare(lane, self._ledger, sync_id, claimed, call_id, now)
        except CrmError as error:
            return self._crm_trouble(lane, error, now)
        self._ledger.routing.note(sync_id, claimed.seq, batch.elsewhere)
        self._parks.release(sync_key(lane.sync))
        if not batch.lead_ids:
            settled = self._ledger.settle_unsent(sync_id, claimed.seq, batch.settlements, now)
            self._isolation.nothing_sent(lane.name)
            settled = add_counts(settled, self._isolation.end(lane.name, lane.campaign.id, sync_id, now))
            return DeliveryResult(Standing("sending", "Leads leave."), now, sync=lane.sync, settled=settled)
        try:
            number, started, settled = self._commit_intent(lane, sync_id, claimed, batch, call_id)
        except QuotaSpent as error:
            return wait("quota_exhausted", str(error), now, quota_resets_at(now, self._rules.zone))
        exchange, verdict = self._post(lane, batch, number, call_id, started)
        ended = self._clock()
        self._made = made = Made(
            lane, sync_id, claimed.seq, batch, exchange, verdict, call_id, number, ended, settled, pending
        )
        self._heed(lane, made)
        return self._settle(made)

    def _crm_trouble(self, lane: Lane, error: CrmError, now: Instant) -> DeliveryResult:
        self._parks.park(sync_key(lane.sync), now, _CRM_PARK_SECS, "crm", str(error), slowest=_UNREACHABLE_SECS)
        return DeliveryResult(Standing("held", f"{lane.sync}: {error}"), now + 1, sync=lane.sync, trouble=error)

    def _claim(self, lane: Lane, sync_id: int) -> Claim:
        if (part := self._isolation.next_part(lane.name)) is not None:
            return self._ledger.claim_these(sync_id, part)
        # After a refusal, one lead goes first: it asks the same question as a full batch, and risks less.
        on_trial = self._parks.on_trial(campaign_key(lane.campaign.id)) and not self._isolation.is_blamed(
            lane.campaign.id
        )
        on_trial = on_trial or self._parks.on_trial(SENDER)
        return claim(self._ledger, lane, sync_id, 1 if on_trial else self._rules.batch_size)

    def _post(self, lane: Lane, batch: Batch, number: int, call_id: str, started: Instant) -> tuple[Exchange, Verdict]:
        """Post it once; not at all where no witness can be had, or this process was frozen since its intent."""
        day = quota_day(started, self._rules.zone).isoformat()
        if self._guard is not None and (unwritten := self._guard.note(number, call_id, day)) is not None:
            return _NOTHING, replace(_FROZEN_VERDICT, name="no-witness", sentence=unwritten)
        if abs(self._clock() - started) > FROZEN_SECS:
            return _NOTHING, _FROZEN_VERDICT
        exchange = self._client.add_record(lane.campaign, batch.body)
        return exchange, judge(exchange, len(batch.lead_ids))

    def _settle(self, made: Made) -> DeliveryResult:
        """Write the outcome of a call that was made; where the ledger cannot take it, the next turn begins with it."""
        ending = _ending(made.verdict, made.exchange, made.batch, made.ended)
        after = self._ledger.finish(made.number, ending, resend_changed=made.lane.resend_changed)
        self._made = None
        condemned = self._isolation.end(made.lane.name, made.lane.campaign.id, made.sync_id, made.ended)
        return self._report(made, add_counts(add_counts(made.settled, after), condemned))

    def _commit_intent(
        self, lane: Lane, sync_id: int, claimed: Claim, batch: Batch, call_id: str
    ) -> tuple[int, Instant, dict[str, int]]:
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
            signs=batch.signs,
            forget_before=started - max(lane.dedupe_secs for lane in self._lanes),
            prints=batch.prints,
            marker=lane.marker,
        )
        term = self._term()
        self._doubtful = call_id  # the commit may be done, and its answer be lost
        try:
            number, settled = self._ledger.intend(
                term, intent, sync_id=sync_id, seq=claimed.seq, settlements=batch.settlements
            )
        except QuotaSpent:
            self._doubtful = None
            raise
        self._doubtful = None
        return number, started, settled

    def _heed(self, lane: Lane, made: Made) -> None:
        """Park what the reply concerns; after an acceptance, nothing is parked any more."""
        verdict, now = made.verdict, made.ended
        key = campaign_key(lane.campaign.id)
        if verdict.outcome in (Outcome.ACCEPTED, Outcome.ACCEPTED_IN_PART):
            self._parks.release(SENDER, key)
        if self._isolation.heed(lane, made.sync_id, made.batch.lead_ids, made.seq, verdict, made.pending):
            return
        if verdict.parks is not Scope.NOTHING:
            key = SENDER if verdict.parks is Scope.SENDER else key
            slowest = _UNREACHABLE_SECS if verdict.outcome is Outcome.NOT_SENT else SLOWEST_SECS
            self._parks.park(key, now, verdict.park_secs, verdict.name, verdict.sentence, slowest=slowest)

    def _report(self, made: Made, settled: Mapping[str, int]) -> DeliveryResult:
        lane, ended = made.lane, made.ended
        parked = self._parks.waiting(ended, SENDER, campaign_key(lane.campaign.id))
        standing = Standing("sending", "Leads leave.") if parked is None else Standing("held", parked.sentence)
        return DeliveryResult(standing, ended, sync=lane.sync, settled=settled, call=made.report())


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
    left_at = exchange.left_by(ended) if verdict.outcome is Outcome.UNKNOWN else None
    return Ending(state, ended, exchange.status, verdict.name, verdict.sentence, rest, refused, left_at)
