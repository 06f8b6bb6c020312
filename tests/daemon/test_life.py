"""The daemon as a process of its own: it starts, works, is told to reload and to stop, dies, and is started again."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import psycopg
import pytest

from syncd.config import load
from syncd.embedded import EmbeddedPostgres
from syncd.ledger import Ledger, open_ledger, views
from syncd.simulator import Fault, Simulator
from tests.daemon.conftest import Start
from tests.support.process import Process
from tests.support.site import Site
from tests.support.toml import changed, text
from tests.support.waiting import eventually


def ledger_of(site: Site) -> Ledger:
    """The site's ledger, as another process sees it."""
    return open_ledger(load(site.config), site.config, purpose="test", tables="require")


def states(site: Site) -> dict[str, int]:
    """Leads by state, over all syncs; states that none is in are left out."""
    ledger = ledger_of(site)
    try:
        found: dict[str, int] = {}
        for (_, state), leads in ledger.tally().items():
            found[state] = found.get(state, 0) + leads
        return found
    finally:
        ledger.close()


def is_sound(site: Site) -> None:
    """At rest, the counts by state are those of the leads themselves."""
    ledger = ledger_of(site)
    try:
        assert ledger.tally() == ledger.recount()
    finally:
        ledger.close()


def arrived(site: Site, ids: list[str]) -> None:
    """Wait until wolkvox has them all; once each."""
    eventually(lambda: set(site.accepted()) >= set(ids), f"{len(ids)} leads arrive")
    assert {lead: count for lead, count in site.accepted().items() if count != 1} == {}


# -- at work -----------------------------------------------------------------------------------------------------


def test_leads_that_come_while_it_runs_arrive_once(each_ledger: Site, start: Start) -> None:
    site = each_ledger
    ids = site.insert(20)
    daemon = start(site)
    arrived(site, ids)
    for first in (100, 200, 300):
        ids += site.insert(5, first)
        arrived(site, ids)
    site.execute("UPDATE leads SET updated_at = now(), name = 'Otra Persona'")
    looked = len(daemon.events("intake.looked"))
    eventually(lambda: len(daemon.events("intake.looked")) > looked + 3, "it looks again")
    arrived(site, ids)
    assert daemon.end() == 0
    assert set(site.accepted()) == set(ids)
    assert states(site) == {"delivered": 35}
    is_sound(site)


def test_a_lead_whose_consent_was_withdrawn_meanwhile_is_not_sent(
    site: Site, start: Start, simulator: Simulator
) -> None:
    simulator.script(Fault("hang", api="add_record", stored=True))
    site.write(sync__0__where="consent", delivery__batch_size=1, wolkvox__call_timeout_secs=60)
    site.insert(2)
    daemon = start(site)
    eventually(lambda: simulator.state.in_flight() == 1, "the first lead is on its way")
    site.execute("UPDATE leads SET consent = false WHERE id = 2")  # and updated_at stays
    simulator.clear_faults()
    simulator.release()
    eventually(lambda: states(site).get("withdrawn") == 1, "the second is withdrawn")
    assert daemon.end() == 0
    assert site.accepted() == {"doc-1": 1}


# -- the end -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_in_the_middle_of_a_call_it_finishes_and_settles_it(
    each_ledger: Site, start: Start, simulator: Simulator, number: signal.Signals
) -> None:
    site = each_ledger
    site.write(delivery__batch_size=5)
    simulator.script(Fault("hang", api="add_record", stored=True))
    site.insert(12)
    daemon = start(site)
    eventually(lambda: simulator.state.in_flight() == 1, "a call is under way")
    daemon.send(number)
    ledger = ledger_of(site)
    try:
        with ledger.home.read() as connection:
            (call,) = views.calls(connection, unresolved=True, limit=10)
    finally:
        ledger.close()
    assert (call.state, call.leads) == ("intended", 5)
    with pytest.raises(subprocess.TimeoutExpired):  # it stays as long as the call
        daemon.popen.wait(1)
    simulator.clear_faults()
    simulator.release()
    assert daemon.popen.wait(20) == 0
    assert daemon.events()[-1]["event"] == "daemon.stopped"
    assert states(site) == {"delivered": 5, "pending": 7}
    assert sum(site.accepted().values()) == 5


