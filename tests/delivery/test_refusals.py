"""Replies that are no acceptance: each parks what it concerns, says so, and comes back by itself; nobody is lost."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass, replace

import pytest

from syncd.model import Campaign, Exchange
from syncd.simulator import Fault, Settings
from syncd.simulator.faults import KINDS
from syncd.states import LeadState
from tests.delivery.conftest import Start
from tests.delivery.stage import NOON, Stage


@dataclass(frozen=True)
class Parked:
    """A reply that parks something."""

    status: int
    words: str
    verdict: str
    state: str
    sentence: str
    secs: float

    def fault(self, times: int) -> Fault:
        body = json.dumps({"code": str(self.status), "error": "true", "msg": self.words, "data": []})
        return Fault("reply", api="add_record", status=self.status, body=body, times=times)


PARKED = [
    Parked(401, "PLEASE ENTER THE WOLKVOX-TOKEN", "token-missing", "held", "token", 600),
    Parked(403, "PLEASE VALIDATE TOKEN", "token-refused", "held", "token", 600),
    Parked(403, "TOKEN LIMIT EXCEEDED", "quota-spent", "quota_exhausted", "spent", 43_200),
    Parked(
        403, "EXCEEDS THE LIMIT OF SIMULTANEOUS REQUESTS PER TOKEN (2)", "too-many-at-once", "held", "same time", 15
    ),
    Parked(403, "BACKUP IN PROGRESS", "not-now", "held", "maintenance", 120),
    Parked(404, "Campaign_id 12345 does not exist in your operation.", "campaign-unknown", "held", "campaign", 300),
    Parked(
        404,
        "You are uploading (66401) records to the system. According to quantity active licenses, "
        "You can upload 50000 records. Try again.",
        "stock-full",
        "held",
        "full",
        900,
    ),
    Parked(400, "SOME PARAMETERS ARE REQUIRED", "call-malformed", "held", "understand", 3600),
]


@pytest.mark.parametrize("reply", PARKED, ids=lambda reply: reply.verdict)
def test_a_refusal_that_is_not_the_leads_parks_and_comes_back_by_itself(stage: Stage, reply: Parked) -> None:
    stage.simulator.script(reply.fault(times=1))
    keys = stage.add("ana", "beto", "carla")
    result = stage.turn()
    assert result.call is not None
    assert (result.call.verdict, result.call.outcome) == (reply.verdict, "refused")
    assert stage.states() == dict.fromkeys(keys, "pending")
    assert result.settled["pending"] == 3
    waiting = stage.turn()
    assert (waiting.standing.state, waiting.call) == (reply.state, None)
    assert reply.sentence in waiting.standing.reason
    stage.clock.now = NOON + reply.secs - 1
    assert stage.turn().call is None, "not before its time"
    stage.clock.now = NOON + reply.secs + 1
    stage.run(30)
    assert len(stage.bodies()[1]) == 1, "one lead goes first"
    stage.run(2000)
    assert stage.states() == dict.fromkeys(keys, "delivered")
    assert stage.accepted() == {"ana": 1, "beto": 1, "carla": 1}
    assert stage.posts() == len(stage.calls()) == 3


@pytest.mark.parametrize("reply", PARKED, ids=lambda reply: reply.verdict)
def test_a_refusal_that_lasts_costs_few_calls(stage: Stage, reply: Parked) -> None:
    stage.simulator.script(reply.fault(times=0))
    (key,) = stage.add("ana")
    stage.run(4 * 3600, look_secs=300)
    assert stage.states() == {key: "pending"}
    assert 1 <= stage.posts() <= 14
    stage.simulator.clear_faults()
    stage.clock.now += 43_200
    stage.run(60)
    assert stage.states() == {key: "delivered"}


def test_a_real_spent_quota_waits_for_the_next_day(stage: Stage) -> None:
    stage.simulator.set_quota_used(5000)
    (key,) = stage.add("ana")
    stage.run(3600, look_secs=300)
    assert stage.posts() == 1
    stage.clock.now = NOON + 12 * 3600 + 1
    stage.run(60)
    assert (stage.states(), stage.posts()) == ({key: "delivered"}, 2)


def test_a_full_operation_parks_the_sender(start: Start) -> None:
    stage = start(sim=Settings(stock=2, keep_bodies=9), batch_size=10)
    stage.add("a", "b", "c")
    stage.turn()
    assert stage.turn().standing.state == "held"
    assert set(stage.states().values()) == {"pending"}


def test_a_campaign_that_is_not_there_stops_no_other(start: Start) -> None:
    stage = start(syncs=("web", "other"), campaigns=("999", "12345"))
    (stuck,) = stage.add("ana")
    stage.clock.now += 1
    (goes,) = stage.add("beto", sync="other")
    stage.run(250)
    assert stage.states() == {stuck: "pending", goes: "delivered"}
    assert stage.simulator.state.refused() == {"no-campaign": 1}


@pytest.mark.parametrize("type_", [str, int])
def test_a_batch_of_which_some_were_refused_is_delivered_in_part(start: Start, type_: type) -> None:
    stage = start(sim=Settings(mixed="keep", code_type=type_.__name__.replace("str", "string"), keep_bodies=9))  # type: ignore[arg-type]  # a literal
    good, bad = stage.add("ana", "beto")
    _spoil(stage, bad)
    result = stage.turn()
    assert result.call is not None
    assert result.call.outcome == "accepted_in_part"
    assert sum(result.call.waited.values()) == 1
    assert stage.states() == {good: "delivered", bad: "rejected"}
    assert stage.accepted() == {"ana": 1}
    row = stage.lead(bad)
    assert row["rule"] == "wolkvox"
    assert "opt1" in str(row["reason"]).lower()
    assert "xxxx" not in str(row["reason"])


def test_a_batch_refused_for_one_of_its_records_rejects_that_and_sends_the_others(start: Start) -> None:
    stage = start(sim=Settings(mixed="refuse", keep_bodies=9))
    good, bad = stage.add("ana", "beto")
    _spoil(stage, bad)
    stage.turn()
    assert stage.states() == {good: "pending", bad: "rejected"}
    assert stage.accepted() == {}
    stage.run(1000)
    assert (stage.states()[good], stage.accepted()) == ("delivered", {"ana": 1})


def test_a_batch_kept_in_part_under_a_404_is_not_known_and_is_held(start: Start) -> None:
    stage = start(sim=Settings(mixed="keep-404", keep_bodies=20))
    names = [f"lead-{number}" for number in range(11)]
    keys = stage.add(*names)
    _spoil(stage, keys[3])
    stage.run(5000)
    assert stage.states() == dict.fromkeys(keys, "held")
    assert stage.accepted() == {name: 1 for name in names if name != "lead-3"}
    assert stage.posts() == 1


def _spoil(stage: Stage, key: str) -> None:
    """A record that passes our rules and not the simulator's: on its way, its opt1 becomes too long."""
    real = stage.client.client.add_record
    found = stage.crm.execute("SELECT document FROM leads WHERE id = %s", [key]).fetchone()
    assert found is not None

    def add_record(campaign: Campaign, body: bytes) -> Exchange:
        records = json.loads(body)
        for record in records:
            if record["customer_id"] == found[0]:
                record["opt1"] = "x" * 101
        return real(campaign, json.dumps(records).encode())

    stage.client.client.add_record = add_record  # type: ignore[method-assign]  # all else is real


