"""Every type of Postgres, in a real table, read by the real reader and mapped: a text, or a rejection that says why."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from psycopg import sql

from syncd.crm import CrmConnection, RowReader
from syncd.crm.values import rows_of
from syncd.embedded import EmbeddedPostgres
from syncd.fieldmap import FieldMap, FieldRule, compile_map
from syncd.model import Rejection
from tests.docs.pages import page, rows, ticked

NOW = datetime(2030, 5, 6, 12, 0, tzinfo=UTC).timestamp()

SETUP = """
CREATE EXTENSION citext;
CREATE SCHEMA extra;
CREATE EXTENSION hstore SCHEMA extra;
CREATE TYPE mood AS ENUM ('caliente', 'muy frío');
CREATE TYPE place AS (street text, number int);
CREATE TYPE span AS RANGE (subtype = time);
CREATE DOMAIN word AS text;
CREATE DOMAIN loud AS word CHECK (value = upper(value));
CREATE DOMAIN moods AS mood[];
CREATE DOMAIN somewhere AS place;
CREATE DOMAIN document AS jsonb;
CREATE DOMAIN amount AS numeric(12, 2);
CREATE DOMAIN price AS money;
"""

BINARY = "holds binary data"
DIGITS = "holds a number of too many digits"

TEXTS: dict[str, str] = {
    # text
    "'  María\tJosé '::text": "María José",
    "'Bogotá'::varchar(10)": "Bogotá",
    "'ab'::char(5)": "ab",
    "'x'::\"char\"": "x",
    "'pg'::name": "pg",
    "'Ab@Example.com'::citext": "Ab@Example.com",
    "''::text": "",
    "NULL::text": "",
    "'caliente'::mood": "caliente",
    "'hola'::word": "hola",
    "'HOLA'::loud": "HOLA",
    # numbers
    "7::int2": "7",
    "(-7)::int4": "-7",
    "9007199254740993::int8": "9007199254740993",
    "1500.00::numeric": "1500.00",
    "1500.00::amount": "1500.00",
    "0.00000000000000000000000001::numeric": "0.00000000000000000000000001",
    "1e30::numeric": "1" + "0" * 30,
    "'NaN'::numeric": "NaN",
    "'Infinity'::numeric": "Infinity",
    "'-Infinity'::numeric": "-Infinity",
    "0.1::float4": "0.1",
    "1020304050::float8": "1020304050",
    "1e300::float8": "1" + "0" * 300,
    "1e-7::float8": "0.0000001",
    "'NaN'::float8": "NaN",
    "'-Infinity'::float4": "-Infinity",
    "1234.5::money": "1234.50",
    "(-1234.5)::price": "-1234.50",
    "1259::oid": "1259",
    # truth
    "true": "true",
    "false": "false",
    "NULL::bool": "",
    # arrays
    "ARRAY['a', NULL, 'á b']": '["a", null, "á b"]',
    "ARRAY[[1, 2], [3, 4]]": "[[1, 2], [3, 4]]",
    "'[0:1]={7,8}'::int[]": "[7, 8]",
    "'{}'::text[]": "",
    "ARRAY[1.50, NULL]": '["1.50", null]',
    "ARRAY['NaN', 1]::float8[]": '["NaN", 1.0]',
    "ARRAY['{\"a\": 1}'::json]": '[{"a": 1}]',
    "ARRAY['A', 'b']::citext[]": '["A", "b"]',
    "ARRAY['caliente', 'muy frío']::mood[]": '["caliente", "muy frío"]',
    "ARRAY['caliente']::moods": '["caliente"]',
    "ARRAY['2030-01-02', 'infinity']::date[]": '["2030-01-02", "infinity"]',
    "ARRAY[int4range(1, 5)]": '["[1,5)"]',
    # documents
    '\'{"a": [1, null, "á"]}\'::jsonb': '{"a": [1, null, "á"]}',
    "'{\"a\": 1}'::document": '{"a": 1}',
    "'{}'::jsonb": "",
    "'null'::json": "",
    "'\"hola\"'::json": "hola",
    "'\"hola\"'::jsonb": "hola",
    "'5'::json": "5",
    "'true'::jsonb": "true",
    "'123456789012345678901'::json": "123456789012345678901",
    "'1234567890123456.12'::jsonb": "1234567890123456.12",
    "'{\"a\": 1e999}'::json": '{"a": "1' + "0" * 999 + '"}',
    "'[1.5, 2]'::json": "[1.5, 2]",
    "(repeat('[', 1500) || repeat(']', 1500))::json": "[" * 1500 + "]" * 1500,
    "extra.hstore(ARRAY['a', '1', 'b', NULL])": '{"a": "1", "b": null}',
    "ARRAY[extra.hstore('a', '1')]": '[{"a": "1"}]',
    "ROW('Calle 5', 4)::place": '{"street": "Calle 5", "number": 4}',
    "ROW('Calle 5', NULL)::place::somewhere": '{"street": "Calle 5", "number": null}',
    "ARRAY[ROW('Calle 5', 4)::place]": '[{"street": "Calle 5", "number": 4}]',
    # names of things
    "'11111111-1111-1111-1111-111111111111'::uuid": "11111111-1111-1111-1111-111111111111",
    "'192.0.2.1'::inet": "192.0.2.1",
    "'192.0.2.1/24'::inet": "192.0.2.1/24",
    "'2001:db8::1'::inet": "2001:db8::1",
    "'192.0.2.0/24'::cidr": "192.0.2.0/24",
    "'08:00:2b:01:02:03'::macaddr": "08:00:2b:01:02:03",
    "'08:00:2b:01:02:03:04:05'::macaddr8": "08:00:2b:01:02:03:04:05",
    # ranges
    "int4range(1, 5)": "[1,5)",
    "numrange(1.5, NULL)": "[1.5,)",
    "'empty'::int8range": "empty",
    "daterange('0044-03-15 BC', '2030-01-01')": '["0044-03-15 BC",2030-01-01)',
    "tsrange('2030-01-01', 'infinity')": '["2030-01-01 00:00:00",infinity)',
    "'{[1,3),[5,8)}'::int4multirange": "{[1,3),[5,8)}",
    "span('10:00', '24:00')": "[10:00:00,24:00:00)",
    # times
    "'2030-01-02'::date": "2030-01-02",
    "'infinity'::date": "infinity",
    "'0044-03-15 BC'::date": "0044-03-15 BC",
    "'12000-01-01'::date": "12000-01-01",
    "'10:05'::time": "10:05:00",
    "'24:00'::time": "24:00:00",
    "'10:05:06.25'::time": "10:05:06.250000",
    "'10:05-05'::timetz": "10:05:00-05:00",
    "'24:00-05'::timetz": "24:00:00-05",
    "'2030-01-02 03:04:05.5'::timestamp": "2030-01-02T03:04:05.500000",
    "'-infinity'::timestamp": "-infinity",
    "'12000-01-01'::timestamp": "12000-01-01 00:00:00",
    "'2030-01-02 03:04:05-05'::timestamptz": "2030-01-02T08:04:05+00:00",
    "'infinity'::timestamptz": "infinity",
    "'0001-01-01 00:00 BC'::timestamptz": "0001-01-01 00:00:00+00 BC",
    "'1 year 2 days 03:04'::interval": "1 year 2 days 03:04:00",
    "'-1 day'::interval": "-1 days",
    # the rest
    "B'101'": "101",
    "B'101'::varbit": "101",
    "'pg_class'::regclass": "pg_class",
    "'0/16B3748'::pg_lsn": "0/16B3748",
    "'10:20:10,14'::txid_snapshot": "10:20:10,14",
    "to_tsvector('simple', 'hola mundo')": "'hola':1 'mundo':2",
    "'a & b'::tsquery": "'a' & 'b'",
    "'$.a'::jsonpath": '$."a"',
    "'(0,1)'::tid": "(0,1)",
    "point(1, 2)": "(1,2)",
    "'[(0,0),(1,1)]'::lseg": "[(0,0),(1,1)]",
    "'{1,2,3}'::line": "{1,2,3}",
    "box(point(0, 0), point(1, 1))": "(1,1),(0,0)",
    "'((0,0),(1,1))'::path": "((0,0),(1,1))",
    "'((0,0),(1,1))'::polygon": "((0,0),(1,1))",
    "'<(0,0),1>'::circle": "<(0,0),1>",
}
"""What each value is in a record. xml is not here, for the server of the tests was built without it."""

REJECTED: dict[str, str] = {
    "'\\x00ff'::bytea": BINARY,
    "''::bytea": BINARY,
    "ARRAY['\\x00ff'::bytea]": BINARY,
    "1e1000::numeric": DIGITS,
    "1e-1001::numeric(1000, 1000) + ('0.' || repeat('0', 1100) || '1')::numeric": DIGITS,
}
"""What is no text, and why."""

PATHS: dict[tuple[str, str], str] = {
    ("ARRAY['a', 'b']", "$[-1]"): "b",
    ("ARRAY[[1, 2], [3, 4]]", "$[1][0]"): "3",
    ("ARRAY['caliente']::mood[]", "$[0]"): "caliente",
    ("ARRAY['{\"a\": 1}'::jsonb]", "$[0].a"): "1",
    ("extra.hstore('presupuesto', '5')", "$.presupuesto"): "5",
    ("extra.hstore('presupuesto', NULL)", "$.presupuesto"): "",
    ("ROW('Calle 5', 4)::place", "$.street"): "Calle 5",
    ('\'{"a": {"b c": true}}\'::json', '$.a["b c"]'): "true",
    ("'{\"id\": 12345678901234567890.5}'::jsonb", "$.id"): "12345678901234567890.5",
    ("'{\"a\": 1}'::text", "$.a"): "1",
    ("'{\"a\": 12345678901234567890.5}'::varchar", "$.a"): "12345678901234567890.5",
    ("'\"hola\"'::json", "$.a"): "",
    ("'\"[7]\"'::json", "$[0]"): "",
    ('\'"{\\"a\\": 1}"\'::jsonb', "$.a"): "",
    ("'5'::jsonb", "$.a"): "",
    ("NULL::jsonb", "$.a"): "",
    ("7", "$.a"): "",
}


@pytest.fixture(scope="module")
def prepared(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    """A database with the types that are not built in."""
    postgres_server.create_database("test_types")
    url = postgres_server.url("test_types")
    with psycopg.connect(url, autocommit=True) as crm:
        crm.execute(SETUP)
    yield url
    postgres_server.drop_database("test_types")


@pytest.fixture(scope="module")
def held(prepared: str) -> dict[str, Any]:
    """What the reader gives for each expression, all of them in one row of one table."""
    values = list(dict.fromkeys([*TEXTS, *REJECTED, *(value for value, _ in PATHS)]))
    names = [f"c{number}" for number in range(len(values))]
    listed = ", ".join(f"{value} AS {name}" for value, name in zip(values, names, strict=True))
    with psycopg.connect(prepared, autocommit=True) as crm:
        crm.execute(f"CREATE TABLE held AS SELECT 1 AS id, {listed}".encode())
    ((_key, *read),) = reading(prepared, "held", names)
    return dict(zip(values, read, strict=True))


def reading(url: str, table: str, columns: list[str]) -> list[tuple[Any, ...]]:
    with closing(CrmConnection(url, None, "delivery", 10)) as connection:
        reader = RowReader(connection, ("public", table), "id", columns, None, 'sync "web"')
        read = reader.read([str(key) for key in range(10)])
        assert sorted(map(repr, reader.sample(10))) == sorted(map(repr, read))  # NaN equals nothing
        return read


def field_map(rule: FieldRule) -> FieldMap:
    rules = {"customer_id": FieldRule(value="1"), "tel1": FieldRule(value="3000000000"), "city": rule}
    return compile_map(rules, campaign_type="predictive", require=[], zone=ZoneInfo("America/Bogota"))


def mapped(value: object, path: str | None = None) -> str | Rejection:
    result = field_map(FieldRule(column="held", path=path)).map([value], NOW)
    return result if isinstance(result, Rejection) else result["city"]


@pytest.mark.parametrize("value", TEXTS)
def test_a_type_becomes_a_text(held: dict[str, Any], value: str) -> None:
    assert mapped(held[value]) == TEXTS[value]


@pytest.mark.parametrize("value", REJECTED)
def test_what_is_no_text_is_rejected_in_words(held: dict[str, Any], value: str) -> None:
    assert mapped(held[value]) == Rejection("city", "text", f'city: column "held" {REJECTED[value]}.')


@pytest.mark.parametrize(("value", "path"), PATHS)
def test_a_path_leads_into_whatever_has_parts(held: dict[str, Any], value: str, path: str) -> None:
    assert mapped(held[value], path) == PATHS[value, path]


def test_a_text_that_is_no_json_is_rejected_where_a_path_should_lead_into_it() -> None:
    rejection = mapped("hola", "$.a")
    assert isinstance(rejection, Rejection)
    assert rejection.rule == "path"
    assert "holds no JSON" in rejection.reason


@pytest.mark.parametrize("value", sorted({*TEXTS, *REJECTED}))
def test_no_type_is_too_much_for_a_datetime_or_a_case(held: dict[str, Any], value: str) -> None:
    for rule in (FieldRule(column="held", datetime=True), FieldRule(column="held", case="lower")):
        result = field_map(rule).map([held[value]], NOW)
        if isinstance(result, Rejection):
            assert result.field == "city"
        else:
            assert field_map(rule).schema.check(result, NOW) is None


def test_generated_columns_are_read_as_others_are(prepared: str, postgres_server: EmbeddedPostgres) -> None:
    with psycopg.connect(prepared, autocommit=True) as crm:
        virtual = ", v text GENERATED ALWAYS AS (upper(n)) VIRTUAL" if crm.info.server_version >= 180000 else ""
        crm.execute(
            f"CREATE TABLE made (id int, n text, s text GENERATED ALWAYS AS (n || '!') STORED{virtual})".encode()
        )
        crm.execute("INSERT INTO made (id, n) VALUES (1, 'á')")
    columns = ["s", "v"] if virtual else ["s"]
    assert reading(prepared, "made", columns) == [("1", *(["á!", "Á"] if virtual else ["á!"]))]


def test_money_is_the_same_number_in_any_locale(prepared: str) -> None:
    with psycopg.connect(prepared, autocommit=True) as crm:
        crm.execute("CREATE TABLE priced AS SELECT 1 AS id, 1234.5::money AS price")
        known = [row[0] for row in crm.execute("SELECT collname FROM pg_collation WHERE collname ~ '^(es_CO|de_DE)'")]
    for locale in ["C", *known[:1]]:
        url = f"{prepared}{'&' if '?' in prepared else '?'}options=-c%20lc_monetary%3D{locale}"
        ((_, price),) = reading(url, "priced", ["price"])
        assert mapped(price) == "1234.50"


def test_a_value_that_cannot_be_loaded_costs_no_other_its_row(prepared: str) -> None:
    class Broken(psycopg.adapt.Loader):
        def load(self, data: object) -> object:
            if bytes(data) == b"7":  # type: ignore[call-overload]  # libpq's buffer
                raise RuntimeError("no such number")
            return int(bytes(data))  # type: ignore[call-overload]

    with psycopg.connect(prepared, autocommit=True) as crm:
        crm.adapters.register_loader("int4", Broken)
        cursor = crm.execute("SELECT n, 'á', NULL FROM generate_series(6, 8) AS n")
        assert rows_of(cursor) == [(6, "á", None), ("7", "á", None), (8, "á", None)]
        broken = crm.execute(sql.SQL("SELECT {}::bytea").format(sql.Literal(b"\xe9")))
        broken.adapters.register_loader("bytea", Broken)
        assert mapped(rows_of(broken)[0][0]) == r"\xe9"


def test_one_odd_row_among_many_is_rejected_alone(prepared: str) -> None:
    with psycopg.connect(prepared, autocommit=True) as crm:
        crm.execute("CREATE TABLE times (id int, opens time, photo bytea)")
        crm.execute(r"INSERT INTO times VALUES (1, '24:00', NULL), (2, '09:00', '\x00'), (3, '10:00', NULL)")
    read = sorted(reading(prepared, "times", ["opens", "photo"]))
    assert [mapped(row[1]) for row in read] == ["24:00:00", "09:00:00", "10:00:00"]
    assert [isinstance(mapped(row[2]), Rejection) for row in read] == [False, True, False]


def test_bytes_that_are_no_text_cost_no_other_its_row(postgres_server: EmbeddedPostgres) -> None:
    """In a database that does not say how its texts are encoded."""
    with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as admin:
        admin.execute("CREATE DATABASE test_ascii ENCODING 'SQL_ASCII' TEMPLATE template0 LOCALE 'C'")
    url = postgres_server.url("test_ascii")
    with psycopg.connect(url, autocommit=True) as crm:
        crm.execute("CREATE TABLE latin (id int, name text, city text)")
        crm.execute("INSERT INTO latin SELECT n, 'Jose', 'Cali' FROM generate_series(0, 9) AS n")
        crm.execute(r"UPDATE latin SET name = convert_from('\x4a6f73e9', 'SQL_ASCII') WHERE id IN (3, 7)")
    with closing(CrmConnection(url, None, "delivery", 10)) as connection:
        reader = RowReader(connection, ("public", "latin"), "id", ["name", "city"], None, 'sync "web"')
        read = {row[0]: mapped(row[1]) for row in reader.read([str(key) for key in range(12)])}
    postgres_server.drop_database("test_ascii")
    assert sorted(read) == [str(key) for key in range(10)]
    assert {key for key, city in read.items() if city != "Jose"} == {"3", "7"}
    assert isinstance(read["3"], Rejection)


def test_the_page_says_what_these_tests_see() -> None:
    told = rows(page("types.md"), "value")
    assert len(told) > 30
    for value, *path, text in told:
        (expression,), written = ticked(value), ticked(text)
        if path:
            assert PATHS[expression, ticked(path[0])[0]] == "".join(written)
        elif written or not text:
            assert TEXTS[expression] == "".join(written)
        else:
            assert f"rejected: {REJECTED[expression]}" == text
