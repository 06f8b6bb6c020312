"""What the CRM's catalogue says of a table, and the operator's condition on its rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from psycopg import sql

from syncd.crm.connection import CrmConnection
from syncd.errors import CrmFault


@dataclass(frozen=True, slots=True)
class Shape:
    """What the CRM's catalogue says of a table or view."""

    columns: Mapping[str, str]
    """Type by column, as Postgres names it."""
    unique: frozenset[str]
    """Columns that are unique by themselves, by a valid index without a condition."""
    indexed: frozenset[str]
    """Columns that come first in an index."""
    is_table: bool
    """False for a view or foreign table, which has no indexes to look at."""
    read_as: Mapping[str, str] = field(default_factory=dict)
    """How a column is read, as `syncd.crm.values.expression` takes it."""
    oid: int = 0
    """Tells the table from another that took its name."""


_SHAPE = """
SELECT a.attname, format_type(a.atttypid, -1), c.relkind,  -- with -1, char(5) is bpchar; "character" would cut to one
       coalesce(bool_or(i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indnkeyatts = 1), false),
       coalesce(bool_or(i.indisvalid), false), c.oid::bigint,
       CASE WHEN base.oid = 'pg_catalog.money'::pg_catalog.regtype THEN 'numeric'
            WHEN base.typtype = 'c' OR base.typname = 'hstore'
                 OR base.typcategory = 'A' AND base.typelem >= 16384  -- the first OID that is not built in
            THEN 'json' ELSE '' END
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_catalog.pg_index i ON i.indrelid = c.oid AND i.indkey[0] = a.attnum
CROSS JOIN LATERAL (
    WITH RECURSIVE under AS (  -- a domain is read as what it is made of
        SELECT oid, typname, typtype, typcategory, typelem, typbasetype FROM pg_catalog.pg_type WHERE oid = a.atttypid
        UNION ALL
        SELECT t.oid, t.typname, t.typtype, t.typcategory, t.typelem, t.typbasetype
        FROM under JOIN pg_catalog.pg_type t ON t.oid = under.typbasetype WHERE under.typtype = 'd'
    )
    SELECT * FROM under WHERE typtype <> 'd'
) AS base
WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
GROUP BY a.attnum, a.attname, a.atttypid, c.relkind, c.oid,
         base.oid, base.typname, base.typtype, base.typcategory, base.typelem
ORDER BY a.attnum
"""


def look_at(connection: CrmConnection, relation: tuple[str, str], about: str, setting: str = "sync.table") -> Shape:
    """What the catalogue says of a table.

    Args:
        setting: the key of the configuration that names it, for errors.

    Raises:
        CrmFault: there is no such table.
        CrmUnavailable: the database does not answer.
    """
    with connection.cursor(about) as cursor:
        rows = cursor.execute(_SHAPE, relation).fetchall()
    if not rows:
        raise CrmFault(
            f"The CRM has no table {relation[0]}.{relation[1]} for {about}.",
            f"Correct {setting}; a name is written just as Postgres has it, schema first.",
        )
    return Shape(
        columns={row[0]: row[1] for row in rows},
        unique=frozenset(row[0] for row in rows if row[3]),
        indexed=frozenset(row[0] for row in rows if row[4]),
        is_table=rows[0][2] in ("r", "p", "m"),
        read_as={row[0]: row[6] for row in rows},
        oid=rows[0][5],
    )


def condition(where: str | None, *, with_parameters: bool = False) -> sql.Composable:
    """The operator's own condition, ready to be put after AND; `true` where there is none.

    Args:
        with_parameters: whether the query is executed with parameters, when psycopg wants each % doubled.
    """
    if where is None:
        return sql.SQL("true")
    text = _doubled(where) if with_parameters else where
    # The new line ends a comment that the operator may have left, which would swallow the parenthesis.
    return sql.SQL("(" + text + "\n)")  # it is the operator's own SQL


def identifier(*parts: str, with_parameters: bool) -> sql.Identifier:
    """A quoted name, such as of a column with its table; `with_parameters` as for `condition`."""
    return sql.Identifier(*(map(_doubled, parts) if with_parameters else parts))


def _doubled(text: str) -> str:
    return text.replace("%", "%%")


def crm_clock(connection: CrmConnection) -> float:
    """What time it is by the CRM's clock, in seconds since the epoch.

    Raises:
        CrmUnavailable: the database does not answer.
    """
    with connection.cursor("the clock") as cursor:
        row = cursor.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
    assert row is not None
    return float(row[0])
