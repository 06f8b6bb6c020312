"""When a call is spent: never without one, never too late, and never so fast that the day runs dry."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.pacing import OpenHours, Situation, Step, decide, quota_resets_at
from tests.support.effort import examples

ZONE = ZoneInfo("America/Bogota")
NOON = datetime(2026, 3, 2, 12, tzinfo=ZONE).timestamp()
CALM = Situation(
    now=NOON,
    pending=10,
    oldest_at=NOON - 5,
    batch_size=1000,
    max_wait_secs=900,
    calls_left=100,
    last_call_at=NOON - 60,
    opens_at=NOON,
    open_secs_left=36_000,
    resets_at=NOON + 43_200,
)


def situations() -> st.SearchStrategy[Situation]:
    near = st.floats(-200_000, 200_000)
    return st.builds(
        Situation,
        now=st.just(NOON),
        pending=st.integers(0, 30_000),
        oldest_at=st.none() | near.map(lambda secs: NOON + secs),
        batch_size=st.integers(1, 10_000),
        max_wait_secs=st.integers(1, 86_400).map(float),
        calls_left=st.integers(0, 100_000),
        last_call_at=st.none() | near.map(lambda secs: NOON + secs),
        opens_at=st.none() | st.sampled_from([NOON, NOON + 1, NOON + 50_000]),
        open_secs_left=st.floats(0, 90_000),
        resets_at=st.just(NOON + 43_200),
    )


def test_a_lead_on_a_quiet_day_leaves_at_once() -> None:
    assert decide(replace(CALM, last_call_at=NOON - 361)).step is Step.SEND
    assert decide(replace(CALM, last_call_at=None)).step is Step.SEND


def test_calls_are_spread_over_the_open_hours_that_are_left() -> None:
    decision = decide(CALM)
    assert (decision.step, decision.at) == (Step.WAIT, NOON - 60 + 360)
    assert decide(replace(CALM, now=NOON + 300, opens_at=NOON)).step is Step.SEND


def test_no_lead_waits_longer_than_max_wait() -> None:
    slow = replace(CALM, calls_left=2, oldest_at=NOON - 100)
    assert decide(slow).at == NOON + 800
    assert decide(replace(slow, now=NOON + 800)).step is Step.SEND


def test_a_full_batch_leaves_at_once() -> None:
    assert decide(replace(CALM, pending=1000, last_call_at=NOON)).step is Step.SEND


@pytest.mark.parametrize("pending", [1, 10_000])
def test_no_call_is_spent_where_none_is_left(pending: int) -> None:
    decision = decide(replace(CALM, calls_left=0, pending=pending))
    assert (decision.step, decision.at) == (Step.QUOTA_EXHAUSTED, CALM.resets_at)


def test_nothing_leaves_while_the_hours_are_closed() -> None:
    decision = decide(replace(CALM, opens_at=NOON + 5, pending=10_000))
    assert (decision.step, decision.at) == (Step.CLOSED, NOON + 5)
    assert decide(replace(CALM, opens_at=None)).at is None


def test_nothing_to_send_is_nothing_to_do() -> None:
    assert decide(replace(CALM, pending=0, oldest_at=None)).step is Step.IDLE


def test_a_clock_that_was_set_back_makes_no_lead_wait_until_it_has_caught_up() -> None:
    """The last call lies a day ahead by now: nobody can say how long ago it was."""
    assert decide(replace(CALM, last_call_at=NOON + 86_400)).step is Step.SEND
    assert decide(replace(CALM, last_call_at=NOON + 86_400, oldest_at=NOON + 86_000)).step is Step.SEND


@settings(max_examples=examples(500), deadline=None)
@given(situations())
def test_every_situation_has_one_sound_decision(situation: Situation) -> None:
    decision = decide(situation)
    s = situation
    waits = s.pending > 0 and s.oldest_at is not None
    is_open = s.opens_at is not None and s.opens_at <= s.now
    if decision.step is Step.SEND:
        assert waits
        assert is_open
        assert s.calls_left > 0
    if waits and is_open and s.calls_left > 0:
        assert decision.step in (Step.SEND, Step.WAIT)
        assert s.oldest_at is not None
        if s.pending >= s.batch_size or s.now - s.oldest_at >= s.max_wait_secs:
            assert decision.step is Step.SEND
    if decision.step is Step.WAIT:
        assert decision.at is not None
        assert s.oldest_at is not None
        assert s.now < decision.at <= s.oldest_at + s.max_wait_secs
        at_that_time = replace(s, now=decision.at)
        assert decide(at_that_time).step is Step.SEND, "what it waits for comes about by waiting"


@settings(max_examples=examples(60), deadline=None)
@given(
    seed=st.integers(0, 2**32),
    budget=st.integers(1, 300),
    leads=st.integers(1, 2000),
    hours=st.sampled_from([(), ("07:00-19:00",), ("08:00-10:00", "15:00-16:00"), ("00:00-24:00",)]),
)
def test_a_day_of_leads_never_runs_dry_and_never_exceeds_its_calls(
    seed: int, budget: int, leads: int, hours: tuple[str, ...]
) -> None:
    """Where no lead is urgent, the last call is made in the last of as many parts of the day as it has calls.

    Or, since the hours between two openings count as time that has passed, in the last but one.
    """
    dice = random.Random(seed)
    opening = OpenHours.parse(hours)
    midnight = datetime(2026, 3, 2, tzinfo=ZONE).timestamp()
    resets = quota_resets_at(midnight, ZONE)
    arrivals = sorted(midnight + dice.random() * 86_400 for _ in range(leads))

    def open_secs(begin: float) -> float:
        return opening.open_secs(begin, resets, ZONE, lambda _day: False)

    calls: list[float] = []
    waiting: list[float] = []
    now, taken = midnight, 0
    while now < resets:
        while taken < len(arrivals) and arrivals[taken] <= now:
            waiting.append(arrivals[taken])
            taken += 1
        decision = decide(
            Situation(
                now=now,
                pending=len(waiting),
                oldest_at=waiting[0] if waiting else None,
                batch_size=10_000,
                max_wait_secs=86_400,
                calls_left=budget - len(calls),
                last_call_at=calls[-1] if calls else None,
                opens_at=opening.next_open(now, ZONE, lambda _day: False),
                open_secs_left=open_secs(now),
                resets_at=resets,
            )
        )
        if decision.step is Step.SEND:
            calls.append(now)
            waiting.clear()
            continue
        if decision.step is Step.QUOTA_EXHAUSTED:
            assert len(calls) == budget
            assert open_secs(calls[-1]) <= 2 * open_secs(midnight) / budget + 1, "the day ran dry"
        following = arrivals[taken] if taken < len(arrivals) else resets
        now = min(following, resets if decision.at is None else max(decision.at, now + 1e-3))
    assert len(calls) <= budget
