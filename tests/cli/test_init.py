"""`syncd init`: a first configuration from the tables of real CRMs, which loads once a person has filled it in."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.cli import main
from syncd.config import load
from syncd.config.loading import parse
from syncd.errors import ConfigError
from syncd.suggest import Column, Seen, configuration
from syncd.suggest.words import words
from tests.support.databases import emptied_database, shared_database  # noqa: F401  # fixtures

ESPO = """
CREATE TABLE lead (
    id varchar(17) PRIMARY KEY, deleted boolean DEFAULT false, first_name varchar(100), last_name varchar(100),
    status varchar(255), address_street varchar(255), address_city varchar(100), address_country varchar(100),
    do_not_call boolean NOT NULL DEFAULT false, description text, created_at timestamp, modified_at timestamp,
    phone_number varchar(36), email_address varchar(255));
"""
SUITE = """
CREATE TABLE lead (
    id char(36) PRIMARY KEY, date_entered timestamp, date_modified timestamp, deleted smallint DEFAULT 0,
    first_name varchar(100), last_name varchar(100), do_not_call boolean, phone_home varchar(100),
    phone_mobile varchar(100), phone_work varchar(100), phone_fax varchar(100), primary_address_street varchar(150),
    primary_address_city varchar(100), primary_address_state varchar(100), birthdate date);
"""
ODOO = """
CREATE TABLE lead (
    id serial PRIMARY KEY, create_date timestamp, write_date timestamp, name varchar NOT NULL, contact_name varchar,
    partner_name varchar, email_from varchar, email_normalized varchar, phone varchar, mobile varchar,
    phone_sanitized varchar, street varchar, city varchar, state_id int, country_id int, active boolean,
    expected_revenue numeric, properties jsonb);
CREATE INDEX ON lead (write_date);
"""
TWENTY = """
CREATE TABLE lead (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), "createdAt" timestamptz NOT NULL DEFAULT now(),
    "updatedAt" timestamptz NOT NULL DEFAULT now(), "deletedAt" timestamptz, "nameFirstName" text NOT NULL DEFAULT '',
    "nameLastName" text NOT NULL DEFAULT '', "emailsPrimaryEmail" text, "phonesPrimaryPhoneNumber" text,
    "phonesPrimaryPhoneCountryCode" text, "phonesPrimaryPhoneCallingCode" text, "phonesAdditionalPhones" jsonb,
    city text, "jobTitle" text);
"""
CHATWOOT = """
CREATE TABLE lead (
    id serial PRIMARY KEY, name varchar DEFAULT '', email varchar, phone_number varchar, account_id int NOT NULL,
    created_at timestamp NOT NULL, updated_at timestamp NOT NULL, additional_attributes jsonb DEFAULT '{}',
    identifier varchar, custom_attributes jsonb DEFAULT '{}', blocked boolean NOT NULL DEFAULT false);
"""
SALESFORCE = """
CREATE TABLE lead (
    "Id" varchar(18), "IsDeleted" boolean, "LastName" varchar(80), "FirstName" varchar(40), "Phone" varchar(40),
    "MobilePhone" varchar(40), "Fax" varchar(40), "Email" varchar(80), "City" varchar(40), "DoNotCall" boolean,
    "LastModifiedDate" timestamptz, "Photo" bytea, CONSTRAINT "Lead_pkey" PRIMARY KEY ("Id"));
"""
SPANISH = """
CREATE TABLE lead (
    "Código" bigserial PRIMARY KEY, "Tipo Documento" text, "Cédula" numeric, "Nombre Completo" text,
    "Teléfono Fijo" text, "Celular" text, "Correo Electrónico" text, "Ciudad" text, "Dirección" text, "Edad" smallint,
    "Autorización" boolean,
    "Fecha Actualización" timestamp DEFAULT now(), "co\tmen""tario\n# x = 1" text, "100% \\ seguro" text);
