"""What is particular to capture by triggers: no write of the CRM fails or is missed, whatever becomes of the parts."""

from __future__ import annotations

import contextlib
import socket
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from syncd.capture import BEGINNING, NOTED, SCANNED, Existing, Page, Position
from syncd.capture import listen as listen_module
from syncd.capture.listen import ListenSource
from syncd.capture.outbox import OutboxConnection
from syncd.config.objects import Objects
from syncd.crm import CrmConnection
from syncd.embedded import EmbeddedPostgres
from syncd.errors import CaptureLost, CrmFault, CrmUnavailable
from tests.capture import listen_kit
from tests.capture.conftest import Catch
from tests.capture.harness import Kit, Leads
from tests.support.rawserver import Peer, RawServer, raw_server
from tests.support.waiting import eventually

OBJECTS = Objects("web-leads")
OUTBOX = 'syncd_outbox."web-leads"'
LISTEN = Kit("listen", listen_kit.make, listen_kit.install, listen_kit.remove)


@pytest.fixture
def kit() -> Kit:
    """This way of capturing alone."""
    return LISTEN


class Ear:
    """A source, and the connections that it stands on."""

    def __init__(
        self, url: str, leads: Leads, *, watermark: str | None, outboxes: OutboxConnection | None, objects: Objects
    ) -> None:
        self.capture = CrmConnection(url, None, "capture", 10, instance="t1")
        self.outboxes = outboxes or OutboxConnection(CrmConnection(url, None, "outbox", 10, instance="t1", writes=True))
        self.source = ListenSource(
            self.capture,
            self.outboxes,
            ("public", leads.name),
            key=leads.key,
            watermark=watermark,
            where=leads.where,
            start=leads.start,
            objects=objects,
            about='sync "web-leads"',
        )
        self.now = 1000.0
        self.pages: list[Page] = []

    def resume(self, since: str = BEGINNING, identity: str | None = None) -> None:
        """Go on as a ledger would have it."""
        self.source.resume(Position(since, None, identity))

    def take(self) -> list[str]:
        """Read and acknowledge until there is no more; the keys in the order in which they came."""
        keys: list[str] = []
        while True:
            page = self.source.read(self.now)
            self.pages.append(page)
            keys += [change.key for change in page.changes]
            self.source.acknowledge(page, self.now)
            if not page.more:
                return keys

    @property
    def notice(self) -> str:
        """What the source says that is not as it should be; empty for nothing."""
        return self.source.notice or ""

    def close(self) -> None:
        """Leave the CRM."""
        self.capture.close()
        self.outboxes.close()


MakeEar = Callable[..., Ear]


@pytest.fixture
def ears(database: str) -> Iterator[MakeEar]:
    """``ears(leads)`` is a source that has resumed from the beginning; ``resume=False``: that has not."""
    with ExitStack() as stack:

        def ears(
            leads: Leads,
            *,
            url: str = database,
            watermark: str | None = None,
            outboxes: OutboxConnection | None = None,
            objects: Objects = OBJECTS,
            resume: bool = True,
        ) -> Ear:
            ear = Ear(url, leads, watermark=watermark, outboxes=outboxes, objects=objects)
            stack.callback(ear.close)
            if resume:
                ear.resume()
            return ear

        yield ears


@pytest.fixture
def leads(crm: psycopg.Connection) -> Leads:
    """A table, installed."""
    made = Leads()
    made.create(crm)
    listen_kit.install(crm, made, OBJECTS)
    return made


def outbox(connection: psycopg.Connection) -> list[tuple[int, list[str] | None]]:
    """What is in it: the number of keys, and the keys, of each row."""
    return connection.execute(f"SELECT n, keys FROM {OUTBOX} ORDER BY id").fetchall()


def one(connection: psycopg.Connection, query: str) -> Any:
    """The first value of the first row."""
    row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def without_superuser(crm: psycopg.Connection, stack: ExitStack, name: str, *grants: str) -> psycopg.Connection:
    """A connection as an ordinary role, which is gone at the end; `grants` are statements with ``{}`` for it."""
    crm.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'made-up'")
    stack.callback(lambda: (crm.execute(f"DROP OWNED BY {name} CASCADE"), crm.execute(f"DROP ROLE {name}")))
    for grant in grants:
        crm.execute(grant.format(name))
    return stack.enter_context(psycopg.connect(crm.info.dsn, user=name, password="made-up", autocommit=True))


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """What is to be undone at the end."""
    with ExitStack() as made:
        yield made


# -- no write of the CRM fails ---------------------------------------------------------------------------------------

BREAKAGES = {
    "nothing": ("SELECT 1", [(1, ["1"]), (1, ["2"]), (1, ["1"]), (1, ["3"])]),
    "key renamed": ("ALTER TABLE leads RENAME id TO ident", [(0, None)] * 4),
    "key dropped": (
        """
        ALTER TABLE leads DROP id CASCADE;
        ALTER TABLE leads ADD ident bigint GENERATED BY DEFAULT AS IDENTITY (START 99) PRIMARY KEY
        """,
        [(0, None)] * 4,
    ),
    "key retyped": ("ALTER TABLE leads ALTER id TYPE text", [(1, ["1"]), (1, ["2"]), (1, ["1"]), (1, ["3"])]),
    "column added and dropped": (
        "ALTER TABLE leads DROP note, ADD extra int, ADD note text",
        [(1, ["1"]), (1, ["2"]), (1, ["1"]), (1, ["3"])],
    ),
    "key renamed and another in its place": (
        "ALTER TABLE leads RENAME id TO ident; ALTER TABLE leads ADD id date DEFAULT '2026-03-01'",
        [(1, ["2026-03-01"])] * 4,
    ),
    "outbox dropped": (f"DROP TABLE {OUTBOX}", None),
    "outbox and schema dropped": (f"DROP TABLE {OUTBOX}; ALTER SCHEMA syncd_outbox RENAME TO elsewhere", None),
    "rights of the owner revoked": (f"REVOKE ALL ON {OUTBOX} FROM dba", []),
    "schema taken from the owner": ("REVOKE ALL ON SCHEMA syncd_outbox FROM dba", []),
    "outbox given to another": (f"ALTER TABLE {OUTBOX} OWNER TO postgres", []),
}


