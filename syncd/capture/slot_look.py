"""Looking at a slot and its publication: one statement, and what is to be said of what it gives.

The statement needs no right beyond those that every role has. It reads the slot, the publication as it is now, and
how much WAL the server keeps.
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg.rows import class_row

from syncd.capture import Resumed
from syncd.capture.pgoutput import lsn_of, lsn_text
from syncd.capture.stream import System
from syncd.config.objects import Objects
from syncd.crm import CrmConnection
from syncd.errors import CaptureLost, CrmFault, CrmUnavailable

_NOTICE_BYTES = 1 << 30
"""Where WAL may be kept without limit, so much of it is worth a word (a choice: a gibibyte)."""
_NOTICE_SHARE = 4
"""Where there is a limit, a word at one part in this many of it."""

# pg_publication_tables has `attnames` and `rowfilter` from PostgreSQL 15 on, pg_replication_slots has
# `invalidation_reason` from 17 on: through JSON, one statement serves all.
_LOOK = """
SELECT
  s.slot_name IS NOT NULL AS exists,
  s.plugin::text AS plugin,
  s.database::text AS database,
  pg_catalog.current_database()::text AS here,
  s.wal_status,
  to_jsonb(s) ->> 'invalidation_reason' AS invalidation,
  s.active_pid,
  s.confirmed_flush_lsn::text AS confirmed,
  position.now::text AS now,
  pg_catalog.pg_wal_lsn_diff(position.now, s.restart_lsn)::bigint AS kept,
  pg_catalog.pg_size_bytes(pg_catalog.current_setting('max_slot_wal_keep_size')) AS kept_at_most,
  strpos(pg_catalog.current_setting('synchronous_standby_names'), '*') > 0 AS any_standby,
  p.oid IS NOT NULL AS publication,
  coalesce(p.pubinsert AND p.pubupdate, false) AS publishes,
  t.tablename IS NOT NULL AS holds_table,
  coalesce(to_jsonb(t) ->> 'rowfilter' IS NOT NULL, false) AS filtered,
  coalesce(to_jsonb(t) -> 'attnames' ? %(key)s, true) AS holds_key,
  coalesce(r.oid, 0)::text || '.' || p.xmin::text AS mark,
  c.oid::bigint AS relation,
  pg_catalog.format_type(a.atttypid, -1) AS key_type,
  coalesce((SELECT rolreplication OR rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user), false)
    AS may_replicate
FROM (
  SELECT CASE
    WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
    ELSE pg_catalog.pg_current_wal_lsn()
  END AS now
) AS position
LEFT JOIN pg_catalog.pg_replication_slots s ON s.slot_name = %(slot)s
LEFT JOIN pg_catalog.pg_publication p ON p.pubname = %(publication)s
LEFT JOIN pg_catalog.pg_publication_tables t
  ON t.pubname = p.pubname AND t.schemaname = %(schema)s AND t.tablename = %(table)s
LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = %(schema)s
LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = %(table)s
LEFT JOIN pg_catalog.pg_attribute a
  ON a.attrelid = c.oid AND a.attname = %(key)s AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = c.oid
"""

_MARK = """
SELECT CASE
  WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
  ELSE pg_catalog.pg_current_wal_insert_lsn()
END::text
"""
_PAGE = 8192
_PAGE_HEADERS = (24, 40)


@dataclass(frozen=True, slots=True)
class Look:
    """What the catalogue says of one slot, its publication and its table."""

    exists: bool
    plugin: str | None
    database: str | None
    here: str
    """The database that this was asked in."""
    wal_status: str | None
    invalidation: str | None
    active_pid: int | None
    confirmed: str | None
    now: str
    """Where the server's WAL is."""
    kept: int | None
    """Bytes of WAL that the slot keeps."""
    kept_at_most: int
    """max_slot_wal_keep_size in bytes; -1 for no limit."""
    any_standby: bool
    """Whether synchronous_standby_names would take us for a standby."""
    publication: bool
    publishes: bool
    holds_table: bool
    filtered: bool
    holds_key: bool
    mark: str | None
    """Changes whenever the publication does; not every change leaves a hole, but each that does is told by it."""
    relation: int | None
    """The table's oid; None where there is none of that name."""
    key_type: str | None
    """As the catalogue names it; None where the table has no such column."""
    may_replicate: bool


def look(connection: CrmConnection, objects: Objects, relation: tuple[str, str], key: str, about: str) -> Look:
    """One look.

    Raises:
        CrmUnavailable, CrmFault: as `CrmConnection.cursor`.
    """
    names = {
        "slot": objects.slot,
        "publication": objects.publication,
        "schema": relation[0],
        "table": relation[1],
        "key": key,
    }
    with connection.session(about) as session, session.cursor(row_factory=class_row(Look)) as cursor:
        found = cursor.execute(_LOOK, names).fetchone()
    assert found is not None
    return found


def newest(connection: CrmConnection, about: str) -> str:
    """The position behind all WAL that has been made, flushed or not.

    Raises:
        CrmUnavailable, CrmFault: as `CrmConnection.cursor`.
    """
    with connection.cursor(about) as cursor:
        row = cursor.execute(_MARK).fetchone()
    assert row is not None
    return str(row[0])


