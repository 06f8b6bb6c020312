"""`syncd setup`: what it prints, what it does to the CRM, and what it says where it cannot."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import socket
import subprocess
import sys
import termios
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from syncd import setup
from syncd.embedded import wheel_bindir
from tests.cli.conftest import Run
from tests.support.site import Site

WHERE = "consent AND name <> 'email'"
COLUMNS = {"id", "updated_at", "document", "name", "mobile", "consent"}
FIELDS = {"customer_id": "document", "customer_name": "name", "tel1": "mobile"}


@pytest.fixture
def role(site: Site) -> Iterator[str]:
    """The role of crm.url, which is not there yet; gone afterwards, with all that it has."""
    name = f"syncd_{uuid.uuid4().hex[:12]}"
    site.write(
        crm__url=site.crm.replace("postgres@", f"{name}@"),
        sync__0__where=WHERE,
        sync__0__fields=FIELDS,
    )
    yield name
    forget(site, name)


def forget(site: Site, *roles: str) -> None:
    with psycopg.connect(site.crm, autocommit=True) as admin:
        for each in (*roles, *(f"{name}_dba" for name in roles)):
            if admin.execute("SELECT FROM pg_roles WHERE rolname = %s", (each,)).fetchone():
                admin.execute(sql.SQL("DROP OWNED BY {0} CASCADE; DROP ROLE {0}").format(sql.Identifier(each)))
        admin.execute("DROP SCHEMA IF EXISTS syncd_outbox CASCADE")
        admin.execute(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()"
        )


@pytest.fixture
def dba(site: Site, role: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Another role, which may do nothing yet, and whose password is in libpq's own file."""
    passwords = tmp_path / "pgpass"
    passwords.write_text(f"*:*:*:{role}_dba:made-up\n")
    passwords.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(passwords))
    site.execute(f"CREATE ROLE {role}_dba LOGIN PASSWORD 'made-up'; GRANT USAGE ON SCHEMA public TO {role}_dba")
    return f"{role}_dba"


def use(site: Site, mode: str) -> None:
    site.write(sync__0__capture=mode)


def ask(site: Site, query: str, *values: object) -> list[tuple[object, ...]]:
    with psycopg.connect(site.crm) as admin:
        return admin.execute(query.encode(), values).fetchall()


def readable(site: Site, role: str, table: str = "leads") -> set[str]:
    """The columns that were granted to the role."""
    rows = ask(
        site,
        "SELECT a.attname FROM pg_attribute a, aclexplode(a.attacl) x WHERE a.attrelid = to_regclass(%s)"
        " AND x.grantee = to_regrole(%s) AND x.privilege_type = 'SELECT'",
        table,
        role,
    )
    return {str(name) for (name,) in rows}


def there(site: Site, role: str) -> dict[str, object]:
    """All that a setup may have left in this database and its server."""
    with psycopg.connect(site.crm, row_factory=dict_row) as admin:
        found = admin.execute(
            """
            SELECT (SELECT count(*) FROM pg_roles WHERE rolname = %(role)s) AS roles,
              (SELECT count(*) FROM pg_namespace WHERE nspname = 'syncd_outbox') AS schemas,
              (SELECT array_agg(tgname::text ORDER BY 1) FROM pg_trigger
               WHERE tgrelid = 'leads'::regclass AND NOT tgisinternal) AS triggers,
              (SELECT array_agg(pubname::text) FROM pg_publication) AS publications,
              (SELECT array_agg(slot_name::text) FROM pg_replication_slots
               WHERE database = current_database()) AS slots,
              (SELECT rolreplication FROM pg_roles WHERE rolname = %(role)s) AS replication,
              (SELECT array_agg(a.attname::text || a.attacl::text ORDER BY 1) FROM pg_attribute a
               WHERE a.attrelid = 'leads'::regclass AND a.attacl IS NOT NULL) AS rights
            """,
            {"role": role},
        ).fetchone()
    assert found is not None
    return found


