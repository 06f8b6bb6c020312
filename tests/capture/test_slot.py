"""Capture by a slot: what its own workings promise, beside what every way of capturing does."""

from __future__ import annotations

import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from syncd.capture import BEGINNING, NOTED, Existing, Page, Position, Resumed, slot_look, slot_page
from syncd.capture.pgoutput import lsn_of
from syncd.capture.slot import SlotSource
from syncd.capture.slot_page import is_visible
from syncd.config.objects import Objects
from syncd.embedded import EmbeddedPostgres
from syncd.errors import CaptureLost, CrmError, CrmFault, CrmUnavailable
from tests.capture import slot_kit
from tests.capture.harness import Leads
from tests.conftest import FAST, MAJOR
from tests.support import majors
from tests.support.waiting import eventually

OBJECTS = Objects("web-leads")


@dataclass
class Ledger:
    """What a ledger would know of one sync."""

    position: Position
    versions: dict[str, list[str]] = field(default_factory=dict)
    gaps: list[str] = field(default_factory=list)


class Stage:
    """A database with a table that is followed through a slot, and the loop that reads it."""

    def __init__(self, url: str, leads: Leads, objects: Objects = OBJECTS, schema: str = "public") -> None:
        self.url = url
        self.leads = leads
        self.objects = objects
        self.schema = schema
        self.as_role = url
        self.admin = psycopg.connect(url, autocommit=True)
        self.now = time.time()
        self.ledger = Ledger(Position("", None, None))
        self.source = self.make()

    def make(self, *, poll_secs: float = 5.0, watermark: bool = True) -> SlotSource:
        """A new source object, as after a restart."""
        self.source = slot_kit.make(
            self.as_role, self.leads, self.objects, schema=self.schema, poll_secs=poll_secs, watermark=watermark
        )
        return self.source

    def install(self) -> None:
        """As `syncd setup --apply`."""
        slot_kit.install(
            self.admin, (self.schema, self.leads.name), self.leads.key, None, self.objects, self.leads.role
        )

    def execute(self, statement: str, *values: object) -> Any:
        """What the CRM does; the first row's first value, if there is one."""
        cursor = self.admin.execute(statement.encode(), values or None)
        return None if cursor.description is None else (cursor.fetchone() or (None,))[0]

    def begin(self) -> Resumed:
        """The first start, and going on from it."""
        start = self.source.first_start(self.now)
        self.ledger.position = Position(start.since, start.watermark, None)
        return self.resume()

    def resume(self) -> Resumed:
        """As the intake does at the start, and after trouble."""
        resumed = self.source.resume(self.ledger.position)
        self.ledger.position = Position(self.ledger.position.since, resumed.watermark, resumed.identity)
        if resumed.gap is not None:
            self.ledger.gaps.append(resumed.gap)
        return resumed

    def restart(self, **how: Any) -> Resumed:
        """A new life of syncd, which knows no more than the ledger does."""
        self.source.close()
        self.make(**how)
        return self.resume()

    def take(self) -> Page:
        """One page, into the ledger."""
        page = self.source.read(self.now)
        for key, version in page.changes:
            self.ledger.versions.setdefault(key, []).append(version)
        if page.gap is not None:
            self.ledger.gaps.append(page.gap)
        if page.reached is not None:
            was = self.ledger.position
            self.ledger.position = Position(was.since, page.reached, was.identity)
        self.source.acknowledge(page, self.now)
        return page

    def drain(self) -> list[Page]:
        """Read until everything that is committed has come."""
        mark = self.source.mark()
        pages: list[Page] = []

        def done() -> bool:
            pages.append(self.take())
            return not pages[-1].more and pages[-1].again_secs is None and self.source.passed(mark)

        eventually(done, "everything is read", look_secs=0.005)
        return pages

    @property
    def keys(self) -> set[str]:
        """What was captured."""
        return set(self.ledger.versions)

    def slot(self, column: str) -> Any:
        """What the server says of the slot."""
        query = f"SELECT {column} FROM pg_replication_slots WHERE slot_name = %s"
        return self.execute(query, self.objects.slot)

    def drop_slot(self) -> None:
        """Somebody drops the slot."""
        eventually(lambda: not self.slot("active"), "the slot is free")
        self.execute("SELECT pg_drop_replication_slot(%s)", self.objects.slot)

    def close(self) -> None:
        """Leave the CRM."""
        self.source.close()
        self.admin.close()


Set = Callable[..., Stage]


