"""What the daemon shows: its pages, its metrics, and what it tells systemd."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import uuid
from collections.abc import Iterator
from datetime import datetime

import pytest
from prometheus_client.parser import text_string_to_metric_families

from syncd import __version__
from syncd.simulator import Fault, Simulator
from tests.daemon.conftest import Start
from tests.support.process import Process
from tests.support.site import Site
from tests.support.waiting import eventually

STATES = {"pending", "sending", "delivered", "rejected", "held", "withdrawn", "expired", "duplicate", "unchanged"}


@pytest.fixture
def daemon(site: Site, start: Start) -> Process:
    """One that delivered three leads, and rejected one."""
    site.execute("INSERT INTO leads (document, name, mobile) VALUES ('doc-9', 'X Y', '12')")
    site.insert(3)
    process = start(site)
    process.wait_for("call.finished", outcome="accepted")
    process.wait_for("delivery.standing", state="idle")
    return process


Sample = tuple[str, frozenset[tuple[str, str]]]


def metrics_of(daemon: Process) -> dict[Sample, float]:
    """The samples of /metrics by name and labels, as Prometheus' own parser reads them."""
    status, body = daemon.get("/metrics")
    assert status == 200
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(body)
        for sample in family.samples
    }


def labels(**given: str) -> frozenset[tuple[str, str]]:
    return frozenset(given.items())


def test_the_pages_answer_and_any_other_path_is_not_found(daemon: Process) -> None:
    assert daemon.get("/livez") == (200, "The loops turn.\n")
    assert daemon.get("/readyz") == (200, "idle: Nothing waits.\n")
    assert daemon.get("/?refresh=1")[0] == 200
    for path in ("/admin", "/metricsx", "/status/", "/../status", "/%73tatus"):
        assert daemon.get(path) == (404, "There are /, /status, /metrics, /livez and /readyz.\n")


def test_the_pages_are_only_read_from(daemon: Process) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port(), timeout=10)
    for method in ("POST", "PUT", "DELETE"):
        connection.request(method, "/status", body=b"x")
        reply = connection.getresponse()
        reply.read()
        assert reply.status == 501
        connection.close()
    connection.request("HEAD", "/status")
    reply = connection.getresponse()
    assert (reply.status, reply.read()) == (200, b"")
    assert reply.getheader("Cache-Control") == "no-store"
    connection.close()


def test_status_is_that_of_the_contract(daemon: Process) -> None:
    status, body = daemon.get("/status")
    assert status == 200
    found = json.loads(body)
    assert list(found) == ["ready", "state", "reason", "quota", "syncs", "unresolved_calls"]
    assert (found["ready"], found["state"], found["unresolved_calls"]) == (True, "idle", 0)
    assert found["quota"].keys() == {"limit", "used", "remaining", "reserved", "resets_at"}
    assert (found["quota"]["limit"], found["quota"]["used"], found["quota"]["remaining"]) == (50_000, 1, 49_999)
    assert datetime.fromisoformat(found["quota"]["resets_at"]).utcoffset() is not None
    (sync,) = found["syncs"]
    assert sync.keys() >= {"name", "capture", "watermark", "states", "oldest_pending_secs"}
    assert (sync["backfill"], sync["remark"]) == (None, None)
    assert (sync["name"], sync["capture"], sync["oldest_pending_secs"]) == ("web", "poll", None)
    assert sync["states"] == dict.fromkeys(STATES, 0) | {"delivered": 3, "rejected": 1}


def test_the_first_page_tells_a_person_the_same(daemon: Process) -> None:
    status, words = daemon.get("/")
    assert status == 200
    assert words.startswith("idle: Nothing waits.\n")
    assert "3 delivered, 1 rejected" in words
    assert "1 used of 50000 today" in words


