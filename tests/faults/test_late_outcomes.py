"""A deposed sender that learns late what became of its call, after others have looked into it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from syncd.ledger import Findings, Ledger
from syncd.states import CallState, LeadState
from tests.support.ledgers import NOON, Scene, assert_conserved, opened, rows


@pytest.fixture
def ledger(home_url: str) -> Iterator[Ledger]:
    with opened(home_url) as made:
        yield made
        assert_conserved(made)


def absent(scene: Scene, number: int, *keys: str, at: float) -> None:
    """A check finds these leads not there."""
    findings = Findings(absent=[scene.id_of(key) for key in keys])
    scene.ledger.doubts.note_check(number, findings, at, again_secs=600, resend_changed=False, term=scene.term)


def test_an_absence_does_not_outlive_its_call(ledger: Ledger) -> None:
    scene = Scene(ledger)
    scene.capture("a")
    first = scene.intend("a")
    scene.finish(first, CallState.UNKNOWN, LeadState.HELD)
    absent(scene, first, "a", at=NOON + 300)
    scene.finish(first, CallState.REFUSED, LeadState.PENDING, at=NOON + 310)
    assert rows(ledger, scene.sync_id)["a"]["absent_at"] is None
    second = scene.intend("a", at=NOON + 5000)
    scene.finish(second, CallState.UNKNOWN, LeadState.HELD, at=NOON + 5001)
    absent(scene, second, "a", at=NOON + 5300)
    assert scene.states() == {"a": "held"}, "one absence releases nobody"
    scene.lease.close()


def test_a_late_refusal_leaves_alone_what_is_in_another_call_by_now(ledger: Ledger) -> None:
    scene = Scene(ledger)
    scene.capture("a", "b")
    first = scene.intend("a", "b")
    scene.finish(first, CallState.UNKNOWN, LeadState.HELD)
    for at in (300, 1000):
        absent(scene, first, "a", at=NOON + at)
    assert scene.states() == {"a": "pending", "b": "held"}
    second = scene.intend("a", at=NOON + 1001)
    scene.finish(first, CallState.REFUSED, LeadState.PENDING, refused={"a": "bad", "b": "bad"}, at=NOON + 1002)
    assert scene.states() == {"a": "sending", "b": "rejected"}
    scene.accept(second, at=NOON + 1003)
    assert scene.states() == {"a": "delivered", "b": "rejected"}
    scene.lease.close()
