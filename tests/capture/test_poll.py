"""What is polling's own: one statement a look, watermarks of all types, the look-back, and the sweep behind it."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.capture.conftest import Catch, Connect, url_of
from tests.capture.harness import Catcher, Kit
from tests.capture.kits import POLL


@pytest.fixture
def kit() -> Kit:
    """Only this one."""
    return POLL


MARKS: dict[str, list[Any]] = {
    "timestamptz": [datetime(2026, 3, 1, hour, tzinfo=UTC) for hour in (1, 2, 2, 2, 2, 3, 4)],
    "timestamptz(0)": [datetime(2026, 3, 1, hour, tzinfo=UTC) for hour in (1, 2, 2, 2, 2, 3, 4)],
    "timestamp": [datetime(2026, 3, 1, hour, tzinfo=UTC).replace(tzinfo=None) for hour in (1, 2, 2, 2, 2, 3, 4)],
    "smallint": [-5, 9, 9, 9, 9, 10, 100],
    "integer": [8, 9, 9, 9, 9, 10, 1_000_000],
    "bigint": [2**40, 2**41, 2**41, 2**41, 2**41, 2**42, 2**43],
    "numeric": ["1.5", "9.6", "9.6", "9.60", "9.6", "10.25", "1000000000000000000000.125"],
    "numeric(12,3)": ["1.5", "1.6", "1.6", "1.60", "1.6", "2.25", "10.125"],
}


def later(crm: psycopg.Connection, secs: float) -> datetime:
    """So many seconds after the CRM's now."""
    row = crm.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    moment: datetime = row[0]
    return moment + timedelta(seconds=secs)


