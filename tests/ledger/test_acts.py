"""What people do to the ledger: each act moves what it says, and is kept with its reason."""

from __future__ import annotations

import pytest

from syncd.errors import UnknownName
from syncd.ledger import Ledger, views
from syncd.ledger.acts import RETRIED, as_sentence
from syncd.model import Change, Settlement
from syncd.states import CallState, LeadState
from tests.support.ledgers import NOON, REASON, Scene, assert_conserved, rows


@pytest.mark.parametrize("state", list(LeadState))
def test_a_lead_is_retried_only_where_nobody_was_called_because_of_it(scene: Scene, state: LeadState) -> None:
    scene.bring("a", state)
    doubts = scene.ledger.doubts
    if state in RETRIED:
        assert doubts.retry_key("web", "a", NOON + 60, "ana", "why not") is state
        row = rows(scene.ledger)["a"]
        assert (row["state"], row["captured_at"], row["rank"], row["reason"]) == ("pending", NOON + 60, 0, None)
        (act,) = doubts.acts(10)
        assert (act.at, act.who, act.what, act.subject, act.reason, act.leads) == (
            NOON + 60,
            "ana",
            "retry",
            "web a",
            "why not",
            1,
        )
    else:
        with pytest.raises(UnknownName, match=f'Lead "a" of sync "web" is {state}, and is not retried'):
            doubts.retry_key("web", "a", NOON + 60, "ana", "why not")
        assert scene.states() == {"a": state}
        assert doubts.acts(10) == []
    assert_conserved(scene.ledger)


def _other_sync(scene: Scene, state: LeadState) -> int:
    """Another sync, with one lead in this state."""
    number = scene.ledger.register("chat", NOON)
    scene.ledger.capture(number, [Change("x", "1")], None, NOON, resend_changed=False)
    claim = scene.ledger.claim(number, 1)
    why = REASON if state is LeadState.REJECTED else None
    scene.ledger.settle_unsent(number, claim.seq, [Settlement(claim.leads[0].id, state, why)], NOON)
    return number


@pytest.mark.parametrize("state", RETRIED)
def test_all_of_a_state_are_retried_behind_what_is_new_and_no_others(scene: Scene, state: LeadState) -> None:
    other = _other_sync(scene, state)
    for key in "abc":
        scene.bring(key, state)
    scene.bring("d", LeadState.DELIVERED)
    scene.bring("h", LeadState.HELD)
    assert scene.ledger.doubts.retry_state("web", state, NOON + 60, "ana", "why not") == 3
    scene.capture("new", at=NOON + 90)
    assert scene.states() == dict.fromkeys([*"abc", "new"], "pending") | {"d": "delivered", "h": "held"}
    assert [lead["state"] for lead in rows(scene.ledger, other).values()] == [state]
    assert [lead.key for lead in scene.claim().leads] == ["new", "a", "b", "c"]
    assert scene.ledger.doubts.lately(scene.sync_id, NOON + 30) == 1, "retried leads are no surge"
    assert_conserved(scene.ledger)


def test_a_call_is_resolved_by_a_word_with_its_trail(scene: Scene) -> None:
    scene.bring("a", LeadState.HELD)
    (call,) = scene.ledger.doubts.unresolved()
    settled = scene.ledger.doubts.resolve(
        call.id, LeadState.PENDING, NOON + 60, "ana", "it is empty", resend_changed=False
    )
    assert settled == {"pending": 1}
    (act,) = scene.ledger.doubts.acts(10)
    assert (act.who, act.what, act.subject, act.reason, act.leads) == (
        "ana",
        "resolve --resend",
        call.id,
        "it is empty",
        1,
    )
    with scene.ledger.home.read() as connection:
        (told,) = views.calls(connection, unresolved=False, limit=1)
    assert (told.state, told.resolved_by) == (CallState.REFUSED, "ana: it is empty")
    with pytest.raises(UnknownName, match="is known: refused"):
        scene.ledger.doubts.resolve(call.id, LeadState.DELIVERED, NOON + 90, "ana", "no", resend_changed=False)
    assert len(scene.ledger.doubts.acts(10)) == 1
    assert_conserved(scene.ledger)


def test_what_a_surge_is_told_by(scene: Scene) -> None:
    lately = scene.ledger.doubts.lately
    scene.capture("a", "b", at=NOON)
    scene.capture("c", at=NOON + 10)
    assert lately(scene.sync_id, NOON - 1) == 3
    assert lately(scene.sync_id, NOON + 5) == 1
    number = scene.intend("a", "b", at=NOON + 20)
    assert lately(scene.sync_id, NOON - 1) == 3, "on their way"
    scene.accept(number, at=NOON + 21)
    assert lately(scene.sync_id, NOON - 1) == 3, "gone"
    assert lately(scene.sync_id, NOON + 20) == 0
    number = scene.intend("c", at=NOON + 30)
    scene.finish(number, CallState.REFUSED, LeadState.PENDING, at=NOON + 31)
    assert lately(scene.sync_id, NOON - 1) == 3, "back, and not counted twice"
    scene.ledger.doubts.resume("web", NOON + 40, "ana", "they are real")
    assert lately(scene.sync_id, NOON - 1) == 0
    scene.accept(scene.intend("c", at=NOON + 50), at=NOON + 51)
    assert lately(scene.sync_id, NOON - 1) == 0, "it had come before"
    scene.capture("d", at=NOON + 60)
    assert lately(scene.sync_id, NOON - 1) == 1


def test_the_pause_of_one_sync_is_not_anothers(scene: Scene) -> None:
    other = _other_sync(scene, LeadState.EXPIRED)
    doubts = scene.ledger.doubts
    assert doubts.pause("web", NOON, "ana", "the first reason")
    assert not doubts.pause("web", NOON, "ana", "another")
    assert (doubts.paused(scene.sync_id), doubts.paused(other)) == ("the first reason", None)
    assert doubts.resume("web", NOON, "ana", "done")
    assert doubts.paused(scene.sync_id) is None
    with pytest.raises(UnknownName, match='knows no sync "none"'):
        doubts.pause("none", NOON, "ana", "x")
    assert [act.what for act in doubts.acts(2)] == ["resume", "pause"]


def test_what_is_kept_is_kept(ledger: Ledger) -> None:
    assert ledger.doubts.kept("something") is None
    ledger.doubts.keep("something", "1")
    ledger.doubts.keep("something", "2")
    assert ledger.doubts.kept("something") == "2"


def test_a_reason_ends_as_a_sentence_does() -> None:
    assert [as_sentence(text) for text in ("so it is", "is it?", "It is.")] == ["so it is.", "is it?", "It is."]