def psql(site: Site, text: str) -> subprocess.CompletedProcess[str]:
    command = [str(wheel_bindir() / "psql"), "-X", "-q", "-d", site.crm]
    return subprocess.run(command, input=text, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})


# -- how it is used --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ("setup",),
        ("setup", "web"),
        ("setup", "web", "--print", "--apply"),
        ("setup", "web", "--apply", "--remove"),
        ("setup", "web", "--print", "--apply", "--remove"),
        ("setup", "web", "--print", "--as", "postgres"),
        ("setup", "web", "--print", "--ask-password"),
        ("setup", "web", "--password", "x"),
        ("setup", "web", "--apply", "--ask-password"),  # on no terminal
    ],
)
def test_a_wrong_use_is_told_and_does_nothing(run: Run, site: Site, role: str, arguments: tuple[str, ...]) -> None:
    said = run(*arguments)
    assert said.status == 2
    assert said.out == ""
    assert said.err.startswith("Usage: syncd setup")
    assert there(site, role)["roles"] == 0


@pytest.mark.parametrize("flag", ["--print", "--apply", "--remove"])
def test_a_sync_that_is_not_there_is_said_with_those_that_are(run: Run, flag: str) -> None:
    said = run("setup", "chat", flag)
    assert (said.status, said.out) == (1, "")
    assert said.err == 'syncd: The configuration has no sync "chat". It has: web.\n'


@pytest.mark.parametrize("flag", ["--print", "--apply", "--remove"])
def test_an_address_without_a_user_is_said_with_the_rule(run: Run, site: Site, flag: str) -> None:
    site.write(crm__url=site.crm.replace("postgres@", ""))
    said = run("setup", "web", flag)
    assert said.status == 78
    assert "crm.url" in said.err
    assert "must name the user that syncd logs in as, as in postgresql://syncd@host:5432/database" in said.err