@pytest.mark.parametrize("breakage", BREAKAGES)
@pytest.mark.parametrize("planned", [False, True], ids=["fresh session", "session that wrote before"])
def test_a_write_succeeds_whatever_is_broken(
    crm: psycopg.Connection, stack: ExitStack, breakage: str, *, planned: bool
) -> None:
    grants = ("GRANT ALL ON SCHEMA public TO {}", f"GRANT CREATE ON DATABASE {crm.info.dbname} TO {{}}")
    owner = without_superuser(crm, stack, "dba", *grants)
    stack.callback(crm.execute, "DROP SCHEMA IF EXISTS elsewhere CASCADE")
    leads = Leads()
    leads.create(owner)
    listen_kit.install(owner, leads, OBJECTS)
    writer = stack.enter_context(psycopg.connect(crm.info.dsn, autocommit=True))
    if planned:
        writer.execute("INSERT INTO leads (id) VALUES (99)")
        writer.execute("UPDATE leads SET note = 'x'")
        writer.execute(f"DELETE FROM {OUTBOX}")
    statement, expected = BREAKAGES[breakage]
    crm.execute(statement)
    key = one(
        crm,
        "SELECT attname FROM pg_attribute a JOIN pg_index i ON attrelid = indrelid AND attnum = indkey[0]"
        " WHERE indrelid = 'leads'::regclass AND indisprimary",
    )
    writer.execute(f"INSERT INTO leads ({key}) VALUES (1)")
    with writer.cursor().copy(f"COPY leads ({key}) FROM STDIN") as copy:
        copy.write_row((2,))
    writer.execute(f"UPDATE leads SET note = 'y' WHERE {key} = '1'")
    writer.execute(f"INSERT INTO leads ({key}) VALUES (3) ON CONFLICT ({key}) DO UPDATE SET note = 'z'")
    assert one(writer, "SELECT count(*) FROM leads") == 3 + planned
    if expected is not None:
        assert outbox(crm) == expected


@pytest.mark.parametrize("breakage", ["ALTER TABLE leads RENAME id TO ident", f"DROP TABLE {OUTBOX}"])
def test_a_transaction_that_looks_at_the_past_writes_all_the_same(
    crm: psycopg.Connection, connect: Callable[[], psycopg.Connection], leads: Leads, breakage: str
) -> None:
    writer = connect()
    writer.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    writer.execute("SELECT count(*) FROM pg_class")  # its snapshot, from before the change
    crm.execute(breakage)
    writer.execute("INSERT INTO leads VALUES (1)")
    writer.commit()
    assert one(crm, "SELECT count(*) FROM leads") == 1


@pytest.mark.parametrize(
    "name", ["found", "tg_op", "new", "syncd_new", "it", "key", "missing", "written", "key_type", "fresh", "a}b{c %s"]
)
def test_a_key_may_be_called_as_anything_in_the_function(crm: psycopg.Connection, ears: MakeEar, name: str) -> None:
    leads = Leads(key=name)
    leads.create(crm)
    listen_kit.install(crm, leads, OBJECTS)
    leads.add(crm, 7)
    assert ears(leads).take() == ["7"]
    crm.execute(sql.SQL("ALTER TABLE leads RENAME {} TO other").format(sql.Identifier(name)))
    crm.execute("INSERT INTO leads (other) VALUES (8)")
    assert outbox(crm) == [(0, None)]


def test_a_statement_that_touches_no_row_leaves_and_rings_nothing(crm: psycopg.Connection, leads: Leads) -> None:
    with psycopg.connect(crm.info.dsn, autocommit=True) as listener:
        listener.execute('LISTEN "syncd_web-leads"')
        crm.execute("UPDATE leads SET note = 'x'")
        crm.execute("INSERT INTO leads SELECT WHERE false")
        crm.execute("DELETE FROM leads")
        crm.execute("SELECT pg_notify('syncd_web-leads', 'the last')")
        assert next(iter(listener.notifies(timeout=10, stop_after=1))).payload == "the last"
    assert outbox(crm) == []


def test_rows_without_a_key_leave_and_ring_nothing(crm: psycopg.Connection) -> None:
    crm.execute("CREATE TABLE leads (id bigint)")
    listen_kit.install(crm, Leads(), OBJECTS)
    with psycopg.connect(crm.info.dsn, autocommit=True) as listener:
        listener.execute('LISTEN "syncd_web-leads"')
        crm.execute("INSERT INTO leads VALUES (NULL)")
        crm.execute("SELECT pg_notify('syncd_web-leads', 'the last')")
        assert next(iter(listener.notifies(timeout=10, stop_after=1))).payload == "the last"
    assert outbox(crm) == []


def test_who_writes_leads_needs_no_right_on_the_outbox(
    crm: psycopg.Connection, leads: Leads, stack: ExitStack, ears: MakeEar
) -> None:
    app = without_superuser(crm, stack, "crm_app", "GRANT SELECT, INSERT, UPDATE, DELETE ON leads TO {}")
    leads.add(app, 1)
    assert ears(leads).take() == ["1"]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        app.execute(f"SELECT * FROM {OUTBOX}")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        app.execute(
            "CREATE TEMP TABLE mine (id int);"
            f" CREATE TRIGGER t AFTER INSERT ON mine REFERENCING NEW TABLE AS syncd_new EXECUTE FUNCTION {OUTBOX}()"
        )


def test_a_session_with_settings_of_its_own_writes_keys_as_syncd_reads_them(
    crm: psycopg.Connection, ears: MakeEar
) -> None:
    leads = Leads(key_type="date")
    leads.create(crm)
    listen_kit.install(crm, leads, OBJECTS)
    crm.execute("SET datestyle = 'German'; SET search_path = ''; SET plpgsql.variable_conflict = 'use_variable'")
    leads.add(crm, "03.02.2026")
    assert ears(leads).take() == ["2026-02-03"]


def test_a_key_that_a_session_writes_in_another_way_is_found_all_the_same(
    crm: psycopg.Connection, ears: MakeEar
) -> None:
    leads = Leads(key_type="bytea")
    leads.create(crm)
    listen_kit.install(crm, leads, OBJECTS)
    crm.execute("SET bytea_output = 'escape'")
    leads.add(crm, b"abc\xff")
    crm.execute("RESET bytea_output")
    assert ears(leads).take() == [r"\x616263ff"]


