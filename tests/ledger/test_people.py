"""Who was called by what: known while on the way and after, whatever becomes of the lead later."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

from syncd.ledger import Ledger, people
from syncd.ledger.schema import called
from syncd.model import Settlement, Sign, Twin
from syncd.states import CallState, LeadState
from tests.support.ledgers import NOON, Scene, rows

ANA, BETO = Sign("tel", 1), Sign("tel", -2)
HOUR = 3600.0


def known(scene: Scene, *signs: Sign, since: float = NOON) -> dict[Sign, set[str]]:
    """Which keys were called by these signs."""
    names = {row["id"]: key for key, row in rows(scene.ledger).items()}
    found = scene.ledger.known_people({scene.sync_id}, {sign.hash for sign in signs}, since)
    return {sign: {names[twin.lead_id] for twin in twins} for sign, twins in found.items()}


def call_by(scene: Scene, key: str, *signs: Sign, at: float = NOON) -> int:
    """The intent of a call with one lead, which is captured and recognised by these signs."""
    return scene.intend(key, at=at, signs={scene.id_of(key): set(signs)})


def duplicate(scene: Scene, key: str, of: str, number: int) -> None:
    settlement = Settlement(scene.id_of(key), LeadState.DUPLICATE, twin=Twin(scene.id_of(of), number))
    scene.ledger.settle_unsent(scene.sync_id, scene.claim().seq, [settlement], NOON + 1)


@pytest.mark.parametrize("state", ["sending", "held", "delivered"])
def test_who_was_called_or_may_have_been_is_known_by_every_sign(scene: Scene, state: str) -> None:
    scene.capture("a")
    number = call_by(scene, "a", ANA, Sign("email", 7))
    if state == "held":
        scene.finish(number, CallState.UNKNOWN, LeadState.HELD)
    elif state == "delivered":
        scene.accept(number)
    assert known(scene, ANA, Sign("email", 7), BETO) == {ANA: {"a"}, Sign("email", 7): {"a"}}
    other = scene.ledger.register("other", NOON)
    assert scene.ledger.known_people({other}, {ANA.hash}, NOON) == {}, "each sync for itself"
    assert scene.ledger.known_people({other, scene.sync_id}, {ANA.hash}, NOON) != {}, "or several together"
    assert known(scene) == {}


@pytest.mark.parametrize("how", ["rejected", "pending", "never sent"])
def test_who_was_not_taken_is_not_known(scene: Scene, how: str) -> None:
    scene.capture("a")
    number = call_by(scene, "a", ANA)
    if how == "never sent":
        scene.ledger.never_sent(scene.term, f"call-{scene.sync_id}-1", NOON + 1)
    else:
        refused = {"a": "bad"} if how == "rejected" else {}
        scene.finish(number, CallState.REFUSED, LeadState.PENDING, refused=refused)
    assert scene.states() == {"a": "rejected" if how == "rejected" else "pending"}
    assert known(scene, ANA) == {}


def test_who_was_called_is_known_for_so_long_from_the_beginning_of_the_call(scene: Scene) -> None:
    scene.capture("a")
    scene.accept(call_by(scene, "a", ANA, at=NOON), at=NOON + 5)
    assert known(scene, ANA, since=NOON) == {ANA: {"a"}}
    assert known(scene, ANA, since=NOON + 0.5) == {}


@pytest.mark.parametrize("state", [CallState.INTENDED, CallState.UNKNOWN])
def test_who_is_on_the_way_is_known_however_long_that_takes(scene: Scene, state: CallState) -> None:
    scene.capture("a")
    number = call_by(scene, "a", ANA)
    if state is CallState.UNKNOWN:
        scene.finish(number, state, LeadState.HELD)
    assert known(scene, ANA, since=NOON + 100 * HOUR) == {ANA: {"a"}}


@pytest.mark.parametrize("later", ["unchanged", "withdrawn", "rejected", "duplicate", "expired", "pending"])
def test_who_was_called_stays_known_when_the_lead_is_looked_at_again(resending: Scene, later: str) -> None:
    resending.capture("a")
    resending.accept(call_by(resending, "a", ANA))
    resending.capture("a", version="2")
    if later != "pending":
        resending.settle("a", LeadState(later))
    assert known(resending, ANA) == {ANA: {"a"}}


@pytest.mark.parametrize("second", ["accepted", "refused", "named", "verified"])
def test_a_refused_call_does_not_undo_an_earlier_one(resending: Scene, second: str) -> None:
    """A lead is delivered, changes its number, and goes again: the first number was called whatever comes of that."""
    resending.capture("a")
    resending.accept(call_by(resending, "a", ANA))
    resending.capture("a", version="2")
    number = call_by(resending, "a", BETO)
    if second == "accepted":
        resending.accept(number)
    elif second == "verified":
        resending.finish(number, CallState.UNKNOWN, LeadState.HELD)
        doubts = resending.ledger.doubts
        doubts.decide(number, LeadState.PENDING, NOON + 2, "somebody", resend_changed=True)
    else:
        refused = {"a": "bad"} if second == "named" else {}
        resending.finish(number, CallState.REFUSED, LeadState.PENDING, refused=refused)
    assert known(resending, ANA, BETO) == {ANA: {"a"}} | ({BETO: {"a"}} if second == "accepted" else {})


@pytest.mark.parametrize("how", ["refused", "named", "resolved", "accepted", "delivered"])
def test_a_duplicate_waits_for_what_becomes_of_its_twin(scene: Scene, how: str) -> None:
    scene.capture("a", "b", "c")
    number = call_by(scene, "a", ANA)
    scene.finish(number, CallState.UNKNOWN, LeadState.HELD)
    duplicate(scene, "b", "a", number)
    assert scene.states()["b"] == "duplicate"
    counts: dict[str, int]
    if how in ("resolved", "delivered"):
        state = LeadState.PENDING if how == "resolved" else LeadState.DELIVERED
        counts = scene.ledger.doubts.decide(number, state, NOON + 2, "somebody", resend_changed=False)
    elif how == "accepted":
        counts = scene.accept(number)
    else:
        refused = {"a": "bad"} if how == "named" else {}
        counts = scene.finish(number, CallState.REFUSED, LeadState.PENDING, refused=refused)
    taken = how in ("accepted", "delivered")
    assert scene.states()["b"] == ("duplicate" if taken else "pending")
    assert rows(scene.ledger)["b"]["twin_id"] == (scene.id_of("a") if taken else None)
    expected = {"named": {"rejected": 1, "pending": 1}, "refused": {"pending": 2}, "resolved": {"pending": 2}}
    assert {state: leads for state, leads in counts.items() if leads} == expected.get(how, {"delivered": 1})


def test_a_duplicate_stays_pending_where_its_twin_was_let_go_meanwhile(scene: Scene) -> None:
    scene.capture("a", "b")
    number = call_by(scene, "a", ANA)
    scene.finish(number, CallState.REFUSED, LeadState.PENDING)
    duplicate(scene, "b", "a", number)
    assert scene.states() == {"a": "pending", "b": "pending"}


def test_a_duplicate_of_another_sync_waits_for_its_twin_as_well(ledger: Ledger, scene: Scene) -> None:
    other = ledger.register("fair", NOON)
    scene.capture("a")
    number = call_by(scene, "a", ANA)
    scene.finish(number, CallState.UNKNOWN, LeadState.HELD)
    fair = Scene.__new__(Scene)
    fair.ledger, fair.resend, fair.sync_id = ledger, False, other
    fair.capture("b")
    settlement = Settlement(fair.id_of("b"), LeadState.DUPLICATE, twin=Twin(scene.id_of("a"), number))
    ledger.settle_unsent(other, fair.claim().seq, [settlement], NOON + 1)
    assert fair.states() == {"b": "duplicate"}
    ledger.doubts.decide(number, LeadState.PENDING, NOON + 2, "somebody", resend_changed=False)
    assert (scene.states(), fair.states()) == ({"a": "pending"}, {"b": "pending"})


def test_calls_that_are_too_old_to_matter_are_forgotten(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people, "_FORGET_MANY", 2)
    keys = ["a", "b", "c", "d", "held", "new", "last"]
    scene.capture(*keys)
    for hours, key in enumerate(keys[:-1]):
        number = call_by(scene, key, Sign("tel", hours), at=NOON + hours * HOUR)
        if key == "held":
            scene.finish(number, CallState.UNKNOWN, LeadState.HELD)
        else:
            scene.accept(number)
    scene.intend("last", signs={scene.id_of("last"): {ANA}}, forget_before=NOON + 4.5 * HOUR, at=NOON + 6 * HOUR)
    with scene.ledger.home.read() as connection:
        assert connection.scalar(select(func.count()).select_from(called)) == 4, "a few at a time, the oldest first"
    with scene.ledger.home.write() as connection:
        people.forget(connection, NOON + 4.5 * HOUR)
    names = {row["id"]: key for key, row in rows(scene.ledger).items()}
    with scene.ledger.home.read() as connection:
        assert {names[lead_id] for lead_id in connection.scalars(select(called.c.lead_id))} == {"held", "new", "last"}


def test_thousands_of_people_are_looked_up(resending: Scene) -> None:
    keys = [str(number) for number in range(2_500)]
    resending.capture(*keys)
    leads = resending.claim(2_500).leads
    signs = {lead.id: {Sign("tel", lead.id << 40), Sign("email", -lead.id)} for lead in leads}
    number, _ = resending.ledger.intend(
        resending.term,
        resending.intent(lead_ids=list(signs), signs=signs),
        sync_id=resending.sync_id,
        seq=resending.claim().seq,
    )
    resending.accept(number)
    every = {sign for its in signs.values() for sign in its}
    found = resending.ledger.known_people({resending.sync_id}, {sign.hash for sign in every}, NOON)
    assert {sign: set(twins) for sign, twins in found.items()} == {
        sign: {Twin(lead_id, number)} for lead_id, its in signs.items() for sign in its
    }
