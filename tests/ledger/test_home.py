"""The two homes: durable, transactional, and talking in errors of ours alone."""

from __future__ import annotations

import sqlite3
import stat
import threading
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

from syncd.errors import EnvironmentFault, LedgerError, LedgerUnavailable
from syncd.ledger import Ledger
from syncd.ledger.hashes import Hasher, key_beside
from syncd.ledger.home import make_private
from syncd.states import LeadState
from tests.support.ledgers import NOON, Scene, opened


def test_every_commit_waits_for_the_disk(ledger: Ledger) -> None:
    with ledger.home.write() as connection:
        if ledger.home.is_sqlite:
            assert connection.scalar(text("PRAGMA synchronous")) == 2, "FULL"
            assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
        else:
            assert connection.scalar(text("SHOW synchronous_commit")) == "on"
            assert connection.scalar(text("SHOW statement_timeout")) == "1min"
            assert connection.scalar(text("SHOW application_name")) == "syncd test"


def test_a_transaction_that_fails_leaves_nothing(scene: Scene) -> None:
    class Stop(Exception):  # it is no error
        pass

    scene.capture("a")

    def half() -> None:
        with scene.ledger.home.write() as connection:
            connection.execute(text(f"DELETE FROM {_place(scene.ledger, 'lead')}"))
            raise Stop

    with pytest.raises(Stop):
        half()
    assert scene.states() == {"a": "pending"}


def test_a_reader_does_not_wait_for_a_writer(scene: Scene) -> None:
    scene.capture("a")
    with scene.ledger.home.write() as connection:
        connection.execute(text(f"UPDATE {_place(scene.ledger, 'sync')} SET watermark = 'uncommitted'"))
        assert scene.ledger.position(scene.sync_id).watermark is None


def test_a_writer_waits_for_a_writer_instead_of_failing(home_url: str) -> None:
    with opened(home_url) as ledger, opened(home_url, prepare=False) as other:
        first, second = Scene(ledger), other.register("web", NOON)
        inside, done = threading.Event(), threading.Event()

        def slow() -> None:
            with ledger.home.write() as connection:
                connection.execute(text(f"UPDATE {_place(ledger, 'sync')} SET seq = seq + 1"))
                inside.set()
                done.wait(10)

        thread = threading.Thread(target=slow)
        thread.start()
        assert inside.wait(10)
        threading.Timer(0.1, done.set).start()
        other.begin(second, "beginning", None, None)
        thread.join()
        assert ledger.position(first.sync_id).since == "beginning"
        first.lease.close()


ILLEGAL = {
    "an unknown state": "UPDATE {lead} SET state = 'lost'",
    "settled without an instant": "UPDATE {lead} SET state = 'withdrawn'",
    "pending with an instant of settling": "UPDATE {lead} SET settled_at = 1",
    "sending without a call": "UPDATE {lead} SET state = 'sending'",
    "held without a call": "UPDATE {lead} SET state = 'held'",
    "delivered without a call": "UPDATE {lead} SET state = 'delivered', settled_at = 1",
    "rejected without a reason": "UPDATE {lead} SET state = 'rejected', settled_at = 1",
    "changed while pending": "UPDATE {lead} SET changed = 1",
    "changed when delivered": "UPDATE {lead} SET state = 'delivered', settled_at = 1, call_n = 1, changed = 1",
    "a key twice in a sync": "INSERT INTO {lead} (sync_id, key, state, version, seq, captured_at)"
    " SELECT sync_id, key, state, version, seq, captured_at FROM {lead}",
    "a tally below nothing": "UPDATE {tally} SET leads = -1",
    "two leases": "INSERT INTO {lease} (id, term, holder, expires_at) VALUES (2, 1, 'x', 1)",
    "a call of an unknown state": "UPDATE {call} SET state = 'perhaps'",
    "an intended call that has ended": "UPDATE {call} SET ended_at = 1",
    "an ended call without an instant": "UPDATE {call} SET state = 'accepted'",
    "a call that sends nobody": "UPDATE {call} SET leads = 0",
    "a question that carries leads": "UPDATE {call} SET kind = 'token_info'",
    "two syncs of one name": "INSERT INTO {sync} (id, name, started_at) SELECT 99, name, started_at FROM {sync}",
}


