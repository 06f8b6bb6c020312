"""How long a lead takes from its commit to its call, on an idle system: syncd's three ways of capture, and beside them
a bare LISTEN loop and a bare replication stream.

One insert at a time, at random distances; each side runs alone, and the sides take turns. The writer and the sink
share a process, and so a clock.
"""

from __future__ import annotations

import random
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Final, Literal

import psycopg

from bench import bare
from bench.arrivals import Arrivals
from bench.daemon import Daemon
from bench.errors import BenchFailed
from bench.stage import CAMPAIGN, CAPTURES, Manner, Stage, environment, set_up
from bench.table import Bar, Section, share, spread
from bench.usage import load

POLL_SECS: Final = 0.5
SOON_MS: Final = 25.0
_APART_SECS: Final = (0.05, 0.15)
_WARM: Final = 5
"""Inserts before those that count: connections are opened, and caches filled."""
_LONGEST_SECS: Final = 20.0
_LICENSES: Final = 100_000
"""So many that the calls of the day never have to be spread."""
_ROWS: Final = 10_000

Side = Literal["poll", "listen", "slot", "bare listen", "bare slot"]
_BESIDE: Final[dict[Side, Side]] = {"listen": "bare listen", "slot": "bare slot"}
_INSERT: Final = b"""
INSERT INTO public.leads (document_number, full_name, mobile, email, city_code, age, address, product, utm_source,
    consent, status, updated_at)
VALUES (%s, 'Ana Acu\xc3\xb1a D\xc3\xadaz', '3100000000', 'ana@example.com', '11001', 30, 'Calle 1 # 2-3', 'Plan hogar',
    'google', true, 'new', now())
"""


@dataclass(frozen=True, slots=True)
class Taken:
    """One insert."""

    from_commit: float
    """Seconds from the return of the writer's COMMIT to the arrival of the whole call."""
    from_insert: float
    """Seconds from before the INSERT was sent."""


@dataclass(slots=True)
class Found:
    """By side, a list for each round."""

    rounds: dict[Side, list[list[Taken]]] = field(default_factory=dict)


def latency(stage: Stage, repeat: int, inserts: int, say: Callable[[str], None]) -> Section:
    """Measure.

    Args:
        inserts: of each side and round.

    Raises:
        BenchFailed: a lead does not come, or comes twice.
    """
    found, loads = Found(), [load()]
    sides: list[Side] = [*CAPTURES, "bare listen", "bare slot"]
    crms = {side: stage.make_crm(_ROWS) for side in sides}
    with Arrivals() as sink:
        _prepare_bare(crms)
        numbers = iter(range(8_000_000_000, 9_000_000_000))
        for round_ in range(repeat):
            for side in random.sample(sides, len(sides)):
                stage.settle()
                twice = sink.again
                with _running(stage, side, crms[side], sink):
                    taken = _insert(crms[side], sink, inserts, numbers)
                if side in CAPTURES and sink.again != twice:  # the bare stream may post again what it did not confirm
                    raise BenchFailed(f"{side}: {sink.again - twice} leads came more than once.")
                found.rounds.setdefault(side, []).append(taken)
                p50 = 1000 * median(each.from_commit for each in taken)
                say(f"latency, round {round_ + 1} of {repeat}, {side}: p50 {p50:.1f} ms")
    for url in crms.values():
        stage.drop_crm(url)
    return _section(found, repeat, inserts, [*loads, load()])


def _prepare_bare(crms: dict[Side, str]) -> None:
    with psycopg.connect(crms["bare listen"], autocommit=True) as connection:
        connection.execute(bare.TRIGGER.encode())
    with psycopg.connect(crms["bare slot"], autocommit=True) as connection:
        connection.execute(bare.PUBLICATION.encode())
        connection.execute("SELECT pg_create_logical_replication_slot('bench_bare', 'pgoutput')")


