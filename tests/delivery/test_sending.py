"""One turn of delivery after another: which leads leave, which do not, and when."""

from __future__ import annotations

from datetime import date, datetime
from itertools import pairwise

import pytest
from sqlalchemy import select

from syncd.errors import SenderDeposed
from syncd.ledger import Lease
from syncd.ledger.schema import call, lead
from syncd.simulator import Fault, Settings
from tests.delivery.conftest import Start
from tests.delivery.stage import NOON, ZONE, Stage
from tests.support.ledgers import opened
from tests.support.rawserver import Peer, raw_server, response


def test_leads_leave_in_one_call_and_are_delivered(stage: Stage) -> None:
    a, b = stage.add("ana", "beto")
    stage.clock.now += 7
    result = stage.turn()
    assert stage.states() == {a: "delivered", b: "delivered"}
    assert stage.accepted() == {"ana": 1, "beto": 1}
    assert result.settled["delivered"] == 2
    assert result.call is not None
    assert (result.call.outcome, result.call.leads, result.call.http_status) == ("accepted", 2, 201)
    assert result.call.waited == {7: 2}
    assert (result.standing.state, stage.delivery.standing) == ("sending", result.standing)
    assert stage.turn().standing.state == "idle"
    assert stage.posts() == 1
    assert stage.delivery.quota().used == 1


def test_every_record_is_whole_and_reads_as_the_row_reads(stage: Stage) -> None:
    (key,) = stage.add("muñoz")
    stage.change(key, name="Ñandú 🦤")
    stage.turn()
    ((record,),) = stage.bodies()
    assert (record["customer_id"], record["customer_name"]) == ("muñoz", "Ñandú 🦤")
    assert len(record) == 37
    assert set(map(type, record.values())) == {str}


def test_the_intent_is_committed_before_the_first_byte_leaves(start: Start) -> None:
    seen: list[object] = []

    def look(peer: Peer) -> None:
        with opened(stage.home_url, prepare=False) as other, other.home.read() as connection:
            seen.extend(
                tuple(row)
                for row in connection.execute(
                    select(call.c.state, call.c.leads, lead.c.state).join(lead, lead.c.call_n == call.c.n)
                )
            )
        peer.read_request()
        peer.send(response(b'{"code": "201", "msg": "All records has been added successfully"}'))

    with raw_server(look) as server:
        stage = start(url=server.url)
        stage.add("ana")
        stage.turn()
        assert seen == [("intended", 1, "sending")]
        assert len(server.requests) == 1
        assert set(stage.states().values()) == {"delivered"}


def test_the_body_is_the_one_that_the_intent_knows(stage: Stage) -> None:
    stage.add("ana")
    stage.turn()
    (body,) = stage.simulator.state.bodies()
    (made,) = stage.calls()
    assert made["body_hash"] == stage.ledger.hasher.body(body)
    assert (made["campaign_id"], made["quota_day"], made["term"]) == ("12345", "2026-03-02", stage.term())
    assert made["deadline_at"] - made["started_at"] == stage.client.timeout_secs


def test_a_row_that_is_gone_is_withdrawn_without_a_call(stage: Stage) -> None:
    (key,) = stage.add("ana")
    stage.crm.execute("DELETE FROM leads")
    result = stage.turn()
    assert (stage.states(), stage.posts(), result.settled) == ({key: "withdrawn"}, 0, {"withdrawn": 1})


def test_a_consent_withdrawn_meanwhile_is_heeded(stage: Stage) -> None:
    stays, goes = stage.add("ana", "beto")
    stage.change(goes, consent=False, captured=False)
    stage.turn()
    assert stage.states() == {stays: "delivered", goes: "withdrawn"}
    assert stage.accepted() == {"ana": 1}


def test_a_withdrawn_lead_that_matches_again_leaves(stage: Stage) -> None:
    (key,) = stage.add("ana")
    stage.change(key, consent=False)
    stage.turn()
    stage.change(key, consent=True)
    stage.turn()
    assert stage.states() == {key: "delivered"}


def test_what_leaves_is_the_row_as_it_is_now(stage: Stage) -> None:
    (key,) = stage.add("ana")
    stage.change(key, name="Otra", captured=False)
    stage.turn()
    assert stage.bodies()[0][0]["customer_name"] == "Otra"


