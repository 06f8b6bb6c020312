"""What every way of capturing keeps: no row is missed, none is handed over for nothing, whatever the table is like."""

from __future__ import annotations

import random
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from syncd import scanning
from syncd.errors import LedgerUnavailable
from syncd.model import Change
from syncd.states import CallState, LeadState
from tests.capture.conftest import Catch, Connect
from tests.capture.harness import Catcher, Kit, Leads, Refusing, fresh_ledger
from tests.support.ledgers import Scene

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


@pytest.mark.parametrize("key_type", KEYS)
def test_a_key_of_any_type_is_captured_as_postgres_writes_it_over_page_boundaries(
    catch: Catch, crm: psycopg.Connection, small_pages: None, key_type: str
) -> None:
    catcher = catch(key_type=key_type)
    catcher.drain()
    with crm.transaction():  # one instant for all seven: ties over four pages
        for key in KEYS[key_type]:
            catcher.leads.add(crm, key)
    catcher.drain()
    assert catcher.keys == catcher.leads.visible(crm).keys()
    assert catcher.captured == len(catcher.keys) == 7
    assert catcher.sweep() == 0


@pytest.mark.parametrize("key_type", KEYS)
def test_a_key_of_any_type_is_captured_by_the_backfill_over_chunk_boundaries(
    catch: Catch, crm: psycopg.Connection, small_pages: None, key_type: str
) -> None:
    catcher = catch(key_type=key_type, install=False)
    for key in KEYS[key_type]:
        catcher.leads.add(crm, key, datetime(2026, 3, 1, tzinfo=UTC))
    catcher.install()
    catcher.backfill()
    assert catcher.keys == catcher.leads.visible(crm).keys()
    assert catcher.captured == len(catcher.keys) == 7
    catcher.restart()
    catcher.drain()
    assert catcher.captured == 7


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
    for number in range(3):
        catcher.leads.add(crm, number)
    catcher.drain()
    for number in range(3, 6):
        catcher.leads.add(crm, number)
    catcher.drain()
    assert catcher.keys == catcher.leads.visible(crm).keys()
    assert catcher.sweep() == 0
    assert catcher.captured == 6


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
    catcher.leads.add(crm, 3, note="hot")
    catcher.leads.add(crm, 4, note="cold")
    catcher.drain()
    assert catcher.keys == {"1", "3"}
    crm.execute("UPDATE leads SET updated_at = now(), note = 'hot' WHERE id = 2")
    catcher.drain()
    assert catcher.keys == {"1", "2", "3"}
    assert catcher.sweep() == 0
    assert catcher.keys == {"1", "2", "3"}


# -- the first start ---------------------------------------------------------------------------------------------

INSTANT = datetime.fromisoformat("2026-03-01T12:00:00-05:00")
STARTS: dict[str, tuple[str | datetime, bool, set[str]]] = {
    "beginning": ("beginning", True, {"1", "2", "3"}),
    "beginning, no watermark": ("beginning", False, {"1", "2", "3"}),
    "now": ("now", True, set()),
    "now, no watermark": ("now", False, set()),
    "an instant": (INSTANT, True, {"2", "3"}),
}


@pytest.mark.parametrize("mark_type", ["timestamptz", "timestamp"])
@pytest.mark.parametrize("start", STARTS)
def test_a_first_start_takes_what_it_says_and_all_that_comes_after(
    catch: Catch, crm: psycopg.Connection, kit: Kit, small_pages: None, start: str, mark_type: str
) -> None:
    said, watermarked, ours = STARTS[start]
    if not watermarked and not kit.follows:
        pytest.skip("poll needs a watermark column: the configuration says so")
    catcher = catch(start=said, watermarked=watermarked, mark_type=mark_type, install=False)
    for key, secs in ((1, -0.000001), (2, 0), (3, 1)):
        moment = INSTANT.astimezone(UTC) + timedelta(seconds=secs)
        catcher.leads.add(crm, key, moment if mark_type == "timestamptz" else moment.replace(tzinfo=None))
    catcher.install()
    catcher.backfill()
    assert catcher.keys == ours
    catcher.leads.add(crm, 4)
    catcher.drain()
    assert catcher.keys == ours | {"4"}
    assert catcher.sweep() == 0
    assert catcher.keys == ours | {"4"}
    crm.execute("UPDATE leads SET updated_at = clock_timestamp() WHERE id = 1")
    catcher.drain()
    assert catcher.keys == ours | {"1", "4"}
    catcher.restart()
    assert catcher.sweep() == 0
    assert catcher.captured == len(catcher.keys)