@pytest.mark.parametrize("why", ILLEGAL)
def test_the_tables_refuse_what_must_not_be(scene: Scene, why: str) -> None:
    scene.bring("b", LeadState.SENDING)
    with scene.ledger.home.write() as connection:  # one lead alone, so that each statement is about it
        connection.execute(text(f"DELETE FROM {_place(scene.ledger, 'lead')}"))
        connection.execute(text(f"UPDATE {_place(scene.ledger, 'tally')} SET leads = 0"))
    scene.capture("a")
    names = {name: _place(scene.ledger, name) for name in ("lead", "tally", "lease", "call", "sync")}
    with pytest.raises(LedgerError, match="refused a statement"), scene.ledger.home.write() as connection:
        connection.execute(text(ILLEGAL[why].format(**names)))
    assert scene.states() == {"a": "pending"}


def test_an_error_of_the_database_tells_no_key(scene: Scene) -> None:
    scene.capture("secret-key-of-a-lead")
    with pytest.raises(LedgerError) as refused, scene.ledger.home.write() as connection:
        connection.execute(text(ILLEGAL["a key twice in a sync"].format(lead=_place(scene.ledger, "lead"))))
    assert "secret-key" not in str(refused.value)
    assert refused.value.__suppress_context__


def test_a_ledger_that_cannot_be_written_says_so_and_works_again(tmp_path: Path) -> None:
    with opened(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        scene = Scene(ledger)
        with ledger.home.write() as connection:
            connection.exec_driver_sql("PRAGMA query_only = ON")
        with pytest.raises(LedgerUnavailable, match="does not answer") as refused:
            scene.capture("a")
        assert refused.value.retry
        with ledger.home.read() as connection:
            connection.exec_driver_sql("PRAGMA query_only = OFF")
        assert scene.capture("a").new == 1
        scene.lease.close()


def test_a_full_disk_says_so_and_leaves_nothing_half_done(tmp_path: Path) -> None:
    with opened(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        scene = Scene(ledger)
        with ledger.home.read() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(LedgerUnavailable):
            scene.capture(*[f"{number:0500}" for number in range(500)], reached="9")
        assert ledger.position(scene.sync_id).watermark is None
        assert scene.states() == {}
        with ledger.home.read() as connection:
            connection.exec_driver_sql("PRAGMA max_page_count = 100000")
        assert scene.capture(*[f"{number:0500}" for number in range(500)], reached="9").new == 500
        scene.lease.close()


def test_a_backend_that_dies_within_a_transaction_is_told_and_the_next_works(shared_database: str) -> None:
    with opened(shared_database) as ledger:
        scene = Scene(ledger)

        def half() -> None:
            with ledger.home.write() as connection:
                pid = connection.scalar(text("SELECT pg_backend_pid()"))
                with psycopg.connect(shared_database, autocommit=True) as other:
                    other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
                connection.execute(text("UPDATE syncd.sync SET watermark = 'never'"))

        with pytest.raises(LedgerUnavailable) as refused:
            half()
        assert refused.value.retry
        assert scene.capture("a", reached="1").new == 1


def test_a_sqlite_ledger_is_its_owners_alone(tmp_path: Path) -> None:
    make_private(tmp_path / "ledger.db")
    assert stat.S_IMODE((tmp_path / "ledger.db").stat().st_mode) == 0o600
    key_beside(tmp_path / "ledger.db")
    assert stat.S_IMODE((tmp_path / "ledger.db.hash-key").stat().st_mode) == 0o600


def test_the_hash_key_is_made_once_and_is_not_in_the_ledger(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    key = key_beside(path)
    assert len(key) >= 32
    assert key_beside(path) == key
    with opened(f"sqlite:///{path}") as ledger:
        ledger.hasher = Hasher(key)
    assert key.encode() not in path.read_bytes()


def test_a_key_that_cannot_be_made_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "ledger.db.hash-key").mkdir()
    with pytest.raises(EnvironmentFault, match="hash key"):
        key_beside(tmp_path / "ledger.db")


def test_a_copy_of_a_sqlite_ledger_is_a_ledger(tmp_path: Path) -> None:
    with opened(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        scene = Scene(ledger)
        scene.bring("a", LeadState.HELD)
        with (
            closing(sqlite3.connect(tmp_path / "ledger.db")) as source,
            closing(sqlite3.connect(tmp_path / "2")) as copy,
        ):
            source.backup(copy)
        with opened(f"sqlite:///{tmp_path / '2'}") as copied:
            assert copied.tally() == ledger.tally() == {(scene.sync_id, "held"): 1}
        scene.lease.close()


def _place(ledger: Ledger, table: str) -> str:
    return f'"{table}"' if ledger.home.is_sqlite else f'syncd."{table}"'
