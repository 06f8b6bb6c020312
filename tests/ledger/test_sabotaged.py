"""What only a deliberate bug showed to be without a test: see tests/sabotage."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import select, update

from syncd.ledger import calls
from syncd.ledger.schema import meta
from syncd.model import Change
from syncd.states import CallState, LeadState, Recapture, recapture
from tests.support.ledgers import NOON, Scene, opened, rows
from tests.support.waiting import eventually


def test_a_change_waits_for_the_transaction_that_takes_its_lead_aboard(shared_database: str) -> None:
    with opened(shared_database) as ledger, opened(shared_database, prepare=False) as second:
        scene = Scene(ledger)
        scene.capture("a")
        claim, intent = scene.claim(), scene.intent("a")

        def change() -> None:
            second.capture(scene.sync_id, [Change("a", "2")], None, NOON, resend_changed=False)

        def is_waiting() -> bool:
            with psycopg.connect(shared_database) as connection:
                query = "SELECT count(*) FROM pg_locks WHERE NOT granted"
                return connection.execute(query).fetchone() != (0,)

        thread = threading.Thread(target=change)
        with ledger.home.write() as connection:
            calls.intend(connection, ledger.home, scene.term, intent, claim.seq, scene.sync_id)
            thread.start()
            eventually(is_waiting, "the capture waits for a lock")
        thread.join()
        lead = rows(ledger)["a"]
        assert (lead["state"], lead["changed"]) == ("sending", 1)


def test_whoever_reads_and_then_writes_keeps_other_processes_from_writing_between(
    made_once: tuple[Path, str], tmp_path: Path
) -> None:
    shutil.copy(made_once[0], tmp_path / "ledger.db")
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    with opened(url) as first, opened(url) as second:  # each with a lock of its own, as two processes
        first.doubts.keep("kept", "before")
        other = threading.Thread(target=second.doubts.keep, args=("another", "value"))
        with first.home.write() as connection:
            assert connection.scalar(select(meta.c.value).where(meta.c.name == "kept")) == "before"
            other.start()
            other.join(0.5)
            assert other.is_alive(), "the other one waits"
            connection.execute(update(meta).where(meta.c.name == "kept").values(value="after"))
        other.join()
        assert (first.doubts.kept("kept"), first.doubts.kept("another")) == ("after", "value")


@pytest.mark.parametrize("resend", [True, False])
@pytest.mark.parametrize("state", [LeadState.SENDING, LeadState.HELD])
def test_a_lead_whose_outcome_is_not_known_stays_where_it_is_when_its_row_changes(
    state: LeadState, *, resend: bool
) -> None:
    assert recapture(state, resend_changed=resend) == Recapture(state, remember=True)


@pytest.mark.parametrize(
    ("outcome", "rest", "state"),
    [
        (CallState.UNKNOWN, LeadState.HELD, "held"),
        (CallState.ACCEPTED, LeadState.DELIVERED, "delivered"),
    ],
)
def test_a_call_that_has_an_outcome_was_made(scene: Scene, outcome: CallState, rest: LeadState, state: str) -> None:
    scene.capture("a")
    scene.finish(scene.intend("a", id="made"), outcome, rest)
    scene.ledger.never_sent(scene.term, "made", NOON)
    scene.ledger.never_sent(scene.term, "nobody knows it", NOON)
    assert scene.states() == {"a": state}


def test_a_lead_that_changed_while_it_was_delivered_was_there_before(resending: Scene) -> None:
    resending.capture("a", "b")
    first = resending.intend("a", "b")
    resending.capture("a", version="2")
    resending.accept(first)
    assert resending.states() == {"a": "pending", "b": "delivered"}
    resending.capture("c")
    second = resending.intend("a", "c")
    resending.finish(second, CallState.UNKNOWN, LeadState.HELD)
    assert {held.key: held.before for held in resending.ledger.doubts.held(second)} == {"a": True, "c": False}
