"""The two loops of a sender, as threads: neither starves, dies of a ledger that is away, or misses that leads came."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from syncd import loops
from syncd.delivery import DeliveryResult, Standing
from syncd.errors import LedgerUnavailable, SenderDeposed
from syncd.logs import configure
from syncd.loops import Loops
from syncd.verify import VerifyResult
from tests.daemon.conftest import Start
from tests.support.site import Site
from tests.support.waiting import eventually

STANDING = Standing("sending", "Leads leave.")
SECS = 10.0
"""Nothing here takes long."""
CALL: Any = object()
"""Stands for the report of a call, which the loops look at only to see that there is one."""


class Clock:
    """The time, as the test has it."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Turns:
    """Something that turns: delivery, verification or an intake; `act` is called at each turn, and gives its result."""

    def __init__(self, act: Callable[[], Any]) -> None:
        self.act = act
        self.made = 0
        self.distrusts_ledger = False
        # -- as an intake has them --
        self.source = SimpleNamespace(fileno=lambda: None, close=lambda: None)
        self.trouble = None
        self.due: float = float("inf")

    def run_once(self) -> Any:
        self.made += 1
        return self.act()

    def due_at(self, _now: float) -> float:
        return self.due


class Rig:
    """Loops around what a test makes of the turns."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.delivery = Turns(lambda: DeliveryResult(STANDING, self.clock.now + 1_000))
        self.verifier = Turns(lambda: VerifyResult(None))
        self.intakes = [Turns(lambda: None), Turns(lambda: None)]

    def make(self) -> Loops:
        parts: tuple[Any, Any, Any] = (self.intakes, self.delivery, self.verifier)
        return Loops(*parts, self.clock, lambda _: None, lambda _: None, lambda _: None)


Begin = Callable[[Rig], Loops]


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    monkeypatch.setattr(loops, "RETRY_SECS", 0.01)
    # An earlier test of this process may have left the log with a stream that is closed by now.
    configure("json", "error", io.StringIO())
    yield Rig()
    structlog.reset_defaults()


@pytest.fixture
def begin() -> Iterator[Begin]:
    with ExitStack() as stack:

        def starter(rig: Rig) -> Loops:
            made = rig.make()
            made.start()
            stack.callback(made.stop, lambda: None)
            return made

        yield starter


def busy(rig: Rig, secs: float) -> Callable[[], DeliveryResult]:
    """Each turn of delivery makes a call of so many seconds, and has the next one at hand."""

    def act() -> DeliveryResult:
        rig.clock.now += secs
        return DeliveryResult(STANDING, rig.clock.now, call=CALL)

    return act


def test_however_busy_delivery_is_verification_has_its_turns_and_not_one_with_each_call(rig: Rig, begin: Begin) -> None:
    seen: list[int] = []

    def act() -> VerifyResult:
        seen.append(rig.delivery.made)
        return VerifyResult(None)

    rig.verifier.act = act
    rig.delivery.act = busy(rig, 5)
    begin(rig)
    eventually(lambda: len(seen) >= 5, "verification turns", SECS)
    assert seen[:5] == [12, 24, 36, 48, 60], "once a minute"


def test_a_clock_that_is_set_back_keeps_verification_from_no_turn(rig: Rig, begin: Begin) -> None:
    rig.delivery.act = busy(rig, 0.001)
    rig.clock.now = 900_000.0
    made = rig.make()
    rig.clock.now = 1_000.0
    rig.make = lambda: made  # type: ignore[method-assign]  # begun before its clock was set back
    begin(rig)
    eventually(lambda: rig.verifier.made, "verification turns", SECS)


def test_where_delivery_has_nothing_to_do_verification_turns_at_once_and_says_when_again(
    rig: Rig, begin: Begin
) -> None:
    def act() -> VerifyResult:
        rig.clock.now += 1
        return VerifyResult(rig.clock.now)

    rig.verifier.act = act
    begin(rig)
    eventually(lambda: rig.verifier.made >= 20, "verification goes on by itself", SECS)


def test_a_ledger_that_is_not_to_be_trusted_is_not_verified_from(rig: Rig, begin: Begin) -> None:
    rig.delivery.act = lambda: DeliveryResult(STANDING, rig.clock.now)
    rig.delivery.distrusts_ledger = True
    begin(rig)
    eventually(lambda: rig.delivery.made >= 20, "delivery turns", SECS)
    assert rig.verifier.made == 0


@pytest.mark.parametrize("who", ["delivery", "verifier", "intake"])
def test_a_ledger_that_is_away_ends_no_loop(rig: Rig, begin: Begin, who: str) -> None:
    def act() -> None:
        raise LedgerUnavailable("The disk is full.")

    turns: Turns = rig.intakes[0] if who == "intake" else getattr(rig, who)
    turns.act, before = act, turns.act
    rig.intakes[0].due = 0.0
    made = begin(rig)
    eventually(lambda: turns.made >= 3, "it is tried again", SECS)
    turns.act, so_far = before, turns.made
    eventually(lambda: turns.made > so_far, "it goes on", SECS)
    assert made.failure is None


@pytest.mark.parametrize("who", ["delivery", "verifier", "intake"])
def test_whatever_else_ends_a_loop_is_seen(rig: Rig, begin: Begin, who: str) -> None:
    error = SenderDeposed("Another syncd has become the sender of this ledger.")

    def act() -> None:
        raise error

    (rig.intakes[0] if who == "intake" else getattr(rig, who)).act = act
    rig.intakes[0].due = 0.0
    made = begin(rig)
    eventually(lambda: made.failure is error, "it is seen", SECS)


def test_leads_that_come_while_delivery_looks_are_not_left_until_its_next_look(rig: Rig, begin: Begin) -> None:
    """What is captured right after delivery has looked must make it look again, and not a minute later."""
    intake = rig.intakes[0]
    waits = threading.Event()

    def look() -> DeliveryResult:
        if rig.delivery.made == 1:
            intake.captured()  # type: ignore[attr-defined]  # the loops have set it
        else:
            waits.set()
        return DeliveryResult(STANDING, rig.clock.now + 1_000)

    rig.delivery.act = look
    begin(rig)
    assert waits.wait(SECS)


def test_of_two_syncs_that_are_always_due_none_keeps_the_other_waiting(rig: Rig, begin: Begin) -> None:
    for intake in rig.intakes:
        intake.due = 0.0
    begin(rig)
    first, second = rig.intakes
    eventually(lambda: first.made + second.made >= 100, "intake turns", SECS)
    assert min(first.made, second.made) >= 49


def test_told_to_stop_they_end_from_any_wait(rig: Rig) -> None:
    made = rig.make()
    made.start()
    eventually(lambda: rig.delivery.made, "delivery turns", SECS)
    waited: list[int] = []
    made.stop(lambda: waited.append(1))
    assert len(waited) <= 6, "it does not sleep its minute"
    assert made.failure is None


BROKEN = """
import sys
from syncd.cli import main
from syncd.delivery import Delivery
def fail(_):
    raise ZeroDivisionError("a value of a row")
Delivery.run_once = fail
sys.exit(main())
"""


def test_a_daemon_of_which_a_loop_has_ended_ends_and_says_where(site: Site, start: Start) -> None:
    """Else it would keep the lease, and nothing would leave."""
    daemon = start(site, program=BROKEN)
    said = daemon.wait_for("daemon.failed")
    assert daemon.popen.wait(30) == 1
    assert said["reason"] == "ZeroDivisionError"
    assert any("loops.py" in place for place in said["where"])
    assert "a value of a row" not in daemon.output
