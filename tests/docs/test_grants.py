"""What `syncd setup` gives is just what syncd needs: all works with it, and syncd says which part is withheld."""

from __future__ import annotations

import os
import re
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from syncd import assembly, setup
from syncd.capture import Position
from syncd.cli import main
from syncd.config import Config, load
from syncd.embedded import wheel_bindir
from syncd.errors import CaptureLost, CrmError, CrmFault, CrmUnavailable
from syncd.ledger import open_ledger
from tests.docs.pages import page, rows
from tests.support.toml import changed, document, text
from tests.support.waiting import eventually

MODES = ("poll", "listen", "slot")
PASSWORD = "made-up-password"
COLUMNS = ("id", "updated_at", "consent", "document", "full_name", "mobile", "country")
TABLES = """
CREATE SCHEMA sales;
CREATE TABLE sales.leads (
    id bigserial PRIMARY KEY,
    updated_at timestamptz NOT NULL DEFAULT now(),
    consent boolean NOT NULL DEFAULT true,
    document text,
    full_name text,
    mobile text,
    country text,
    salary text
);
CREATE INDEX ON sales.leads (updated_at);
CREATE TABLE sales.payments (id bigserial PRIMARY KEY);
INSERT INTO sales.leads (document, full_name, mobile, consent)
SELECT 'doc-' || i, 'Lucía Prueba', '300' || lpad(i::text, 7, '0'), i <> 5 FROM generate_series(1, 5) AS i;
"""
SYNC = {
    "sync.0.name": "web",
    "sync.0.table": "sales.leads",
    "sync.0.where": "consent",
    "sync.0.fields": {
        "customer_id": "document",
        "customer_name": {"template": "{full_name}"},
        "tel1": {"column": "mobile", "phone": {"region": "CO", "region_column": "country"}},
    },
}


@dataclass(frozen=True)
class Crm:
    """A CRM whose role has what the scripts of a mode give."""

    mode: str
    admin: str
    role: str
    config: Path

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.admin, autocommit=True) as connection:
            connection.execute(statement.format(role=self.role, database=urlsplit(self.admin).path[1:]).encode())

    def insert(self) -> None:
        """What the CRM does: a lead comes, with the key 6."""
        self.execute("INSERT INTO sales.leads (document, full_name, mobile) VALUES ('doc-6', 'Lucía', '3000000006')")

    def one(self, query: str) -> object:
        with psycopg.connect(self.admin, autocommit=True) as connection:
            row = connection.execute(query.format(role=self.role).encode()).fetchone()
        return row and row[0]

    def psql(self, script: str) -> subprocess.CompletedProcess[str]:
        """What the DBA does with what --print has printed."""
        command = [str(wheel_bindir() / "psql"), "-X", "-q", "-d", self.admin]
        environment = {**os.environ, "LC_ALL": "C", "PGOPTIONS": "-c client_min_messages=warning"}
        return subprocess.run(command, input=script, capture_output=True, text=True, env=environment)

    def set_up(self, *, remove: bool = False) -> None:
        config = self.loaded()
        done = self.psql(setup.for_psql(config, config.sync[0], remove=remove))
        assert (done.returncode, "ERROR" in done.stderr) == (0, False), done.stderr

    @property
    def url(self) -> str:
        """As the role, without its password."""
        return self.admin.replace("//postgres@", f"//{self.role}@")

    def connect(self) -> psycopg.Connection[tuple[object, ...]]:
        """As the role, past syncd."""
        return psycopg.connect(self.url, password=PASSWORD, autocommit=True)

    def loaded(self) -> Config:
        return load(self.config)


def made(mode: str, database: str, folder: Path) -> Iterator[Crm]:
    """With the table, the role and its rights; no role and no slot is left behind."""
    role = f"syncd_{uuid.uuid4().hex[:12]}"
    crm = Crm(mode, database, role, folder / "config.toml")
    (folder / "token").write_text("made-up\n")
    (folder / "crm-password").write_text(PASSWORD + "\n")
    base = document(crm.url, f"sqlite:///{folder / 'ledger.db'}")
    own = {"crm.password_file": "crm-password", "sync.0.capture": mode}
    crm.config.write_text(text(changed(base, {**SYNC, **own})))
    crm.execute(TABLES.replace("{", "{{").replace("}", "}}"))
    crm.set_up()
    crm.execute("ALTER ROLE {role} PASSWORD '" + PASSWORD + "'")
    yield crm
    leave_nothing(crm)