def test_told_to_stop_while_idle_it_ends_at_once(site: Site, start: Start) -> None:
    daemon = start(site)
    daemon.wait_for("intake.looked")
    assert daemon.end(secs=5) == 0
    assert [event["event"] for event in daemon.events()][-1] == "daemon.stopped"


def test_what_was_left_pending_goes_on_with_the_next_start(site: Site, start: Start, simulator: Simulator) -> None:
    simulator.script(Fault("reply", api="add_record", status=403, body='{"code":"403","msg":"x"}', times=0))
    ids = site.insert(3)
    first = start(site)
    first.wait_for("call.finished", outcome="refused")
    assert first.end() == 0
    assert states(site) == {"pending": 3}
    simulator.clear_faults()
    simulator.release()
    start(site)
    arrived(site, ids)


# -- reload ------------------------------------------------------------------------------------------------------


def test_a_reload_takes_the_new_file_up(site: Site, start: Start) -> None:
    ids = site.insert(2)
    site.write(sync__0__where="name NOT LIKE 'Lucía%'")
    daemon = start(site)
    daemon.wait_for("intake.looked", count=2)
    assert site.accepted() == {}
    site.write(sync__0__where="consent")
    site.execute("UPDATE leads SET updated_at = now()")
    daemon.send(signal.SIGHUP)
    daemon.wait_for("daemon.reloading")
    daemon.wait_for("sender.began", count=2)
    arrived(site, ids)
    assert daemon.end() == 0


BAD_FILES = {
    "no TOML": ("", {}),
    "an unknown key": (None, {"crm.urll": "x"}),
    "a missing token": (None, {"wolkvox.token_file": "none"}),
    "a missing password": (None, {"crm.password_file": "none"}),
    "a missing key of the ledger": (None, {"ledger.hash_key_file": "none"}),
    "a missing password of the ledger": (None, {"ledger.password_file": "none"}),
}


@pytest.mark.parametrize("what", BAD_FILES)
def test_a_reload_of_a_bad_file_changes_nothing_and_is_logged(site: Site, start: Start, what: str) -> None:
    daemon = start(site)
    daemon.wait_for("intake.looked")
    bad, changes = BAD_FILES[what]
    site.config.write_text("[crm" if bad == "" else text(changed(site.document, changes)))
    daemon.send(signal.SIGHUP)
    refused = daemon.wait_for("daemon.reload_refused")
    assert refused["problems"][0].startswith(f"{site.config}: ")
    arrived(site, site.insert(2))
    site.write()
    daemon.send(signal.SIGHUP)
    daemon.wait_for("daemon.reloading")
    arrived(site, site.insert(2, 10))
    assert daemon.end() == 0


def test_a_storm_of_signals_neither_hangs_nor_ends_it(site: Site, start: Start) -> None:
    daemon = start(site)
    daemon.wait_for("intake.looked")
    site.config.write_text("[crm")
    for _ in range(20):
        refused = len(daemon.events("daemon.reload_refused"))
        for _ in range(50):
            daemon.send(signal.SIGHUP)
        eventually(
            lambda refused=refused: len(daemon.events("daemon.reload_refused")) > refused,  # type: ignore[misc]
            "it heeds them",
        )
    arrived(site, site.insert(1))
    assert daemon.end() == 0


