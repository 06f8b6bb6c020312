"""Days of the whole daemon in virtual time; a failing seed is replayed by `python -m tests.simulation`.

Two thousand days by default; SYNCD_SIM_DAYS plays another number.
"""

from __future__ import annotations

import os
from functools import cache

import pytest

from syncd.model import Exchange
from syncd.replies import TABLE, judge
from tests.simulation.run import DAYS, Simulation
from tests.simulation.vendor import REFUSALS
from tests.simulation.world import SimulatedHome, Violation

_DAYS = int(os.environ.get("SYNCD_SIM_DAYS", "2000"))
_PARTS = 20 if _DAYS >= 1000 else 2


@cache
def home() -> SimulatedHome:
    """One for all seeds of a worker."""
    return SimulatedHome()


@pytest.mark.slow
@pytest.mark.timeout(max(600, _DAYS // 4))
@pytest.mark.parametrize("part", range(_PARTS))
def test_many_days(part: int) -> None:
    """Each part plays its seeds until it has its share of the days, with faults and without."""
    days, seed = 0.0, part
    while days < _DAYS / _PARTS:
        simulation = Simulation(home(), seed)
        try:
            simulation.run()
        except Violation as violation:
            story = "\n".join(simulation.world.line(at, text) for at, text in list(simulation.world.story)[-40:])
            pytest.fail(f"{story}\n{violation}\nReplay: python -m tests.simulation {seed} --verbose")
        days += min(simulation.days, DAYS * 1.25)  # however long one drains: four days of five are days with faults
        seed += _PARTS
    assert simulation.invariants.checks > DAYS


def test_a_seed_tells_the_same_story_each_time() -> None:
    stories = []
    for _ in range(2):
        simulation = Simulation(home(), 3)
        simulation.run()
        stories.append((simulation.world.io_steps, simulation.world.now, len(simulation.vendor.stored)))
    assert stories[0] == stories[1]
    assert stories[0][2] > 0


def test_every_refusal_of_the_table_is_played() -> None:
    for name, (status, text) in REFUSALS.items():
        body = f'{{"code": "{status}", "msg": "{text}"}}'.encode()
        assert judge(Exchange(True, status, body, "", 1.0), 3).name == name
    assert {*REFUSALS, "accepted", "records-refused"} == {meaning.name for meaning in TABLE}
