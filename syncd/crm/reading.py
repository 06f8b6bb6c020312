"""Reading the current rows of leads, and finding which keys still have one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import sql

from syncd.crm.connection import CrmConnection
from syncd.crm.joining import Joined, greatest_first, once, select_joined
from syncd.crm.shape import Shape, condition, identifier, look_at
from syncd.crm.values import expression, rows_of
from syncd.errors import CrmFault, CrmUnavailable, CrmUndecodable

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
        columns: what to read, besides the key; with the name of a join before it, of that table: ``account.name``.
        joins: tables whose columns come along.
    """

    def __init__(
        self,
        connection: CrmConnection,
        relation: tuple[str, str],
        key: str,
        columns: Sequence[str],
        where: str | None,
        about: str,
        joins: Sequence[Joined] = (),
    ) -> None:
        self._connection = connection
        self._relation = relation
        self._key = key
        self._columns = columns
        self._where = where
        self._about = about
        self._joins = joins
        self._query: sql.Composed | None = None

    def read(self, keys: Sequence[str]) -> list[tuple[Any, ...]]:
        """The rows that exist and match ``where``: each the key as text, then the columns; in no order.

        Raises:
            CrmUnavailable, CrmFault: as `CrmConnection.cursor`.
        """
        try:
            return self._read_apart(keys)
        except CrmUnavailable:
            if not self._connection.lost:
                raise
            return self._read_apart(keys)  # the server was started anew since the last batch

    def _read_apart(self, keys: Sequence[str]) -> list[tuple[Any, ...]]:
        """As `read`. A row that the server cannot send has bytes in each column, which the field map refuses."""
        try:
            return self._read(keys)
        except CrmUndecodable:
            if len(keys) == 1:
                return [(keys[0], *(b"" for _ in self._columns))]
        half = len(keys) // 2
        return self._read_apart(keys[:half]) + self._read_apart(keys[half:])

    def _read(self, keys: Sequence[str]) -> list[tuple[Any, ...]]:
        if self._query is None:
            self._query = self._compose()
        try:
            with self._connection.cursor(self._about) as cursor:
                rows = rows_of(cursor.execute(self._query, (_array(keys),)))
        except CrmFault:
            self._query = None  # the table may have been replaced by one with other types
            raise
        return once(rows) if self._joins else rows

    def sample(
        self, limit: int, *, below: str | None = None, since: tuple[str, datetime] | None = None
    ) -> list[tuple[Any, ...]]:
        """Some rows that match ``where``, those with the greatest keys first, of the same form.

        Args:
            below: only those with a lesser key than this one; None: the greatest of all.
            since: a column of timestamps, and the least that it must be.

        Raises:
            CrmUnavailable, CrmFault: as `CrmConnection.cursor`.
        """
        shape = self._look()
        key = sql.Identifier(*self._relation, self._key)
        rest: sql.Composable = sql.SQL(" AND {} IS NOT NULL").format(key)  # of a view, which promises none
        if below is not None:
            key_type = sql.SQL(shape.columns[self._key])  # the catalogue's own words
            rest += sql.SQL(" AND {} < {}::text::{}").format(key, sql.Literal(below), key_type)
        if since is not None:
            column = sql.Identifier(*self._relation, since[0])
            rest += sql.SQL(" AND {} >= {}::timestamptz").format(column, sql.Literal(since[1].isoformat()))
        last = sql.SQL(" ORDER BY {} DESC LIMIT {}").format(key, sql.Literal(limit))
        query = self._select(shape, rest + last, with_parameters=False)
        if self._joins:
            query += greatest_first(self._key)
        with self._connection.cursor(self._about) as cursor:
            rows = rows_of(cursor.execute(query))
        return once(rows) if self._joins else rows

    def _compose(self) -> sql.Composed:
        shape = self._look()
        return self._select(shape, _among(shape, self._key, self._about), with_parameters=True)

    def _look(self) -> Shape:
        return look_at(self._connection, self._relation, self._about)

    def _select(self, shape: Shape, rest: sql.Composable, *, with_parameters: bool) -> sql.Composed:
        """The query; `rest` goes after the condition on the leads' own table."""
        if not self._joins:
            about_rows = (self._relation, self._key, self._columns, self._where, shape.read_as)
            return _select(*about_rows, with_parameters=with_parameters) + rest
        read_as: dict[str | None, Mapping[str, str]] = {None: shape.read_as}
        for join in self._joins:
            read_as[join.name] = look_at(self._connection, join.relation, self._about, "sync.join.table").read_as
        rows = condition(self._where, with_parameters=with_parameters) + rest
        named = (self._relation, self._key, self._columns, self._joins, read_as)
        return select_joined(*named, rows, with_parameters=with_parameters)


def _select(
    relation: tuple[str, str],
    key: str,
    columns: Sequence[str],
    where: str | None,
    read_as: Mapping[str, str],
    *,
    with_parameters: bool,
) -> sql.Composed:
    def name(*parts: str) -> sql.Identifier:
        return identifier(*parts, with_parameters=with_parameters)

    return sql.SQL("SELECT {}::text AS key, {} FROM {} WHERE {}").format(
        name(key),
        sql.SQL(", ").join(expression(name(column), read_as.get(column, "")) for column in columns)
        if columns
        else sql.SQL("NULL"),
        name(*relation),
        condition(where, with_parameters=with_parameters),
    )


def _among(shape: Shape, key: str, about: str) -> sql.Composed:
    """The condition that the key is one of an array, which takes the key's own type, so that its index serves."""
    if key not in shape.columns:
        raise CrmFault(f"The CRM has no column {key} for {about}.", "Correct sync.key.")
    key_type = sql.SQL(shape.columns[key])  # the catalogue's own words
    return sql.SQL(" AND {} = ANY(%s::text[]::{}[])").format(identifier(key, with_parameters=True), key_type)


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
        shape = look_at(self._connection, self._relation, self._about)
        select = _select(self._relation, self._key, (), self._where, shape.read_as, with_parameters=True)
        among = _among(shape, self._key, self._about)
        return (
            sql.SQL("SELECT 0, pg_catalog.pg_current_snapshot()::text UNION ALL SELECT 1, found.key FROM (")
            + select
            + among
            + sql.SQL(") AS found")
        )
