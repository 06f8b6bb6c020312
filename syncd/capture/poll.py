"""Capture by polling: SELECT is all it needs.

A poll reads keys in the order of (watermark column, key). A row that commits late carries a watermark that the poll has
passed already, for most columns are set when a transaction begins; so each pass begins `lookback_secs` behind the
watermark, and the ledger, which knows each key with the version that it saw, takes only what is new. Where the window
behind the watermark is large, as after a bulk load, passes over it are spaced so that they take a tenth of the time
at most; between them, a pass begins at the watermark itself.

The watermark never passes the CRM's own clock: a row dated in the future is captured, and does not hide the rows that
come after it.

A number has no clock. For a number column the watermark that is written down is the one of `lookback_secs` ago; until
there is one, a pass begins at the start.

Mutable state, all of it below `__init__`, used by one thread: how far the ledger is, how far this pass is, and the
versions seen in the window, which only spare the ledger questions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import datetime

from psycopg import sql

from syncd.capture import BEGINNING, Page
from syncd.crm import CrmConnection, Shape, condition, look_at
from syncd.errors import CrmFault
from syncd.model import Change, Instant

PAGE_ROWS = 10_000
_SEEN_LIMIT = 20_000
_SHARE = 10
"""A pass over the window may take one part in this many of the time."""
TIMESTAMPS = ("timestamp with time zone", "timestamp without time zone")
NUMBERS = ("smallint", "integer", "bigint", "numeric")


class PollSource:
    """Polls one table.

    Args:
        relation: schema and table.
        key: the key's column.
        watermark: the watermark's column.
        where: the operator's condition, or None.
        start: ``"now"``, ``"beginning"`` or an instant.
        lookback_secs: how far behind the watermark a pass begins.
        about: names the sync in errors.
    """

    def __init__(
        self,
        connection: CrmConnection,
        relation: tuple[str, str],
        *,
        key: str,
        watermark: str,
        where: str | None,
        start: str | datetime,
        lookback_secs: float,
        about: str,
    ) -> None:
        self._connection = connection
        self._relation = relation
        self._key = key
        self._column = watermark
        self._where = where
        self._configured_start = start
        self._lookback_secs = lookback_secs
        self._about = about
        self._shape: Shape | None = None
        # -- mutable --
        self._start = BEGINNING
        self._watermark: str | None = None
        self._cursor: tuple[str, str] | None = None  # watermark and key of the last row of this pass
        self._over_window = True  # whether this pass began behind the watermark
        self._pass_began: Instant | None = None
        self._window_due: Instant = 0.0
        self._seen: dict[str, str] = {}
        self._seen_now: dict[str, str] = {}
        self._marks: deque[tuple[Instant, str | None]] = deque()  # numbers: when the watermark was what
        self._written: str | None = None  # the watermark that the ledger has
        self._rows: list[tuple[str, str, str]] = []  # the page that is not acknowledged yet: key, version, watermark

    # -- the contract ----------------------------------------------------------------------------------------

    def first_start(self, now: Instant) -> str:
        """Where the very first run begins; "now" is the CRM's clock, or the largest number that is there."""
        kind = self._kind()
        if self._configured_start == BEGINNING:
            return BEGINNING
        if isinstance(self._configured_start, datetime):
            if kind == "number":
                raise CrmFault(
                    f"{self._about}: start is an instant, but {self._column} is a number.",
                    'Say start = "now" or start = "beginning".',
                )
            query = sql.SQL("SELECT ({}::timestamptz::{})::text").format(
                sql.Literal(self._configured_start.isoformat()), self._type(self._column)
            )
        elif kind == "number":
            query = sql.SQL("SELECT coalesce(max({}), 0)::text FROM {}").format(
                sql.Identifier(self._column), sql.Identifier(*self._relation)
            )
        else:
            query = sql.SQL("SELECT (statement_timestamp()::{})::text").format(self._type(self._column))
        with self._connection.cursor(self._about) as cursor:
            row = cursor.execute(query).fetchone()
        assert row is not None
        return str(row[0])

    def resume(self, start: str, watermark: str | None) -> None:
        """Go on from where the ledger is; nothing seen in an earlier life is remembered."""
        self._start = start
        self._watermark = watermark
        self._cursor = None
        self._pass_began = None
        self._window_due = 0.0
        self._seen, self._seen_now = {}, {}
        self._marks = deque([(0.0, watermark if watermark is not None or start == BEGINNING else start)])
        self._written = watermark
        self._rows = []
        self._shape = None

    def read(self, now: Instant) -> Page:
        """The next page of this pass, or the first of the next pass; one query."""
        if self._pass_began is None:
            self._pass_began = now
            self._over_window = now >= self._window_due
        with self._connection.cursor(self._about) as cursor:
            self._rows = rows = cursor.execute(self._query()).fetchall()
        changes = [Change(key, version) for key, version, _ in rows if self._seen.get(key) != version]
        return Page(changes, self._reached(now), len(rows) >= PAGE_ROWS, len(rows))

    def acknowledge(self, page: Page, now: Instant) -> None:
        """The ledger has the page: go on behind it, or end the pass."""
        if self._rows:
            key, version, mark = self._rows[-1]
            self._cursor = (version, key)
            if mark != self._watermark:
                self._watermark = mark
                self._marks.append((now, mark))
        self._written = page.reached or self._written
        for key, version, _ in self._rows:
            self._remember(key, version)
        self._rows = []
        if not page.more:
            self._end_pass(now)

    def sweep(self, after: str | None, limit: int) -> Sequence[Change]:
        """Keys of rows older than the window: those that every poll to come will leave out."""
        floor = self._floor()
        if floor is None:
            return []
        query = self._select(sql.SQL("{}::text").format(sql.Identifier(self._column)))
        query += sql.SQL(" AND {} < {}").format(sql.Identifier(self._column), floor)
        query += self._since_start()
        if after is not None:
            query += sql.SQL(" AND {} > {}").format(sql.Identifier(self._key), self._typed(after, self._key))
        query += sql.SQL(" ORDER BY {} LIMIT {}").format(self._qualified(self._key), sql.Literal(limit))
        with self._connection.cursor(self._about) as cursor:
            return [Change(key, version) for key, version, _ in cursor.execute(query).fetchall()]

    # -- a pass ----------------------------------------------------------------------------------------------

    def _remember(self, key: str, version: str) -> None:
        for seen in (self._seen, self._seen_now):
            if len(seen) < _SEEN_LIMIT:
                seen[key] = version
            elif key in seen:
                del seen[key]

    def _end_pass(self, now: Instant) -> None:
        assert self._pass_began is not None
        took = max(0.0, now - self._pass_began)
        if self._over_window:
            self._window_due = now + took * (_SHARE - 1)
            self._seen, self._seen_now = self._seen_now, {}
        self._cursor = None
        self._pass_began = None

    def _reached(self, now: Instant) -> str | None:
        """What the ledger is to write down: the watermark, or for a number the one of a look-back ago."""
        if not self._rows:
            return None
        if self._kind() == "timestamp":
            reached: str | None = self._rows[-1][2]
        else:
            while len(self._marks) > 1 and self._marks[1][0] <= now - self._lookback_secs:
                self._marks.popleft()
            reached = self._marks[0][1]
        return reached if reached != self._written else None

    # -- the queries -----------------------------------------------------------------------------------------

    def _query(self) -> sql.Composed:
        column, key = sql.Identifier(self._column), sql.Identifier(self._key)
        query = self._select(self._mark())
        if self._cursor is not None:
            mark, at = self._typed(self._cursor[0], self._column), self._typed(self._cursor[1], self._key)
            query += sql.SQL(" AND {} >= {} AND ({}, {}) > ({}, {})").format(column, mark, column, key, mark, at)
        else:
            floor = self._floor() if self._over_window else self._now_or_watermark()
            if floor is not None:
                query += sql.SQL(" AND {} >= {}").format(column, floor)
        query += self._since_start()
        return query + sql.SQL(" ORDER BY {}, {} LIMIT {}").format(
            self._qualified(self._column), self._qualified(self._key), sql.Literal(PAGE_ROWS)
        )

    def _qualified(self, column: str) -> sql.Identifier:
        """A column for ORDER BY, which would take a bare name for the text of that name in the SELECT list."""
        return sql.Identifier(*self._relation, column)

    def _select(self, mark: sql.Composable) -> sql.Composed:
        column = sql.Identifier(self._column)
        return sql.SQL(
            "SELECT {0}::text, {1}::text, {2} FROM {3} WHERE {4} AND {1} IS NOT NULL AND {0} IS NOT NULL"
        ).format(
            sql.Identifier(self._key),
            column,
            mark,
            sql.Identifier(*self._relation),
            condition(self._where),
        )

    def _mark(self) -> sql.Composable:
        """The watermark after this row: never smaller than before, never beyond the CRM's clock."""
        column: sql.Composable = sql.Identifier(self._column)
        if self._kind() == "timestamp":
            column = sql.SQL("least({}, {})").format(column, self._clock())
        if self._watermark is not None:
            column = sql.SQL("greatest({}, {})").format(column, self._typed(self._watermark, self._column))
        return sql.SQL("({})::text").format(column)

    def _floor(self) -> sql.Composable | None:
        """Where a pass over the window begins; None where nothing was read yet."""
        if self._kind() == "number":
            long_ago = self._marks[0][1]
            return None if long_ago is None else self._typed(long_ago, self._column)
        if self._watermark is None:
            return None
        return sql.SQL("{} - make_interval(secs => {})").format(
            self._now_or_watermark(), sql.Literal(float(self._lookback_secs))
        )

    def _now_or_watermark(self) -> sql.Composable | None:
        if self._watermark is None:
            return None
        mark = self._typed(self._watermark, self._column)
        if self._kind() == "number":
            return mark
        return sql.SQL("least({}, {})").format(mark, self._clock())

    def _since_start(self) -> sql.Composable:
        if self._start == BEGINNING:
            return sql.SQL("")
        # A number that was there at the start is not ours; an instant may be shared with a row that comes after it.
        compare = sql.SQL(">") if self._kind() == "number" else sql.SQL(">=")
        return sql.SQL(" AND {} {} {}").format(
            sql.Identifier(self._column), compare, self._typed(self._start, self._column)
        )

    def _clock(self) -> sql.Composable:
        # For a timestamp without zone, the cast gives the server's own wall clock, as its defaults would.
        return sql.SQL("statement_timestamp()::{}").format(self._type(self._column))

    def _typed(self, value: str, column: str) -> sql.Composable:
        return sql.SQL("{}::{}").format(sql.Literal(value), self._type(column))

    def _type(self, column: str) -> sql.Composable:
        return sql.SQL(self._look().columns[column])  # the catalogue's own words

    def _kind(self) -> str:
        return "timestamp" if self._look().columns[self._column] in TIMESTAMPS else "number"

    def _look(self) -> Shape:
        if self._shape is None:
            shape = look_at(self._connection, self._relation, self._about)
            for name, setting in ((self._key, "key"), (self._column, "watermark_column")):
                if name not in shape.columns:
                    raise CrmFault(f"{self._about}: the table has no column {name}.", f"Correct sync.{setting}.")
            if shape.columns[self._column] not in TIMESTAMPS + NUMBERS:
                raise CrmFault(
                    f"{self._about}: {self._column} has type {shape.columns[self._column]}, which is no watermark.",
                    "Name a timestamp or a whole-number column that every change increases.",
                )
            self._shape = shape
        return self._shape
