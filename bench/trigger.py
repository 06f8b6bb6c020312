"""What capture = "listen" costs those who write: the same writes with and without its triggers, in turn.

Bulk statements, and single inserts by several writers at once (`pgbench`), the latter also while syncd listens and
empties the outbox.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final, Literal

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from bench.daemon import Daemon
from bench.errors import BenchFailed
from bench.stage import Manner, Stage, environment, set_up
from bench.table import Bar, Section, spread
from bench.usage import load, tree_cpu_secs
from syncd.config.objects import Objects
from syncd.embedded import wheel_bindir

TIMES: Final = 1.6
WRITERS: Final = (1, 4, 16)
Variant = Literal["none", "unheard", "heard"]
VARIANTS: Final[tuple[Variant, ...]] = ("none", "unheard", "heard")
"""No trigger; one, and nobody listens; one, and syncd does."""
_BULK: Final = ("INSERT", "COPY", "UPDATE")
_COLUMNS: Final = (
    "document_number, full_name, mobile, email, city_code, age, address, product, utm_source, utm_campaign, notes,"
    " callback_at, consent, status, updated_at"
)
_SINGLE: Final = """\\set n random(1, 1000000000)
INSERT INTO public.leads (document_number, full_name, mobile, email, product, consent, status, updated_at)
VALUES (:n, 'Ana Castro', '3100000000', 'ana@example.com', 'Plan hogar', true, 'new', now());
"""
_TICK_SECS: Final = 0.01
"""The kernel counts in these."""
_REAPED_SECS: Final = 0.3
"""After which the server has waited for the processes of those who have left, and their time counts as its own."""
_TPS: Final = re.compile(r"^tps = ([\d.]+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Rate:
    """What pgbench gave."""

    tps: float
    cpu_ms: float
    """Of the server, for each insert."""


@dataclass(slots=True)
class Found:
    """Lists have a figure for each round."""

    bulk: dict[tuple[str, Variant], list[float]] = field(default_factory=dict)
    """Seconds."""
    single: dict[tuple[int, Variant], list[Rate]] = field(default_factory=dict)


def trigger(stage: Stage, repeat: int, rows: int, secs: int, say: Callable[[str], None]) -> Section:
    """Measure.

    Args:
        rows: of a bulk statement.
        secs: of a run of single inserts.

    Raises:
        BenchFailed: pgbench fails, or the triggers did not write what they must.
    """
    found, loads = Found(), [load()]
    crms: dict[Variant, str] = {variant: stage.make_crm(rows) for variant in VARIANTS}
    manner = Manner("listen", "now", closed=True)
    with ExitStack() as stack:
        configs: dict[Variant, Path] = {}
        for variant in VARIANTS[1:]:
            configs[variant] = config = stack.enter_context(
                stage.configured(crms[variant], "sqlite", "http://127.0.0.1:9", manner)
            )
            set_up(config)
        script = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="syncd-bench-"))) / "insert.sql"
        script.write_text(_SINGLE)
        for url in crms.values():
            _keep(url)
        for round_ in range(repeat):
            order = VARIANTS if round_ % 2 == 0 else VARIANTS[::-1]
            for what in _BULK:
                for variant in (each for each in order if each != "heard"):
                    stage.settle()
                    took = _bulk(crms[variant], what, rows, variant)
                    found.bulk.setdefault((what, variant), []).append(took)
            for writers in WRITERS:
                for variant in order:
                    rate = _single(
                        stage, crms[variant], script, writers, secs, configs["heard"] if variant == "heard" else None
                    )
                    found.single.setdefault((writers, variant), []).append(rate)
            say(f"trigger, round {round_ + 1} of {repeat}: {_said(found)}")
    for url in crms.values():
        stage.drop_crm(url)
    return _section(found, repeat, rows, secs, [*loads, load()])


def _said(found: Found) -> str:
    return ", ".join(
        f"{what} {found.bulk[what, 'unheard'][-1] / found.bulk[what, 'none'][-1]:.2f}" for what in _BULK
    ) + "".join(
        f", {writers} writers {found.single[writers, 'none'][-1].tps / found.single[writers, 'heard'][-1].tps:.2f}"
        for writers in WRITERS
    )


def _keep(url: str) -> None:
    """Lay the rows by, from where they are inserted again and again."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE UNLOGGED TABLE public.kept AS SELECT {_COLUMNS} FROM public.leads".encode())


