"""The CRM's database: connecting to it, looking at a table, reading rows. Never a write.

Each connection has one purpose, which its ``application_name`` tells the DBA; is read-only; and gives up a statement
or a lock that takes too long. psycopg's exceptions stop here: their texts carry values of rows, ours do not.

Mutable state: the connection of a `CrmConnection`, used by one thread.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import orjson
import psycopg
from psycopg import sql
from psycopg.types.datetime import DateLoader, TimestampLoader, TimestamptzLoader
from psycopg.types.json import set_json_loads
from psycopg.types.string import TextLoader

from syncd.errors import CrmError, CrmFault, CrmUnavailable

_LOCK_TIMEOUT_SECS = 5


class CrmConnection:
    """One connection to the CRM, opened when first needed and again after it was lost.

    Args:
        url: as configured, without a password.
        password: None where the server asks for none.
        purpose: a word or two for ``application_name``.
        statement_timeout_secs: after which the server gives up a query.
    """

    def __init__(self, url: str, password: str | None, purpose: str, statement_timeout_secs: int) -> None:
        self._url = url
        self._password = password
        self._purpose = purpose
        self._timeout_secs = statement_timeout_secs
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None
        self.lost = False
        """Whether the last failure was that the server had gone meanwhile, so that asking again may help at once."""

    @contextmanager
    def cursor(self, about: str) -> Iterator[psycopg.Cursor[tuple[Any, ...]]]:
        """A cursor in a transaction of its own statement.

        Args:
            about: what is being read, for errors: ``sync "web-leads"``.

        Raises:
            CrmUnavailable: the database cannot be reached, or gave up.
            CrmFault: it answered that the table, a column, a privilege or the condition is not as configured.
        """
        try:
            if self._connection is None or self._connection.closed:
                self._connection = self._connect()
            with self._connection.cursor() as cursor:
                yield cursor
        except psycopg.Error as error:
            self.lost = self._connection is not None and self._connection.broken
            if isinstance(error, psycopg.OperationalError) or self._connection is None:
                self.close()
            raise explain(error, about, self._timeout_secs) from None

    def close(self) -> None:
        """Close the connection; it opens again when it is needed."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        options = (
            f"-c statement_timeout={self._timeout_secs}s -c lock_timeout={_LOCK_TIMEOUT_SECS}s"
            " -c default_transaction_read_only=on -c datestyle=ISO -c extra_float_digits=1"
        )
        given: dict[str, Any] = {} if self._password is None else {"password": self._password}
        try:
            connection = self._open(options, given)
        except psycopg.ProgrammingError as error:  # libpq does not understand the URL, which holds no password
            raise CrmFault(f"crm.url cannot be used: {' '.join(str(error).split())}.", "Correct crm.url.") from None
        # Whatever the CRM holds must come through: a date that Python cannot hold comes as text.
        for name, loader in (("date", _Date), ("timestamp", _Timestamp), ("timestamptz", _Timestamptz)):
            connection.adapters.register_loader(name, loader)
        connection.adapters.register_loader("interval", TextLoader)
        set_json_loads(_json, connection)
        connection.prepare_threshold = None  # a pooler in transaction mode has no prepared statements
        return connection

    def _open(self, options: str, given: dict[str, Any]) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(
            self._url,
            autocommit=True,
            application_name=f"syncd {self._purpose}",
            client_encoding="utf8",  # else a database of bytes (SQL_ASCII) would give bytes
            options=options,
            connect_timeout=10,
            keepalives_idle=30,
            keepalives_interval=10,
            keepalives_count=3,
            tcp_user_timeout=(self._timeout_secs + 30) * 1000,
            **given,
        )


def _or_text(load: Any, data: Any) -> Any:
    try:
        return load(data)
    except psycopg.DataError:
        return bytes(data).decode()


class _Date(DateLoader):
    def load(self, data: Any) -> Any:
        return _or_text(super().load, data)


class _Timestamp(TimestampLoader):
    def load(self, data: Any) -> Any:
        return _or_text(super().load, data)


class _Timestamptz(TimestamptzLoader):
    def load(self, data: Any) -> Any:
        return _or_text(super().load, data)


def _json(data: bytes | str) -> Any:
    try:
        return orjson.loads(data)
    except ValueError:
        pass
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return data.decode() if isinstance(data, bytes) else data


