"""Deliberate faults of the protocol, which the simulation must notice; played where SYNCD_SIM_DAYS is set."""

from __future__ import annotations

import os
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
from tests.simulation.vendor import Vendor
from tests.simulation.world import SimulatedHome, Violation

Sabotage = Callable[[pytest.MonkeyPatch], None]
_SEEDS = 150
"""Each is played until one notices."""


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


SABOTAGES: list[Sabotage] = [
    unknown_back_to_pending,
    release_after_one_absence,
    count_only_successes,
    intent_after_post,
    retry_after_a_timeout,
    lease_not_checked,
    position_off_by_one,
    forget_what_changed,
    new_texts_are_refusals,
]


@pytest.mark.skipif("SYNCD_SIM_DAYS" not in os.environ, reason="plays many seeds: set SYNCD_SIM_DAYS")
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("sabotage", SABOTAGES, ids=lambda sabotage: sabotage.__name__)
def test_sabotage_is_noticed(sabotage: Sabotage, monkeypatch: pytest.MonkeyPatch) -> None:
    sabotage(monkeypatch)
    for seed in range(_SEEDS):
        try:
            Simulation(home(), seed).run()
        except Violation:
            return
    pytest.fail(f"{sabotage.__name__} went unnoticed in {_SEEDS} seeds")
