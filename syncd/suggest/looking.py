"""Looking at a table of the CRM: its catalogue, and a bounded sample of what may be numbers or addresses."""

from __future__ import annotations

from psycopg import sql

from syncd.crm import CrmConnection, look_at
from syncd.suggest.seen import Column, Seen

_ROWS = 300
"""Rows that are sampled: enough to tell a telephone from a document, few enough for any server."""
_LONGEST = 60
"""Characters of a value that are read: longer ones are no numbers."""
_SAMPLED = ("text", "character varying", "character", "bpchar", "citext", "bigint", "numeric")

_MORE = """
SELECT a.attname,
       EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisprimary
               AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum),
       a.attnotnull, a.atthasdef
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE n.nspname = %s AND c.relname = %s
"""
# Bits of tgtype: 1 for each row, 2 before, 16 update (src/include/catalog/pg_trigger.h).
_TRIGGERS = """
SELECT t.tgname
FROM pg_catalog.pg_trigger t
JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s AND NOT t.tgisinternal AND t.tgenabled <> 'D'
  AND t.tgtype & 1 > 0 AND t.tgtype & 2 > 0 AND t.tgtype & 16 > 0
ORDER BY t.tgname
"""


def look(connection: CrmConnection, relation: tuple[str, str]) -> Seen:
    """Look at a table.

    Raises:
        CrmFault: there is no such table, or it may not be read.
        CrmUnavailable: the database does not answer, or gives up.
    """
    about = f"{relation[0]}.{relation[1]}"
    shape = look_at(connection, relation, about, "--table")
    with connection.cursor(about) as cursor:
        more = {row[0]: row[1:] for row in cursor.execute(_MORE, relation).fetchall()}
        triggers = tuple(row[0] for row in cursor.execute(_TRIGGERS, relation).fetchall())
    key = next((name for name in shape.columns if more[name][0]), None)
    samples = _sample(connection, relation, [n for n, kind in shape.columns.items() if kind in _SAMPLED], key, about)
    return Seen(
        schema=relation[0],
        table=relation[1],
        columns=tuple(
            Column(
                name,
                kind,
                is_key=more[name][0],
                is_unique=name in shape.unique and more[name][1],
                is_indexed=name in shape.indexed,
                has_default=more[name][2],
                sample=samples.get(name, ()),
            )
            for name, kind in shape.columns.items()
        ),
        is_table=shape.is_table,
        triggers=triggers,
    )


def _sample(
    connection: CrmConnection, relation: tuple[str, str], names: list[str], key: str | None, about: str
) -> dict[str, tuple[str, ...]]:
    """Values that are not empty, by column; of the rows with the greatest keys where there is a key."""
    if not names:
        return {}
    columns = [sql.SQL("left({}::text, {})").format(sql.Identifier(name), sql.Literal(_LONGEST)) for name in names]
    order = sql.SQL("" if key is None else " ORDER BY {} DESC").format(*([] if key is None else [sql.Identifier(key)]))
    query = sql.SQL("SELECT {} FROM {}{} LIMIT {}").format(
        sql.SQL(", ").join(columns), sql.Identifier(*relation), order, sql.Literal(_ROWS)
    )
    with connection.cursor(about) as cursor:
        rows = cursor.execute(query).fetchall()
    return {
        name: tuple(value for value in (row[place] for row in rows) if value and value.strip())
        for place, name in enumerate(names)
    }
