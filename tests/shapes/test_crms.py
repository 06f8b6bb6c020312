"""Each configuration of docs/crms.md, run on its CRM's tables: each row becomes what it should."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.cli.conftest import Run
from tests.daemon.conftest import Start
from tests.docs.pages import page
from tests.shapes.crms import CRMS, Own, Rows, Shape
from tests.shapes.people import PEOPLE, Person
from tests.support.site import Site
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(180)


def section(crm: str) -> str:
    found = re.search(rf"^## {crm}\n(.*?)(?=^## |\Z)", page("crms.md"), re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def blocks(crm: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", section(crm), re.DOTALL | re.MULTILINE)


def documented(crm: str) -> dict[str, Any]:
    """The sync of the page, which begins at the beginning and asks often."""
    (block,) = blocks(crm, "toml")
    (sync,) = tomllib.loads(block)["sync"]
    return {"start": "beginning", "poll_secs": 0.05, **sync}


def insert(connection: psycopg.Connection, rows: Rows) -> None:
    for table, columns in rows:
        names = sql.SQL(", ").join(map(sql.Identifier, columns))
        values = sql.SQL(", ").join(map(sql.Literal, columns.values()))
        into = sql.Identifier(*table.split("."))
        connection.execute(sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(into, names, values))


def leads_of(shape: Shape) -> dict[str, Own]:
    """Every lead by what is odd about it: the people whom all CRMs share, and its own."""
    found = {}
    for number, (what, person) in enumerate(PEOPLE.items(), start=1):
        found[what] = Own(shape.place(number, person), *expected(shape, what, person))
    return found | dict(shape.own)


def expected(shape: Shape, what: str, person: Person) -> tuple[dict[str, str], tuple[str, str] | None]:
    if what == "two numbers in one cell":
        return (person.sent | {"tel2": "93000000015"}, None) if shape.spreads else ({}, ("tel1", "phone"))
    return person.sent, person.rejected


def key_of(own: Own) -> str:
    """The key of a lead: its first row is that of the base table."""
    columns = own.rows[0][1]
    return str(columns.get("id", columns.get("Id")))


def fill(site: Site, crm: str, shape: Shape, leads: dict[str, Own]) -> None:
    with psycopg.connect(site.crm, autocommit=True) as connection:
        connection.execute(shape.ddl.encode())
        for view in blocks(crm, "sql"):
            connection.execute(view.encode())
        with connection.transaction():
            insert(connection, shape.before)
            for own in leads.values():
                insert(connection, own.rows)


@pytest.mark.parametrize("crm", CRMS)
def test_every_row_of_a_crm_becomes_what_it_should(crm: str, site: Site, start: Start, run: Run) -> None:
    shape = CRMS[crm]
    leads = leads_of(shape)
    if crm == "Chatwoot":  # its `where` leaves these out
        leads |= {what: Own(leads[what].rows) for what in ("no telephone", "an empty telephone")}
        leads["an empty telephone"].rows[0][1]["phone_number"] = ""
    assert len(leads) >= 20
    fill(site, crm, shape, leads)
    site.write(sync=[documented(crm)])
    said = run("check")
    assert said.status == 0, said.out + said.err
    name = documented(crm)["name"]
    sent = {key_of(own): (what, own.sent) for what, own in leads.items() if own.sent}
    rejected = {key_of(own): own.rejected for own in leads.values() if own.rejected}
    daemon = start(site)

    def settled() -> bool:
        said = run("leads", name, "--json")
        if said.status != 0:  # the ledger knows no such sync yet
            return False
        states = {lead["state"] for lead in said.json}
        return states == {"delivered", "rejected"}

    daemon.wait_until_sending()
    eventually(settled, f"all leads are settled; log:\n{daemon.output[-3000:]}", secs=60)
    assert daemon.end() == 0
    found = run("leads", name, "--json").json
    assert {lead["key"] for lead in found} == sent.keys() | rejected.keys()
    told = {lead["key"]: (lead["field"], lead["rule"]) for lead in found if lead["state"] == "rejected"}
    assert told == rejected
    assert all(lead["reason"].endswith(".") for lead in found if lead["state"] == "rejected")
    records = records_of(site)
    assert len(records) == len(sent)
    for key, (what, fields) in sent.items():
        record = records[fields.get("customer_id", shape.customer_id(key))]
        full = f"{record['customer_name']} {record['customer_last_name']}".strip()
        assert {field: (record | {"full": full})[field] for field in fields} == fields, what


def records_of(site: Site) -> dict[str, dict[str, str]]:
    return {record["customer_id"]: record for body in site.simulator.state.bodies() for record in json.loads(body)}


def test_the_page_has_a_section_for_each_crm_and_no_other() -> None:
    titles = re.findall(r"^## (.+)$", page("crms.md"), re.MULTILINE)
    assert titles == list(CRMS)