def test_a_reload_in_the_middle_of_a_call_settles_it_first(site: Site, start: Start, simulator: Simulator) -> None:
    simulator.script(Fault("hang", api="add_record", stored=True))
    ids = site.insert(3)
    daemon = start(site)
    eventually(lambda: simulator.state.in_flight() == 1, "a call is under way")
    daemon.send(signal.SIGHUP)
    daemon.wait_for("daemon.reloading")
    simulator.clear_faults()
    simulator.release()
    daemon.wait_for("sender.began", count=2)
    ids += site.insert(2, 10)
    arrived(site, ids)
    assert daemon.end() == 0
    assert states(site) == {"delivered": 5}


# -- death -------------------------------------------------------------------------------------------------------


def test_killed_in_the_middle_of_load_again_and_again_it_loses_nothing_and_holds_the_call_in_flight(
    each_ledger: Site, start: Start, simulator: Simulator
) -> None:
    site = each_ledger
    site.write(delivery__batch_size=10, wolkvox__concurrent_calls=1)
    simulator.script(Fault("latency", api="add_record", seconds=0.15, times=0))
    ids = site.insert(100)
    kills = 3
    for number in range(kills):
        before = sum(site.accepted().values())
        daemon = start(site, hasty=True)
        eventually(lambda before=before: sum(site.accepted().values()) > before, "it works")  # type: ignore[misc]
        eventually(lambda: simulator.state.in_flight() == 1, "a call is under way", look_secs=0.001)
        daemon.kill()
        ids += site.insert(10, 1000 * (number + 1))
    daemon = start(site, hasty=True)
    eventually(lambda: not {"pending", "sending"} & states(site).keys(), "all is settled", look_secs=0.2)
    assert daemon.end() == 0
    is_sound(site)

    accepted = site.accepted()
    assert {lead: count for lead, count in accepted.items() if count != 1} == {}
    ledger = ledger_of(site)
    try:
        with ledger.home.read() as connection:
            unresolved = views.calls(connection, unresolved=True, limit=100)
            held = {lead.key: lead for lead in views.leads(connection, "web", "held", 1000)}
            delivered = views.leads(connection, "web", "delivered", 1000)
    finally:
        ledger.close()
    assert len(unresolved) <= kills
    assert {call.state for call in unresolved} <= {"unknown"}
    assert sum(call.leads for call in unresolved) == len(held)
    assert {lead.call_id for lead in held.values()} == {call.id for call in unresolved}
    assert len(held) + len(delivered) == len(ids) == 130
    assert set(ids) - set(accepted) == {f"doc-{key}" for key in numbers_of(site, held) if f"doc-{key}" not in accepted}
    assert all(event["leads"] == 10 for event in daemon.events("call.unresolved"))


def numbers_of(site: Site, keys: object) -> list[str]:
    """The numbers in the customer ids of the rows with these keys."""
    with psycopg.connect(site.crm) as connection:
        rows = connection.execute("SELECT id::text, document FROM leads").fetchall()
    return [document.removeprefix("doc-") for key, document in rows if key in keys]  # type: ignore[operator]


def test_a_second_daemon_stands_by_and_takes_over_when_the_first_dies(each_ledger: Site, start: Start) -> None:
    site = each_ledger
    first = start(site, hasty=True)
    first.wait_until_sending()
    second = start(site, hasty=True)
    said = second.wait_for("sender.standby")
    assert str(first.pid) in said["reason"]
    assert second.get("/livez")[0] == 200
    assert '"state":"standby"' in second.get("/status")[1]
    assert "syncd_sender 0.0" in second.get("/metrics")[1]
    assert "syncd_sender 1.0" in first.get("/metrics")[1]
    arrived(site, site.insert(3))
    first.wait_for("call.finished")
    first.kill()
    second.wait_until_sending()
    arrived(site, site.insert(3, 10))
    assert second.end() == 0
    assert first.events("call.finished")
    assert second.events("call.finished")


def test_a_standby_told_to_stop_ends_and_leaves_the_sender_alone(site: Site, start: Start) -> None:
    first = start(site)
    first.wait_until_sending()
    second = start(site, hasty=True)
    second.wait_for("sender.standby")
    assert second.end() == 0
    arrived(site, site.insert(1))
    assert first.end() == 0


