"""A death at every step that touches the outside in a cycle: ledger, CRM, wolkvox; then another life goes on.

The cycle has all that a day has: leads that are accepted, one whose row is gone, one that cannot be mapped, a call
whose reply is lost, and one that never arrives. It is run once whole, to count its steps; then once for each, with a
death right there.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, select

from syncd.ledger.home import Home
from syncd.ledger.schema import lead
from syncd.simulator import Fault
from syncd.states import LeadState
from syncd.verify import Verifier, VerifyRules
from tests.delivery.stage import ZONE, Stage
from tests.faults.conftest import Empty
from tests.support.ledgers import assert_conserved

PARTS = 8
IDLE_SECS = 240.0
"""A turn with nothing to do is followed by one so much later: each is steps, of which none is like no other."""
ENDS = {"delivered", "withdrawn", "rejected"}


class Killed(BaseException):
    """The process ends here."""


class Fuse:
    """Counts steps, and is the death of whoever takes the last."""

    def __init__(self, steps: int | None = None) -> None:
        self.steps = steps
        self.taken: list[str] = []

    def step(self, name: str) -> None:
        """One step; named for the message of a test that fails."""
        self.taken.append(name)
        if len(self.taken) == self.steps:
            raise Killed

    def around(self, name: str, act: Callable[..., Any]) -> Callable[..., Any]:
        """The same with a step before and a step after it."""

        def acted(*args: Any, **kwargs: Any) -> Any:
            self.step(f"before {name}")
            result = act(*args, **kwargs)
            self.step(f"after {name}")
            return result

        return acted


@contextmanager
def fused(fuse: Fuse, stage: Stage) -> Iterator[None]:
    """Every read and write of the ledger, every read of the CRM and every call of `stage` is a step of `fuse`."""
    client = stage.client.client
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Home, "read", _stepping(Home.read, "read", fuse))
        patch.setattr(Home, "write", _stepping(Home.write, "write", fuse))
        for name in ("add_record", "find_record", "export", "campaigns"):
            patch.setattr(client, name, fuse.around(name, getattr(client, name)))
        reader = stage.delivery._lanes[0].reader
        patch.setattr(type(reader), "read", fuse.around("the CRM", type(reader).read))
        yield


def _stepping(transaction: Callable[[Home], Any], name: str, fuse: Fuse) -> Callable[[Home], Any]:
    @contextmanager
    def stepping(home: Home) -> Iterator[Connection]:
        fuse.step(f"before {name}")
        with transaction(home) as connection:
            yield connection
            if name == "write":  # a read leaves nothing: to die in it or after it is to die before the next step
                fuse.step("before its commit")
        if name == "write":
            fuse.step("after its commit")

    return stepping


class Life:
    """One life of a sender: what it does first, and then again and again."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def begin(self) -> None:
        """As after a start: nothing is remembered."""
        stage = self.stage
        stage.lease.release()
        stage.start_again()
        rules = VerifyRules(180, 600, "hold", 5000, 1, ZONE)
        client: Any = stage.client.client
        self.verifier = Verifier(stage.ledger, [stage.lane("web", "12345")], client, rules, stage.term, stage.clock)

    def work(self, keys: list[str]) -> None:
        """Capture, send, verify, until nothing is left to do."""
        stage = self.stage
        stage.capture(*keys)  # a source that was not acknowledged tells everything again
        for _ in range(500):
            result, verified = stage.turn(), self.verifier.run_once()
            if {state for state, leads in self._counts().items() if leads} <= ENDS and verified.next_at is None:
                return
            idle = result.call is None and not result.settled and verified.report is None
            stage.clock.now += IDLE_SECS if idle else 0.001
        raise AssertionError(f"it does not end: {stage.states()}")

    def _counts(self) -> dict[str, int]:
        return {state: leads for (_, state), leads in self.stage.ledger.tally().items()}


def scenes(stage: Stage) -> list[str]:
    """Rows for a cycle, with the faults that await them."""
    stage.crm.execute("TRUNCATE leads RESTART IDENTITY")
    stage.crm.execute(
        "INSERT INTO leads (document, name, mobile) SELECT 'doc-' || i, 'Ana', '9300000000' || i"
        " FROM generate_series(1, 6) AS i"
    )
    stage.crm.execute("UPDATE leads SET document = '' WHERE document = 'doc-5'")
    stage.crm.execute("UPDATE leads SET consent = false WHERE document = 'doc-6'")
    stage.simulator.script(
        Fault("cut-after", api="add_record", nth=1),
        Fault("cut-before", api="add_record", nth=2),
    )
    return [str(number) for number in range(1, 7)]


def _live(stage: Stage, fuse: Fuse) -> tuple[list[str], Life, bool]:
    keys, life = scenes(stage), Life(stage)
    stage.ledger.register("web", stage.clock())
    died = False
    try:
        with fused(fuse, stage):
            life.begin()
            life.work(keys)
    except Killed:
        died = True
    return keys, life, died


def check(stage: Stage, keys: list[str]) -> None:
    """What must hold after whatever happened."""
    assert_conserved(stage.ledger)
    states = stage.states()
    assert set(states) == set(keys), "nothing is lost"
    assert [states["5"], states["6"]] == ["rejected", "withdrawn"]
    assert stage.accepted() == {f"doc-{number}": 1 for number in range(1, 5)}, "nothing is sent twice"
    assert {state for key, state in states.items() if key in "1234"} == {"delivered"}
    assert stage.ledger.unresolved_calls() == 0
    with stage.ledger.home.read() as connection:
        held = connection.scalars(select(lead.c.id).where(lead.c.absent_at.is_not(None))).all()
    assert held == []
    posts = [made for made in stage.calls() if made["kind"] == "add_record"]
    assert stage.posts() <= len(posts), "no call without an intent"
    assert all(made["prints"] is None for made in posts)
    assert sum(made["kind"] != "add_record" for made in posts) == 0
    assert all(LeadState(state) for state in states.values())


@contextmanager
def _scene(home_url: str, crm: str) -> Iterator[Stage]:
    with Stage(home_url, crm, max_wait_secs=1, batch_size=2) as stage:
        yield stage


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(PARTS))
def test_a_death_at_any_step_loses_nobody_and_calls_nobody_twice(empty: Empty, shared_database: str, part: int) -> None:
    """Each part takes every so many steps, so that they can run beside each other."""
    for number in itertools.count(part + 1, PARTS):
        with _scene(empty(), shared_database) as stage:
            fuse = Fuse(number)
            keys, life, died = _live(stage, fuse)
            if not died:
                check(stage, keys)
                assert number > 100, "a cycle is no cycle"
                return
            try:
                assert_conserved(stage.ledger)
                life.begin()
                life.work(keys)
                check(stage, keys)
            except AssertionError as error:
                raise AssertionError(f"dead at step {number}, {fuse.taken[-1]}: {error}") from error