def test_start_now_on_an_empty_table_misses_nothing(catch: Catch, crm: psycopg.Connection) -> None:
    for name, mark_type, default in (("a", "timestamptz", "now()"), ("b", "bigint", "1")):
        catcher = catch(name=name, start="now", mark_type=mark_type, mark_default=default)
        catcher.drain()
        catcher.leads.add(crm, 1)
        catcher.drain()
        assert catcher.keys == {"1"}


def test_the_first_start_is_kept_whatever_the_file_says_later(catch: Catch, crm: psycopg.Connection) -> None:
    catcher = catch(start="now")
    catcher.leads.add(crm, 1)
    catcher.drain()
    since = catcher.position.since
    catcher.restart(start="beginning")
    catcher.leads.add(crm, 2)
    catcher.drain()
    assert catcher.position.since == since
    assert catcher.keys == {"2"}
    assert catcher.sweep() == 0


def test_a_first_start_that_was_cut_short_begins_where_it_was_written_down(
    catch: Catch, crm: psycopg.Connection
) -> None:
    catcher = catch(start="now")
    catcher.drain()  # nothing there: only the start is written
    catcher.leads.add(crm, 1)
    catcher.restart()
    catcher.drain()
    assert catcher.keys == {"1"}


@pytest.mark.parametrize("watermarked", [True, False])
def test_a_backfill_that_was_cut_short_goes_on_and_takes_nothing_twice(
    catch: Catch, crm: psycopg.Connection, kit: Kit, small_pages: None, *, watermarked: bool
) -> None:
    if not watermarked and not kit.follows:
        pytest.skip("poll needs a watermark column: the configuration says so")
    catcher = catch(watermarked=watermarked, install=False)
    for key in range(10):
        catcher.leads.add(crm, key, datetime(2026, 3, 1, tzinfo=UTC))
    catcher.install()
    for key in range(10, 14):
        catcher.turn_well()
        catcher.leads.add(crm, key)  # what is new meanwhile goes before
        catcher.turn_well()
        catcher.restart()
    assert catcher.position.existing == "take"
    catcher.backfill()
    assert catcher.keys == {str(key) for key in range(14)}
    assert catcher.captured == 14


@pytest.mark.parametrize("start", ["beginning", "now"])
@pytest.mark.parametrize("watermarked", [True, False])
def test_with_writers_at_work_a_first_start_leaves_no_gap_and_takes_nothing_twice(
    catch: Catch,
    crm: psycopg.Connection,
    connect: Connect,
    kit: Kit,
    small_pages: None,
    start: str,
    *,
    watermarked: bool,
) -> None:
    if not watermarked and not kit.follows:
        pytest.skip("poll needs a watermark column: the configuration says so")
    catcher = catch(start=start, watermarked=watermarked, install=False)
    for key in range(40):
        catcher.leads.add(crm, key)
    catcher.install()
    begun = threading.Event()
    owed: set[str] = set()  # what was begun after the start, and committed

    def write(connection: psycopg.Connection, first: int) -> None:
        chance = random.Random(first)
        after, keys = begun.is_set(), []
        for key in range(first, first + 25):
            keys.append(key)
            catcher.leads.add(connection, key)
            if chance.random() < 0.5:  # transactions of several rows, which overlap
                connection.commit()
                owed.update(map(str, keys if after else ()))
                after, keys = begun.is_set(), []
            time.sleep(chance.random() * 0.01)
            if key == first + 8:
                begun.wait(10)
        connection.commit()

    writers = [threading.Thread(target=write, args=(connect(), 1000 * (n + 1))) for n in range(4)]
    for writer in writers:
        writer.start()
    try:
        catcher.turn_well()  # the first start, in the middle of it
        begun.set()
        while any(writer.is_alive() for writer in writers):
            catcher.turn_well()
    finally:
        begun.set()
        for writer in writers:
            writer.join()
    catcher.backfill()
    seen = catcher.leads.visible(crm).keys()
    assert len(seen) == 140
    assert len(owed) > 20
    assert catcher.keys >= owed
    if start == "beginning":
        assert catcher.keys == seen
    else:
        assert not catcher.keys & {str(key) for key in range(40)}
    assert catcher.captured == len(catcher.keys)
    assert catcher.sweep() == 0


# -- late commits ------------------------------------------------------------------------------------------------


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
    assert catcher.keys == {"1", "2", "3"}
    assert catcher.captured == 3


@pytest.mark.parametrize(("mark_type", "default"), [("timestamptz", "now()"), ("bigint", "nextval('marks')")])
def test_a_late_commit_over_a_restart_is_not_missed(
    catch: Catch, crm: psycopg.Connection, connect: Connect, mark_type: str, default: str
) -> None:
    crm.execute("CREATE SEQUENCE marks")
    catcher = catch(mark_type=mark_type, mark_default=default)
    catcher.drain()
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


