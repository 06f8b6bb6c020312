"""A table that feeds several campaigns: what the commands say of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from syncd.config import load
from syncd.errors import ConfigError
from tests.cli.conftest import Run
from tests.support.site import Site, simulated
from tests.support.work import work

LOOKUP = {"Bogotá": "12345", "Cali": "777"}


def campaign(**rule: Any) -> dict[str, Any]:
    return {"id": {"column": "city", "lookup": LOOKUP, **rule}, "type": "predictive", "status": "start"}


@pytest.fixture
def site(tmp_path: Path, database: str) -> Iterator[Site]:
    """A site with leads of two cities, and one of a third."""
    with simulated(campaigns={"12345": "predictive", "777": "predictive", "999": "preview"}) as simulator:
        made = Site(tmp_path, database, simulator)
        made.make_table()
        made.execute("ALTER TABLE leads ADD COLUMN city text")
        made.insert(5)
        made.execute("UPDATE leads SET city = (ARRAY['Bogotá', 'Cali', 'Pasto'])[least(id, 3)]")
        made.execute("UPDATE leads SET city = 'Cali' WHERE id > 3")
        made.write(sync__0__campaign=campaign())
        yield made


def test_leads_flow_to_their_campaigns_and_the_commands_name_them(run: Run, site: Site) -> None:
    work(site)
    assert set(site.accepted("12345")) == {"doc-1"}
    assert set(site.accepted("777")) == {"doc-2", "doc-4", "doc-5"}
    assert {call["campaign"] for call in run("calls", "--json").json} == {"12345", "777"}
    (lost,) = run("leads", "web", "--state", "rejected", "--json").json
    assert lost["key"] == "3"
    assert "campaign" in str(lost)
    site.write(sync__0__campaign=campaign(default="12345"))
    assert run("retry", "web", "--state", "rejected").status == 0
    work(site)
    assert set(site.accepted("12345")) == {"doc-1", "doc-3"}


def test_check_asks_about_each_campaign_of_the_lookup_and_of_its_default(run: Run, site: Site) -> None:
    site.write(sync__0__campaign=campaign(default="999"))
    said = run("check")
    assert said.status == 78
    assert "campaign 12345: is there" in said.out
    assert "campaign 777: is there" in said.out
    assert "campaign 999: is of type preview in wolkvox" in said.err
    site.write(sync__0__campaign=campaign(default="555"))
    assert "campaign 555: wolkvox knows no such campaign" in run("check").err


def test_check_says_that_the_column_of_the_rule_is_not_there(run: Run, site: Site) -> None:
    site.write(sync__0__campaign=campaign(column="town"))
    said = run("check", "--no-calls")
    assert (said.status, "has no column town" in said.err) == (78, True)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (campaign(lookup={"Cali": "abc"}), 'campaign.id = "abc": must be the campaign\'s number'),
        (campaign(lokup={}), "campaign.id.lokup: unknown key; did you mean lookup"),
        (campaign(column=7), "campaign.id.column = 7: must be a text"),
        (campaign(template="{city}"), "campaign.id"),
        ({**campaign(), "id": "x"}, 'campaign.id = "x": must be the campaign\'s number'),
        ({**campaign(), "id": 5}, "campaign.id = 5: must be a text"),
    ],
)
def test_a_rule_that_cannot_be_is_said_when_the_file_is_read(site: Site, value: Any, words: str) -> None:
    site.write(sync__0__campaign=value)
    with pytest.raises(ConfigError) as refused:
        load(site.config)
    assert words in str(refused.value)