# -- refused as a whole, and nobody is named -----------------------------------------------------------------

PESTE = Settings(poison="peste", keep_bodies=40, licenses=5)


@pytest.mark.parametrize("place", [0, 66, 199])
def test_one_poisoned_lead_of_many_is_found_and_the_others_are_delivered(start: Start, place: int) -> None:
    stage = start(sim=PESTE)
    keys = stage.add(*(f"lead-{number}" for number in range(200)))
    stage.change(keys[place], captured=False, name="La peste")
    stage.run(60)
    states = stage.states()
    assert states.pop(keys[place]) == "rejected"
    assert set(states.values()) == {"delivered"}
    assert len(stage.accepted()) == 199
    row = stage.lead(keys[place])
    assert (row["rule"], row["field"]) == ("wolkvox", "")
    assert "refuses every call that this lead is in" in str(row["reason"])
    assert len(stage.calls()) == stage.posts() <= 2 * 8 + 8
    stage.change(keys[place], name="Curada")
    stage.run(1000)
    assert stage.states()[keys[place]] == "delivered"


def test_a_campaign_that_refuses_all_is_parked_and_nobody_is_rejected(start: Start) -> None:
    stage = start(sim=replace(PESTE, poison="customer_id"))
    keys = stage.add(*(f"lead-{number}" for number in range(50)))
    stage.run(250, look_secs=30)
    assert stage.states() == dict.fromkeys(keys, "pending")
    assert stage.posts() == 1 + 4
    assert "does not say why" in stage.turn().standing.reason
    stage.run(4 * 3600, look_secs=60)
    assert stage.states() == dict.fromkeys(keys, "pending")
    assert stage.posts() <= 8 * 5


