"""Whatever is wrong, a command says it in a sentence that names the thing and the way out; never a traceback."""

from __future__ import annotations

import os
import socket
import sqlite3
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from syncd.simulator import Fault
from tests.cli.conftest import Run, Said
from tests.support.site import Site
from tests.support.toml import ABSENT


def sentences(said: Said, status: int) -> list[str]:
    """The lines that a failed command said on standard error."""
    assert said.status == status, said
    lines = said.err.splitlines()
    assert lines
    assert all(line.startswith(("syncd: ", "error ", "Usage", "Try", "Error", "\n")) or not line for line in lines), (
        lines
    )
    return lines


def check_says(run: Run, level: str, *words: str, status: int) -> None:
    """`syncd check --no-calls` ends with `status` and has one finding of `level`, with all `words` in it."""
    said = run("check", "--no-calls", "--json")
    assert said.status == status, said
    found = [finding for finding in said.json if finding["level"] == level]
    assert len(found) == 1, said.json
    for word in words:
        assert word in found[0]["sentence"], found
    shown = run("check", "--no-calls")
    assert shown.status == status
    assert found[0]["sentence"] in (shown.err if level == "error" else shown.out)


# -- usage and the file ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ("fly",),
        ("status", "--fly"),
        ("leads",),
        ("leads", "web", "--state", "gone"),
        ("leads", "web", "--limit", "0"),
        ("trace", "web"),
        ("preview", "web", "-n", "0"),
        ("simulator", "--port", "x"),
        ("simulator", "--set", "mixed=perhaps"),
        ("simulator", "--fault", "explode"),
    ],
)
def test_a_command_used_wrongly_exits_with_2(run: Run, arguments: tuple[str, ...]) -> None:
    sentences(run(*arguments), 2)


COMMANDS = [
    ("check",),
    ("check", "--offline"),
    ("preview", "web"),
    ("migrate",),
    ("status",),
    ("leads", "web"),
    ("trace", "web", "1"),
    ("calls",),
    ("run",),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_says_all_faults_of_the_file_and_exits_with_78(
    run: Run, site: Site, command: tuple[str, ...]
) -> None:
    site.write(wolkvox__licenses="five", crm__urll="x")
    assert sentences(run(*command), 78) == [
        f"syncd: {site.config}: crm.urll: unknown key; did you mean url?",
        f'syncd: {site.config}: wolkvox.licenses = "five": must be a whole number, without quotes',
    ]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("place", ["before", "after"])
def test_each_command_says_that_the_file_is_missing(
    run: Run, tmp_path: Path, command: tuple[str, ...], place: str
) -> None:
    option = ("--config", f"{tmp_path}/none.toml")
    said = run(*option, *command) if place == "before" else run(*command, *option)
    (line,) = sentences(said, 78)
    way_out = "give its path with --config, or copy config.example.toml there"
    assert line == f"syncd: {tmp_path}/none.toml: there is no such file; {way_out}"


@pytest.mark.parametrize("command", [("check",), ("check", "--offline"), ("run",)])
def test_a_missing_token_is_a_configuration_error(run: Run, site: Site, command: tuple[str, ...]) -> None:
    (site.folder / "token").unlink()
    said = run(*command)
    assert said.status == 78
    assert f'wolkvox.token_file = "token": there is no {site.folder}/token' in said.err


def test_a_missing_password_file_is_a_configuration_error(run: Run, site: Site) -> None:
    site.write(crm__password_file="crm-password")
    for command in (("check",), ("preview", "web"), ("run",)):
        said = run(*command)
        assert said.status == 78
        assert f'crm.password_file = "crm-password": there is no {site.folder}/crm-password' in said.err


def test_an_unknown_sync_is_said_with_those_there_are(run: Run) -> None:
    assert sentences(run("preview", "chat"), 1) == ['syncd: The configuration has no sync "chat". It has: web.']


# -- the CRM -----------------------------------------------------------------------------------------------------


def test_a_site_that_is_right_passes(run: Run) -> None:
    said = run("check", "--json")
    assert (said.status, said.err) == (0, "")
    assert {finding["level"] for finding in said.json} == {"ok"}
    assert set(said.json[0]) == {"level", "subject", "sentence"}
    assert {finding["subject"] for finding in said.json} >= {'sync "web"', "ledger", "wolkvox", "campaign 12345"}


def test_a_missing_column_is_said_with_those_there_are(run: Run, site: Site) -> None:
    site.write(sync__0__fields__email="mail")
    check_says(run, "error", "public.leads has no column mail", "id, document, name, mobile, email", status=78)


def test_a_missing_key_is_said(run: Run, site: Site) -> None:
    site.write(sync__0__key="uid")
    check_says(run, "error", "public.leads has no column uid", "key", status=78)


def test_a_missing_table_is_said(run: Run, site: Site) -> None:
    site.write(sync__0__table="crm.leads")
    check_says(run, "error", "no table crm.leads", 'sync "web"', "Correct sync.table", status=78)


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("status = 'new", ("does not understand", "Correct `where`")),
        ("consent AND", ("does not understand", "Correct `where`")),
        ("state = 'new'", ("no such column", "state")),
        ("consent = 5", ("does not understand", "Correct `where`")),
        ("hot(name)", ("does not understand", "hot")),
        ("1 / (id - id) = 0", ("does not fit", "Correct `where`")),
    ],
)
def test_a_condition_that_the_crm_does_not_take_is_said(
    run: Run, site: Site, where: str, words: tuple[str, ...]
) -> None:
    site.insert(1)
    site.write(sync__0__where=where)
    check_says(run, "error", 'sync "web"', *words, status=78)


