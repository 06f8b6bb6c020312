"""What is measured: the backfill beside the floor, the memory, the start."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from bench.breakdown import Breakdown, break_down
from bench.daemon import Daemon
from bench.errors import BenchFailed
from bench.floor import Floor, calls_for, wait
from bench.sink import Sink
from bench.stage import CAMPAIGN, LEDGERS, LICENSES, Ledger, Manner, Stage
from bench.table import Section
from syncd.simulator import Settings, Simulator

_LONGEST_SECS = 60.0
_LONGEST_SECS_PER_LEAD = 0.001

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Run:
    """One run of syncd."""

    secs: float
    """From the spawn to the last accepted call."""
    peak_mb: float
    cpu_secs: float
    breakdown: Breakdown


@dataclass(frozen=True, slots=True)
class Pair:
    """Both sides, one right after the other."""

    floor_secs: float
    syncd: Run

    @property
    def ratio(self) -> float:
        """syncd's time in floors."""
        return self.syncd.secs / self.floor_secs


@dataclass(slots=True)
class Found:
    """All that a bench has measured; sections fill it."""

    judged: bool = True
    """Whether figures are held against their bars; those of a quick bench are not."""
    compared: int = 0
    """Records that were compared, side by side, and found equal."""
    body_bytes: dict[str, int] = field(default_factory=dict)
    """By side, of those records."""
    backfill: dict[Ledger, list[Pair]] = field(default_factory=dict)
    memory: dict[tuple[Ledger, int], list[float]] = field(default_factory=dict)
    """Peaks in MB, by ledger and leads."""
    many: dict[Ledger, Run] = field(default_factory=dict)
    """The large run, done for its memory."""
    first_start: dict[Ledger, list[float]] = field(default_factory=dict)
    """Seconds to ready, making the ledger."""
    later_start: dict[Ledger, list[float]] = field(default_factory=dict)
    """Seconds to ready, with a ledger that is there."""
    sections: list[Section] = field(default_factory=list)
    """What concerns capture."""


def compare_bodies(stage: Stage, floor: Floor, leads: int, found: Found) -> None:
    """See that both sides send the same records, to a simulator that inspects them; warms up what comes after.

    Raises:
        BenchFailed: they do not.
    """
    crm = stage.make_crm(leads)
    calls = calls_for(leads)
    sent: dict[str, dict[str, object]] = {}
    settings = Settings(keep_records=False, stock=0, licenses=LICENSES, keep_bodies=calls)
    for side in ("floor", "syncd"):
        with Simulator(settings) as simulator:
            address = f"{simulator.base_url}/api/v2/campaign.php?api=add_record&type_campaign=predictive"
            if side == "floor":
                wait(floor.start(crm, f"{address}&campaign_id={CAMPAIGN}&campaign_status=start", leads))
            else:
                with stage.configured(crm, "sqlite", simulator.base_url) as config, Daemon(config) as daemon:
                    while sum(simulator.state.accepted(CAMPAIGN).values()) < leads:
                        daemon.check()
                        if time.monotonic() - daemon.spawned > _LONGEST_SECS:
                            raise BenchFailed(f"Not all leads of the comparison came within {_LONGEST_SECS:.0f} s.")
                        time.sleep(0.05)
                    daemon.end()
            bodies = simulator.state.bodies()
        found.body_bytes[side] = sum(map(len, bodies))
        sent[side] = {record["customer_id"]: record for body in bodies for record in orjson.loads(body)}
    if len(sent["floor"]) != leads or sent["floor"] != sent["syncd"]:
        different = [key for key, record in sent["floor"].items() if sent["syncd"].get(key) != record]
        raise BenchFailed(f"The two sides sent different records: {len(different)} of {leads} differ.")
    found.compared = leads


def backfill(stage: Stage, sink: Sink, floor: Floor, crm: str, leads: int, repeat: int, found: Found, say: Say) -> None:
    """The whole table, from an empty ledger, beside the floor; the two sides take turns at going first.

    Raises:
        BenchFailed: a run does not verify.
    """
    for round_ in range(repeat):
        for ledger in LEDGERS:
            floor_secs = 0.0
            if round_ % 2 == 0:
                floor_secs = _run_floor(stage, sink, floor, crm, leads)
            run = run_syncd(stage, sink, crm, leads, ledger)
            if round_ % 2 == 1:
                floor_secs = _run_floor(stage, sink, floor, crm, leads)
            pair = Pair(floor_secs, run)
            found.backfill.setdefault(ledger, []).append(pair)
            found.memory.setdefault((ledger, leads), []).append(run.peak_mb)
            say(f"round {round_ + 1} of {repeat}, {ledger}: {run.secs:.2f} s, floor {floor_secs:.2f} s")


def memory(stage: Stage, sink: Sink, crms: dict[int, str], found: Found, say: Say) -> None:
    """The peak of the daemon's memory for few leads and for many.

    Args:
        crms: the URL of the CRM, by its leads. What `backfill` has measured already is not run again.
    """
    for leads, crm in crms.items():
        for ledger in LEDGERS:
            if (ledger, leads) in found.memory:
                continue
            run = run_syncd(stage, sink, crm, leads, ledger)
            found.memory[ledger, leads] = [run.peak_mb]
            if leads == max(crms):
                found.many[ledger] = run
            say(f"{leads:,} leads, {ledger}: {run.peak_mb:.0f} MB at the most, {run.secs:.1f} s")


def starts(stage: Stage, sink: Sink, crm: str, repeat: int, found: Found, say: Say) -> None:
    """From the spawn to READY=1, with nothing to send: once making the ledger, once finding it."""
    for _ in range(repeat):
        for ledger in LEDGERS:
            with stage.configured(crm, ledger, sink.url, Manner(start="now")) as config:
                found.first_start.setdefault(ledger, []).append(_time_start(config))
                found.later_start.setdefault(ledger, []).append(_time_start(config))
    for ledger in LEDGERS:
        say(f"start, {ledger}: {min(found.first_start[ledger]):.2f} s, then {min(found.later_start[ledger]):.2f} s")


def run_syncd(stage: Stage, sink: Sink, crm: str, leads: int, ledger: Ledger) -> Run:
    """One run of the daemon from an empty ledger, verified.

    Raises:
        BenchFailed: it does not verify.
    """
    calls = calls_for(leads)
    sink.reset()
    with stage.configured(crm, ledger, sink.url) as config:
        stage.settle()
        with Daemon(config) as daemon:
            accepted = sink.wait_for(leads, _LONGEST_SECS + leads * _LONGEST_SECS_PER_LEAD, daemon.check)
            secs = accepted[-1].monotonic - daemon.spawned
            daemon.end()
            sink.verify(leads, calls)
            daemon.verify_ledger(leads)
            breakdown = break_down(daemon.events(), daemon.spawned_epoch, accepted)
            return Run(secs, daemon.peak_mb, daemon.cpu_secs, breakdown)


def _run_floor(stage: Stage, sink: Sink, floor: Floor, crm: str, leads: int) -> float:
    """Seconds from the spawn to the last accepted call."""
    sink.reset()
    stage.settle()
    began = time.monotonic()
    process = floor.start(crm, sink.add_record, leads)
    try:
        accepted = sink.wait_for(leads, _LONGEST_SECS + leads * _LONGEST_SECS_PER_LEAD, lambda: None)
        wait(process)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    sink.verify(leads, calls_for(leads))
    return accepted[-1].monotonic - began


def _time_start(config: Path) -> float:
    with Daemon(config) as daemon:
        secs = daemon.ready_secs()
        daemon.end()
        return secs