def test_it_comes_back_by_itself_once_the_campaign_takes_leads_again(stage: Stage) -> None:
    body = json.dumps({"code": "404", "error": "true", "msg": "0 records has been added, please validate the data"})
    stage.simulator.script(Fault("reply", api="add_record", status=404, body=body, times=4))
    keys = stage.add("ana", "beto", "carla")
    stage.run(250)
    assert (stage.states(), stage.posts()) == (dict.fromkeys(keys, "pending"), 4)
    assert stage.turn().standing.state == "held"
    stage.run(60)
    assert stage.states() == dict.fromkeys(keys, "delivered")
    assert stage.posts() == 5


def test_a_lone_poisoned_lead_waits_and_keeps_nobody_else_from_leaving(start: Start) -> None:
    stage = start(sim=PESTE, max_wait_secs=5)
    (bad,) = stage.add("peste")
    stage.run(100)
    assert (stage.states(), stage.posts()) == ({bad: "pending"}, 1)
    stage.run(200, look_secs=5)
    (good,) = stage.add("ana")
    stage.run(30)
    assert stage.states() == {bad: "rejected", good: "delivered"}


def test_a_lone_poisoned_lead_that_lasts_costs_few_calls(start: Start) -> None:
    stage = start(sim=PESTE)
    (bad,) = stage.add("peste")
    stage.run(4 * 3600, look_secs=300)
    assert stage.states() == {bad: "pending"}
    assert stage.posts() <= 8


def test_a_poisoned_lead_behind_all_others_is_told_by_those_that_come_one_by_one(start: Start) -> None:
    stage = start(sim=PESTE, batch_size=1, max_wait_secs=5)
    (bad,) = stage.add("peste")
    stage.add("ana")
    stage.run(600)
    (name,) = stage.ledger.syncs()
    moved = stage.ledger.doubts.retry_state(name.name, LeadState.REJECTED, stage.clock(), "operator", "try again")
    assert moved == 1
    stage.start_again()
    stage.run(600)
    assert stage.states()[bad] == "pending"
    stage.add("beto")
    stage.run(600)
    assert stage.states()[bad] == "rejected"
    assert stage.accepted() == {"ana": 1, "beto": 1}


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_poisoned_leads_at_the_head_keep_nobody_else_from_leaving(start: Start, batch_size: int) -> None:
    stage = start(sim=PESTE, batch_size=batch_size, max_wait_secs=5)
    bad = []
    for number in range(5):
        bad += stage.add(f"peste-{number}")
        stage.clock.now += 1
    good = stage.add(*(f"lead-{number}" for number in range(4)))
    stage.run(3600)
    states = stage.states()
    assert {states[key] for key in good} == {"delivered"}
    waiting = [key for key in bad if states[key] == "pending"]
    assert len(waiting) <= 1, "of one that is alone, nobody can tell"
    good += stage.add("late")
    stage.run(3600)
    assert stage.states() == dict.fromkeys(bad, "rejected") | dict.fromkeys(good, "delivered")
    assert set(stage.accepted().values()) == {1}
    assert stage.posts() <= 40