def test_a_key_that_is_not_unique_is_said(run: Run, site: Site) -> None:
    site.execute("INSERT INTO leads (document) VALUES ('7'), ('7')")
    site.write(sync__0__key="document")
    check_says(run, "error", "key document is not unique", "public.leads", status=78)


def test_a_key_that_nothing_keeps_unique_is_a_warning(run: Run, site: Site) -> None:
    site.write(sync__0__key="document")
    check_says(run, "warning", "key document has no unique index", status=0)


def test_a_watermark_without_an_index_is_a_warning_with_the_statement_that_helps(run: Run, site: Site) -> None:
    site.execute("DROP INDEX leads_updated_at_idx")
    check_says(
        run, "warning", "updated_at has no index", "CREATE INDEX CONCURRENTLY ON public.leads (updated_at)", status=0
    )


def test_rows_without_a_watermark_are_a_warning(run: Run, site: Site) -> None:
    site.execute("ALTER TABLE leads ALTER updated_at DROP NOT NULL")
    site.execute("INSERT INTO leads (updated_at) VALUES (NULL)")
    check_says(run, "warning", "some rows have no updated_at", status=0)


def test_a_watermark_that_is_none_is_said(run: Run, site: Site) -> None:
    site.write(sync__0__watermark_column="email")
    check_says(run, "error", "email has type text", "timestamp", status=78)


def test_an_instant_as_the_start_of_a_number_is_said(run: Run, site: Site) -> None:
    site.write(sync__0__watermark_column="id", sync__0__start="2026-11-01T00:00:00Z")
    check_says(run, "error", "start is an instant", "id is a number", status=78)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_database_that_cannot_be_reached_is_said(run: Run, site: Site) -> None:
    port = free_port()
    site.write(crm__url=f"postgresql://syncd@127.0.0.1:{port}/crm")
    check_says(run, "error", "cannot be reached", str(port), "Check crm.url", status=1)
    said = run("preview", "web")
    assert said.status == 1
    assert "Check crm.url" in said.err


def test_a_parameter_that_libpq_does_not_know_is_said(run: Run, site: Site) -> None:
    site.write(crm__url=site.crm + "?sslmod=require")
    check_says(run, "error", "sslmod", "Correct crm.url", status=78)


@pytest.fixture
def role(database: str) -> Iterator[str]:
    """A role with a password and no right to anything."""
    name = f"syncd_{uuid.uuid4().hex}"
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'c4nary-made-up'").format(sql.Identifier(name)))
        yield name
        admin.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
        admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def test_a_bad_password_is_said_and_not_shown(run: Run, site: Site, role: str) -> None:
    site.write(crm__url=site.crm.replace("postgres@", f"{role}@"), crm__password_file="password")
    (site.folder / "password").write_text("wr0ng-canary\n")
    check_says(run, "error", "password authentication failed", role, "Check crm.url", status=1)
    said = run("check", "--no-calls")
    assert "canary" not in said.out + said.err


@pytest.mark.parametrize("withheld", ["id", "updated_at", "document", "consent", ""])
def test_a_withheld_right_is_said(run: Run, site: Site, role: str, withheld: str) -> None:
    site.write(
        crm__url=site.crm.replace("postgres@", f"{role}@"), crm__password_file="password", sync__0__where="consent"
    )
    (site.folder / "password").write_text("c4nary-made-up\n")
    columns = [
        name for name in ("id", "document", "name", "mobile", "email", "consent", "updated_at") if name != withheld
    ]
    site.execute(f'GRANT SELECT ({", ".join(columns)}) ON leads TO "{role}"')
    if withheld:
        check_says(run, "error", "permission denied for", "rant", "to syncd's role", status=78)
    else:
        assert run("check", "--no-calls").status == 0


