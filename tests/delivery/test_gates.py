"""What keeps leads from being sent, beside pacing: their age, a surge, a pause, a clock, a process that stood still."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from syncd.delivery.gates import CLOCK_TOLERANCE_SECS
from syncd.ledger import views
from syncd.model import Change
from syncd.states import LeadState
from tests.delivery.conftest import Start
from tests.delivery.stage import NOON, Stage

HOUR = 3600.0
JUMP = CLOCK_TOLERANCE_SECS + 60


def named(count: int, of: str = "lead") -> list[str]:
    return [f"{of}-{number}" for number in range(count)]


def remark(stage: Stage, sync: str = "web") -> str | None:
    with stage.ledger.home.read() as connection:
        return next(view.paused for view in views.syncs(connection) if view.name == sync)


# -- age -----------------------------------------------------------------------------------------------------


def test_a_lead_that_has_waited_too_long_expires_and_a_change_brings_it_back(start: Start) -> None:
    stage = start(max_age_hours=2, hours=["Mon-Sun 15:00-23:00"])
    (old,) = stage.add("ana")
    stage.clock.now += 2 * HOUR
    (young,) = stage.add("beto")
    stage.run(1 * HOUR + 1000)
    assert stage.states() == {old: "expired", young: "delivered"}
    assert stage.accepted() == {"beto": 1}
    stage.run(HOUR)
    assert stage.states()[old] == "expired"
    stage.change(old, name="Ana María")
    stage.run(1000)
    assert stage.states()[old] == "delivered"
    assert stage.accepted() == {"ana": 1, "beto": 1}


def test_without_a_limit_no_lead_is_too_old(start: Start) -> None:
    stage = start()
    (key,) = stage.add("ana")
    stage.clock.now += 1000 * HOUR
    stage.run(1000)
    assert stage.states() == {key: "delivered"}


def test_an_expired_lead_is_retried_by_an_operator(start: Start) -> None:
    stage = start(max_age_hours=2)
    (key,) = stage.add("ana")
    stage.clock.now += 3 * HOUR
    stage.turn()
    assert stage.states() == {key: "expired"}
    assert stage.ledger.doubts.retry_key("web", key, stage.clock(), "ana", "they asked for it") is LeadState.EXPIRED
    stage.run(1000)
    assert stage.states() == {key: "delivered"}


# -- a surge -------------------------------------------------------------------------------------------------


def test_a_surge_pauses_its_sync_alone_is_said_once_and_resume_sends_it(start: Start) -> None:
    stage = start(syncs=("web", "other"), campaigns=("12345", "12345"), max_per_hour=10, max_wait_secs=60)
    keys = stage.add(*named(11))
    calm = stage.add("ana", sync="other")
    surges: list[tuple[str, str]] = []
    for _ in range(40):
        result = stage.turn()
        surges += result.surges
        assert result.sync != "web" or result.call is None
        stage.clock.now += 5
    ((sync, sentence),) = surges
    assert sync == "web"
    assert "11 leads within an hour are more than max_leads_per_hour = 10" in sentence
    assert "`syncd resume web`" in sentence
    assert stage.states() == dict.fromkeys(keys, "pending") | dict.fromkeys(calm, "delivered")
    assert remark(stage) is not None
    assert remark(stage, "other") is None
    (act,) = stage.ledger.doubts.acts(10)
    assert (act.who, act.what, act.subject) == ("syncd", "pause", "web")
    assert stage.ledger.doubts.resume("web", stage.clock(), "ana", "they are real")
    stage.run(600)
    assert {stage.states()[key] for key in keys} == {"delivered"}
    assert remark(stage) is None


def test_after_the_resumption_it_does_not_pause_again_for_the_same_leads_but_for_new_ones(start: Start) -> None:
    stage = start(max_per_hour=10, batch_size=5, max_wait_secs=60)
    keys = stage.add(*named(30))
    stage.run(30)
    assert remark(stage) is not None
    stage.ledger.doubts.resume("web", stage.clock(), "ana", "they are real")
    stage.run(600)
    assert stage.states() == dict.fromkeys(keys, "delivered")
    few = stage.add(*named(10, "few"))
    stage.run(600)
    assert {stage.states()[key] for key in few} == {"delivered"}
    stage.add("one-more")
    stage.run(60)
    assert "11 leads" in (remark(stage) or "")


def test_leads_that_left_within_the_hour_count_and_those_before_do_not(start: Start) -> None:
    stage = start(max_per_hour=10, max_wait_secs=60)
    stage.add(*named(6, "first"))
    stage.run(600)
    stage.add(*named(4, "second"))
    stage.run(600)
    assert remark(stage) is None
    stage.clock.now += HOUR
    stage.add(*named(10, "third"))
    stage.run(600)
    assert remark(stage) is None
    assert set(stage.states().values()) == {"delivered"}
    stage.add("too-many")
    stage.run(600)
    assert remark(stage) is not None
    assert sum(stage.accepted().values()) == 20


def test_what_gathered_over_a_night_is_no_surge(start: Start) -> None:
    stage = start(max_per_hour=10, hours=["Mon-Sun 18:00-23:00"])
    for hour in range(6):
        stage.clock.now = NOON + hour * HOUR + 60
        stage.add(*named(8, f"hour-{hour}"))
    stage.clock.now = NOON + 6 * HOUR + 30
    stage.run(2 * HOUR)
    assert remark(stage) is None
    assert set(stage.states().values()) == {"delivered"}


def test_a_bulk_change_of_what_was_delivered_is_a_surge(start: Start) -> None:
    stage = start(max_per_hour=10, max_wait_secs=60, resend=True)
    keys = []
    for hour in range(3):
        keys += stage.add(*named(8, f"hour-{hour}"))
        stage.run(HOUR + 60)
    assert set(stage.states().values()) == {"delivered"}
    for key in keys:
        stage.change(key, name="Otro")
    stage.run(600)
    assert stage.states() == dict.fromkeys(keys, "pending")
    assert "24 leads" in (remark(stage) or "")


def test_rows_that_were_there_at_the_start_are_no_surge(start: Start) -> None:
    stage = start(max_per_hour=10, batch_size=20, max_wait_secs=60)
    keys = [
        str(number)
        for (number,) in stage.crm.execute(
            "INSERT INTO leads (document, name, mobile) SELECT 'doc-' || i, 'X', '9' || (3000000000 + i)"
            " FROM generate_series(1, 60) AS i RETURNING id"
        ).fetchall()
    ]
    sync_id = stage.ledger.register("web", stage.clock())
    stage.ledger.take_existing(sync_id, [Change(key, "1") for key in keys], len(keys), keys[-1], stage.clock())
    fresh = stage.add(*named(9))
    stage.run(HOUR)
    assert remark(stage) is None
    assert stage.states() == dict.fromkeys([*keys, *fresh], "delivered")


def test_leads_that_are_retried_in_bulk_are_no_surge(start: Start) -> None:
    stage = start(max_per_hour=10, max_wait_secs=60)
    keys = stage.add(*named(8))
    stage.clock.now += HOUR
    keys += stage.add(*named(8, "more"))
    for key in keys:
        stage.change(key, captured=False, consent=False)
    stage.run(60)
    assert stage.states() == dict.fromkeys(keys, "withdrawn")
    stage.crm.execute("UPDATE leads SET consent = true")
    assert stage.ledger.doubts.retry_state("web", LeadState.WITHDRAWN, stage.clock(), "ana", "consent is back") == 16
    stage.run(600)
    assert remark(stage) is None
    assert stage.states() == dict.fromkeys(keys, "delivered")


# -- a pause -------------------------------------------------------------------------------------------------


def test_a_paused_sync_is_not_sent_and_goes_on_soon_after_it_is_resumed(start: Start) -> None:
    stage = start(max_wait_secs=60)
    assert stage.ledger.register("web", stage.clock())
    assert stage.ledger.doubts.pause("web", stage.clock(), "ana", "the campaign is being changed")
    keys = stage.add("ana", "beto")
    for _ in range(10):
        result = stage.turn()
        assert (result.standing.state, result.call) == ("paused", None)
        assert "the campaign is being changed. `syncd resume web`" in result.standing.reason
        assert result.next_at <= stage.clock() + 5
        stage.clock.now += 60
    assert not stage.ledger.doubts.pause("web", stage.clock(), "beto", "another reason")
    assert remark(stage) == "the campaign is being changed"
    assert stage.ledger.doubts.resume("web", stage.clock(), "ana", "it is done")
    assert not stage.ledger.doubts.resume("web", stage.clock(), "ana", "it is done")
    assert stage.turn().call is not None
    assert stage.states() == dict.fromkeys(keys, "delivered")
    assert [act.what for act in stage.ledger.doubts.acts(10)] == ["resume", "resume", "pause", "pause"]


def test_while_something_else_waits_the_state_is_that_of_the_other(start: Start) -> None:
    stage = start(syncs=("web", "other"), campaigns=("12345", "12345"), hours=["Mon-Sun 18:00-19:00"])
    stage.add("ana")
    stage.add("beto", sync="other")
    stage.ledger.doubts.pause("web", stage.clock(), "ana", "why not")
    assert stage.turn().standing.state == "closed"
    stage.ledger.doubts.pause("other", stage.clock(), "ana", "why not")
    assert stage.turn().standing.state == "paused"


# -- the clock -----------------------------------------------------------------------------------------------


class Clocks:
    """The CRM's clock, which goes with the stage's but for what somebody did to that."""

    def __init__(self) -> None:
        self.host: Callable[[], float] = lambda: NOON
        self.apart = 0.0
        """Seconds by which the CRM's clock is ahead."""

    def __call__(self) -> float:
        return self.host() + self.apart


