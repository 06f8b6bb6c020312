"""The figures as a person reads them, and as JSON."""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any, Final

from bench.floor import BATCH, Floor, calls_for
from bench.leads import COLUMNS, MAPPED
from bench.sections import Found
from bench.stage import IN_WORDS, LEDGERS
from bench.table import layout

TIMES_THE_FLOOR: Final = 4.0
PEAK_MB: Final = 150.0
GROWTH_MB: Final = 20.0


@dataclass(frozen=True, slots=True)
class Row:
    """One figure beside its bar."""

    what: str
    unit: str
    syncd: float
    floor: float | None = None
    ratio: float | None = None
    """Of the best of either side, which noise of the machine disturbs least."""
    median: float | None = None
    """Of the ratios of the pairs; without a floor, of syncd's figures."""
    spread: tuple[float, float] | None = None
    """The least and the greatest, of what `median` is of."""
    bar: float | None = None
    met: bool | None = None


@dataclass(frozen=True, slots=True)
class Conditions:
    """Under which it was measured."""

    leads: int
    many: int
    repeat: int
    floor: Floor
    server: str

    def lines(self, found: Found) -> list[str]:
        """For the head of the report."""
        calls = calls_for(self.leads)
        amount = f"{self.leads:,} leads of {COLUMNS} columns, mapped to {len(MAPPED)} fields"
        versions = f"Python {platform.python_version()}, PostgreSQL {self.server}, SQLite {sqlite3.sqlite_version}"
        machine = f"{os.cpu_count()} cores, {versions}; fsync on, default durability on both ledgers"
        if not (found.backfill or found.memory or found.first_start):
            return [machine]
        said = [
            f"{amount}; calls of at most {BATCH:,}, {calls} in all; rounds: {self.repeat}, the sides in turn",
            machine,
            f"floor: {self.floor.words}",
        ]
        if found.compared:
            said.append(
                f"bodies: {found.compared:,} records of either side compared and equal "
                f"({found.body_bytes['syncd']:,} bytes from syncd, {found.body_bytes['floor']:,} from the floor)"
            )
        said.append(
            "seconds: the best of the rounds, from the spawn to the last accepted call; median and spread: of the"
        )
        said.append("ratios of each round, or of seconds where there is no floor; every lead was accepted exactly once")
        return said


def rows_of(found: Found, leads: int, many: int) -> list[Row]:
    """The figures, one a row."""
    rows = []
    floor = min((pair.floor_secs for pairs in found.backfill.values() for pair in pairs), default=0.0)
    for ledger, pairs in found.backfill.items():
        syncd, ratios = min(pair.syncd.secs for pair in pairs), [pair.ratio for pair in pairs]
        row = Row(
            what=f"{leads:,} leads, {IN_WORDS[ledger]} ledger",
            unit="s",
            syncd=syncd,
            floor=floor,
            ratio=syncd / floor,
            median=median(ratios),
            spread=(min(ratios), max(ratios)),
        )
        rows.append(_held(row, syncd / floor, TIMES_THE_FLOOR))
    for (ledger, count), peaks in sorted(found.memory.items(), key=lambda item: item[0][1]):
        what, peak = f"peak memory, {count:,} leads, {IN_WORDS[ledger]}", max(peaks)
        rows.append(_held(Row(what, "MB", peak, spread=(min(peaks), peak)), peak, PEAK_MB))
    for ledger in LEDGERS:
        few, much = found.memory.get((ledger, leads)), found.memory.get((ledger, many))
        if few and much:
            more = max(much) - max(few)
            rows.append(_held(Row(f"and more than for {leads:,}, {IN_WORDS[ledger]}", "MB", more), more, GROWTH_MB))
    for what, starts in (("making the ledger", found.first_start), ("ledger is there", found.later_start)):
        for ledger, secs in starts.items():
            name, spread = f"spawn to ready, {what}, {IN_WORDS[ledger]}", (min(secs), max(secs))
            rows.append(Row(name, "s", min(secs), median=median(secs), spread=spread))
    return rows if found.judged else [replace(row, bar=None, met=None) for row in rows]


def _held(row: Row, figure: float, bar: float) -> Row:
    """The row with its figure held against a bar."""
    return replace(row, bar=bar, met=figure <= bar)


def as_text(rows: Sequence[Row]) -> list[str]:
    """The table."""
    head = ("", "syncd", "floor", "ratio", "median", "spread", "bar", "met")
    table = [head, *(_cells(row) for row in rows)]
    return layout(table)


def profile(found: Found) -> list[str]:
    """Where the time went, in the best run with each ledger."""
    lines: list[str] = []
    for ledger, pairs in found.backfill.items():
        best = min((pair.syncd for pair in pairs), key=lambda run: run.secs)
        lines.append(f"{IN_WORDS[ledger]} ledger: {best.secs:.2f} s, {best.cpu_secs:.2f} s of processor until its end")
        for words, secs in best.breakdown.rows():
            lines.append(f"  {words:44} {secs:6.2f} s  {secs / best.secs:4.0%}")
    return lines


def as_json(conditions: Conditions, found: Found, rows: Sequence[Row]) -> dict[str, Any]:
    """Everything, raw figures included."""
    return {
        "leads": conditions.leads,
        "many": conditions.many,
        "repeat": conditions.repeat,
        "calls": calls_for(conditions.leads),
        "columns": COLUMNS,
        "fields": len(MAPPED),
        "machine": {
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "postgres": conditions.server,
            "sqlite": sqlite3.sqlite_version,
        },
        "floor": {"words": conditions.floor.words, "fallback": conditions.floor.is_fallback},
        "compared": found.compared,
        "body_bytes": found.body_bytes,
        "rows": [asdict(row) for row in rows],
        "backfill": {ledger: [asdict(pair) for pair in pairs] for ledger, pairs in found.backfill.items()},
        "memory_mb": [
            {"ledger": ledger, "leads": count, "peaks": peaks} for (ledger, count), peaks in found.memory.items()
        ],
        "many_runs": {ledger: asdict(run) for ledger, run in found.many.items()},
        "ready_secs": {"first": found.first_start, "later": found.later_start},
        "sections": {section.name: section.as_json(judged=found.judged) for section in found.sections},
        "met": all(row.met for row in rows if row.met is not None)
        and all(bar.met for section in found.sections for bar in section.bars if found.judged),
    }


def _cells(row: Row) -> tuple[str, ...]:
    def figure(value: float | None) -> str:
        if value is None:
            return ""
        return f"{value:.2f} s" if row.unit == "s" else f"{value:.0f} MB"

    digits = 2 if row.unit == "s" else 0
    bar = "" if row.bar is None else figure(row.bar) if row.ratio is None else f"{row.bar:.1f}"
    return (
        row.what,
        figure(row.syncd),
        figure(row.floor),
        "" if row.ratio is None else f"{row.ratio:.2f}",
        "" if row.median is None else f"{row.median:.2f}",
        "" if row.spread is None else f"{row.spread[0]:.{digits}f} - {row.spread[1]:.{digits}f}",
        bar,
        "" if row.met is None else ("yes" if row.met else "NO"),
    )
