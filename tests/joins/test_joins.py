"""Leads in related tables: columns of joined tables come along, and every lead stays one record."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from syncd import assembly
from syncd.config import load
from syncd.crm import Joined
from syncd.crm.joining import columns_by_place, once, place_of
from syncd.errors import ConfigError
from tests.cli.conftest import Run
from tests.joins.conftest import JOINS
from tests.support.site import Site
from tests.support.work import work


def rows_of(site: Site, *keys: str) -> list[tuple[Any, ...]]:
    config = load(site.config)
    connection = assembly.crm_connection(config, site.config, "delivery")
    try:
        reader = assembly.reader(config.sync[0], assembly.columns(config, config.sync[0]), connection)
        return sorted(reader.read(keys))
    finally:
        connection.close()


def test_columns_of_joined_tables_come_along_and_are_empty_without_a_partner(run: Run, joined: Site) -> None:
    said = run("preview", "web", "--unmasked", "--json")
    assert said.status == 0, said.err
    config = load(joined.config)
    columns = assembly.columns(config, config.sync[0])
    found = [dict(zip(columns, row[1:], strict=True)) for row in rows_of(joined, "1", "2", "3")]
    assert [(row["account.Name"], row["owner.name"], row["account.tags"]) for row in found] == [
        ("Cuenta Uno", "Olga Prueba", ["oro"]),
        ("Cuenta Dos", None, None),
        (None, None, None),
    ]


def test_a_sample_has_the_greatest_keys_first_whatever_is_joined(joined: Site) -> None:
    joined.execute("INSERT INTO crm.accounts (id, owner_id) SELECT gen_random_uuid(), 1 FROM generate_series(1, 500)")
    joined.execute("INSERT INTO leads (document, account_id) SELECT 'x', id FROM crm.accounts ORDER BY id")
    joined.execute("ANALYZE")
    config = load(joined.config)
    connection = assembly.crm_connection(config, joined.config, "preview")
    try:
        reader = assembly.reader(config.sync[0], assembly.columns(config, config.sync[0]), connection)
        keys = [int(row[0]) for row in reader.sample(400)]
        following = [int(row[0]) for row in reader.sample(400, below=str(keys[-1]))]
    finally:
        connection.close()
    assert keys + following == list(range(505, 0, -1))


def test_leads_are_delivered_with_what_is_joined(joined: Site) -> None:
    work(joined)
    assert joined.accepted() == {"doc-1": 1, "doc-2": 1, "doc-3": 1}


def test_a_partner_that_is_there_twice_makes_no_second_record(joined: Site) -> None:
    joined.execute("ALTER TABLE crm.accounts DROP CONSTRAINT accounts_pkey")
    joined.execute("INSERT INTO crm.accounts SELECT id, 'Otra', owner_id, tags FROM crm.accounts")
    first = rows_of(joined, "1", "2", "3")
    assert [row[0] for row in first] == ["1", "2", "3"]
    joined.execute('CREATE TABLE turned AS SELECT * FROM crm.accounts ORDER BY "Name" DESC')
    joined.execute("TRUNCATE crm.accounts")
    joined.execute("INSERT INTO crm.accounts SELECT * FROM turned")
    assert rows_of(joined, "1", "2", "3") == first  # the same one, whatever the order
    work(joined)
    assert joined.accepted() == {"doc-1": 1, "doc-2": 1, "doc-3": 1}


def test_check_passes_and_says_that_a_change_of_a_partner_captures_nothing(run: Run, joined: Site) -> None:
    said = run("check", "--no-calls")
    assert (said.status, "warning" in said.out) == (0, False), said
    assert "a change in crm.accounts and crm.owners alone captures no lead" in said.out


TWICE = """
ALTER TABLE crm.accounts DROP CONSTRAINT accounts_pkey;
INSERT INTO crm.accounts SELECT * FROM crm.accounts;
"""


@pytest.mark.parametrize(
    ("change", "statement", "words"),
    [
        ({"sync__0__join": [{**JOINS[0], "table": "crm.nowhere"}, JOINS[1]]}, "", ["crm.nowhere", "sync.join.table"]),
        ({"sync__0__join": [{**JOINS[0], "key": "code"}, JOINS[1]]}, "", ["no column code", "sync.join.key"]),
        ({"sync__0__join": [{**JOINS[0], "on": "acount_id"}, JOINS[1]]}, "", ["no column acount_id"]),
        ({}, 'ALTER TABLE crm.accounts RENAME "Name" TO name', ["no column Name", "account.Name"]),
        (
            {"sync__0__join": [{**JOINS[0], "on": "document"}, JOINS[1]]},
            "",
            ["join account has type text", "uuid"],
        ),
        (
            {},
            TWICE,
            ["key id of join account is not unique"],
        ),
    ],
    ids=["table", "key", "on", "column", "types", "not unique"],
)
def test_check_says_what_is_wrong_with_a_join(
    run: Run, joined: Site, change: dict[str, Any], statement: str, words: list[str]
) -> None:
    if statement:
        joined.execute(statement)
    joined.write(**change)
    said = run("check", "--no-calls")
    assert said.status == 78
    for word in words:
        assert word in said.err
    assert "has all that is needed" not in said.out


def test_a_key_that_nothing_keeps_unique_is_a_warning(run: Run, joined: Site) -> None:
    joined.execute("ALTER TABLE crm.accounts DROP CONSTRAINT accounts_pkey")
    said = run("check", "--no-calls")
    assert said.status == 0
    assert "key id of join account has no unique index" in said.out


@pytest.mark.parametrize(
    ("joins", "words"),
    [
        ([{**JOINS[0], "as": "Account"}], "lower-case"),
        ([JOINS[0], JOINS[0]], 'has as = "account" twice'),
        ([JOINS[1], JOINS[0]], "a join stands on one above it"),
        ([{**JOINS[0], "on": "account.parent_id"}], "a join stands on one above it"),
        ([{"table": "crm.accounts", "on": "account_id", "key": "id"}], "is missing"),
    ],
)
def test_a_join_that_cannot_be_is_said_when_the_file_is_read(joined: Site, joins: Any, words: str) -> None:
    joined.write(sync__0__join=joins)
    with pytest.raises(ConfigError, match=words):
        load(joined.config)


def test_setup_gives_the_columns_that_are_read_of_joined_tables_and_no_others(run: Run, joined: Site) -> None:
    role = f"syncd_{joined.crm.rpartition('_')[2][:12]}"
    (joined.folder / "crm-password").write_text("made-up-password\n")
    joined.write(crm__url=joined.crm.replace("//postgres@", f"//{role}@"), crm__password_file="crm-password")
    printed = run("setup", "web", "--print")
    assert (printed.status, printed.out.count("\nCOMMIT;\n")) == (0, 1)
    joined.execute(printed.out.partition("\n")[2])
    joined.execute(f"ALTER ROLE {role} PASSWORD 'made-up-password'")
    try:
        with psycopg.connect(joined.crm) as connection:
            rights = connection.execute(
                "SELECT table_name::text, column_name::text FROM information_schema.column_privileges"
                " WHERE grantee = %s AND table_schema = 'crm' ORDER BY 1, 2",
                (role,),
            ).fetchall()
        assert rights == [
            ("accounts", "Name"),
            ("accounts", "id"),
            ("accounts", "owner_id"),
            ("accounts", "tags"),
            ("owners", "id"),
            ("owners", "name"),
        ]
        assert run("check", "--no-calls").status == 0
        joined.execute(f"REVOKE SELECT (name) ON crm.owners FROM {role}")
        said = run("check", "--no-calls")
        assert (said.status, "permission denied for name of crm.owners" in said.err) == (78, True)
        joined.execute(run("setup", "web", "--remove", "--print").out.partition("\n")[2])
        with psycopg.connect(joined.crm) as connection:
            usage = "SELECT has_schema_privilege(%s, 'crm', 'USAGE')"
            assert connection.execute(usage, (role,)).fetchone() == (False,)
    finally:
        joined.execute(f"DROP OWNED BY {role}")
        joined.execute(f"DROP ROLE {role}")


def test_poll_follows_a_view_that_brings_in_columns_of_another_table(run: Run, joined: Site) -> None:
    joined.execute(
        'CREATE VIEW public.leads_for_syncd AS SELECT l.*, a."Name" AS account_name'
        " FROM public.leads AS l LEFT JOIN crm.accounts AS a ON a.id = l.account_id"
    )
    fields = {"customer_id": "document", "tel1": "mobile", "opt1": "account_name"}
    joined.write(sync__0__table="public.leads_for_syncd", sync__0__join=[], sync__0__where="consent")
    joined.write(sync__0__fields=fields)
    assert run("check", "--no-calls").status == 0
    work(joined)
    assert joined.accepted() == {"doc-1": 1, "doc-2": 1, "doc-3": 1}


# -- names ---------------------------------------------------------------------------------------------------

ACCOUNT = Joined("account", ("crm", "accounts"), "id", "account_id")
OWNER = Joined("owner", ("crm", "owners"), "id", "account.owner_id")


def test_a_name_before_a_dot_is_a_join_only_where_there_is_one() -> None:
    joins = [ACCOUNT, OWNER]
    assert place_of("account.name", joins) == ("account", "name")
    assert place_of("account.a.b", joins) == ("account", "a.b")
    for column in ("name", "other.name", "account.", "account"):
        assert place_of(column, joins) == (None, column)


def test_each_table_is_read_with_its_keys_and_each_column_once() -> None:
    assert columns_by_place(["x", "account.name", "x", "owner.name"], [ACCOUNT, OWNER]) == {
        None: ["x", "account_id"],
        "account": ["id", "name", "owner_id"],
        "owner": ["id", "name"],
    }


def test_of_several_rows_of_one_key_the_same_one_is_taken_whatever_their_order() -> None:
    rows: list[tuple[Any, ...]] = [("1", None), ("1", "b"), ("2", 3), ("1", "a")]
    assert sorted(once(rows)) == sorted(once(rows[::-1]))
    assert len(once(rows)) == 2
