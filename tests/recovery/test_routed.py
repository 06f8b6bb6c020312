"""`syncd recover` where one sync feeds several campaigns: a lead may have gone to another than it goes to now."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from syncd.restored import groups_of
from tests.recovery.conftest import Rig, flow
from tests.support.site import Site, simulated

CAMPAIGNS = {"12345": "predictive", "777": "predictive", "888": "predictive"}
RULE = {"column": "city", "lookup": {"Bogotá": "12345", "Cali": "777", "Pasto": "888"}}


def accepted(site: Site) -> Counter[tuple[str, str]]:
    return Counter(
        {(campaign, lead): times for campaign in CAMPAIGNS for lead, times in site.accepted(campaign).items()}
    )


def come(site: Site, first: int) -> None:
    """Two leads, one of each city."""
    site.insert(2, first)
    site.execute(
        "UPDATE leads SET city = CASE mod(id, 2) WHEN 0 THEN 'Cali' ELSE 'Bogotá' END, updated_at = now()"
        " WHERE id >= %s",
        [first],
    )


def test_leads_of_every_campaign_are_found_and_nobody_is_sent_twice(tmp_path: Path, database: str) -> None:
    with simulated(campaigns=CAMPAIGNS) as simulator:
        site = Site(tmp_path, database, simulator)
        site.make_table()
        site.execute("ALTER TABLE leads ADD COLUMN city text DEFAULT 'Bogotá'")
        rig = Rig(site, None)
        site.write(sync__0__campaign={"id": RULE, "type": "predictive", "status": "start"})
        come(site, 1)
        flow(rig)
        rig.copy()
        come(site, 3)
        flow(rig)
        sent = accepted(site)
        assert sent == {("12345", "doc-1"): 1, ("777", "doc-2"): 1, ("12345", "doc-3"): 1, ("777", "doc-4"): 1}
        rig.put_back()
        site.execute("UPDATE leads SET city = 'Bogotá', updated_at = now() WHERE id = 4")  # was sent to Cali's
        come(site, 5)
        found = rig.recover()
        assert (found["known"], found["delivered"], found["unsure"], found["absent"]) == (2, 2, 0, 2)
        flow(rig)
        assert accepted(site) - sent == {("12345", "doc-5"): 1, ("777", "doc-6"): 1}
        assert set(rig.leads().values()) == {"delivered"}


def test_campaigns_that_share_a_sync_are_looked_at_together() -> None:
    assert groups_of([{"1"}, {"2"}]) == [{"1"}, {"2"}]
    assert groups_of([{"1", "2"}, {"3"}, {"2", "4"}]) == [{"3"}, {"1", "2", "4"}]
    assert groups_of([{"1"}, {"2"}, {"1", "2"}]) == [{"1", "2"}]
    assert groups_of([{"1"}, {"1"}]) == [{"1"}]
