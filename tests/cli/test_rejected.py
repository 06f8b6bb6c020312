"""A lead that cannot be mapped: seen, counted by reason, corrected in the CRM, or retried after a change of the map."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Run
from tests.support.site import FIELDS, Site
from tests.support.work import work

CITY = {"column": "name", "lookup": {"Lucía Prueba 1": "Cali"}}
STRICT = {**FIELDS, "city": CITY}


@pytest.fixture
def rejected(site: Site) -> Site:
    """One lead was delivered; three were rejected by the lookup, and two for their telephones."""
    site.write(sync__0__fields=STRICT)
    site.insert(4)
    site.execute(
        "INSERT INTO leads (document, name, mobile) SELECT i, 'Lucía Prueba 1', '12' FROM generate_series(5, 6) i"
    )
    work(site)
    assert site.accepted() == {"doc-1": 1}
    return site


def states(run: Run) -> dict[str, str]:
    return {lead["key"]: lead["state"] for lead in run("leads", "web", "--json").json}


def test_they_are_counted_by_field_rule_and_reason(run: Run, rejected: Site) -> None:
    found = run("leads", "web", "--by-reason", "--json").json
    assert [(one["field"], one["rule"], one["leads"]) for one in found] == [("city", "lookup", 3), ("tel1", "phone", 2)]
    assert all(one["reason"].endswith(".") for one in found)
    out = run("leads", "web", "--by-reason").out
    assert "city" in out
    assert "pending" not in out
    assert run("leads", "web", "--by-reason", "--state", "held").status == 2


def test_none_rejected_is_said(run: Run, site: Site) -> None:
    site.insert(1)
    work(site)
    assert run("leads", "web", "--by-reason").out == "No lead is rejected.\n"
    assert run("leads", "web", "--by-reason", "--json").json == []


def test_one_that_is_corrected_in_the_crm_is_captured_again_by_itself(run: Run, rejected: Site) -> None:
    rejected.execute("UPDATE leads SET mobile = '3001234567', updated_at = now() WHERE id = 5")
    work(rejected)
    assert rejected.accepted() == {"doc-1": 1, "5": 1}
    assert states(run)["5"] == "delivered"
    assert states(run)["6"] == "rejected"


def test_after_a_change_of_the_map_retry_takes_those_that_its_field_rejected(run: Run, rejected: Site) -> None:
    rejected.write(sync__0__fields={**STRICT, "city": {**CITY, "default": "otra"}})
    work(rejected)
    assert rejected.accepted() == {"doc-1": 1}  # a new map alone sends nothing
    said = run("retry", "web", "--state", "rejected", "--field", "city", "--reason", "a default was added")
    assert said.out == "3 leads of web were rejected, and wait for their call again, behind what is new.\n"
    assert {key for key, state in states(run).items() if state == "rejected"} == {"5", "6"}
    work(rejected)
    assert rejected.accepted() == {f"doc-{n}": 1 for n in (1, 2, 3, 4)}
    assert run("acts", "--json").json[0]["subject"] == "web --state rejected --field city"
    assert run("retry", "web", "--state", "rejected", "--field", "city").out == "No lead of web is rejected by city.\n"
    assert run("retry", "web", "--state", "expired", "--field", "city").status == 2
    assert run("retry", "web", "--key", "5", "--field", "city").status == 2
