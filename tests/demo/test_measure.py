"""Waits are measured as they were."""

from __future__ import annotations

from syncd.demo.measure import Call, Told, time_it, waits
from syncd.demo.proof import Sent
from syncd.demo.stage import Pacing
from syncd.demo.traffic import Book


def test_percentiles_are_waits_that_somebody_had() -> None:
    found = waits([float(each) for each in range(1, 101)])
    assert (found.leads, found.p50, found.p95, found.longest) == (100, 50.0, 95.0, 100.0)
    assert waits([2.5]).p95 == 2.5
    assert waits([]).p50 is None


def test_leads_that_waited_through_a_refusal_count_in_the_whole_and_not_among_the_undisturbed() -> None:
    calls = [
        Call(10.0, 11.0, "accepted"),
        Call(20.0, 20.5, "refused"),
        Call(35.0, 36.0, "accepted"),
        Call(37.0, 38.0, "accepted"),
        Call(40.0, 41.0, "accepted"),
    ]
    leads = {
        "old": Sent("delivered", 4.0, 5.0),
        "before": Sent("delivered", 10.0, 11.0),
        "refused": Sent("delivered", 37.0, 38.0),
        "during": Sent("delivered", 37.0, 38.0),
        "after": Sent("delivered", 40.0, 41.0),
        "never": Sent("rejected", None, None),
        "fixed": Sent("delivered", 40.0, 41.0),
    }
    committed = {"before": 9.0, "refused": 19.0, "during": 30.0, "after": 39.5, "never": 39.0}
    timing = time_it(Told(leads, [], calls), Book(committed=committed, corrected={"fixed": 38.0}), 1.0)
    assert (timing.live.leads, timing.live.longest) == (4, 19.0)
    assert (timing.undisturbed.leads, timing.undisturbed.longest) == (2, 2.0)
    assert (timing.corrected.leads, timing.corrected.longest) == (1, 3.0)
    assert (timing.backfill_leads, timing.backfill_secs) == (1, 4.0)


def test_at_any_time_of_day_a_call_goes_every_second_or_two_and_midnight_is_far() -> None:
    for minute in range(0, 1440, 7):
        assert 0.2 < Pacing(1_790_000_000.0 + minute * 60).spacing_secs < 2.0
