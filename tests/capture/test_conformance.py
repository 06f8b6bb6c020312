"""What every way of capturing keeps: no row is missed, none is handed over for nothing, whatever the table is like."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

from syncd import intake as intake_module
from syncd.capture import poll
from tests.capture.conftest import Catch
from tests.capture.harness import Catcher, Leads

KEYS: dict[str, list[Any]] = {
    "smallint": [1, 2, 3, 4, 5, 6, 7],
    "integer": [3, 20, 100, -4, 2_000_000_000, 9, 10],
    "bigint": [9, 10, 11, 2**62, -(2**62), 0, 1],
    "uuid": [uuid.UUID(int=number * 7919) for number in range(1, 8)],
    "text": ["a", "B", "ñandú", "it's", 'say "x"', "with, comma", "back\\slash {x} %s NULL"],
    "varchar(20)": ["a", "Z", "é", "10", "9", "ab", "null"],
    "char(5)": ["abc", "abcde", "a", "ab", "b", "zz", "zzz"],
    "numeric": ["1.50", "1.05", "10", "9", "-3", "0", "100000000000000000000"],
    "date": [datetime(2026, 1, day, tzinfo=UTC).date() for day in range(1, 8)],
}
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


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows a page, three keys a chunk of the sweep."""
    monkeypatch.setattr(poll, "PAGE_ROWS", 2)
    monkeypatch.setattr(intake_module, "SWEEP_ROWS", 3)


@pytest.mark.parametrize("key_type", KEYS)
def test_a_key_of_any_type_is_captured_as_postgres_writes_it_over_page_boundaries(
    catch: Catch, crm: psycopg.Connection, small_pages: None, key_type: str
) -> None:
    catcher = catch(key_type=key_type)
    with crm.transaction():  # one instant for all seven: ties over four pages
        for key in KEYS[key_type]:
            catcher.leads.add(crm, key)
    catcher.drain()
    assert catcher.versions == catcher.leads.visible(crm)
    assert len(catcher.keys) == 7
    assert sum(result.new for result in catcher.results) == 7


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


# -- the first start ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mark_type", ["timestamptz", "timestamp"])
def test_start_now_takes_what_comes_and_leaves_what_was(catch: Catch, crm: psycopg.Connection, mark_type: str) -> None:
    catcher = catch(start="now", mark_type=mark_type)
    catcher.leads.add(crm, 1)
    catcher.drain()
    catcher.leads.add(crm, 2)
    catcher.drain()
    assert catcher.keys == {"2"}
    assert catcher.sweep() == 0


def test_start_now_with_a_number_takes_the_numbers_above_the_largest(catch: Catch, crm: psycopg.Connection) -> None:
    catcher = catch(start="now", mark_type="bigint", mark_default="")
    catcher.leads.add(crm, 1, 10)
    catcher.leads.add(crm, 2, 11)
    catcher.drain()
    assert catcher.keys == set()
    catcher.leads.add(crm, 3, 12)
    catcher.drain()
    assert catcher.keys == {"3"}
    assert catcher.position[0] == "11"


def test_start_now_on_an_empty_table_misses_nothing(catch: Catch, crm: psycopg.Connection) -> None:
    for name, mark_type, default in (("a", "timestamptz", "now()"), ("b", "bigint", "1")):
        catcher = catch(name=name, start="now", mark_type=mark_type, mark_default=default)
        catcher.drain()
        catcher.leads.add(crm, 1)
        catcher.drain()
        assert catcher.keys == {"1"}


@pytest.mark.parametrize("mark_type", ["timestamptz", "timestamp"])
def test_start_at_an_instant_takes_that_instant_and_all_after_it(
    catch: Catch, crm: psycopg.Connection, mark_type: str
) -> None:
    instant = datetime.fromisoformat("2026-03-01T12:00:00-05:00")
    catcher = catch(start=instant, mark_type=mark_type)
    for key, secs in ((1, -0.000001), (2, 0), (3, 1)):
        moment = instant.astimezone(UTC) + timedelta(seconds=secs)
        catcher.leads.add(crm, key, moment if mark_type == "timestamptz" else moment.replace(tzinfo=None))
    catcher.drain()
    assert catcher.keys == {"2", "3"}
    assert catcher.sweep() == 0


def test_the_first_start_is_kept_whatever_the_file_says_later(catch: Catch, crm: psycopg.Connection) -> None:
    catcher = catch(start="now")
    catcher.leads.add(crm, 1)
    catcher.drain()
    start = catcher.position[0]
    catcher.restart(start="beginning")
    catcher.leads.add(crm, 2)
    catcher.drain()
    assert catcher.position[0] == start
    assert catcher.keys == {"2"}