def test_the_status_command_shows_what_the_daemon_says(
    site: Site, start: Start, capfd: pytest.CaptureFixture[str]
) -> None:
    from syncd.cli import main

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        site.write(http__listen=f"127.0.0.1:{probe.getsockname()[1]}")
    daemon = start(site)
    daemon.wait_for("intake.looked")
    assert main(["status", "--json", "--config", str(site.config)]) == 0
    found = json.loads(capfd.readouterr().out)
    assert (found["ready"], found["state"]) == (True, "idle")
    assert main(["status", "--config", str(site.config)]) == 0
    assert capfd.readouterr().out.startswith("idle: Nothing waits.\n")


def test_the_metrics_have_the_names_of_the_contract(daemon: Process) -> None:
    found = metrics_of(daemon)
    web = labels(sync="web")
    assert found["syncd_leads_captured_total", web] == 4
    assert found["syncd_leads_settled_total", labels(sync="web", state="delivered")] == 3
    assert found["syncd_leads_settled_total", labels(sync="web", state="rejected")] == 1
    for state in STATES:
        expected = {"delivered": 3, "rejected": 1}.get(state, 0)
        assert found["syncd_leads", labels(sync="web", state=state)] == expected
    assert found["syncd_oldest_pending_seconds", web] == 0
    assert found["syncd_delivery_seconds_count", web] == 3
    assert found["syncd_delivery_seconds_sum", web] > 0
    assert found["syncd_delivery_seconds_bucket", labels(sync="web", le="+Inf")] == 3
    assert 0 <= found["syncd_capture_lag_seconds", web] < 30
    assert found["syncd_calls_total", labels(kind="add_record", outcome="accepted")] == 1
    assert found["syncd_call_seconds_count", labels(kind="add_record")] == 1
    assert found["syncd_quota_calls", labels(kind="limit")] == 50_000
    assert found["syncd_quota_calls", labels(kind="used")] == 1
    assert found["syncd_quota_calls", labels(kind="reserved")] == 0
    assert found["syncd_unresolved_calls", labels()] == 0
    assert found["syncd_sender", labels()] == 1
    assert found["syncd_sweep_found_total", web] == 0
    assert found["syncd_up_to_date", web] == 1
    assert any(name == "syncd_build_info" and ("version", __version__) in told for name, told in found)
    assert found["process_resident_memory_bytes", labels()] > 0
    named = {name for name, _ in found if name.startswith("syncd_") and not name.endswith("_created")}
    assert {name for name in named if not name.startswith(("syncd_delivery_seconds", "syncd_call_seconds"))} == {
        "syncd_build_info",
        "syncd_calls_total",
        "syncd_capture_lag_seconds",
        "syncd_leads",
        "syncd_leads_captured_total",
        "syncd_leads_settled_total",
        "syncd_oldest_pending_seconds",
        "syncd_quota_calls",
        "syncd_sender",
        "syncd_sweep_found_total",
        "syncd_unresolved_calls",
        "syncd_up_to_date",
    }


def test_an_unresolved_call_shows_everywhere(site: Site, start: Start, simulator: Simulator) -> None:
    simulator.script(Fault("cut-after", api="add_record"))
    site.insert(2)
    daemon = start(site)
    daemon.wait_for("call.finished", outcome="unknown")
    found = metrics_of(daemon)
    assert found["syncd_unresolved_calls", labels()] == 1
    assert found["syncd_calls_total", labels(kind="add_record", outcome="unknown")] == 1
    assert found["syncd_leads", labels(sync="web", state="held")] == 2
    assert json.loads(daemon.get("/status")[1])["unresolved_calls"] == 1
    assert "unresolved calls: 1 (see `syncd calls --unresolved`)" in daemon.get("/")[1]


