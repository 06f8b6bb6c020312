"""Going through a table in the order of its keys: what every way of capturing needs beside what is its own.

Where the first run begins, the condition that tells rows of ours from those that were there before, and the scan that
serves the backfill and the sweep. A table may have a watermark column or none.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from psycopg import sql

from syncd.capture import BEGINNING, NOTED, SCANNED, Existing, Start
from syncd.crm import CrmConnection, Matcher, Shape, condition, look_at
from syncd.errors import CrmFault
from syncd.model import Change

TIMESTAMPS = ("timestamp with time zone", "timestamp without time zone")
NUMBERS = ("smallint", "integer", "bigint", "numeric")
_COUNTED = 1000


def sync_in(about: str) -> str:
    """The sync's name, of what errors call it: ``sync "web-leads"``."""
    return about.removeprefix('sync "').removesuffix('"')


class Table:
    """A table of leads, looked at by key and, where there is one, by watermark.

    Args:
        relation: schema and table.
        key: the key's column.
        watermark: the watermark's column, or None.
        where: the operator's condition, or None.
        about: names the sync in errors.
    """

    def __init__(
        self,
        connection: CrmConnection,
        relation: tuple[str, str],
        *,
        key: str,
        watermark: str | None,
        where: str | None,
        about: str,
    ) -> None:
        self._connection = connection
        self._relation = relation
        self._key = key
        self._watermark = watermark
        self._where = where
        self._about = about
        self._shape: Shape | None = None

    def forget(self) -> None:
        """Look at the catalogue again before the next query."""
        self._shape = None

    def first_start(self, start: str | datetime) -> Start:
        """Where the very first run begins; "now" is the CRM's clock, or the largest number that is there.

        Args:
            start: ``"now"``, ``"beginning"`` or an instant.

        Raises:
            CrmFault: the start is an instant, and no column of timestamps tells what is older.
        """
        if start == BEGINNING:
            return Start(BEGINNING, None, Existing.TAKE)
        if isinstance(start, datetime):
            if self._watermark is None or self.kind_of(self._watermark) == "number":
                raise CrmFault(
                    f"{self._about}: start is an instant, but no watermark_column of timestamps tells what is older.",
                    'Say start = "now" or start = "beginning".',
                )
            instant = sql.SQL("SELECT ({}::timestamptz::{})::text").format(
                sql.Literal(start.isoformat()), self.type_of(self._watermark)
            )
            return Start(self.text(instant) or "", None, Existing.TAKE)
        if self._watermark is None:
            return Start(NOTED, None, Existing.NOTE)
        # A table of numbers without a row has nothing that could be older than now.
        return Start(self.newest(self._watermark) or BEGINNING, None, Existing.LEAVE)

    def ours(self, since: str) -> sql.Composable:
        """The condition, without the operator's own, that a row was not there before `since`.

        Raises:
            CrmFault: `since` is a value of a column that the sync does not name any more.
        """
        if self._watermark is None:
            if since not in (BEGINNING, NOTED):
                raise CrmFault(
                    f"{self._about}: the start that the ledger knows is a watermark, and watermark_column is not set.",
                    "Set sync.watermark_column again, or give the sync another name, with which it begins anew.",
                )
            return sql.SQL("true")
        column = sql.Identifier(self._watermark)
        kind = self.kind_of(self._watermark)
        if since in (BEGINNING, NOTED):
            return sql.SQL("{} IS NOT NULL").format(column)
        # A number that was there at the start is not ours; an instant may be shared with a row that comes after it.
        compare = sql.SQL(">") if kind == "number" else sql.SQL(">=")
        return sql.SQL("{} {} {}").format(column, compare, self.typed(since, self._watermark))

    def matcher(self, since: str) -> Matcher:
        """Finds which keys are those of rows that are ours, and meet the operator's condition.

        Raises:
            CrmError: the catalogue cannot say what `since` means.
        """
        ours = self.ours(since).as_string(None)
        where = ours if self._where is None else f"({self._where}\n) AND {ours}"
        return Matcher(self._connection, self._relation, self._key, where, self._about)

    def scan(
        self, since: str, after: str | None, limit: int, *, below: sql.Composable | None = None
    ) -> Sequence[Change]:
        """Keys of rows that are ours, in the key's order, after a key; fewer than `limit` at the end.

        Args:
            below: leaves out the rows whose watermark is not below it.
        """
        query = self._select(since, below)
        if after is not None:
            query += sql.SQL(" AND {} > {}").format(sql.Identifier(self._key), self.typed(after, self._key))
        # Qualified, for ORDER BY takes a bare name for the text of that name in the SELECT list.
        query += sql.SQL(" ORDER BY {} LIMIT {}").format(sql.Identifier(*self._relation, self._key), sql.Literal(limit))
        with self._connection.cursor(self._about) as cursor:
            return [Change(key, version) for key, version in cursor.execute(query).fetchall()]

    def estimate(self, since: str, *, below: sql.Composable | None = None) -> int:
        """About how many rows a whole scan will find, as the planner thinks; arguments as `scan`."""
        with self._connection.cursor(self._about) as cursor:
            row = cursor.execute(sql.SQL("EXPLAIN (FORMAT JSON) ") + self._select(since, below)).fetchone()
        assert row is not None
        return int(row[0][0]["Plan"]["Plan Rows"])

    def without_watermark(self) -> int:
        """Rows whose watermark is NULL; counted to a thousand at most. None are where there is no such column."""
        if self._watermark is None:
            return 0
        query = sql.SQL("SELECT count(*)::text FROM (SELECT 1 FROM {} WHERE {} AND {} IS NULL LIMIT {}) AS few")
        return int(
            self.text(
                query.format(
                    sql.Identifier(*self._relation),
                    condition(self._where),
                    sql.Identifier(self._watermark),
                    sql.Literal(_COUNTED),
                )
            )
            or 0
        )

    def holds(self, keys: Sequence[str]) -> bool:
        """Whether each text is a value of the key's type as it is now."""
        query = sql.SQL("SELECT count(key::{})::text FROM unnest({}::text[]) AS key").format(
            self.type_of(self._key), sql.Literal(list(keys))
        )
        try:
            self.text(query)
        except CrmFault:
            return False
        return True

    def _select(self, since: str, below: sql.Composable | None) -> sql.Composed:
        version: sql.Composable = sql.Literal(SCANNED)
        if self._watermark is not None:
            version = sql.SQL("{}::text").format(sql.Identifier(self._watermark))
        query = sql.SQL("SELECT {0}::text, {1} FROM {2} WHERE {3} AND {0} IS NOT NULL AND {4}").format(
            sql.Identifier(self._key),
            version,
            sql.Identifier(*self._relation),
            condition(self._where),
            self.ours(since),
        )
        if below is None:
            return query
        assert self._watermark is not None
        return query + sql.SQL(" AND {} < {}").format(sql.Identifier(self._watermark), below)

    def newest(self, watermark: str) -> str | None:
        """The CRM's clock, or the largest number that is there."""
        if self.kind_of(watermark) == "timestamp":
            return self.text(sql.SQL("SELECT (statement_timestamp()::{})::text").format(self.type_of(watermark)))
        return self.text(
            sql.SQL("SELECT max({})::text FROM {}").format(sql.Identifier(watermark), sql.Identifier(*self._relation))
        )

    def text(self, query: sql.Composed) -> str | None:
        """The one value that a query gives."""
        with self._connection.cursor(self._about) as cursor:
            row = cursor.execute(query).fetchone()
        assert row is not None
        return None if row[0] is None else str(row[0])

    def typed(self, value: str, column: str) -> sql.Composable:
        """A value of a column, as the database wrote it."""
        return sql.SQL("{}::{}").format(sql.Literal(value), self.type_of(column))

    def type_of(self, column: str) -> sql.Composable:
        """A column's type."""
        return sql.SQL(self.look().columns[column])  # the catalogue's own words

    def kind_of(self, column: str) -> str:
        """``timestamp`` or ``number``."""
        return "timestamp" if self.look().columns[column] in TIMESTAMPS else "number"

    def look(self) -> Shape:
        """What the catalogue says, asked once.

        Raises:
            CrmFault: the table, its key or its watermark is not as configured.
        """
        if self._shape is None:
            shape = look_at(self._connection, self._relation, self._about)
            for name, setting in ((self._key, "key"), (self._watermark, "watermark_column")):
                if name is not None and name not in shape.columns:
                    raise CrmFault(f"{self._about}: the table has no column {name}.", f"Correct sync.{setting}.")
            if self._watermark is not None and shape.columns[self._watermark] not in TIMESTAMPS + NUMBERS:
                raise CrmFault(
                    f"{self._about}: {self._watermark} has type {shape.columns[self._watermark]}, which is no"
                    " watermark.",
                    "Name a timestamp or a whole-number column that every change increases.",
                )
            self._shape = shape
        return self._shape