def test_a_row_that_gives_no_record_is_rejected_with_its_reason_and_stops_no_other(stage: Stage) -> None:
    bad, good = stage.add("mala", "buena")
    stage.change(bad, mobile=None)
    stage.turn()
    assert stage.states() == {bad: "rejected", good: "delivered"}
    row = stage.lead(bad)
    assert row["rule"] == "telephone"
    assert "telephone" in str(row["reason"])
    stage.change(bad, mobile="90000000009")
    stage.run(900)
    assert stage.states()[bad] == "delivered", "corrected, it leaves"


def test_batches_are_as_large_as_configured_and_the_first_come_are_the_first_to_leave(start: Start) -> None:
    stage = start(batch_size=2)
    names = ["a", "b", "c", "d", "e"]
    for name in names:
        stage.add(name)
        stage.clock.now += 1
    stage.run(1000)
    assert [[record["customer_id"] for record in body] for body in stage.bodies()] == [["a", "b"], ["c", "d"], ["e"]]


def test_a_call_is_stamped_with_its_id(start: Start) -> None:
    stage = start(marker="opt12", resend=True)
    (key,) = stage.add("ana")
    stage.turn()
    (made,) = stage.calls()
    assert stage.bodies()[0][0]["opt12"] == made["id"]
    stage.capture(key)
    stage.run(1000)
    assert stage.states() == {key: "unchanged"}, "the stamp is no part of what is compared"


# -- resend --------------------------------------------------------------------------------------------------


def test_a_delivered_lead_is_never_sent_again(stage: Stage) -> None:
    (key,) = stage.add("ana")
    stage.turn()
    stage.change(key, name="Otra")
    stage.run(5000)
    assert (stage.posts(), stage.states()) == (1, {key: "delivered"})


def test_when_changed_sends_again_only_what_differs(start: Start) -> None:
    stage = start(resend=True)
    stage.resent_on_purpose = True
    (key,) = stage.add("ana")
    stage.turn()
    stage.capture(key)
    stage.run(1000)
    assert (stage.posts(), stage.states()) == (1, {key: "unchanged"})
    stage.change(key, name="Otra")
    stage.run(1000)
    assert (stage.posts(), stage.states()) == (2, {key: "delivered"})
    stage.capture(key)
    stage.run(1000)
    assert (stage.posts(), stage.states()) == (2, {key: "unchanged"})


@pytest.mark.parametrize(("resend", "posts"), [(False, 1), (True, 2)])
def test_a_change_while_the_call_is_under_way_is_considered_after_it(start: Start, *, resend: bool, posts: int) -> None:
    stage = start(resend=resend)
    stage.resent_on_purpose = resend
    (key,) = stage.add("ana")

    def change() -> None:
        stage.client.after = lambda: None
        stage.change(key, name="Otra")

    stage.client.after = change
    stage.turn()
    stage.run(1000)
    assert (stage.posts(), stage.states()) == (posts, {key: "delivered"})


# -- dedupe --------------------------------------------------------------------------------------------------


def test_nobody_is_twice_in_a_batch(start: Start) -> None:
    stage = start(dedupe_hours=24)
    first, second = stage.add("ana", "ana-bis", mobile="90000000001")
    stage.turn()
    assert stage.states() == {first: "delivered", second: "pending"}
    stage.run(1000)
    assert stage.states() == {first: "delivered", second: "duplicate"}
    assert stage.accepted() == {"ana": 1}


def test_whoever_waited_for_a_twin_that_was_refused_is_called_instead(start: Start) -> None:
    stage = start(dedupe_hours=24, sim=Settings(campaigns={"12345": "predictive"}, keep_bodies=9))
    keys: list[str] = []
    for document, mobile in (("a,b", 1), ("ana", 1), ("beto", 2), ("beto-bis", 2)):
        keys += stage.add(document, mobile=f"9000000000{mobile}")
        stage.clock.now += 1  # of leads of one instant, either may be the first
    first, second, third, fourth = keys
    stage.run(1000)
    states = stage.states()
    assert (states[first], states[second]) == ("rejected", "delivered")
    assert (states[third], states[fourth]) == ("delivered", "duplicate")


