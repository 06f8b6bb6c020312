"""kill -9 of the real process under load, again and again: nothing is lost, nothing is sent twice.

SYNCD_KILLS=200 is the whole run, half of it upon each ledger; the suite does a few.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import func, select

from syncd.ledger.schema import call
from tests.support.ledgers import assert_conserved, opened
from tests.support.process import Process
from tests.support.site import Site, simulated
from tests.support.waiting import eventually

KILLS = int(os.environ.get("SYNCD_KILLS", "12"))
AT_WORK_SECS = 0.8
"""For how long, at most, a process may work before it is killed."""
IMPATIENT = """
import sys, syncd.assembly, syncd.daemon, syncd.delivery.sending, syncd.loops, syncd.verify
rules = syncd.assembly.VerifyRules
syncd.assembly.VerifyRules = lambda **given: rules(**{**given, "verify_after_secs": 0.2, "verify_again_secs": 0.4})
syncd.verify.SERVER_SECS = syncd.delivery.sending.SERVER_SECS = 0.3
syncd.daemon._STANDBY_SECS = 0.1
syncd.verify._FAILED_SECS = (0.5,) * 5
from syncd.cli import main
sys.exit(main())
"""
"""The program, with the waits shortened that the configuration does not let be so short. The simulated wolkvox takes
less than 0.3 s for a call, as the real one takes less than its 60 s."""


@dataclass
class Figures:
    """What a run of kills came to."""

    leads: int = 0
    kills: int = 0
    amid_a_call: int = 0
    """Kills that left a call without an outcome."""
    posts: int = 0
    by_resolution: dict[str, int] = field(default_factory=dict)


@contextmanager
def writing(site: Site) -> Iterator[list[str]]:
    """Somebody inserts leads all the time; the customer ids so far."""
    ids: list[str] = []
    over = threading.Event()
    failed: list[BaseException] = []

    def write() -> None:
        try:
            while not over.wait(0.03):
                ids.extend(site.insert(7, len(ids) + 1))
        except BaseException as error:
            failed.append(error)
            raise

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield ids
    finally:
        over.set()
        thread.join(30)
    assert not failed


def unfinished(home_url: str) -> int:
    """Calls with leads that have an intent and no outcome."""
    with opened(home_url, prepare=False) as ledger, ledger.home.read() as connection:
        return (
            connection.scalar(select(func.count()).where(call.c.state == "intended", call.c.kind == "add_record")) or 0
        )


def kill_again_and_again(site: Site, home_url: str, folder: Path, kills: int, seed: int) -> Figures:
    """Start, work, kill, so many times; then let the last one live until everything is settled."""
    chance, figures = random.Random(seed), Figures()
    with writing(site) as ids:
        while figures.kills < kills:
            process = Process(site.config, folder / f"log-{figures.kills}", program=IMPATIENT)
            try:
                process.wait_until_sending()
                calls = sum(site.simulator.state.calls().values())
                eventually(lambda calls=calls: sum(site.simulator.state.calls().values()) > calls, "a call")  # type: ignore[misc]
                time.sleep(chance.uniform(0, AT_WORK_SECS))  # at any moment of its work
            finally:
                process.kill()
            figures.kills += 1
            left = unfinished(home_url)
            assert left <= 1, "at most one call is unresolved by a kill"
            figures.amid_a_call += left
    last = Process(site.config, folder / "log-last", program=IMPATIENT)
    try:
        with opened(home_url, prepare=False) as ledger:
            eventually(
                lambda: ledger.tally().get((1, "delivered"), 0) == len(ids) and ledger.unresolved_calls() == 0,
                "every lead is delivered, and no call is unresolved",
                secs=120,
                look_secs=0.2,
            )
            assert_conserved(ledger)
            assert set(ledger.tally()) == {(1, "delivered")}
            with ledger.home.read() as connection:
                states = connection.execute(
                    select(call.c.state, call.c.verdict, call.c.resolved_by).where(call.c.kind == "add_record")
                ).all()
    finally:
        assert last.end() == 0
    figures.leads, figures.posts = len(ids), site.simulator.state.calls()["add_record"]
    interrupted = [row for row in states if row.verdict == "interrupted"]
    assert len(interrupted) == figures.amid_a_call
    assert {row.resolved_by for row in interrupted} <= {"verified"}
    for state in ("accepted", "refused"):
        figures.by_resolution[state] = sum(row.state == state for row in interrupted)
    accepted = site.accepted()
    assert set(accepted) == set(ids), "nobody is lost"
    assert set(accepted.values()) == {1}, "nobody is sent twice"
    return figures


@pytest.mark.slow
@pytest.mark.timeout(60 + KILLS * 15)
@pytest.mark.parametrize("home", ["sqlite", "postgres"])
def test_kills_lose_nobody_and_call_nobody_twice(home: str, database: str, tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    with simulated(latency_secs=0.02) as simulator:
        site = Site(tmp_path, database, simulator, "sqlite" if home == "sqlite" else database)
        site.make_table()
        site.write(delivery__max_wait_secs=1, delivery__batch_size=50, log__level="info", wolkvox__licenses=50)
        home_url = f"sqlite:///{site.ledger_file}" if home == "sqlite" else database
        figures = kill_again_and_again(site, home_url, tmp_path, max(1, KILLS // 2), seed)
    print(f"{home}, seed {seed}: {figures}")  # noqa: T201  # docs/reliability.md publishes it: pytest -s
    assert figures.leads > figures.kills