def until_trouble(stage: Stage) -> None:
    """Read until that fails."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        stage.take()


@pytest.fixture
def database(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    """A database of its own, for a slot outlives tables."""
    name = f"slot_{uuid.uuid4().hex}"
    postgres_server.create_database(name)
    yield postgres_server.url(name)
    postgres_server.drop_database(name)


def staged(
    made: list[Stage], url: str, *, make: str = "", install: bool = True, begin: bool = True, **told: Any
) -> Stage:
    """A stage with its table, set up and begun."""
    leads = Leads(**told)
    stage = Stage(url, leads, Objects(f"s{uuid.uuid4().hex[:12]}"))
    made.append(stage)
    if make:
        stage.execute(make)
    else:
        leads.create(stage.admin)
    if install:
        stage.install()
        if begin:
            stage.begin()
    return stage


@pytest.fixture
def stage(database: str) -> Iterator[Set]:
    """``stage(key_type="uuid")`` makes one; ``make="CREATE TABLE ..."`` with another table."""
    made: list[Stage] = []
    yield lambda **told: staged(made, database, **told)
    for each in made:
        each.close()


def own_server(template: Path, directory: Path | None, **settings: str) -> EmbeddedPostgres:
    """A server of the version that all tests have."""
    return EmbeddedPostgres(
        directory,
        bindir=majors.bindir_or_skip(MAJOR),
        template=template if MAJOR == majors.NEWEST else None,
        settings=FAST | settings,
    )


@pytest.fixture(scope="module")
def lone_server(postgres_template: Path) -> Iterator[EmbeddedPostgres]:
    """A server whose settings and life these tests may change."""
    with own_server(postgres_template, None, min_wal_size="32MB") as server:
        yield server


@pytest.fixture
def lone(lone_server: EmbeddedPostgres) -> Iterator[Set]:
    """As `stage`, on that server, which is as before afterwards."""
    made: list[Stage] = []
    name = f"slot_{uuid.uuid4().hex}"
    lone_server.create_database(name)
    url = lone_server.url(name)
    yield lambda **told: staged(made, url, **told)
    for each in made:
        each.close()
    with psycopg.connect(lone_server.url(), autocommit=True) as admin:
        admin.execute("ALTER SYSTEM RESET ALL")
        admin.execute("SELECT pg_reload_conf()")
    lone_server.drop_database(name)


def configure(stage: Stage, name: str, value: str) -> None:
    """Change a setting of the server, and wait until it is so."""
    stage.execute(f"ALTER SYSTEM SET {name} = '{value}'")
    stage.execute("SELECT pg_reload_conf()")
    eventually(lambda: stage.execute("SELECT current_setting(%s)", name) == value, f"{name} is {value}")


def lost(stage: Stage) -> str:
    """What the source says where it cannot follow."""
    with pytest.raises(CaptureLost) as raised:
        stage.source.read(stage.now)
    text = str(raised.value)
    assert "syncd setup leads --apply" in text
    return text


# -- what comes ----------------------------------------------------------------------------------------------


def test_what_is_committed_comes_in_the_order_of_the_commits_and_nothing_else_does(stage: Set) -> None:
    at = stage()
    with psycopg.connect(at.url) as first, psycopg.connect(at.url) as second:
        at.leads.add(first, 1)
        at.leads.add(second, 2)
        at.leads.add(second, 3)
        second.rollback()
        at.leads.add(second, 4)
        second.commit()
        first.commit()
        at.leads.add(first, 5)
    at.leads.add(at.admin, 6)
    at.drain()
    places = {key: lsn_of(versions[-1].partition("-")[2]) for key, versions in at.ledger.versions.items()}
    assert sorted(places, key=places.__getitem__) == ["4", "1", "5", "6"]
    assert at.ledger.gaps == []


def test_a_rolled_back_savepoint_leaves_nothing_and_the_rest_of_its_transaction_comes(stage: Set) -> None:
    at = stage()
    with at.admin.transaction():
        at.leads.add(at.admin, 1)
        with at.admin.transaction(force_rollback=True):
            at.leads.add(at.admin, 2)
        with at.admin.transaction():
            at.leads.add(at.admin, 3)
    at.drain()
    assert at.keys == {"1", "3"}
    assert len({version for (version,) in at.ledger.versions.values()}) == 1


def test_a_key_is_handed_over_once_a_page_with_its_last_version(stage: Set) -> None:
    at = stage()
    at.leads.add(at.admin, 1)
    at.execute("UPDATE leads SET note = 'x'")
    at.execute("UPDATE leads SET note = 'y'")
    at.drain()
    assert set(at.ledger.versions) == {"1"}
    assert len(at.ledger.versions["1"]) <= 3
    at.execute("UPDATE leads SET note = 'z'")
    at.drain()
    assert at.ledger.versions["1"] == sorted(set(at.ledger.versions["1"]), key=lambda v: lsn_of(v[2:]))


def test_only_rows_that_are_there_and_meet_the_condition_come(stage: Set) -> None:
    at = stage(where="note LIKE '100%'")
    at.execute("INSERT INTO leads (id, note) VALUES (1, '100%'), (2, 'cold'), (3, '100'), (4, '100')")
    at.execute("DELETE FROM leads WHERE id = 3")
    at.drain()
    assert at.keys == {"1", "4"}
    at.execute("UPDATE leads SET note = '100' WHERE id = 2")
    at.drain()
    assert at.keys == {"1", "2", "4"}
    at.execute("TRUNCATE leads")
    at.leads.add(at.admin, 5, note="100")
    at.drain()
    assert at.keys == {"1", "2", "4", "5"}


def test_a_row_whose_key_changes_comes_under_the_new_key(stage: Set) -> None:
    at = stage()
    at.leads.add(at.admin, 1)
    at.drain()
    at.execute("UPDATE leads SET id = 100 WHERE id = 1")
    at.drain()
    assert at.keys == {"1", "100"}


def test_an_upsert_and_a_copy_come(stage: Set) -> None:
    at = stage()
    with at.admin.cursor() as cursor, cursor.copy("COPY leads (id) FROM STDIN") as copy:
        copy.write("1\n2\n")
    at.execute("INSERT INTO leads (id) VALUES (2), (3) ON CONFLICT (id) DO UPDATE SET note = 'again'")
    at.drain()
    assert at.keys == {"1", "2", "3"}
    # A transaction with session_replication_role = replica is in the WAL all the same.
    at.execute("SET session_replication_role = replica")
    at.leads.add(at.admin, 4)
    at.drain()
    assert at.keys == {"1", "2", "3", "4"}


def test_an_unchanged_toasted_column_does_not_matter(stage: Set) -> None:
    at = stage()
    at.execute("ALTER TABLE leads ADD COLUMN body text, ALTER COLUMN body SET STORAGE EXTERNAL")
    at.execute("INSERT INTO leads (id, body) VALUES (1, repeat('x', 100000))")
    at.drain()
    at.execute("UPDATE leads SET note = 'again'")
    at.drain()
    assert len(at.ledger.versions["1"]) == 2


def test_a_toasted_key_that_an_update_does_not_repeat_is_known_or_is_a_gap(stage: Set) -> None:
    at = stage(
        make="CREATE TABLE leads (id text UNIQUE, updated_at timestamptz DEFAULT now(), note text,"
        " pk serial PRIMARY KEY)"
    )
    at.execute("ALTER TABLE leads ALTER id SET STORAGE EXTERNAL")
    at.execute("INSERT INTO leads (id) VALUES (repeat('k', 2500))")
    at.drain()
    at.execute("UPDATE leads SET note = 'x'")
    at.drain()
    assert len(at.ledger.gaps) == 1
    assert "without the value of id" in at.ledger.gaps[0]
    assert at.keys == {"k" * 2500}


def test_a_row_without_a_key_is_left_alone(stage: Set) -> None:
    columns = "id int UNIQUE, updated_at timestamptz DEFAULT now(), note text, pk serial PRIMARY KEY"
    at = stage(make=f"CREATE TABLE leads ({columns})")
    at.execute("INSERT INTO leads (id) VALUES (1), (NULL), (2)")
    at.drain()
    assert at.keys == {"1", "2"}
    assert at.ledger.gaps == []


@pytest.mark.parametrize(
    ("key_type", "given", "text"),
    [
        ("uuid", "00000000-0000-0000-0000-00000000ABCD", "00000000-0000-0000-0000-00000000abcd"),
        ("text", 'it\'s, \\ {"x"} ñandú %s', 'it\'s, \\ {"x"} ñandú %s'),
        ("char(5)", "ab", "ab"),
        ("inet", "10.0.0.1", "10.0.0.1/32"),
        ("timestamptz", "2026-03-01 00:00:00+05", None),
        ("numeric(10,2)", "1.5", "1.50"),
    ],
)
def test_a_key_of_any_type_comes_as_its_text(stage: Set, key_type: str, given: str, text: str | None) -> None:
    at = stage(key_type=key_type, name='Leads "of" 100%', key='i"d %s')
    at.leads.add(at.admin, given)
    at.drain()
    assert at.keys == set(at.leads.visible(at.admin))
    assert text is None or at.keys == {text}


def test_the_partitions_of_a_table_come_as_the_table(stage: Set) -> None:
    at = stage(
        make="CREATE TABLE leads (id int PRIMARY KEY, updated_at timestamptz DEFAULT now(), note text)"
        " PARTITION BY RANGE (id);"
        "CREATE TABLE leads_1 PARTITION OF leads FOR VALUES FROM (0) TO (10);"
        "CREATE TABLE leads_2 (note text, updated_at timestamptz, id int NOT NULL);"
        "ALTER TABLE leads ATTACH PARTITION leads_2 FOR VALUES FROM (10) TO (20)"
    )
    at.execute("INSERT INTO leads (id) VALUES (1), (11)")
    at.execute("CREATE TABLE leads_3 PARTITION OF leads FOR VALUES FROM (20) TO (30)")
    at.execute("INSERT INTO leads_3 (id) VALUES (21)")
    at.execute("UPDATE leads SET id = 12 WHERE id = 1")
    at.drain()
    assert at.keys == {"11", "12", "21"}
    assert at.ledger.gaps == []


def test_another_table_of_the_database_is_none_of_ours(stage: Set) -> None:
    at = stage()
    at.execute("CREATE TABLE other (id int PRIMARY KEY)")
    at.execute("INSERT INTO other VALUES (7)")
    at.leads.add(at.admin, 1)
    at.drain()
    assert at.keys == {"1"}


# -- pages, and what is acknowledged -------------------------------------------------------------------------


def test_a_bulk_insert_comes_in_pages_and_over_a_crash_in_the_middle_each_row_once(stage: Set) -> None:
    at = stage()
    at.drain()
    began = at.ledger.position
    at.execute("INSERT INTO leads (id) SELECT generate_series(1, 25000)")
    pages: list[Page] = []
    while sum(len(page.changes) for page in pages) < 15_000:
        pages.append(at.take())
    assert max(len(page.changes) for page in pages) == slot_page.PAGE_KEYS
    first_half = at.keys
    at.restart()
    at.drain()
    assert len(at.keys) == 25_000
    assert first_half < at.keys
    # What came again came with the same version, which the ledger knows.
    assert all(len(set(versions)) == 1 for versions in at.ledger.versions.values())
    assert lsn_of(at.ledger.position.watermark or "") > lsn_of(began.watermark or "")


def test_a_position_within_a_transaction_is_never_written_down(stage: Set, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slot_page, "PAGE_KEYS", 10)
    at = stage()
    at.drain()
    at.execute("INSERT INTO leads (id) SELECT generate_series(1, 95)")
    pages = [page for page in at.drain() if page.changes]
    commit = lsn_of(at.ledger.versions["1"][0][2:])
    assert [len(page.changes) for page in pages] == [10] * 9 + [5]
    assert all(page.reached is None or lsn_of(page.reached) <= commit for page in pages[:-1])
    assert lsn_of(pages[-1].reached or "") > commit


def test_what_is_not_acknowledged_comes_again_from_the_same_source_and_a_fresh_one(stage: Set) -> None:
    at = stage()
    at.leads.add(at.admin, 1)

    def read() -> Page:
        pages: list[Page] = []

        def found() -> bool:
            pages.append(at.source.read(at.now))
            return bool(pages[-1].changes)

        eventually(found, "a page with changes")
        return pages[-1]

    once = read()
    confirmed = at.slot("confirmed_flush_lsn")
    assert read().changes == once.changes
    at.source.close()
    at.make()
    at.resume()
    assert read().changes == once.changes
    assert at.slot("confirmed_flush_lsn") == confirmed
    at.drain()
    eventually(lambda: at.slot("confirmed_flush_lsn") == at.ledger.position.watermark, "it is confirmed")


def test_the_server_is_never_told_to_forget_what_the_ledger_does_not_have(stage: Set) -> None:
    at = stage()
    for number in range(1, 30):
        at.leads.add(at.admin, number)
        at.execute("CREATE TABLE IF NOT EXISTS other (id int)")
        at.execute("INSERT INTO other SELECT generate_series(1, 100)")
        at.now += 4
        at.take()
        at.source.awake()
        confirmed = at.slot("confirmed_flush_lsn")
        assert lsn_of(confirmed) <= lsn_of(at.ledger.position.watermark or "")


def test_a_commit_that_begins_where_the_ledgers_position_ends_is_not_skipped_at_a_restart(stage: Set) -> None:
    at = stage()
    touched = 0
    with psycopg.connect(at.url) as first, psycopg.connect(at.url) as second:
        for number in range(10):
            one, other = str(2 * number), str(2 * number + 1)
            at.leads.add(first, one)
            at.leads.add(second, other)
            first.commit()
            at.drain()
            end = at.ledger.position.watermark
            second.commit()
            at.restart()
            at.drain()
            assert {one, other} <= at.keys
            touched += at.ledger.versions[other][0] == f"1-{end}"
    assert touched, "no commit began where another ended"


def test_while_idle_the_wal_of_others_is_let_go_every_ten_seconds_at_most(stage: Set) -> None:
    at = stage()
    at.execute("CREATE TABLE other (id int)")
    at.now += 20
    at.drain()
    before = at.ledger.position.watermark or ""
    at.execute("INSERT INTO other SELECT generate_series(1, 10000)")
    at.now += 9
    pages = at.drain()
    assert {page.reached for page in pages} == {None}
    at.now += 2
    pages = at.drain()
    assert [page.reached for page in pages if page.reached] != []
    assert all(not page.changes for page in pages)
    after = at.ledger.position.watermark or ""
    assert lsn_of(after) > lsn_of(before) + 100_000
    eventually(lambda: at.slot("confirmed_flush_lsn") == after, "it is confirmed")


def test_an_idle_interval_costs_one_query(stage: Set, monkeypatch: pytest.MonkeyPatch) -> None:
    at = stage()
    at.drain()
    looks = []
    true_look = slot_look.look

    def look(*given: Any) -> slot_look.Look:
        looks.append(1)
        return true_look(*given)

    monkeypatch.setattr(slot_look, "look", look)
    for _ in range(20):
        at.now += 1
        at.take()
    assert 4 <= len(looks) <= 5


def test_a_change_wakes_and_the_wal_of_others_does_not(stage: Set) -> None:
    at = stage()
    at.execute("CREATE TABLE other (id int)")
    at.drain()
    assert at.source.fileno() is not None
    for number in range(20):
        at.execute("INSERT INTO other VALUES (1)")
        assert not at.source.awake(), number
    at.leads.add(at.admin, 1)
    eventually(at.source.awake, "the change is heard of")
    assert at.source.awake()
    at.drain()
    assert at.keys == {"1"}


# -- what is not visible yet ---------------------------------------------------------------------------------


def test_a_commit_that_waits_for_a_standby_is_not_handed_over_nor_dropped_until_it_is_visible(lone: Set) -> None:
    at = lone()
    at.drain()
    configure(at, "synchronous_standby_names", "nobody")
    try:
        with psycopg.connect(at.url, autocommit=True) as other:
            pid = other.info.backend_pid
            failed: list[BaseException] = []

            def commit() -> None:
                try:
                    at.leads.add(other, 1)
                except psycopg.Error as error:
                    failed.append(error)

            writer = threading.Thread(target=commit)
            writer.start()
            waiting = "SELECT wait_event FROM pg_stat_activity WHERE pid = %s"
            eventually(lambda: at.execute(waiting, pid) == "SyncRep", "the commit waits")
            pages: list[Page] = []

            def waits() -> bool:
                pages.append(at.take())
                return pages[-1].again_secs is not None

            eventually(waits, "it is not visible")
            assert (list(pages[-1].changes), pages[-1].reached, pages[-1].more) == ([], None, False)
            pauses = [at.take().again_secs for _ in range(12)]
            assert pauses == sorted(pauses, key=lambda secs: secs or 0)
            assert pauses[-1] == 1.0
            assert at.source.fileno() is None
            assert not at.source.awake()
            assert at.keys == set()
            assert lsn_of(at.slot("confirmed_flush_lsn")) <= lsn_of(at.ledger.position.watermark or "")
            at.execute("SELECT pg_cancel_backend(%s)", pid)
            writer.join(30)
            assert not failed
        at.drain()
        assert at.keys == {"1"}
        assert at.source.fileno() is not None
    finally:
        configure(at, "synchronous_standby_names", "")


@pytest.mark.parametrize(
    ("xid", "snapshot", "seen"),
    [
        (99, "100:100:", True),
        (100, "100:100:", False),
        (100, "100:105:100,103", False),
        (101, "100:105:100,103", True),
        (103, "100:105:100,103", False),
        (105, "100:105:", False),
        (5, f"{2**32}:{2**32 + 10}:", True),
        (10, f"{2**32}:{2**32 + 10}:", False),
        (2**32 - 5, f"{2**32}:{2**32 + 10}:", True),
        (3, f"{2**32 - 5}:{2**32 - 2}:", False),
        (7, f"{3 * 2**32 + 2}:{3 * 2**32 + 9}:{3 * 2**32 + 7}", False),
    ],
)
def test_a_snapshot_tells_which_transactions_it_has_seen(xid: int, snapshot: str, seen: bool) -> None:  # noqa: FBT001
    assert is_visible(xid, snapshot) is seen


# -- where it begins -----------------------------------------------------------------------------------------


def test_from_the_beginning_all_is_scanned_and_followed_from_the_slots_own_beginning(stage: Set) -> None:
    at = stage(begin=False)
    start = at.source.first_start(at.now)
    assert (start.since, start.existing) == (BEGINNING, Existing.TAKE)
    assert start.watermark == at.slot("confirmed_flush_lsn")


def test_from_now_on_only_what_comes_later_is_read(stage: Set) -> None:
    at = stage(begin=False, start="now")
    at.leads.add(at.admin, 1)
    start = at.source.first_start(at.now)
    assert start.existing is Existing.LEAVE
    assert start.since > "2020"
    at.ledger.position = Position(start.since, start.watermark, None)
    at.resume()
    at.leads.add(at.admin, 2)
    at.drain()
    assert at.keys == {"2"}
    assert [change.key for change in at.source.scan(None, 10)] == ["2"]


def test_from_now_on_without_a_watermark_column_what_is_there_is_noted(stage: Set) -> None:
    at = stage(begin=False, start="now")
    start = at.make(watermark=False).first_start(at.now)
    assert (start.since, start.existing) == (NOTED, Existing.NOTE)


def test_without_a_slot_there_is_no_first_start(stage: Set) -> None:
    at = stage(install=False)
    with pytest.raises(CaptureLost, match="has no replication slot"):
        at.source.first_start(at.now)


def test_a_restart_that_finds_everything_as_it_was_is_no_gap(stage: Set) -> None:
    at = stage()
    first = at.begin()
    at.leads.add(at.admin, 1)
    at.drain()
    again = at.restart()
    at.install()
    at.restart()
    assert (again.identity, again.gap) == (first.identity, None)
    assert at.ledger.gaps == []
    assert first.identity.startswith("slot ")


# -- gaps ----------------------------------------------------------------------------------------------------


def test_a_slot_made_anew_is_a_gap_and_a_slot_missing_is_said_so(stage: Set) -> None:
    at = stage()
    at.leads.add(at.admin, 1)
    at.drain()
    at.source.close()
    at.drop_slot()
    at.leads.add(at.admin, 2)
    at.make()
    with pytest.raises(CaptureLost, match="has no replication slot"):
        at.resume()
    at.install()
    at.leads.add(at.admin, 3)
    resumed = at.resume()
    assert resumed.gap is not None
    assert "made anew" in resumed.gap
    assert resumed.watermark == at.slot("confirmed_flush_lsn")
    at.drain()
    assert at.keys == {"1", "3"}
    assert at.restart().gap is None


def test_a_slot_that_somebody_moved_is_a_gap(stage: Set) -> None:
    at = stage()
    at.drain()
    at.source.close()
    at.leads.add(at.admin, 1)
    eventually(lambda: not at.slot("active"), "the slot is free")
    at.execute("SELECT pg_replication_slot_advance(%s, pg_current_wal_lsn())", at.objects.slot)
    at.make()
    assert "made anew" in (at.resume().gap or "")


def test_a_slot_made_anew_between_two_reads_is_a_gap_of_the_page(stage: Set) -> None:
    at = stage()
    at.leads.add(at.admin, 1)
    at.drain()
    at.execute("SELECT pg_terminate_backend(%s)", at.slot("active_pid"))
    at.drop_slot()
    at.leads.add(at.admin, 2)
    at.install()
    with pytest.raises(CrmUnavailable):
        until_trouble(at)
    page = at.take()
    assert page.gap is not None
    assert page.reached is not None
    at.leads.add(at.admin, 3)
    at.drain()
    assert at.keys == {"1", "3"}
    assert len(at.ledger.gaps) == 1


def test_a_publication_made_anew_needs_a_new_slot_which_setup_makes(stage: Set) -> None:
    at = stage()
    at.leads.add(at.admin, 1)
    at.drain()
    at.execute(f"DROP PUBLICATION {at.objects.publication}")
    at.leads.add(at.admin, 2)
    at.now += 10
    assert "there is no publication" in lost(at)
    eventually(lambda: not at.slot("active"), "the slot is free")
    at.install()
    at.leads.add(at.admin, 3)
    assert at.resume().gap is not None
    at.drain()
    assert at.keys == {"1", "3"}


def test_a_table_that_was_left_out_for_a_while_is_a_gap(stage: Set) -> None:
    at = stage()
    at.drain()
    at.source.close()
    at.execute(f"ALTER PUBLICATION {at.objects.publication} DROP TABLE leads")
    at.leads.add(at.admin, 1)
    at.make()
    with pytest.raises(CaptureLost, match=r"does not hold public\.leads"):
        at.resume()
    at.install()
    assert "publication" in (at.resume().gap or "")
    at.leads.add(at.admin, 2)
    at.drain()
    assert at.keys == {"2"}


def test_another_way_of_capturing_before_is_a_gap_and_an_old_ledger_is_none(stage: Set) -> None:
    at = stage()
    at.drain()
    here = at.ledger.position
    for identity, watermark, said in (
        ("poll 16400", "2026-03-01 00:00:00+00", "by poll before"),
        ("listen 16400/1", None, "by listen before"),
        (None, "2026-03-01 00:00:00+00", "no position"),
        ("slot 1/1 5.5", here.watermark, "history"),
        ((here.identity or "").replace("/1 ", "/2 "), "7/0", "history"),
        (here.identity, "7F/0", "it went back"),
    ):
        resumed = at.source.resume(Position(BEGINNING, watermark, identity))
        assert said in (resumed.gap or ""), identity
        assert resumed.watermark == at.slot("confirmed_flush_lsn")
    assert at.source.resume(Position(BEGINNING, here.watermark, None)).gap is None
    assert at.source.resume(here).gap is None


def test_a_promoted_standby_has_another_timeline_and_that_is_a_gap(
    postgres_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("promoted")
    made: list[Stage] = []
    server = own_server(postgres_template, place)
    try:
        server.start()
        at = staged(made, server.url())
        at.leads.add(at.admin, 1)
        at.drain()
        before = at.ledger.position
        at.close()
        server.stop()
        # A server that recovers as a standby, and is promoted, begins another timeline.
        signal_file = place / "data" / "standby.signal"
        signal_file.touch()
        owner = (place / "data" / "PG_VERSION").stat()
        os.chown(signal_file, owner.st_uid, owner.st_gid)
        server = own_server(postgres_template, place, hot_standby="on")
        server.start()
        with psycopg.connect(server.url(), autocommit=True) as admin:
            admin.execute("SELECT pg_promote()")
        at = Stage(server.url(), at.leads, at.objects)
        made.append(at)
        at.ledger.position = before
        resumed = at.resume()
        assert "history" in (resumed.gap or "")
        assert resumed.watermark == at.slot("confirmed_flush_lsn")
        at.leads.add(at.admin, 2)
        at.drain()
        assert at.ledger.versions["2"][0].startswith("2-")
    finally:
        for each in made:
            each.close()
        server.stop()


# -- a slot that is lost, or about to be ---------------------------------------------------------------------


def write_wal(at: Stage, megabytes: int) -> None:
    """WAL of other tables, in segments of their own."""
    at.execute("CREATE TABLE IF NOT EXISTS other (x text)")
    for _ in range(megabytes // 16):
        at.execute("INSERT INTO other SELECT repeat('x', 1000) FROM generate_series(1, 100)")
        at.execute("SELECT pg_switch_wal()")


def test_a_slot_that_keeps_much_is_warned_of_before_it_is_lost_and_said_to_be_lost_after(lone: Set) -> None:
    at = lone()
    at.drain()
    assert at.source.notice is None
    configure(at, "max_slot_wal_keep_size", "64MB")
    write_wal(at, 32)
    at.now += 6
    at.source.read(at.now)
    assert at.source.slot_lag_bytes is not None
    assert at.source.slot_lag_bytes > 16 << 20
    assert "gives it up at 64.0 MB" in str(at.source.notice)
    at.source.close()
    write_wal(at, 160)
    at.execute("CHECKPOINT")
    eventually(lambda: at.slot("wal_status") == "lost", "the slot is lost")
    at.make()
    with pytest.raises(CaptureLost, match="given up the slot"):
        at.resume()
    at.install()
    resumed = at.resume()
    assert resumed.gap is not None
    at.leads.add(at.admin, 1)
    at.drain()
    assert at.keys == {"1"}


def test_a_slot_that_is_lost_while_it_is_read_is_said_to_be_lost(lone: Set) -> None:
    at = lone()
    at.drain()
    configure(at, "max_slot_wal_keep_size", "32MB")
    write_wal(at, 160)
    at.execute("CHECKPOINT")
    eventually(lambda: at.slot("wal_status") == "lost", "the slot is lost")
    at.now += 6

    said: list[CrmError] = []

    def is_lost() -> bool:
        try:
            at.source.read(at.now)
        except CrmError as error:  # the end of the walsender may be noticed first
            said.append(error)
        return bool(said) and isinstance(said[-1], CaptureLost)

    eventually(is_lost, "it is said")
    assert "given up the slot" in str(said[-1])


def test_a_synchronous_standby_of_any_name_would_be_us_and_is_refused(lone: Set) -> None:
    at = lone()
    at.drain()
    at.source.close()
    # Not "*" alone: the commits of this test would wait, too.
    configure(at, "synchronous_standby_names", "ANY 1 (*)")
    try:
        at.execute("SET synchronous_commit = local")
        at.make()
        with pytest.raises(CaptureLost, match="a standby that the CRM's commits wait for"):
            at.resume()
        with pytest.raises(psycopg.errors.RaiseException, match="commits would wait for syncd"):
            at.install()
        at.admin.rollback()
    finally:
        configure(at, "synchronous_standby_names", "")


# -- lines that are cut ----------------------------------------------------------------------------------------


def test_a_killed_walsender_is_trouble_once_and_nothing_is_missed(stage: Set) -> None:
    at = stage()
    at.drain()
    at.leads.add(at.admin, 1)
    at.execute("SELECT pg_terminate_backend(%s)", at.slot("active_pid"))
    eventually(at.source.awake, "the end of the stream wakes")
    eventually(lambda: not at.slot("active"), "it is gone")
    at.leads.add(at.admin, 2)
    with pytest.raises(CrmUnavailable, match="ended"):
        until_trouble(at)
    at.drain()
    assert at.keys == {"1", "2"}
    assert at.ledger.gaps == []


def test_a_server_that_starts_anew_is_gone_on_with(lone: Set, lone_server: EmbeddedPostgres) -> None:
    at = lone()
    at.leads.add(at.admin, 1)
    at.drain()
    at.admin.close()
    lone_server.kill()
    with pytest.raises(CrmError):
        until_trouble(at)
    lone_server.start()
    at.admin = psycopg.connect(at.url, autocommit=True)
    at.leads.add(at.admin, 2)
    at.resume()
    at.drain()
    assert at.keys == {"1", "2"}
    assert at.ledger.gaps == []


def test_a_server_that_shuts_down_does_not_wait_for_us(lone: Set, lone_server: EmbeddedPostgres) -> None:
    at = lone()
    at.execute("CREATE TABLE other (id int)")
    at.drain()
    at.execute("INSERT INTO other SELECT generate_series(1, 10000)")
    at.admin.close()
    ended = threading.Event()
    troubles: list[CrmError] = []

    def loop() -> None:
        while not ended.is_set():
            if at.source.awake():
                try:
                    at.take()
                except CrmError as error:
                    troubles.append(error)
            ended.wait(0.01)

    reader = threading.Thread(target=loop)
    reader.start()
    try:
        began = time.monotonic()
        assert lone_server._process is not None
        lone_server._process.send_signal(signal.SIGINT)  # as `pg_ctl stop`
        lone_server._process.wait(30)
        assert time.monotonic() - began < 5
    finally:
        ended.set()
        reader.join(30)
        lone_server.kill()
        lone_server.start()
    assert troubles


def test_keepalives_are_answered_so_that_an_idle_source_stays_connected(lone: Set) -> None:
    at = lone()
    configure(at, "wal_sender_timeout", "2s")
    at.drain()
    pid = at.slot("active_pid")
    end = time.monotonic() + 5
    while time.monotonic() < end:
        at.source.awake()
        time.sleep(0.5)  # two and a half times the timeout, in all
    assert at.slot("active_pid") == pid
    at.leads.add(at.admin, 1)
    at.drain()
    assert at.slot("active_pid") == pid


def test_a_statement_timeout_does_not_end_the_stream(stage: Set) -> None:
    at = stage()
    name = at.admin.info.dbname
    at.execute(f"ALTER DATABASE {name} SET idle_session_timeout = '1s'")
    at.restart()
    at.drain()
    pid = at.slot("active_pid")
    time.sleep(1.5)  # longer than the timeout
    at.source.awake()
    assert at.slot("active_pid") == pid


def test_a_slot_in_use_is_tried_again_and_the_reader_is_named(stage: Set) -> None:
    at = stage()
    at.drain()
    pid = at.slot("active_pid")
    other = slot_kit.make(at.url, at.leads, at.objects)
    try:
        other.resume(at.ledger.position)
        with pytest.raises(CrmUnavailable, match=f"process {pid}"):
            other.read(at.now)
        at.source.close()
        eventually(lambda: not at.slot("active"), "the slot is free")
        other.read(at.now)
    finally:
        other.close()


# -- publication, slot and rights as they should not be ------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("ALTER PUBLICATION {publication} DROP TABLE leads", "does not hold public.leads"),
        ("ALTER PUBLICATION {publication} SET (publish = 'insert')", "leaves out inserts or updates"),
        ("DROP PUBLICATION {publication}", "no publication"),
        ("ALTER PUBLICATION {publication} SET TABLE leads WHERE (id > 5)", "row filter"),
        ("ALTER TABLE leads RENAME TO old; CREATE TABLE leads (LIKE old INCLUDING ALL)", "does not hold public.leads"),
        ("ALTER TABLE leads ADD other int; ALTER PUBLICATION {publication} SET TABLE leads (other)", "the column id"),
    ],
)
def test_a_publication_that_lacks_something_is_said_so_within_a_look_and_mended_by_setup(
    stage: Set, change: str, said: str
) -> None:
    at = stage()
    if MAJOR < 15 and "SET TABLE" in change:
        pytest.skip("PostgreSQL 15 was the first to have row filters and lists of columns")
    at.drain()
    at.execute(change.format(publication=at.objects.publication))
    at.take()
    at.now += 6
    assert said in lost(at)
    eventually(lambda: not at.slot("active"), "the slot is free")
    at.install()
    assert at.resume().gap is not None
    at.leads.add(at.admin, 7)
    at.drain()
    assert at.keys == {"7"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("ALTER TABLE leads RENAME TO old", "no table public.leads"),
        ("DROP TABLE leads", "no table public.leads"),
        ("ALTER TABLE leads RENAME id TO number", "no column id"),
    ],
)
def test_a_table_that_is_not_as_configured_stops_the_sync(stage: Set, change: str, said: str) -> None:
    at = stage()
    at.drain()
    at.execute(change)
    at.now += 6
    with pytest.raises(CrmFault, match=said) as raised:
        at.source.read(at.now)
    assert not isinstance(raised.value, CaptureLost)


def test_changes_from_before_a_new_type_or_name_of_the_key_are_a_gap_and_hold_nothing_up(stage: Set) -> None:
    at = stage(key_type="text", begin=False)
    # A list of columns would not let their types be altered.
    at.execute(f"ALTER PUBLICATION {at.objects.publication} SET TABLE leads")
    at.begin()
    at.leads.add(at.admin, "x")
    at.execute("DELETE FROM leads")
    at.execute("ALTER TABLE leads ALTER id TYPE int USING id::int")
    at.leads.add(at.admin, 5)
    at.drain()
    assert at.keys == {"5"} or at.ledger.gaps
    assert len(at.ledger.gaps) == 1
    at.leads.add(at.admin, 6)
    at.drain()
    assert "6" in at.keys
    at.source.close()
    at.leads.add(at.admin, 7)
    at.execute("ALTER TABLE leads RENAME id TO number")
    at.leads = Leads(key="number")
    at.make()
    at.resume()
    at.leads.add(at.admin, 8)
    at.drain()
    assert "8" in at.keys
    assert len(at.ledger.gaps) == 2


def test_another_plugins_slot_of_our_name_is_left_alone(stage: Set) -> None:
    at = stage(install=False)
    at.execute("SELECT pg_create_logical_replication_slot(%s, 'test_decoding')", at.objects.slot)
    with pytest.raises(CaptureLost, match="plugin test_decoding"):
        at.source.first_start(at.now)
    with pytest.raises(psycopg.errors.RaiseException, match="another plugin"):
        at.install()


@pytest.fixture
def role(database: str) -> Iterator[str]:
    """A role that may log in and nothing else; gone afterwards."""
    name = f"syncd_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'made-up'".encode())
        yield name
        admin.execute(f"DROP OWNED BY {name}".encode())
        admin.execute(f"DROP ROLE {name}".encode())


def test_select_and_replication_are_all_that_is_needed_and_replication_is(stage: Set, role: str) -> None:
    at = stage(install=False, role=role)
    at.as_role = at.url.replace("postgresql://postgres@", f"postgresql://{role}:made-up@")
    at.execute(f"GRANT SELECT (id, updated_at) ON leads TO {role}")
    at.make()
    at.install()
    assert at.execute("SELECT rolreplication FROM pg_roles WHERE rolname = %s", role)
    at.begin()
    at.leads.add(at.admin, 1)
    at.drain()
    assert at.keys == {"1"}
    at.source.close()
    at.execute(f"ALTER ROLE {role} NOREPLICATION")
    with pytest.raises(CaptureLost, match="REPLICATION"):
        at.resume()
    at.execute(f"ALTER ROLE {role} REPLICATION; REVOKE SELECT (id, updated_at) ON leads FROM {role}")
    at.resume()
    at.leads.add(at.admin, 2)
    with pytest.raises(CrmFault, match="permission denied"):
        until_trouble(at)
    eventually(lambda: not at.slot("active"), "the slot is free")
    at.execute(f"GRANT SELECT (id, updated_at) ON leads TO {role}")
    at.resume()
    at.drain()
    assert at.keys == {"1", "2"}


# -- the scripts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "said"),
    [
        ("CREATE VIEW leads AS SELECT 1 AS id", "is not a table"),
        ("CREATE UNLOGGED TABLE leads (id int PRIMARY KEY)", "is unlogged"),
        ("CREATE TABLE leads (id int)", "has no replica identity"),
        ("CREATE TABLE leads (id int PRIMARY KEY); ALTER TABLE leads REPLICA IDENTITY NOTHING", "no replica identity"),
        ("CREATE TABLE leads (id int PRIMARY KEY DEFERRABLE)", "no replica identity"),
        (
            (
                "CREATE TABLE leads (id int) PARTITION BY LIST (id);"
                "CREATE TABLE leads_1 PARTITION OF leads (PRIMARY KEY (id)) FOR VALUES IN (1)"
            ),
            "leads has no replica identity",
        ),
        (
            (
                "CREATE TABLE leads (id int PRIMARY KEY) PARTITION BY LIST (id);"
                "CREATE TABLE leads_1 PARTITION OF leads FOR VALUES IN (1);"
                "ALTER TABLE leads_1 REPLICA IDENTITY NOTHING"
            ),
            "leads_1 has no replica identity",
        ),
        ("CREATE TABLE leads (number int PRIMARY KEY)", "has no column id"),
        ("CREATE TABLE elsewhere (id int)", "there is no table"),
    ],
)
def test_setup_refuses_where_a_slot_would_see_nothing_or_do_harm(stage: Set, make: str, said: str) -> None:
    at = stage(make=make, install=False)
    with pytest.raises(psycopg.errors.RaiseException, match=said) as raised:
        at.install()
    at.admin.rollback()
    assert raised.value.diag.message_hint
    assert at.execute("SELECT count(*) FROM pg_publication") == 0
    assert at.slot("slot_name") is None


@pytest.mark.parametrize(
    "make",
    [
        "CREATE TABLE leads (id int UNIQUE, a int, b int, PRIMARY KEY (a, b))",
        (
            "CREATE TABLE leads (id int, a int NOT NULL UNIQUE, b int); ALTER TABLE leads REPLICA IDENTITY USING INDEX"
            " leads_a_key"
        ),
        "CREATE TABLE leads (id int, a int, b int); ALTER TABLE leads REPLICA IDENTITY FULL",
        (
            "CREATE TABLE leads (id int PRIMARY KEY, a int, b int) PARTITION BY RANGE (id);"
            "CREATE TABLE leads_1 PARTITION OF leads FOR VALUES FROM (0) TO (100);"
            "ALTER TABLE leads_1 REPLICA IDENTITY FULL"
        ),
    ],
)
def test_the_crms_own_updates_and_deletes_go_on_whatever_identifies_its_rows(stage: Set, make: str) -> None:
    at = stage(make=make, begin=False)
    at.execute("INSERT INTO leads (id, a, b) VALUES (1, 1, 1), (2, 2, 2)")
    at.execute("UPDATE leads SET b = 5, id = id + 10")
    at.execute("DELETE FROM leads WHERE id = 12")
    at.make(watermark=False)
    at.begin()
    at.drain()
    assert at.keys == {"11"}


def test_setup_run_again_mends_and_changes_nothing_where_nothing_is_wrong(stage: Set) -> None:
    at = stage()
    seen = "SELECT xmin::text || oid::text FROM pg_publication"
    before = at.execute(seen), at.slot("confirmed_flush_lsn")
    eventually(lambda: not at.slot("active"), "nobody reads yet")
    at.install()
    assert (at.execute(seen), at.slot("confirmed_flush_lsn")) == before
    at.execute(f"DROP PUBLICATION {at.objects.publication}; CREATE PUBLICATION {at.objects.publication} FOR ALL TABLES")
    at.install()
    assert at.execute("SELECT puballtables FROM pg_publication") is False
    assert at.execute("SELECT pubviaroot AND pubinsert AND pubupdate AND NOT pubdelete FROM pg_publication") is True


def test_what_setup_made_is_taken_away_again_unless_somebody_reads_it(stage: Set) -> None:
    at = stage()
    at.drain()
    remove = slot_kit.script("slot-remove.sql", ("public", "leads"), "id", at.objects, "postgres")
    with pytest.raises(psycopg.errors.ObjectInUse, match="is being read by process"):
        at.admin.execute(remove.encode())
    at.admin.rollback()
    at.source.close()
    for _ in range(2):
        slot_kit.remove(at.admin, ("public", "leads"), "id", at.objects)
    assert at.slot("slot_name") is None
    assert at.execute("SELECT count(*) FROM pg_publication") == 0