def leave_nothing(crm: Crm) -> None:
    with psycopg.connect(crm.admin, autocommit=True) as connection:
        mine = "FROM pg_replication_slots WHERE database = current_database()"
        connection.execute(
            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE database = current_database()"
        )
        eventually(
            lambda: (
                connection.execute(f"SELECT bool_and(active_pid IS NULL) IS NOT FALSE {mine}").fetchone() == (True,)
            ),
            "nobody reads the slot",
        )
        connection.execute(f"SELECT pg_drop_replication_slot(slot_name) {mine}")
        if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (crm.role,)).fetchone() is not None:
            connection.execute(f"DROP OWNED BY {crm.role}".encode())
            connection.execute(f"DROP ROLE {crm.role}".encode())


@pytest.fixture(params=MODES)
def crm(request: pytest.FixtureRequest, database: str, tmp_path: Path) -> Iterator[Crm]:
    yield from made(request.param, database, tmp_path)


@pytest.fixture
def polled(database: str, tmp_path: Path) -> Iterator[Crm]:
    yield from made("poll", database, tmp_path)


def run(crm: Crm, *arguments: str) -> int:
    return main([*arguments, "--config", str(crm.config)])


def work(crm: Crm) -> set[str]:
    """All that the daemon does in the CRM: begin, capture a new lead, acknowledge it, sweep, read the rows."""
    config = crm.loaded()
    sync = config.sync[0]
    connections = assembly.CrmConnections(config, crm.config)
    with closing(connections):
        source = assembly.source(sync, connections)
        begun = source.first_start(time.time())
        source.resume(Position(begun.since, begun.watermark, None))
        crm.insert()

        def captured() -> bool:
            page = source.read(time.time())
            source.acknowledge(page, time.time())
            return "6" in {change.key for change in page.changes}

        eventually(captured, "the lead is captured")
        source.read(time.time())
        source.estimate()
        source.without_watermark()
        source.mark()
        swept = {change.key for change in source.scan(None, 100)}
        columns = assembly.field_map(config, sync).columns
        read = assembly.reader(sync, columns, connections.delivery).read(["1", "2", "5", "6"])
        assert {row[0] for row in read} == {"1", "2", "6"}
        source.close()
        return swept


# -- with the rights -----------------------------------------------------------------------------------------


def test_check_finds_nothing_wrong_with_the_rights_of_the_script(crm: Crm, capsys: pytest.CaptureFixture[str]) -> None:
    status = run(crm, "check", "--no-calls")
    out, err = capsys.readouterr()
    assert (status, err) == (0, "")
    assert "warning" not in out


