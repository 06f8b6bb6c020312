"""Verification where one sync feeds several campaigns: each call is looked for in the campaign that it went to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from syncd.simulator import Fault, Settings
from tests.delivery.stage import counted_again
from tests.delivery.test_routing import BOGOTA, CALI, KNOWN, Routed
from tests.verify.desk import FIRST, Desk


class RoutedDesk(Routed, Desk):
    """A desk whose one sync goes to the campaign of each lead's city."""


@pytest.fixture
def begin(home_url: str, shared_database: str) -> Iterator[Callable[..., RoutedDesk]]:
    with counted_again(RoutedDesk, home_url, shared_database) as starter:
        yield starter


def lost(desk: RoutedDesk, fault: str, *names: str, city: str) -> list[str]:
    """Leads whose call gets no reply; their keys."""
    keys = desk.add(*names, city=city)
    desk.simulator.script(Fault(fault, api="add_record"))
    desk.run(40, turns=50)
    assert {desk.states()[key] for key in keys} == {"held"}
    return keys


def test_a_call_is_found_in_its_campaign_though_the_rows_name_another_by_now(
    begin: Callable[..., RoutedDesk],
) -> None:
    desk = begin(sim=Settings(keep_bodies=20, campaigns=KNOWN), max_wait_secs=30)
    stored = lost(desk, "cut-after", "ana", "beto", "carla", "dora", city="Cali")
    for key in stored:
        desk.change(key, captured=False, city="Bogotá")
    desk.clock.now += 60
    missing = lost(desk, "cut-before", "eva", "fito", "gala", "hugo", city="Bogotá")
    desk.verify_for(4 * FIRST + 1200)
    assert {desk.states()[key] for key in stored} == {"delivered"}
    assert {desk.states()[key] for key in missing} == {"pending"}
    desk.run(120)
    assert desk.everywhere() == {
        BOGOTA: Counter(["eva", "fito", "gala", "hugo"]),
        CALI: Counter(["ana", "beto", "carla", "dora"]),
    }
