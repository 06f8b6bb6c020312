"""A ledger that is older than what was sent: nothing leaves, syncd says why, `syncd recover` makes it true again."""

from __future__ import annotations

import json
import signal

import pytest

from syncd.simulator import Simulator
from tests.daemon.conftest import Start
from tests.recovery.conftest import Rig
from tests.support.process import Process
from tests.support.waiting import eventually


def posts(rig: Rig) -> int:
    return rig.site.simulator.state.calls().get("add_record", 0)


def run_until_sent(rig: Rig, start: Start, ids: list[str]) -> None:
    """A daemon delivers, and is stopped."""
    daemon = start(rig.site, hasty=True)
    rig.arrived(ids)
    assert daemon.end() == 0


def is_held(daemon: Process) -> str:
    """Wait until it says that it sends nothing; why."""
    found = daemon.wait_for("delivery.standing", state="held")
    assert found["level"] == "warning"
    shown = json.loads(daemon.get("/status")[1])
    assert (shown["state"], shown["reason"]) == ("held", found["reason"])
    assert "`syncd recover`" in found["reason"]
    return str(found["reason"])


@pytest.mark.parametrize("how", ["older", "empty"])
def test_nothing_is_sent_twice_and_after_recovery_leads_go_on(rig: Rig, start: Start, how: str) -> None:
    ids = rig.site.insert(50)
    run_until_sent(rig, start, ids)
    rig.copy()
    ids += rig.site.insert(50, 51)
    run_until_sent(rig, start, ids)
    before = posts(rig)
    if how == "older":
        rig.put_back()
    else:
        rig.lose()
    daemon = start(rig.site, hasty=True)
    reason = is_held(daemon)
    assert str(rig.witness) in reason
    # Capture goes on, and still nothing leaves.
    ids += rig.site.insert(10, 201)
    eventually(lambda: rig.states().get("pending") == {"older": 60, "empty": 110}[how], "the leads are captured")
    assert rig.site.insert(0) == []
    refused = rig.syncd("recover", "--yes", status=1)
    assert "Another syncd sends for this ledger" in refused
    assert "stop" in refused.lower()
    assert daemon.end() == 0
    assert posts(rig) == before
    # A start does not make it go away.
    daemon = start(rig.site, hasty=True)
    assert is_held(daemon) == reason
    assert daemon.end(signal.SIGKILL) != 0
    assert posts(rig) == before
    answer = json.loads(rig.syncd("recover", "--yes", "--json"))
    assert answer["calls"] == 1
    (found,) = answer["syncs"]
    assert (found["delivered"], found["unsure"], found["absent"]) == ({"older": 50, "empty": 100}[how], 0, 10)
    assert posts(rig) == before
    daemon = start(rig.site, hasty=True)
    rig.arrived(ids)
    ids += rig.site.insert(10, 301)
    rig.arrived(ids)
    assert daemon.end() == 0
    assert rig.states() == {"delivered": 120}
    assert set(rig.site.accepted()) == set(ids)


def test_start_now_is_remembered_where_the_ledger_is_lost(small: Rig, start: Start, simulator: Simulator) -> None:
    """A lead that was captured, not sent, and lost with the ledger, is found again."""
    small.site.insert(3)
    small.site.write(sync__0__start="now")
    daemon = start(small.site, hasty=True)
    daemon.wait_until_sending()
    daemon.wait_for("intake.looked")
    ids = small.site.insert(2, 11)
    small.arrived(ids)
    assert daemon.end() == 0
    small.site.execute("UPDATE leads SET updated_at = now() - interval '2 days' WHERE id <= 3")
    ids += small.site.insert(2, 21)  # nobody has captured them when the ledger is lost
    small.lose()
    daemon = start(small.site, hasty=True)
    is_held(daemon)
    assert daemon.end() == 0
    small.syncd("recover", "--yes")
    daemon = start(small.site, hasty=True)
    small.arrived(ids)
    assert daemon.end() == 0
    assert set(small.site.accepted()) == set(ids)
