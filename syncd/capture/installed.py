"""One sync's outbox in the CRM, and the triggers that fill it: whether all is as `syncd setup` made it, and its rows.

Its identity column counts statements, not commits: a transaction may commit smaller numbers later. So rows are taken as
they are seen and deleted one by one, and no number is ever "passed". There is one exception, for the sake of speed:
while somebody's long query keeps the server from cleaning up, each look would walk over all that was deleted since.
Numbers that were given out before a deletion of ours belong to transactions with smaller ids than the deletion's; when
all of those have ended, and a look has found no more, nothing can appear behind it.

Mutable state, used by the intake thread alone: where a look begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from syncd.capture.outbox import OutboxConnection
from syncd.config.objects import Objects
from syncd.errors import CaptureLost, CrmFault
from syncd.model import Instant

_WHOLE_SECS = 60.0
"""The outbox is looked at from its very beginning so often, in case somebody has set its numbers back."""
_CLEARED = 10_000

_STATE = """
SELECT leads.oid::bigint AS leads, leads.relhassubclass, key.atttypid::bigint, outbox.oid::bigint AS outbox,
       coalesce(has_schema_privilege(space.oid, 'USAGE') AND has_table_privilege(outbox.oid, 'SELECT')
                AND has_table_privilege(outbox.oid, 'DELETE') AND NOT row_security_active(outbox.oid), false),
       inserts.oid::bigint, updates.oid::bigint,
       coalesce(inserts.tgenabled IN ('O', 'A') AND updates.tgenabled IN ('O', 'A'), false),
       coalesce(inserts.tgargs = argument AND updates.tgargs = argument, false),
       coalesce(has_table_privilege(writer.proowner, outbox.oid, 'INSERT')
                AND has_schema_privilege(writer.proowner, space.oid, 'USAGE'), false),
       current_setting('max_prepared_transactions') <> '0',
       pg_snapshot_xmin(pg_current_snapshot())::text
FROM (SELECT convert_to({key}, getdatabaseencoding()) || '\\x00'::bytea) AS given (argument)
LEFT JOIN pg_catalog.pg_class leads ON leads.relname = {table} AND leads.relkind IN ('r', 'p')
     AND leads.relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = {schema})
LEFT JOIN pg_catalog.pg_attribute key ON key.attrelid = leads.oid AND key.attname = {key} AND key.attnum > 0
LEFT JOIN pg_catalog.pg_namespace space ON space.nspname = {outbox_schema}
LEFT JOIN pg_catalog.pg_class outbox ON outbox.relname = {outbox_name} AND outbox.relkind = 'r'
     AND outbox.relnamespace = space.oid
LEFT JOIN pg_catalog.pg_trigger inserts ON inserts.tgrelid = leads.oid AND inserts.tgname = {insert}
LEFT JOIN pg_catalog.pg_trigger updates ON updates.tgrelid = leads.oid AND updates.tgname = {update}
LEFT JOIN pg_catalog.pg_proc writer ON writer.oid = inserts.tgfoid
"""

# Until about so many keys, by their number alone: keys that are not returned are not fetched from where they are kept.
_ROWS = """
SELECT state.*, batch.id, batch.keys, batch.waiting
FROM ({state}) AS state
LEFT JOIN (
    SELECT id, keys, waiting
    FROM (
        SELECT id, n, keys, sum(n) OVER (ORDER BY id) AS total, count(*) OVER () AS waiting
        FROM (SELECT id, n, keys FROM {outbox} WHERE id >= {floor} ORDER BY id LIMIT {limit}) AS first
    ) AS counted
    WHERE total <= {limit} OR total = n
) AS batch ON true
ORDER BY batch.id
"""

_CHILDREN = """
WITH RECURSIVE tree (oid) AS (
    SELECT {leads}::oid
    UNION
    SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN tree ON i.inhparent = tree.oid
)
SELECT c.oid::regclass::text
FROM tree JOIN pg_catalog.pg_class c ON c.oid = tree.oid
WHERE (SELECT count(*) FROM pg_catalog.pg_trigger t
       WHERE t.tgrelid = c.oid AND t.tgname IN ({insert}, {update}) AND t.tgenabled IN ('O', 'A')) < 2
