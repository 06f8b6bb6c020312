"""The ledger against a model of it in a page of plain Python, in any interleaving of what loops and operators do."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from syncd.errors import LedgerError, QuotaSpent, SenderDeposed
from syncd.ledger import Claim, Ending, Intent, Lease, Ledger
from syncd.model import Change, RecordError, Rejection, Settlement
from syncd.states import TRANSITIONS, CallState, LeadState
from tests.support.effort import examples
from tests.support.ledgers import NOON, rows

KEYS = "abcdef"
UNSENT = ("withdrawn", "expired", "duplicate", "unchanged", "rejected")
ENDS = {
    CallState.ACCEPTED: LeadState.DELIVERED,
    CallState.ACCEPTED_IN_PART: LeadState.DELIVERED,
    CallState.REFUSED: LeadState.PENDING,
    CallState.NOT_SENT: LeadState.PENDING,
    CallState.UNKNOWN: LeadState.HELD,
}
BUDGET = 6
_numbers = itertools.count(1)


@dataclass
class Lead:
    """What the model knows of a lead."""

    state: str = "pending"
    version: str = ""
    seq: int = 0
    changed: bool = False
    call: int | None = None


@dataclass
class Call:
    """What the model knows of a call."""

    state: str
    started_at: float
    keys: list[str] = field(default_factory=list)


class LedgerMachine(RuleBasedStateMachine):
    """Each example is a sync and a time of its own in one ledger, which saves making tables anew."""

    ledger: Ledger
    lease: Lease

    @initialize(resend=st.booleans())
    def begin(self, *, resend: bool) -> None:
        self.number = next(_numbers)
        self.now = NOON + self.number * 1e6
        self.resend = resend
        self.sync_id = self.ledger.register(f"sync-{self.number}", self.now)
        self.day = f"day-{self.number}"
        self.leads: dict[str, Lead] = {}
        self.calls: dict[int, Call] = {}
        self.seq = 0
        self.watermark: str | None = None
        self.claim: Claim | None = None
        self.before: dict[str, str] = {}

    # -- what intake does ------------------------------------------------------------------------------------

    @rule(
        changes=st.dictionaries(st.sampled_from(KEYS), st.sampled_from("123"), max_size=4),
        reached=st.none() | st.sampled_from("xyz"),
    )
    def capture(self, changes: dict[str, str], reached: str | None) -> None:
        new = again = 0
        self.seq += 1
        for key, version in changes.items():
            lead = self.leads.get(key)
            if lead is None:
                self.leads[key] = Lead(version=version, seq=self.seq)
                new += 1
            elif lead.version != version:
                lead.version, lead.seq = version, self.seq
                if lead.state in ("sending", "held"):
                    lead.changed = True
                elif lead.state in ("delivered", "unchanged") and not self.resend:
                    pass
                elif lead.state != "pending":
                    lead.state, lead.call = "pending", None
                    again += 1
        self.watermark = reached or self.watermark
        captured = self.ledger.capture(
            self.sync_id, [Change(*item) for item in changes.items()], reached, self.now, resend_changed=self.resend
        )
        assert (captured.new, captured.again, captured.seen) == (new, again, len(changes))

    # -- what delivery does ----------------------------------------------------------------------------------

    @rule(limit=st.integers(1, 6))
    def look(self, limit: int) -> None:
        self.claim = self.ledger.claim(self.sync_id, limit)
        pending = {key for key, lead in self.leads.items() if lead.state == "pending"}
        assert {lead.key for lead in self.claim.leads} <= pending
        assert len(self.claim.leads) == min(limit, len(pending))
        assert self.claim.seq == self.seq

    @precondition(lambda self: self.claim is not None)
    @rule(state=st.sampled_from(UNSENT), data=st.data())
    def settle_unsent(self, state: str, data: st.DataObject) -> None:
        assert self.claim is not None
        chosen = [lead for lead in self.claim.leads if data.draw(st.booleans())]
        why = Rejection("tel1", "phone", "Too short.") if state == "rejected" else None
        moved = [key for key in (lead.key for lead in chosen) if self._may_settle(key)]
        for key in moved:
            self.leads[key].state = state
        settlements = [Settlement(lead.id, state, why) for lead in chosen]
        settled = self.ledger.settle_unsent(self.sync_id, self.claim.seq, settlements, self.now)
        assert sum(settled.values()) == len(moved)

    def _may_settle(self, key: str) -> bool:
        assert self.claim is not None
        return self.leads[key].state == "pending" and self.leads[key].seq <= self.claim.seq

    @precondition(lambda self: self.claim is not None and self.claim.leads)
    @rule(data=st.data(), stale=st.booleans())
    def intend(self, data: st.DataObject, *, stale: bool) -> None:
        assert self.claim is not None
        chosen = [lead for lead in self.claim.leads if data.draw(st.booleans())] or list(self.claim.leads[:1])
        assert self.lease.term is not None
        term = self.lease.term - 1 if stale else self.lease.term
        call_id = f"{self.number}-{next(_numbers)}"
        ids = [lead.id for lead in chosen]
        intent = Intent(call_id, "add_record", "1", self.day, BUDGET, None, self.now, self.now + 75, ids)
        pending = all(self.leads[lead.key].state == "pending" for lead in chosen)
        expected: type[Exception] | None
        expected = SenderDeposed if stale else QuotaSpent if len(self.calls) >= BUDGET else None
        if expected is None and not pending:
            expected = LedgerError
        if expected is not None:
            with pytest.raises(expected):
                self.ledger.intend(term, intent, sync_id=self.sync_id, seq=self.claim.seq)
            return
        number, _ = self.ledger.intend(term, intent, sync_id=self.sync_id, seq=self.claim.seq)
        self.calls[number] = Call("intended", self.now, [lead.key for lead in chosen])
        for claimed in chosen:
            lead = self.leads[claimed.key]
            lead.state, lead.call, lead.changed = "sending", number, lead.seq > self.claim.seq

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), end=st.sampled_from(list(ENDS)))
    def finish(self, data: st.DataObject, end: CallState) -> None:
        """The reply of a call, or, for one that is held, a verification or an operator's word."""
        number = data.draw(st.sampled_from(sorted(self.calls)))
        call, rest = self.calls[number], ENDS[end]
        ids = {key: row["id"] for key, row in self._rows().items()}
        refused: list[str] = []
        if end in (CallState.ACCEPTED_IN_PART, CallState.REFUSED):
            refused = [key for key in call.keys if data.draw(st.booleans())]
        errors = {ids[key]: RecordError(place, "bad") for place, key in enumerate(refused)}
        self.now += 1
        ending = Ending(end, self.now, None, "verdict", "A sentence.", rest, errors)  # type: ignore[arg-type]  # ids
        if call.state not in ("intended", "unknown"):
            with pytest.raises(LedgerError):
                self.ledger.finish(number, ending, resend_changed=self.resend)
            return
        call.state = end
        counts: dict[str, int] = {}
        for key in call.keys:
            after = self._after(self.leads[key], "rejected" if key in refused else rest.value)
            counts[after] = counts.get(after, 0) + 1
        settled = self.ledger.finish(number, ending, resend_changed=self.resend)
        assert {state: leads for state, leads in settled.items() if leads} == counts

    def _after(self, lead: Lead, state: str) -> str:
        if state == "held":
            lead.state = "held"
            return state
        resend = lead.changed and (state != "delivered" or self.resend)
        lead.state, lead.changed = "pending" if resend else state, False
        if lead.state == "pending":
            lead.call = None
        return lead.state

    # -- what a start does -----------------------------------------------------------------------------------

    @rule()
    def start_again(self) -> None:
        assert self.lease.term is not None
        given_up = self.ledger.give_up_intended(self.lease.term, self.now)
        lost = [call for call in self.calls.values() if call.state == "intended"]
        assert sorted(leads for _, leads in given_up) == sorted(len(call.keys) for call in lost)
        for call in lost:
            call.state = "unknown"
            for key in call.keys:
                self.leads[key].state = "held"

    @rule()
    def take_over(self) -> None:
        self.lease.release()
        assert self.lease.acquire()

    @rule(secs=st.sampled_from([1.0, 30.0, 60.0]))
    def time_passes(self, secs: float) -> None:
        self.now += secs

    # -- what must always hold -------------------------------------------------------------------------------

    def _rows(self) -> dict[str, dict[str, object]]:
        return rows(self.ledger, self.sync_id)

    @invariant()
    def every_lead_is_where_the_model_has_it(self) -> None:
        found = self._rows()
        assert set(found) == set(self.leads), "nothing is forgotten, nothing is made up"
        for key, lead in self.leads.items():
            row = found[key]
            assert (row["state"], row["version"], row["changed"]) == (lead.state, lead.version, int(lead.changed))
            if lead.state in ("sending", "held", "delivered"):
                assert row["call_n"] == lead.call
        self.now += 0.001
        for key, state in self.before.items():
            after = LeadState(self.leads[key].state)
            assert after == state or after in TRANSITIONS[LeadState(state)], f"{state} -> {after}"
        self.before = {key: lead.state for key, lead in self.leads.items()}

    @invariant()
    def the_counts_are_right(self) -> None:
        assert self.ledger.tally() == self.ledger.recount()
        assert self.ledger.calls_started(self.day) == len(self.calls) <= BUDGET
        assert self.ledger.position(self.sync_id).watermark == self.watermark

    @invariant()
    def calls_in_flight_are_counted(self) -> None:
        open_at = sorted(
            call.started_at
            for call in self.calls.values()
            if call.state in ("intended", "unknown") and call.started_at > self.now - 60
        )
        for places in (1, 2):
            expected = open_at[-places] + 60 if len(open_at) >= places else None
            assert self.ledger.busy_until(self.now, places, 60) == expected

    def teardown(self) -> None:
        if hasattr(self, "calls"):
            assert self.lease.term is not None
            self.ledger.give_up_intended(self.lease.term, self.now)


def test_the_ledger_does_what_its_model_does(ledger: Ledger) -> None:
    lease = Lease(ledger.home, lambda: NOON, "machine")
    assert lease.acquire()
    machine = type("Machine", (LedgerMachine,), {"ledger": ledger, "lease": lease})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples(15),
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
    lease.release()
