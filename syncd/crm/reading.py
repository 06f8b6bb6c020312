"""Reading the current rows of leads, and finding which keys still have one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from syncd.crm.connection import CrmConnection
from syncd.crm.shape import condition, look_at
from syncd.errors import CrmFault, CrmUnavailable

_PLAIN_KEYS = re.compile(r"[A-Za-z0-9_,-]+")


def _array(keys: Sequence[str]) -> str | list[str]:
    """Keys as an array parameter: plain ones as Postgres writes an array, at a tenth of the cost."""
    joined = ",".join(keys)
    if (
        _PLAIN_KEYS.fullmatch(joined)
        and joined.count(",") == len(keys) - 1
        and all(keys)
        and "NULL" not in joined.upper()
    ):
        return "{" + joined + "}"
    return list(keys)


class RowReader:
    """Reads the current rows of leads by their keys.

    Args:
        relation: schema and table.
        columns: what to read, besides the key.
    """

    def __init__(
        self,
        connection: CrmConnection,
        relation: tuple[str, str],
        key: str,
        columns: Sequence[str],
        where: str | None,
        about: str,
    ) -> None:
        self._connection = connection
        self._relation = relation
        self._key = key
        self._columns = columns
        self._where = where
        self._about = about
        self._query: sql.Composed | None = None

    def read(self, keys: Sequence[str]) -> list[tuple[Any, ...]]:
        """The rows that exist and match ``where``: each the key as text, then the columns; in no order.

        Raises:
            CrmUnavailable, CrmFault: as `CrmConnection.cursor`.
        """
        try:
            return self._read(keys)
        except CrmUnavailable:
            if not self._connection.lost:
                raise
            return self._read(keys)  # the server was started anew since the last batch

    def _read(self, keys: Sequence[str]) -> list[tuple[Any, ...]]:
        if self._query is None:
            self._query = self._compose()
        try:
            with self._connection.cursor(self._about) as cursor:
                return cursor.execute(self._query, (_array(keys),)).fetchall()
        except CrmFault:
            self._query = None  # the table may have been replaced by one with another type of key
            raise

    def sample(self, limit: int) -> list[tuple[Any, ...]]:
        """Some rows that match ``where``, of the same form, for `syncd preview`."""
        query = _select(self._relation, self._key, self._columns, self._where, with_parameters=False) + sql.SQL(
            " ORDER BY {} DESC LIMIT {}"
        ).format(sql.Identifier(*self._relation, self._key), sql.Literal(limit))
        with self._connection.cursor(self._about) as cursor:
            return cursor.execute(query).fetchall()

    def _compose(self) -> sql.Composed:
        select = _select(self._relation, self._key, self._columns, self._where, with_parameters=True)
        return select + _among(self._connection, self._relation, self._key, self._about)


def _select(
    relation: tuple[str, str], key: str, columns: Sequence[str], where: str | None, *, with_parameters: bool
) -> sql.Composed:
    def name(*parts: str) -> sql.Identifier:
        return sql.Identifier(*(part.replace("%", "%%") if with_parameters else part for part in parts))

    return sql.SQL("SELECT {}::text AS key, {} FROM {} WHERE {}").format(
        name(key),
        sql.SQL(", ").join(map(name, columns)) if columns else sql.SQL("NULL"),
        name(*relation),
        condition(where, with_parameters=with_parameters),
    )


def _among(connection: CrmConnection, relation: tuple[str, str], key: str, about: str) -> sql.Composed:
    """The condition that the key is one of an array, which takes the key's own type, so that its index serves."""
    shape = look_at(connection, relation, about)
    if key not in shape.columns:
        raise CrmFault(f"The CRM has no column {key} for {about}.", "Correct sync.key.")
    key_type = sql.SQL(shape.columns[key])  # the catalogue's own words
    return sql.SQL(" AND {} = ANY(%s::text[]::{}[])").format(sql.Identifier(key.replace("%", "%%")), key_type)


@dataclass(frozen=True, slots=True)
class Matched:
    """Which keys have a row that matches, and the moment at which that was so."""

    keys: frozenset[str]
    snapshot: str
    """``pg_current_snapshot()`` of the same statement: tells which transactions it saw."""


class Matcher:
    """Finds which keys have a row now that meets ``where``: what was seen to change need not be a lead.

    Args:
        relation: schema and table.
    """

    def __init__(
        self, connection: CrmConnection, relation: tuple[str, str], key: str, where: str | None, about: str
    ) -> None:
        self._connection = connection
        self._relation = relation
        self._key = key
        self._where = where
        self._about = about
        self._query: sql.Composed | None = None

    def matching(self, keys: Sequence[str]) -> Matched:
        """Those of `keys` whose row exists and matches; one query.

        Raises:
            CrmUnavailable, CrmFault: as `CrmConnection.cursor`.
        """
        if self._query is None:
            self._query = self._compose()
        try:
            with self._connection.cursor(self._about) as cursor:
                rows = cursor.execute(self._query, (_array(keys),)).fetchall()
        except CrmFault:
            self._query = None  # the table may have been replaced by one with another type of key
            raise
        return Matched(
            frozenset(text for kind, text in rows if kind == 1), next(text for kind, text in rows if kind == 0)
        )

    def _compose(self) -> sql.Composed:
        select = _select(self._relation, self._key, (), self._where, with_parameters=True)
        among = _among(self._connection, self._relation, self._key, self._about)
        return (
            sql.SQL("SELECT 0, pg_catalog.pg_current_snapshot()::text UNION ALL SELECT 1, found.key FROM (")
            + select
            + among
            + sql.SQL(") AS found")
        )
