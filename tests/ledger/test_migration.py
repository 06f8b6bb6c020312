"""The ledger's tables: made by migrations, equal to the metadata, refused where they are another's."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config as AlembicConfig
from alembic.migration import MigrationContext
from sqlalchemy import CheckConstraint, Connection, Index, inspect, select, text
from sqlalchemy.schema import CreateSchema

from syncd.errors import LedgerError, LedgerSchemaError, LedgerUnavailable
from syncd.ledger import SyncPosition, migration
from syncd.ledger.hashes import Hasher
from syncd.ledger.home import Home
from syncd.ledger.schema import REVISION, SCHEMA, lead, metadata
from syncd.model import Sign, Twin
from syncd.states import LeadState
from tests.support.ledgers import HASH_KEY, opened, rows

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["sqlite", "postgres"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where there is nothing at all yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    return str(request.getfixturevalue("database"))


def ddl(connection: Connection, *, sqlite: bool) -> list[tuple[str, ...]]:
    """Every column, constraint and index of the ledger's tables, as the database itself writes them."""
    if sqlite:
        rows = connection.execute(
            text("SELECT type, name, sql FROM sqlite_master WHERE tbl_name <> 'alembic_version' AND sql IS NOT NULL")
        ).all()
        return sorted((kind, name, _normal(sql)) for kind, name, sql in rows)
    columns = connection.execute(
        text(
            "SELECT 'column', c.relname || '.' || a.attname,"
            " format_type(a.atttypid, a.atttypmod) || ' ' || a.attnotnull::text"
            " || ' ' || coalesce(pg_get_expr(d.adbin, d.adrelid), '') || ' ' || a.attidentity::text"
            " FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
            " LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum"
            " WHERE n.nspname = 'syncd' AND c.relkind = 'r' AND a.attnum > 0"
            " AND NOT a.attisdropped AND c.relname <> 'alembic_version'"
        )
    ).all()
    constraints = connection.execute(
        text(
            "SELECT 'constraint', conrelid::regclass::text || ' ' || conname, pg_get_constraintdef(oid)"
            " FROM pg_constraint"
            " WHERE connamespace = 'syncd'::regnamespace AND conrelid <> 'syncd.alembic_version'::regclass"
        )
    ).all()
    indexes = connection.execute(
        text(
            "SELECT 'index', indexname, indexdef FROM pg_indexes"
            " WHERE schemaname = 'syncd' AND tablename <> 'alembic_version'"
        )
    ).all()
    return sorted(tuple(map(str, row)) for row in (*columns, *constraints, *indexes))


def _normal(sql: str) -> str:
    """A CREATE statement with its parts in one order: constraints and columns may be listed in any."""
    head, _, body = " ".join(sql.split()).partition("(")
    parts, depth = [""], 0
    for letter in body.rpartition(")")[0]:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return head + "; ".join(sorted(part.strip() for part in parts))


def test_the_migrations_give_exactly_the_schema_of_the_metadata(empty_url: str, tmp_path: Path) -> None:
    with opened(empty_url) as ledger:
        home = ledger.home
        with home.read() as connection:
            migrated = ddl(connection, sqlite=home.is_sqlite)
            context = MigrationContext.configure(connection, opts={"include_schemas": True})
            if not home.is_sqlite:
                assert [
                    change
                    for change in compare_metadata(context, metadata)
                    if getattr(change[1], "name", "") != "alembic_version"
                ] == []
        with home.write() as connection:
            metadata.drop_all(connection)
            metadata.create_all(connection)
        with home.read() as connection:
            assert ddl(connection, sqlite=home.is_sqlite) == migrated
    assert len(migrated) > 10


def test_every_rule_of_the_metadata_has_a_name_in_the_database(empty_url: str) -> None:
    named = {
        str(rule.name)
        for table in metadata.tables.values()
        for rule in (*(c for c in table.constraints if isinstance(c, CheckConstraint)), *table.indexes)
        if isinstance(rule, CheckConstraint | Index)
    }
    with opened(empty_url) as ledger, ledger.home.read() as connection:
        inspector = inspect(connection)
        schema = None if ledger.home.is_sqlite else SCHEMA
        found = {
            str(rule["name"])
            for table in metadata.tables.values()
            for rule in (
                *inspector.get_check_constraints(table.name, schema),
                *inspector.get_indexes(table.name, schema),
            )
        }
    assert named <= found


def test_migrating_twice_is_migrating_once(empty_url: str) -> None:
    with opened(empty_url) as ledger:
        assert migration.migrate(ledger.home) == (REVISION, REVISION)
        migration.require_current(ledger.home)
        migration.require_existing(ledger.home)
        assert migration.revision_of(ledger.home) == REVISION


