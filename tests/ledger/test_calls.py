"""Delivery's transactions: the claim, the intent before a call, and what every outcome does to its leads."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from sqlalchemy import select

from syncd.errors import LedgerError, QuotaSpent, SenderDeposed
from syncd.ledger import Ending, Ledger
from syncd.ledger.calls import LEAVES_SECS
from syncd.ledger.hashes import Hasher
from syncd.ledger.schema import call, history
from syncd.model import Settlement, Sign
from syncd.states import CallState, LeadState
from tests.support.ledgers import DAY, NOON, REASON, Scene, opened, rows


def call_row(ledger: Ledger, number: int) -> dict[str, object]:
    with ledger.home.read() as connection:
        return dict(connection.execute(select(call).where(call.c.n == number)).one()._mapping)


# -- the claim -----------------------------------------------------------------------------------------------


def test_a_claim_takes_those_that_have_waited_longest_and_writes_nothing(scene: Scene) -> None:
    scene.capture("third", at=NOON + 3)
    scene.capture("first", "second", at=NOON)
    before = rows(scene.ledger)
    assert [lead.key for lead in scene.claim(2).leads] == ["first", "second"]
    assert rows(scene.ledger) == before


@pytest.mark.parametrize("state", [state for state in LeadState if state is not LeadState.PENDING])
def test_a_claim_takes_pending_leads_alone(scene: Scene, state: LeadState) -> None:
    scene.bring("a", state)
    assert scene.claim().leads == []


def test_waiting_counts_the_pending_and_knows_the_oldest(scene: Scene) -> None:
    scene.capture("b", at=NOON + 5)
    scene.capture("a", at=NOON)
    scene.settle("a", LeadState.WITHDRAWN)
    waiting = scene.ledger.waiting(scene.sync_id)
    assert (waiting.pending, waiting.oldest_at) == (1, NOON + 5)


# -- settling without a call ---------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["withdrawn", "expired", "duplicate", "unchanged", "rejected"])
def test_a_pending_lead_is_settled_without_a_call(scene: Scene, state: str) -> None:
    scene.capture("a")
    assert scene.settle("a", LeadState(state)) == {state: 1}
    lead = rows(scene.ledger)["a"]
    assert (lead["state"], lead["settled_at"], lead["call_n"]) == (state, NOON + 1, None)
    assert lead["reason"] == (REASON.reason if state == "rejected" else None)


def test_a_lead_that_changed_after_the_claim_stays_pending(scene: Scene) -> None:
    scene.capture("changed", "same")
    claim = scene.claim()
    scene.capture("changed", version="2")
    settlements = [Settlement(lead.id, LeadState.WITHDRAWN) for lead in claim.leads]
    settled = scene.ledger.settle_unsent(scene.sync_id, claim.seq, settlements, NOON)
    assert settled == {"withdrawn": 1}
    assert scene.states() == {"changed": "pending", "same": "withdrawn"}


@pytest.mark.parametrize("state", ["sending", "held", "delivered"])
def test_a_lead_that_is_not_pending_is_not_settled_unsent(scene: Scene, state: str) -> None:
    scene.bring("a", LeadState(state))
    assert scene.settle("a", LeadState.WITHDRAWN) == {"withdrawn": 0}
    assert scene.states() == {"a": state}


# -- the intent ----------------------------------------------------------------------------------------------


def test_an_intent_takes_its_leads_aboard(scene: Scene) -> None:
    scene.capture("a", "b", "c")
    number = scene.intend("a", "b")
    assert scene.states() == {"a": "sending", "b": "sending", "c": "pending"}
    row = call_row(scene.ledger, number)
    assert (row["state"], row["leads"], row["term"], row["ended_at"]) == ("intended", 2, scene.term, None)
    assert rows(scene.ledger)["a"]["call_n"] == number


def test_an_intent_settles_what_needs_no_call_in_the_same_transaction(scene: Scene) -> None:
    scene.capture("a", "gone")
    scene.intend("a", settlements=[Settlement(scene.id_of("gone"), LeadState.WITHDRAWN)])
    assert scene.states() == {"a": "sending", "gone": "withdrawn"}
    scene.capture("b", "gone-too")
    with pytest.raises(QuotaSpent):
        scene.intend("b", budget=1, settlements=[Settlement(scene.id_of("gone-too"), LeadState.WITHDRAWN)])
    assert scene.states()["gone-too"] == "pending", "a refused intent leaves nothing"


@pytest.mark.parametrize("budget", [0, 1, 3])
def test_a_quota_day_sees_exactly_its_budget_of_calls(scene: Scene, budget: int) -> None:
    keys = [f"k{number}" for number in range(budget + 1)]
    scene.capture(*keys)
    for key in keys[:budget]:
        scene.intend(key, budget=budget)
    with pytest.raises(QuotaSpent):
        scene.intend(keys[-1], budget=budget)
    assert scene.states()[keys[-1]] == "pending"
    assert scene.ledger.calls_started(DAY) == budget
    scene.intend(keys[-1], budget=max(1, budget), quota_day="2026-09-22")


@pytest.mark.parametrize("state", [state for state in CallState if state is not CallState.INTENDED])
def test_a_call_costs_a_unit_whatever_came_of_it(scene: Scene, state: CallState) -> None:
    scene.capture("a", "b")
    rest = LeadState.HELD if state is CallState.UNKNOWN else LeadState.PENDING
    scene.finish(scene.intend("a"), state, rest)
    with pytest.raises(QuotaSpent):
        scene.intend("b", budget=1)


def test_calls_that_ask_cost_as_much_as_calls_that_send(scene: Scene) -> None:
    scene.intend(kind="token_info", campaign_id=None, budget=1)
    with pytest.raises(QuotaSpent):
        scene.intend(kind="token_info", campaign_id=None, budget=1)


def test_threads_that_intend_at_once_stay_within_the_budget(scene: Scene) -> None:
    scene.lease.holder = "threads"
    intents = [scene.intent(kind="token_info", budget=5) for _ in range(12)]
    gate, done, spent = threading.Barrier(len(intents)), [], []

    def intend(number: int) -> None:
        gate.wait()
        try:
            done.append(scene.ledger.intend(scene.term, intents[number]))
        except QuotaSpent:
            spent.append(number)

    _together([lambda number=number: intend(number) for number in range(len(intents))])  # type: ignore[misc]  # lambda
    assert (len(done), len(spent), scene.ledger.calls_started(DAY)) == (5, 7, 5)


def test_whoever_only_asks_needs_no_lease_and_counts_in_turn_with_the_sender(scene: Scene) -> None:
    intents = [scene.intent(kind="token_info", budget=5) for _ in range(12)]
    gate, done, spent = threading.Barrier(len(intents)), [], []

    def intend(number: int) -> None:
        gate.wait()
        try:
            done.append(scene.ledger.intend(scene.term if number % 2 else None, intents[number]))
        except QuotaSpent:
            spent.append(number)

    _together([lambda number=number: intend(number) for number in range(len(intents))])  # type: ignore[misc]  # lambda
    assert (len(done), len(spent), scene.ledger.calls_started(DAY)) == (5, 7, 5)
    scene.lease.release()
    with pytest.raises(QuotaSpent):
        scene.ledger.intend(None, scene.intent(kind="token_info", budget=5))


def test_a_deposed_sender_writes_no_intent(scene: Scene) -> None:
    scene.capture("a")
    with pytest.raises(SenderDeposed):
        scene.intend("a", term=scene.term - 1)
    with pytest.raises(SenderDeposed):
        scene.intend("a", term=scene.term + 1)
    assert scene.states() == {"a": "pending"}
    assert scene.ledger.calls_started(DAY) == 0


@pytest.mark.parametrize("state", [state for state in LeadState if state is not LeadState.PENDING])
def test_a_lead_that_is_not_pending_boards_no_call(scene: Scene, state: LeadState) -> None:
    scene.bring("a", state)
    scene.capture("b")
    used = scene.ledger.calls_started(DAY)
    with pytest.raises(LedgerError, match="not pending any more"):
        scene.intend("a", "b")
    assert scene.states() == {"a": state, "b": "pending"}
    assert scene.ledger.calls_started(DAY) == used


def test_no_two_calls_have_one_id(scene: Scene) -> None:
    scene.capture("a", "b")
    scene.intend("a", id="same")
    with pytest.raises(LedgerError):
        scene.intend("b", id="same")
    assert scene.states()["b"] == "pending"


def test_an_intent_of_thousands_is_one_transaction(scene: Scene) -> None:
    keys = [str(number) for number in range(4_000)]
    scene.capture(*keys)
    claim = scene.claim(4_000)
    ids = [lead.id for lead in claim.leads]
    hashes = {lead_id: lead_id.to_bytes(16, "big") for lead_id in ids}
    number, _ = scene.ledger.intend(
        scene.term,
        scene.intent(lead_ids=ids, fingerprints=hashes, signs={lead_id: {Sign("tel", lead_id)} for lead_id in ids}),
        sync_id=scene.sync_id,
        seq=claim.seq,
    )
    assert scene.accept(number)["delivered"] == 4_000
    assert scene.ledger.tally() == {(scene.sync_id, "delivered"): 4_000}
    assert rows(scene.ledger)["77"]["fingerprint"] == hashes[scene.id_of("77")]


# -- the outcome ---------------------------------------------------------------------------------------------

OUTCOMES = [
    (CallState.ACCEPTED, LeadState.DELIVERED, "delivered"),
    (CallState.ACCEPTED_IN_PART, LeadState.DELIVERED, "delivered"),
    (CallState.REFUSED, LeadState.PENDING, "pending"),
    (CallState.NOT_SENT, LeadState.PENDING, "pending"),
    (CallState.UNKNOWN, LeadState.HELD, "held"),
]


@pytest.mark.parametrize(("outcome", "rest", "state"), OUTCOMES)
def test_an_outcome_settles_the_leads_of_its_call_alone(
    scene: Scene, outcome: CallState, rest: LeadState, state: str
) -> None:
    scene.capture("a", "b", "other", "waiting")
    number, _ = scene.intend("a", "b"), scene.intend("other")
    assert scene.finish(number, outcome, rest)[state] == 2
    assert scene.states() == {"a": state, "b": state, "other": "sending", "waiting": "pending"}
    row = call_row(scene.ledger, number)
    assert (row["state"], row["ended_at"], row["verdict"]) == (outcome, NOON + 1, "verdict")


def test_a_lead_that_was_not_taken_keeps_its_place_in_the_queue(scene: Scene) -> None:
    scene.capture("first", at=NOON)
    number = scene.intend("first")
    scene.capture("second", at=NOON + 1)
    scene.finish(number, CallState.REFUSED, LeadState.PENDING, at=NOON + 2)
    assert [lead.key for lead in scene.claim().leads] == ["first", "second"]
    lead = rows(scene.ledger)["first"]
    assert (lead["call_n"], lead["fingerprint"]) == (None, None)


def test_leads_refused_one_by_one_are_rejected_with_the_reason(scene: Scene) -> None:
    scene.capture("good", "bad", "worse")
    number = scene.intend("good", "bad", "worse")
    settled = scene.finish(
        number, CallState.ACCEPTED_IN_PART, LeadState.DELIVERED, refused={"bad": "CUSTOMER_ID is empty", "worse": "?"}
    )
    assert (settled["delivered"], settled["rejected"]) == (1, 2)
    assert scene.states() == {"good": "delivered", "bad": "rejected", "worse": "rejected"}
    lead = rows(scene.ledger)["bad"]
    assert (lead["rule"], lead["reason"]) == ("wolkvox", "CUSTOMER_ID is empty")


def test_a_batch_refused_as_a_whole_rejects_the_named_and_frees_the_rest(scene: Scene) -> None:
    scene.capture("named", "not-named")
    scene.finish(scene.intend("named", "not-named"), CallState.REFUSED, LeadState.PENDING, refused={"named": "empty"})
    assert scene.states() == {"named": "rejected", "not-named": "pending"}


@pytest.mark.parametrize("held_first", [False, True])
@pytest.mark.parametrize(
    ("rest", "refused", "never", "when_changed"),
    [
        (LeadState.DELIVERED, False, "delivered", "pending"),
        (LeadState.PENDING, False, "pending", "pending"),
        (LeadState.DELIVERED, True, "pending", "pending"),
        (LeadState.PENDING, True, "pending", "pending"),
    ],
)
@pytest.mark.parametrize("resend", [False, True])
def test_a_change_while_in_flight_is_considered_after_settling(
    ledger: Ledger, rest: LeadState, *, refused: bool, never: str, when_changed: str, resend: bool, held_first: bool
) -> None:
    scene = Scene(ledger, resend=resend)
    scene.capture("a", "calm")
    number = scene.intend("a", "calm")
    if held_first:
        scene.finish(number, CallState.UNKNOWN, LeadState.HELD)
    scene.capture("a", version="2")
    state = CallState.ACCEPTED if rest is LeadState.DELIVERED else CallState.REFUSED
    scene.finish(number, state, rest, refused={"a": "bad"} if refused else None)
    assert scene.states() == {"a": when_changed if resend else never, "calm": rest}
    assert rows(ledger)["a"]["changed"] == 0
    scene.lease.close()


def test_a_change_is_remembered_from_sending_into_held(scene: Scene) -> None:
    scene.capture("a")
    number = scene.intend("a")
    scene.capture("a", version="2")
    scene.finish(number, CallState.UNKNOWN, LeadState.HELD)
    assert (scene.states()["a"], rows(scene.ledger)["a"]["changed"]) == ("held", 1)


def test_a_change_between_claim_and_intent_is_remembered(resending: Scene) -> None:
    resending.capture("a")
    seq = resending.claim().seq
    resending.capture("a", version="2")
    number = resending.intend("a", seq=seq)
    assert rows(resending.ledger)["a"]["changed"] == 1
    resending.accept(number)
    assert resending.states() == {"a": "pending"}


def test_a_delivered_lead_that_changed_meanwhile_still_knows_what_was_delivered(resending: Scene) -> None:
    resending.capture("a")
    lead_id = resending.id_of("a")
    number = resending.intend("a", fingerprints={lead_id: b"f" * 16})
    resending.capture("a", version="2")
    resending.accept(number)
    assert [lead.fingerprint for lead in resending.claim().leads] == [b"f" * 16]


@pytest.mark.parametrize("how", ["refused", "named", "not sent", "verified", "named, and changed"])
def test_a_lead_whose_change_was_not_taken_still_knows_what_was_delivered(resending: Scene, how: str) -> None:
    resending.capture("a")
    lead_id = resending.id_of("a")
    resending.accept(resending.intend("a", fingerprints={lead_id: b"1" * 16}))
    for version in ("2", "3"):
        resending.capture("a", version=version)
        number = resending.intend("a", id=version, fingerprints={lead_id: version.encode() * 16})
        if how == "named, and changed":
            resending.capture("a", version=f"{version}.5")
        if how == "verified":
            resending.finish(number, CallState.UNKNOWN, LeadState.HELD)
            resending.ledger.doubts.resolve(version, LeadState.PENDING, NOON, "a", "b", resend_changed=True)
        elif how == "not sent":
            resending.ledger.never_sent(resending.term, version, NOON)
        else:
            refused = {} if how == "refused" else {"a": "bad"}
            resending.finish(number, CallState.REFUSED, LeadState.PENDING, refused=refused)
        assert rows(resending.ledger)["a"]["fingerprint"] == b"1" * 16
    resending.capture("a", version="4")
    number = resending.intend("a", fingerprints={lead_id: b"4" * 16})
    resending.accept(number)
    assert rows(resending.ledger)["a"]["fingerprint"] == b"4" * 16


@pytest.mark.parametrize(("outcome", "rest", "state"), OUTCOMES[:-1])
def test_a_held_call_is_settled_later_once(scene: Scene, outcome: CallState, rest: LeadState, state: str) -> None:
    scene.capture("a")
    number = scene.intend("a")
    scene.finish(number, CallState.UNKNOWN, LeadState.HELD)
    assert scene.ledger.unresolved_calls() == 1
    scene.finish(number, outcome, rest, at=NOON + 9)
    assert scene.states() == {"a": state}
    assert scene.ledger.unresolved_calls() == 0
    with pytest.raises(LedgerError, match="has an outcome already"):
        scene.finish(number, CallState.NOT_SENT, LeadState.PENDING, at=NOON + 10)
    assert scene.states() == {"a": state}


def test_an_outcome_written_twice_is_written_once(scene: Scene) -> None:
    """A commit whose answer was lost is tried again; the second time must neither fail nor change a thing."""
    scene.capture("a")
    number = scene.intend("a")
    ending = Ending(CallState.REFUSED, NOON + 1, 403, "not-now", "Not now.", LeadState.PENDING)
    scene.ledger.finish(number, ending, resend_changed=False)
    again = scene.intend("a")
    assert scene.ledger.finish(number, ending, resend_changed=False) == {}
    assert scene.states() == {"a": "sending"}
    assert call_row(scene.ledger, again)["state"] == "intended"


def test_lives_before_the_last_are_kept_for_the_trace(resending: Scene) -> None:
    resending.bring("a", LeadState.REJECTED)
    resending.capture("a", version="2", at=NOON + 5)
    number = resending.intend("a")
    resending.finish(number, CallState.REFUSED, LeadState.PENDING)
    with resending.ledger.home.read() as connection:
        lives = connection.execute(select(history.c.left_state, history.c.reason, history.c.call_n)).all()
    assert sorted(tuple(life) for life in lives) == [("rejected", REASON.reason, None), ("sending", None, number)]


# -- a start after a death -----------------------------------------------------------------------------------


def test_a_start_holds_the_leads_of_every_call_that_was_under_way(scene: Scene) -> None:
    scene.capture("a", "b", "done", "waiting")
    scene.intend("a", "b", id="lost")
    scene.accept(scene.intend("done"))
    assert scene.ledger.give_up_intended(scene.term, NOON + 9) == [("lost", 2)]
    assert scene.states() == {"a": "held", "b": "held", "done": "delivered", "waiting": "pending"}
    assert scene.ledger.unresolved_calls() == 1
    assert scene.ledger.give_up_intended(scene.term, NOON + 10) == [], "once is enough"


def test_a_start_forgets_no_change_that_came_while_sending(scene: Scene) -> None:
    scene.capture("a")
    scene.intend("a")
    scene.capture("a", version="2")
    scene.ledger.give_up_intended(scene.term, NOON + 9)
    assert rows(scene.ledger)["a"]["changed"] == 1


def test_a_start_closes_a_call_that_only_asked(scene: Scene) -> None:
    number = scene.intend(kind="token_info", campaign_id=None)
    assert scene.ledger.give_up_intended(scene.term, NOON + 9) == []
    assert call_row(scene.ledger, number)["state"] == "refused"
    assert scene.ledger.unresolved_calls() == 0


def test_only_the_sender_gives_up_calls(scene: Scene) -> None:
    scene.bring("a", LeadState.SENDING)
    with pytest.raises(SenderDeposed):
        scene.ledger.give_up_intended(scene.term - 1, NOON)
    assert scene.states() == {"a": "sending"}


# -- calls in flight -----------------------------------------------------------------------------------------


def test_an_unanswered_call_is_in_flight_until_wolkvoxs_own_limit(scene: Scene) -> None:
    assert scene.ledger.busy_until(NOON, 1, 60) is None
    scene.capture("a")
    number = scene.intend("a", at=NOON)
    assert scene.ledger.busy_until(NOON + 1, 1, 60) == NOON + 61, "it leaves now at the latest"
    assert scene.ledger.busy_until(NOON + 50, 1, 60) == NOON + LEAVES_SECS + 60
    assert scene.ledger.busy_until(NOON + 50, 2, 60) is None
    scene.finish(number, CallState.UNKNOWN, LeadState.HELD, left_at=NOON + 12)
    assert scene.ledger.busy_until(NOON + 71.9, 1, 60) == NOON + 72
    assert scene.ledger.busy_until(NOON + 72, 1, 60) is None
    assert scene.ledger.busy_until(NOON - 9000, 1, 60) == NOON - 8940, "a clock that was set back"


def test_a_call_of_a_dead_process_has_left_before_its_death_or_soon_after_its_intent(scene: Scene) -> None:
    scene.capture("a", "b")
    scene.intend("a", at=NOON)
    scene.intend("b", at=NOON - 25)
    scene.ledger.give_up_intended(scene.term, NOON + 10)
    assert scene.ledger.busy_until(NOON + 11, 1, 60) == NOON + 70
    assert scene.ledger.busy_until(NOON + 11, 2, 60) == NOON - 25 + LEAVES_SECS + 60


def test_two_unanswered_calls_keep_two_places(scene: Scene) -> None:
    scene.capture("a", "b", "c")
    for at, key in enumerate("abc"):
        scene.intend(key, at=NOON + at)
    late = NOON + LEAVES_SECS
    assert scene.ledger.busy_until(late + 5, 1, 60) == late + 62
    assert scene.ledger.busy_until(late + 5, 2, 60) == late + 61
    assert scene.ledger.busy_until(late + 5, 3, 60) == late + 60
    assert scene.ledger.busy_until(late + 61.5, 2, 60) is None


@pytest.mark.parametrize(("outcome", "rest", "_state"), OUTCOMES[:-1])
def test_an_answered_call_is_not_in_flight(scene: Scene, outcome: CallState, rest: LeadState, _state: str) -> None:
    scene.capture("a")
    scene.finish(scene.intend("a"), outcome, rest)
    assert scene.ledger.busy_until(NOON + 1, 1, 60) is None


def test_the_last_call_is_the_last_that_was_started(scene: Scene) -> None:
    assert scene.ledger.last_call_at() is None
    scene.capture("a", "b")
    scene.intend("a", at=NOON + 5)
    scene.intend("b", at=NOON + 2)
    assert scene.ledger.last_call_at() == NOON + 2


# -- the hash key --------------------------------------------------------------------------------------------


def test_a_ledger_with_another_hash_key_is_refused_in_a_sentence(home_url: str) -> None:
    with opened(home_url) as ledger:
        ledger.check_key()
        ledger.hasher = Hasher("another-key-of-the-tests-9876")
        with pytest.raises(LedgerError, match="another hash key"):
            ledger.check_key()


def _together(tasks: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=task) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
