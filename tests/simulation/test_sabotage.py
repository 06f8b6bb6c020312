"""Deliberate faults of the protocol, which the simulation must notice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from sqlalchemy import func, select

import syncd.ledger.calls as calls
import syncd.ledger.captures as captures
import syncd.ledger.outcomes as outcomes
import syncd.ledger.resolving as resolving
from syncd.delivery import Delivery, sending
from syncd.ledger import Ending
from syncd.ledger.schema import call
from syncd.model import Exchange
from syncd.replies import Outcome, Verdict, judge
from syncd.states import LeadState, Recapture, recapture
from tests.simulation.run import Simulation
from tests.simulation.scenario import Scenario, draw
from tests.simulation.vendor import Vendor
from tests.simulation.world import SimulatedHome, Violation

Sabotage = Callable[[pytest.MonkeyPatch], None]
_SEEDS = 30
"""So many are played at most, until one notices."""
_MOST_SEEDS = 1000


@cache
def home() -> SimulatedHome:
    return SimulatedHome()


def unknown_back_to_pending(patch: pytest.MonkeyPatch) -> None:
    whole = outcomes.finish

    def finish(connection: Any, home: Any, number: int, ending: Ending, **how: Any) -> Any:
        rest = LeadState.PENDING if ending.rest is LeadState.HELD else ending.rest
        return whole(connection, home, number, replace(ending, rest=rest), **how)

    patch.setattr(outcomes, "finish", finish)


def release_after_one_absence(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(resolving, "_is_long", lambda since, now, secs: True)
    patch.setattr("tests.simulation.process.SETTLE_SECS", 0.0)


def count_only_successes(patch: pytest.MonkeyPatch) -> None:
    def calls_started(connection: Any, quota_day: str) -> int:
        query = select(func.count()).where(call.c.quota_day == quota_day, call.c.state == "accepted")
        return connection.scalar(query) or 0

    patch.setattr(calls, "calls_started", calls_started)


def intent_after_post(patch: pytest.MonkeyPatch) -> None:
    original = Delivery._commit_intent

    def commit(self: Any, lane: Any, sync_id: Any, claim: Any, batch: Any, *more: Any) -> Any:
        self._client.add_record(lane.campaign, batch.body)
        return original(self, lane, sync_id, claim, batch, *more)

    patch.setattr(Delivery, "_commit_intent", commit)


def retry_after_a_timeout(patch: pytest.MonkeyPatch) -> None:
    original = Vendor.add_record

    def add_record(self: Vendor, campaign: Any, body: bytes) -> Exchange:
        exchange = original(self, campaign, body)
        return original(self, campaign, body) if exchange.status is None and exchange.sent else exchange

    patch.setattr(Vendor, "add_record", add_record)


def lease_not_checked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(calls, "check_term", lambda connection, home, term: None)


def position_off_by_one(patch: pytest.MonkeyPatch) -> None:
    def shifted(exchange: Any, records: int) -> Verdict:
        verdict = judge(exchange, records)
        errors = tuple(replace(error, position=(error.position + 1) % records) for error in verdict.errors)
        return replace(verdict, errors=errors)

    patch.setattr(sending, "judge", shifted)


def forget_what_changed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(captures, "recapture", _recapture_forgets)


def _recapture_forgets(state: LeadState, *, resend_changed: bool) -> Recapture:
    return replace(recapture(state, resend_changed=resend_changed), remember=False)


def new_texts_are_refusals(patch: pytest.MonkeyPatch) -> None:
    def trusting(exchange: Any, records: int) -> Verdict:
        verdict = judge(exchange, records)
        if verdict.name == "unrecognised":
            return replace(verdict, outcome=Outcome.REFUSED)
        return verdict

    patch.setattr(sending, "judge", trusting)


def _any(_plan: Scenario) -> bool:
    return True


def _freezes(plan: Scenario) -> bool:
    return plan.freeze_rate > 0


def _resends(plan: Scenario) -> bool:
    return plan.resend_changed and plan.on_unresolved == "hold" and plan.arrivals > 5


def _has_trouble(plan: Scenario) -> bool:
    return plan.trouble > 0 and plan.on_unresolved == "hold"


SABOTAGES: list[tuple[Sabotage, Callable[[Scenario], bool]]] = [
    (unknown_back_to_pending, _has_trouble),
    (release_after_one_absence, _has_trouble),
    (count_only_successes, _any),
    (intent_after_post, _any),
    (retry_after_a_timeout, _has_trouble),
    (lease_not_checked, _freezes),
    (position_off_by_one, _any),
    (forget_what_changed, _resends),
    (new_texts_are_refusals, _has_trouble),
]
"""Each with the scenarios in which it can do harm."""


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("sabotage", "may_harm"), SABOTAGES, ids=lambda each: each.__name__.strip("_"))
def test_sabotage_is_noticed(
    sabotage: Sabotage, may_harm: Callable[[Scenario], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    sabotage(monkeypatch)
    for seed in [seed for seed in range(_MOST_SEEDS) if may_harm(draw(seed))][:_SEEDS]:
        try:
            Simulation(home(), seed).run()
        except Violation:
            return
    pytest.fail(f"{sabotage.__name__} went unnoticed in {_SEEDS} seeds")
