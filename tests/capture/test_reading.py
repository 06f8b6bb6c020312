"""Delivery reads the current rows of captured keys, whatever the table, its names and its types are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from psycopg import sql

from syncd.crm import CrmConnection, RowReader
from syncd.errors import CrmFault, CrmUnavailable
from tests.capture.conftest import Catch
from tests.capture.harness import Leads
from tests.capture.test_conformance import KEYS

Reader = Callable[..., RowReader]


@pytest.fixture
def reader(database: str) -> Iterator[Reader]:
    """``reader(leads, "note")`` reads that column of the table."""
    connection = CrmConnection(database, None, "delivery", 10)

    def reader(leads: Leads, *columns: str) -> RowReader:
        return RowReader(connection, ("public", leads.name), leads.key, columns, leads.where, 'sync "leads"')

    yield reader
    connection.close()


@pytest.mark.parametrize("key_type", KEYS)
def test_what_was_captured_is_read_back_by_its_key(
    catch: Catch, crm: psycopg.Connection, reader: Reader, key_type: str
) -> None:
    catcher = catch(key_type=key_type)
    for number, key in enumerate(KEYS[key_type]):
        catcher.leads.add(crm, key, note=f"note {number}")
    catcher.drain()
    rows = reader(catcher.leads, "note").read(sorted(catcher.keys))
    assert {key for key, _ in rows} == catcher.keys
    assert sorted(note for _, note in rows) == [f"note {number}" for number in range(7)]
    assert reader(catcher.leads, "note").read([]) == []


@pytest.mark.parametrize("odd", ["%s", "100%", "a}b{c", 'q"q', "from", "Año", "x;--"])
def test_names_are_taken_as_they_are(crm: psycopg.Connection, reader: Reader, odd: str) -> None:
    leads = Leads(name=f"t {odd}", key=f"k {odd}", where="true -- 100 % of them")
    leads.create(crm)
    leads.add(crm, 1)
    crm.execute(sql.SQL("ALTER TABLE {} RENAME note TO {}").format(leads.identifier, sql.Identifier(f"n {odd}")))
    assert reader(leads, f"n {odd}").read(["1", "2"]) == [("1", "")]
    assert reader(leads, f"n {odd}").sample(5) == [("1", "")]


def test_rows_that_are_gone_or_match_no_more_are_not_read(crm: psycopg.Connection, reader: Reader) -> None:
    leads = Leads(where="note = 'hot'")
    leads.create(crm)
    for key, note in ((1, "hot"), (2, "cold"), (3, "hot")):
        leads.add(crm, key, note=note)
    assert sorted(reader(leads, "note").read(["1", "2", "3", "4"])) == [("1", "hot"), ("3", "hot")]


VALUES: dict[str, Any] = {
    "'infinity'::date": "infinity",
    "'0044-03-15 BC'::date": "0044-03-15 BC",
    "'12000-01-01'::timestamptz": "12000-01-01 00:00:00+00",
    "'-infinity'::timestamp": "-infinity",
    "'2026-03-01'::date": date(2026, 3, 1),
    "'2026-03-01 12:00+02'::timestamptz": datetime(2026, 3, 1, 10, tzinfo=UTC),
    "'1 year 2 days'::interval": "1 year 2 days",
    "1.50::numeric": Decimal("1.50"),
    "'{\"a\": [1, null]}'::jsonb": {"a": [1, None]},
    "ARRAY['x', NULL]": ["x", None],
    "NULL::text": None,
    "true": True,
}


@pytest.mark.parametrize("value", VALUES)
def test_whatever_the_crm_holds_comes_through(crm: psycopg.Connection, reader: Reader, value: str) -> None:
    crm.execute(f"CREATE TABLE leads AS SELECT 1 AS id, {value} AS held".encode())
    assert reader(Leads(), "held").read(["1"]) == [("1", VALUES[value])]


def test_a_table_replaced_by_one_with_another_type_of_key_is_read_after_one_failure(
    crm: psycopg.Connection, reader: Reader
) -> None:
    leads = Leads()
    leads.create(crm)
    leads.add(crm, 1)
    reading = reader(leads, "note")
    assert reading.read(["1"]) == [("1", "")]
    crm.execute("DROP TABLE leads")
    Leads(key_type="text").create(crm)
    leads.add(crm, "x")
    with pytest.raises(CrmFault):
        reading.read(["x"])
    assert reading.read(["x"]) == [("x", "")]


def test_a_connection_that_was_lost_meanwhile_is_made_anew_at_once(crm: psycopg.Connection, reader: Reader) -> None:
    leads = Leads()
    leads.create(crm)
    leads.add(crm, 1)
    reading = reader(leads, "note")
    assert reading.read(["1"]) == [("1", "")]
    crm.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'syncd delivery'")
    assert reading.read(["1"]) == [("1", "")]


def test_a_query_that_takes_too_long_is_not_asked_again(
    crm: psycopg.Connection, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    crm.execute("CREATE TABLE leads (id bigint, note text)")
    crm.execute("INSERT INTO leads VALUES (1, '')")
    connection = CrmConnection(database, None, "delivery", 1)
    slow = RowReader(connection, ("public", "leads"), "id", ("note",), "pg_sleep(30) IS NOT NULL", 'sync "leads"')
    connects: list[CrmConnection] = []
    connect = CrmConnection._connect

    def counting(self: CrmConnection) -> psycopg.Connection[tuple[Any, ...]]:
        connects.append(self)
        return connect(self)

    monkeypatch.setattr(CrmConnection, "_connect", counting)
    with pytest.raises(CrmUnavailable, match='gave up a query of sync "leads" after 1 seconds'):
        slow.read(["1"])
    connection.close()
    assert len(connects) == 1