def explain(error: psycopg.Error, about: str, timeout_secs: int) -> CrmError:
    """A psycopg error as one of ours, with no value of any row in it."""
    state = error.sqlstate or ""
    said = (error.diag.message_primary or "").strip()
    if state == "57014":
        return CrmUnavailable(
            f"The CRM gave up a query of {about} after {timeout_secs} seconds.",
            "Look for a missing index (`syncd check` names it) or raise crm.statement_timeout_secs.",
        )
    if state == "42501":
        return CrmFault(
            f"The CRM refused {about}: {said}.",
            "Grant it to syncd's role; `syncd check` lists what it needs.",
        )
    if state in ("42P01", "3F000"):
        return CrmFault(f"The CRM has no such table for {about}: {said}.", "Correct sync.table.")
    if state == "42703":
        return CrmFault(f"The CRM has no such column for {about}: {said}.", "Correct the sync's columns or `where`.")
    if state.startswith("42"):
        return CrmFault(f"The CRM does not understand the query of {about}: {said}.", "Correct `where`.")
    if state.startswith("22"):
        return CrmFault(
            f"A value in the table does not fit the query of {about} (SQLSTATE {state}).", "Correct `where`."
        )
    if state.startswith(("08", "57", "53", "40", "55")):
        return CrmUnavailable(f"The CRM's database gave up while reading {about}: {said} (SQLSTATE {state}).")
    if isinstance(error, psycopg.OperationalError):
        # Nothing was read yet, so the text speaks of the connection alone.
        reason = " ".join(str(error).split())[-300:] or type(error).__name__
        return CrmUnavailable(
            f"The CRM's database cannot be reached for {about}: {reason}.",
            "Check crm.url, the network, pg_hba.conf and the password.",
        )
    return CrmFault(f"The CRM refused the query of {about} ({type(error).__name__}, SQLSTATE {state or 'none'}).")


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


_SHAPE = """
SELECT a.attname, format_type(a.atttypid, -1), c.relkind,  -- with -1, char(5) is bpchar; "character" would cut to one
       coalesce(bool_or(i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indnkeyatts = 1), false),
       coalesce(bool_or(i.indisvalid), false)
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_catalog.pg_index i ON i.indrelid = c.oid AND i.indkey[0] = a.attnum
WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
GROUP BY a.attnum, a.attname, a.atttypid, c.relkind
ORDER BY a.attnum
"""


def look_at(connection: CrmConnection, relation: tuple[str, str], about: str) -> Shape:
    """What the catalogue says of a table.

    Raises:
        CrmFault: there is no such table.
        CrmUnavailable: the database does not answer.
    """
    with connection.cursor(about) as cursor:
        rows = cursor.execute(_SHAPE, relation).fetchall()
    if not rows:
        raise CrmFault(
            f"The CRM has no table {relation[0]}.{relation[1]} for {about}.",
            "Correct sync.table; a name is written just as Postgres has it, schema first.",
        )
    return Shape(
        columns={row[0]: row[1] for row in rows},
        unique=frozenset(row[0] for row in rows if row[3]),
        indexed=frozenset(row[0] for row in rows if row[4]),
        is_table=rows[0][2] in ("r", "p", "m"),
    )


def condition(where: str | None, *, with_parameters: bool = False) -> sql.Composable:
    """The operator's own condition, ready to be put after AND; `true` where there is none.

    Args:
        with_parameters: whether the query is executed with parameters, when psycopg wants each % doubled.
    """
    if where is None:
        return sql.SQL("true")
    text = where.replace("%", "%%") if with_parameters else where
    # The new line ends a comment that the operator may have left, which would swallow the parenthesis.
    return sql.SQL("(" + text + "\n)")  # it is the operator's own SQL


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
        query = self._select(with_parameters=False) + sql.SQL(" ORDER BY {} DESC LIMIT {}").format(
            sql.Identifier(*self._relation, self._key), sql.Literal(limit)
        )
        with self._connection.cursor(self._about) as cursor:
            return cursor.execute(query).fetchall()

    def _select(self, *, with_parameters: bool) -> sql.Composed:
        def name(*parts: str) -> sql.Identifier:
            return sql.Identifier(*(part.replace("%", "%%") if with_parameters else part for part in parts))

        return sql.SQL("SELECT {}::text, {} FROM {} WHERE {}").format(
            name(self._key),
            sql.SQL(", ").join(map(name, self._columns)) if self._columns else sql.SQL("NULL"),
            name(*self._relation),
            condition(self._where, with_parameters=with_parameters),
        )

    def _compose(self) -> sql.Composed:
        shape = look_at(self._connection, self._relation, self._about)
        if self._key not in shape.columns:
            raise CrmFault(f"The CRM has no column {self._key} for {self._about}.", "Correct sync.key.")
        # The array takes the key's own type, so that its index serves.
        key_type = sql.SQL(shape.columns[self._key])  # the catalogue's own words
        return self._select(with_parameters=True) + sql.SQL(" AND {} = ANY(%s::text[]::{}[])").format(
            sql.Identifier(self._key.replace("%", "%%")), key_type
        )
