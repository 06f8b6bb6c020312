"""Capture by triggers: each statement that touches leads leaves their keys in an outbox, and may ring a bell.

What is in the outbox is taken as it becomes visible, and deleted when the ledger has it: in which order transactions
commit does not matter. The keys say only that something changed. Whether a key is that of a lead, the table says: its
row must be there now, meet `where`, and not be older than the start where a watermark column tells.

The bell (NOTIFY) makes a lead arrive at once. Where it is not heard, the next look finds what there is; a lost
connection, a pooler or a full queue cost time, and nothing else.

What the triggers cannot see is for the sweep: writes under ``session_replication_role = replica`` or while the triggers
were disabled, and statements that name a partition which has none.

Mutable state, all of it below `__init__`, used by one thread: the installation that the ledger knows, and the page that
is not acknowledged yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from syncd.capture import BEGINNING, Page, Position, Resumed, Start
from syncd.capture.installed import Installed, Outbox
from syncd.capture.outbox import OutboxConnection, Probe
from syncd.capture.scan import Table, sync_in
from syncd.config.objects import Objects
from syncd.crm import CrmConnection, Matcher
from syncd.errors import CrmFault, CrmUnavailable
from syncd.model import Change, Instant

PAGE_KEYS = 10_000
_CHILDREN_SECS = 60.0
_LATE_SECS = (0.02, 0.1, 0.5, 2.0)
"""After a find, these are the times from one look to the next: a transaction does not notify right after another has,
and may commit after the look that the other's notification led to."""


