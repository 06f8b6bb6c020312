"""Intake's transactions: keys and the watermark together, and what a change does in each state."""

from __future__ import annotations

import threading

import pytest

from syncd.errors import LedgerError
from syncd.ledger import Ledger
from syncd.model import Change
from syncd.states import LeadState, recapture
from tests.support.ledgers import NOON, Scene, opened, rows


def test_unknown_keys_become_pending_with_the_watermark(scene: Scene) -> None:
    captured = scene.capture("a", "b", reached="2026-01-01")
    assert (captured.new, captured.again, captured.seen) == (2, 0, 2)
    assert scene.states() == {"a": "pending", "b": "pending"}
    assert scene.ledger.position(scene.sync_id).watermark == "2026-01-01"


def test_keys_and_watermark_are_committed_together_or_not_at_all(scene: Scene) -> None:
    scene.capture("a", reached="1")
    with pytest.raises(LedgerError):  # a lead without a version is refused by the table
        scene.ledger.capture(
            scene.sync_id,
            [Change("b", "1"), Change("c", None)],  # type: ignore[arg-type]  # on purpose
            "2",
            NOON,
            resend_changed=False,
        )
    assert scene.states() == {"a": "pending"}
    assert scene.ledger.position(scene.sync_id).watermark == "1"


def test_a_page_without_keys_moves_the_watermark_alone(scene: Scene) -> None:
    scene.capture(reached="7")
    assert scene.ledger.position(scene.sync_id).watermark == "7"
    scene.capture("a")
    assert scene.ledger.position(scene.sync_id).watermark == "7", "no new position leaves it where it is"


def test_the_start_is_written_down_once_for_all_runs(scene: Scene) -> None:
    assert scene.ledger.position(scene.sync_id).since is None
    scene.ledger.begin(scene.sync_id, "beginning", "7", "take")
    scene.ledger.expect(scene.sync_id, 1_000)
    found = scene.ledger.position(scene.sync_id)
    assert (found.since, found.watermark, found.existing, found.scan_estimate) == ("beginning", "7", "take", 1_000)


def test_what_was_there_at_the_start_waits_behind_what_is_fresh(scene: Scene) -> None:
    ledger, sync_id = scene.ledger, scene.sync_id
    scene.capture("known", at=NOON)
    assert ledger.take_existing(sync_id, [Change("old", "1"), Change("known", "0")], 2, "old", NOON + 1) == 1
    scene.capture("fresh", at=NOON + 2)
    assert [lead.key for lead in ledger.claim(sync_id, 10).leads] == ["known", "fresh", "old"]
    assert (ledger.position(sync_id).scanned, ledger.position(sync_id).scanned_to) == (2, "old")
    assert ledger.waiting(sync_id).oldest_at == NOON
    assert ledger.waiting(sync_id).fresh
    scene.capture("old", version="2", at=NOON + 3)
    assert [lead.key for lead in ledger.claim(sync_id, 10).leads] == ["known", "old", "fresh"], (
        "it changed: it is fresh"
    )
    ledger.end_existing(sync_id)
    assert ledger.position(sync_id).existing is None


def test_where_only_old_rows_wait_nothing_is_fresh(scene: Scene) -> None:
    scene.ledger.take_existing(scene.sync_id, [Change("old", "1")], 1, "old", NOON)
    waiting = scene.ledger.waiting(scene.sync_id)
    assert (waiting.pending, waiting.oldest_at, waiting.fresh) == (1, NOON, False)


def test_noted_keys_are_not_missing_and_no_leads(scene: Scene) -> None:
    ledger, sync_id = scene.ledger, scene.sync_id
    for keys in (["a", "b"], ["b", "c"]):  # noted again: once is enough
        ledger.note_existing(sync_id, keys, 2, keys[-1])
    scene.capture("lead")
    changes = [Change(key, "scanned") for key in ("a", "c", "lead", "new")]
    assert ledger.missing(sync_id, changes) == [Change("new", "scanned")]
    assert [lead.key for lead in ledger.claim(sync_id, 10).leads] == ["lead"]


def test_a_gap_stays_until_it_is_closed(scene: Scene) -> None:
    ledger, sync_id = scene.ledger, scene.sync_id
    ledger.adopt(sync_id, "slot 1/1", "0/10", "The slot was made anew.")
    ledger.adopt(sync_id, "slot 1/2", "0/5", None)
    found = ledger.position(sync_id)
    assert (found.identity, found.watermark, found.gap) == ("slot 1/2", "0/5", "The slot was made anew.")
    ledger.close_gap(sync_id)
    assert ledger.position(sync_id).gap is None


def test_the_same_version_seen_again_changes_nothing(scene: Scene) -> None:
    scene.capture("a")
    before = rows(scene.ledger)
    captured = scene.capture("a", at=NOON + 9)
    assert (captured.new, captured.again, captured.seen) == (0, 0, 1)
    assert rows(scene.ledger) == before


