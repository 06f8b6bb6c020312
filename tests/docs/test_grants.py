"""sql/crm/poll-grants.sql gives just what syncd needs: all works with it, and syncd says which part is withheld."""

from __future__ import annotations

import os
import subprocess
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from syncd import assembly
from syncd.cli import main
from syncd.config import Config, load
from syncd.embedded import wheel_bindir
from syncd.ledger import open_ledger
from tests.docs.pages import ROOT
from tests.support.toml import changed, document, text

GRANTS = ROOT / "sql" / "crm" / "poll-grants.sql"
REMOVE = ROOT / "sql" / "crm" / "poll-remove.sql"
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
    """A CRM whose role has what the script gives."""

    admin: str
    role: str
    config: Path

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.admin, autocommit=True) as connection:
            connection.execute(statement.format(role=self.role, database=urlsplit(self.admin).path[1:]).encode())

    def script(self, file: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        given = [word for name, value in variables.items() for word in ("-v", f"{name}={value}")]
        command = [str(wheel_bindir() / "psql"), "-X", "-q", "-d", self.admin, *given, "-f", str(file)]
        return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})

    def grant(self, columns: Sequence[str] = COLUMNS) -> subprocess.CompletedProcess[str]:
        return self.script(GRANTS, role=self.role, schema="sales", table="leads", columns=", ".join(columns))

    @property
    def url(self) -> str:
        """As the role, without its password."""
        return self.admin.replace("//postgres@", f"//{self.role}@")

    def connect(self) -> psycopg.Connection[tuple[object, ...]]:
        """As the role, past syncd."""
        return psycopg.connect(self.url, password=PASSWORD, autocommit=True)

    def loaded(self) -> Config:
        return load(self.config)


@pytest.fixture
def crm(database: str, tmp_path: Path) -> Iterator[Crm]:
    """With the table, the role and its rights; no role is left behind."""
    role = f"syncd_{uuid.uuid4().hex[:12]}"
    made = Crm(database, role, tmp_path / "config.toml")
    (tmp_path / "token").write_text("made-up\n")
    (tmp_path / "crm-password").write_text(PASSWORD + "\n")
    base = document(made.url, f"sqlite:///{tmp_path / 'ledger.db'}")
    made.config.write_text(text(changed(base, {**SYNC, "crm.password_file": "crm-password"})))
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(TABLES)
    done = made.grant()
    assert (done.returncode, done.stderr) == (0, "")
    made.execute(f"ALTER ROLE {role} PASSWORD '{PASSWORD}'")
    yield made
    with psycopg.connect(database, autocommit=True) as connection:
        if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (role,)).fetchone() is not None:
            connection.execute(f"DROP OWNED BY {role}".encode())
            connection.execute(f"DROP ROLE {role}".encode())


def run(crm: Crm, *arguments: str) -> int:
    return main([*arguments, "--config", str(crm.config)])


# -- with the rights -----------------------------------------------------------------------------------------


def test_check_finds_nothing_wrong_with_the_rights_of_the_script(crm: Crm, capsys: pytest.CaptureFixture[str]) -> None:
    status = run(crm, "check", "--no-calls")
    out, err = capsys.readouterr()
    assert (status, err) == (0, "")
    assert "warning" not in out


def test_preview_shows_records_with_the_rights_of_the_script(crm: Crm, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(crm, "preview", "web", "-n", "9") == 0
    assert capsys.readouterr().out.count("would be sent as") == 4


def test_a_turn_of_the_daemon_captures_sweeps_and_reads_rows_with_the_rights_of_the_script(crm: Crm) -> None:
    config = crm.loaded()
    ledger = open_ledger(config, crm.config, purpose="test")
    connection = assembly.crm_connection(config, crm.config, "test")
    try:
        (intake,) = assembly.intakes(config, ledger, connection, time.time)
        result = intake.run_once()
        assert (result.trouble, result.new) == (None, 4)
        source = assembly.source(config.sync[0], connection)
        source.resume("beginning", "2100-01-01 00:00:00+00")
        assert source.sweep(None, 10) == []
        fieldmap = assembly.field_map(config, config.sync[0])
        rows = assembly.reader(config.sync[0], fieldmap.columns, connection).read(["1", "2", "5"])
        assert sorted(row[0] for row in rows) == ["1", "2"]
    finally:
        connection.close()
        ledger.close()


@pytest.mark.parametrize(
    "statement",
    [
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
    ],
)
def test_the_role_may_do_nothing_else_even_when_it_may_write(crm: Crm, statement: str) -> None:
    with crm.connect() as connection:
        connection.execute("SET default_transaction_read_only = off")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement.encode())


def test_the_role_reads_only_and_gives_up_in_time_whoever_uses_it(crm: Crm) -> None:
    with crm.connect() as connection:
        settings = {
            name: connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
            for name in (
                "default_transaction_read_only",
                "statement_timeout",
                "lock_timeout",
                "idle_in_transaction_session_timeout",
            )
        }
    assert list(settings.values()) == [("on",), ("30s",), ("5s",), ("1min",)]


