"""The daemon by each way of capturing: from `syncd setup` to the lead in wolkvox, through deaths and losses."""

from __future__ import annotations

import json
from collections.abc import Iterator

import psycopg
import pytest

from syncd.cli import main
from tests.daemon.conftest import Start
from tests.daemon.test_life import arrived, is_sound, states
from tests.support.site import Site
from tests.support.waiting import eventually

MODES = ("poll", "listen", "slot")


@pytest.fixture(params=MODES)
def ready(request: pytest.FixtureRequest, site: Site) -> Iterator[Site]:
    """A site whose CRM has what `syncd setup --apply` makes."""
    # Fast looks for polling; for the others so slow that only what arrives by itself is soon.
    site.write(
        wolkvox__licenses=100_000,
        sync__0__capture=request.param,
        sync__0__poll_secs=0.05 if request.param == "poll" else 60,
    )
    assert main(["--config", str(site.config), "setup", "web", "--apply"]) == 0
    yield site
    assert main(["--config", str(site.config), "setup", "web", "--remove"]) == 0


def test_leads_arrive_soon_and_once_whatever_dies(ready: Site, start: Start) -> None:
    ids = ready.insert(20)
    daemon = start(ready)
    arrived(ready, ids)
    ids += ready.insert(5, first=21)
    arrived(ready, ids)
    eventually(lambda: states(ready) == {"delivered": len(ids)}, "the outcome is written")
    daemon.kill()
    ids += ready.insert(5, first=26)  # while nobody watches
    daemon = start(ready)
    arrived(ready, ids)
    ready.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE application_name LIKE 'syncd %' AND datname = current_database()"
    )
    ids += ready.insert(5, first=31)
    arrived(ready, ids)
    assert daemon.end() == 0
    is_sound(ready)


def test_what_was_there_is_taken_too_where_the_start_says_so(ready: Site, start: Start) -> None:
    ready.execute("ALTER TABLE leads DISABLE TRIGGER USER")
    old = ready.insert(400)
    ready.execute("UPDATE leads SET updated_at = now() - interval '1 day'")
    ready.execute("ALTER TABLE leads ENABLE TRIGGER USER")
    daemon = start(ready)
    done = daemon.wait_for("intake.backfill", done=True)
    assert done["rows"] == 400
    arrived(ready, old)
    assert json.loads(daemon.get("/status")[1])["syncs"][0]["backfill"] is None


def test_a_table_that_loses_its_watch_is_swept_and_said(site: Site, start: Start) -> None:
    site.write(sync__0__capture="listen", sync__0__poll_secs=0.1)
    assert main(["--config", str(site.config), "setup", "web", "--apply"]) == 0
    daemon = start(site)
    daemon.wait_for("intake.looked")
    site.execute("DROP TRIGGER syncd_web_insert ON leads")
    ids = site.insert(3)
    trouble = daemon.wait_for("intake.trouble")
    assert "syncd setup web --apply" in trouble["reason"]
    arrived(site, ids)
    (sync,) = json.loads(daemon.get("/status")[1])["syncs"]
    assert sync["remark"] == trouble["reason"]
    ids += site.insert(3, first=4)
    assert main(["--config", str(site.config), "setup", "web", "--apply"]) == 0
    daemon.wait_for("intake.recovered")
    arrived(site, ids)
    eventually(lambda: json.loads(daemon.get("/status")[1])["syncs"][0]["remark"] is None, "nothing is to be remarked")


def test_each_connection_says_which_syncd_it_is_and_what_for(site: Site, start: Start) -> None:
    for mode, purposes in (
        ("listen", {"capture", "delivery", "outbox"}),
        ("slot", {"capture", "delivery", "slot web"}),
    ):
        site.write(sync__0__capture=mode)
        assert main(["--config", str(site.config), "setup", "web", "--apply"]) == 0
        daemon = start(site)
        ids = site.insert(1, first=1 if mode == "listen" else 2)
        arrived(site, ids)
        with psycopg.connect(site.crm) as crm:
            names = crm.execute(
                "SELECT application_name FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name LIKE 'syncd %'"
            ).fetchall()
        assert sorted(name for (name,) in names) == sorted(f"syncd {purpose} wv0042" for purpose in purposes)
        assert daemon.end() == 0
