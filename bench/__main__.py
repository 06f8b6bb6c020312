"""`python -m bench`: measure, verify, print.

Exit status: 0 measured (whether or not a bar is met), 1 a run did not verify, 2 usage.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from bench.capture import capture
from bench.errors import BenchFailed
from bench.fields import fields
from bench.floor import choose_floor
from bench.idle import idle
from bench.latency import latency
from bench.report import Conditions, as_json, as_text, profile, rows_of
from bench.sections import Found, backfill, compare_bodies, memory, starts
from bench.sink import Sink
from bench.stage import Stage
from bench.table import Section
from bench.trigger import trigger
from syncd.embedded import EmbeddedPostgres
from syncd.errors import SyncdError

SECTIONS = ("backfill", "memory", "start", "latency", "trigger", "idle", "capture", "fields")
_TIMES_MORE = 10
"""The many leads of the memory section."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a bench; returns the exit status."""
    options = _options(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        _bench(options)
    except (BenchFailed, SyncdError) as error:
        print(f"bench: FAILED: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("bench", description="How fast syncd is beside `psql | curl`.")
    parser.add_argument("--leads", type=_natural, help="leads of the backfill [100000; with --quick 300]")
    parser.add_argument("--repeat", type=_natural, help="rounds [5; with --quick 1]")
    parser.add_argument("--only", choices=SECTIONS, action="append", help="measure this alone; may be given again")
    parser.add_argument("--quick", action="store_true", help="small, to see that it works; its figures mean nothing")
    parser.add_argument("--profile", action="store_true", help="also print where syncd's time goes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there, too")
    options = parser.parse_args(arguments)
    options.leads = options.leads or (300 if options.quick else 100_000)
    options.repeat = options.repeat or (1 if options.quick else 5)
    options.only = options.only or list(SECTIONS)
    return options


def _bench(options: argparse.Namespace) -> None:
    leads, many = options.leads, options.leads * _TIMES_MORE
    found, floor = Found(judged=not options.quick), choose_floor()
    with (
        tempfile.TemporaryDirectory(prefix="syncd-bench-") as folder,
        EmbeddedPostgres() as server,
        Sink() as sink,
    ):
        stage = Stage(server, Path(folder))
        conditions = Conditions(leads, many, options.repeat, floor, stage.server_version)
        crm = stage.make_crm(leads)
        if "backfill" in options.only:
            compare_bodies(stage, floor, min(leads, 2000), found)
            backfill(stage, sink, floor, crm, leads, options.repeat, found, _say)
        if "start" in options.only:
            starts(stage, sink, crm, options.repeat, found, _say)
        if "memory" in options.only:
            memory(stage, sink, {leads: crm, many: stage.make_crm(many)}, found, _say)
        found.sections += _capture_sections(options, stage)
    rows = rows_of(found, leads, many)
    print("\n".join(["", *conditions.lines(found), *(["", *as_text(rows)] if rows else [])]))
    for section in found.sections:
        print("\n".join(["", *section.as_text(judged=found.judged)]))
    if options.profile:
        print("\n".join(["", *profile(found)]))
    if options.json:
        options.json.write_text(json.dumps(as_json(conditions, found, rows), indent=2) + "\n", encoding="utf-8")


def _capture_sections(options: argparse.Namespace, stage: Stage) -> list[Section]:
    """What has a table of its own: capture, and the field map."""
    quick, repeat = options.quick, options.repeat
    measures: dict[str, Callable[[], Section]] = {
        "latency": lambda: latency(stage, repeat, 20 if quick else 40, _say),
        "trigger": lambda: trigger(stage, repeat, 5_000 if quick else 100_000, 1 if quick else 4, _say),
        "idle": lambda: idle(stage, 10.0 if quick else 60.0, _say),
        "capture": lambda: capture(stage, 100_000 if quick else 1_000_000, _say),
        "fields": lambda: fields(2_000 if quick else 100_000, repeat, _say),
    }
    return [measure() for name, measure in measures.items() if name in options.only]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _natural(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
