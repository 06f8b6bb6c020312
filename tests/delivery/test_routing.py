"""One sync, several campaigns: each lead once, in its own; a campaign that is parked keeps no other waiting."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from typing import Any

import pytest

from syncd.batch import Lane
from syncd.crm import RowReader
from syncd.fieldmap import FieldRule, compile_route
from syncd.simulator import Settings
from tests.delivery.stage import ZONE, Stage, counted_again

BOGOTA, CALI, NOWHERE = "12345", "12346", "12399"
CITIES = {"Bogotá": BOGOTA, "Cali": CALI, "Medellín": NOWHERE}
RULE = FieldRule(column="city", lookup=CITIES)
KNOWN = {BOGOTA: "predictive", CALI: "predictive"}


class Noting(RowReader):
    """Remembers what was read."""

    @cached_property
    def reads(self) -> list[str]:
        """Every key, each time."""
        return []

    def read(self, keys: Sequence[str]) -> list[tuple[Any, ...]]:
        self.reads.extend(keys)
        return super().read(keys)


class Routed(Stage):
    """A stage whose one sync goes to the campaign of each lead's city; that of Medellín does not exist in wolkvox."""

    rule = RULE

    def lane(self, sync: str, campaign: str) -> Lane:
        self.crm.execute("ALTER TABLE leads ADD COLUMN IF NOT EXISTS city text")
        lane = super().lane(sync, "")
        route = compile_route(self.rule, lane.fieldmap.columns, ZONE)
        reader = Noting(self.reader, ("public", "leads"), "id", route.columns, self._given[0], f'sync "{sync}"')
        self.reads = reader.reads
        return replace(lane, reader=reader, route=route)

    def everywhere(self) -> dict[str, Counter[str]]:
        """How often each lead was accepted, by campaign."""
        return {campaign: Counter(self.accepted(campaign)) for campaign in KNOWN}


Start = Callable[..., Routed]


@pytest.fixture
def start(home_url: str, shared_database: str) -> Iterator[Start]:
    with counted_again(Routed, home_url, shared_database) as starter:

        def routed(**options: object) -> Routed:
            return starter(**{"sim": Settings(keep_bodies=20, campaigns=KNOWN), **options})

        yield routed


def test_each_lead_goes_to_its_campaign_and_no_call_carries_two(start: Start) -> None:
    stage = start(max_wait_secs=60)
    stage.add("ana", "beto", city="Bogotá")
    stage.add("carla", city="Cali")
    made = stage.run(300)
    assert [(result.call.campaign_id, result.call.leads) for result in made if result.call] == [(BOGOTA, 2), (CALI, 1)]
    assert stage.everywhere() == {BOGOTA: Counter(ana=1, beto=1), CALI: Counter(carla=1)}
    assert {str(row["campaign_id"]) for row in stage.calls()} == {BOGOTA, CALI}


def test_no_lead_waits_longer_than_max_wait_whichever_campaign_it_goes_to(start: Start) -> None:
    stage = start(max_wait_secs=120, licenses=1)
    stage.add("ana", city="Bogotá")
    stage.run(1)
    begun = stage.clock.now
    stage.add("beto", city="Bogotá")
    stage.add("carla", city="Cali")
    made = stage.run(600)
    assert sum(result.call.leads for result in made if result.call) == 2
    assert max(wait for result in made if result.call for wait in result.call.waited) <= 121
    assert stage.clock.now > begun


def test_a_parked_campaign_keeps_no_other_waiting_and_its_leads_are_not_read_again_and_again(start: Start) -> None:
    stage = start(max_wait_secs=30, batch_size=3)
    stage.add("m1", "m2", "m3", "m4", "m5", city="Medellín")
    stage.run(60)
    assert stage.states()["1"] == "pending"
    stage.reads.clear()
    keys = stage.add("ana", "beto", "carla", "dora", city="Cali")
    made = stage.run(120)
    assert stage.everywhere()[CALI] == Counter(ana=1, beto=1, carla=1, dora=1)
    assert {result.call.campaign_id for result in made if result.call} == {CALI}
    read = Counter(stage.reads)
    assert {key: read[key] for key in keys} == dict.fromkeys(keys, 2)  # to know where it goes, and to send it
    assert set(read) == set(keys)


def test_a_lead_whose_row_changes_is_routed_anew_and_leaves_a_parked_campaign(start: Start) -> None:
    stage = start(max_wait_secs=30)
    (key,) = stage.add("ana", city="Medellín")
    stage.run(60)
    assert (stage.states()[key], stage.lead(key)["campaign_id"]) == ("pending", NOWHERE)
    stage.change(key, city="Cali")
    assert stage.lead(key)["campaign_id"] is None
    stage.run(60)
    assert stage.everywhere() == {BOGOTA: Counter(), CALI: Counter(ana=1)}


def test_a_row_that_changes_unseen_right_before_the_call_goes_where_it_says_now(start: Start) -> None:
    stage = start(max_wait_secs=30)
    (ana, beto) = stage.add("ana", "beto", city="Bogotá")
    stage.turn()  # knows where they go
    assert stage.lead(ana)["campaign_id"] == BOGOTA
    stage.change(ana, captured=False, city="Cali")
    stage.run(120)
    assert stage.everywhere() == {BOGOTA: Counter(beto=1), CALI: Counter(ana=1)}
    assert stage.states() == {ana: "delivered", beto: "delivered"}