class ListenSource:
    """Listens for one table.

    Args:
        capture: read-only, for looking at the table.
        outboxes: listens for all syncs, and empties their outboxes.
        relation: schema and table.
        key: the key's column.
        watermark: the watermark's column, or None where the table has none.
        where: the operator's condition, or None.
        start: ``"now"``, ``"beginning"`` or an instant.
        objects: what the sync's objects in the CRM are called.
        about: names the sync in errors: ``sync "web-leads"``.
    """

    settle_secs = 0.0
    slot_lag_bytes: int | None = None

    def __init__(
        self,
        capture: CrmConnection,
        outboxes: OutboxConnection,
        relation: tuple[str, str],
        *,
        key: str,
        watermark: str | None,
        where: str | None,
        start: str | datetime,
        objects: Objects,
        about: str,
    ) -> None:
        self._outboxes = outboxes
        self._relation = relation
        self._key = key
        self._configured_start = start
        self._channel = objects.channel
        self._about = about
        name = sync_in(about)
        self._remedy = f"Run `syncd setup {name} --apply`, or have a DBA run what `syncd setup {name}` prints."
        self._table = Table(capture, relation, key=key, watermark=watermark, where=where, about=about)
        self._outbox = Outbox(outboxes, relation, key, objects, about, self._remedy)
        self._probe = Probe(outboxes, capture, objects.channel, about)
        outboxes.register(objects.channel)
        # -- mutable --
        self.notice: str | None = None
        self._since = BEGINNING
        self._installed: Installed | None = None
        self._matcher: Matcher | None = None
        self._quiet = len(_LATE_SECS)  # looks since the last that found something
        self._ids: list[int] = []  # rows of the page that is not acknowledged yet
        self._uncovered: list[str] = []
        self._children_due: Instant = 0.0

    # -- the contract ----------------------------------------------------------------------------------------

    def first_start(self, now: Instant) -> Start:
        """Where the very first run begins. At "now", what is in the outbox was before, and is deleted."""
        self._table.forget()
        self._outbox.look()
        start = self._table.first_start(self._configured_start)
        if self._configured_start == "now":
            self._outbox.clear()
        return start

    def resume(self, position: Position) -> Resumed:
        """Go on with whatever is in the outbox, whoever put it there; nothing else is remembered."""
        self._since = position.since
        self._table.forget()
        self._outbox.forget()
        self._installed, self._matcher, self._ids = None, None, []
        self._uncovered, self._children_due = [], 0.0
        self._installed = installed = self._outbox.look()
        return Resumed(installed.identity, None, self._gap(position, installed.identity))

    def read(self, now: Instant) -> Page:
        """What is in the outbox, about ten thousand keys of it at once; one query where that is nothing."""
        self._ids = []
        self._outboxes.silence(self._channel)  # before looking: what rings from now on may not be seen
        batch = self._outbox.read(PAGE_KEYS, now)
        self._meet(batch.installed)
        self._watch(batch.installed, now)
        latest: dict[str, int] = {}
        rows = blind = 0
        for number, keys in batch.rows:
            rows += len(keys or ())
            blind += keys is None
            for key in keys or ():
                latest[key] = number
        changes, gap = self._among(latest, batch.installed.outbox)
        if blind:
            gap = (
                f"{self._about}: rows were written while the table had no column {self._key}, and their keys are not"
                " known."
            )
        self._ids = [number for number, _ in batch.rows]
        self._quiet = 0 if batch.rows else self._quiet + 1
        again = _LATE_SECS[self._quiet] if self._quiet < len(_LATE_SECS) else None
        return Page(changes, None, batch.more, rows, again_secs=None if batch.more else again, gap=gap)

    def acknowledge(self, page: Page, now: Instant) -> None:
        """The ledger has the page: its rows are deleted."""
        if self._ids:
            assert self._installed is not None
            self._outbox.delete(self._ids, self._installed.outbox)
            self._ids = []

    def scan(self, after: str | None, limit: int) -> Sequence[Change]:
        """Keys of rows that are ours, in the key's order. Those in the outbox are among them."""
        return self._table.scan(self._since, after, limit)

    def estimate(self) -> int | None:
        """About how many rows a whole scan will find, as the planner thinks."""
        return self._table.estimate(self._since)

    def without_watermark(self) -> int:
        """Rows whose watermark is NULL, where there is such a column; counted to a thousand at most."""
        return self._table.without_watermark()

    def mark(self) -> str | None:
        """Nothing: a look into the outbox that finds no more has come past all that could be seen before it."""
        return None

    def passed(self, mark: str | None) -> bool:
        """Always; see `mark`."""
        return True

    def fileno(self) -> int | None:
        """The descriptor of the connection that listens, shared by all syncs that do."""
        return self._outboxes.fileno()

    def awake(self) -> bool:
        """Whether the bell rang since the last `read`, or the connection broke.

        Not right after something was found: what comes then is joined, and read in one look.
        """
        return self._outboxes.rang(self._channel) and self._quiet > 0

    def close(self) -> None:
        """The connections are shared, and not this one's to close."""

    # -- what was found --------------------------------------------------------------------------------------

    def _gap(self, position: Position, identity: str) -> str | None:
        """Why changes may be missing between the ledger's position and what is in the outbox; None where none are."""
        before = position.identity
        if before == identity:
            return None
        if before is None:  # just begun, or by a version of syncd that polled only, and said so nowhere
            before = "poll" if position.watermark is not None else None
        if before is None:
            return None
        mode = before.partition(" ")[0]
        if mode != "listen":
            return f"{self._about} is captured by listen now, and was by {mode} before."
        return f"{self._about}: the table, its outbox or its triggers are others than before."

    def _meet(self, installed: Installed) -> None:
        """Make sure that what was read belongs to the installation that the ledger knows."""
        assert self._installed is not None
        if installed.identity != self._installed.identity:
            raise CrmUnavailable(
                f"{self._about}: the table, its outbox or its triggers have just been made anew.",
                "syncd begins anew with them, and sweeps the table.",
            )
        if installed.key_type != self._installed.key_type or self._matcher is None:
            self._table.forget()
            self._matcher = self._table.matcher(self._since)
        self._installed = installed

    def _among(self, latest: dict[str, int], outbox: int) -> tuple[list[Change], str | None]:
        """The keys that are those of leads now, each with the last row of the outbox that had it; or a gap."""
        if not latest:
            return [], None
        assert self._matcher is not None
        try:
            leads = self._matcher.matching(list(latest)).keys
        except CrmFault:
            # Keys that were written when the key had another type, and are no value of this one's, would be in the
            # way for ever.
            if self._table.holds(list(latest)):
                raise
            return [], f"{self._about}: {self._key} had another type when keys were written that syncd had not read."
        changes = [Change(key, f"{outbox}.{number}") for key, number in latest.items() if key in leads]
        if len(changes) < len(leads):  # the writer's session writes this type in another way than syncd's
            newest = max(latest.values())
            changes += [Change(key, f"{outbox}.{newest}") for key in sorted(leads - latest.keys())]
        return changes, None

    # -- what is not as it should be -------------------------------------------------------------------------

    def _watch(self, installed: Installed, now: Instant) -> None:
        if installed.has_children and now >= self._children_due:
            self._uncovered = self._outbox.uncovered(installed.leads)
            self._children_due = now + _CHILDREN_SECS
        if not installed.silent:
            self._probe.look(now)
        said = []
        if self._uncovered:
            said.append(
                f"{len(self._uncovered)} partitions or children of {'.'.join(self._relation)} have no triggers, such"
                f" as {self._uncovered[0]}: what is written into them directly is left to the sweep. {self._remedy}"
            )
        if installed.silent:
            said.append(
                "The CRM's server allows PREPARE TRANSACTION, which forbids notifications: leads come every poll_secs."
            )
        elif self._probe.deaf:
            said.append(
                "Notifications of the CRM do not arrive, as behind a pooler in transaction mode: leads come every"
                " poll_secs. Let crm.url lead to the server itself, or to a pool in session mode."
            )
        self.notice = " ".join(said) or None