def statements_of(catcher: Catcher, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is sent to the CRM from now on."""
    sent: list[str] = []
    execute = psycopg.Cursor.execute

    def counting(self: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
        sent.append(query if isinstance(query, str) else query.as_string(self))
        return execute(self, query, *args, **kwargs)

    monkeypatch.setattr(psycopg.Cursor, "execute", counting)
    return sent


@pytest.mark.parametrize("mark_type", MARKS)
def test_rows_that_share_a_watermark_are_all_captured_whatever_its_type(
    catch: Catch, crm: psycopg.Connection, small_pages: None, mark_type: str
) -> None:
    catcher = catch(mark_type=mark_type, mark_default="")
    for key, mark in enumerate(MARKS[mark_type]):
        catcher.leads.add(crm, key, mark)
    catcher.drain()
    assert catcher.versions == catcher.leads.visible(crm)
    assert sum(result.new for result in catcher.results) == 7
    before = len(catcher.results)
    catcher.drain()
    assert sum(result.new + result.again for result in catcher.results[before:]) == 0


@pytest.mark.parametrize("zone", ["America/Bogota", "Asia/Kathmandu", "Pacific/Kiritimati", "America/St_Johns"])
@pytest.mark.parametrize("mark_type", ["timestamptz", "timestamp"])
def test_the_servers_time_zone_changes_nothing(
    catch: Catch, crm: psycopg.Connection, zone: str, mark_type: str
) -> None:
    name = crm.info.dbname
    crm.execute(sql.SQL("ALTER DATABASE {} SET timezone = {}").format(sql.Identifier(name), sql.Literal(zone)))
    with psycopg.connect(crm.info.dsn, autocommit=True) as theirs:
        catcher = catch(mark_type=mark_type, start="now")
        catcher.drain()
        catcher.leads.add(theirs, 1)
        catcher.drain()
        catcher.restart()
        catcher.leads.add(theirs, 2)
        catcher.drain()
        assert catcher.versions == catcher.leads.visible(theirs)


def test_a_row_without_a_watermark_waits_until_it_has_one(catch: Catch, crm: psycopg.Connection) -> None:
    catcher = catch()
    catcher.leads.add(crm, 1, None)
    catcher.leads.add(crm, 2)
    catcher.drain()
    assert catcher.keys == {"2"}
    crm.execute("UPDATE leads SET updated_at = now() WHERE id = 1")
    catcher.drain()
    assert catcher.keys == {"1", "2"}


def test_a_row_without_a_key_is_left_alone_and_hides_no_other(
    catch: Catch, crm: psycopg.Connection, small_pages: None
) -> None:
    catcher = catch(make=False)
    crm.execute("CREATE TABLE leads (id bigint, updated_at timestamptz DEFAULT now())")
    for key in (1, None, 2, None, 3):
        crm.execute("INSERT INTO leads (id) VALUES (%s)", (key,))
    catcher.drain()
    assert catcher.keys == {"1", "2", "3"}


def test_start_now_with_a_number_takes_the_numbers_above_the_largest(catch: Catch, crm: psycopg.Connection) -> None:
    catcher = catch(start="now", mark_type="bigint", mark_default="")
    catcher.leads.add(crm, 1, 10)
    catcher.leads.add(crm, 2, 11)
    catcher.drain()
    assert catcher.keys == set()
    catcher.leads.add(crm, 3, 12)
    catcher.drain()
    assert catcher.keys == {"3"}
    assert catcher.position.since == "11"


def test_a_transaction_longer_than_the_look_back_is_found_by_the_sweep_where_nobody_may_see_it(
    catch: Catch, crm: psycopg.Connection, connect: Connect, database: str, role: str
) -> None:
    catcher = catch(lookback_secs=0, role=role)
    catcher.url = url_of(database, role)
    catcher.restart()
    late = connect()
    catcher.leads.add(late, 1)
    catcher.leads.add(crm, 2)
    catcher.drain()
    late.commit()
    catcher.drain()
    assert catcher.keys == {"2"}
    assert catcher.sweep() == 1
    assert catcher.keys == {"1", "2"}


def test_a_transaction_longer_than_the_look_back_is_waited_for_where_the_role_may_see_it(
    catch: Catch, crm: psycopg.Connection, connect: Connect, database: str, role: str
) -> None:
    crm.execute(sql.SQL("GRANT pg_read_all_stats TO {}").format(sql.Identifier(role)))
    catcher = catch(lookback_secs=0, role=role)
    catcher.url = url_of(database, role)
    catcher.restart()
    catcher.drain()
    late = connect()
    catcher.leads.add(late, 1)
    catcher.leads.add(crm, 2)
    catcher.drain()
    catcher.drain()
    late.commit()
    catcher.drain()
    assert catcher.keys == {"1", "2"}
    assert catcher.sweep() == 0


@pytest.mark.parametrize("mark_type", ["timestamptz", "timestamp"])
def test_a_row_dated_in_the_future_is_captured_and_hides_no_later_one(
    catch: Catch, crm: psycopg.Connection, mark_type: str
) -> None:
    catcher = catch(mark_type=mark_type, lookback_secs=0)
    catcher.leads.add(crm, 1, later(crm, 86_400 * 365))
    catcher.leads.add(crm, 2, "infinity")
    catcher.drain()
    catcher.leads.add(crm, 3)
    catcher.drain()
    catcher.restart()
    catcher.leads.add(crm, 4)
    catcher.drain()
    assert catcher.keys == {"1", "2", "3", "4"}
    assert sum(result.new for result in catcher.results) == 4


def test_a_watermark_ahead_of_the_crms_clock_does_not_hide_what_comes(catch: Catch, crm: psycopg.Connection) -> None:
    # As after the CRM's clock was set back, or a restore to another host.
    catcher = catch()
    sync_id = catcher.ledger.register(catcher.name, catcher.clock())
    catcher.ledger.begin(sync_id, "beginning", None, None)
    catcher.ledger.capture(sync_id, [], str(later(crm, 86_400)), catcher.clock(), resend_changed=False)
    catcher.leads.add(crm, 1)
    catcher.drain()
    assert catcher.keys == {"1"}


@pytest.mark.parametrize(("mark_type", "default"), [("timestamptz", "now()"), ("bigint", "nextval('marks')")])
def test_a_restart_goes_on_from_the_ledgers_watermark_and_takes_nothing_twice(
    catch: Catch, crm: psycopg.Connection, small_pages: None, mark_type: str, default: str
) -> None:
    crm.execute("CREATE SEQUENCE marks")
    catcher = catch(mark_type=mark_type, mark_default=default)
    for key in range(1, 8):
        catcher.leads.add(crm, key)
    catcher.turn()
    catcher.turn()  # in the middle of a pass
    catcher.restart()
    catcher.drain()
    assert catcher.versions == catcher.leads.visible(crm)
    assert sum(result.new for result in catcher.results) == 7


def test_the_watermark_in_the_ledger_never_goes_back(catch: Catch, crm: psycopg.Connection, small_pages: None) -> None:
    catcher = catch()
    marks = []
    for key in range(1, 6):
        catcher.leads.add(crm, key)
        for _ in range(4):
            catcher.turn()
            marks.append(catcher.position.watermark)
    moments = [datetime.fromisoformat(mark) for mark in marks if mark is not None]
    assert moments == sorted(moments)
    assert len(set(moments)) == 5


@pytest.mark.parametrize("mark_type", ["timestamptz", "timestamp"])
def test_the_sweep_finds_rows_that_were_written_behind_the_window_and_nothing_else(
    catch: Catch, crm: psycopg.Connection, small_pages: None, mark_type: str
) -> None:
    catcher = catch(mark_type=mark_type, where="note <> 'cold'")
    for key in range(10):
        catcher.leads.add(crm, key)
    catcher.drain()
    assert catcher.sweep() == 0
    crm.execute("SET session_replication_role = replica")
    for key in (20, 21, 22, 23):
        catcher.leads.add(crm, key, "2026-03-01")
    catcher.leads.add(crm, 24, "2026-03-01", "cold")
    catcher.drain()
    assert len(catcher.keys) == 10
    assert catcher.sweep() == 4
    assert catcher.keys == {str(key) for key in (*range(10), 20, 21, 22, 23)}
    assert catcher.sweep() == 0


def test_the_sweep_leaves_alone_what_was_there_before_the_start(catch: Catch, crm: psycopg.Connection) -> None:
    catcher = catch(start=datetime(2026, 3, 1, tzinfo=UTC))
    catcher.leads.add(crm, 1, "2026-02-28")
    catcher.leads.add(crm, 2)
    catcher.drain()
    catcher.leads.add(crm, 3, "2026-03-02")
    assert catcher.sweep() == 1
    assert catcher.keys == {"2", "3"}


def test_an_idle_poll_is_one_statement(catch: Catch, crm: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, mark_type, default in (("a", "timestamptz", "now()"), ("b", "bigint", "1")):
        catcher = catch(name=name, mark_type=mark_type, mark_default=default)
        catcher.leads.add(crm, 1)
        catcher.drain()
        with monkeypatch.context() as patched:
            sent = statements_of(catcher, patched)
            for _ in range(10):
                catcher.turn()
        assert len(sent) == 10, sent


@pytest.mark.parametrize("mark_type", ["timestamptz", "bigint"])
def test_an_idle_poll_writes_nothing_to_the_ledger(catch: Catch, crm: psycopg.Connection, mark_type: str) -> None:
    catcher = catch(mark_type=mark_type, mark_default="now()" if mark_type == "timestamptz" else "1")
    catcher.leads.add(crm, 1)
    catcher.drain()
    catcher.clock.advance(2 * catcher.leads.lookback_secs)
    catcher.drain()

    def changes() -> object:
        with catcher.ledger.home.read() as connection:
            return connection.exec_driver_sql("SELECT name, seq FROM sync ORDER BY id").all()

    before = changes()
    for _ in range(5):
        catcher.turn()
    assert changes() == before


def test_the_session_says_who_it_is_only_reads_and_gives_up(catch: Catch, crm: psycopg.Connection) -> None:
    catcher = catch()
    catcher.drain()
    names = crm.execute("SELECT application_name FROM pg_stat_activity WHERE datname = current_database()").fetchall()
    assert ("syncd capture",) in names
    with catcher.connection.cursor("it") as cursor:
        shown = {
            name: cursor.execute(f"SHOW {name}".encode()).fetchone()
            for name in ("default_transaction_read_only", "statement_timeout", "lock_timeout")
        }
    assert shown == {
        "default_transaction_read_only": ("on",),
        "statement_timeout": ("10s",),
        "lock_timeout": ("5s",),
    }


def test_between_polls_no_transaction_stays_open(catch: Catch, crm: psycopg.Connection) -> None:
    catcher = catch()
    catcher.leads.add(crm, 1)
    catcher.drain()
    states = crm.execute("SELECT state FROM pg_stat_activity WHERE application_name = 'syncd capture'").fetchall()
    assert states
    assert set(states) == {("idle",)}


def test_a_condition_that_would_write_is_refused(catch: Catch, crm: psycopg.Connection) -> None:
    crm.execute("CREATE SEQUENCE counter")
    catcher = catch(where="nextval('counter') > 0")
    catcher.leads.add(crm, 1)
    trouble = catcher.turn().trouble
    assert trouble is not None
    assert 'sync "leads"' in str(trouble)


def test_a_query_that_takes_too_long_is_given_up_and_said(catch: Catch, crm: psycopg.Connection) -> None:
    catcher = catch(where="pg_sleep(30) IS NOT NULL")
    catcher.leads.add(crm, 1)
    catcher.connection._timeout_secs = 1
    trouble = catcher.turn().trouble
    assert trouble is not None
    assert str(trouble).startswith('The CRM gave up a query of sync "leads" after 1 seconds.')


def test_a_table_in_a_database_of_bytes_is_read(postgres_server: Any, catch: Catch) -> None:
    admin = psycopg.connect(postgres_server.url(), autocommit=True)
    name = f"test_{uuid.uuid4().hex}"
    with admin:
        admin.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'").format(
                sql.Identifier(name)
            )
        )
    try:
        catcher = catch(make=False, key_type="text")
        catcher.url = postgres_server.url(name)
        catcher.restart()
        with psycopg.connect(catcher.url, autocommit=True, client_encoding="utf8") as crm:
            catcher.leads.create(crm)
            catcher.leads.add(crm, "ñ")
        catcher.drain()
        assert catcher.keys == {"ñ"}
        catcher.close()
    finally:
        postgres_server.drop_database(name)