@pytest.fixture
def clocked(start: Start) -> tuple[Stage, Clocks]:
    clocks = Clocks()
    stage = start(crm_clock=clocks, max_wait_secs=60)
    clocks.host = stage.clock
    stage.add("first")
    stage.run(100)
    assert stage.posts() == 1
    return stage, clocks


def jump(stage: Stage, clocks: Clocks, secs: float) -> None:
    """This host's clock jumps; the CRM's does not."""
    stage.clock.now += secs
    clocks.apart -= secs


@pytest.mark.parametrize("secs", [JUMP, -JUMP, 86_400, -86_400])
def test_a_clock_that_jumps_stops_delivery_until_it_is_back(clocked: tuple[Stage, Clocks], secs: float) -> None:
    stage, clocks = clocked
    (key,) = stage.add("second")
    stage.clock.now += 70
    jump(stage, clocks, secs)
    for _ in range(5):
        result = stage.turn()
        assert result.call is None
        stage.clock.now += 1
    assert result.standing.state == "held"
    assert "one of them has jumped" in result.standing.reason
    assert ("behind" if secs > 0 else "ahead of") in result.standing.reason
    stage.start_again()
    assert stage.turn().standing.state == "held", "a start forgets nothing"
    jump(stage, clocks, -secs)
    stage.run(100)
    assert stage.states()[key] == "delivered"


