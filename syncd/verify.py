"""Verification: settles calls whose outcome is not known, by asking wolkvox what it holds.

`Verifier.run_once` sees to one call at most. After a settle time it asks the cheapest question first: for a few leads
about each of them, and only where that does not find all, for an export of the campaign, which alone can say that a
lead is *not* there. A lead that is found is delivered; one that is absent, and absent again minutes later, is pending
once more; of the rest nothing is certain, and they stay held. Questions cost calls, and are counted like all others.

What was sent is not kept: the rows are read and mapped again, and a record counts only where its keyed hash is that of
the record which was sent. For a row that has changed since, the batch marker can tell all the same.

Mutable state, used by the delivery thread alone: which calls could not be asked about, and until when they wait.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal
from zoneinfo import ZoneInfo

from syncd.batch import Lane
from syncd.errors import CrmError, QuotaSpent
from syncd.holdings import Finding, find, find_unknown, loosely, read_holdings
from syncd.ledger import Findings, HeldLead, Ledger, OpenCall
from syncd.ledger.recovering import RECOVERED
from syncd.model import Clock, Exchange, Instant, Record, Rejection
from syncd.pacing import quota_resets_at
from syncd.questions import ask_counted, campaign_holdings, is_at_work, question
from syncd.states import LeadState, add_counts
from syncd.wolkvox import SERVER_SECS, Wolkvox

FEW = 3
"""Up to so many leads are asked about one by one; an export is one call, and large."""
PATIENCE = 3
"""After so many checks that left something unsure, `on_unresolved` decides."""
_FAILED_SECS = (60.0, 120.0, 300.0, 900.0, 3600.0)
"""How long a call waits that could not be asked about, by how often that was so."""
_MOST_DOUBLINGS = 5
_BLOCK = 2000


@dataclass(frozen=True, slots=True)
class VerifyRules:
    """What verification obeys, from the configuration."""

    verify_after_secs: float
    verify_again_secs: float
    on_unresolved: Literal["hold", "assume-delivered", "resend"]
    budget: int
    """Calls a day that syncd may start, the share of verification included."""
    concurrent_calls: int
    zone: ZoneInfo


@dataclass(frozen=True, slots=True)
class Question:
    """One call to wolkvox that asked what it holds."""

    kind: str
    answered: bool
    """Whether the reply was one that wolkvox gives: records, or that there are none."""
    seconds: float


@dataclass(frozen=True, slots=True)
class CheckReport:
    """One call that was looked into, for logs and metrics."""

    call_id: str
    sync: str
    questions: Sequence[Question]
    """Calls that it cost."""
    there: int
    absent: int
    unsure: int
    settled: Mapping[str, int]
    """Leads by the state that they went to."""
    sentence: str


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """What one turn did."""

    next_at: Instant | None
    """When there may be something to verify; None where nothing is unresolved."""
    report: CheckReport | None = None


@dataclass(slots=True)
class _Questions:
    """What one check has asked so far."""

    asked: list[Question] = field(default_factory=list)
    trouble: str = ""
    one_is_at_work: bool = False
    """Whether wolkvox may still be at work on the last."""


@dataclass(frozen=True, slots=True)
class _Failure:
    """A call that could not be asked about."""

    times: int
    """How often in a row it got no answer."""
    at: Instant
    until: Instant
    """Then it is asked about again."""


class Verifier:
    """Settles the unresolved calls of every lane.

    Args:
        term: gives the term of this process's lease.
        objection: says why the clock cannot be trusted, or None; may raise CrmError. Minutes between two absences are
            none where the clock has jumped.
    """

    def __init__(
        self,
        ledger: Ledger,
        lanes: Sequence[Lane],
        client: Wolkvox,
        rules: VerifyRules,
        term: Callable[[], int],
        clock: Clock,
        objection: Callable[[Clock], str | None] = lambda _clock: None,
    ) -> None:
        self._ledger = ledger
        self._lanes = {lane.sync: lane for lane in lanes}
        self._client = client
        self._rules = rules
        self._term = term
        self._clock = clock
        self._objection = objection
        # -- mutable --
        self._failed: dict[int, _Failure] = {}  # by call

    def run_once(self) -> VerifyResult:
        """Look into one unresolved call, if one is due.

        Raises:
            SenderDeposed: another process sends by now.
            LedgerError: the ledger does not answer.
        """
        now = self._clock()
        calls = [
            call
            for call in self._ledger.doubts.unresolved()
            if call.sync in self._lanes and not call.id.startswith(RECOVERED)  # nobody knows what those sent
        ]
        self._failed = {number: tries for number, tries in self._failed.items() if number in {c.number for c in calls}}
        if not calls:
            return VerifyResult(None)
        due = {call.number: self._due_at(call) for call in calls}
        call = min(calls, key=lambda call: due[call.number])
        if due[call.number] > now:
            return VerifyResult(due[call.number])
        busy = self._ledger.busy_until(now, self._rules.concurrent_calls, SERVER_SECS)
        if busy is not None:
            return VerifyResult(busy)
        return self._check(call, now)

    def _due_at(self, call: OpenCall) -> Instant:
        if call.checks == 0 or call.checked_at is None:
            done_at = max(call.ended_at, (call.left_at or call.started_at) + SERVER_SECS)
            at = done_at + self._rules.verify_after_secs
        else:
            at = call.checked_at + self._rules.verify_again_secs * 2 ** min(call.checks - 1, _MOST_DOUBLINGS)
        failure = self._failed.get(call.number)
        if failure is None or (call.checks == 0 and call.checked_at is not None and call.checked_at >= failure.at):
            return at  # nothing has failed, or somebody has asked for a check since
        return max(at, failure.until)

    # -- one call --------------------------------------------------------------------------------------------

    def _check(self, call: OpenCall, now: Instant) -> VerifyResult:
        lane = self._lanes[call.sync]
        held = self._ledger.doubts.held(call.number)
        questions = _Questions()
        times = self._failed[call.number].times if call.number in self._failed else 0
        try:
            if (doubt := self._objection(self._clock)) is not None:
                return self._put_off(call, times, now + _FAILED_SECS[0], questions, doubt)
            records, customers = self._records(lane, call, held)
            verdicts = self._ask(call, held, records, customers, questions)
        except CrmError as error:  # wolkvox was not asked: that is no check
            return self._put_off(call, times, now + _FAILED_SECS[min(times, 2)], questions, str(error))
        except QuotaSpent as error:
            until = min(now + _FAILED_SECS[-1], quota_resets_at(now, self._rules.zone))
            return self._put_off(call, times, until, questions, str(error))
        ended = self._clock()
        if verdicts is None:
            until = ended + _FAILED_SECS[min(times, len(_FAILED_SECS) - 1)]
            put_off = self._put_off(call, times + 1, until, questions, questions.trouble)
            if times + 1 < len(_FAILED_SECS):
                return put_off
            verdicts = {lead.id: Finding.UNSURE for lead in held}  # nobody answers for hours: that is a check, too
        else:
            self._failed.pop(call.number, None)
        settled = self._settle(lane, call, verdicts, ended)
        return VerifyResult(ended, _report(call, questions, verdicts, settled))

    def _put_off(
        self, call: OpenCall, times: int, until: Instant, questions: _Questions, sentence: str
    ) -> VerifyResult:
        now = self._clock()
        self._failed[call.number] = _Failure(times, now, until)
        questions.trouble = sentence
        return VerifyResult(now, _report(call, questions, {}, {}))

    def _settle(self, lane: Lane, call: OpenCall, verdicts: Mapping[int, Finding], now: Instant) -> dict[str, int]:
        there, absent, unsure = (
            [lead_id for lead_id, found in verdicts.items() if found is each]
            for each in (Finding.THERE, Finding.ABSENT, Finding.UNSURE)
        )
        findings = Findings(there, absent)
        doubts, resend = self._ledger.doubts, lane.resend_changed
        settled = doubts.note_check(
            call.number,
            findings,
            now,
            again_secs=self._rules.verify_again_secs,
            resend_changed=resend,
            term=self._term(),
        )
        if unsure and call.checks + 1 >= PATIENCE and self._rules.on_unresolved != "hold":
            policy = self._rules.on_unresolved
            state = LeadState.DELIVERED if policy == "assume-delivered" else LeadState.PENDING
            by = f'on_unresolved = "{policy}"'
            more = doubts.decide(
                call.number, state, now, by, resend_changed=resend, only=set(unsure), term=self._term()
            )
            settled = add_counts(settled, more)
        return settled

    def _records(self, lane: Lane, call: OpenCall, held: Sequence[HeldLead]) -> tuple[dict[int, Record], set[str]]:
        """What was sent, for the leads of which that can still be known, and whom to ask about."""
        by_key = {lead.key: lead for lead in held}
        # As of then, or a little before: a recall that was far enough ahead may be near by now.
        then = call.started_at - SERVER_SECS
        known, customers, keys = {}, set(), list(by_key)
        for begin in range(0, len(keys), _BLOCK):
            rows = lane.reader.read(keys[begin : begin + _BLOCK])
            for row, mapped in zip(rows, lane.map_many([row[1:] for row in rows], then), strict=True):
                lead = by_key[row[0]]
                if isinstance(mapped, Rejection):
                    continue
                if lead.print == self._ledger.hasher.record(mapped)[:8]:
                    known[lead.id] = {name: value for name, value in mapped.items() if value}
                    customers.add(loosely(mapped["customer_id"]))
        return known, customers

    def _ask(
        self,
        call: OpenCall,
        held: Sequence[HeldLead],
        records: Mapping[int, Record],
        customers: set[str],
        questions: _Questions,
    ) -> dict[int, Finding] | None:
        """What wolkvox has of each lead; None where it does not say."""
        marker = (call.marker, call.id) if call.marker is not None else None
        if not held:
            return {}
        # Of a lead that wolkvox had before, only the marker tells which call it is from.
        blurred = {lead.id for lead in held if lead.before and marker is None}
        if len(held) <= FEW and len(records) == len(held) and not blurred:
            there = self._ask_each(call, records, marker, questions)
            if len(there) == len(held):
                return there
            if questions.one_is_at_work:
                questions.trouble = "wolkvox did not answer."  # and may be at work on the question still
                return None
        ask = partial(self._question, questions)
        holdings, why = campaign_holdings(self._client, call.campaign_id, customers, marker, ask)
        if holdings is None:
            questions.trouble = f"wolkvox did not say what it holds: {why}."
            return None
        verdicts = {}
        for lead in held:
            asked = (holdings, marker, call.leads)
            found = find(records[lead.id], *asked) if lead.id in records else find_unknown(*asked)
            verdicts[lead.id] = Finding.UNSURE if lead.id in blurred and found is Finding.THERE else found
        return verdicts

    def _ask_each(
        self, call: OpenCall, records: Mapping[int, Record], marker: tuple[str, str] | None, questions: _Questions
    ) -> dict[int, Finding]:
        """The leads that asking one by one finds, up to the first that it does not."""
        there = {}
        for lead_id, record in records.items():
            customer = record["customer_id"]
            ask = partial(self._client.find_record, call.campaign_id, customer)
            exchange = self._question(questions, "find_record", ask)
            body = exchange.body if exchange.status == 200 else b""
            found = read_holdings(body, {loosely(customer)}, marker=marker, campaign_id=None)
            if found is None or find(record, found, marker, call.leads) is not Finding.THERE:
                break
            there[lead_id] = Finding.THERE
        return there

    def _question(self, questions: _Questions, kind: str, ask: Callable[[], Exchange]) -> Exchange:
        """Ask, and count the call."""
        started = self._clock()
        rules, secs = self._rules, self._client.timeout_secs
        intent = question(kind, started, zone=rules.zone, budget=rules.budget, timeout_secs=secs)
        exchange = ask_counted(self._ledger, self._term(), intent, ask, self._clock, "verification")
        questions.asked.append(Question(kind, exchange.status in (200, 404), exchange.seconds))
        questions.one_is_at_work = is_at_work(exchange)
        return exchange


def _report(
    call: OpenCall, questions: _Questions, verdicts: Mapping[int, Finding], settled: Mapping[str, int]
) -> CheckReport:
    found = Counter(verdicts.values())
    there, absent, unsure = (found[each] for each in (Finding.THERE, Finding.ABSENT, Finding.UNSURE))
    return CheckReport(call.id, call.sync, questions.asked, there, absent, unsure, settled, questions.trouble)