def test_a_server_with_prepared_transactions_is_left_in_peace(postgres_server: EmbeddedPostgres) -> None:
    leads = Leads()
    with (
        EmbeddedPostgres(bindir=postgres_server.bindir, settings={"max_prepared_transactions": "10"}) as server,
        psycopg.connect(server.url("postgres")) as writer,
        psycopg.connect(server.url("postgres"), autocommit=True) as crm,
    ):
        leads.create(crm)
        listen_kit.install(crm, leads, OBJECTS)
        ear = Ear(server.url("postgres"), leads, watermark=None, outboxes=None, objects=OBJECTS)
        ear.resume()
        leads.add(writer, 1)
        writer.execute("PREPARE TRANSACTION 'two-phase'")
        assert ear.take() == []
        crm.execute("COMMIT PREPARED 'two-phase'")
        assert ear.take() == ["1"]
        assert "PREPARE TRANSACTION" in ear.notice
        ear.close()


# -- nothing is missed -----------------------------------------------------------------------------------------------


def test_commit_order_does_not_matter(
    crm: psycopg.Connection, connect: Callable[[], psycopg.Connection], leads: Leads, ears: MakeEar
) -> None:
    ear = ears(leads)
    first, second = connect(), connect()
    leads.add(first, 1)
    for key in range(2, 6):
        leads.add(second, key)
        second.commit()
        assert ear.take() == [str(key)]
        assert ear.take() == []
    first.commit()
    assert ear.take() == ["1"]


def test_a_long_query_does_not_slow_the_looks_and_a_late_commit_is_not_overlooked(
    crm: psycopg.Connection, connect: Callable[[], psycopg.Connection], leads: Leads, ears: MakeEar
) -> None:
    ear = ears(leads)
    reader = connect()
    reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    reader.execute("SELECT count(*) FROM leads")  # a dump: nothing can be cleaned up behind it
    for key in range(1, 4):
        leads.add(crm, key)
        ear.take()
    ear.take()
    begins = ear.source._outbox._floor
    assert begins > 1
    late = connect()
    leads.add(late, 4)
    for key in range(5, 9):
        leads.add(crm, key)
        assert ear.take() == [str(key)]
        assert ear.take() == []
    late.commit()
    assert ear.take() == ["4"]
    leads.add(crm, 9)
    assert ear.take() == ["9"]
    assert ear.take() == []
    assert ear.source._outbox._floor > begins + 3


def test_a_late_commit_of_several_pages_is_read_to_its_end(
    crm: psycopg.Connection,
    connect: Callable[[], psycopg.Connection],
    leads: Leads,
    ears: MakeEar,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listen_module, "PAGE_KEYS", 2)
    ear = ears(leads)
    late = connect()
    for key in range(1, 6):
        leads.add(late, key)
    leads.add(crm, 6)
    assert ear.take() == ["6"]
    late.commit()
    assert ear.take() == ["1", "2", "3", "4", "5"]


def test_what_the_ledger_could_not_take_is_read_again_by_the_next_look(
    crm: psycopg.Connection, leads: Leads, ears: MakeEar
) -> None:
    ear = ears(leads)
    leads.add(crm, 1)
    late = crm.execute("SELECT nextval(pg_get_serial_sequence('syncd_outbox.\"web-leads\"', 'id'))").fetchone()
    leads.add(crm, 2)
    ear.take()
    assert late is not None
    crm.execute(f"INSERT INTO {OUTBOX} (id, n, keys) OVERRIDING SYSTEM VALUE VALUES ({late[0]}, 1, '{{1}}')")
    for _ in range(3):
        assert [change.key for change in ear.source.read(ear.now).changes] == ["1"]


def test_an_outbox_whose_numbers_were_set_back_is_read_within_a_minute(
    crm: psycopg.Connection, leads: Leads, ears: MakeEar
) -> None:
    ear = ears(leads)
    for key in range(1, 4):
        leads.add(crm, key)
        ear.take()
    ear.take()
    crm.execute(f"TRUNCATE {OUTBOX} RESTART IDENTITY")
    leads.add(crm, 9)
    assert ear.take() == []
    ear.now += 60
    assert ear.take() == ["9"]


WRITES = {
    "insert of many": ("INSERT INTO leads SELECT generate_series(10, 12)", {"10", "11", "12"}),
    "insert from a query with a column list": ("INSERT INTO leads (note, id) SELECT 'x', 10", {"10"}),
    "bulk update": ("UPDATE leads SET note = 'new'", {"1", "2", "3"}),
    "update of some": ("UPDATE leads SET note = 'new' WHERE id > 1", {"2", "3"}),
    "key change": ("UPDATE leads SET id = 20 WHERE id = 2", {"20"}),
    "all keys changed": ("UPDATE leads SET id = id + 10", {"11", "12", "13"}),
    "upsert": (
        "INSERT INTO leads VALUES (1), (30) ON CONFLICT (id) DO UPDATE SET note = 'new'",
        {"1", "30"},
    ),
    "upsert that does nothing": ("INSERT INTO leads VALUES (1), (30) ON CONFLICT DO NOTHING", {"30"}),
    "truncate then insert": ("TRUNCATE leads; INSERT INTO leads VALUES (1), (40)", {"1", "40"}),
    "delete then insert": ("DELETE FROM leads; INSERT INTO leads VALUES (2)", {"2"}),
    "insert then delete": ("INSERT INTO leads VALUES (50), (51); DELETE FROM leads WHERE id = 50", {"51"}),
    "data-modifying WITH": (
        "WITH gone AS (DELETE FROM leads WHERE id = 1 RETURNING *) INSERT INTO leads SELECT id + 60 FROM gone",
        {"61"},
    ),
    "function": ("DO $$ BEGIN FOR i IN 70..72 LOOP INSERT INTO leads VALUES (i); END LOOP; END $$", {"70", "71", "72"}),
    "rolled back": ("BEGIN; INSERT INTO leads VALUES (80); ROLLBACK", set()),
    "savepoint": (
        "BEGIN; INSERT INTO leads VALUES (90); SAVEPOINT s; INSERT INTO leads VALUES (91); ROLLBACK TO s; COMMIT",
        {"90"},
    ),
    "merge": (
        """
        MERGE INTO leads USING (VALUES (1), (95)) AS given (id) ON leads.id = given.id
        WHEN MATCHED THEN UPDATE SET note = 'new' WHEN NOT MATCHED THEN INSERT (id) VALUES (given.id)
        """,
        {"1", "95"},
    ),
}


