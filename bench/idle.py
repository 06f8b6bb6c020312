"""What syncd takes where nothing happens: one sync in each way of capture, its processor time, its memory, and the
queries that the CRM's server sees of it, which that server logs.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import psycopg

from bench.daemon import Daemon
from bench.stage import CAPTURES, Capture, Manner, Stage, set_up
from bench.table import Bar, Section
from bench.usage import cpu_secs, load, rss_mb, tree_cpu_secs

SHARE: Final = 0.5
"""Per cent of a core."""
_POLL_SECS: Final = 5.0
SETTLE_SECS: Final = 12.0
"""The first looks, and a probe whether notifications arrive, are no part of idling."""
_LOGGED: Final = re.compile(r"^(syncd [^\t]*)\t.*?(?:statement|execute [^:]*|received replication command[^:]*): ?(.*)")
_ROWS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Idle:
    """One way of capture."""

    secs: float
    cpu_percent: float
    """Of one core, the daemon's."""
    server_percent: float
    """The same of all of the server, whatever it did."""
    rss_mb: float
    queries: dict[str, int]
    """By the connection's name and the beginning of the statement."""


def idle(stage: Stage, secs: float, say: Callable[[str], None], settle_secs: float = SETTLE_SECS) -> Section:
    """Measure, each way of capture for so many seconds; poll_secs is the default.

    Args:
        settle_secs: from readiness to the beginning.
    """
    section = Section(
        "idle",
        f"one sync and nothing to do, {secs:.0f} s, poll_secs = {_POLL_SECS:g}, SQLite ledger",
        ("", "CPU of a core", "RSS", "queries", "for each poll_secs", "CPU of the whole server"),
        loads=[load()],
    )
    _log_statements(stage)
    for capture in CAPTURES:
        found = _idle(stage, capture, secs, settle_secs)
        count = sum(found.queries.values())
        each = count / (found.secs / _POLL_SECS)
        section.lines.append(
            (
                capture,
                f"{found.cpu_percent:.2f} %",
                f"{found.rss_mb:.0f} MB",
                str(count),
                f"{each:.2f}",
                f"{found.server_percent:.2f} %",
            )
        )
        section.bars.append(Bar(f"CPU of {capture} in per cent of a core", found.cpu_percent, SHARE))
        # A window may begin just before a look and end just after one.
        section.bars.append(Bar(f"queries of {capture} in {found.secs:.0f} s", count, found.secs // _POLL_SECS + 1))
        section.raw[capture] = asdict(found)
        say(f"idle, {capture}: {found.cpu_percent:.2f} % of a core, {found.rss_mb:.0f} MB, queries {found.queries}")
    _log_statements(stage, on=False)
    section.loads.append(load())
    return section


def _log_statements(stage: Stage, *, on: bool = True) -> None:
    settings = {
        "log_statement": "'all'",
        "log_replication_commands": "on",
        "log_line_prefix": r"E'%a\t'",
    }
    with psycopg.connect(stage.server.url(), autocommit=True) as connection:
        for name, value in settings.items():
            change = f"ALTER SYSTEM SET {name} = {value}" if on else f"ALTER SYSTEM RESET {name}"
            connection.execute(change.encode())
        connection.execute("SELECT pg_reload_conf()")


def _idle(stage: Stage, capture: Capture, secs: float, settle_secs: float) -> Idle:
    crm = stage.make_crm(_ROWS)
    with stage.configured(crm, "sqlite", "http://127.0.0.1:9", Manner(capture, "now", _POLL_SECS)) as config:
        if capture != "poll":
            set_up(config)
        with Daemon(config) as daemon:
            daemon.ready_secs()
            time.sleep(settle_secs)
            log = stage.server.directory / "postgres.log"
            at, began = log.stat().st_size, time.monotonic()
            used, server = cpu_secs(daemon.pid), tree_cpu_secs(stage.server.pid)
            time.sleep(secs)
            daemon.check()
            took = time.monotonic() - began
            used, server = cpu_secs(daemon.pid) - used, tree_cpu_secs(stage.server.pid) - server
            memory, queries = rss_mb(daemon.pid), _queries(log, at)
            daemon.end()
    stage.drop_crm(crm)
    return Idle(took, 100 * used / took, 100 * server / took, memory, queries)


def _queries(log: Path, at: int) -> dict[str, int]:
    """What connections of syncd said since a place in the server's log."""
    with log.open("rb") as file:
        file.seek(at)
        lines = file.read().decode("utf-8", "replace").splitlines()
    found = [match for line in lines if (match := _LOGGED.match(line))]
    return dict(Counter(f"{match[1]}: {' '.join(match[2].split())[:60]}" for match in found))
