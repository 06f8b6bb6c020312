"""Capture by polling: SELECT is all it needs.

A poll reads keys in the order of (watermark column, key). A row that commits late carries a watermark that the poll has
passed already, for most columns are set when a transaction begins; so each pass begins `lookback_secs` behind the
watermark, and the ledger, which knows each key with the version that it saw, takes only what is new. Where the window
behind the watermark is large, as after a bulk load, passes over it are spaced so that they take a tenth of the time
at most; between them, a pass begins at the watermark itself.

Where the role may see when each open transaction began (pg_read_all_stats), that *horizon* says how far back a late
commit can reach: passes begin there, and only now and then go over the whole look-back, for watermarks that another
clock has set. And a transaction that has been open for longer than the look-back is waited for as long as it takes.

The watermark never passes the CRM's own clock: a row dated in the future is captured, and does not hide the rows that
come after it.

A number has no clock. For a number column the watermark that is written down is the one of `lookback_secs` ago.

Mutable state, all of it below `__init__`, used by one thread: how far the ledger is, how far this pass is, and the
versions seen in the window, which only spare the ledger questions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from psycopg import sql

from syncd.capture import BEGINNING, NOTED, Existing, Page, Position, Resumed, Start
from syncd.capture.horizon import HORIZON
from syncd.capture.scan import Table
from syncd.crm import CrmConnection, condition
from syncd.errors import CrmFault
from syncd.model import Change, Instant

PAGE_ROWS = 10_000
_SEEN_LIMIT = 20_000
_SHARE = 10
"""A pass over the window may take one part in this many of the time."""
_MARGIN_SECS = 10.0
"""How far behind the horizon a pass begins: a transaction may be slow to say that it has begun."""
_WHOLE_PER_LOOKBACK = 4
"""With a horizon, the whole look-back is gone over so many times in its length."""


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
        self._table = Table(connection, relation, key=key, watermark=watermark, where=where, about=about)
        self._lookback_secs = lookback_secs
        self._about = about
        # -- mutable --
        self.notice: str | None = None
        self.settle_secs = 0.0
        self.slot_lag_bytes: int | None = None
        self._since = BEGINNING
        self._watermark: str | None = None
        self._cursor: tuple[str, str] | None = None  # watermark and key of the last row of this pass
        self._over_window = True  # whether this pass began behind the watermark
        self._over_whole = True  # and there, as far as the look-back goes
        self._pass_began: Instant | None = None
        self._window_due: Instant = 0.0
        self._whole_due: Instant = 0.0
        self._observed: str | None = None  # the horizon, as the last pass saw it
        self._observed_before: str | None = None  # and as it was known before this pass
        self._horizon: str | None = None  # nothing that the last pass over the window could not see is older
        self._seen: dict[str, str] = {}
        self._seen_now: dict[str, str] = {}
        self._marks: deque[tuple[Instant, str | None]] = deque()  # numbers: when the watermark was what
        self._written: str | None = None  # the watermark that the ledger has
        self._rows: list[tuple[str, str, str]] = []  # the page that is not acknowledged yet: key, version, watermark

    # -- the contract ----------------------------------------------------------------------------------------

    def first_start(self, now: Instant) -> Start:
        """Where the very first run begins; reading begins at the CRM's clock, or the largest number that is there."""
        self._table.forget()
        start = self._table.first_start(self._configured_start)
        return start if start.existing is Existing.LEAVE else replace(start, watermark=self._table.newest(self._column))

    def resume(self, position: Position) -> Resumed:
        """Go on from where the ledger is; nothing seen in an earlier life is remembered."""
        self._table.forget()
        self._since, watermark = position.since, position.watermark
        self._cursor = None
        self._pass_began = None
        self._window_due = self._whole_due = 0.0
        self._observed = self._observed_before = self._horizon = None
        self._seen, self._seen_now = {}, {}
        self._rows = []
        kind = self._kind()
        self.settle_secs = self._lookback_secs if kind == "number" else 0.0
        identity = f"poll {kind} {self._table.look().oid}"
        gap = self._gap(position.identity, identity)
        if gap is not None and not (position.identity or "").startswith(f"poll {kind} "):
            if position.since not in (BEGINNING, NOTED) and not self._can_be(position.since):
                raise CrmFault(
                    f"{self._about}: {self._column} is a {kind} now, and the start that the ledger knows is none.",
                    "Name the former watermark_column, or give the sync another name, with which it begins anew.",
                )
            watermark = self._table.newest(self._column)
        self._watermark = self._written = watermark
        beginning = self._since in (BEGINNING, NOTED)
        self._marks = deque([(0.0, watermark if watermark is not None or beginning else self._since)])
        return Resumed(identity, watermark, gap)

    def read(self, now: Instant) -> Page:
        """The next page of this pass, or the first of the next pass; one query."""
        if self._pass_began is None:
            self._pass_began = now
            self._over_window = now >= self._window_due
            self._over_whole = self._horizon is None or now >= self._whole_due
            self._observed_before = self._observed
        with self._connection.cursor(self._about) as cursor:
            rows = cursor.execute(self._query()).fetchall()
        if self._cursor is None and self._kind() == "timestamp":
            self._observed = next(row[1] for row in rows if row[0] is None)
            rows = [row for row in rows if row[0] is not None]
        self._rows = rows
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

    def scan(self, after: str | None, limit: int) -> Sequence[Change]:
        """Keys of rows older than the window: those that every poll to come will leave out."""
        floor = self._floor()
        return [] if floor is None else self._table.scan(self._since, after, limit, below=floor)

    def estimate(self) -> int | None:
        """About how many rows a whole scan will find, as the planner thinks."""
        floor = self._floor()
        return 0 if floor is None else self._table.estimate(self._since, below=floor)

    def without_watermark(self) -> int:
        """Rows whose watermark is NULL, which no poll can see; counted to a thousand at most."""
        return self._table.without_watermark()

    def mark(self) -> None:
        """Nothing: what a scan gives, no poll to come will read."""

    def passed(self, mark: str | None) -> bool:
        """Always; see `mark`."""
        return True

    def fileno(self) -> None:
        """Nothing arrives by itself."""

    def awake(self) -> bool:
        """Never."""
        return False

    def close(self) -> None:
        """The connection is shared, and not this one's to close."""

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
            self._horizon = self._observed_before
            if self._over_whole:
                self._whole_due = now + self._lookback_secs / _WHOLE_PER_LOOKBACK
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
            mark, at = self._table.typed(self._cursor[0], self._column), self._table.typed(self._cursor[1], self._key)
            query += sql.SQL(" AND {} >= {} AND ({}, {}) > ({}, {})").format(column, mark, column, key, mark, at)
        else:
            floor = self._floor(whole=self._over_whole) if self._over_window else self._now_or_watermark()
            if floor is not None:
                query += sql.SQL(" AND {} >= {}").format(column, floor)
        query += sql.SQL(" AND ") + self._table.ours(self._since)
        query += sql.SQL(" ORDER BY {}, {} LIMIT {}").format(
            self._qualified(self._column), self._qualified(self._key), sql.Literal(PAGE_ROWS)
        )
        if self._cursor is None and self._kind() == "timestamp":  # a pass begins: ask for the horizon with it
            query = sql.SQL("SELECT NULL, ({})::text, NULL UNION ALL (").format(HORIZON) + query + sql.SQL(")")
        return query

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
            column = sql.SQL("greatest({}, {})").format(column, self._table.typed(self._watermark, self._column))
        return sql.SQL("({})::text").format(column)

    def _floor(self, *, whole: bool = True) -> sql.Composable | None:
        """Where a pass over the window begins; None where nothing was read yet.

        Args:
            whole: as far back as the look-back goes; else only to where a transaction may still be open.
        """
        if self._kind() == "number":
            long_ago = self._marks[0][1]
            return None if long_ago is None else self._table.typed(long_ago, self._column)
        if self._watermark is None:
            return None
        behind = sql.SQL("{} - make_interval(secs => {})")
        if self._horizon is None:
            return behind.format(self._now_or_watermark(), sql.Literal(float(self._lookback_secs)))
        margin = sql.Literal(min(_MARGIN_SECS, float(self._lookback_secs)))
        since_open = behind.format(
            sql.SQL("{}::timestamptz::{}").format(sql.Literal(self._horizon), self._table.type_of(self._column)), margin
        )
        back = sql.Literal(float(self._lookback_secs)) if whole else margin
        return sql.SQL("least({}, {})").format(behind.format(self._now_or_watermark(), back), since_open)

    def _now_or_watermark(self) -> sql.Composable | None:
        if self._watermark is None:
            return None
        mark = self._table.typed(self._watermark, self._column)
        if self._kind() == "number":
            return mark
        return sql.SQL("least({}, {})").format(mark, self._clock())

    def _can_be(self, value: str) -> bool:
        """Whether a text is a value of the watermark column's type."""
        try:
            self._table.text(sql.SQL("SELECT {}::text").format(self._table.typed(value, self._column)))
        except CrmFault:
            return False
        return True

    def _gap(self, before: str | None, identity: str) -> str | None:
        """Why the ledger's position is not this table's; None where it is, or nobody knows."""
        if before is None or before == identity:
            return None
        if not before.startswith("poll "):
            return f"{self._about} is captured by poll now, and was by {before.partition(' ')[0]} before."
        return f"{self._about}: {'.'.join(self._relation)} is another table than before."

    def _clock(self) -> sql.Composable:
        # For a timestamp without zone, the cast gives the server's own wall clock, as its defaults would.
        return sql.SQL("statement_timestamp()::{}").format(self._table.type_of(self._column))

    def _kind(self) -> str:
        return self._table.kind_of(self._column)