def test_every_sync_is_looked_at_even_after_one_that_is_wrong(run: Run, site: Site) -> None:
    first = site.document["sync"][0]
    site.write(sync=[{**first, "name": "a", "table": "gone"}, first, {**first, "name": "b", "key": "gone"}])
    said = run("check", "--no-calls", "--json")
    levels = {finding["subject"]: finding["level"] for finding in said.json}
    assert said.status == 78
    assert (levels['sync "a"'], levels['sync "web"'], levels['sync "b"']) == ("error", "ok", "error")


# -- wolkvox -----------------------------------------------------------------------------------------------------


def wolkvox_says(run: Run, site: Site, *words: str, status: int) -> None:
    """`syncd check` has one error, of wolkvox, with all `words` in it."""
    said = run("check", "--json")
    (found,) = [finding for finding in said.json if finding["level"] == "error"]
    assert said.status == status
    for word in words:
        assert word in found["subject"] + ": " + found["sentence"], found
    assert "c4nary" not in said.out + said.err


def test_a_bad_token_is_said_and_not_shown(run: Run, site: Site) -> None:
    (site.folder / "token").write_text("c4nary-token\n")
    wolkvox_says(run, site, "refused the token", "wolkvox.token_file", status=1)


def test_a_token_that_cannot_be_sent_is_said(run: Run, site: Site) -> None:
    (site.folder / "token").write_text("c4nary-tökén\n")
    said = run("check")
    assert said.status == 78
    assert "a token has only ASCII" in said.err
    assert "c4nary" not in said.err


def test_a_wolkvox_that_cannot_be_reached_is_said(run: Run, site: Site) -> None:
    site.write(wolkvox__base_url=f"http://127.0.0.1:{free_port()}")
    wolkvox_says(run, site, "could not be reached", status=1)


def test_a_wolkvox_that_answers_nonsense_is_said(run: Run, site: Site) -> None:
    site.simulator.script(Fault("reply", api="token_info", status=502, body="<html>Bad Gateway c4nary</html>"))
    wolkvox_says(run, site, "wolkvox", status=1)


def test_a_campaign_that_does_not_exist_is_said(run: Run, site: Site) -> None:
    site.write(sync__0__campaign__id="99")
    wolkvox_says(run, site, "campaign 99", "no such campaign", status=78)


def test_a_campaign_of_another_type_is_said(run: Run, site: Site) -> None:
    site.write(sync__0__campaign__id="12346")
    wolkvox_says(run, site, "campaign 12346", "preview", status=78)


def test_a_check_without_calls_spends_none(run: Run, site: Site) -> None:
    assert run("check", "--no-calls").status == 0
    assert site.simulator.state.calls() == {}
    assert run("check").status == 0
    assert site.simulator.state.calls() == {"token_info": 1, "campaigns": 1}


def test_a_short_time_for_a_call_is_a_warning(run: Run, site: Site) -> None:
    site.write(wolkvox__call_timeout_secs=30)
    check_says(run, "warning", "= 30", "75 is a good value", status=0)


# -- the ledger --------------------------------------------------------------------------------------------------

ON_LEDGER = [("status",), ("leads", "web"), ("trace", "web", "1"), ("calls",)]


@pytest.mark.parametrize("command", ON_LEDGER)
def test_a_ledger_that_is_not_there_is_said_and_nothing_is_made(run: Run, site: Site, command: tuple[str, ...]) -> None:
    before = sorted(site.folder.iterdir())
    (line,) = sentences(run(*command), 78)
    assert line == f"syncd: There is no ledger at {site.ledger_file} yet. `syncd run` makes it."
    assert sorted(site.folder.iterdir()) == before


@pytest.mark.parametrize("command", [*ON_LEDGER, ("migrate",), ("run",)])
def test_a_folder_that_does_not_exist_is_said(run: Run, site: Site, command: tuple[str, ...]) -> None:
    site.write(ledger__url=f"sqlite:///{site.folder}/none/ledger.db")
    (line,) = [line for line in run(*command).err.splitlines() if line.startswith("syncd: ")]
    assert line == f"syncd: The ledger's folder {site.folder}/none does not exist. Make it, writable by syncd alone."


def test_check_looks_at_the_ledger_and_makes_none(run: Run, site: Site) -> None:
    before = sorted(site.folder.iterdir())
    assert run("check", "--no-calls").status == 0
    assert sorted(site.folder.iterdir()) == before


