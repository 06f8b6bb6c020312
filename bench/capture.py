"""How fast changes come into the ledger while nothing may leave, beside readers that keep nothing.

The changes wait when the daemon starts, all of them: so its rate is its own and not the writer's, and its memory is
tried by the largest backlog. Each way of capture has its reader: the same pages of the table, SELECT and DELETE of a
copy of the outbox, a second slot's stream.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from bench import bare
from bench.daemon import Daemon
from bench.errors import BenchFailed
from bench.stage import CAPTURES, Capture, Manner, Stage, set_up
from bench.table import Bar, Section
from bench.usage import cpu_secs, load, rss_mb
from syncd.config.objects import Objects

GROWTH_MB: Final = 20.0
_LOOK_SECS: Final = 0.1
_LONGEST_SECS: Final = 900.0
_CAUGHT_UP_SECS: Final = 40.0
_BARE_SLOT: Final = "bench_bare"
_COLUMNS: Final = "document_number, full_name, mobile, email, city_code, product, consent, status, updated_at"


@dataclass(frozen=True, slots=True)
class Captured:
    """One way of capture."""

    write_secs: float
    secs: float
    """From the first change in the ledger to the last."""
    rate: float
    """Changes a second, between those."""
    bare_rate: float
    cpu_secs: float
    """The daemon's, from its spawn to the last change."""
    rss_tenth_mb: float
    rss_end_mb: float
    rss_most_mb: float
    """The most that was seen between the two."""
    kept_behind: int
    """Bytes of WAL between the last change and the slot's confirmed position, or rows of the outbox, at the end."""


def capture(stage: Stage, changes: int, say: Callable[[str], None]) -> Section:
    """Measure.

    Raises:
        BenchFailed: a change is missing, or the outbox or the slot keeps something.
    """
    section = Section(
        "capture",
        f"{changes:,} changes, half of them updates, in statements of 1 to {changes // 10:,} rows, all there at the"
        " start; nothing may leave; SQLite ledger",
        ("", "changes/s", "bare reader", "times the bare", "RSS at 10 %", "at the end", "CPU of the daemon"),
        loads=[load()],
    )
    for mode in CAPTURES:
        found = _capture(stage, mode, changes)
        section.lines.append(
            (
                mode,
                f"{found.rate:,.0f}",
                f"{found.bare_rate:,.0f}",
                f"{found.bare_rate / found.rate:.1f}",
                f"{found.rss_tenth_mb:.0f} MB",
                f"{found.rss_end_mb:.0f} MB",
                f"{found.cpu_secs:.1f} s",
            )
        )
        growth = max(found.rss_end_mb, found.rss_most_mb) - found.rss_tenth_mb
        section.bars.append(Bar(f"growth of {mode} in MB, from 10 % to the most or the end", growth, GROWTH_MB))
        section.raw[mode] = asdict(found)
        say(f"capture, {mode}: {found.rate:,.0f} changes/s, bare {found.bare_rate:,.0f}, {found.rss_end_mb:.0f} MB")
    section.loads.append(load())
    return section


def _capture(stage: Stage, mode: Capture, changes: int) -> Captured:
    crm = stage.make_crm(changes // 2)
    with stage.configured(crm, "sqlite", "http://127.0.0.1:9", Manner(mode, "now", closed=True)) as config:
        if mode != "poll":
            set_up(config)
        _begin(config, crm, mode)
        if mode == "slot":
            _execute(crm, f"SELECT pg_create_logical_replication_slot('{_BARE_SLOT}', 'pgoutput')")
        began = time.monotonic()
        since = _write(crm, changes)
        write_secs = time.monotonic() - began
        if mode == "listen":
            _copy_outbox(crm)
        bare_secs = _bare(mode, crm, since, changes)
        stage.settle()
        captured = _drain(config, crm, mode, changes, write_secs, changes / bare_secs)
    stage.drop_crm(crm)
    return captured


def _begin(config: Path, crm: str, mode: Capture) -> None:
    """Let syncd begin from now, and end it."""
    with Daemon(config) as daemon:
        daemon.ready_secs()
        deadline = time.monotonic() + _CAUGHT_UP_SECS
        while not _value(config.with_name("ledger.db"), "SELECT count(*) FROM sync WHERE identity IS NOT NULL"):
            daemon.check()
            if time.monotonic() > deadline:
                raise BenchFailed(f"{mode} does not begin.")
            time.sleep(_LOOK_SECS)
        time.sleep(1.0)  # until the first look is over
        daemon.end()
    if mode == "slot":
        _execute(crm, "SELECT pg_switch_wal()")


def _write(crm: str, changes: int) -> str:
    """Make the changes: inserts, and updates of rows that were there, each row once; an instant before all of them."""
    with psycopg.connect(crm, autocommit=True) as connection:
        row = connection.execute("SELECT clock_timestamp()::text").fetchone()
        assert row is not None
        updated = inserted = 0
        for size in _sizes(changes):
            updates = updated + size <= changes // 2 and (
                updated <= inserted or inserted + size > changes - changes // 2
            )
            if updates:
                query = b"UPDATE public.leads SET updated_at = now() WHERE id > %s AND id <= %s"
                done = connection.execute(query, (updated, updated + size), prepare=True).rowcount
                updated += size
            else:
                made = (
                    f"INSERT INTO public.leads ({_COLUMNS}) SELECT (9000000000 + i)::text, 'Ana Castro', '3100000000',"
                    " 'ana@example.com', '11001', 'Plan hogar', true, 'new', now()"
                    " FROM generate_series(%s::bigint, %s::bigint) AS i"
                ).encode()
                done = connection.execute(
                    made, (changes + inserted, changes + inserted + size - 1), prepare=True
                ).rowcount
                inserted += size
            assert done == size
    assert updated + inserted == changes
    return str(row[0])