ORDER BY c.oid
"""


@dataclass(frozen=True, slots=True)
class Installed:
    """What is in the CRM for one sync."""

    leads: int
    """The table's oid."""
    has_children: bool
    """Whether it has partitions or inheritance children, or had some."""
    key_type: int
    outbox: int
    triggers: tuple[int, int]
    silent: bool
    """Whether the triggers notify nobody, for the server allows PREPARE TRANSACTION."""

    @property
    def identity(self) -> str:
        """Tells this installation from another that takes its place."""
        return f"listen {self.outbox}/{self.leads}/{self.triggers[0]}+{self.triggers[1]}"


@dataclass(frozen=True, slots=True)
class Batch:
    """What one look found."""

    installed: Installed
    rows: Sequence[tuple[int, list[str] | None]]
    """Number and keys of each row of the outbox, in order; None for keys that could not be written down."""
    more: bool


class Outbox:
    """One sync's outbox.

    Args:
        relation: schema and table of the leads.
        key: the key's column.
        about: names the sync in errors.
        remedy: the way out where something is not as setup made it.
    """

    def __init__(
        self,
        connection: OutboxConnection,
        relation: tuple[str, str],
        key: str,
        objects: Objects,
        about: str,
        remedy: str,
    ) -> None:
        self._connection = connection
        self._relation = relation
        self._key = key
        self._objects = objects
        self._about = about
        self._remedy = remedy
        self._name = sql.Identifier(*objects.outbox)
        insert, update = objects.triggers
        self._triggers = {"insert": sql.Literal(insert), "update": sql.Literal(update)}
        self._state = sql.SQL(_STATE).format(
            schema=sql.Literal(relation[0]),
            table=sql.Literal(relation[1]),
            key=sql.Literal(key),
            outbox_schema=sql.Literal(objects.outbox[0]),
            outbox_name=sql.Literal(objects.outbox[1]),
            **self._triggers,
        )
        # -- mutable --
        self._floor = 0
        self._whole_due: Instant = 0.0
        self._behind: tuple[int, int] | None = None  # a number, and before which transaction all must have ended
        self._newest: tuple[int, int] | None = None  # the same of the last deletion
        self._next_floor: int | None = None  # once what was found is deleted

    def forget(self) -> None:
        """Begin at the very beginning."""
        self._floor, self._whole_due = 0, 0.0
        self._behind = self._newest = self._next_floor = None

    def look(self) -> Installed:
        """What is installed; one query.

        Raises:
            CaptureLost: something is missing, switched off, or not for this key.
            CrmFault: the table or its key is gone.
            CrmUnavailable: the database does not answer.
        """
        with self._connection.session(self._about) as connection:
            row = connection.execute(self._state).fetchone()
        assert row is not None
        return self._judge(row)

    def read(self, limit: int, now: Instant) -> Batch:
        """The next rows, of about `limit` keys in all; one query. Raises as `look`."""
        if now >= self._whole_due:
            self._floor, self._whole_due = 0, now + _WHOLE_SECS
        query = sql.SQL(_ROWS).format(
            state=self._state, outbox=self._name, floor=sql.Literal(self._floor), limit=sql.Literal(limit)
        )
        try:
            with self._connection.session(self._about) as connection:
                found = connection.execute(query).fetchall()
        except CaptureLost:
            raise
        except CrmFault:
            self.look()  # says what is the matter, if it is with the installation
            raise
        rows = [(row[-3], row[-2]) for row in found if row[-3] is not None]
        more = bool(rows) and (found[0][-1] > len(rows) or found[0][-1] >= limit)
        self._consider(rows[-1][0] if rows else None, int(found[0][11]), more=more)
        return Batch(self._judge(found[0]), rows, more)

    def delete(self, ids: Sequence[int], outbox: int) -> None:
        """Forget rows that the ledger has.

        Args:
            outbox: the oid of the table that they were read from.
        """
        # With the oid, numbers of an outbox that took this one's place meanwhile are safe. Nobody waits for a disk or a
        # standby: where a crash undoes the deletion, the rows are read again, and the ledger knows them.
        query = sql.SQL(
            "WITH gone AS (DELETE FROM {} WHERE id = ANY({}::bigint[]) AND tableoid = {})"
            " SELECT pg_current_xact_id()::text, set_config('synchronous_commit', 'off', true)"
        ).format(self._name, sql.Literal(list(ids)), sql.Literal(outbox))
        with self._connection.session(self._about) as connection:
            row = connection.execute(query).fetchone()
        assert row is not None
        if self._next_floor is not None:
            self._floor, self._next_floor = self._next_floor, None
        highest = 0 if self._newest is None else self._newest[0]
        self._newest = (max(highest, *ids), int(row[0]))
        self._behind = self._behind or self._newest

    def clear(self) -> None:
        """Forget everything that is there now."""
        chunk = sql.SQL("DELETE FROM {0} WHERE id IN (SELECT id FROM {0} WHERE id <= {1} ORDER BY id LIMIT {2})")
        with self._connection.session(self._about) as connection:
            row = connection.execute(sql.SQL("SELECT max(id) FROM {}").format(self._name)).fetchone()
            newest = row[0] if row is not None else None
            if newest is None:
                return
            delete = chunk.format(self._name, sql.Literal(newest), sql.Literal(_CLEARED))
            while connection.execute(delete).rowcount == _CLEARED:
                pass

    def uncovered(self, leads: int) -> list[str]:
        """Partitions and children, at any depth, that lack an enabled trigger."""
        query = sql.SQL(_CHILDREN).format(leads=sql.Literal(leads), **self._triggers)
        with self._connection.session(self._about) as connection:
            return [row[0] for row in connection.execute(query).fetchall()]

    def _consider(self, last: int | None, xmin: int, *, more: bool) -> None:
        """Whether the next look may begin further on; `more` was found behind `last`, or nothing."""
        self._next_floor = None
        if more or self._behind is None or xmin <= self._behind[1]:
            return
        floor = self._behind[0] + 1
        self._behind = self._newest if self._newest != self._behind else None
        if last is None:
            self._floor = floor
        else:
            self._next_floor = floor

    def _judge(self, row: tuple[Any, ...]) -> Installed:
        leads, has_children, key_type, outbox, readable, insert, update, enabled, same_key, writable, silent = row[:11]
        table = ".".join(self._relation)
        if leads is None:
            raise CrmFault(f"The CRM has no table {table} for {self._about}.", "Correct sync.table.")
        if key_type is None:
            raise CrmFault(f"{self._about}: the table has no column {self._key}.", "Correct sync.key.")
        name = ".".join(self._objects.outbox)
        problem = None
        if outbox is None:
            problem = f"there is no outbox {name}"
        elif not readable:
            problem = f"syncd's role may not read and empty the outbox {name}"
        elif insert is None or update is None:
            problem = f"{table} lacks the trigger {self._objects.triggers[0 if insert is None else 1]}"
        elif not enabled:
            problem = f"the triggers of {table} are disabled"
        elif not same_key:
            problem = f"the triggers of {table} were installed for another key than {self._key}"
        elif not writable:
            problem = f"the owner of the triggers' function may not write into the outbox {name}"
        if problem is not None:
            raise CaptureLost(f"{self._about} cannot hear of changes: {problem}.", self._remedy)
        return Installed(leads, has_children, key_type, outbox, (insert, update), silent)