@pytest.mark.parametrize("secs", [60.0, -60.0])
def test_a_small_step_is_no_jump(clocked: tuple[Stage, Clocks], secs: float) -> None:
    stage, clocks = clocked
    (key,) = stage.add("second")
    stage.clock.now += 70
    jump(stage, clocks, secs)
    stage.run(200)
    assert stage.states()[key] == "delivered"


def test_a_correction_towards_the_crms_clock_is_accepted_and_a_jump_to_its_other_side_is_not(start: Start) -> None:
    clocks = Clocks()
    clocks.apart = 3600.0
    stage = start(crm_clock=clocks, max_wait_secs=60)
    clocks.host = stage.clock
    stage.add("first")
    stage.run(100)
    assert stage.posts() == 1
    stage.add("second")
    stage.clock.now += 70
    jump(stage, clocks, 7200)
    assert stage.turn().standing.state == "held", "as far apart, on the other side"
    jump(stage, clocks, -3600)
    stage.run(100)
    assert stage.posts() == 2
    stage.add("third")
    stage.clock.now += 70
    jump(stage, clocks, -3600)
    assert stage.turn().standing.state == "held", "what was believed before is no excuse"
    jump(stage, clocks, 3600)
    stage.run(100)
    assert stage.posts() == 3


def test_a_jump_expires_nobody_and_costs_no_call(start: Start) -> None:
    clocks = Clocks()
    stage = start(crm_clock=clocks, max_age_hours=2)
    clocks.host = stage.clock
    stage.add("first")
    stage.run(1000)
    (key,) = stage.add("second")
    jump(stage, clocks, 5 * HOUR)
    stage.turn()
    assert (stage.states()[key], len(stage.calls())) == ("pending", 1)


