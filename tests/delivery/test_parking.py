"""What must wait after a refusal, on paper."""

from __future__ import annotations

import pytest

from syncd.parking import SENDER, Parks

NOON = 1_790_000_000.0


@pytest.fixture
def parks() -> Parks:
    return Parks(lambda now: now + 43_200)


def test_each_repetition_doubles_the_wait_up_to_the_slowest(parks: Parks) -> None:
    waits = [parks.park("a", NOON, 60, "again", "It refuses.", slowest=300).until - NOON for _ in range(5)]
    assert waits == [60, 120, 240, 300, 300]
    assert parks.park("a", NOON, 60, "another", "It refuses.").until == NOON + 60
    assert parks.park("a", NOON, float("inf"), "quota-spent", "No call is left.").until == NOON + 43_200


def test_the_first_of_some_that_must_wait_is_named_until_it_is_over_or_released(parks: Parks) -> None:
    parks.park("a", NOON, 60, "again", "It refuses.")
    assert parks.waiting(NOON, SENDER) is None
    found = parks.waiting(NOON + 59.9, SENDER, "a")
    assert found is not None
    assert found.sentence == "It refuses."
    assert parks.waiting(NOON + 60, "a") is None
    assert parks.on_trial("a")
    parks.release("a")
    assert (parks.waiting(NOON, "a"), parks.on_trial("a")) == (None, False)


@pytest.mark.parametrize(("back", "waits"), [(5.0, True), (59.0, True), (61.0, False), (86_400.0, False)])
def test_a_clock_that_is_set_far_back_makes_no_wait_longer(parks: Parks, back: float, *, waits: bool) -> None:
    parks.park("a", NOON, 600, "again", "It refuses.")
    assert (parks.waiting(NOON - back, "a") is not None) is waits
