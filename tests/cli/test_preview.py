"""What `syncd preview` tells of single rows and of the whole table."""

from __future__ import annotations

import re

import pytest

from syncd.cli import preview as command
from syncd.cli.preview import mask
from tests.cli.conftest import Run
from tests.support.site import FIELDS, Site


@pytest.fixture
def mixed(site: Site) -> Site:
    """Seven leads: four good, two with no telephone, one with a number that there is not."""
    site.insert(4)
    site.execute(
        "INSERT INTO leads (document, name, mobile) VALUES ('doc-5', 'Canario Uno', NULL),"
        " ('doc-6', 'Canario Dos', ''), ('doc-7', 'Canario Tres', '12')"
    )
    return site


def test_each_field_tells_its_origin_and_the_value_after_each_rule(run: Run, site: Site) -> None:
    site.execute(
        "INSERT INTO leads (document, name, mobile, email) VALUES"
        " ('doc-1', 'Canario Amarillo', '+57 300 123-4567', 'C@Example.com')"
    )
    (lead,) = run("preview", "web", "--unmasked", "--json").json["leads"]
    told = {field["field"]: field for field in lead["fields"]}
    assert list(told) == ["customer_name", "customer_last_name", "customer_id", "tel1", "email"]
    assert told["tel1"]["steps"][0] == {"rule": "source", "value": "+57 300 123-4567"}
    assert {"rule": "phone", "value": "93001234567"} in told["tel1"]["steps"]
    assert 'column "mobile"' in told["tel1"]["from"]
    assert {"rule": "split", "value": "Amarillo"} in told["customer_last_name"]["steps"]
    assert all(field["rejected"] is None for field in told.values())
    assert re.search(r"source: \+57 300 123-4567 > phone: 93001234567", run("preview", "web", "--show").out)


def test_what_is_masked_shows_in_no_step(run: Run, site: Site) -> None:
    site.execute("INSERT INTO leads (document, name, mobile) VALUES ('doc-1', 'Canario Amarillo', '+57 300 1234567')")
    site.write(sync__0__fields={**FIELDS, "opt1": {"value": "from the web"}})
    for form in ((), ("--json",)):
        out = run("preview", "web", *form).out
        assert not re.search("Canario|Amarillo|3001234567|1234567", out)
        assert "from the web" in out  # a constant is the operator's own
    (lead,) = run("preview", "web", "--json").json["leads"]
    (tel1,) = [field for field in lead["fields"] if field["field"] == "tel1"]
    assert tel1["steps"][0]["value"] == "+** *** ******7"


def test_every_fault_of_a_row_is_told_and_the_first_is_its_reason(run: Run, site: Site) -> None:
    site.write(sync__0__fields={**FIELDS, "city": {"column": "name", "lookup": {"x": "X"}}})
    site.execute("INSERT INTO leads (document, name, mobile) VALUES ('doc-1', 'Canario', '12')")
    said = run("preview", "web", "--json")
    (lead,) = said.json["leads"]
    assert said.status == 0
    assert lead["rejected"]["field"] == "city"
    faults = {field["field"]: field["rejected"]["rule"] for field in lead["fields"] if field["rejected"]}
    assert faults == {"city": "lookup", "tel1": "phone"}


def test_the_whole_table_is_counted_by_reason_with_keys_of_examples(run: Run, mixed: Site) -> None:
    table = run("preview", "web", "-n", "1", "--json").json["table"]
    assert (table["rows"], table["would_pass"], table["complete"], table["trouble"]) == (7, 4, True, None)
    assert [(some["rule"], some["rows"], some["keys"]) for some in table["stopped"]] == [
        ("telephone", 2, ["6", "5"]),
        ("phone", 1, ["7"]),
    ]
    out = run("preview", "web", "-n", "1").out
    assert "Of all 7 rows that match, 4 would pass and 3 would not." in out
    assert re.search(r"^ *2 .*There is no telephone.*6, 5", out, re.MULTILINE)


def test_the_count_goes_page_by_page_and_says_where_it_ended(
    run: Run, mixed: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_PAGE", 2)
    assert run("preview", "web", "--json").json["table"]["rows"] == 7
    monkeypatch.setattr(command, "_COUNTED", 4)
    table = run("preview", "web", "--json").json["table"]
    assert (table["rows"], table["complete"], table["would_pass"]) == (4, False, 1)
    out = run("preview", "web").out
    assert "Of the 4 rows with the greatest keys, 1 would pass and 3 would not." in out
    assert "--all counts the whole table." in out
    assert run("preview", "web", "--all", "--json").json["table"]["rows"] == 7
    assert run("preview", "web", "--no-all", "--json").json["table"] is None


def test_only_what_matches_and_came_since_the_start_is_counted(run: Run, mixed: Site) -> None:
    mixed.execute("UPDATE leads SET consent = false WHERE id = 1")
    mixed.execute("UPDATE leads SET updated_at = '2020-01-01' WHERE id = 2")
    mixed.write(sync__0__where="consent", sync__0__start="2021-01-01T00:00:00+00:00")
    table = run("preview", "web", "--json").json["table"]
    assert (table["rows"], table["would_pass"]) == (5, 2)


def test_rows_of_a_view_without_a_key_are_no_leads(run: Run, mixed: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    mixed.execute(
        "CREATE VIEW seen AS SELECT nullif(id, 7) AS id, document, name, mobile, email, updated_at FROM leads"
    )
    mixed.write(sync__0__table="public.seen")
    monkeypatch.setattr(command, "_PAGE", 1)
    assert run("preview", "web", "--json").json["table"]["rows"] == 6


def test_one_row_is_shown_by_its_key_and_said_not_to_match(run: Run, mixed: Site) -> None:
    mixed.write(sync__0__where="consent")
    assert [lead["key"] for lead in run("preview", "web", "--key", "3", "--json").json["leads"]] == ["3"]
    mixed.execute("UPDATE leads SET consent = false WHERE id = 3")
    said = run("preview", "web", "--key", "3", "--json").json
    assert (said["leads"][0]["matches"], said["table"]) == (False, None)
    assert "does not meet the sync's where" in run("preview", "web", "--key", "3").out
    said_none = run("preview", "web", "--key", "99")
    assert (said_none.status, said_none.out) == (1, "")
    assert said_none.err.startswith('syncd: public.leads has no row with id = "99".')


def test_a_lead_without_a_campaign_is_told_and_the_others_campaign_is_shown(run: Run, site: Site) -> None:
    site.insert(2)
    to = {"column": "document", "lookup": {"doc-1": "12345"}}
    site.write(sync__0__campaign={"id": to, "type": "predictive", "status": "start"})
    found = run("preview", "web", "--json").json
    assert (found["table"]["would_pass"], found["table"]["stopped"][0]["field"]) == (1, "campaign")
    none, routed = found["leads"]
    assert none["rejected"]["rule"] == "lookup"
    assert routed["campaign"] == "12345"
    assert routed["fields"][0]["steps"][0] == {"rule": "source", "value": "d**-1"}
    assert "campaign" not in routed["record"]


@pytest.mark.parametrize(
    ("value", "masked"),
    [
        ("3001234567", "3********7"),
        ("ana.prueba@example.com", "a**.******@*******.**m"),
        ("María Díaz", "M**** ***z"),
        ("abc", "***"),
        ("", ""),
    ],
)
def test_a_mask_keeps_length_and_shape(value: str, masked: str) -> None:
    assert mask(value) == masked