def test_the_role_may_have_four_connections_and_no_more(crm: Crm) -> None:
    opened = [crm.connect() for _ in range(4)]
    try:
        with pytest.raises(psycopg.OperationalError, match="too many connections for role"):
            crm.connect()
    finally:
        for connection in opened:
            connection.close()


# -- the scripts themselves ----------------------------------------------------------------------------------


def test_the_script_may_be_run_again_for_more_columns(crm: Crm) -> None:
    done = crm.grant([*COLUMNS, "salary"])
    assert (done.returncode, done.stderr) == (0, "")
    with crm.connect() as connection:
        connection.execute("SELECT salary FROM sales.leads")


@pytest.mark.parametrize(("missing", "said"), [("table", "Say which table"), ("columns", "Say which columns")])
def test_the_script_says_what_it_must_be_told_and_changes_nothing(crm: Crm, missing: str, said: str) -> None:
    variables = {"role": f"{crm.role}_x", "schema": "sales", "table": "leads", "columns": "id"}
    del variables[missing]
    done = crm.script(GRANTS, **variables)
    assert done.returncode != 0
    assert said in done.stderr
    with psycopg.connect(crm.admin) as connection:
        assert connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (f"{crm.role}_x",)).fetchone() is None


def test_a_wrong_column_leaves_no_half_made_role(crm: Crm) -> None:
    done = crm.script(GRANTS, role=f"{crm.role}_x", schema="sales", table="leads", columns="id, nonsense")
    assert done.returncode != 0
    assert "nonsense" in done.stderr
    with psycopg.connect(crm.admin) as connection:
        assert connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (f"{crm.role}_x",)).fetchone() is None


def test_the_removal_leaves_neither_role_nor_rights(crm: Crm) -> None:
    done = crm.script(REMOVE, role=crm.role)
    assert (done.returncode, done.stderr) == (0, "")
    with psycopg.connect(crm.admin) as connection:
        assert connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (crm.role,)).fetchone() is None


# -- without one of them -------------------------------------------------------------------------------------

WITHHELD = [
    ("ALTER ROLE {role} NOLOGIN", "not permitted to log in", "{role}"),
    ("REVOKE CONNECT ON DATABASE {database} FROM PUBLIC, {role}", "permission denied for database", "{database}"),
    ("REVOKE USAGE ON SCHEMA sales FROM {role}", "permission denied for schema", "sales"),
    *((f"REVOKE SELECT ({column}) ON sales.leads FROM {{role}}", "permission denied", "leads") for column in COLUMNS),
]
IDS = ["login", "connect", "usage", *COLUMNS]


def assert_one_sentence(err: str, crm: Crm, said: str, names: str) -> None:
    """One line, which names the thing and the way out, and quotes nothing of a lead."""
    lines = err.splitlines()
    assert len(lines) == 1, err
    assert said in lines[0]
    assert names.format(role=crm.role, database=urlsplit(crm.admin).path[1:]) in lines[0]
    assert "Traceback" not in err
    assert "doc-" not in err


@pytest.mark.parametrize(("revoke", "said", "names"), WITHHELD, ids=IDS)
def test_check_says_in_one_sentence_which_right_is_missing(
    crm: Crm, capsys: pytest.CaptureFixture[str], revoke: str, said: str, names: str
) -> None:
    crm.execute(revoke)
    assert run(crm, "check", "--no-calls") in (1, 78)
    assert_one_sentence(capsys.readouterr().err, crm, said, names)


@pytest.mark.parametrize("column", [column for column in COLUMNS if column != "consent"])
def test_check_names_the_column_that_it_may_not_read(crm: Crm, capsys: pytest.CaptureFixture[str], column: str) -> None:
    crm.execute(f"REVOKE SELECT ({column}) ON sales.leads FROM {crm.role}")
    assert run(crm, "check", "--no-calls") == 78
    assert_one_sentence(
        capsys.readouterr().err, crm, f"permission denied for {column} of sales.leads", "poll-grants.sql"
    )


@pytest.mark.parametrize(("revoke", "said", "names"), [case for case in WITHHELD if "updated_at" not in case[0]])
def test_preview_says_in_one_sentence_which_right_is_missing(
    crm: Crm, capsys: pytest.CaptureFixture[str], revoke: str, said: str, names: str
) -> None:
    crm.execute(revoke)
    assert run(crm, "preview", "web") in (1, 78)
    assert_one_sentence(capsys.readouterr().err, crm, said, names)


@pytest.mark.parametrize(
    ("revoke", "said", "names"), [case for case in WITHHELD if not any(f"({c})" in case[0] for c in COLUMNS[3:])]
)
def test_a_turn_of_the_daemon_ends_in_one_sentence_and_captures_nothing(
    crm: Crm, revoke: str, said: str, names: str
) -> None:
    crm.execute(revoke)
    config = crm.loaded()
    ledger = open_ledger(config, crm.config, purpose="test")
    connection = assembly.crm_connection(config, crm.config, "test")
    try:
        (intake,) = assembly.intakes(config, ledger, connection, time.time)
        result = intake.run_once()
        assert result.new == 0
        assert_one_sentence(str(result.trouble), crm, said, names)
    finally:
        connection.close()
        ledger.close()