# -- a process that stood still ------------------------------------------------------------------------------


def freeze(stage: Stage, monkeypatch: pytest.MonkeyPatch, secs: float, times: int) -> None:
    """After its next intents, the process stands still for so long."""
    real, left = stage.ledger.intend, [times]

    def intend(*arguments: Any, **named: Any) -> Any:
        made = real(*arguments, **named)
        if left[0] > 0:
            left[0] -= 1
            stage.clock.now += secs
        return made

    monkeypatch.setattr(stage.ledger, "intend", intend)


@pytest.mark.parametrize("secs", [21, 3600, -21])
def test_a_call_whose_sender_stood_still_is_not_made_and_its_leads_are_pending(
    start: Start, monkeypatch: pytest.MonkeyPatch, secs: float
) -> None:
    stage = start()
    keys = stage.add("ana", "beto")
    freeze(stage, monkeypatch, secs, times=1)
    result = stage.turn()
    assert result.call is not None
    assert (result.call.verdict, result.call.outcome) == ("frozen", "not_sent")
    assert "stood still" in result.call.sentence
    assert stage.posts() == 0
    assert stage.states() == dict.fromkeys(keys, "pending")
    stage.run(2000)
    assert stage.states() == dict.fromkeys(keys, "delivered")
    assert [call["state"] for call in stage.calls()] == ["not_sent", "accepted", "accepted"]


def test_a_short_delay_is_no_standstill(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = start()
    (key,) = stage.add("ana")
    freeze(stage, monkeypatch, 19, times=1)
    stage.turn()
    assert (stage.states(), stage.posts()) == ({key: "delivered"}, 1)


def test_a_sender_that_stands_still_again_and_again_spends_few_calls(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = start()
    (key,) = stage.add("ana")
    freeze(stage, monkeypatch, 21, times=10**6)
    stage.run(4 * HOUR, look_secs=30)
    assert (stage.states(), stage.posts()) == ({key: "pending"}, 0)
    assert len(stage.calls()) <= 60


# -- the share of verification -------------------------------------------------------------------------------


def test_leads_leave_a_share_of_the_day_to_verification_and_the_quota_says_what_is_left(start: Start) -> None:
    stage = start(licenses=1, reserve=990, verify_calls=4, batch_size=1, max_wait_secs=1)
    stage.add(*named(9))
    stage.run(600)
    assert stage.posts() == 6
    quota = stage.delivery.quota()
    assert (quota.limit, quota.used, quota.reserved, quota.remaining) == (1000, 6, 990, 4)
    result = stage.turn()
    assert (result.standing.state, result.call) == ("quota_exhausted", None)