@contextmanager
def _running(stage: Stage, side: Side, crm: str, sink: Arrivals) -> Iterator[None]:
    if side == "bare listen":
        with _bare_process("listen", crm, _address(sink)):
            yield
    elif side == "bare slot":
        with _bare_process("slot", crm, _address(sink), "bench_bare", "bare"):
            yield
    else:
        manner = Manner(side, "now", POLL_SECS if side == "poll" else 5, _LICENSES)
        with stage.configured(crm, "sqlite", sink.url, manner) as config:
            set_up(config)
            with Daemon(config) as daemon:
                daemon.ready_secs()
                yield
                daemon.end()


@contextmanager
def _bare_process(*arguments: str) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.bare", *arguments],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        if not select.select([process.stdout], [], [], _LONGEST_SECS)[0]:
            raise BenchFailed(f"The bare {arguments[0]} does not start.")
        if process.stdout.readline().strip() != bare.READY:
            raise BenchFailed(f"The bare {arguments[0]} ended with status {process.wait()}.")
        yield
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _address(sink: Arrivals) -> str:
    return f"{sink.url}/api/v2/campaign.php?api=add_record&type_campaign=predictive&campaign_id={CAMPAIGN}"


def _insert(crm: str, sink: Arrivals, inserts: int, numbers: Iterator[int]) -> list[Taken]:
    made: list[tuple[str, float, float]] = []
    with psycopg.connect(crm, autocommit=True) as connection:
        # The first one may come before the source has begun: it is repeated until one arrives.
        _first(connection, sink, numbers)
        for _ in range(_WARM + inserts):
            time.sleep(random.uniform(*_APART_SECS))
            lead = str(next(numbers))
            before = time.monotonic()
            connection.execute(_INSERT, (lead,), prepare=True)
            made.append((lead, before, time.monotonic()))
    taken = []
    for lead, before, after in made[_WARM:]:
        at = sink.wait_for(lead, _LONGEST_SECS)
        taken.append(Taken(at - after, at - before))
    return taken


def _first(connection: psycopg.Connection[tuple[object, ...]], sink: Arrivals, numbers: Iterator[int]) -> None:
    deadline = time.monotonic() + _LONGEST_SECS
    while time.monotonic() < deadline:
        lead = str(next(numbers))
        connection.execute(_INSERT, (lead,), prepare=True)
        try:
            sink.wait_for(lead, 1.0)
        except BenchFailed:
            continue
        return
    raise BenchFailed(f"No lead came within {_LONGEST_SECS:.0f} s of the start.")


def _section(found: Found, repeat: int, inserts: int, loads: list[str]) -> Section:
    section = Section(
        "latency",
        f"from the writer's COMMIT to the arrival of the call, in ms; {repeat} rounds of {inserts} single inserts for"
        f" each side, the sides in turn; poll_secs = {POLL_SECS} for poll; SQLite ledger",
        ("", "p50", "p95", "p99", "p50 of the rounds", "p50 beside bare"),
        loads=loads,
    )
    millis = {
        side: [1000 * one.from_commit for each in rounds for one in each] for side, rounds in found.rounds.items()
    }
    for side in ("poll", "listen", "bare listen", "slot", "bare slot"):
        values = millis[side]
        p50, p95, p99 = (share(values, part) for part in (0.5, 0.95, 0.99))
        rounds = [1000 * median(one.from_commit for one in each) for each in found.rounds[side]]
        beside = f"{p50 / share(millis[_BESIDE[side]], 0.5):.2f}" if side in _BESIDE else ""
        section.lines.append((side, f"{p50:.1f}", f"{p95:.1f}", f"{p99:.1f}", spread(rounds, 1), beside))
        if side == "poll":
            section.bars.append(Bar("p50 of poll in ms", p50, 1000 * POLL_SECS))
        elif side in _BESIDE:
            section.bars.append(Bar(f"p50 of {side} in ms", p50, SOON_MS))
    section.raw = {
        side: [[[one.from_commit, one.from_insert] for one in each] for each in rounds]
        for side, rounds in found.rounds.items()
    }
    return section