@pytest.mark.parametrize("kind", ["maintenance", "cut-after"])
def test_twins_are_never_both_called_whatever_becomes_of_the_first(start: Start, kind: str) -> None:
    stage = start(dedupe_hours=24)
    stage.simulator.script(Fault(kind, api="add_record"))
    stage.add("ana", "ana-bis", mobile="90000000001")
    stage.run(3000)
    assert sum(stage.accepted().values()) == 1
    assert set(stage.states().values()) == {"duplicate", "held" if kind == "cut-after" else "delivered"}


def test_nobody_is_called_again_within_the_hours_of_dedupe(start: Start) -> None:
    stage = start(dedupe_hours=24)
    stage.add("ana", mobile="90000000001")
    stage.turn()
    stage.clock.now += 23 * 3600
    (again,) = stage.add("ana-bis", mobile="90000000001")
    stage.run(900)
    assert stage.states()[again] == "duplicate"
    stage.clock.now += 2 * 3600
    (later,) = stage.add("ana-ter", mobile="90000000001")
    stage.run(900)
    assert stage.states()[later] == "delivered"


def test_nobody_is_called_again_while_the_outcome_of_their_call_is_unknown(start: Start) -> None:
    stage = start(dedupe_hours=24)
    stage.simulator.script(Fault("cut-after"))
    (held,) = stage.add("ana", mobile="90000000001")
    stage.turn()
    (again,) = stage.add("ana-bis", mobile="90000000001")
    stage.run(2000)
    assert stage.states() == {held: "held", again: "duplicate"}


def test_a_lead_is_not_its_own_duplicate(start: Start) -> None:
    stage = start(dedupe_hours=24, resend=True)
    stage.resent_on_purpose = True
    (key,) = stage.add("ana", mobile="90000000001")
    stage.turn()
    stage.change(key, name="Otra")
    stage.run(1000)
    assert (stage.states(), stage.posts()) == ({key: "delivered"}, 2)


@pytest.mark.parametrize("first", ["changed", "new"])
def test_a_changed_lead_and_a_new_one_of_the_same_person_make_one_call(start: Start, first: str) -> None:
    stage = start(dedupe_hours=24, resend=True)
    stage.resent_on_purpose = True
    (old,) = stage.add("ana", mobile="90000000001")
    stage.turn()
    stage.clock.now += 1000
    if first == "changed":
        stage.change(old, mobile="90000000002")
    stage.clock.now += 1
    stage.add("beto", mobile="90000000002")
    stage.clock.now += 1
    if first == "new":
        stage.change(old, mobile="90000000002")
    stage.run(1000)
    assert sorted(stage.states().values()) == ["delivered", "duplicate"]
    assert sum(record["tel1"] == "90000000002" for body in stage.bodies() for record in body) == 1


def test_a_changed_lead_that_became_somebody_called_lately_is_a_duplicate(start: Start) -> None:
    stage = start(dedupe_hours=24, resend=True)
    changed, called = stage.add("ana", mobile="90000000001"), stage.add("beto", mobile="90000000002")
    stage.turn()
    stage.change(changed[0], mobile="90000000002")
    stage.run(1000)
    assert stage.states() == {changed[0]: "duplicate", called[0]: "delivered"}


def test_a_person_whose_row_was_touched_is_not_called_by_another_row(start: Start) -> None:
    """The CRM writes back into the row; the record stays the same; then the person fills in the form again."""
    stage = start(dedupe_hours=24, resend=True)
    (old,) = stage.add("ana", mobile="90000000001")
    stage.turn()
    stage.capture(old)
    stage.run(1000)
    (again,) = stage.add("ana-bis", mobile="90000000001")
    stage.run(1000)
    assert stage.states() == {old: "unchanged", again: "duplicate"}


# -- the budget and the hours --------------------------------------------------------------------------------


