"""What `syncd check` asks of the CRM about the way in which a sync captures: what is installed, and may be used.

It looks, and writes nothing: at the installation with the eyes of the sources themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from syncd.capture import slot_look
from syncd.capture.installed import Outbox
from syncd.capture.outbox import OutboxConnection
from syncd.check.finding import Finding, failure
from syncd.config import Sync
from syncd.crm import CrmConnection
from syncd.errors import EXIT_CONFIG, CaptureLost

_SERVER = """
SELECT (SELECT c.relkind::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = %s AND c.relname = %s),
    pg_is_in_recovery(), current_setting('wal_level'), current_setting('max_slot_wal_keep_size')
"""
_SEES = "SELECT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')"
_AS_ON_RDS = """
SELECT coalesce(bool_or(pg_has_role(oid, 'MEMBER')), false) FROM pg_catalog.pg_roles WHERE rolname = 'rds_replication'
"""
_OUTBOX_RIGHTS = """
SELECT has_schema_privilege(n.oid, 'USAGE'), has_table_privilege(c.oid, 'SELECT'), has_table_privilege(c.oid, 'DELETE')
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s
"""


def look(sync: Sync, connection: CrmConnection, about: str) -> Iterator[Finding]:
    """What stands in the way of capturing, and what is to be known of it.

    Raises:
        CrmUnavailable, CrmFault: as `CrmConnection.cursor`.
    """
    kind, replica, wal_level, keeps = _row(connection, about, _SERVER, sync.relation)
    if sync.capture == "poll":
        yield from _poll(sync, connection, about, replica=replica)
    elif kind not in ("r", "p"):
        way_out = 'say capture = "poll", or name the table itself and put the view\'s condition into `where`'
        yield _error(about, f'{sync.table} is no table, and capture = "{sync.capture}" follows tables only; {way_out}.')
    elif replica:
        way_out = 'name the primary, or say capture = "poll"'
        yield _error(about, f'crm.url leads to a replica, where capture = "{sync.capture}" cannot work; {way_out}.')
    elif sync.capture == "listen":
        yield from _listen(sync, connection, about)
    elif wal_level != "logical":
        way_out = 'set it and restart the server, or say capture = "listen"'
        yield _error(about, f"wal_level is {wal_level}, and a slot needs logical; {way_out}.")
    else:
        yield from _slot(sync, connection, about, keeps)


def _poll(sync: Sync, connection: CrmConnection, about: str, *, replica: bool) -> Iterator[Finding]:
    late = f"transactions open for longer than lookback_secs ({sync.lookback_secs}) are found by the sweep only"
    if replica:
        yield Finding("ok", about, f"a replica does not show what is open on its primary: {late}.")
    elif not _row(connection, about, _SEES, ())[0]:
        way_out = "GRANT pg_read_all_stats to syncd's role lets it see them"
        yield Finding("ok", about, f"pg_stat_activity is not visible: {late} ({way_out}).")


def _listen(sync: Sync, connection: CrmConnection, about: str) -> Iterator[Finding]:
    schema, table = sync.objects.outbox
    rights = _row(connection, about, _OUTBOX_RIGHTS, (schema, table), absent=(True, True, True))
    needed = (
        ("USAGE", f"schema {schema}"),
        ("SELECT", f"table {schema}.{table}"),
        ("DELETE", f"table {schema}.{table}"),
    )
    missing = [what for given, what in zip(rights, needed, strict=True) if not given]
    for right, place in missing:
        yield _error(about, f"permission denied for {place}: syncd's role needs {right} on it; {_install(sync)}.")
    if missing:
        return
    outbox = Outbox(OutboxConnection(connection), sync.relation, sync.key, sync.objects, about, _remedy(sync))
    try:
        installed = outbox.look()
        bare = outbox.uncovered(installed.leads) if installed.has_children else []
    except CaptureLost as error:
        yield failure(about, error)
        return
    if bare:
        yield Finding(
            "warning",
            about,
            f"{len(bare)} partitions or children have no triggers, such as {bare[0]}: what is written into them "
            f"directly is found by the sweep only; {_install(sync)}.",
        )
    if installed.silent:
        yield Finding(
            "ok",
            about,
            "the server allows PREPARE TRANSACTION, which forbids notifications: leads come every poll_secs.",
        )


def _slot(sync: Sync, connection: CrmConnection, about: str, keeps: str) -> Iterator[Finding]:
    found = slot_look.look(connection, sync.objects, sync.relation, sync.key, about)
    if not found.may_replicate and not _row(connection, about, _AS_ON_RDS, ())[0]:
        yield _error(about, f"permission denied to read a slot: syncd's role needs REPLICATION; {_install(sync)}.")
    try:
        slot_look.judge(found, sync.objects, sync.relation, sync.key, about, _remedy(sync))
    except CaptureLost as error:
        yield failure(about, error)
        return
    if (notice := slot_look.notice(found, sync.objects, about)) is not None:
        yield Finding("warning", about, notice.removeprefix(f"{about}: "))
    elif keeps == "-1":
        yield Finding(
            "ok",
            about,
            "max_slot_wal_keep_size is not set: while syncd is away, the server keeps WAL for its slot without limit.",
        )


def _row(
    connection: CrmConnection, about: str, query: str, values: Sequence[str], *, absent: tuple[Any, ...] | None = None
) -> tuple[Any, ...]:
    with connection.cursor(about) as cursor:
        row = cursor.execute(query.encode(), values).fetchone() or absent
    assert row is not None
    return row


def _error(about: str, sentence: str) -> Finding:
    return Finding("error", about, sentence, EXIT_CONFIG)


def _install(sync: Sync) -> str:
    return f"`syncd setup {sync.name} --apply` puts it right (or --print, for the DBA)"


def _remedy(sync: Sync) -> str:
    return f"Run `syncd setup {sync.name} --apply`, or have the DBA run what --print prints."
