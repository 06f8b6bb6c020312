"""The proof holds where all is well, and fails where anything is not."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import pytest

from syncd.demo.proof import CrmLead, Proof, Sent, prove
from syncd.demo.stage import CAMPAIGN, Pages, count
from syncd.simulator import Settings, Simulator

TOKEN = "a-token"


@dataclasses.dataclass
class World:
    """What the three say of five leads; each test makes one of them say something else."""

    crm: list[CrmLead]
    arrived: dict[str, int]
    dialled: dict[str, str]
    ledger: dict[str, Sent]
    withdrawn: dict[str, float] = dataclasses.field(default_factory=dict)
    calls: tuple[int, int] = (1, 1)

    def prove(self) -> Proof:
        return prove(self.crm, self.arrived, self.dialled, self.ledger, self.withdrawn, self.calls)

    def kinds(self) -> set[str]:
        return {difference.kind for difference in self.prove().differences}


DELIVERED = Sent("delivered", 100.0, 101.0)


@pytest.fixture
def world() -> World:
    return World(
        crm=[
            CrmLead("1", "3100000001", must=True),
            CrmLead("2", "3100000002", must=True),
            CrmLead("3", "3100000001", must=True),  # the person of lead 1 again
            CrmLead("4", None, must=False),
            CrmLead("5", "3100000005", must=False),
        ],
        arrived={"1": 1, "2": 1},
        dialled={"1": "3100000001", "2": "3100000002"},
        ledger={
            "1": DELIVERED,
            "2": DELIVERED,
            "3": Sent("duplicate", None, None),
            "4": Sent("rejected", None, None),
        },
    )


def test_holds_where_every_person_was_reached_once_and_nobody_else(world: World) -> None:
    proof = world.prove()
    assert proof.holds
    assert (proof.must, proof.arrived, proof.duplicates, proof.kept_away) == (2, 2, 1, 2)


def test_a_lead_that_is_missing_is_named(world: World) -> None:
    del world.arrived["2"]
    world.ledger["2"] = Sent("withdrawn", None, None)
    assert [each.sentence for each in world.prove().differences] == ["Lead 2 must have arrived, and did not."]


def test_a_lead_that_arrived_twice_is_named(world: World) -> None:
    world.arrived["2"] = 2
    assert world.kinds() == {"twice"}


def test_a_person_who_was_reached_through_two_leads_is_named(world: World) -> None:
    world.arrived["3"] = 1
    world.ledger["3"] = DELIVERED
    assert world.kinds() == {"twice"}


def test_it_does_not_matter_which_lead_of_a_person_arrived(world: World) -> None:
    world.arrived = {"3": 1, "2": 1}
    world.ledger |= {"3": DELIVERED, "1": Sent("duplicate", None, None)}
    assert world.prove().holds


@pytest.mark.parametrize("key", ["4", "5", "77"])
def test_a_lead_that_must_not_have_arrived_is_named(world: World, key: str) -> None:
    world.arrived[key] = 1
    world.ledger[key] = DELIVERED
    assert world.kinds() == {"unwanted"}


def test_whoever_withdrew_after_the_call_is_no_fault(world: World) -> None:
    world.arrived["5"] = 1
    world.ledger["5"] = DELIVERED
    world.withdrawn["5"] = 105.0
    assert world.prove().gone == 1
    assert world.prove().holds


def test_whoever_withdrew_before_the_call_must_not_have_been_sent(world: World) -> None:
    world.arrived["5"] = 1
    world.ledger["5"] = DELIVERED
    world.withdrawn["5"] = 90.0
    assert world.kinds() == {"unwanted"}


def test_another_telephone_number_is_named(world: World) -> None:
    world.dialled["2"] = "3109999999"
    assert world.kinds() == {"number"}


def test_a_ledger_that_claims_what_did_not_arrive_is_named(world: World) -> None:
    world.ledger["4"] = DELIVERED
    assert world.kinds() == {"ledger"}


@pytest.mark.parametrize("state", ["pending", "sending", "held"])
def test_a_lead_of_which_nothing_has_become_yet_is_named(world: World, state: str) -> None:
    world.ledger["4"] = Sent(state, None, None)
    assert world.kinds() == {"ledger"}


def test_a_call_that_syncd_did_not_count_is_named(world: World) -> None:
    world.calls = (1, 2)
    assert world.kinds() == {"calls"}


# -- the same, counted by a real simulator -------------------------------------------------------------------


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(Settings(identity="opt12", tokens=(TOKEN,))) as running:
        yield running


def send(simulator: Simulator, *keys: str) -> None:
    """What syncd would send for these leads."""
    records = [{"customer_id": f"doc-{key}", "opt12": key, "tel1": f"931000000{int(key):02d}"} for key in keys]
    path = f"/api/v2/campaign.php?api=add_record&type_campaign=predictive&campaign_id={CAMPAIGN}&campaign_status=start"
    headers = {"wolkvox-token": TOKEN, "wolkvox_server": "0042", "Content-Type": "application/json"}
    connection = HTTPConnection("127.0.0.1", simulator.port, timeout=10)
    connection.request("POST", path, json.dumps(records), headers)
    assert connection.getresponse().status == 201
    connection.close()


def counted(simulator: Simulator, calls: int) -> Proof:
    """What the proof says of leads 1 to 9, if syncd claims to have delivered them in so many calls."""
    seen = count(Pages(simulator.port), TOKEN)
    crm = [CrmLead(str(key), f"31000000{key:02d}", must=True) for key in range(1, 10)]
    ledger: dict[str, Any] = {lead.key: DELIVERED for lead in crm}
    return prove(crm, seen.arrived, seen.dialled, ledger, {}, (calls, seen.calls))


KEYS = [str(key) for key in range(1, 10)]


def test_the_simulators_count_proves_a_good_run(simulator: Simulator) -> None:
    send(simulator, *KEYS[:5])
    send(simulator, *KEYS[5:])
    assert counted(simulator, 2).holds


def test_one_extra_post_behind_syncds_back_is_found(simulator: Simulator) -> None:
    send(simulator, *KEYS)
    send(simulator, "7")
    proof = counted(simulator, 1)
    assert {(each.kind, each.key) for each in proof.differences} == {("twice", "7"), ("calls", "")}


def test_one_lead_dropped_on_the_way_is_found(simulator: Simulator) -> None:
    send(simulator, *(key for key in KEYS if key != "4"))
    proof = counted(simulator, 1)
    assert {(each.kind, each.key) for each in proof.differences} == {("missing", "4"), ("ledger", "4")}