@pytest.mark.parametrize("resend", [False, True])
@pytest.mark.parametrize("state", LeadState)
def test_a_change_of_a_known_lead_does_what_the_states_say(ledger: Ledger, state: LeadState, *, resend: bool) -> None:
    scene = Scene(ledger, resend=resend)
    scene.bring("a", state)
    captured = scene.capture("a", version="2", at=NOON + 50)
    step = recapture(state, resend_changed=resend)
    lead = rows(ledger)["a"]
    assert lead["state"] == step.state
    assert lead["changed"] == int(step.remember)
    assert lead["version"] == "2"
    assert captured.again == int(step.state is LeadState.PENDING is not state)
    if captured.again:
        assert (lead["captured_at"], lead["settled_at"], lead["call_n"], lead["reason"]) == (
            NOON + 50,
            None,
            None,
            None,
        )
    scene.lease.close()


def test_resend_never_leaves_what_was_delivered_and_when_changed_does_not(ledger: Ledger) -> None:
    for resend, after in ((False, "delivered"), (True, "pending")):
        scene = Scene(ledger, f"sync-{resend}", resend=resend)
        scene.bring(f"a-{resend}", LeadState.DELIVERED)
        scene.capture(f"a-{resend}", version="2")
        assert scene.states() == {f"a-{resend}": after}
        scene.lease.release()


def test_known_and_unknown_keys_come_in_one_page(scene: Scene) -> None:
    scene.bring("gone", LeadState.WITHDRAWN)
    scene.bring("same", LeadState.WITHDRAWN)
    changes = [Change("gone", "2"), Change("same", "1"), Change("new", "1")]
    captured = scene.ledger.capture(scene.sync_id, changes, None, NOON, resend_changed=False)
    assert (captured.new, captured.again, captured.seen) == (1, 1, 3)
    assert scene.states() == {"gone": "pending", "same": "withdrawn", "new": "pending"}


def test_a_lead_that_changes_while_it_waits_keeps_its_place(scene: Scene) -> None:
    scene.capture("early", at=NOON)
    scene.capture("late", at=NOON + 1)
    scene.capture("early", version="2", at=NOON + 2)
    assert [claimed.key for claimed in scene.claim().leads] == ["early", "late"]


@pytest.mark.parametrize("key", ["", "ñandú", "a,b", '"quoted"', "back\\slash", "{}", "NULL", "x" * 500, "\u202e"])
def test_any_key_comes_back_as_it_was(scene: Scene, key: str) -> None:
    scene.capture(key)
    scene.capture(key, version="2")
    assert [claimed.key for claimed in scene.claim().leads] == [key]


def test_the_same_key_in_two_syncs_is_two_leads(ledger: Ledger) -> None:
    first, second = Scene(ledger, "first"), ledger.register("second", NOON)
    first.capture("a")
    ledger.capture(second, [Change("a", "1")], None, NOON, resend_changed=False)
    assert ledger.tally() == {(first.sync_id, "pending"): 1, (second, "pending"): 1}
    first.lease.close()


def test_a_sweep_finds_only_keys_that_are_not_known(scene: Scene) -> None:
    scene.capture("a")
    assert scene.ledger.missing(scene.sync_id, [Change("a", "9"), Change("b", "1")]) == [Change("b", "1")]
    assert scene.ledger.missing(scene.sync_id, []) == []


def test_a_sync_keeps_its_number(home_url: str) -> None:
    with opened(home_url) as ledger:
        first = ledger.register("web", NOON)
        assert ledger.register("other", NOON) != first
    with opened(home_url) as ledger:
        assert ledger.register("web", NOON) == first
        assert ledger.sync_count() == 2


def test_threads_that_register_a_sync_at_once_get_one_number(home_url: str) -> None:
    with opened(home_url) as ledger:
        found: list[int] = []
        gate = threading.Barrier(4)

        def register() -> None:
            with opened(home_url, prepare=False) as own:
                gate.wait()
                found.append(own.register("web", NOON))

        threads = [threading.Thread(target=register) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 4
        assert len(set(found)) == 1
        assert ledger.sync_count() == 1


def test_a_page_of_ten_thousand_is_one_capture(scene: Scene) -> None:
    keys = [str(number) for number in range(10_000)]
    assert scene.capture(*keys).new == 10_000
    assert scene.capture(*keys, version="2").new == 0
    assert scene.ledger.waiting(scene.sync_id).pending == 10_000


@pytest.mark.parametrize("many", [2, 20, 300, 2000])
def test_leads_of_one_moment_are_taken_in_the_order_in_which_they_were_seen(scene: Scene, many: int) -> None:
    """Whatever way the planner has found to leave out those that are known."""
    keys = [f"{number * 7919 % 100_003}" for number in range(12 * many)]
    for begin in range(0, len(keys), many):
        scene.capture(*keys[begin : begin + many])
        if begin == 6 * many:
            with scene.ledger.home.write() as connection:
                connection.exec_driver_sql("ANALYZE")
    assert [lead.key for lead in scene.claim(len(keys)).leads] == keys