def test_the_servers_clock_and_ours_may_differ_by_days(catch: Catch, crm: psycopg.Connection) -> None:
    for name, off_by in (("a", -86_400.0), ("b", 86_400.0)):
        catcher = catch(name=name, start="now", lookback_secs=0)
        catcher.clock.advance(off_by)
        catcher.leads.add(crm, 1)
        catcher.drain()
        assert catcher.keys == set()
        for key in (2, 3):
            catcher.leads.add(crm, key)
            catcher.drain()
        assert catcher.keys == {"2", "3"}
        assert catcher.sweep() == 0


# -- restarts, refusals, acknowledgements ------------------------------------------------------------------------


class Killed(Exception):
    """syncd ends here."""


@pytest.mark.parametrize("when", ["before the commit", "after the commit", "after the acknowledgement"])
def test_a_restart_at_any_point_misses_nothing_and_takes_nothing_twice(
    catch: Catch, crm: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, small_pages: None, when: str
) -> None:
    catcher = catch()
    catcher.drain()
    captured = 0
    for key in range(0, 15, 3):
        for each in range(key, key + 3):
            catcher.leads.add(crm, each)
        with monkeypatch.context() as patched:
            acknowledge, capture = catcher.source.acknowledge, catcher.ledger.capture

            def capture_and_die(*args: Any, capture: Any = capture, **given: Any) -> Any:
                nonlocal captured
                if when == "before the commit" and args[1]:
                    raise Killed
                done = capture(*args, **given)
                captured += done.new
                return done

            def acknowledge_and_die(page: Any, now: float, acknowledge: Any = acknowledge) -> None:
                if page.changes and when == "after the commit":
                    raise Killed
                acknowledge(page, now)
                if page.changes:
                    raise Killed

            patched.setattr(catcher.ledger, "capture", capture_and_die)
            patched.setattr(catcher.source, "acknowledge", acknowledge_and_die)
            with pytest.raises(Killed):
                catcher.until(lambda: False, "a page with changes")
        catcher.restart()
    catcher.drain()
    assert catcher.keys == {str(key) for key in range(15)}
    assert captured + catcher.captured == 15
    assert catcher.sweep() == 0


def test_what_the_ledger_refuses_is_read_again(catch: Catch, crm: psycopg.Connection, small_pages: None) -> None:
    catcher = catch()
    refusing = Refusing(catcher.ledger)
    catcher.ledger = refusing
    catcher.restart()
    catcher.drain()
    for key in range(7):
        catcher.leads.add(crm, key)
    for _ in range(2):
        refusing.refuse = 1
        with pytest.raises(LedgerUnavailable):
            catcher.until(lambda: False, "a page with changes")
    catcher.drain()
    assert catcher.keys == {str(key) for key in range(7)}
    assert catcher.captured == 7


def test_a_page_that_was_not_acknowledged_is_read_again(catch: Catch, crm: psycopg.Connection) -> None:
    catcher = catch()
    catcher.drain()
    with crm.transaction():
        catcher.leads.add(crm, 1)
        catcher.leads.add(crm, 2)
    source = catcher.source
    found: list[set[str]] = []

    def comes() -> bool:
        page = source.read(catcher.clock.now)
        if page.changes:
            found.append({change.key for change in page.changes})
        else:
            source.acknowledge(page, catcher.clock.now)
        return bool(page.changes)

    catcher.wait(comes, "keys")
    catcher.wait(comes, "the same keys again")
    assert found[0] == found[1]  # of a stream, a page may hold a part of a transaction
    assert catcher.keys == set()
    catcher.drain()
    assert catcher.captured == 2


# -- updates, deletes, rollbacks ---------------------------------------------------------------------------------


def test_a_change_is_seen_by_its_version_and_makes_no_second_lead(catch: Catch, crm: psycopg.Connection) -> None:
    catcher = catch()
    for key in (1, 2, 3):
        catcher.leads.add(crm, key)
    catcher.drain()
    before = catcher.versions
    crm.execute("UPDATE leads SET updated_at = clock_timestamp() WHERE id = 2")
    catcher.drain()
    after = catcher.versions
    assert [key for key in sorted(after) if after[key] != before[key]] == ["2"]
    assert catcher.captured == 3


