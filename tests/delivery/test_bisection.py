"""Taking a refused call apart: on paper for any set of poisoned leads."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from syncd.bisection import PROBES, Bisection


def play(leads: Sequence[int], poisoned: set[int]) -> tuple[Bisection, int, list[int]]:
    """Answer every part as wolkvox would; the bisection, how many calls it took, and who was taken."""
    bisection, calls = Bisection(leads), 0
    taken: list[int] = []
    while (part := bisection.next_part()) is not None:
        assert part, "a call carries somebody"
        calls += 1
        if poisoned.intersection(part):
            bisection.refused(part, seq=7)
        else:
            taken += part
            bisection.accepted()
    return bisection, calls, taken


@st.composite
def batches(draw: st.DrawFn) -> tuple[int, set[int]]:
    size = draw(st.one_of(st.integers(2, 40), st.integers(2, 10_000)))
    places = st.one_of(st.integers(0, size - 1), st.sampled_from([0, 1, size // 2, size - 1]))
    return size, draw(st.sets(places, min_size=1, max_size=min(3, size - 1)))


@given(batches())
@settings(max_examples=300, deadline=None)
@example((4, {0, 1, 3}))
@example((2, {1}))
@example((10_000, {0, 9_999, 4_999}))
@example((10_000, {1, 2, 3}))
def test_up_to_three_poisoned_leads_are_condemned_and_nobody_else(batch: tuple[int, set[int]]) -> None:
    size, poisoned = batch
    leads = range(100, 100 + size)
    spoilt = {leads[place] for place in poisoned}
    bisection, calls, taken = play(leads, spoilt)
    assert bisection.condemned == dict.fromkeys(spoilt, 7)
    assert sorted(taken) == [lead for lead in leads if lead not in spoilt], "each of the others is taken, once"
    assert not bisection.in_vain
    assert not bisection.is_exhausted
    assert calls <= 6 * math.ceil(math.log2(size)) + 8
    if len(poisoned) == 1:
        assert calls <= 2 * math.ceil(math.log2(size)) + 3


@pytest.mark.parametrize("size", [2, 3, 4, 5, 200, 10_000])
def test_where_all_are_refused_it_ends_in_vain_after_few_calls(size: int) -> None:
    bisection, calls, taken = play(range(size), set(range(size)))
    assert (bisection.condemned, taken) == ({}, [])
    assert bisection.in_vain
    assert calls == min(size, PROBES)


@given(size=st.integers(1, 40), behind=st.integers(1, 3), all_refused=st.booleans())
def test_leads_behind_tell_whether_any_is_taken(size: int, behind: int, *, all_refused: bool) -> None:
    leads, others = range(size), [100 + place for place in range(behind)]
    bisection = Bisection(leads, others)
    refused: list[list[int]] = []
    taken: list[int] = []
    while (part := bisection.next_part()) is not None:
        if min(part) >= 100 and not all_refused:
            taken += part
            bisection.accepted()
        else:
            refused.append(list(part))
            bisection.refused(part, 7)
    assert bisection.in_vain is all_refused
    assert taken == ([] if all_refused else others[:1]), "one is enough"
    alone = [part[0] for part in refused if len(part) == 1]
    assert bisection.condemned == ({} if all_refused else dict.fromkeys(alone, 7))
    assert set(alone) >= set(leads[:1])
    assert all(len(part) == 1 for part in refused) or not all_refused


def test_where_many_are_refused_it_stops_within_its_calls() -> None:
    leads = range(10_000)
    bisection, calls, taken = play(leads, set(leads[1::2]))
    assert bisection.is_exhausted
    assert calls == 6 * 14 + 8
    assert set(bisection.condemned) <= set(leads[1::2])
    assert len(bisection.condemned) >= 10
    assert set(taken) <= set(leads[0::2])


def test_a_part_of_which_nobody_is_left_needs_no_call_and_tells_nothing() -> None:
    bisection = Bisection(range(8))
    while bisection.next_part() is not None:
        bisection.gone(called=False)
    bisection.gone(called=False)
    assert (bisection.is_over, bisection.in_vain, bisection.condemned) == (True, True, {})


def test_a_part_whose_call_was_not_answered_counts_and_the_search_goes_on() -> None:
    bisection = Bisection([1, 2, 3, 4, 5, 6])
    bisection.gone(called=True)
    assert bisection.next_part() == [6]
    bisection.accepted()
    condemned = set()
    while (part := bisection.next_part()) is not None:
        assert 1 not in part
        assert 6 not in part
        if 4 in part:
            bisection.refused(part, 3)
            condemned |= {4} if len(part) == 1 else set()
        else:
            bisection.accepted()
    assert bisection.condemned == {4: 3}


def test_a_lead_that_went_meanwhile_is_not_in_the_halves() -> None:
    bisection = Bisection([1, 2, 3, 4, 5, 6, 7, 8])
    bisection.accepted()  # the first
    part = list(bisection.next_part() or ())
    bisection.refused(part[:1], 5)  # of this half, one alone had still to be sent
    assert bisection.condemned == {part[0]: 5}