"""
SHAPES = {
    "espo": (ESPO, {"first_name", "last_name", "phone_number", "email_address", "address_city", "address_street"}),
    "suite": (SUITE, {"first_name", "last_name", "phone_mobile", "phone_home", "phone_work", "primary_address_city"}),
    "odoo": (ODOO, {"contact_name", "phone", "mobile", "email_from", "street", "city"}),
    "twenty": (TWENTY, {"nameFirstName", "nameLastName", "phonesPrimaryPhoneNumber", "emailsPrimaryEmail", "city"}),
    "chatwoot": (CHATWOOT, {"name", "email", "phone_number"}),
    "salesforce": (SALESFORCE, {"FirstName", "LastName", "MobilePhone", "Phone", "Email", "City"}),
    "spanish": (
        SPANISH,
        {"Tipo Documento", "Cédula", "Nombre Completo", "Celular", "Teléfono Fijo", "Ciudad", "Dirección", "Edad"},
    ),
}
WATERMARKS = {
    "espo": "modified_at",
    "suite": "date_modified",
    "odoo": "write_date",
    "twenty": "updatedAt",
    "chatwoot": "updated_at",
    "salesforce": "LastModifiedDate",
    "spanish": "Fecha Actualización",
}


def execute(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())


def made(url: str, folder: Path, *arguments: str) -> str:
    """The text that init wrote."""
    output = folder / "made.toml"
    assert main(["init", "--url", url, "--table", "public.lead", "--output", str(output), *arguments]) == 0
    return output.read_text(encoding="utf-8")


def filled(text: str) -> str:
    """The same with what a person must fill in, as the comments suggest it."""
    names = ("server", "licenses", "id", "status", "key", "customer_id", "watermark_column", "tel1")
    lines = text.splitlines()
    for place, line in enumerate(lines):
        if line.startswith("# FILL IN:") and lines[place + 1].startswith(tuple(f"# {name} =" for name in names)):
            lines[place + 1] = lines[place + 1].removeprefix("# ")
    return "\n".join(lines)


def fields_of(text: str) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads(text)["sync"][0]["fields"]
    return found


def column_of(rule: Any) -> str:
    return str(rule if isinstance(rule, str) else rule["column"])


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_what_is_made_loads_once_it_is_filled_in_and_says_till_then_what_is_missing(
    shape: str, database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    statements, columns = SHAPES[shape]
    execute(database, statements)
    text = made(database, tmp_path)
    assert "places are marked FILL IN" in capsys.readouterr().err
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "made.toml")
    missing = [problem for problem in caught.value.problems if "is missing" in problem]
    assert len(missing) == len(caught.value.problems) == 4  # server, licenses, campaign.id, campaign.status
    assert any("campaign.status" in problem for problem in missing)
    (config,) = parse(tomllib.loads(filled(text)), tmp_path / "filled.toml").sync
    assert config.watermark_column == WATERMARKS[shape]
    assert {column_of(rule) for rule in fields_of(text).values()} >= columns
    # The whole of it, comments of columns included, fits the table: `check` finds no fault of the map.
    (tmp_path / "filled.toml").write_text(filled(text), encoding="utf-8")
    (tmp_path / "wolkvox-token").write_text("made-up-token")
    assert main(["--config", str(tmp_path / "filled.toml"), "check", "--offline"]) == 0
    capsys.readouterr()
    main(["--config", str(tmp_path / "filled.toml"), "check", "--no-calls", "--json"])
    out = capsys.readouterr().out
    assert not re.search('"error"[^}]*fields', out), out
    assert "has all that is needed" in out


def test_columns_are_told_by_their_names_and_nobody_is_dialled_who_is_deleted_or_said_no(
    database: str, tmp_path: Path
) -> None:
    execute(database, SUITE)
    execute(
        database, "INSERT INTO lead (id, phone_mobile) SELECT i, '+52 55 1234 56' || i FROM generate_series(10, 40) i"
    )
    text = made(database, tmp_path)
    fields = fields_of(text)
    assert fields["customer_id"] == "id"
    assert [column_of(fields[f"tel{n}"]) for n in (1, 2, 3)] == ["phone_mobile", "phone_home", "phone_work"]
    assert "tel4" not in fields  # a fax is dialled by nobody
    assert fields["tel1"] == {"column": "phone_mobile", "phone": {"region": "MX"}}
    assert fields["tel2"]["default"] == ""
    sync = tomllib.loads(text)["sync"][0]
    assert sync["where"] == 'coalesce("deleted", 0) = 0 AND "do_not_call" IS NOT TRUE'
    assert "CREATE INDEX CONCURRENTLY" in text
    assert not re.search(r"\+52|55 ?1234", text)  # no value of a row


def test_a_whole_name_is_split_and_a_deals_title_is_no_name(database: str, tmp_path: Path) -> None:
    execute(database, ODOO)
    fields = fields_of(made(database, tmp_path))
    assert fields["customer_name"] == {"column": "contact_name", "split": "first"}
    assert fields["customer_last_name"] == {"column": "contact_name", "split": "rest"}
    assert "name" not in {column_of(rule) for rule in fields.values()}


def test_what_is_archived_is_left_out(database: str, tmp_path: Path) -> None:
    execute(database, ODOO)
    assert tomllib.loads(made(database, tmp_path))["sync"][0]["where"] == '"active" IS NOT FALSE'


def test_telephones_and_addresses_are_told_by_what_a_column_holds(database: str, tmp_path: Path) -> None:
    execute(database, "CREATE TABLE lead (id int PRIMARY KEY, a text, b text, c text, updated_at timestamptz)")
    execute(
        database,
        "INSERT INTO lead SELECT i, 'nota ' || i, '300 ' || lpad(i::text, 7, '0'), 'p' || i || '@example.com'"
        " FROM generate_series(1, 30) AS i",
    )
    text = made(database, tmp_path)
    fields = fields_of(text)
    assert fields["tel1"] == {"column": "b", "phone": {"region": "CO"}}
    assert fields["email"] == {"column": "c", "case": "lower"}
    assert not re.search(r"nota|0000|@example", text)


def test_without_key_telephone_and_watermark_it_says_so_and_invents_none(database: str, tmp_path: Path) -> None:
    execute(database, "CREATE TABLE lead (remark text)")
    text = made(database, tmp_path)
    assert "no column is unique" in text
    assert "no column looks like a telephone" in text
    assert 'capture = "listen"' in text
    config = parse(tomllib.loads(filled(text)), tmp_path / "filled.toml")
    assert config.sync[0].capture == "listen"
    execute(database, "CREATE VIEW view_of AS SELECT 1 AS id, '300'::text AS phone")
    assert main(["init", "--url", database, "--table", "view_of", "--output", str(tmp_path / "view.toml")]) == 0
    of_view = (tmp_path / "view.toml").read_text()
    assert "# watermark_column" in of_view
    parse(tomllib.loads(filled(of_view)), tmp_path / "filled.toml")


def test_no_file_is_overwritten_and_without_output_it_is_printed(
    database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    execute(database, ESPO)
    output = tmp_path / "there.toml"
    output.write_text("mine")
    assert main(["init", "--url", database, "--table", "lead", "--output", str(output)]) == 1
    assert "is there already, and is left as it is." in capsys.readouterr().err
    assert output.read_text() == "mine"
    assert main(["init", "--url", database, "--table", "lead"]) == 0
    tomllib.loads(capsys.readouterr().out)


def test_a_table_that_is_not_there_and_a_password_in_the_url_are_said(
    database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", "--url", database, "--table", "sales.lead"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("syncd: The CRM has no table sales.lead")
    assert "Traceback" not in err
    assert main(["init", "--url", "postgresql://u:secret@localhost/crm", "--table", "lead"]) == 2
    err = capsys.readouterr().err
    assert "must not hold a password" in err
    assert "secret" not in err


kinds = st.sampled_from(
    ["text", "bigint", "boolean", "bytea", "jsonb", "uuid", "timestamp with time zone", "public.mood"]
)
names = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12
) | st.sampled_from(
    [
        "phone",
        "Celular",
        "nombre",
        "apellido",
        "name",
        "deleted",
        "consent",
        "updated_at",
        "email",
        "id",
        "documento",
        "fax",
    ]
)
samples = st.lists(
    st.text(max_size=14) | st.sampled_from(["+57 300 1234567", "3001234567", "a@example.com"]), max_size=8
)
columns = st.builds(
    Column,
    names,
    kinds,
    is_key=st.booleans(),
    is_unique=st.booleans(),
    is_indexed=st.booleans(),
    sample=samples.map(tuple),
)


@settings(max_examples=200, deadline=None)
@given(
    table=names,
    found=st.lists(columns, max_size=20, unique_by=lambda column: column.name),
    is_table=st.booleans(),
    triggers=st.lists(names, max_size=2),
)
def test_whatever_a_table_looks_like_what_is_made_loads(
    *, table: str, found: list[Column], is_table: bool, triggers: list[str]
) -> None:
    seen = Seen("public", table, tuple(found), is_table=is_table, triggers=tuple(triggers))
    text = filled(configuration("postgresql://syncd@localhost/crm", seen))
    parse(tomllib.loads(text), Path("made.toml"))
    known = {column.name for column in found} | {"id", "phone", "document", "updated_at"}
    assert {column_of(rule) for rule in fields_of(text).values()} <= known


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("primer_nombre", ("primer", "nombre")),
        ("MobilePhone", ("mobile", "phone")),
        ("nameFirstName", ("name", "first", "name")),
        ("Cédula", ("cedula",)),
        ("SFLeadID2", ("sf", "lead", "id", "2")),
        ("", ()),
    ],
)
def test_words_of_a_name(name: str, read: tuple[str, ...]) -> None:
    assert words(name) == read