@pytest.mark.parametrize("resend_changed", [True, False])
@pytest.mark.parametrize("state", [LeadState.SENDING, LeadState.HELD, LeadState.DELIVERED])
def test_a_row_that_changes_while_its_lead_is_under_way_is_remembered_where_it_is_asked_for(
    database: str, crm: psycopg.Connection, kit: Kit, tmp_path: Any, state: LeadState, *, resend_changed: bool
) -> None:
    leads = Leads(resend_changed=resend_changed)
    leads.create(crm)
    with fresh_ledger(tmp_path / "ledger.db") as ledger:
        catcher = Catcher(kit, database, leads, ledger)
        try:
            catcher.install()
            leads.add(crm, 1)
            catcher.drain()
            scene = Scene(ledger, catcher.name, resend=resend_changed)
            number = scene.intend("1")
            if state is LeadState.HELD:
                scene.finish(number, CallState.UNKNOWN, LeadState.HELD)
            elif state is LeadState.DELIVERED:
                scene.accept(number)
            crm.execute("UPDATE leads SET updated_at = clock_timestamp()")
            catcher.drain()
            again = sum(result.again for result in catcher.results)
            if state is LeadState.DELIVERED:
                assert again == resend_changed
            else:
                assert again == 0
                assert scene.states() == {"1": state.value}
                scene.accept(number)
            assert scene.states() == {"1": "pending" if resend_changed else "delivered"}
        finally:
            catcher.close()


def test_a_deleted_row_stays_in_the_ledger_and_a_key_used_again_is_the_same_lead(
    catch: Catch, crm: psycopg.Connection
) -> None:
    catcher = catch()
    catcher.leads.add(crm, 1)
    catcher.drain()
    crm.execute("DELETE FROM leads")
    catcher.drain()
    before = catcher.versions
    assert before.keys() == {"1"}
    catcher.leads.add(crm, 1)
    catcher.drain()
    assert catcher.versions.keys() == {"1"}
    assert catcher.versions != before
    assert catcher.captured == 1


def test_a_row_that_was_gone_or_matched_no_more_when_it_was_read_is_not_captured(
    catch: Catch, crm: psycopg.Connection
) -> None:
    catcher = catch(where="note <> 'cold'")
    catcher.drain()
    for key in (1, 2, 3):
        catcher.leads.add(crm, key)
    crm.execute("DELETE FROM leads WHERE id = 1")
    crm.execute("UPDATE leads SET note = 'cold' WHERE id = 2")
    catcher.drain()
    assert catcher.keys == {"3"}


def test_a_key_that_changes_is_a_lead_of_its_own(catch: Catch, crm: psycopg.Connection) -> None:
    catcher = catch()
    catcher.leads.add(crm, 1)
    catcher.drain()
    crm.execute("UPDATE leads SET id = 2, updated_at = clock_timestamp()")
    catcher.drain()
    assert catcher.keys == {"1", "2"}


def test_what_was_rolled_back_is_never_captured(catch: Catch, crm: psycopg.Connection, connect: Connect) -> None:
    catcher = catch()
    catcher.drain()
    other = connect()
    catcher.leads.add(other, 1)
    catcher.leads.add(crm, 9)  # so that the WAL of the other is written, which else may take 15 s
    catcher.drain()
    other.rollback()
    catcher.leads.add(other, 2)
    other.execute("SAVEPOINT s")
    catcher.leads.add(other, 3)
    other.execute("ROLLBACK TO s")
    other.commit()
    catcher.drain()
    assert catcher.keys == {"2", "9"}


def test_bulk_statements_are_captured_whole(catch: Catch, crm: psycopg.Connection, small_pages: None) -> None:
    catcher = catch()
    catcher.drain()
    crm.execute("INSERT INTO leads (id) SELECT * FROM generate_series(1, 20)")
    with crm.cursor().copy("COPY leads (id) FROM STDIN") as copy:
        for key in range(21, 41):
            copy.write_row([key])
    crm.execute(
        "INSERT INTO leads (id) SELECT * FROM generate_series(36, 45)"
        " ON CONFLICT (id) DO UPDATE SET updated_at = clock_timestamp()"
    )
    crm.execute("INSERT INTO leads (id) SELECT * FROM generate_series(40, 50) ON CONFLICT DO NOTHING")
    crm.execute("WITH new (id) AS (VALUES (60::bigint), (61)) INSERT INTO leads (id) SELECT id FROM new RETURNING id")
    catcher.drain()
    assert catcher.keys == {str(key) for key in (*range(1, 51), 60, 61)}
    assert catcher.captured == 52
    before = catcher.versions
    crm.execute("UPDATE leads SET updated_at = clock_timestamp() WHERE id <= 30")
    catcher.drain()
    assert {key for key, version in catcher.versions.items() if before[key] != version} == {
        str(key) for key in range(1, 31)
    }


