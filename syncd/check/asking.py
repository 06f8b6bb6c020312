"""What `syncd check` asks of the CRM about any table, a sync's own or a joined one."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from syncd.check.finding import Finding
from syncd.config import Sync
from syncd.crm import CrmConnection
from syncd.errors import EXIT_CONFIG

_UNREADABLE = """
SELECT a.attname
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE n.nspname = %s AND c.relname = %s AND a.attname = ANY(%s)
  AND NOT has_column_privilege(c.oid, a.attnum, 'SELECT')
ORDER BY a.attnum
"""


def denied(
    sync: Sync, relation: tuple[str, str], table: str, columns: Sequence[str], connection: CrmConnection, about: str
) -> Finding | None:
    """The columns that the role may not read: Postgres itself would name the table alone.

    Args:
        table: how a person calls it.
    """
    with connection.cursor(about) as cursor:
        names = [row[0] for row in cursor.execute(_UNREADABLE, (*relation, list(columns))).fetchall()]
    if not names:
        return None
    return Finding(
        "error",
        about,
        f"permission denied for {', '.join(names)} of {table}; grant SELECT on it to syncd's role "
        f"(`syncd setup {sync.name} --apply`, or --print for the DBA).",
        EXIT_CONFIG,
    )


def repeats(relation: tuple[str, str], column: str, connection: CrmConnection, about: str) -> bool:
    """Whether two rows share a value of a column."""
    query = sql.SQL("SELECT 1 FROM {} WHERE {} IS NOT NULL GROUP BY {} HAVING count(*) > 1 LIMIT 1").format(
        sql.Identifier(*relation), sql.Identifier(column), sql.Identifier(column)
    )
    with connection.cursor(about) as cursor:
        return cursor.execute(query).fetchone() is not None
