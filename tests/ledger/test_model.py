"""The ledger against a model of it in a page of plain Python, in any interleaving of what loops and operators do."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
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
from sqlalchemy import select

from syncd.errors import LedgerError, QuotaSpent, SenderDeposed, UnknownName
from syncd.ledger import Claim, Ending, Findings, Intent, Lease, Ledger
from syncd.ledger import schema as table
from syncd.ledger.acts import RETRIED
from syncd.ledger.calls import LEAVES_SECS
from syncd.ledger.resolving import pack_prints
from syncd.model import Change, RecordError, Rejection, Settlement, Sign, Twin
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
AGAIN_SECS = 60.0
"""Two absences must be so far apart."""
SIGNS = {key: {Sign("tel", number // 2), Sign("email", number % 3)} for number, key in enumerate(KEYS)}
"""By what the leads are recognised: each shares its telephone with another, and its address with yet another."""
FORGET_SECS = 50.0
_numbers = itertools.count(1)


@dataclass
class Lead:
    """What the model knows of a lead."""

    state: str = "pending"
    version: str = ""
    seq: int = 0
    changed: bool = False
    call: int | None = None
    absent_at: float | None = None
    twin: str | None = None
    """duplicate: of whom."""
    fingerprint: bytes | None = None
    delivered: bytes | None = None
    """The fingerprint that was delivered last."""


@dataclass
class Call:
    """What the model knows of a call."""

    state: str
    started_at: float
    id: str = ""
    keys: list[str] = field(default_factory=list)
    checks: int = 0
    found: int = 0
    """Leads that were later seen to be in wolkvox."""
    by: str | None = None
    """Who resolved it."""
    left_at: float | None = None
    """By when its request had left, where it was not answered."""


class LedgerMachine(RuleBasedStateMachine):
    """Each example is a sync and a time of its own in one ledger, which saves making tables anew."""

    ledger: Ledger
    lease: Lease

    @initialize(resend=st.booleans())
    def begin(self, *, resend: bool) -> None:
        self.number = next(_numbers)
        self.now = NOON + self.number * 1e6
        self.resend = resend
        self.name = f"sync-{self.number}"
        self.sync_id = self.ledger.register(self.name, self.now)
        self.day = f"day-{self.number}"
        self.leads: dict[str, Lead] = {}
        self.calls: dict[int, Call] = {}
        self.called: set[tuple[str, int]] = set()
        """Leads and the calls that wolkvox has taken them by, or may have."""
        self.seq = 0
        self.watermark: str | None = None
        self.claim: Claim | None = None
        self.before: dict[str, str] = {}
        self.paused: str | None = None
        self.acts = len(self.ledger.doubts.acts(10_000))

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
                    lead.state, lead.call, lead.absent_at, lead.twin = "pending", None, None, None
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
        twins: dict[str, tuple[str, int]] = {}
        if state == "duplicate" and self.calls:
            # Some twins were let go since they were looked for, or are of a call that never had them.
            them = st.tuples(st.sampled_from(sorted(self.leads)), st.sampled_from(sorted(self.calls)))
            them = them | st.sampled_from(sorted(self.called)) if self.called else them
            twins = {lead.key: data.draw(them) for lead in chosen if data.draw(st.booleans())}
        moved = [
            lead.key
            for lead in chosen
            if self._may_settle(lead.key) and (lead.key not in twins or twins[lead.key] in self.called)
        ]
        for key in moved:
            self.leads[key].state = state
            self.leads[key].twin = twins[key][0] if key in twins else None
        ids = dict(zip(self.leads, self._ids(self.leads), strict=True))
        settlements = [
            Settlement(
                lead.id, state, why, Twin(ids[twins[lead.key][0]], twins[lead.key][1]) if lead.key in twins else None
            )
            for lead in chosen
        ]
        settled = self.ledger.settle_unsent(self.sync_id, self.claim.seq, settlements, self.now)
        assert sum(settled.values()) == len(moved)

    def _may_settle(self, key: str) -> bool:
        assert self.claim is not None
        return self.leads[key].state == "pending" and self.leads[key].seq <= self.claim.seq

    @precondition(lambda self: self.claim is not None and self.claim.leads)
    @rule(data=st.data(), stale=st.booleans(), forgets=st.booleans())
    def intend(self, data: st.DataObject, *, stale: bool, forgets: bool) -> None:
        assert self.claim is not None
        chosen = [lead for lead in self.claim.leads if data.draw(st.booleans())] or list(self.claim.leads[:1])
        assert self.lease.term is not None
        term = self.lease.term - 1 if stale else self.lease.term
        call_id = f"{self.number}-{next(_numbers)}"
        ids = [lead.id for lead in chosen]
        prints = {lead.id: f"{call_id} {lead.key}".encode() for lead in chosen} if self.resend else {}
        intent = Intent(
            call_id,
            "add_record",
            "1",
            self.day,
            BUDGET,
            None,
            self.now,
            self.now + 75,
            ids,
            fingerprints=prints,
            signs={lead.id: SIGNS[lead.key] for lead in chosen},
            forget_before=self.now - FORGET_SECS if forgets else None,
            prints=pack_prints({lead.id: lead.key.encode() * 16 for lead in chosen}),
        )
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
        self.calls[number] = Call("intended", self.now, call_id, [lead.key for lead in chosen])
        for claimed in chosen:
            lead = self.leads[claimed.key]
            lead.state, lead.call, lead.changed = "sending", number, lead.seq > self.claim.seq
            lead.fingerprint = prints.get(claimed.id)
        self.called |= {(lead.key, number) for lead in chosen}
        if forgets:
            old = {n for n, call in self.calls.items() if call.started_at < self.now - FORGET_SECS}
            self.called -= {(key, n) for key, n in self.called if n in old and not self._is_on_the_way(key, n)}

    def _is_on_the_way(self, key: str, number: int) -> bool:
        return self.leads[key].state in ("sending", "held") and self.leads[key].call == number

    def _let_go(self, number: int, keys: list[str]) -> int:
        """wolkvox has not taken these leads: their duplicates wait again; how many."""
        self.called -= {(key, number) for key in keys}
        twins = [lead for lead in self.leads.values() if lead.state == "duplicate" and lead.twin in keys]
        for lead in twins:
            lead.state, lead.twin = "pending", None
        return len(twins)

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def never_sent(self, data: st.DataObject) -> None:
        """The answer to an intent's commit was lost: its call is not made, if it was written down at all."""
        call = self.calls[data.draw(st.sampled_from(sorted(self.calls)))]
        assert self.lease.term is not None
        with pytest.raises(SenderDeposed):
            self.ledger.never_sent(self.lease.term - 1, call.id, self.now)
        self.ledger.never_sent(self.lease.term, call.id, self.now)
        self.ledger.never_sent(self.lease.term, "written by nobody", self.now)
        if call.state == "intended":
            call.state = "not_sent"
            number = next(n for n, each in self.calls.items() if each is call)
            keys = self._in_flight(number)
            for key in keys:
                self._after(self.leads[key], "pending")
            self._let_go(number, keys)

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
        left_at = self.now - 0.5 if end is CallState.UNKNOWN else None
        ending = Ending(end, self.now, None, "verdict", "A sentence.", rest, errors, left_at)  # type: ignore[arg-type]  # ids
        if call.state not in ("intended", "unknown"):
            with pytest.raises(LedgerError):
                self.ledger.finish(number, ending, resend_changed=self.resend)
            return
        call.state, call.left_at = end, left_at
        counts: dict[str, int] = {}
        flying = self._in_flight(number)
        for key in flying:
            after = self._after(self.leads[key], "rejected" if key in refused else rest.value)
            counts[after] = counts.get(after, 0) + 1
        if twins := self._let_go(number, [key for key in flying if key in refused or rest is LeadState.PENDING]):
            counts["pending"] = counts.get("pending", 0) + twins
        settled = self.ledger.finish(number, ending, resend_changed=self.resend)
        assert {state: leads for state, leads in settled.items() if leads} == counts

    def _in_flight(self, number: int) -> list[str]:
        return [key for key, lead in self.leads.items() if lead.call == number and lead.state in ("sending", "held")]

    def _after(self, lead: Lead, state: str) -> str:
        if state == "held":
            lead.state = "held"
            return state
        resend = lead.changed and (state != "delivered" or self.resend)
        lead.state, lead.changed, lead.absent_at = "pending" if resend else state, False, None
        if state == "delivered":
            lead.delivered = lead.fingerprint
        else:
            lead.fingerprint = lead.delivered
        if lead.state == "pending":
            lead.call = None
        return lead.state

    # -- what verification and people do ---------------------------------------------------------------------

    def _unknown(self) -> list[int]:
        return sorted(number for number, call in self.calls.items() if call.state == "unknown")

    def _ids(self, keys: Iterable[str]) -> list[int]:
        found = self._rows()
        return [found[key]["id"] for key in keys]  # type: ignore[misc]  # numbers

    def _release(self, number: int, keys: list[str]) -> int:
        """Leads go back, and those that were left out as their duplicates; how many of both."""
        for key in keys:
            lead = self.leads[key]
            lead.state, lead.call, lead.changed, lead.absent_at = "pending", None, False, None
            lead.fingerprint = lead.delivered
        return len(keys) + self._let_go(number, keys)

    def _close(self, number: int, by: str) -> None:
        call = self.calls[number]
        if not self._in_flight(number):
            whole, some = call.found >= len(call.keys), call.found > 0
            call.state, call.by = "accepted" if whole else "accepted_in_part" if some else "refused", by

    @precondition(lambda self: self._unknown())
    @rule(data=st.data(), stale=st.booleans())
    def note_check(self, data: st.DataObject, *, stale: bool) -> None:
        """wolkvox was asked: some leads are there, some are not, and of some nothing is certain."""
        number = data.draw(st.sampled_from(self._unknown()))
        held = self._in_flight(number)
        found = {key: data.draw(st.sampled_from(["there", "absent", "unsure"])) for key in held}
        there, absent = ([key for key in held if found[key] == finding] for finding in ("there", "absent"))
        strangers = [key for key in self.leads if key not in held and data.draw(st.booleans())]  # answered too late
        findings = Findings(self._ids([*there, *strangers]), self._ids([*absent, *strangers]))
        assert self.lease.term is not None
        if stale:
            with pytest.raises(SenderDeposed):
                self._note(number, findings, self.lease.term - 1)
            return
        counts: dict[str, int] = {}
        for key in there:
            after = self._after(self.leads[key], "delivered")
            counts[after] = counts.get(after, 0) + 1
        gone = []
        for key in (key for key in held if key not in there):
            lead = self.leads[key]
            if found[key] == "unsure":
                lead.absent_at = None
            elif lead.absent_at is None:
                lead.absent_at = self.now
            elif self.now - lead.absent_at >= AGAIN_SECS:
                gone.append(key)
        if gone:
            counts["pending"] = counts.get("pending", 0) + self._release(number, gone)
        call = self.calls[number]
        call.checks, call.found = call.checks + 1, call.found + len(there)
        self._close(number, "verified")
        settled = self._note(number, findings, self.lease.term)
        assert {state: leads for state, leads in settled.items() if leads} == counts

    def _note(self, number: int, findings: Findings, term: int) -> dict[str, int]:
        return self.ledger.doubts.note_check(
            number, findings, self.now, again_secs=AGAIN_SECS, resend_changed=self.resend, term=term
        )

    @precondition(lambda self: self._unknown())
    @rule(data=st.data(), state=st.sampled_from(["delivered", "pending"]), who=st.sampled_from(["setting", "ana"]))
    def decide(self, data: st.DataObject, state: str, who: str) -> None:
        """A setting, or somebody, says what became of a call."""
        number = data.draw(st.sampled_from(self._unknown()))
        call, word = self.calls[number], LeadState(state)
        chosen = self._in_flight(number)
        if who == "setting":
            chosen = [key for key in chosen if data.draw(st.booleans())]
        ids = self._ids(chosen)
        counts: dict[str, int] = {}
        if state == "delivered":
            call.found += len(chosen)
            for key in chosen:
                after = self._after(self.leads[key], state)
                counts[after] = counts.get(after, 0) + 1
        elif chosen:
            counts = {"pending": self._release(number, chosen)}
        doubts = self.ledger.doubts
        if who == "setting":
            self._close(number, who)
            settled = doubts.decide(
                number, word, self.now, who, resend_changed=self.resend, only=ids, term=self.lease.term
            )
        else:
            self._close(number, "ana: because")
            settled = doubts.resolve(call.id, word, self.now, who, "because", resend_changed=self.resend)
            self.acts += 1
        assert {name: leads for name, leads in settled.items() if leads} == counts

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def ask_again(self, data: st.DataObject) -> None:
        """Somebody wants a call verified at once; or one whose outcome is known, or under way."""
        number = data.draw(st.sampled_from(sorted(self.calls)))
        call = self.calls[number]
        if call.state != "unknown":
            with pytest.raises(UnknownName):
                self.ledger.doubts.resolve(call.id, None, self.now, "ana", "why", resend_changed=self.resend)
            return
        self.ledger.doubts.resolve(call.id, None, self.now, "ana", "why", resend_changed=self.resend)
        call.checks = 0
        self.acts += 1

    @rule(state=st.sampled_from(RETRIED))
    def retry_all(self, state: LeadState) -> None:
        """Somebody sends the leads of a state on their way again."""
        keys = [key for key, lead in self.leads.items() if lead.state == state]
        assert self.ledger.doubts.retry_state(self.name, state, self.now, "ana", "mended") == len(keys)
        self._retried(keys)

    @rule(key=st.sampled_from(KEYS))
    def retry_one(self, key: str) -> None:
        lead = self.leads.get(key)
        if lead is None or lead.state not in RETRIED:
            with pytest.raises(UnknownName):
                self.ledger.doubts.retry_key(self.name, key, self.now, "ana", "mended")
            return
        assert self.ledger.doubts.retry_key(self.name, key, self.now, "ana", "mended") == lead.state
        self._retried([key])

    def _retried(self, keys: list[str]) -> None:
        self.acts += 1
        for key in keys:
            lead = self.leads[key]
            lead.state, lead.call, lead.twin = "pending", None, None

    @rule(reason=st.sampled_from(["holiday", "surge"]))
    def pause(self, reason: str) -> None:
        assert self.ledger.doubts.pause(self.name, self.now, "ana", reason) == (self.paused is None)
        self.paused = self.paused or reason
        self.acts += 1

    @rule()
    def resume(self) -> None:
        assert self.ledger.doubts.resume(self.name, self.now, "ana", "over") == (self.paused is not None)
        self.paused = None
        self.acts += 1

    # -- what a start does -----------------------------------------------------------------------------------

    @rule()
    def start_again(self) -> None:
        assert self.lease.term is not None
        given_up = self.ledger.give_up_intended(self.lease.term, self.now)
        lost = {number: call for number, call in self.calls.items() if call.state == "intended"}
        assert sorted(leads for _, leads in given_up) == sorted(len(call.keys) for call in lost.values())
        for number, call in lost.items():
            call.state, call.left_at = "unknown", min(self.now, call.started_at + LEAVES_SECS)
            for key in self._in_flight(number):
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
            assert row["absent_at"] == lead.absent_at
            assert row["twin_id"] == (found[lead.twin]["id"] if lead.twin else None)
            assert row["fingerprint"] == lead.fingerprint
            if lead.state in ("sending", "held", "delivered"):
                assert row["call_n"] == lead.call
            assert lead.absent_at is None or lead.state == "held"
        self.now += 0.001
        for key, state in self.before.items():
            after = LeadState(self.leads[key].state)
            assert after == state or after in TRANSITIONS[LeadState(state)], f"{state} -> {after}"
        self.before = {key: lead.state for key, lead in self.leads.items()}

    @invariant()
    def whom_the_calls_carried_is_known_by_every_sign(self) -> None:
        ids, since = {key: row["id"] for key, row in self._rows().items()}, self.now - FORGET_SECS
        expected: dict[Sign, set[object]] = {}
        for key, number in self.called:
            if self.calls[number].started_at >= since or self._is_on_the_way(key, number):
                for sign in SIGNS[key]:
                    expected.setdefault(sign, set()).add((ids[key], number))
        hashes = {sign.hash for signs in SIGNS.values() for sign in signs}
        known = self.ledger.known_people({self.sync_id}, hashes, since)
        assert {sign: set(twins) for sign, twins in known.items()} == expected
        assert self.ledger.known_people({self.sync_id + 1}, hashes, since) == {}, "each sync for itself"

    @invariant()
    def the_counts_are_right(self) -> None:
        assert self.ledger.tally() == self.ledger.recount()
        assert self.ledger.calls_started(self.day) == len(self.calls) <= BUDGET
        assert self.ledger.position(self.sync_id).watermark == self.watermark

    @invariant()
    def every_call_is_where_the_model_has_it(self) -> None:
        with self.ledger.home.read() as connection:
            found = {row.n: row for row in connection.execute(select(table.call).where(table.call.c.n.in_(self.calls)))}
        assert set(found) == set(self.calls)
        for number, call in self.calls.items():
            row = found[number]
            assert (row.state, row.checks, row.found) == (call.state, call.checks, call.found)
            assert row.resolved_by == call.by
            assert (row.prints is not None) == (call.state in ("intended", "unknown")), "kept while they are asked for"
            if call.state == "unknown":
                assert {(lead.key, lead.print) for lead in self.ledger.doubts.held(number)} == {
                    (key, key.encode() * 8) for key in self._in_flight(number)
                }
        assert {call.number for call in self.ledger.doubts.unresolved()} >= set(self._unknown())

    @invariant()
    def what_people_did_is_written(self) -> None:
        assert len(self.ledger.doubts.acts(10_000)) == self.acts
        assert self.ledger.doubts.paused(self.sync_id) == self.paused

    @invariant()
    def calls_in_flight_are_counted(self) -> None:
        left = [call.left_at for call in self.calls.values() if call.left_at is not None]
        left += [call.started_at + LEAVES_SECS for call in self.calls.values() if call.state == "intended"]
        left = sorted(min(at, self.now) for at in left if at > self.now - 60)
        for places in (1, 2):
            expected = left[-places] + 60 if len(left) >= places else None
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