def _sizes(changes: int) -> Iterator[int]:
    """Rows of each statement, from a tenth of all down to single ones, in one order for all."""
    sizes: list[int] = []
    for part, count in ((10, 3), (100, 40), (1000, 200), (10_000, 900), (100_000, 900)):
        sizes += [max(1, changes // part)] * count
    while sum(sizes) > changes:  # a small bench
        sizes.pop()
    sizes += [1] * (changes - sum(sizes))
    random.Random(7).shuffle(sizes)
    return iter(sizes)


def _copy_outbox(crm: str) -> None:
    outbox = _outbox(crm)
    with psycopg.connect(crm, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE TABLE public.bare_outbox (LIKE {} INCLUDING ALL)").format(outbox))
        copy = sql.SQL("INSERT INTO public.bare_outbox OVERRIDING SYSTEM VALUE SELECT * FROM {}")
        connection.execute(copy.format(outbox))
        connection.execute("ANALYZE public.bare_outbox")


def _bare(mode: Capture, crm: str, since: str, changes: int) -> float:
    match mode:
        case "poll":
            return bare.drain_table(crm, since, changes)
        case "listen":
            return bare.drain_outbox(crm, sql.Identifier("public", "bare_outbox"), changes)
        case "slot":
            secs = bare.drain_slot(crm, _BARE_SLOT, _objects(crm).publication, changes)
            _execute(
                crm,
                f"SELECT pg_terminate_backend(active_pid, 5000), pg_drop_replication_slot('{_BARE_SLOT}')"
                f" FROM pg_replication_slots WHERE slot_name = '{_BARE_SLOT}'",
            )
            return secs


def _drain(config: Path, crm: str, mode: Capture, changes: int, write_secs: float, bare_rate: float) -> Captured:
    ledger = config.with_name("ledger.db")
    with Daemon(config) as daemon:
        daemon.ready_secs()
        deadline, first, tenth, most = time.monotonic() + _LONGEST_SECS, None, None, 0.0
        while (come := _value(ledger, "SELECT coalesce(sum(leads), 0) FROM tally")) < changes:
            daemon.check()
            now, rss = time.monotonic(), rss_mb(daemon.pid)
            if first is None and come:
                first = now, come
            if come * 10 >= changes:
                tenth = tenth or rss
                most = max(most, rss)
            if now > deadline:
                raise BenchFailed(f"{come} of {changes} changes came into the ledger within {_LONGEST_SECS:.0f} s.")
            time.sleep(_LOOK_SECS)
        ended, cpu = time.monotonic(), cpu_secs(daemon.pid)
        behind = _caught_up(crm, mode, daemon)
        rss = rss_mb(daemon.pid)
        daemon.end()
        daemon.verify_ledger(changes, "pending")
    began, at_first = first or (ended - _LOOK_SECS, 0)
    secs = ended - began
    return Captured(write_secs, secs, (changes - at_first) / secs, bare_rate, cpu, tenth or rss, rss, most, behind)


def _caught_up(crm: str, mode: Capture, daemon: Daemon) -> int:
    """See that the CRM keeps nothing for us any more; for a slot, bytes that it is behind."""
    if mode == "poll":
        return 0
    deadline = time.monotonic() + _CAUGHT_UP_SECS
    with psycopg.connect(crm, autocommit=True) as connection:
        end = connection.execute("SELECT pg_current_wal_lsn()::text").fetchone()
        assert end is not None
        if mode == "listen":
            query = sql.SQL("SELECT count(*) FROM {}").format(_outbox(crm))
        else:
            query = sql.SQL(
                "SELECT greatest(0, pg_wal_lsn_diff({}, confirmed_flush_lsn))::bigint FROM pg_replication_slots"
                " WHERE slot_name = {}"
            ).format(sql.Literal(end[0]), sql.Literal(_objects(crm).slot))
        while True:
            row = connection.execute(query).fetchone()
            assert row is not None
            if row[0] == 0:
                return 0
            daemon.check()
            if time.monotonic() > deadline:
                raise BenchFailed(
                    f"{mode}: {row[0]} are left in the CRM {_CAUGHT_UP_SECS:.0f} s after the last change."
                )
            time.sleep(_LOOK_SECS)


def _objects(crm: str) -> Objects:
    return Objects(str(conninfo_to_dict(crm)["dbname"]))


def _outbox(crm: str) -> sql.Identifier:
    return sql.Identifier(*_objects(crm).outbox)


def _execute(crm: str, statement: str) -> None:
    with psycopg.connect(crm, autocommit=True) as connection:
        connection.execute(statement.encode())


def _value(ledger: Path, query: str) -> int:
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True, timeout=10)) as connection:
        return int(connection.execute(query).fetchone()[0])
