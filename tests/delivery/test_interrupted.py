"""What breaks between the steps of a call: the ledger, the process, the sender's right to send."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from syncd.errors import LedgerUnavailable
from syncd.ledger import Intent, Lease, calls
from syncd.simulator import Fault, Settings
from tests.delivery.conftest import Start
from tests.delivery.stage import Stage
from tests.support.waiting import eventually


class Killed(BaseException):
    """The process ends here."""


def kill() -> None:
    raise Killed


def break_ledger(stage: Stage) -> Callable[[], None]:
    """The ledger's database takes nothing more; returns what mends it."""
    home = stage.ledger.home
    if home.is_sqlite:
        home.close()
        with home.read() as connection:  # the pool hands out this connection again and again
            connection.exec_driver_sql("PRAGMA query_only = ON")

        def mend() -> None:
            with home.read() as connection:
                connection.exec_driver_sql("PRAGMA query_only = OFF")

        return mend
    database = str(home.engine.url.database)

    def administer(*statements: str) -> None:
        with psycopg.connect(stage.crm_url.rpartition("/")[0] + "/postgres", autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    administer(
        f"ALTER DATABASE {database} ALLOW_CONNECTIONS false",
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        f" WHERE datname = '{database}' AND application_name = 'syncd test'",
    )
    return lambda: administer(f"ALTER DATABASE {database} ALLOW_CONNECTIONS true")


@pytest.mark.parametrize(
    ("fault", "state"),
    [(None, "delivered"), (Fault("cut-after"), "held"), (Fault("maintenance"), "pending")],
    ids=["accepted", "unknown", "refused"],
)
def test_an_outcome_that_the_ledger_cannot_take_is_written_on_a_later_turn(
    stage: Stage, fault: Fault | None, state: str
) -> None:
    mend: list[Callable[[], None]] = []
    if fault:
        stage.simulator.script(fault)
    (key,) = stage.add("ana")
    stage.client.after = lambda: mend.append(break_ledger(stage))
    for _ in range(3):
        with pytest.raises(LedgerUnavailable):
            stage.turn()
    assert stage.posts() == 1
    stage.client.after = lambda: None
    (back,) = mend
    back()
    assert stage.states() == {key: "sending"}
    stage.turn()
    assert stage.states() == {key: state}
    assert stage.posts() == 1
    (made,) = stage.calls()
    assert made["state"] == {"delivered": "accepted", "held": "unknown", "pending": "refused"}[state]


def test_a_process_that_dies_before_it_could_write_the_outcome_holds_its_leads_at_the_next_start(stage: Stage) -> None:
    mend: list[Callable[[], None]] = []
    keys = stage.add("ana", "beto")
    stage.client.after = lambda: mend.append(break_ledger(stage))
    with pytest.raises(LedgerUnavailable):
        stage.turn()
    stage.client.after = lambda: None
    mend[0]()
    ((_, held),) = stage.start_again()
    assert held == 2
    stage.run(3600)
    assert stage.states() == dict.fromkeys(keys, "held")
    assert stage.accepted() == {"ana": 1, "beto": 1}
    assert stage.posts() == 1


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_process_that_dies_around_its_post_holds_its_leads_and_posts_no_second_time(
    stage: Stage, moment: str
) -> None:
    (key,) = stage.add("ana")
    setattr(stage.client, moment, kill)
    with pytest.raises(Killed):
        stage.turn()
    setattr(stage.client, moment, lambda: None)
    assert stage.states() == {key: "sending"}
    assert len(stage.start_again()) == 1
    stage.run(3600)
    assert stage.states() == {key: "held"}
    assert stage.posts() == (moment == "after")
    assert stage.delivery.quota().used == 1, "it costs its unit"


def test_a_ledger_that_breaks_before_the_intent_posts_nothing(stage: Stage) -> None:
    (key,) = stage.add("ana")
    mend = break_ledger(stage)
    for _ in range(2):
        with pytest.raises(LedgerUnavailable):
            stage.turn()
    assert stage.posts() == 0
    mend()
    stage.turn()
    assert stage.states() == {key: "delivered"}


@pytest.mark.parametrize("committed", [True, False])
def test_an_intent_whose_commit_is_not_answered_is_not_sent_and_its_leads_leave_on_a_later_turn(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, *, committed: bool
) -> None:
    (key,) = stage.add("ana")
    intend = stage.ledger.intend

    def lose_the_answer(*args: Any, **options: Any) -> None:
        if committed:
            intend(*args, **options)
        raise LedgerUnavailable("The connection broke.")

    with monkeypatch.context() as patch:
        patch.setattr(stage.ledger, "intend", lose_the_answer)
        with pytest.raises(LedgerUnavailable):
            stage.turn()
    assert stage.states() == {key: "sending" if committed else "pending"}
    back = break_ledger(stage)
    with pytest.raises(LedgerUnavailable):
        stage.turn()
    back()
    stage.run(1000)
    assert stage.states() == {key: "delivered"}
    assert stage.accepted() == {"ana": 1}
    assert [row["state"] for row in stage.calls()] == (["not_sent"] if committed else []) + ["accepted"]


def test_an_intent_that_is_committed_while_its_sender_asks_for_it_is_found(shared_database: str) -> None:
    """The commit is under way still when the connection breaks: whoever looks for it must wait for its end."""
    with Stage(shared_database, shared_database) as stage:
        (key,) = stage.add("ana")
        sync_id = stage.ledger.register("web", stage.clock())
        intent = Intent(
            id="slow",
            kind="add_record",
            campaign_id="12345",
            quota_day="2026-09-21",
            budget=9,
            body_hash=b"",
            started_at=stage.clock(),
            deadline_at=stage.clock() + 75,
            lead_ids=[lead.id for lead in stage.ledger.claim(sync_id, 9).leads],
        )
        looked = threading.Event()

        def look() -> None:
            stage.ledger.never_sent(stage.term(), "slow", stage.clock())
            looked.set()

        waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%%lease%%'"
        thread = threading.Thread(target=look)
        with stage.ledger.home.write() as connection:
            calls.intend(connection, stage.ledger.home, stage.term(), intent, 9, sync_id)
            thread.start()
            with psycopg.connect(shared_database, autocommit=True) as watcher:
                eventually(lambda: watcher.execute(waits).fetchone() == (1,), "it waits for the commit")
            assert not looked.is_set()
        thread.join(30)
        assert looked.is_set()
        assert stage.states() == {key: "pending"}


def test_a_backend_that_is_killed_while_it_writes_the_outcome_costs_nothing(shared_database: str) -> None:
    with Stage(shared_database, shared_database) as stage:
        (key,) = stage.add("ana")
        waits = "SELECT pid FROM pg_stat_activity WHERE application_name = 'syncd test' AND wait_event_type = 'Lock'"
        ready, failures = threading.Event(), []

        def turn() -> None:
            try:
                stage.turn()
            except LedgerUnavailable as error:
                failures.append(error)

        blocker = psycopg.connect(shared_database)

        def block() -> None:
            blocker.execute("SELECT 1 FROM syncd.sync FOR UPDATE")
            ready.set()

        stage.client.after = block
        thread = threading.Thread(target=turn)
        thread.start()
        assert ready.wait(30)
        with psycopg.connect(shared_database, autocommit=True) as watcher:
            while not (found := watcher.execute(waits).fetchall()):
                assert thread.is_alive()
            watcher.execute("SELECT pg_terminate_backend(%s, 5000)", found[0])
        thread.join(30)
        blocker.close()
        stage.client.after = lambda: None
        assert len(failures) == 1
        assert stage.states() == {key: "sending"}
        stage.turn()
        assert stage.states() == {key: "delivered"}
        assert stage.posts() == 1


def test_a_sender_deposed_during_its_call_tells_the_truth_of_it_all_the_same(shared_database: str) -> None:
    with Stage(shared_database, shared_database) as stage:
        (key,) = stage.add("ana")

        def depose() -> None:
            with stage.ledger.home.write() as connection:
                connection.exec_driver_sql("UPDATE syncd.lease SET expires_at = 0")
            heir = Lease(stage.ledger.home, stage.clock, "the heir")
            assert heir.acquire()
            assert heir.term is not None
            assert len(stage.ledger.give_up_intended(heir.term, stage.clock())) == 1
            assert stage.states() == {key: "held"}

        stage.client.after = depose
        stage.turn()
        assert stage.states() == {key: "delivered"}
        assert stage.posts() == 1


def test_days_of_faults_lose_nobody_and_call_nobody_twice(start: Start) -> None:
    """A rough day in short: every kind of fault, deaths in between, rows that change; then all is well and drains."""
    kinds = ["maintenance", "cut-before", "cut-after", "cut-reply", "broken-json", "reply", "redirect", "cut-headers"]
    stage = start(sim=Settings(keep_bodies=500, latency_secs=0), batch_size=5)
    keys: list[str] = []
    for number in range(24):
        kind = kinds[number % len(kinds)]
        if number % 3:
            stage.simulator.script(Fault(kind, api="add_record", nth=1 + number % 2))
        keys += stage.add(*(f"lead-{number}-{place}" for place in range(4)))
        if number % 5 == 0:
            setattr(stage.client, "before" if number % 2 else "after", kill)
        try:
            stage.run(240)
        except Killed:
            stage.client.before = stage.client.after = lambda: None
            stage.start_again()
        stage.capture(keys[number * 2])
    stage.client.before = stage.client.after = lambda: None
    stage.simulator.clear_faults()
    stage.run(7200)
    states = stage.states()
    assert set(states) == set(keys)
    assert set(states.values()) == {"delivered", "held"}
    accepted = stage.accepted()
    names = {str(row[0]): str(row[1]) for row in stage.crm.execute("SELECT id, document FROM leads")}
    assert all(accepted.get(names[key]) == 1 for key, state in states.items() if state == "delivered")
    assert stage.posts() <= len(stage.calls())