def test_a_truncated_table_keeps_its_leads_and_gives_the_next(catch: Catch, crm: psycopg.Connection) -> None:
    catcher = catch()
    catcher.leads.add(crm, 1)
    catcher.drain()
    crm.execute("TRUNCATE leads")
    catcher.leads.add(crm, 2)
    catcher.drain()
    assert catcher.keys == {"1", "2"}


# -- the sweep ---------------------------------------------------------------------------------------------------


def test_the_sweep_finds_rows_that_no_trigger_saw_and_counts_them(
    catch: Catch, crm: psycopg.Connection, kit: Kit, small_pages: None
) -> None:
    catcher = catch(where="note <> 'cold'")
    for key in range(10):
        catcher.leads.add(crm, key)
    catcher.drain()
    assert catcher.sweep() == 0
    crm.execute("SET session_replication_role = replica")
    for key in (20, 21, 22, 23):
        catcher.leads.add(crm, key, "2026-03-01")
    catcher.leads.add(crm, 24, "2026-03-01", "cold")
    crm.execute("RESET session_replication_role")
    catcher.drain()
    seen = 14 if kit.name == "slot" else 10  # WAL has it all
    assert len(catcher.keys) == seen
    assert catcher.sweep() == 14 - seen
    assert catcher.keys == {str(key) for key in (*range(10), 20, 21, 22, 23)}
    assert catcher.captured == 14
    assert catcher.sweep() == 0


@pytest.mark.parametrize("watermarked", [True, False])
def test_what_reading_is_about_to_bring_is_no_find_of_the_sweep(
    catch: Catch, crm: psycopg.Connection, connect: Connect, kit: Kit, small_pages: None, *, watermarked: bool
) -> None:
    if not watermarked and not kit.follows:
        pytest.skip("poll needs a watermark column: the configuration says so")
    catcher = catch(watermarked=watermarked)
    catcher.drain()
    catcher.clock.advance(2 * catcher.leads.sweep_secs)
    catcher.turn_well()  # a look, after which the sweep is due
    assert catcher.is_sweeping()
    written = 0
    while catcher.is_sweeping() or written < 30:
        if written < 30:
            catcher.leads.add(crm, written)
            written += 1
            if catcher.intake._may_scan(catcher.clock()):
                catcher.results.append(catcher.intake._scan(catcher.clock()))  # before a look at what changes
        catcher.until(lambda: True, "a turn")
    catcher.drain()
    assert catcher.keys == {str(key) for key in range(30)}
    assert sum(result.swept for result in catcher.results) == 0
    assert catcher.captured == 30


def test_a_sweep_goes_in_bounded_chunks_and_lets_what_is_new_go_before(
    catch: Catch, crm: psycopg.Connection, kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanning, "SCAN_ROWS", 3)
    catcher = catch()
    for key in range(20):
        catcher.leads.add(crm, key, "2026-03-01")
    catcher.drain()
    asked: list[int] = []
    scan = catcher.source.scan

    def counting(after: str | None, limit: int) -> Any:
        found: list[Change] = list(scan(after, limit))
        asked.append(len(found))
        return found

    monkeypatch.setattr(catcher.source, "scan", counting)
    assert catcher.sweep() == 0
    assert sum(asked) == 20
    assert max(asked) == 3
    assert len(asked) == 7


def test_a_sweep_that_the_connection_breaks_off_goes_on(
    catch: Catch, crm: psycopg.Connection, small_pages: None
) -> None:
    catcher = catch()
    for key in range(10):
        catcher.leads.add(crm, key, "2026-03-01")
    catcher.drain()
    crm.execute("SET session_replication_role = replica")
    catcher.leads.add(crm, 20, "2026-03-01")
    crm.execute("RESET session_replication_role")
    catcher.clock.advance(2 * catcher.leads.sweep_secs)
    catcher.turn_well()
    catcher.turn_well()
    catcher.kill(crm)
    catcher.recover()
    catcher.until(lambda: not catcher.is_sweeping(), "the sweep ends")
    assert catcher.keys == {str(key) for key in (*range(10), 20)}


def test_a_row_from_before_the_start_stays_out_for_as_long_as_its_watermark_says_so(
    catch: Catch, crm: psycopg.Connection
) -> None:
    catcher = catch(start="now")
    crm.execute("INSERT INTO leads (id, updated_at) VALUES (1, '2020-01-01')")
    catcher.drain()
    crm.execute("UPDATE leads SET note = 'changed by hand'")
    catcher.drain()
    assert catcher.keys == set()
    crm.execute("UPDATE leads SET updated_at = now()")
    catcher.drain()
    assert catcher.keys == {"1"}