@pytest.mark.parametrize("write", WRITES)
def test_each_way_of_writing_is_heard(crm: psycopg.Connection, leads: Leads, ears: MakeEar, write: str) -> None:
    statement, expected = WRITES[write]
    if write == "merge" and crm.info.server_version < 150000:
        pytest.skip("MERGE came with PostgreSQL 15")
    crm.execute("INSERT INTO leads VALUES (1), (2), (3)")
    ear = ears(leads)
    ear.take()
    crm.execute(statement)
    found = ear.take()
    assert set(found) == expected
    assert len(found) == len(expected)


def test_copy_is_heard_ten_thousand_keys_a_row(crm: psycopg.Connection, leads: Leads, ears: MakeEar) -> None:
    with crm.cursor().copy("COPY leads (id) FROM STDIN") as copy:
        for key in range(25_000):
            copy.write_row((key,))
    assert sorted(row[0] for row in outbox(crm)) == [5_000, 10_000, 10_000]
    ear = ears(leads)
    assert {int(key) for key in ear.take()} == set(range(25_000))
    assert outbox(crm) == []
    assert max(page.rows for page in ear.pages) == 10_000


def test_a_key_that_changed_often_is_handed_over_once_with_its_last_version(
    crm: psycopg.Connection, leads: Leads, ears: MakeEar
) -> None:
    ear = ears(leads)
    leads.add(crm, 1)
    leads.add(crm, 2)
    crm.execute("UPDATE leads SET note = 'x' WHERE id = 1")
    last = one(crm, f"SELECT max(id) FROM {OUTBOX}")
    oid = one(crm, f"SELECT '{OUTBOX}'::regclass::oid")
    page = ear.source.read(0.0)
    assert {change.key: change.version for change in page.changes} == {"1": f"{oid}.{last}", "2": f"{oid}.{last - 1}"}
    assert (page.rows, page.reached, page.more, page.gap) == (3, None, False, None)


def test_only_rows_that_meet_the_condition_and_the_start_are_leads(crm: psycopg.Connection, ears: MakeEar) -> None:
    leads = Leads(where="note = 'hot'")
    leads.create(crm)
    listen_kit.install(crm, leads, OBJECTS)
    ear = ears(leads, watermark="updated_at")
    ear.resume(since="2026-03-01 00:00:00+00")
    leads.add(crm, 1, "2026-03-02", "hot")
    leads.add(crm, 2, "2026-03-02", "cold")
    leads.add(crm, 3, "2026-02-27", "hot")
    leads.add(crm, 4, None, "hot")
    assert ear.take() == ["1"]
    crm.execute("UPDATE leads SET updated_at = '2026-03-01', note = 'hot' WHERE id IN (2, 4)")
    assert sorted(ear.take()) == ["2", "4"]
    assert [change.key for change in ear.source.scan(None, 10)] == ["1", "2", "4"]
    leads.add(crm, 5, None, "hot")
    ear.resume(since=BEGINNING)
    assert ear.take() == []
    assert [change.key for change in ear.source.scan(None, 10)] == ["1", "2", "3", "4"]
    assert ear.source.without_watermark() == 1


# -- partitions and children -----------------------------------------------------------------------------------------


@pytest.fixture
def parts(crm: psycopg.Connection) -> Leads:
    """A partitioned table with two levels, not installed."""
    crm.execute(
        "CREATE TABLE leads (id bigint PRIMARY KEY, note text) PARTITION BY RANGE (id);"
        "CREATE TABLE low PARTITION OF leads FOR VALUES FROM (0) TO (100);"
        "CREATE TABLE high PARTITION OF leads FOR VALUES FROM (100) TO (1000) PARTITION BY RANGE (id);"
        "CREATE TABLE high1 PARTITION OF high FOR VALUES FROM (100) TO (200);"
        "CREATE TABLE high2 (note text, id bigint NOT NULL);"
        "ALTER TABLE high ATTACH PARTITION high2 FOR VALUES FROM (200) TO (1000)"
    )
    return Leads()


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("INSERT INTO leads VALUES (2), (150), (250)", {"2", "150", "250"}),
        ("INSERT INTO low VALUES (3)", {"3"}),
        ("INSERT INTO high VALUES (151), (251)", {"151", "251"}),
        ("INSERT INTO high2 (id) VALUES (252)", {"252"}),
        ("UPDATE leads SET id = id + 300", {"301", "420"}),
        ("UPDATE high SET id = id + 300", {"420"}),
        ("UPDATE low SET note = 'x'", {"1"}),
        ("INSERT INTO leads VALUES (1), (4) ON CONFLICT (id) DO UPDATE SET note = 'x'", {"1", "4"}),
    ],
)
def test_partitions_are_heard_by_whatever_name(
    crm: psycopg.Connection, parts: Leads, ears: MakeEar, statement: str, expected: set[str]
) -> None:
    crm.execute("INSERT INTO leads VALUES (1), (120)")
    listen_kit.install(crm, parts, OBJECTS)
    ear = ears(parts)
    crm.execute(statement)
    found = ear.take()
    assert (set(found), len(found)) == (expected, len(expected))
    assert ear.notice == ""
    with crm.cursor().copy("COPY high1 (id) FROM STDIN") as copy:
        copy.write_row((199,))
    assert ear.take() == ["199"]


def test_a_partition_attached_later_is_said_until_setup_was_run_again(
    crm: psycopg.Connection, parts: Leads, ears: MakeEar
) -> None:
    listen_kit.install(crm, parts, OBJECTS)
    ear = ears(parts)
    ear.take()
    assert ear.notice == ""
    crm.execute("CREATE TABLE more PARTITION OF leads FOR VALUES FROM (1000) TO (2000)")
    crm.execute("INSERT INTO leads VALUES (1000)")
    crm.execute("INSERT INTO more VALUES (1001)")
    ear.now += 60
    assert ear.take() == ["1000"]
    assert "such as more" in ear.notice
    assert "syncd setup web-leads --apply" in ear.notice
    listen_kit.install(crm, parts, OBJECTS)
    crm.execute("INSERT INTO more VALUES (1002)")
    ear.now += 60
    assert ear.take() == ["1002"]
    assert ear.notice == ""
    assert ear.source.scan(None, 10)[1].key == "1001"


