"""The CRM: its table, and what salespeople and web forms do to it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from importlib.resources import files

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from syncd.demo.people import COLUMNS, Row
from syncd.demo.proof import CrmLead
from syncd.model import Instant

_INSERT = sql.SQL("INSERT INTO public.leads ({}) VALUES ({}) RETURNING id::text").format(
    sql.SQL(", ").join(map(sql.Identifier, COLUMNS)), sql.SQL(", ").join(sql.Placeholder() * len(COLUMNS))
)


class Crm:
    """The CRM's database, over connections of its own; used by one thread.

    Args:
        url: as a user who may do everything in it.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection = psycopg.connect(url, autocommit=True, application_name="CRM")

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def prepare(self, reader: str, password: str) -> None:
        """Make the table, and a role for syncd that may read it and nothing else."""
        self._connection.execute(files("syncd.demo").joinpath("leads.sql").read_text("utf-8"))
        self._connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(reader), sql.Literal(password))
        )
        self._connection.execute(sql.SQL("GRANT SELECT ON public.leads TO {}").format(sql.Identifier(reader)))

    def fill(self, rows: Sequence[Row]) -> None:
        """The leads that were there before syncd came: they are some days old."""
        names = sql.SQL(", ").join(map(sql.Identifier, (*COLUMNS, "created_at", "updated_at")))
        with self._connection.transaction(), self._connection.cursor() as cursor:
            columns = sql.SQL(", ").join(map(sql.Identifier, COLUMNS))
            cursor.execute(
                sql.SQL(
                    "CREATE TEMPORARY TABLE heap ON COMMIT DROP AS SELECT {}, 0 AS place FROM public.leads WHERE false"
                ).format(columns)
            )
            with cursor.copy(sql.SQL("COPY heap ({}, place) FROM STDIN").format(columns)) as copy:
                for place, row in enumerate(rows):
                    copy.write_row([*_values(row), place])
            cursor.execute(
                sql.SQL(
                    "INSERT INTO public.leads ({}) SELECT {}, moment, moment FROM (SELECT *, now()"
                    " - interval '1 hour' - (%s - place) * interval '20 s' AS moment FROM heap) AS dated ORDER BY place"
                ).format(names, columns),
                (len(rows),),
            )
        self._connection.execute("ANALYZE public.leads")

    def insert(self, rows: Iterable[Row]) -> tuple[list[str], Instant]:
        """Insert leads in one transaction; their keys, and when it was about to commit."""
        with self._connection.transaction(), self._connection.cursor() as cursor:
            keys = [_insert(cursor, row) for row in rows]
            at = time.time()
        return keys, at

    def update(self, key: str, **values: object) -> Instant:
        """Change a lead in a transaction of its own; when it had committed."""
        settings = sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in values)
        query = sql.SQL("UPDATE public.leads SET {} WHERE id::text = %s").format(settings)
        self._connection.execute(query, (*values.values(), key))
        return time.time()

    def delete(self, key: str) -> Instant:
        """Delete a lead; when that had committed."""
        self._connection.execute("DELETE FROM public.leads WHERE id::text = %s", (key,))
        return time.time()

    def begin_late(self, rows: Iterable[Row]) -> LateTransaction:
        """Insert leads in a transaction that stays open: its rows are dated now, and appear when it commits."""
        return LateTransaction(self._url, rows)

    def rows(self) -> int:
        """How many leads the table holds."""
        found = self._connection.execute("SELECT count(*) FROM public.leads").fetchone()
        return int(found[0]) if found else 0

    def wanted(self) -> int:
        """How many of them syncd is to look at."""
        query = "SELECT count(*) FROM public.leads WHERE consent AND status = 'new'"
        found = self._connection.execute(query).fetchone()
        return int(found[0]) if found else 0

    def covered(self, watermark: str) -> bool:
        """Whether a watermark has reached the last change of a lead that syncd is to look at."""
        query = "SELECT max(updated_at) <= %s::timestamptz FROM public.leads WHERE consent AND status = 'new'"
        found = self._connection.execute(query, (watermark,)).fetchone()
        return bool(found and found[0])

    def reckon(self) -> list[CrmLead]:
        """Every lead, and whether the CRM says that it must have arrived."""
        query = files("syncd.demo").joinpath("must_arrive.sql").read_text("utf-8")
        return [CrmLead(*row) for row in self._connection.execute(query)]


class LateTransaction:
    """A transaction that commits long after it inserted."""

    def __init__(self, url: str, rows: Iterable[Row]) -> None:
        self._connection = psycopg.connect(url, application_name="CRM, slow import")
        with self._connection.cursor() as cursor:
            self.keys = [_insert(cursor, row) for row in rows]

    def commit(self) -> Instant:
        """Commit; when it was about to."""
        at = time.time()
        self._connection.commit()
        self._connection.close()
        return at

    def abandon(self) -> None:
        """Undo it."""
        self._connection.close()


def _insert(cursor: psycopg.Cursor[tuple[str]], row: Row) -> str:
    found = cursor.execute(_INSERT, _values(row)).fetchone()
    assert found is not None
    return found[0]


def _values(row: Row) -> list[object]:
    plain = (row[name] for name in COLUMNS[:-1])
    return [*plain, None if row["attributes"] is None else Jsonb(row["attributes"])]