def test_preview_shows_records_with_the_rights_of_the_script(polled: Crm, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(polled, "preview", "web", "-n", "9") == 0
    assert capsys.readouterr().out.count("would be sent as") == 4


def test_the_daemon_captures_sweeps_and_reads_rows_with_the_rights_of_the_script(crm: Crm) -> None:
    swept = work(crm)
    # A poll's sweep leaves out what every poll reads anyway.
    assert swept <= {"1", "2", "3", "4", "6"}
    assert crm.mode == "poll" or swept == {"1", "2", "3", "4", "6"}
    if crm.mode == "listen":
        assert crm.one("SELECT count(*) FROM syncd_outbox.web") == 0


def test_the_rights_are_the_roles_own_and_not_those_of_everybody(crm: Crm) -> None:
    crm.execute("REVOKE ALL ON DATABASE {database} FROM PUBLIC; REVOKE ALL ON SCHEMA public FROM PUBLIC")
    work(crm)


def test_turns_of_the_daemon_bring_every_lead_into_the_ledger_with_the_rights_of_the_script(crm: Crm) -> None:
    config = crm.loaded()
    connections = assembly.CrmConnections(config, crm.config)
    with closing(connections), closing(open_ledger(config, crm.config, purpose="test")) as ledger:
        (intake,) = assembly.intakes(config, ledger, connections, time.time)
        new = 0

        def turn() -> int:
            nonlocal new
            result = intake.run_once()
            assert result.trouble is None
            new += result.new
            return new

        eventually(lambda: turn() == 4, "the leads that were there")
        crm.insert()
        eventually(lambda: turn() == 5, "the lead that came")


def test_poll_says_what_it_cannot_see_and_that_a_right_would_help(
    polled: Crm, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(polled, "check", "--no-calls") == 0
    assert "pg_stat_activity is not visible" in capsys.readouterr().out
    polled.execute("GRANT pg_read_all_stats TO {role}")
    assert run(polled, "check", "--no-calls") == 0
    assert "pg_stat_activity" not in capsys.readouterr().out


FORBIDDEN = [
    "SELECT salary FROM sales.leads",
    "SELECT * FROM sales.leads",
    "SELECT id FROM sales.payments",
    "INSERT INTO sales.leads (document) VALUES ('x')",
    "UPDATE sales.leads SET mobile = ''",
    "DELETE FROM sales.leads",
    "TRUNCATE sales.leads",
    "CREATE TABLE sales.mine (id int)",
    "BEGIN; LOCK TABLE sales.leads IN EXCLUSIVE MODE",
    "CREATE ROLE another",
    "SELECT pg_read_file('postgresql.conf')",
]
FORBIDDEN_OUTBOX = [
    "INSERT INTO syncd_outbox.web (n, keys) VALUES (1, '{{x}}')",
    "UPDATE syncd_outbox.web SET n = 0",
    "TRUNCATE syncd_outbox.web",
    "CREATE TABLE syncd_outbox.mine (id int)",
    "DROP TABLE syncd_outbox.web",
    "ALTER TABLE sales.leads DISABLE TRIGGER syncd_web_insert",
    "CREATE TRIGGER mine AFTER INSERT ON sales.leads EXECUTE FUNCTION syncd_outbox.web('id')",
]
FORBIDDEN_SLOT = ["ALTER PUBLICATION syncd_web SET (publish = 'insert')", "DROP PUBLICATION syncd_web"]


def test_the_role_may_do_nothing_else_even_when_it_may_write(crm: Crm) -> None:
    forbidden = {"poll": [], "listen": FORBIDDEN_OUTBOX, "slot": FORBIDDEN_SLOT}[crm.mode] + FORBIDDEN
    for statement in forbidden:
        with crm.connect() as connection:
            connection.execute("SET default_transaction_read_only = off")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.replace("{{", "{").replace("}}", "}").encode())


def test_the_role_may_make_no_table_where_postgres_does_not_let_everybody(crm: Crm) -> None:
    with crm.connect() as connection:
        if connection.info.server_version < 150000:
            pytest.skip("before PostgreSQL 15, everybody may, as docs/dba.md says")
        connection.execute("SET default_transaction_read_only = off")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("CREATE TABLE public.mine (id int)")


def test_the_role_reads_only_and_gives_up_in_time_whoever_uses_it(crm: Crm) -> None:
    with crm.connect() as connection:
        settings = [
            connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
            for name in (
                "default_transaction_read_only",
                "statement_timeout",
                "lock_timeout",
                "idle_in_transaction_session_timeout",
            )
        ]
    read_only = "off" if crm.mode == "listen" else "on"  # it empties its outbox, even behind a pooler
    assert settings == [(read_only,), ("30s",), ("5s",), ("1min",)]


def test_the_role_may_have_the_connections_that_the_page_lists_and_no_more(crm: Crm) -> None:
    (limits,) = rows(page("dba.md"), "`CONNECTION LIMIT`")
    allowed = dict(zip(MODES, (int(cell) for cell in limits[1:]), strict=True))[crm.mode]
    opened = [crm.connect() for _ in range(allowed)]
    try:
        with pytest.raises(psycopg.OperationalError, match="too many connections for role"):
            crm.connect()
    finally:
        for connection in opened:
            connection.close()


# -- the removal ---------------------------------------------------------------------------------------------


def test_the_removal_leaves_the_role_without_a_right_so_that_it_can_be_dropped(crm: Crm) -> None:
    crm.set_up(remove=True)
    with crm.connect() as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("SELECT id FROM sales.leads")
    assert crm.one("SELECT has_schema_privilege('{role}', 'sales', 'USAGE')") is False
    assert crm.one("SELECT count(*) FROM pg_namespace WHERE nspname = 'syncd_outbox'") == 0
    assert crm.one("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal") == 0
    assert crm.one("SELECT count(*) FROM pg_publication") == 0
    assert crm.one("SELECT count(*) FROM pg_replication_slots WHERE database = current_database()") == 0
    assert crm.one("SELECT rolreplication FROM pg_roles WHERE rolname = '{role}'") is False
    crm.execute("DROP OWNED BY {role}; DROP ROLE {role}")


# -- without one of them -------------------------------------------------------------------------------------

SELECTS = {
    "SELECT on the key": ("id",),
    "SELECT on the watermark_column": ("updated_at",),
    "SELECT on the columns of where": ("consent",),
    "SELECT on the columns of the fields": ("document", "full_name", "mobile", "country"),
}
REVOKES = {
    "LOGIN": "ALTER ROLE {role} NOLOGIN",
    "CONNECT": "REVOKE CONNECT ON DATABASE {database} FROM PUBLIC, {role}",
    "USAGE on the schema of the table": "REVOKE USAGE ON SCHEMA sales FROM {role}",
    "USAGE on the schema syncd_outbox": "REVOKE USAGE ON SCHEMA syncd_outbox FROM {role}",
    "SELECT on the outbox": "REVOKE SELECT ON syncd_outbox.web FROM {role}",
    "DELETE on the outbox": "REVOKE DELETE ON syncd_outbox.web FROM {role}",
    "REPLICATION": "ALTER ROLE {role} NOREPLICATION",
    **{
        f"{right} ({column})": f"REVOKE SELECT ({column}) ON sales.leads FROM {{role}}"
        for right, columns in SELECTS.items()
        for column in columns
    },
}
CLASSES = {"stops": CrmFault, "tries again": CrmUnavailable, "sweeps only": CaptureLost}


@dataclass(frozen=True)
class Right:
    """A row of the page's table."""

    name: str
    modes: tuple[str, ...]
    said: str
    kind: type[CrmError]


def documented() -> list[Right]:
    found = []
    for name, modes, without, then in rows(page("dba.md"), "Right"):
        plain = name.replace("`", "")
        (said,) = re.findall(r'"(.*?)"', without)
        found.append(Right(plain, MODES if modes == "all" else tuple(modes.split(", ")), said, CLASSES[then]))
    return found


RIGHTS = documented()
WITHHELD = [
    (right, mode, name)
    for right in RIGHTS
    for mode in right.modes
    for name in REVOKES
    if name.partition(" (")[0] == right.name
]
POLLED = [(right, name) for right, mode, name in WITHHELD if mode == "poll"]


def ids(case: tuple[object, ...]) -> str:
    return "-".join(str(part) for part in case if isinstance(part, str)).replace(" ", "_")


@pytest.fixture
def withheld(request: pytest.FixtureRequest, database: str, tmp_path: Path) -> Iterator[tuple[Crm, Right, str]]:
    """A CRM where one right was taken back again, and the right."""
    right, mode, name = request.param
    for crm in made(mode, database, tmp_path):
        crm.execute(REVOKES[name])
        yield crm, right, name


def test_each_right_of_the_page_is_withheld_once_and_there_is_no_other() -> None:
    assert {right.name for right in RIGHTS} == {name.partition(" (")[0] for name in REVOKES}
    assert {name for _, _, name in WITHHELD} == set(REVOKES)


def assert_one_sentence(said: str, crm: Crm) -> None:
    """One line, which quotes nothing of a lead."""
    assert len(said.splitlines()) == 1, said
    assert "Traceback" not in said
    assert "doc-" not in said


@pytest.mark.parametrize("withheld", WITHHELD, ids=ids, indirect=True)
def test_the_daemon_says_in_the_sentence_of_the_page_which_right_is_missing(
    withheld: tuple[Crm, Right, str],
) -> None:
    crm, right, _ = withheld
    with pytest.raises(CrmError) as caught:
        work(crm)
    assert type(caught.value) is right.kind, caught.value
    assert right.said in str(caught.value)
    assert_one_sentence(str(caught.value), crm)


@pytest.mark.parametrize("withheld", WITHHELD, ids=ids, indirect=True)
def test_check_names_the_right_that_is_missing(
    withheld: tuple[Crm, Right, str], capsys: pytest.CaptureFixture[str]
) -> None:
    crm, right, name = withheld
    assert run(crm, "check", "--no-calls") in (1, 78)
    err = capsys.readouterr().err
    assert_one_sentence(err, crm)
    column = re.search(r"\((\w+)\)", name)
    if column is not None:
        assert f"permission denied for {column[1]} of sales.leads" in err
    elif right.modes == MODES:
        assert right.said in err
    else:
        assert "permission denied" in err
        assert f"syncd's role needs {name.split()[0]}" in err
    if column is not None or right.modes != MODES:
        assert "`syncd setup web --apply`" in err


@pytest.mark.parametrize(
    "withheld",
    [(right, "poll", name) for right, name in POLLED if "updated_at" not in name],
    ids=ids,
    indirect=True,
)
def test_preview_says_in_one_sentence_which_right_is_missing(
    withheld: tuple[Crm, Right, str], capsys: pytest.CaptureFixture[str]
) -> None:
    crm, right, _ = withheld
    assert run(crm, "preview", "web") in (1, 78)
    err = capsys.readouterr().err
    assert_one_sentence(err, crm)
    assert right.said in err


def test_the_page_shows_the_scripts_by_their_names() -> None:
    assert set(re.findall(r"^### `(\w+)\.sql`", page("dba.md"), re.MULTILINE)) == set(MODES)