def end_of(mark: str) -> int:
    """The position at which the stream has come to `mark`: that of a page's beginning where only its header follows."""
    lsn = lsn_of(mark)
    return lsn - lsn % _PAGE if lsn % _PAGE in _PAGE_HEADERS else lsn


def judge(found: Look, objects: Objects, relation: tuple[str, str], key: str, about: str, setup: str) -> None:
    """Whether changes can be followed.

    Raises:
        CrmFault: the table or its key is not there.
        CaptureLost: they cannot, until somebody does something.
    """
    if found.relation is None:
        raise CrmFault(
            f"The CRM has no table {'.'.join(relation)} for {about}.",
            "Correct sync.table; a name is written just as Postgres has it, schema first.",
        )
    if found.key_type is None:
        raise CrmFault(f"{about}: the table has no column {key}.", "Correct sync.key.")
    table, slot, publication = ".".join(relation), objects.slot, objects.publication
    if not found.exists:
        raise CaptureLost(f"{about}: the CRM has no replication slot {slot}.", setup)
    if found.plugin != "pgoutput" or found.database != found.here:
        raise CaptureLost(
            f"{about}: the slot {slot} belongs to the plugin {found.plugin} and the database {found.database}.",
            f"Set another crm_name. {setup}",
        )
    if found.wal_status == "lost" or found.invalidation is not None or found.confirmed is None:
        why = f" ({found.invalidation})" if found.invalidation else ""
        raise CaptureLost(f"{about}: the server has given up the slot {slot}, with the WAL that it kept{why}.", setup)
    if found.any_standby:
        raise CaptureLost(
            f"{about}: synchronous_standby_names has *, which makes syncd a standby that the CRM's commits wait for.",
            'Name the standbys there, or use capture = "listen".',
        )
    for good, said in (
        (found.publication, f"there is no publication {publication}"),
        (found.holds_table, f"the publication {publication} does not hold {table}"),
        (found.publishes, f"the publication {publication} leaves out inserts or updates"),
        (not found.filtered, f"the publication {publication} has a row filter"),
        (found.holds_key, f"the publication {publication} leaves out the column {key}"),
    ):
        if not good:
            raise CaptureLost(f"{about}: {said}.", setup)


def compare(
    identity: str | None, watermark: str | None, found: Look, system: System, objects: Objects, about: str
) -> Resumed:
    """Whether what the ledger has and what the server has belong together, and from where to go on.

    Args:
        identity: what the source was called when `watermark` was written, or None.
        watermark: up to where the ledger has everything.
        found: a look that `judge` has passed.
    """
    assert found.confirmed is not None
    history = f"{system.identifier}/{system.timeline}"
    ours = f"slot {history} {found.mark}"
    before = (identity or f"slot {history}").split(maxsplit=2)
    try:
        position = lsn_of(watermark or "")
    except ValueError:
        position = -1
    at, why = found.confirmed, None
    if before[0] != "slot":
        why = f"is captured by slot now, by {before[0]} before"
    elif position < 0:
        why = "is captured by slot now, and what the ledger has is no position in the WAL"
    elif before[1:2] != [history]:
        why = f"the server's history is {history} now (system/timeline), and was {before[1]} before"
    elif position > lsn_of(found.now):
        why = f"the server's WAL ends at {found.now}, and was read up to {watermark} already: it went back"
    elif lsn_of(found.confirmed) > position:
        why = f"the slot {objects.slot} begins at {found.confirmed}, and was read up to {watermark}: it was made anew"
    else:
        at = lsn_text(position)
        if identity is not None and identity != ours:
            why = f"the publication {objects.publication} was changed or made anew"
    return Resumed(ours, at, None if why is None else f"{about}: {why}; changes may be missing.")


def notice(found: Look, objects: Objects, about: str) -> str | None:
    """What an operator should know of the WAL that is kept, long before it is too much."""
    kept, limit = found.kept or 0, found.kept_at_most
    advice = (
        "look whether the ledger can be written, whether a transaction is open for long, and at pg_replication_slots"
    )
    if found.wal_status == "unreserved":
        return (
            f"{about}: the slot {objects.slot} is about to be lost: it needs {_size(kept)} of WAL, and"
            f" max_slot_wal_keep_size is {_size(limit)}; {advice}."
        )
    if limit < 0 and kept >= _NOTICE_BYTES:
        return (
            f"{about}: the server keeps {_size(kept)} of WAL for the slot {objects.slot}, and max_slot_wal_keep_size"
            f" sets no limit; {advice}."
        )
    if limit >= 0 and kept * _NOTICE_SHARE >= limit:
        return (
            f"{about}: the server keeps {_size(kept)} of WAL for the slot {objects.slot}, and gives it up at"
            f" {_size(limit)} (max_slot_wal_keep_size); {advice}."
        )
    return None


def in_use(found: Look, objects: Objects, about: str) -> CrmUnavailable:
    """Somebody else reads the slot."""
    return CrmUnavailable(
        f"{about}: the slot {objects.slot} is being read by process {found.active_pid}.",
        "Another syncd may be using it; two syncds on one CRM need different names (crm_name).",
    )


def _size(count: int) -> str:
    for unit, size in (("GB", 1 << 30), ("MB", 1 << 20)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1024:.0f} kB"