def test_an_inheritance_child_is_heard_by_either_name(crm: psycopg.Connection, leads: Leads, ears: MakeEar) -> None:
    crm.execute("CREATE TABLE child (extra int) INHERITS (leads)")
    listen_kit.install(crm, leads, OBJECTS)
    ear = ears(leads)
    crm.execute("INSERT INTO child (id) VALUES (5)")
    leads.add(crm, 6)
    assert ear.take() == ["5", "6"]
    crm.execute("UPDATE leads SET note = 'x'")
    assert sorted(ear.take()) == ["5", "6"]
    assert ear.notice == ""


def test_what_replication_writes_is_left_to_the_sweep(catch: Catch, crm: psycopg.Connection) -> None:
    catcher = catch()
    catcher.drain()
    crm.execute("SET session_replication_role = replica")
    catcher.leads.add(crm, 1)
    crm.execute("RESET session_replication_role")
    catcher.leads.add(crm, 2)
    catcher.drain()
    assert catcher.keys == {"2"}
    assert catcher.sweep() == 1
    assert catcher.keys == {"1", "2"}


# -- the consumer ----------------------------------------------------------------------------------------------------


def test_a_large_outbox_is_read_in_pages_with_flat_memory(crm: psycopg.Connection, leads: Leads, ears: MakeEar) -> None:
    crm.execute("INSERT INTO leads SELECT generate_series(1, 120000)")
    ear = ears(leads)
    page = ear.source.read(0.0)
    ear.source.acknowledge(page, 0.0)
    assert (page.rows, page.more) == (10_000, True)
    tracemalloc.start()
    try:
        while page.more:
            page = ear.source.read(0.0)
            ear.source.acknowledge(page, 0.0)
        assert tracemalloc.get_traced_memory()[1] < 16_000_000
    finally:
        tracemalloc.stop()
    assert outbox(crm) == []


def test_many_small_rows_come_in_order_as_many_as_a_page_holds(
    crm: psycopg.Connection, leads: Leads, ears: MakeEar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listen_module, "PAGE_KEYS", 10)
    ear = ears(leads)
    crm.execute("DO $$ BEGIN FOR i IN 1..25 LOOP INSERT INTO leads VALUES (i); END LOOP; END $$")
    crm.execute("INSERT INTO leads SELECT generate_series(26, 55)")  # one row of more keys than a page has
    crm.execute("INSERT INTO leads VALUES (56)")
    assert ear.take() == [str(key) for key in range(1, 57)]
    assert [page.rows for page in ear.pages] == [10, 10, 5, 30, 1]


def test_what_was_not_acknowledged_is_read_again(crm: psycopg.Connection, leads: Leads, ears: MakeEar) -> None:
    ear = ears(leads)
    leads.add(crm, 1)
    first = ear.source.read(0.0)
    leads.add(crm, 2)
    ear.resume()
    second = ear.source.read(0.0)
    assert list(second.changes)[:1] == list(first.changes)
    assert [change.key for change in second.changes] == ["1", "2"]


@pytest.mark.parametrize("purpose", ["outbox", "capture"])
def test_a_connection_killed_before_the_acknowledgement_costs_a_second_reading(
    catch: Catch, crm: psycopg.Connection, purpose: str
) -> None:
    catcher = catch()
    catcher.drain()
    catcher.leads.add(crm, 1)
    acknowledge = catcher.source.acknowledge

    def killed(page: Page, now: float) -> None:
        if page.changes and not done:
            done.append(page)
            name = f"syncd {purpose}"
            crm.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = %s", [name]
            )
        acknowledge(page, now)

    done: list[Page] = []
    catcher.source.acknowledge = killed  # type: ignore[method-assign]
    for _ in range(4):
        catcher.turn()
    assert done
    assert catcher.keys == {"1"}
    assert sum(result.again for result in catcher.results) == 0
    assert one(crm, f'SELECT count(*) FROM syncd_outbox."{catcher.name}"') == 0
    assert [str(result.trouble) for result in catcher.results[-1:]] == ["None"]


def test_a_notification_wakes_within_a_second_and_a_read_silences_it(
    crm: psycopg.Connection, leads: Leads, ears: MakeEar
) -> None:
    ear = ears(leads)
    ear.take()
    assert not ear.source.awake()
    assert ear.source.fileno() is not None
    leads.add(crm, 1)
    eventually(ear.source.awake, "the bell", secs=1.0, look_secs=0.005)
    assert ear.source.awake()
    assert ear.take() == ["1"]
    assert not ear.source.awake()


def test_a_probe_of_its_own_wakes_nobody(crm: psycopg.Connection, leads: Leads, ears: MakeEar) -> None:
    ear = ears(leads)
    ear.take()
    eventually(lambda: ear.outboxes.heard(OBJECTS.channel), "the probe")
    assert not ear.source.awake()


def test_a_statement_notifies_once_and_a_transaction_too(crm: psycopg.Connection, leads: Leads) -> None:
    with psycopg.connect(crm.info.dsn, autocommit=True) as listener:
        listener.execute('LISTEN "syncd_web-leads"')
        crm.execute("INSERT INTO leads SELECT generate_series(1, 25000)")
        with crm.transaction():
            crm.execute("UPDATE leads SET note = 'x'")
            crm.execute("INSERT INTO leads VALUES (1), (-1) ON CONFLICT (id) DO UPDATE SET note = 'y'")
        crm.execute("NOTIFY \"syncd_web-leads\", 'the last'")
        heard = [notify.payload for notify in listener.notifies(timeout=10, stop_after=3)]
    assert heard == ["", "", "the last"]


def test_nobody_is_notified_while_the_queue_is_half_full(crm: psycopg.Connection, leads: Leads) -> None:
    body = one(crm, f"SELECT prosrc FROM pg_proc WHERE oid = '{OUTBOX}'::regproc")
    assert "pg_notification_queue_usage() < 0.5" in body
    assert "EXCEPTION WHEN" not in body