def test_calls_stop_at_the_budget_and_go_on_with_the_next_day(start: Start) -> None:
    stage = start(licenses=1, reserve=997, batch_size=1)
    keys = stage.add("a", "b", "c", "d", "e")
    stage.run(1800)
    assert sorted(stage.states().values()) == ["delivered"] * 3 + ["pending"] * 2
    result = stage.turn()
    assert (result.standing.state, result.call) == ("quota_exhausted", None)
    quota = stage.delivery.quota()
    assert (quota.used, quota.remaining, quota.limit, quota.reserved) == (3, 0, 1000, 997)
    stage.delivery = stage.new_delivery()
    assert stage.turn().standing.state == "quota_exhausted", "a restart forgets nothing"
    stage.clock.now = quota.resets_at - 200
    stage.run(199)
    assert stage.posts() == 3
    stage.run(60)
    assert stage.states() == dict.fromkeys(keys, "delivered")
    assert {made["quota_day"] for made in stage.calls()} == {"2026-03-02", "2026-03-03"}


def test_calls_are_spread_over_the_day_and_no_lead_waits_longer_than_max_wait(start: Start) -> None:
    stage = start(licenses=1, reserve=980, max_wait_secs=900)
    for number in range(20):
        stage.add(f"lead-{number}")
        stage.run(300)
    starts = [made["started_at"] for made in stage.calls()]
    assert starts[0] == NOON, "on a quiet day a lead leaves at once"
    assert all(850 < later - sooner < 1250 for sooner, later in pairwise(starts[1:]))
    captured = {key: float(str(row["captured_at"])) for key, row in stage.leads().items()}
    settled = {key: float(str(row["settled_at"])) for key, row in stage.leads().items() if row["settled_at"]}
    assert max(settled[key] - captured[key] for key in settled) <= 900.1


def test_outside_the_hours_nothing_leaves_and_within_them_all_does(start: Start) -> None:
    stage = start(hours=["Mon-Fri 14:00-15:00"], closed_on=lambda day: day == date(2026, 3, 2))
    (key,) = stage.add("ana")
    result = stage.turn()
    assert (result.standing.state, result.next_at, stage.posts()) == ("closed", NOON + 60, 0)
    opens = datetime(2026, 3, 3, 14, tzinfo=ZONE).timestamp()
    stage.run(1800)
    stage.clock.now = opens - 100
    stage.run(99)
    assert stage.posts() == 0
    stage.run(60)
    assert stage.states() == {key: "delivered"}
    assert opens <= stage.calls()[0]["started_at"] < opens + 5


# -- several syncs, and the sender -----------------------------------------------------------------------


def test_the_sync_whose_lead_waits_longest_is_first(start: Start) -> None:
    stage = start(
        syncs=("one", "two"),
        campaigns=("12345", "777"),
        sim=Settings(campaigns={"12345": "predictive", "777": "predictive"}),
    )
    stage.add("late", sync="one")
    stage.clock.now -= 100
    stage.add("early", sync="two")
    stage.clock.now += 200
    stage.turn()
    assert (stage.accepted("777"), stage.accepted()) == ({"early": 1}, {})
    stage.run(1000)
    assert stage.accepted() == {"late": 1}


def test_a_deposed_sender_posts_nothing(stage: Stage) -> None:
    (key,) = stage.add("ana")
    term = stage.term()
    stage.lease.release()
    heir = Lease(stage.ledger.home, stage.clock, "the heir")
    assert heir.acquire()
    stage.lease.term = term  # it does not know yet
    with pytest.raises(SenderDeposed):
        stage.turn()
    assert (stage.posts(), stage.states(), stage.calls()) == (0, {key: "pending"}, [])
    heir.close()


def test_a_crm_that_does_not_answer_stops_nothing_for_good(stage: Stage) -> None:
    (key,) = stage.add("ana")
    stage.crm.execute("ALTER TABLE leads RENAME TO elsewhere")
    result = stage.turn()
    assert result.trouble is not None
    assert (result.standing.state, stage.posts(), stage.states()) == ("held", 0, {key: "pending"})
    assert "ana" not in result.standing.reason
    stage.run(60)
    assert stage.posts() == 0
    stage.crm.execute("ALTER TABLE elsewhere RENAME TO leads")
    stage.run(3600)
    assert stage.states() == {key: "delivered"}


def test_a_sync_whose_table_is_gone_stops_no_other(start: Start) -> None:
    stage = start(syncs=("web", "other"), campaigns=("12345", "12345"))
    stage.delivery._lanes[0].reader._relation = ("public", "nowhere")
    (stuck,) = stage.add("ana")
    (goes,) = stage.add("beto", sync="other")
    stage.run(100)
    assert stage.states() == {stuck: "pending", goes: "delivered"}