def test_what_the_sweep_finds_is_counted_and_logged_as_a_fault(site: Site, start: Start) -> None:
    site.write(sync__0__sweep_secs=1, sync__0__lookback_secs=1)
    site.insert(1)
    daemon = start(site)
    daemon.wait_for("call.finished")
    site.execute(
        "INSERT INTO leads (document, name, mobile, updated_at) VALUES ('doc-7', 'A', '3001234567', '2026-01-02')"
    )
    swept = daemon.wait_for("intake.swept")
    assert (swept["level"], swept["found"], swept["sync"]) == ("warning", 1, "web")
    assert metrics_of(daemon)["syncd_sweep_found_total", labels(sync="web")] == 1
    eventually(lambda: site.accepted().get("doc-7") == 1, "it arrives")


def test_with_listen_empty_nothing_listens(site: Site, start: Start) -> None:
    site.write(http__listen="")
    daemon = start(site)
    daemon.wait_for("intake.looked")
    with pytest.raises(AssertionError, match="the daemon listens"):
        daemon.port(secs=0.2)
    assert daemon.end() == 0


# -- systemd -----------------------------------------------------------------------------------------------------


class Manager:
    """The service manager's end of sd_notify(3)."""

    def __init__(self) -> None:
        self.name = f"syncd-test-{uuid.uuid4().hex}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.bind("\0" + self.name)
        self._socket.settimeout(0.05)
        self.told: list[dict[str, str]] = []

    def close(self) -> None:
        self._socket.close()

    def environ(self, watchdog_secs: float) -> dict[str, str]:
        return {"NOTIFY_SOCKET": "@" + self.name, "WATCHDOG_USEC": str(int(watchdog_secs * 1e6))}

    def wait_for(self, key: str, value: str, count: int = 1) -> dict[str, str]:
        """The message that has it, once it was told `count` times."""

        def heard() -> list[dict[str, str]]:
            try:
                message = self._socket.recv(65_536).decode()
                self.told.append(dict(line.split("=", 1) for line in message.splitlines()))
            except TimeoutError:
                pass
            found = [told for told in self.told if told.get(key) == value]
            return found if len(found) >= count else []

        return eventually(heard, f"{key}={value}; told: {self.told}", look_secs=0)[count - 1]


@pytest.fixture
def manager() -> Iterator[Manager]:
    made = Manager()
    yield made
    made.close()


def test_systemd_is_told_ready_status_watchdog_reloading_and_stopping(
    site: Site, start: Start, manager: Manager
) -> None:
    daemon = start(site, environ=manager.environ(2))
    assert "STATUS" in manager.wait_for("READY", "1")
    daemon.wait_for("intake.looked")
    manager.wait_for("STATUS", "idle: Nothing waits.")
    manager.wait_for("WATCHDOG", "1", count=3)
    daemon.send(signal.SIGHUP)
    assert int(manager.wait_for("RELOADING", "1")["MONOTONIC_USEC"]) > 0
    manager.wait_for("READY", "1", count=2)
    site.config.write_text("[crm")
    daemon.send(signal.SIGHUP)
    manager.wait_for("RELOADING", "1", count=2)
    assert "refused" in manager.wait_for("READY", "1", count=3)["STATUS"]
    daemon.send(signal.SIGTERM)
    assert int(manager.wait_for("STOPPING", "1")["EXTEND_TIMEOUT_USEC"]) >= 75_000_000
    assert daemon.popen.wait(20) == 0


def test_a_standby_is_ready_and_keeps_the_watchdog(site: Site, start: Start, manager: Manager) -> None:
    start(site).wait_until_sending()
    second = start(site, hasty=True, environ=manager.environ(2))
    assert manager.wait_for("READY", "1")["STATUS"] == "Standing by."
    manager.wait_for("WATCHDOG", "1", count=3)
    assert second.end() == 0


def test_without_a_watchdog_none_is_fed(site: Site, start: Start, manager: Manager) -> None:
    daemon = start(site, environ={"NOTIFY_SOCKET": "@" + manager.name})
    manager.wait_for("STATUS", "idle: Nothing waits.")
    assert daemon.end() == 0
    manager.wait_for("STOPPING", "1")
    assert not any("WATCHDOG" in told for told in manager.told)
