"""What operators do while the daemon runs: it heeds them by itself."""

from __future__ import annotations

import json

from syncd.cli import main
from syncd.ledger import views
from tests.daemon.conftest import Start
from tests.daemon.test_life import arrived, is_sound, ledger_of, states
from tests.support.process import Process
from tests.support.site import Site
from tests.support.waiting import eventually

WAKEFUL = "import sys, syncd.loops; syncd.loops._LONGEST_SLEEP_SECS = 1.0;from syncd.cli import main; sys.exit(main())"
"""The same program, with a second for the minute after which delivery looks by itself."""


def state_of(daemon: Process) -> str:
    return str(json.loads(daemon.get("/status")[1])["state"])


def remark_of(daemon: Process) -> str | None:
    remark: str | None = json.loads(daemon.get("/status")[1])["syncs"][0]["remark"]
    return remark


def test_a_pause_holds_what_comes_and_a_resumption_sends_it(each_ledger: Site, start: Start) -> None:
    site = each_ledger
    site.write(delivery__max_wait_secs=1)
    daemon = start(site)
    arrived(site, site.insert(1))
    assert main(["pause", "web", "--reason", "a new campaign", "--config", str(site.config)]) == 0
    ids = site.insert(3, 10)
    eventually(lambda: state_of(daemon) == "paused", "it says that it is paused")
    assert states(site) == {"delivered": 1, "pending": 3}
    assert remark_of(daemon) == "paused: a new campaign. `syncd resume web` sends its leads."
    assert "paused: web is paused: a new campaign." in daemon.get("/")[1]
    assert daemon.end() == 0
    again = start(site)
    eventually(lambda: state_of(again) == "paused", "a restart forgets nothing")
    assert main(["resume", "web", "--config", str(site.config)]) == 0
    arrived(site, ids)
    eventually(lambda: states(site) == {"delivered": 4}, "all are delivered")
    assert remark_of(again) is None
    assert again.end() == 0
    is_sound(site)


def test_a_bulk_change_pauses_its_sync_and_says_so_once(each_ledger: Site, start: Start) -> None:
    site = each_ledger
    first = site.document["sync"][0]
    calm = {**first, "name": "calm", "where": "document LIKE 'calm-%'", "max_leads_per_hour": 1000}
    web = {**first, "where": "document LIKE 'doc-%'", "resend": "when-changed", "max_leads_per_hour": 20}
    site.write(sync=[web, calm], delivery__max_wait_secs=1)
    ids = site.insert(50)
    site.execute("UPDATE leads SET updated_at = now() - interval '2 hours'")  # they were there before: no surge
    daemon = start(site)
    arrived(site, ids)
    eventually(lambda: states(site) == {"delivered": 50}, "all are delivered")
    site.execute("UPDATE leads SET name = 'Otra Persona', updated_at = now()")
    said = daemon.wait_for("delivery.paused", sync="web")
    assert "50 leads within an hour are more than max_leads_per_hour = 20" in said["reason"]
    site.execute("INSERT INTO leads (document, name, mobile) VALUES ('calm-1', 'X Y', '3009999999')")
    eventually(lambda: "calm-1" in site.accepted(), "the other sync goes on")
    assert set(site.accepted().values()) == {1}
    assert main(["resume", "web", "--reason", "we meant it", "--config", str(site.config)]) == 0
    eventually(lambda: sum(site.accepted().values()) == 101, "all are sent again, once")
    eventually(lambda: states(site) == {"delivered": 51}, "all are delivered")
    assert len(daemon.events("delivery.paused")) == 1
    assert daemon.end() == 0
    ledger = ledger_of(site)
    try:
        assert [(act.who == "syncd", act.what) for act in ledger.doubts.acts(10)] == [
            (False, "resume"),
            (True, "pause"),
        ]
        with ledger.home.read() as connection:
            assert {view.paused for view in views.syncs(connection)} == {None}
    finally:
        ledger.close()
    is_sound(site)


def test_a_retried_lead_leaves_by_itself(site: Site, start: Start) -> None:
    site.write(delivery__max_wait_secs=1)
    site.execute("INSERT INTO leads (document, name, mobile) VALUES ('doc-1', 'X Y', '12')")
    daemon = start(site, program=WAKEFUL)
    daemon.wait_until_sending()
    eventually(lambda: states(site) == {"rejected": 1}, "it is rejected")
    site.execute("UPDATE leads SET mobile = '3000000001'")  # and updated_at stays: capture does not see it
    assert main(["retry", "web", "--state", "rejected", "--config", str(site.config)]) == 0
    eventually(lambda: site.accepted() == {"doc-1": 1}, "it leaves by itself")
    assert daemon.end() == 0