def test_a_broken_connection_wakes_and_the_next_look_listens_again(
    crm: psycopg.Connection, leads: Leads, ears: MakeEar
) -> None:
    ear = ears(leads)
    ear.take()
    kill = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'syncd outbox t1'"
    crm.execute(kill)
    leads.add(crm, 1)
    eventually(ear.source.awake, "the end of the connection")
    assert ear.source.fileno() is None
    assert ear.take() == ["1"]
    assert ear.take() == []  # a new connection has rung once, whatever was missed
    assert not ear.source.awake()
    leads.add(crm, 2)
    eventually(ear.source.awake, "the bell of a new connection")
    assert ear.take() == ["2"]


def test_a_reading_of_nothing_is_one_query_and_leaves_no_transaction_open(
    crm: psycopg.Connection, leads: Leads, ears: MakeEar, monkeypatch: pytest.MonkeyPatch
) -> None:
    ear = ears(leads)
    leads.add(crm, 1)
    ear.take()
    rows = crm.execute(
        "SELECT application_name, state, xact_start IS NULL FROM pg_stat_activity WHERE application_name ~ '^syncd'"
    ).fetchall()
    assert sorted(rows) == [("syncd capture t1", "idle", True), ("syncd outbox t1", "idle", True)]
    with ear.capture.cursor("test") as cursor, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        cursor.execute("CREATE TABLE t ()")
    sent: list[object] = []
    with ear.outboxes.session("test") as connection:
        execute = connection.execute

        def spy(query: Any) -> psycopg.Cursor:
            sent.append(query)
            return execute(query)

        monkeypatch.setattr(connection, "execute", spy)
    ear.capture.close()
    assert ear.take() == []
    assert len(sent) == 1
    assert ear.capture.opened is None