@pytest.mark.parametrize("flag", ["--apply", "--remove"])
def test_a_server_that_does_not_answer_is_said(run: Run, site: Site, flag: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        site.write(crm__url=f"postgresql://syncd@127.0.0.1:{port}/crm")
        said = run("setup", "web", flag)
    assert said.status == 1
    assert "cannot be reached" in said.err
    assert str(port) in said.err
    assert len(said.err.splitlines()) == 1


def test_a_name_that_would_end_a_quotation_of_the_script_is_refused(run: Run, site: Site) -> None:
    site.write(sync__0__table="public.a$syncd$b")
    said = run("setup", "web", "--print")
    assert (said.status, said.out) == (78, "")
    assert 'setup cannot write the name "a$syncd$b"' in said.err


# -- print -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["poll", "listen", "slot"])
@pytest.mark.parametrize("flags", [("--print",), ("--remove", "--print")], ids=["install", "remove"])
def test_printing_needs_no_server_and_gives_one_transaction(
    run: Run, site: Site, mode: str, flags: tuple[str, ...]
) -> None:
    site.write(crm__url="postgresql://syncd@nowhere.invalid/crm", sync__0__capture=mode)
    said = run("setup", "web", *flags)
    assert (said.status, said.err) == (0, "")
    assert said.out.splitlines()[0] == r"\set ON_ERROR_STOP on"
    assert len(re.findall(r"^BEGIN;$", said.out, re.MULTILINE)) == 1
    assert len(re.findall(r"^COMMIT;$", said.out, re.MULTILINE)) == 1
    assert re.findall(r"(?<![\w\[])\{\w+\}", said.out) == []


@pytest.mark.parametrize("mode", ["poll", "listen", "slot"])
def test_what_is_printed_does_in_psql_what_apply_does(run: Run, site: Site, role: str, mode: str) -> None:
    use(site, mode)
    done = psql(site, run("setup", "web", "--print").out)
    assert (done.returncode, "ERROR" in done.stderr) == (0, False), done.stderr
    printed = there(site, role)
    done = psql(site, run("setup", "web", "--remove", "--print").out)
    assert (done.returncode, "ERROR" in done.stderr) == (0, False), done.stderr
    bare = there(site, role)
    assert (bare["rights"], bare["triggers"], bare["publications"], bare["slots"]) == (None, None, None, None)
    assert run("setup", "web", "--apply", "--as", "postgres").status == 0
    assert there(site, role) == printed
    assert run("setup", "web", "--remove", "--as", "postgres").status == 0
    assert there(site, role) == bare


# -- apply and remove ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["poll", "listen", "slot"])
def test_applying_twice_is_harmless_and_tells_what_is_there(run: Run, site: Site, role: str, mode: str) -> None:
    use(site, mode)
    first = run("setup", "web", "--apply", "--as", "postgres")
    assert (first.status, first.err) == (0, "")
    assert f"Role {role} was made" in first.out
    once = there(site, role)
    second = run("setup", "web", "--apply", "--as", "postgres")
    assert (second.status, second.err) == (0, "")
    assert "was made" not in second.out
    assert f"Role {role} may read" in second.out
    assert there(site, role) == once
    assert readable(site, role) == COLUMNS


@pytest.mark.parametrize("mode", ["poll", "listen", "slot"])
def test_removing_takes_back_all_but_the_role_and_is_harmless_twice(run: Run, site: Site, role: str, mode: str) -> None:
    before = there(site, role)
    use(site, mode)
    assert run("setup", "web", "--apply", "--as", "postgres").status == 0
    for _ in range(2):
        said = run("setup", "web", "--remove", "--as", "postgres")
        assert (said.status, said.err) == (0, "")
        assert f"Role {role} stays: it may serve other syncs" in said.out
        after = there(site, role)
        assert {**after, "roles": 0, "replication": None} == before


def test_removing_where_nothing_was_made_is_harmless(run: Run, site: Site, role: str) -> None:
    said = run("setup", "web", "--remove", "--as", "postgres")
    assert (said.status, said.err) == (0, "")
    assert f"There is no role {role}." in said.out


def test_another_sync_of_the_same_table_keeps_its_columns(run: Run, site: Site, role: str) -> None:
    first = site.document["sync"][0]
    other = {**first, "name": "other", "fields": {**FIELDS, "email": "email"}, "where": "consent"}
    site.write(sync=[first, other])
    for name in ("web", "other"):
        assert run("setup", name, "--apply", "--as", "postgres").status == 0
    assert readable(site, role) == COLUMNS | {"email"}
    assert run("setup", "other", "--remove", "--as", "postgres").status == 0
    assert readable(site, role) == COLUMNS
    assert run("setup", "web", "--remove", "--as", "postgres").status == 0
    assert readable(site, role) == {"consent", "id", "updated_at", "document", "name", "mobile"}


def test_an_owner_who_may_not_make_roles_can_set_up_for_a_role_that_is_there(
    run: Run, site: Site, role: str, dba: str
) -> None:
    site.execute(f"CREATE ROLE {role} LOGIN; ALTER TABLE leads OWNER TO {dba}")
    said = run("setup", "web", "--apply", "--as", dba)
    assert (said.status, said.err) == (0, "")
    assert f"{dba} may not alter it" in said.out
    assert readable(site, role) == COLUMNS


def test_one_who_may_not_grant_is_told_who_may_and_nothing_is_done(run: Run, site: Site, role: str, dba: str) -> None:
    site.execute(f"CREATE ROLE {role} LOGIN")
    said = run("setup", "web", "--apply", "--as", dba)
    assert (said.status, said.out) == (1, "")
    assert f"Role {role} may not read" in said.err
    assert "Run this as the owner of the table, postgres, or as a superuser." in said.err
    assert len(said.err.splitlines()) == 1
    assert there(site, role)["rights"] is None


def test_one_who_may_not_make_the_role_is_told(run: Run, site: Site, role: str, dba: str) -> None:
    said = run("setup", "web", "--apply", "--as", dba)
    assert (said.status, said.out) == (1, "")
    assert "not this user's to do: permission denied to create role" in said.err
    assert "--as" in said.err
    assert there(site, role)["roles"] == 0


@pytest.mark.parametrize("mode", ["poll", "listen", "slot"])
def test_a_missing_table_or_column_is_said_and_no_role_stays(run: Run, site: Site, role: str, mode: str) -> None:
    site.write(sync__0__capture=mode, sync__0__table="sales.leads")
    said = run("setup", "web", "--apply", "--as", "postgres")
    assert (said.status, said.out) == (1, "")
    assert 'has no table "sales"."leads"' in said.err
    site.write(sync__0__table="leads", sync__0__key="uid")
    said = run("setup", "web", "--apply", "--as", "postgres")
    assert (said.status, said.out) == (1, "")
    assert '"public"."leads" has no column uid.' in said.err
    assert there(site, role)["roles"] == 0


@pytest.mark.parametrize("mode", ["listen", "slot"])
def test_a_view_can_only_be_polled_and_setup_says_the_way_out(run: Run, site: Site, role: str, mode: str) -> None:
    site.execute("CREATE VIEW shown AS SELECT * FROM leads")
    site.write(sync__0__capture=mode, sync__0__table="shown")
    said = run("setup", "web", "--apply", "--as", "postgres")
    assert (said.status, said.out) == (1, "")
    assert "view" in said.err
    assert 'capture = "poll"' in said.err
    assert there(site, role)["roles"] == 0
    use(site, "poll")
    assert run("setup", "web", "--apply", "--as", "postgres").status == 0
    assert readable(site, role, "shown") == COLUMNS


@pytest.mark.parametrize("more", ["owner", "superuser"])
def test_a_role_that_may_do_more_is_told_of_and_not_restricted(run: Run, site: Site, role: str, more: str) -> None:
    site.execute(
        f"CREATE ROLE {role} LOGIN; ALTER TABLE leads OWNER TO {role}"
        if more == "owner"
        else f"CREATE ROLE {role} SUPERUSER LOGIN"
    )
    said = run("setup", "web", "--apply", "--as", "postgres")
    assert (said.status, said.err) == (0, "")
    assert "syncd should have a role of its own" in said.out
    assert ask(site, "SELECT rolconnlimit FROM pg_roles WHERE rolname = %s", role) == [(-1,)]
    assert ask(site, "SELECT FROM pg_db_role_setting WHERE setrole = to_regrole(%s)", role) == []
    assert run("setup", "web", "--remove", "--as", "postgres").status == 0
    site.execute(f"ALTER TABLE leads OWNER TO postgres; DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.mark.parametrize("modes", [["poll"], ["listen"], ["slot"], ["poll", "listen", "listen", "slot", "slot"]])
def test_the_limits_of_the_role_are_those_of_all_its_syncs(run: Run, site: Site, role: str, modes: list[str]) -> None:
    first = site.document["sync"][0]
    site.write(sync=[{**first, "name": f"web{number}", "capture": mode} for number, mode in enumerate(modes)])
    assert run("setup", "web0", "--apply", "--as", "postgres").status == 0
    limit = 4 + ("listen" in modes) + modes.count("slot")
    assert ask(site, "SELECT rolconnlimit FROM pg_roles WHERE rolname = %s", role) == [(limit,)]
    (settings,) = ask(site, "SELECT setconfig FROM pg_db_role_setting WHERE setrole = to_regrole(%s)", role)
    assert ("default_transaction_read_only=on" in str(settings)) == ("listen" not in modes)
    assert "statement_timeout=30s" in str(settings)
    site.execute(f"ALTER ROLE {role} CONNECTION LIMIT 40")
    assert run("setup", "web0", "--apply", "--as", "postgres").status == 0
    assert ask(site, "SELECT rolconnlimit FROM pg_roles WHERE rolname = %s", role) == [(40,)]


def test_a_lock_that_is_not_to_be_had_is_said_and_nothing_stays(run: Run, site: Site, role: str) -> None:
    use(site, "listen")
    with psycopg.connect(site.crm) as writer:
        writer.execute("UPDATE leads SET name = name WHERE false")
        said = run("setup", "web", "--apply", "--as", "postgres")
    assert (said.status, said.out) == (1, "")
    assert "long transaction" in said.err
    assert len(said.err.splitlines()) == 1
    assert there(site, role)["roles"] == 0


# -- logging in ------------------------------------------------------------------------------------------------


def test_another_users_password_comes_from_libpqs_own_file_and_not_from_the_configuration(
    run: Run, site: Site, role: str, dba: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.execute(f"ALTER ROLE {dba} SUPERUSER")
    site.write(crm__password_file="crm-password")
    (site.folder / "crm-password").write_text("another\n")
    said = run("setup", "web", "--apply", "--as", dba)
    assert (said.status, said.err) == (0, "")
    monkeypatch.delenv("PGPASSFILE")
    (site.folder / "crm-password").write_text("made-up\n")
    said = run("setup", "web", "--apply", "--as", dba)
    assert said.status == 1
    assert "no password supplied" in said.err


def test_without_another_user_crm_urls_own_is_used_with_its_password(run: Run, site: Site, role: str) -> None:
    site.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'made-up'; ALTER TABLE leads OWNER TO {role}")
    site.write(crm__password_file="crm-password")
    (site.folder / "crm-password").write_text("made-up\n")
    said = run("setup", "web", "--apply")
    site.execute("ALTER TABLE leads OWNER TO postgres")
    assert (said.status, said.err) == (0, "")
    assert f"Role {role} has the rights of the table's owner" in said.out


def test_on_a_terminal_it_asks_and_does_not_show(site: Site, role: str, dba: str) -> None:
    site.execute(f"ALTER ROLE {dba} SUPERUSER")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "syncd", "setup", "web", "--apply", "--as", dba, "--ask-password"]
    environment = {name: value for name, value in os.environ.items() if name != "PGPASSFILE"}
    process = subprocess.Popen(
        [*command, "--config", str(site.config)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        start_new_session=True,
        preexec_fn=controlling,  # getpass asks on the process's own terminal
    )
    os.close(theirs)
    shown = b""
    while b"Password of" not in shown:
        shown += os.read(ours, 1000)
    os.write(ours, b"made-up\n")
    try:
        while chunk := os.read(ours, 1000):
            shown += chunk
    except OSError:  # the other end has closed
        pass
    os.close(ours)
    assert process.wait(30) == 0, shown
    assert f"Role {role} was made".encode() in shown
    assert b"made-up" not in shown


def controlling() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


# -- the words of a condition ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "words"),
    [
        (None, set()),
        ("consent", {"consent"}),
        ("Consent AND STATUS = 'new'", {"consent", "and", "status"}),
        ('"Consent" AND "a ""b"""', {"Consent", "and", 'a "b"'}),
        ("a = 'it''s b' AND c", {"a", "and", "c"}),
        (r"a = E'it\'s b' AND c", {"a", "and", "c"}),
        ("a = $$b$$ AND c = $q$d $$ e$q$ OR f", {"a", "and", "c", "or", "f"}),
        ("a -- b\nAND c", {"a", "and", "c"}),
        ("a /* b /* d */ e */ AND c", {"a", "and", "c"}),
        ("leads.a > 1e5 AND x1$2", {"leads", "a", "and", "x1$2"}),
        ("año > 1 AND ÁREA", {"año", "and", "Área"}),
        ("a::text = b", {"a", "text", "b"}),
    ],
)
def test_the_words_of_a_condition_are_found_as_postgres_reads_them(where: str | None, words: set[str]) -> None:
    assert set(setup.words_of(where)) == words


def test_the_columns_of_a_condition_are_granted_and_nothing_that_only_looks_like_one(
    run: Run, site: Site, role: str
) -> None:
    site.write(
        sync__0__where="lower(name) <> 'email' AND \"consent\" -- email\n AND coalesce(document, $$email$$) <> ''"
    )
    assert run("setup", "web", "--apply", "--as", "postgres").status == 0
    assert readable(site, role) == COLUMNS