def test_a_ledger_of_the_first_version_keeps_what_it_has(empty_url: str) -> None:
    with opened(empty_url, prepare=False) as ledger:
        home = ledger.home
        place = "" if home.is_sqlite else "syncd."
        _upgraded(home, "0001")
        with home.write() as connection:
            for row in (
                "sync (id, name, start, watermark, seq, started_at) VALUES (1, 'web', 'beginning', '2026-01-01', 3, 7)",
                "lead (id, sync_id, key, state, version, seq, captured_at) VALUES (1, 1, 'a', 'pending', 'v', 3, 8)",
                "tally (sync_id, state, leads) VALUES (1, 'pending', 1)",
            ):
                connection.execute(text(f"INSERT INTO {place}{row}"))
        with pytest.raises(LedgerSchemaError, match="this syncd needs"):
            migration.require_current(home)
        assert migration.migrate(home) == ("0001", REVISION)
        assert ledger.position(1) == SyncPosition(7, "beginning", "2026-01-01", None, None, None, None, 0, None)
        assert [(lead.key, lead.captured_at) for lead in ledger.claim(1, 10).leads] == [("a", 8)]
        assert ledger.waiting(1).fresh


def _upgraded(home: Home, revision: str) -> None:
    with home.write() as connection:
        if not home.is_sqlite:
            connection.execute(CreateSchema(SCHEMA))
        settings = AlembicConfig(stdout=io.StringIO())
        settings.set_main_option("script_location", str(Path(migration.__file__).with_name("migrations")))
        settings.attributes["connection"] = connection
        command.upgrade(settings, revision)


def test_whom_a_ledger_of_the_fourth_version_knows_is_known_still(empty_url: str) -> None:
    """Who is on the way, was delivered, or was delivered before the row changed; and whose duplicates there are."""
    hasher = Hasher(HASH_KEY)
    # As the fourth version hashed them: 128 bits.
    person = {name: hasher._hash(b"person", name.encode()).hex() for name in ("ana", "beto", "caro", "dora", "eva")}
    leads = [
        # key, state, settled_at, call_n, person, reason
        ("ana", "delivered", 110, 1, "ana", None),
        ("beto", "held", None, 2, "beto", None),
        ("beto-bis", "duplicate", 130, None, "beto", None),
        ("ana-bis", "duplicate", 130, None, "ana", None),
        ("caro", "pending", None, None, "caro", None),
        ("dora", "rejected", 130, None, None, "bad"),
        ("eva", "unchanged", 130, None, "eva", None),
        ("nobody", "pending", None, None, None, None),
    ]
    with opened(empty_url, prepare=False) as ledger:
        home = ledger.home
        place = "" if home.is_sqlite else "syncd."
        blob = "X'{}'" if home.is_sqlite else "'\\x{}'"
        _upgraded(home, "0004")
        statements = ["sync (id, name, start, seq, started_at) VALUES (1, 'web', 'beginning', 3, 7)"]
        columns = "n, id, kind, sync_id, state, term, quota_day, leads, started_at, deadline_at, ended_at"
        for number, state in ((1, "accepted"), (2, "unknown")):
            values = f"{number}, 'c{number}', 'add_record', 1, '{state}', 1, 'day', 1, {number}00, 900, 900"
            statements.append(f"call ({columns}) VALUES ({values})")
        for number, row in enumerate(leads, start=1):
            key, state, settled_at, call_n, who, reason = ("NULL" if value is None else str(value) for value in row)
            who = who if who == "NULL" else blob.format(person[str(who)])
            reason = reason if reason == "NULL" else f"'{reason}'"
            statements.append(
                "lead (id, sync_id, key, state, version, seq, captured_at, settled_at, call_n, person, reason) VALUES"
                f" ({number}, 1, '{key}', '{state}', 'v', 3, 8, {settled_at}, {call_n}, {who}, {reason})"
            )
        for number, left, cause in ((5, "sending", "delivered, and the row changed"), (7, "delivered", "changed")):
            statements.append(
                "history (lead_id, at, left_state, captured_at, settled_at, call_n, cause)"
                f" VALUES ({number}, 120, '{left}', 8, 110, 1, '{cause}')"
            )
        counts = Counter(row[1] for row in leads)
        statements += [f"tally (sync_id, state, leads) VALUES (1, '{state}', {n})" for state, n in counts.items()]
        with home.write() as connection:
            for statement in statements:
                connection.execute(text(f"INSERT INTO {place}{statement}".replace(":", "\\:")))
        assert migration.migrate(home) == ("0004", REVISION)
        hashes = {hasher.person(name): name for name in person}
        known = ledger.known_people({1}, set(hashes), 100)
        assert {(sign.kind, hashes[sign.hash]): twins for sign, twins in known.items()} == {
            ("", "ana"): [Twin(1, 1)],
            ("", "beto"): [Twin(2, 2)],
            ("", "caro"): [Twin(5, 1)],
            ("", "eva"): [Twin(7, 1)],
        }
        assert set(ledger.known_people({1}, set(hashes), 101)) == {Sign("", hasher.person("beto"))}
        with home.read() as connection:
            twins = connection.execute(select(lead.c.key, lead.c.twin_id).where(lead.c.twin_id.is_not(None))).all()
        assert [tuple(row) for row in twins] == [("beto-bis", 2)]
        ledger.doubts.decide(2, LeadState.PENDING, 200, "somebody", resend_changed=False)
        assert {key: row["state"] for key, row in rows(ledger).items() if "beto" in key} == {
            "beto": "pending",
            "beto-bis": "pending",
        }
        assert ledger.tally() == ledger.recount()