def test_a_folder_that_may_not_be_written_is_said(run: Run, site: Site) -> None:
    folder = site.folder / "closed"
    folder.mkdir(mode=0o500)
    if os.access(folder, os.W_OK):
        pytest.skip("this user may write everywhere")
    site.write(ledger__url=f"sqlite:///{folder}/ledger.db")
    said = run("run")
    assert said.status == 1
    assert f"The ledger {folder}/ledger.db cannot be opened: Permission denied." in said.err


@pytest.mark.parametrize("command", [*ON_LEDGER, ("migrate",), ("run",), ("check", "--no-calls")])
def test_a_ledger_of_a_newer_syncd_is_refused(run: Run, site: Site, command: tuple[str, ...]) -> None:
    assert run("migrate").status == 0
    with sqlite3.connect(site.ledger_file) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    said = run(*command)
    assert said.status == 78
    assert "has version 9999, newer than this syncd, which knows" in said.err
    assert "Install the newer syncd again." in said.err


@pytest.mark.parametrize("command", [*ON_LEDGER, ("migrate",), ("run",), ("check", "--no-calls")])
def test_a_file_that_is_no_ledger_is_refused_and_left_alone(run: Run, site: Site, command: tuple[str, ...]) -> None:
    with sqlite3.connect(site.ledger_file) as connection:
        connection.execute("CREATE TABLE recipes (name text)")
    connection.close()
    said = run(*command)
    assert said.status == 78
    assert "is a database of something else" in said.err


@pytest.mark.parametrize("command", [*ON_LEDGER, ("migrate",), ("run",), ("check", "--no-calls")])
def test_a_file_that_is_no_database_is_refused_and_left_alone(run: Run, site: Site, command: tuple[str, ...]) -> None:
    site.ledger_file.write_text("Dear diary, today nobody was called. " * 100)
    said = run(*command)
    assert said.status in (1, 78)
    assert str(site.ledger_file) in said.err
    assert site.ledger_file.read_text().startswith("Dear diary")


@pytest.mark.parametrize("command", [("status",), ("leads", "web"), ("run",), ("migrate",)])
def test_another_hash_key_is_refused(run: Run, site: Site, command: tuple[str, ...]) -> None:
    assert run("migrate").status == 0
    key = site.folder / "ledger.db.hash-key"
    key.write_text("another-key-that-is-long-enough")
    said = run(*command)
    if command in (("run",), ("migrate",)):
        assert said.status == 78
        assert "was written with another hash key" in said.err
    else:
        assert said.status in (0, 1)  # reading needs no key


def test_a_postgres_ledger_that_cannot_be_reached_is_said(run: Run, site: Site) -> None:
    port = free_port()
    site.write(ledger={"url": f"postgresql://syncd@127.0.0.1:{port}/ledger", "hash_key_file": "hash-key"})
    for command in (*ON_LEDGER, ("migrate",)):
        said = run(*command)
        assert said.status == 1
        assert f"postgresql://syncd@127.0.0.1:{port}/ledger" in said.err
    check_says(run, "error", "does not answer", str(port), status=1)


def test_a_postgres_ledgers_bad_password_is_not_shown(run: Run, site: Site, role: str) -> None:
    (site.folder / "password").write_text("wr0ng-canary\n")
    site.write(
        ledger={
            "url": site.crm.replace("postgres@", f"{role}@"),
            "hash_key_file": "hash-key",
            "password_file": "password",
        }
    )
    said = run("status")
    assert said.status == 1
    assert role in said.err
    assert "canary" not in said.err + said.out


def test_a_key_that_is_too_short_is_said_and_not_shown(run: Run, site: Site) -> None:
    (site.folder / "short").write_text("c4nary")
    site.write(ledger__hash_key_file="short")
    (line,) = sentences(run("migrate"), 78)
    assert "hash_key_file" in line
    assert "c4nary" not in line


def test_a_port_in_use_is_said(run: Run, site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        site.write(http__listen=f"127.0.0.1:{port}")
        said = run("run")
    assert said.status == 1
    (line,) = [line for line in said.err.splitlines() if line.startswith("syncd: ")]
    assert line == (
        f"syncd: http.listen = 127.0.0.1:{port} cannot be used: Address already in use. Choose another port, or turn "
        "it off with an empty text."
    )


def test_a_simulators_port_in_use_is_said(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = run("simulator", "--port", str(taken.getsockname()[1]))
    assert said.status == 1
    assert "Address already in use" in said.out + said.err
    assert "--port" in said.out + said.err


def test_absent_tables_are_said_before_anything_is_opened(run: Run, site: Site) -> None:
    site.write(sync=[], wolkvox=ABSENT)
    assert run("run").status == 78
    assert not site.ledger_file.exists()