def test_a_first_start_that_was_cut_short_begins_where_it_was_written_down(
    catch: Catch, crm: psycopg.Connection
) -> None:
    catcher = catch(start="now")
    catcher.drain()  # nothing there: only the start is written
    catcher.leads.add(crm, 1)
    catcher.restart()
    catcher.drain()
    assert catcher.keys == {"1"}


# -- late commits ------------------------------------------------------------------------------------------------

Connect = Callable[[], psycopg.Connection]


@pytest.mark.parametrize(
    ("mark_type", "default"), [("timestamptz", "now()"), ("timestamp", "now()"), ("bigint", "nextval('marks')")]
)
@pytest.mark.parametrize("start", ["beginning", "now"])
def test_a_transaction_that_began_before_and_commits_after_others_is_not_missed(
    catch: Catch, crm: psycopg.Connection, connect: Connect, mark_type: str, default: str, start: str
) -> None:
    crm.execute("CREATE SEQUENCE marks")
    catcher = catch(mark_type=mark_type, mark_default=default, start=start)
    catcher.drain()
    late = connect()
    catcher.leads.add(late, 1)
    for key in (2, 3):
        catcher.leads.add(crm, key)
        catcher.drain()
    late.commit()
    catcher.drain()
    assert catcher.versions == catcher.leads.visible(crm)
    assert catcher.keys == {"1", "2", "3"}


@pytest.mark.parametrize(("mark_type", "default"), [("timestamptz", "now()"), ("bigint", "nextval('marks')")])
def test_a_late_commit_over_a_restart_is_not_missed(
    catch: Catch, crm: psycopg.Connection, connect: Connect, mark_type: str, default: str
) -> None:
    crm.execute("CREATE SEQUENCE marks")
    catcher = catch(mark_type=mark_type, mark_default=default)
    late = connect()
    catcher.leads.add(late, 1)
    for key in (2, 3):
        catcher.leads.add(crm, key)
        catcher.drain()
    catcher.restart()
    catcher.drain()
    late.commit()
    catcher.drain()
    assert catcher.keys == {"1", "2", "3"}


def test_a_transaction_longer_than_the_look_back_is_found_by_the_sweep(
    catch: Catch, crm: psycopg.Connection, connect: Connect
) -> None:
    catcher = catch(lookback_secs=0)
    late = connect()
    catcher.leads.add(late, 1)
    catcher.leads.add(crm, 2)
    catcher.drain()
    late.commit()
    catcher.drain()
    assert catcher.keys == {"2"}
    assert catcher.sweep() == 1
    assert catcher.keys == {"1", "2"}


# -- clocks ------------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("off_by", [-86_400.0, 86_400.0])
def test_a_clock_that_differs_from_the_crms_misses_nothing(
    catch: Catch, crm: psycopg.Connection, off_by: float
) -> None:
    catcher = catch(start="now", lookback_secs=0)
    catcher.clock.advance(off_by)
    catcher.leads.add(crm, 1)
    catcher.drain()
    assert catcher.keys == set()
    for key in (2, 3):
        catcher.leads.add(crm, key)
        catcher.drain()
    assert catcher.keys == {"2", "3"}


def test_a_watermark_ahead_of_the_crms_clock_does_not_hide_what_comes(catch: Catch, crm: psycopg.Connection) -> None:
    # As after the CRM's clock was set back, or a restore to another host.
    catcher = catch()
    sync_id = catcher.ledger.register(catcher.name, catcher.clock())
    catcher.ledger.set_start(sync_id, "beginning")
    catcher.ledger.capture(sync_id, [], str(later(crm, 86_400)), catcher.clock(), resend_changed=False)
    catcher.leads.add(crm, 1)
    catcher.drain()
    assert catcher.keys == {"1"}


# -- restarts and acknowledgements -------------------------------------------------------------------------------


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


def test_a_page_that_was_not_acknowledged_is_read_again(catch: Catch, crm: psycopg.Connection) -> None:
    catcher = catch()
    catcher.leads.add(crm, 1)
    catcher.leads.add(crm, 2)
    source = catcher.source
    source.resume("beginning", None)
    first = source.read(catcher.clock())
    second = source.read(catcher.clock())
    assert [change.key for change in first.changes] == ["1", "2"]
    assert second.changes == first.changes
    source.acknowledge(second, catcher.clock())
    assert source.read(catcher.clock()).changes == []


def test_the_watermark_in_the_ledger_never_goes_back(catch: Catch, crm: psycopg.Connection, small_pages: None) -> None:
    catcher = catch()
    marks = []
    for key in range(1, 6):
        catcher.leads.add(crm, key)
        for _ in range(4):
            catcher.turn()
            marks.append(catcher.position[1])
    moments = [datetime.fromisoformat(mark) for mark in marks if mark is not None]
    assert moments == sorted(moments)
    assert len(set(moments)) == 5