def _bulk(url: str, what: str, rows: int, variant: Variant) -> float:
    """Seconds of one statement of so many rows."""
    outbox = sql.Identifier(*Objects(str(conninfo_to_dict(url)["dbname"])).outbox)
    with psycopg.connect(url, autocommit=True) as connection:
        if what != "UPDATE":
            connection.execute("TRUNCATE public.leads")
        if variant != "none":
            connection.execute(sql.SQL("TRUNCATE {}").format(outbox))
        if what == "COPY":
            took = _copy(connection)
        else:
            statement = {
                "INSERT": f"INSERT INTO public.leads ({_COLUMNS}) SELECT {_COLUMNS} FROM public.kept",
                "UPDATE": "UPDATE public.leads SET status = 'called', updated_at = now()",
            }[what]
            began = time.monotonic()
            connection.execute(statement.encode())
            took = time.monotonic() - began
        if variant != "none":
            written = connection.execute(sql.SQL("SELECT sum(n) FROM {}").format(outbox)).fetchone()
            if written != (rows,):
                raise BenchFailed(f"The outbox holds {written} keys after {what} of {rows}.")
    return took


def _copy(connection: psycopg.Connection[tuple[object, ...]]) -> float:
    with connection.cursor().copy("COPY public.kept TO STDOUT") as copy:
        blocks = list(copy)
    began = time.monotonic()
    with connection.cursor().copy(f"COPY public.leads ({_COLUMNS}) FROM STDIN".encode()) as copy:
        for start in range(0, len(blocks), 500):
            copy.write(b"".join(blocks[start : start + 500]))
    return time.monotonic() - began


def _single(stage: Stage, url: str, script: Path, writers: int, secs: int, config: Path | None) -> Rate:
    """So many writers for so long, one insert in each transaction; beside a daemon where there is a configuration."""
    stage.settle()
    if config is None:
        return _pgbench(stage, url, script, writers, secs)
    with Daemon(config) as daemon:
        daemon.ready_secs()
        rate = _pgbench(stage, url, script, writers, secs)
        daemon.end()
    return rate


def _pgbench(stage: Stage, url: str, script: Path, writers: int, secs: int) -> Rate:
    command = [str(wheel_bindir() / "pgbench"), "-n", "-M", "prepared", "-f", str(script)]
    command += ["-c", str(writers), "-T", str(secs), url]
    before = tree_cpu_secs(stage.server.pid)
    with psycopg.connect(url, autocommit=True) as connection:
        first = _inserted(connection)
        done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False, timeout=120)
        time.sleep(_REAPED_SECS)
        took = tree_cpu_secs(stage.server.pid) - before
        inserts = _inserted(connection) - first
    found = _TPS.search(done.stdout)
    if done.returncode != 0 or found is None or not inserts:
        raise BenchFailed(f"pgbench ended with status {done.returncode}: {done.stderr.strip()[-300:]}")
    return Rate(float(found[1]), 1000 * max(took, _TICK_SECS) / inserts)


def _inserted(connection: psycopg.Connection[tuple[object, ...]]) -> int:
    row = connection.execute("SELECT nextval('public.leads_id_seq')").fetchone()
    assert row is not None
    return int(str(row[0]))


def _section(found: Found, repeat: int, rows: int, secs: int, loads: list[str]) -> Section:
    section = Section(
        "trigger",
        f"what the triggers of listen cost a writer; {rows:,} rows in one statement, {repeat} rounds in turn (seconds,"
        f" the best of either); single inserts with pgbench, {secs} s each (inserts a second, the median)",
        ("", "without", "nobody listens", "ratio", "spread", "syncd listens", "ratio", "spread"),
        loads=loads,
    )
    for what in _BULK:
        without, with_ = found.bulk[what, "none"], found.bulk[what, "unheard"]
        ratio, ratios = min(with_) / min(without), [b / a for a, b in zip(without, with_, strict=True)]
        cells = (f"{min(without):.3f} s", f"{min(with_):.3f} s", f"{ratio:.2f}", spread(ratios, 2))
        section.lines.append((f"{rows:,} rows, {what}", *cells, "", "", ""))
        section.bars.append(Bar(f"times as long, {what} of {rows:,} rows", ratio, TIMES))
    for unit in ("inserts a second", "ms of the server's CPU an insert"):
        for writers in WRITERS:
            values = {
                variant: [each.tps if unit[0] == "i" else each.cpu_ms for each in found.single[writers, variant]]
                for variant in VARIANTS
            }
            row = tuple(cell for variant in VARIANTS for cell in _beside(values, variant, unit[0] == "i"))
            section.lines.append((f"{writers} writers, {unit}", *row))
    section.raw = {
        "bulk_secs": {f"{what}, {variant}": each for (what, variant), each in found.bulk.items()},
        "single": {
            f"{writers}, {variant}": [[each.tps, each.cpu_ms] for each in rates]
            for (writers, variant), rates in found.single.items()
        },
    }
    return section


def _beside(values: dict[Variant, list[float]], variant: Variant, whole: bool) -> tuple[str, ...]:  # noqa: FBT001
    figure = f"{median(values[variant]):.{0 if whole else 3}f}"
    if variant == "none":
        return (figure,)
    ratios = [b / a for a, b in zip(values["none"], values[variant], strict=True)]
    return (figure, f"{median(ratios):.2f}", spread(ratios, 2))