def test_two_syncs_share_one_connection(crm: psycopg.Connection, leads: Leads, ears: MakeEar) -> None:
    others = Leads(name="others")
    others.create(crm)
    listen_kit.install(crm, others, Objects("others"))
    ear = ears(leads)
    other = ears(others, outboxes=ear.outboxes, objects=Objects("others"))
    for each in (ear, other):
        each.take()
    others.add(crm, 7)
    eventually(other.source.awake, "the bell")
    assert not ear.source.awake()
    assert other.take() == ["7"]
    leads.add(crm, 8)
    eventually(ear.source.awake, "the bell")
    assert not other.source.awake()
    assert ear.take() == ["8"]
    assert one(crm, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'syncd outbox t1'") == 1


# -- where notifications never arrive ----------------------------------------------------------------------------------


def deaf_pooler(url: str) -> AbstractContextManager[RawServer]:
    """A pooler in transaction mode: what a session listened to is over with the transaction, and nobody says so."""
    parts = conninfo_to_dict(url)

    def behave(peer: Peer) -> None:
        with socket.create_connection((str(parts["host"]), int(str(parts["port"])))) as server:
            answers = threading.Thread(target=forward_answers, args=(server, peer.connection))
            answers.start()
            with contextlib.suppress(OSError):
                while data := peer.connection.recv(65_536):
                    server.sendall(data)
            server.shutdown(socket.SHUT_RDWR)
            answers.join(10)

    return raw_server(behave)


def forward_answers(server: socket.socket, client: socket.socket) -> None:
    """Pass on what the server says; before the client hears that it is ready again, end what it listens to."""
    query = b"UNLISTEN *\0"
    with contextlib.suppress(OSError), server.makefile("rb") as stream:
        unlistening = False
        while head := stream.read(5):
            message = head + stream.read(int.from_bytes(head[1:], "big") - 4)
            ready = head[:1] == b"Z"
            if ready and not unlistening:
                server.sendall(b"Q" + (len(query) + 4).to_bytes(4, "big") + query)
            elif ready or not unlistening:
                client.sendall(message)
            unlistening ^= ready


def test_a_pooler_that_delivers_no_notification_is_found_out_and_costs_time_alone(
    crm: psycopg.Connection, leads: Leads, ears: MakeEar, database: str
) -> None:
    with deaf_pooler(database) as pooler:
        ear = ears(leads, url=make_conninfo(database, host="127.0.0.1", port=pooler.port, sslmode="disable"))
        ear.take()
        ear.now += 4.9
        assert ear.take() == []
        assert ear.notice == ""
        leads.add(crm, 1)
        ear.now += 0.2
        assert ear.take() == ["1"]
        assert "do not arrive" in ear.notice
        assert "pooler in transaction mode" in ear.notice
        leads.add(crm, 2)
        assert not ear.source.awake()
        assert ear.take() == ["2"]
        ear.close()


def test_a_server_that_delivers_is_not_said_to_be_deaf_and_a_deaf_one_is_asked_again(
    crm: psycopg.Connection, leads: Leads, ears: MakeEar
) -> None:
    ear = ears(leads)
    ear.take()
    eventually(lambda: ear.outboxes.heard(OBJECTS.channel), "the probe")
    ear.now += 10
    ear.take()
    assert ear.notice == ""
    with ear.outboxes.session("test") as connection:
        connection.execute("UNLISTEN *")
    ear.outboxes._heard.clear()
    ear.source._probe._sent_at = ear.now - 5
    ear.take()
    assert ear.notice
    with ear.outboxes.session("test") as connection:
        connection.execute('LISTEN "syncd_web-leads"')
    ear.now += 600
    ear.take()
    eventually(lambda: ear.outboxes.heard(OBJECTS.channel), "another probe")
    ear.take()
    assert ear.notice == ""


# -- what is installed -----------------------------------------------------------------------------------------------

LOSSES = {
    f"DROP TABLE {OUTBOX}": "there is no outbox",
    "DROP SCHEMA syncd_outbox CASCADE": "there is no outbox",
    'DROP TRIGGER "syncd_web-leads_insert" ON leads': "lacks the trigger syncd_web-leads_insert",
    'DROP TRIGGER "syncd_web-leads_update" ON leads': "lacks the trigger syncd_web-leads_update",
    f"DROP FUNCTION {OUTBOX} CASCADE": "lacks the trigger",
    "ALTER TABLE leads DISABLE TRIGGER USER": "are disabled",
    'ALTER TABLE leads ENABLE REPLICA TRIGGER "syncd_web-leads_insert"': "are disabled",
    f"ALTER FUNCTION {OUTBOX} OWNER TO other": "the owner of the triggers' function may not write",
}


@pytest.mark.parametrize("loss", LOSSES)
def test_an_installation_that_is_lost_is_said_swept_and_mended(
    catch: Catch, crm: psycopg.Connection, stack: ExitStack, loss: str
) -> None:
    without_superuser(crm, stack, "other")
    catcher = catch()
    catcher.leads.add(crm, 1)
    catcher.drain()
    crm.execute(loss.replace("web-leads", catcher.name))
    catcher.leads.add(crm, 2)
    result = catcher.turn()
    assert isinstance(result.trouble, CaptureLost)
    said = str(result.trouble)
    assert LOSSES[loss].replace("web-leads", catcher.name) in said
    assert "syncd setup leads --apply" in said
    while "2" not in catcher.keys:  # the sweep goes on
        assert isinstance(catcher.turn().trouble, CaptureLost)
    catcher.leads.add(crm, 3)
    catcher.install()
    catcher.leads.add(crm, 4)
    while catcher.turn().trouble is not None:
        pass
    catcher.drain()
    assert catcher.keys == {"1", "2", "3", "4"}


def test_triggers_for_another_key_are_not_ours(crm: psycopg.Connection, leads: Leads, ears: MakeEar) -> None:
    crm.execute("ALTER TABLE leads ADD other int")
    ear = ears(leads)
    listen_kit.install(crm, replace(leads, key="other"), OBJECTS)
    with pytest.raises(CaptureLost, match="another key than id"):
        ear.take()
    listen_kit.install(crm, leads, OBJECTS)
    assert ear.take() == []


def test_a_renamed_key_stops_the_sync_and_what_was_written_then_is_a_gap(catch: Catch, crm: psycopg.Connection) -> None:
    catcher = catch()
    catcher.leads.add(crm, 1)
    catcher.drain()
    crm.execute("ALTER TABLE leads RENAME id TO ident")
    crm.execute("INSERT INTO leads (ident) VALUES (2)")
    trouble = catcher.turn().trouble
    assert isinstance(trouble, CrmFault)
    assert "no column id" in str(trouble)
    crm.execute("ALTER TABLE leads RENAME ident TO id")
    result = catcher.turn()
    assert result.gap is not None
    catcher.drain()
    assert catcher.keys == {"1", "2"}
    assert one(crm, f'SELECT count(*) FROM syncd_outbox."{catcher.name}"') == 0


def test_a_retyped_key_is_followed_and_keys_of_the_former_type_are_no_obstacle(
    catch: Catch, crm: psycopg.Connection
) -> None:
    catcher = catch(key_type="text")
    catcher.leads.add(crm, "1")
    catcher.drain()
    catcher.leads.add(crm, "x")
    catcher.leads.add(crm, "2")
    crm.execute("DELETE FROM leads WHERE id = 'x'")
    crm.execute("ALTER TABLE leads ALTER id TYPE bigint USING id::bigint")
    result = catcher.turn()
    assert result.trouble is None
    assert result.gap is not None
    assert "another type" in result.gap
    catcher.leads.add(crm, 3)
    catcher.drain()
    assert catcher.keys == {"1", "2", "3"}


@pytest.mark.parametrize(
    ("before", "gap"),
    [
        (None, None),
        ("same", None),
        ("poll timestamp 4711", "captured by listen now, and was by poll before"),
        ("slot 7301/1", "captured by listen now, and was by slot before"),
        ("listen 1/2/3+4", "are others than before"),
    ],
)
def test_another_identity_is_a_gap(
    crm: psycopg.Connection, leads: Leads, ears: MakeEar, before: str | None, gap: str | None
) -> None:
    ear = ears(leads)
    identity = ear.source.resume(Position(BEGINNING, None, None)).identity
    resumed = ear.source.resume(Position(BEGINNING, None, identity if before == "same" else before))
    assert resumed.identity == identity
    assert identity.startswith("listen ")
    assert (resumed.gap or "None").count(gap or "None") == 1
    assert resumed.watermark is None
    assert ear.source.resume(Position(BEGINNING, "2026-03-01", None)).gap is not None  # polled, by an old version


@pytest.mark.parametrize("again", ["outbox", "table", "triggers"])
def test_what_is_made_anew_under_way_is_a_gap(catch: Catch, crm: psycopg.Connection, again: str) -> None:
    catcher = catch()
    catcher.leads.add(crm, 1)
    catcher.drain()
    if again == "table":
        crm.execute("DROP TABLE leads")
        catcher.leads.create(crm)
        catcher.leads.add(crm, 2)
    elif again == "outbox":
        catcher.leads.add(crm, 2)
        crm.execute(f'DROP TABLE syncd_outbox."{catcher.name}"')
    else:
        catcher.kit.remove(crm, catcher.leads, catcher.objects)
        catcher.leads.add(crm, 2)
    catcher.install()
    first = catcher.turn()
    assert isinstance(first.trouble, CrmUnavailable)
    second = catcher.turn()
    assert second.gap is not None
    catcher.drain()
    assert catcher.keys == {"1", "2"}


def test_a_sync_of_another_table_takes_its_triggers_along(crm: psycopg.Connection, leads: Leads, ears: MakeEar) -> None:
    other = Leads(name="other")
    other.create(crm)
    listen_kit.install(crm, other, OBJECTS)
    leads.add(crm, 1)
    assert outbox(crm) == []
    other.add(crm, 2)
    assert ears(other).take() == ["2"]


def test_a_view_is_refused(crm: psycopg.Connection) -> None:
    crm.execute("CREATE VIEW leads AS SELECT 1 AS id")
    with pytest.raises(psycopg.errors.WrongObjectType):
        listen_kit.install(crm, Leads(), OBJECTS)


def test_installing_does_not_wait_behind_a_long_transaction(
    crm: psycopg.Connection, connect: Callable[[], psycopg.Connection]
) -> None:
    leads = Leads()
    leads.create(crm)
    script = listen_kit.script("listen.sql", leads, OBJECTS, crm.info.user)
    assert "SET LOCAL lock_timeout = '5s'" in script
    writer = connect()
    leads.add(writer, 1)
    with pytest.raises(psycopg.errors.LockNotAvailable, match="nothing was installed"):
        crm.execute(script.replace("'5s'", "'50ms'"))
    crm.execute("ROLLBACK")
    assert one(crm, "SELECT count(*) FROM pg_namespace WHERE nspname = 'syncd_outbox'") == 0
    writer.commit()
    crm.execute(script)


def test_removing_leaves_nothing_and_does_no_harm_where_something_is_gone(
    crm: psycopg.Connection, leads: Leads
) -> None:
    others = Leads(name="others")
    others.create(crm)
    listen_kit.install(crm, others, Objects("others"))
    listen_kit.remove(crm, leads, OBJECTS)
    assert one(crm, "SELECT count(*) FROM pg_trigger WHERE tgname ~ '^syncd_web'") == 0
    others.add(crm, 1)
    assert one(crm, "SELECT count(*) FROM syncd_outbox.others") == 1
    crm.execute("DROP TABLE others, syncd_outbox.others")
    for _ in range(2):
        listen_kit.remove(crm, others, Objects("others"))
    assert one(crm, "SELECT count(*) FROM pg_namespace WHERE nspname = 'syncd_outbox'") == 0
    assert one(crm, "SELECT count(*) FROM pg_proc WHERE proname IN ('others', 'web-leads')") == 0


# -- rights ----------------------------------------------------------------------------------------------------------

GRANTS = ("GRANT USAGE ON SCHEMA public TO {}", "GRANT SELECT (id, note, updated_at) ON leads TO {}")


def test_the_grants_of_the_scripts_suffice_and_give_no_more(
    crm: psycopg.Connection, leads: Leads, ears: MakeEar, stack: ExitStack, database: str
) -> None:
    syncd = without_superuser(crm, stack, "syncd_role", *GRANTS)
    listen_kit.install(crm, leads, OBJECTS, "syncd_role")
    leads.add(crm, 1)
    url = database.replace("postgres@", "syncd_role:made-up@")
    assert url != database
    ear = ears(replace(leads, start="now"), url=url, watermark="updated_at", resume=False)
    assert ear.source.first_start(0.0).existing is Existing.LEAVE
    ear.resume()
    leads.add(crm, 2)
    assert ear.take() == ["2"]
    eventually(lambda: ear.outboxes.heard(OBJECTS.channel), "the bell or the probe")
    for statement in (
        f"INSERT INTO {OUTBOX} (n) VALUES (0)",
        f"UPDATE {OUTBOX} SET n = 1",
        f"TRUNCATE {OUTBOX}",
        f"SELECT {OUTBOX}()",
        "CREATE TABLE syncd_outbox.mine ()",
        "INSERT INTO leads VALUES (9)",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            syncd.execute(statement)


@pytest.mark.parametrize(
    "revoke",
    [
        f"REVOKE SELECT ON {OUTBOX} FROM syncd_role",
        f"REVOKE DELETE ON {OUTBOX} FROM syncd_role",
        "REVOKE USAGE ON SCHEMA syncd_outbox FROM syncd_role",
        f"ALTER TABLE {OUTBOX} ENABLE ROW LEVEL SECURITY",
    ],
)
def test_a_right_that_is_withheld_is_said(
    crm: psycopg.Connection, leads: Leads, ears: MakeEar, stack: ExitStack, database: str, revoke: str
) -> None:
    without_superuser(crm, stack, "syncd_role", *GRANTS)
    listen_kit.install(crm, leads, OBJECTS, "syncd_role")
    ear = ears(leads, url=database.replace("postgres@", "syncd_role:made-up@"))
    crm.execute(revoke)
    leads.add(crm, 1)
    with pytest.raises(CaptureLost, match=r"may not read and empty the outbox syncd_outbox.web-leads.*--apply"):
        ear.take()
    assert [change.key for change in ear.source.scan(None, 10)] == ["1"]


# -- starts and scans ------------------------------------------------------------------------------------------------


def test_now_without_a_watermark_notes_what_is_there_and_forgets_what_was_heard(
    crm: psycopg.Connection, leads: Leads, ears: MakeEar
) -> None:
    leads.add(crm, 1)
    ear = ears(replace(leads, start="now"), resume=False)
    start = ear.source.first_start(0.0)
    assert (start.since, start.watermark, start.existing) == (NOTED, None, Existing.NOTE)
    leads.add(crm, 2)
    ear.resume(since=start.since)
    assert ear.take() == ["2"]
    assert [tuple(change) for change in ear.source.scan(None, 10)] == [("1", SCANNED), ("2", SCANNED)]
    assert ear.source.without_watermark() == 0


def test_the_beginning_takes_what_is_there_and_what_was_heard(
    crm: psycopg.Connection, leads: Leads, ears: MakeEar
) -> None:
    leads.add(crm, 1)
    ear = ears(leads, resume=False)
    assert ear.source.first_start(0.0).existing is Existing.TAKE
    ear.resume()
    assert ear.take() == ["1"]


def test_a_start_before_setup_was_run_says_what_to_run(crm: psycopg.Connection, ears: MakeEar) -> None:
    leads = Leads()
    leads.create(crm)
    with pytest.raises(CaptureLost, match=r"there is no outbox.*syncd setup web-leads --apply"):
        ears(leads, resume=False).source.first_start(0.0)


def test_a_start_that_was_a_watermark_needs_its_column(crm: psycopg.Connection, leads: Leads, ears: MakeEar) -> None:
    ear = ears(leads)
    ear.resume(since="2026-03-01 00:00:00+00")
    leads.add(crm, 1)
    with pytest.raises(CrmFault, match="watermark_column"):
        ear.take()
    with pytest.raises(CrmFault, match="watermark_column"):
        ear.source.scan(None, 10)


def test_a_scan_goes_in_the_keys_own_order_and_an_estimate_is_the_planners(
    crm: psycopg.Connection, leads: Leads, ears: MakeEar
) -> None:
    crm.execute("INSERT INTO leads SELECT generate_series(-5, 994)")
    crm.execute("ANALYZE leads")
    ear = ears(leads)
    assert ear.source.estimate() == 1000
    keys: list[str] = []
    while chunk := ear.source.scan(keys[-1] if keys else None, 300):
        keys += [change.key for change in chunk]
    assert keys == [str(key) for key in range(-5, 995)]