# -- updates, deletes, rollbacks ---------------------------------------------------------------------------------


def test_an_update_is_captured_again_only_where_it_is_asked_for(catch: Catch, crm: psycopg.Connection) -> None:
    catcher = catch()
    catcher.leads.add(crm, 1)
    catcher.drain()
    crm.execute("UPDATE leads SET updated_at = now() WHERE id = 1")
    catcher.drain()
    assert catcher.versions == catcher.leads.visible(crm)
    assert sum(result.new for result in catcher.results) == 1


def test_a_deleted_row_stays_in_the_ledger_and_a_key_used_again_is_the_same_lead(
    catch: Catch, crm: psycopg.Connection
) -> None:
    catcher = catch()
    catcher.leads.add(crm, 1)
    catcher.drain()
    crm.execute("DELETE FROM leads")
    catcher.drain()
    assert catcher.keys == {"1"}
    catcher.leads.add(crm, 1)
    catcher.drain()
    assert catcher.versions == catcher.leads.visible(crm)


def test_what_was_rolled_back_is_never_captured(catch: Catch, crm: psycopg.Connection, connect: Connect) -> None:
    catcher = catch()
    other = connect()
    catcher.leads.add(other, 1)
    catcher.drain()
    other.rollback()
    catcher.leads.add(other, 2)
    other.execute("SAVEPOINT s")
    catcher.leads.add(other, 3)
    other.execute("ROLLBACK TO s")
    other.commit()
    catcher.drain()
    assert catcher.keys == {"2"}


# -- conditions and names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "where",
    [
        "note LIKE 'hot%' -- only the warm ones",
        "note ~ '^hot' /* 100 % */",
        "note = 'cold' AND false OR note = 'hot'",
        "note = $$hot$$",
        "note IN ('hot', 'it''s', '%s', '{}', '%(x)s')",
        "leads.\"note\" = 'hot'",
        "note = 'hot' AND id % 2 >= 0",
        "\n  note = 'hot'\n  -- the end",
    ],
)
def test_the_operators_condition_is_taken_as_it_is_written(catch: Catch, crm: psycopg.Connection, where: str) -> None:
    catcher = catch(where=where)
    catcher.leads.add(crm, 1, note="hot")
    catcher.leads.add(crm, 2, note="cold")
    catcher.drain()
    assert catcher.keys == {"1"}
    crm.execute("UPDATE leads SET updated_at = '2026-03-01', note = 'hot'")  # behind the window
    assert catcher.sweep() == 1
    assert catcher.keys == {"1", "2"}


@pytest.mark.parametrize(
    ("name", "key", "mark"),
    [
        ("Leads", "Id", "UpdatedAt"),
        ("leads of today", "the id", "updated at"),
        ('say "leads"', 'i"d', 'm"ark'),
        ("contactos_año", "cédula", "última_modificación"),
        ("select", "from", "where"),
        ("100%", "%s", "{mark}"),
        ("semi;colon", "id--", "a.b"),
    ],
)
def test_a_name_is_taken_just_as_postgres_has_it(
    catch: Catch, crm: psycopg.Connection, small_pages: None, name: str, key: str, mark: str
) -> None:
    catcher = catch(name=name, key=key, mark=mark)
    for number in range(5):
        catcher.leads.add(crm, number)
    catcher.drain()
    assert catcher.versions == catcher.leads.visible(crm)
    assert catcher.sweep() == 0


# -- the sweep ---------------------------------------------------------------------------------------------------


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


# -- trouble -----------------------------------------------------------------------------------------------------

BREAKS: dict[str, tuple[str, str, str]] = {
    "a table dropped": ("ALTER TABLE leads RENAME TO gone", "ALTER TABLE gone RENAME TO leads", "leads"),
    "a key renamed": ("ALTER TABLE leads RENAME id TO no", "ALTER TABLE leads RENAME no TO id", "id"),
    "a watermark renamed": (
        "ALTER TABLE leads RENAME updated_at TO changed_at",
        "ALTER TABLE leads RENAME changed_at TO updated_at",
        "updated_at",
    ),
    "a column of the condition renamed": (
        "ALTER TABLE leads RENAME note TO remark",
        "ALTER TABLE leads RENAME remark TO note",
        "note",
    ),
    "a watermark of another type": (
        "ALTER TABLE leads ALTER updated_at DROP DEFAULT, ALTER updated_at TYPE text",
        "ALTER TABLE leads ALTER updated_at TYPE timestamptz USING updated_at::timestamptz",
        "",
    ),
}


