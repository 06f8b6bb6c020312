"""What `syncd check` asks of the CRM about one sync: table, columns, rights, key, watermark."""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import sql

from syncd import assembly
from syncd.capture.scan import NUMBERS, TIMESTAMPS
from syncd.check import capture, joins, mapping
from syncd.check.asking import denied, repeats
from syncd.check.finding import Finding, failure
from syncd.config import Config, Sync
from syncd.crm import CrmConnection, Shape, condition, look_at
from syncd.crm.joining import columns_by_place
from syncd.errors import EXIT_CONFIG, CrmFault
from syncd.setup import words_of


def look(config: Config, sync: Sync, connection: CrmConnection) -> Iterator[Finding]:
    about = assembly.about(sync)
    mapped = assembly.columns(config, sync)
    own = tuple(columns_by_place(mapped, assembly.joins(sync))[None])
    try:
        shape = look_at(connection, sync.relation, about)
        faults = [*_columns(sync, shape, own, about), *mapping.types(mapping.rules_of(sync), shape.columns, about)]
        if faults:
            yield from faults
            return
        watermark = [sync.watermark_column] if sync.watermark_column else []
        read = [sync.key, *own, *words_of(sync.where), *watermark]
        if unreadable := denied(sync, sync.relation, sync.table, read, connection, about):
            yield unreadable
            return
        # The very queries that the daemon will run: what they need in privileges and syntax shows here.
        with connection.cursor(about) as cursor:
            cursor.execute(_select(sync, (sync.key, *own)) + sql.SQL(" LIMIT 1"))
        findings = list(joins.look(sync, mapped, connection, about))
        yield from findings
        if any(finding.level == "error" for finding in findings):
            return
        yield from mapping.look(config, sync, connection, about)
        yield from _key(sync, shape, connection, about)
        yield from _watermark(sync, shape, connection, about)
        findings = list(capture.look(sync, connection, about))
        yield from findings
        if any(finding.level == "error" for finding in findings):
            return
    except CrmFault as error:
        yield failure(about, error)
        return
    yield Finding("ok", about, f"{sync.table} has all that is needed.")


def _select(sync: Sync, columns: tuple[str, ...]) -> sql.Composed:
    return sql.SQL("SELECT {} FROM {} WHERE {}").format(
        sql.SQL(", ").join(sql.Identifier(name) for name in columns),
        sql.Identifier(*sync.relation),
        condition(sync.where),
    )


def _columns(sync: Sync, shape: Shape, mapped: tuple[str, ...], about: str) -> Iterator[Finding]:
    wanted = {"key": [sync.key], "fields": list(mapped)}
    if sync.watermark_column is not None:
        wanted["watermark_column"] = [sync.watermark_column]
    rules = mapping.rules_of(sync)
    for setting, names in wanted.items():
        for name in names:
            if name not in shape.columns:
                yield Finding(
                    "error",
                    about,
                    f"{sync.table} has no column {name}, which sync.{setting} names"
                    f"{mapping.unknown(rules, name, list(shape.columns))}; it has: {', '.join(shape.columns)}.",
                    EXIT_CONFIG,
                )
    kind = shape.columns.get(sync.watermark_column or "")
    if kind is not None and kind not in TIMESTAMPS + NUMBERS:
        yield Finding(
            "error",
            about,
            f"watermark_column {sync.watermark_column} has type {kind}; it must be a timestamp, or a number that "
            "every change increases.",
            EXIT_CONFIG,
        )
    if kind in NUMBERS and sync.start not in ("now", "beginning"):
        yield Finding(
            "error",
            about,
            f'start is an instant, but watermark_column {sync.watermark_column} is a number; say "now" or "beginning".',
            EXIT_CONFIG,
        )


def _key(sync: Sync, shape: Shape, connection: CrmConnection, about: str) -> Iterator[Finding]:
    if sync.key in shape.unique:
        return
    if repeats(sync.relation, sync.key, connection, about):
        yield Finding(
            "error",
            about,
            f"key {sync.key} is not unique: two rows of {sync.table} share a value, and one of the two leads would be "
            "lost; name the column that identifies a row.",
            EXIT_CONFIG,
        )
    elif shape.is_table:
        yield Finding(
            "warning",
            about,
            f"key {sync.key} has no unique index, so nothing keeps it unique; every batch reads the whole table.",
        )


def _watermark(sync: Sync, shape: Shape, connection: CrmConnection, about: str) -> Iterator[Finding]:
    column = sync.watermark_column
    if column is None:
        return
    if sync.capture == "poll" and column not in shape.indexed and shape.is_table:
        yield Finding(
            "warning",
            about,
            f"watermark_column {column} has no index: every poll reads the whole table; CREATE INDEX CONCURRENTLY ON "
            f"{sync.table} ({column}).",
        )
    query = sql.SQL("SELECT 1 FROM {} WHERE {} IS NULL LIMIT 1").format(
        sql.Identifier(*sync.relation), sql.Identifier(column)
    )
    with connection.cursor(about) as cursor:
        if cursor.execute(query).fetchone() is not None:
            missed = "they are never captured" if sync.capture == "poll" else "the sweep does not find them"
            yield Finding("warning", about, f"some rows have no {column}; {missed} until they are given one.")