def test_an_empty_database_has_no_version_and_is_not_made_by_asking(empty_url: str) -> None:
    with opened(empty_url, prepare=False) as ledger:
        assert migration.revision_of(ledger.home) is None
        with pytest.raises(LedgerSchemaError, match=r"There is no ledger|is empty"):
            migration.require_existing(ledger.home)
        assert migration.revision_of(ledger.home) is None


@pytest.mark.parametrize(("version", "sentence"), [("0000", "this syncd needs"), ("9999", "newer than this syncd")])
def test_a_ledger_of_another_version_is_refused_in_a_sentence(empty_url: str, version: str, sentence: str) -> None:
    with opened(empty_url) as ledger:
        place = "alembic_version" if ledger.home.is_sqlite else "syncd.alembic_version"
        with ledger.home.write() as connection:
            connection.execute(text(f"UPDATE {place} SET version_num = '{version}'"))
        for ask in (migration.require_current, migration.require_existing):
            with pytest.raises(LedgerSchemaError, match=sentence) as refused:
                ask(ledger.home)
            assert version in str(refused.value)
            assert refused.value.remedy


def test_a_sqlite_file_of_another_program_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with opened(f"sqlite:///{tmp_path / 'other.db'}", prepare=False) as ledger:
        with ledger.home.write() as connection:
            connection.execute(text("CREATE TABLE customers (name text)"))
        with pytest.raises(LedgerSchemaError, match="database of something else"):
            migration.require_current(ledger.home)
        with ledger.home.read() as connection:
            assert inspect(connection).get_table_names() == ["customers"]


def test_a_file_that_is_no_database_is_refused_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"These are the notes of somebody. " * 100)
    with opened(f"sqlite:///{path}", prepare=False) as ledger, pytest.raises(LedgerError, match=r"ledger\.db"):
        migration.require_current(ledger.home)
    assert path.read_bytes().startswith(b"These are the notes")


def test_another_programs_schema_of_the_same_name_is_not_overwritten(database: str) -> None:
    with opened(database, prepare=False) as ledger:
        with ledger.home.write() as connection:
            connection.execute(CreateSchema(SCHEMA))
            connection.execute(text("CREATE TABLE syncd.lead (theirs text)"))
        with pytest.raises(LedgerError, match=r"refused a statement|something else"):
            migration.require_current(ledger.home)
        with ledger.home.read() as connection:
            assert inspect(connection).get_table_names(schema=SCHEMA) == ["lead"], "all or nothing"


def test_tables_of_others_beside_a_postgres_ledger_are_left_alone(database: str) -> None:
    with opened(database, prepare=False) as ledger:
        with ledger.home.write() as connection:
            connection.execute(text("CREATE TABLE public.lead (theirs text)"))
        migration.require_current(ledger.home)
        with ledger.home.read() as connection:
            assert inspect(connection).get_table_names(schema="public") == ["lead"]


MIGRATE = """
import sys, time
from pathlib import Path
from syncd.ledger import SyncPosition, migration
from syncd.ledger.hashes import Hasher
from syncd.ledger.home import Home

home = Home(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
migration.require_current(home)
print(migration.revision_of(home), flush=True)
home.close()
"""


def test_processes_that_migrate_an_empty_ledger_at_once_make_it_once(empty_url: str) -> None:
    started = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", MIGRATE, empty_url],
            cwd=ROOT,
            env=dict(os.environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:  # both wait at their pipe: they set out within the time of two writes
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in started:
        out, errors = process.communicate(timeout=60)
        assert (process.returncode, out, errors) == (0, f"{REVISION}\n", "")


def test_a_folder_that_is_not_there_is_told_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnavailable, match="does not exist"):
        Home(f"sqlite:///{tmp_path / 'nowhere' / 'ledger.db'}")


def test_a_postgres_that_does_not_answer_is_told_in_a_sentence_that_may_be_retried() -> None:
    with opened("postgresql://nobody@127.0.0.1:1/none", prepare=False) as ledger:
        with pytest.raises(LedgerUnavailable, match="does not answer") as refused:
            migration.require_current(ledger.home)
        assert refused.value.retry


def test_the_ledgers_password_is_in_no_word_about_it(database: str) -> None:
    home = Home("postgresql://nobody@127.0.0.1:1/none", password="swordfish")
    assert "swordfish" not in home.where
    assert "swordfish" not in repr(home.engine)
    with pytest.raises(LedgerUnavailable) as refused, home.read():
        pass
    assert "swordfish" not in str(refused.value)
    home.close()