@pytest.mark.parametrize(
    ("city", "rule", "word"), [("Pasto", "lookup", "lookup"), (None, "required", "no campaign")], ids=["other", "none"]
)
def test_a_lead_that_goes_nowhere_is_rejected_and_stops_no_neighbour(
    start: Start, city: str | None, rule: str, word: str
) -> None:
    stage = start(max_wait_secs=30)
    (lost,) = stage.add("ana", city=city)
    stage.add("beto", city="Cali")
    stage.run(60)
    found = stage.lead(lost)
    assert (found["state"], found["field"], found["rule"]) == ("rejected", "campaign", rule)
    assert word in str(found["reason"])
    assert "Pasto" not in str(found["reason"])
    assert stage.everywhere()[CALI] == Counter(beto=1)


def test_a_new_rule_counts_for_leads_that_wait_already(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Routed, "rule", replace(RULE, lookup={**CITIES, "Tunja": NOWHERE}))
    stage = start(max_wait_secs=30, batch_size=2)
    stage.add("m1", "m2", city="Medellín")
    stage.add("ana", city="Tunja")
    stage.run(60)
    monkeypatch.setattr(Routed, "rule", replace(RULE, lookup={**CITIES, "Tunja": CALI}))
    stage.start_again()
    stage.run(60)  # the first two park the old campaign again, and ana no longer waits for that
    assert stage.everywhere()[CALI] == Counter(ana=1)


def test_a_lead_whose_campaign_changed_after_its_delivery_is_a_changed_one(start: Start) -> None:
    stage = start(max_wait_secs=30, resend=True)
    (key,) = stage.add("ana", city="Bogotá")
    stage.run(60)
    stage.change(key, consent=True)
    stage.run(60)
    assert stage.states()[key] == "unchanged"
    stage.change(key, city="Cali")
    stage.run(60)
    assert stage.everywhere() == {BOGOTA: Counter(ana=1), CALI: Counter(ana=1)}
    assert stage.states()[key] == "delivered"


def test_without_resend_a_delivered_lead_stays_where_it_was_sent(start: Start) -> None:
    stage = start(max_wait_secs=30)
    (key,) = stage.add("ana", city="Bogotá")
    stage.run(60)
    stage.change(key, city="Cali")
    stage.run(60)
    assert stage.everywhere() == {BOGOTA: Counter(ana=1), CALI: Counter()}


def test_a_poisoned_lead_is_found_in_its_campaign_and_costs_no_lead_of_another(start: Start) -> None:
    stage = start(sim=Settings(poison="peste", keep_bodies=40, campaigns=KNOWN), max_wait_secs=30)
    names = [f"lead{number}" for number in range(9)]
    stage.add(*names[:6], city="Cali")
    (spoilt,) = stage.add("peste", city="Cali")
    stage.add(*names[6:], city="Bogotá")
    stage.run(3600)
    assert stage.everywhere() == {BOGOTA: Counter(names[6:]), CALI: Counter(names[:6])}
    assert stage.states()[spoilt] == "rejected"
    assert {str(row["state"]) for row in stage.calls() if row["campaign_id"] == BOGOTA} == {"accepted"}


class Story:
    """Leads come, move and are sent, and the process dies now and then, as luck has it."""

    def __init__(self, stage: Routed, seed: int) -> None:
        self.stage, self.luck = stage, random.Random(seed)
        self.own: dict[str, set[str]] = {}
        """The campaigns that each lead's row has named at some time."""
        self.keys: dict[str, str] = {}

    def come(self) -> None:
        name, city = f"lead{len(self.own)}", self.luck.choice(list(CITIES))
        (self.keys[name],) = self.stage.add(name, city=city)
        self.own[name] = {CITIES[city]}

    def move(self) -> None:
        if self.own:
            name, city = self.luck.choice(list(self.own)), self.luck.choice(list(CITIES))
            self.own[name].add(CITIES[city])
            self.stage.change(self.keys[name], city=city, captured=self.luck.random() < 0.7)

    def go_on(self) -> None:
        self.stage.run(self.luck.uniform(1, 90))

    def die(self) -> None:
        def end() -> None:
            raise KeyboardInterrupt

        setattr(self.stage.client, self.luck.choice(["before", "after"]), end)
        with suppress(KeyboardInterrupt):
            self.go_on()
        self.stage.client.before = self.stage.client.after = lambda: None
        self.stage.start_again()

    def play(self) -> None:
        for _ in range(40):
            self.luck.choice([self.come, self.come, self.move, self.go_on] * 3 + [self.die])()
        self.stage.capture(*self.keys.values())  # what has moved unseen
        self.stage.run(7200)


@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_each_lead_is_accepted_once_and_in_a_campaign_that_was_its_own(
    start: Start, seed: int
) -> None:
    story = Story(stage := start(max_wait_secs=30, batch_size=4), seed)
    story.play()
    everywhere = stage.everywhere()
    for campaign, accepted in everywhere.items():
        assert [name for name in accepted if campaign not in story.own[name]] == []
    total = sum(everywhere.values(), Counter())
    assert set(total.values()) == {1}
    states = stage.states()
    for name, key in story.keys.items():
        assert states[key] in ("delivered", "held") or NOWHERE in story.own[name], (name, states[key])
        assert (states[key] == "delivered") <= (total[name] == 1)