@pytest.mark.parametrize("what", BREAKS)
def test_a_table_changed_under_way_stops_its_sync_with_a_sentence_and_goes_on_when_mended(
    catch: Catch, crm: psycopg.Connection, what: str
) -> None:
    breaks, mends, named = BREAKS[what]
    catcher = catch(where="note = ''")
    other = catch(name="others")
    catcher.leads.add(crm, 1)
    catcher.drain()
    crm.execute(breaks.encode())
    result = catcher.turn()
    assert result.trouble is not None
    assert not result.trouble.retry
    assert 'sync "leads"' in str(result.trouble)
    assert named in str(result.trouble)
    assert "\n" not in str(result.trouble)
    other.leads.add(crm, 7)
    other.drain()
    assert other.keys == {"7"}
    crm.execute(mends.encode())
    catcher.leads.add(crm, 2, later(crm, 0))
    catcher.drain()
    assert catcher.keys == {"1", "2"}
    assert catcher.intake.trouble is None


def test_a_replaced_table_with_other_types_is_read_as_it_is_now(catch: Catch, crm: psycopg.Connection) -> None:
    catcher = catch()
    catcher.leads.add(crm, 1)
    catcher.drain()
    crm.execute("DROP TABLE leads")
    assert catcher.turn().trouble is not None
    Leads(key_type="text", mark_type="timestamp").create(crm)
    catcher.leads.add(crm, "x")
    catcher.drain()
    assert catcher.keys == {"1", "x"}


@pytest.fixture
def role(crm: psycopg.Connection) -> Any:
    """A role that may log in and nothing else; gone afterwards."""
    name = f"reader_{uuid.uuid4().hex}"
    crm.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'made-up'").format(sql.Identifier(name)))
    yield name
    crm.execute(sql.SQL("DROP OWNED BY {0}").format(sql.Identifier(name)))
    crm.execute(sql.SQL("DROP ROLE {0}").format(sql.Identifier(name)))


def url_of(database: str, role: str) -> str:
    """The database for another role."""
    return database.replace("postgresql://postgres@", f"postgresql://{role}:made-up@")


def test_select_on_the_columns_is_all_that_is_needed_and_a_right_taken_away_is_said(
    catch: Catch, crm: psycopg.Connection, database: str, role: str
) -> None:
    catcher = catch(where="note = ''")
    catcher.url = url_of(database, role)
    catcher.restart()
    grantee = sql.Identifier(role)
    crm.execute(sql.SQL("GRANT SELECT (id, updated_at, note) ON leads TO {}").format(grantee))
    catcher.leads.add(crm, 1)
    catcher.drain()
    assert catcher.keys == {"1"}
    for column in ("id", "updated_at", "note"):
        revoke = sql.SQL("REVOKE SELECT ({}) ON leads FROM {}").format(sql.Identifier(column), grantee)
        crm.execute(revoke)
        trouble = catcher.turn().trouble
        assert trouble is not None
        assert "permission denied for table leads" in str(trouble)
        assert "Grant it to syncd's role" in str(trouble)
        crm.execute(sql.SQL("GRANT SELECT ({}) ON leads TO {}").format(sql.Identifier(column), grantee))
        catcher.drain()
    catcher.leads.add(crm, 2)
    catcher.drain()
    assert catcher.keys == {"1", "2"}


def test_a_killed_backend_is_trouble_once_and_then_forgotten(catch: Catch, crm: psycopg.Connection) -> None:
    catcher = catch()
    catcher.leads.add(crm, 1)
    catcher.drain()
    crm.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'syncd capture'")
    trouble = catcher.turn().trouble
    assert trouble is not None
    assert trouble.retry
    catcher.leads.add(crm, 2)
    catcher.drain()
    assert catcher.keys == {"1", "2"}


def test_trouble_is_tried_again_less_and_less_often(catch: Catch, crm: psycopg.Connection) -> None:
    catcher = catch(make=False)
    waits = []
    for _ in range(8):
        result = catcher.turn()
        waits.append(round(result.next_at - catcher.clock()))
    assert waits == [1, 2, 5, 15, 30, 60, 60, 60]
    catcher.leads.create(crm)
    catcher.drain()


# -- manners -----------------------------------------------------------------------------------------------------


class Counted(psycopg.Cursor[Any]):
    """A cursor that counts what it executes."""

    statements: list[str]


def statements_of(catcher: Catcher, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is sent to the CRM from now on."""
    sent: list[str] = []
    execute = psycopg.Cursor.execute

    def counting(self: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
        sent.append(query if isinstance(query, str) else query.as_string(self))
        return execute(self, query, *args, **kwargs)

    monkeypatch.setattr(psycopg.Cursor, "execute", counting)
    return sent


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