def test_good_leads_far_behind_poisoned_ones_are_come_upon(start: Start) -> None:
    stage = start(sim=PESTE, batch_size=2, max_wait_secs=5)
    for number in range(9):
        if number == 5:
            (good,) = stage.add("ana")
        stage.add(f"peste-{number}")
        stage.clock.now += 1
    stage.run(4 * 3600)
    assert stage.states()[good] == "delivered"
    assert "delivered" not in {state for key, state in stage.states().items() if key != good}


def test_a_poisoned_lead_that_is_corrected_meanwhile_is_not_rejected(start: Start) -> None:
    stage = start(sim=PESTE)
    keys = stage.add("peste", "ana", "beto")
    stage.turn()
    stage.turn()  # it was sent alone
    assert len(stage.bodies()[-1]) == 1
    stage.change(keys[0], document="curada")
    stage.run(1000)
    assert stage.states() == dict.fromkeys(keys, "delivered")
    assert stage.accepted() == {"curada": 1, "ana": 1, "beto": 1}


OTHER = {
    "unknown": (Fault("cut-after", api="add_record", nth=4), {"held"}),
    "maintenance": (Fault("maintenance", api="add_record", nth=4), set()),
    "quota": (Fault("maintenance", api="add_record", nth=4, body="TOKEN LIMIT EXCEEDED"), set()),
    "busy": (Fault("maintenance", api="add_record", nth=4, body="EXCEEDS THE LIMIT OF SIMULTANEOUS REQUESTS"), set()),
}


@pytest.mark.parametrize("what", OTHER)
def test_what_else_goes_wrong_meanwhile_does_not_confuse_it(start: Start, what: str) -> None:
    fault, also = OTHER[what]
    stage = start(sim=PESTE)
    stage.simulator.script(fault)
    keys = stage.add(*(f"lead-{number}" for number in range(20)))
    stage.change(keys[7], captured=False, name="La peste")
    stage.run(86_400, look_secs=300)
    states = stage.states()
    assert states.pop(keys[7]) == "rejected"
    assert set(states.values()) == {"delivered"} | also
    assert len(stage.accepted()) == 19


def test_a_connection_that_fails_meanwhile_does_not_confuse_it(start: Start) -> None:
    stage = start(sim=PESTE)
    keys = stage.add(*(f"lead-{number}" for number in range(20)))
    stage.change(keys[7], captured=False, name="La peste")
    stage.turn()
    stage.turn()
    base = stage.client.client._base
    with socket.create_server(("127.0.0.1", 0)) as taken:
        stage.client.client._base = f"http://127.0.0.1:{taken.getsockname()[1]}/api/v2"
    result = stage.turn()
    assert result.call is not None
    assert result.call.outcome == "not_sent"
    stage.client.client._base = base
    assert stage.turn().call is None, "parked"
    stage.run(2000)
    states = stage.states()
    assert states.pop(keys[7]) == "rejected"
    assert set(states.values()) == {"delivered"}


def test_a_poisoned_part_whose_leads_are_withdrawn_meanwhile_ends(start: Start) -> None:
    stage = start(sim=PESTE)
    keys = stage.add(*(f"lead-{number}" for number in range(20)))
    stage.change(keys[7], captured=False, name="La peste")
    stage.turn()
    for key in keys[3:12]:
        stage.change(key, captured=False, consent=False)
    stage.run(2000)
    states = stage.states()
    assert {states[key] for key in keys[3:12]} == {"withdrawn"}
    assert {states[key] for key in keys[:3] + keys[12:]} == {"delivered"}


def test_a_death_in_the_middle_of_it_begins_anew(start: Start) -> None:
    stage = start(sim=PESTE)
    keys = stage.add(*(f"lead-{number}" for number in range(20)))
    stage.change(keys[7], captured=False, name="La peste")
    for _ in range(3):
        stage.turn()
    stage.start_again()
    stage.run(2000)
    states = stage.states()
    assert states.pop(keys[7]) == "rejected"
    assert set(states.values()) == {"delivered"}


# -- not sent ------------------------------------------------------------------------------------------------