def test_a_sender_that_stops_hands_over_at_once(each_ledger: Site, start: Start) -> None:
    first = start(each_ledger)
    first.wait_until_sending()
    second = start(each_ledger, hasty=True)
    second.wait_for("sender.standby")
    assert first.end() == 0
    second.wait_until_sending()
    assert second.end() == 0


# -- the CRM goes and comes --------------------------------------------------------------------------------------


def test_a_crm_that_stops_and_starts_again_is_followed_by_itself(
    tmp_path: Path, postgres_template: Path, simulator: Simulator, start: Start
) -> None:
    folder = tmp_path / "crm"
    with EmbeddedPostgres(folder, template=postgres_template, settings={"fsync": "off"}) as server:
        server.create_database("crm")
        site = Site(tmp_path, server.url("crm"), simulator)
        site.make_table()
        daemon = start(site)
        ids = site.insert(3)
        arrived(site, ids)
        port = server.port
        server.stop()
        trouble = daemon.wait_for("intake.trouble")
        assert 'sync "web"' in trouble["reason"]
        assert daemon.get("/livez")[0] == 200
        status = daemon.get("/status")[1]
        assert 'sync \\"web\\"' in status
        assert 'syncd_up_to_date{sync="web"} 0.0' in daemon.get("/metrics")[1]
        server.start()
        assert server.port == port
        ids += site.insert(3, 10)
        daemon.wait_for("intake.recovered")
        arrived(site, ids)
        assert daemon.end() == 0


def test_one_sync_in_trouble_leaves_the_others_alone(site: Site, start: Start) -> None:
    first = site.document["sync"][0]
    site.write(sync=[{**first, "name": "broken", "table": "gone"}, first])
    daemon = start(site)
    trouble = daemon.wait_for("intake.trouble", sync="broken")
    assert "no table public.gone" in trouble["reason"]
    arrived(site, site.insert(3))
    site.execute("CREATE TABLE gone (LIKE leads INCLUDING ALL)")
    daemon.wait_for("intake.recovered", sync="broken")
    assert daemon.end() == 0


# -- a start that fails ------------------------------------------------------------------------------------------


def failed(daemon: Process) -> tuple[int, list[str]]:
    """Exit status, and what was said to a person."""
    status = daemon.popen.wait(30)
    return status, [line for line in daemon.output.splitlines() if line.startswith("syncd: ")]


def test_a_bad_file_ends_it_with_78_which_the_unit_does_not_restart(site: Site, start: Start) -> None:
    site.write(crm__urll="x")
    assert failed(start(site)) == (78, [f"syncd: {site.config}: crm.urll: unknown key; did you mean url?"])


def test_a_postgres_ledger_that_is_away_is_waited_for(
    tmp_path: Path, database: str, postgres_template: Path, simulator: Simulator, start: Start
) -> None:
    folder = tmp_path / "ledger"
    with EmbeddedPostgres(folder, template=postgres_template, settings={"fsync": "off"}) as server:
        server.create_database("ledger")
        site = Site(tmp_path, database, simulator, server.url("ledger"))
        site.make_table()
        server.stop()
        daemon = start(site, hasty=True)
        daemon.wait_for("ledger.unavailable")
        daemon.send(signal.SIGHUP)
        daemon.wait_for("daemon.reloading")
        server.start()
        arrived(site, site.insert(2))
        server.stop()
        ids = site.insert(2, 10)
        daemon.wait_for("ledger.unavailable", loop="intake")
        assert daemon.get("/livez")[0] == 200
        assert daemon.get("/readyz")[0] == 503
        assert daemon.get("/status")[0] == 503
        assert "syncd_leads_captured_total" in daemon.get("/metrics")[1]
        server.start()
        arrived(site, ids)
        assert daemon.end() == 0