def test_a_wolkvox_that_is_not_reached_loses_nobody_and_is_tried_again(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    stage = start(url=f"http://127.0.0.1:{port}")
    keys = stage.add("ana", "beto")
    result = stage.turn()
    assert result.call is not None
    assert (result.call.outcome, result.call.http_status) == ("not_sent", None)
    assert stage.states() == dict.fromkeys(keys, "pending")
    assert stage.turn().standing.state == "held"
    assert "could not be reached" in stage.turn().standing.reason
    stage.client.client._base = f"{stage.simulator.base_url}/api/v2"  # it is there again
    stage.clock.now += 31
    stage.run(2000)
    assert stage.states() == dict.fromkeys(keys, "delivered")
    assert [made["state"] for made in stage.calls()] == ["not_sent", "accepted", "accepted"]


# -- unknown -------------------------------------------------------------------------------------------------

UNKNOWN = ["cut-headers", "cut-body", "cut-before", "cut-after", "cut-reply", "broken-json", "wrong-length", "redirect"]


@pytest.mark.parametrize("kind", UNKNOWN)
def test_an_unknown_outcome_is_held_and_never_posted_again(stage: Stage, kind: str) -> None:
    stage.simulator.script(Fault(kind, api="add_record"))
    keys = stage.add("ana", "beto")
    result = stage.turn()
    assert result.call is not None
    assert result.call.outcome == "unknown"
    assert stage.states() == dict.fromkeys(keys, "held")
    assert stage.ledger.unresolved_calls() == 1
    for key in keys:
        stage.capture(key)
    stage.run(3600, look_secs=300)
    stage.start_again()
    stage.run(3600, look_secs=300)
    assert stage.posts() == 1
    assert stage.states() == dict.fromkeys(keys, "held")


def test_after_an_unknown_outcome_the_next_call_waits_for_wolkvoxs_own_limit(stage: Stage) -> None:
    stage.simulator.script(Fault("cut-after", api="add_record"))
    stage.add("ana")
    stage.turn()
    stage.clock.now += 20
    (key,) = stage.add("beto")
    result = stage.turn()
    assert (result.standing.state, result.call) == ("waiting", None)
    assert stage.clock.now < result.next_at <= NOON + 60
    stage.clock.now = NOON + 59
    assert stage.turn().call is None
    stage.run(1000)
    assert stage.states()[key] == "delivered"
    assert stage.calls()[1]["started_at"] > NOON + 59.5  # but for the moments that the call really took


def test_that_limit_counts_from_when_the_request_had_left(stage: Stage) -> None:
    stage.simulator.script(Fault("cut-after", api="add_record"))
    stage.add("ana")

    def connect() -> None:
        stage.clock.now += 15

    stage.client.before = connect
    stage.turn()
    stage.client.before = lambda: None
    stage.clock.now = NOON + 70
    stage.add("beto")
    assert stage.turn().standing.state == "waiting"
    stage.run(1000)
    assert stage.calls()[1]["started_at"] > NOON + 74.5


def test_an_unknown_outcome_on_trial_is_held_and_the_trial_goes_on(stage: Stage) -> None:
    stage.simulator.script(PARKED[4].fault(times=1), Fault("cut-after", api="add_record"))
    stage.add("ana", "beto", "carla")
    stage.run(2500)
    assert sorted(stage.states().values()) == ["delivered", "delivered", "held"]
    assert [len(body) for body in stage.bodies()] == [3, 1, 1, 1]


@pytest.mark.parametrize("kind", KINDS)
def test_under_every_fault_the_ledger_tells_the_truth(start: Start, kind: str) -> None:
    """delivered only if it was taken; pending or rejected only if it was not; and at most one POST an intent."""
    lasting = kind in ("hang", "drip", "cut-then-store")
    stage = start(timeout_secs=0.4 if lasting else 10)
    stage.simulator.script(Fault(kind, api="add_record"))
    (key,) = stage.add("ana")
    stage.turn()
    stage.simulator.clear_faults()
    assert stage.simulator.state.wait_for(lambda state: state.calls().get("add_record") == 1)
    state, taken = stage.states()[key], stage.accepted() == {"ana": 1}
    assert state in ("delivered", "pending", "held")
    assert state != "delivered" or taken
    assert state != "pending" or not taken
    stage.run(1000)
    assert stage.posts() == len(stage.calls())
    assert state != "held" or stage.posts() == 1
