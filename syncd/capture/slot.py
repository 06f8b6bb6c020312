"""Capture by a replication slot: the server keeps every change until the ledger has it, and sends it as it commits.

The stream gives transactions in the order of their commits. A position in the WAL is the watermark: the end of the
last transaction that the ledger has whole, or where the stream was when it was idle. What the server is told to
forget never goes beyond it, so that whatever is not acknowledged comes again, with the same versions: the position of
its transaction's commit.

A row comes as its key alone, and is asked for in the table: what matters is whether it meets `where` now. A commit may
reach the stream before it is visible to others, as while it waits for a synchronous standby; such a page waits until a
snapshot has seen all its transactions.

Positions mean something within one history of one server, for one slot and one unchanged publication. The identity
holds all of these; where one has changed, or somebody moved the slot, changes may be missing: a gap, and never "from
now".

Mutable state, all of it below `__init__`, used by one thread: how far the ledger is, how far acknowledged reading is,
and the page that is not acknowledged yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from psycopg import sql

from syncd.capture import BEGINNING, Existing, Page, Position, Resumed, Start, slot_look
from syncd.capture.pgoutput import lsn_of, lsn_text
from syncd.capture.scan import Table, sync_in
from syncd.capture.slot_look import Look
from syncd.capture.slot_page import Gathered, Gatherer, is_visible
from syncd.capture.stream import STATUS_SECS, Stream, System
from syncd.config.objects import Objects
from syncd.crm import CrmConnection, Matcher
from syncd.errors import CaptureLost, CrmError, CrmFault, CrmUnavailable
from syncd.model import Change, Instant

_IDLE_SECS = 10.0
"""An idle stream's position is written down this often at most."""
_AGAIN_SECS = (0.01, 1.0)
"""What is not visible yet is asked for again after the first, doubled each time, up to the second."""
_HOLD_STATUS_SECS = 0.5
_PLAIN_TYPES = frozenset(("smallint", "integer", "bigint", "numeric", "text", "character varying", "uuid", "date"))
"""Types whose values look the same in the stream and as text; others are cast by the server, such as char(5)."""


class SlotSource:
    """Follows one table through a slot.

    Args:
        capture: for the table, and to look at slot and publication.
        stream: one made with ``replication=True``.
        relation: schema and table.
        key: the key's column.
        watermark: the watermark's column, or None: tells rows that were there before the start.
        where: the operator's condition, or None.
        start: ``"now"``, ``"beginning"`` or an instant.
        objects: how slot and publication are called.
        about: names the sync in errors.
        poll_secs: from one look at slot and publication to the next.
    """

    settle_secs = 0.0

    def __init__(
        self,
        capture: CrmConnection,
        stream: CrmConnection,
        relation: tuple[str, str],
        *,
        key: str,
        watermark: str | None,
        where: str | None,
        start: str | datetime,
        objects: Objects,
        about: str,
        poll_secs: float,
    ) -> None:
        self._setup = f"Run `syncd setup {sync_in(about)} --apply`."
        self._capture = capture
        self._relation = relation
        self._key = key
        self._configured_start = start
        self._objects = objects
        self._about = about
        self._poll_secs = poll_secs
        self._table = Table(capture, relation, key=key, watermark=watermark, where=where, about=about)
        self._stream = Stream(stream, objects.slot, objects.publication, about, self._setup)
        # -- mutable --
        self.notice: str | None = None
        self._matcher: Matcher | None = None
        self.slot_lag_bytes: int | None = None
        self._since = BEGINNING
        self._identity: str | None = None
        self._position = 0  # what the ledger has
        self._through = 0  # what was acknowledged, written down or not
        self._moved_at: Instant = 0.0
        self._look_due: Instant = 0.0
        self._gatherer: Gatherer | None = None  # of the stream that runs
        self._key_type: tuple[int | None, str | None] = (None, None)  # of which table
        self._gathered: Gathered | None = None  # the page that is not acknowledged yet
        self._handed: Page | None = None  # what became of it, once it is visible
        self._again_secs: float | None = None  # while it is not

    # -- the contract ----------------------------------------------------------------------------------------

    def first_start(self, now: Instant) -> Start:
        """Where the very first run begins; the slot must be there already, so that nothing is missed from there on."""
        found = self._look()
        start = self._table.first_start(self._configured_start)
        # What was there before the slot is for the scan, what came after it for the stream.
        at = found.confirmed if start.existing is Existing.TAKE else found.now
        return Start(start.since, at, start.existing)

    def resume(self, position: Position) -> Resumed:
        """Go on from where the ledger is; nothing that was seen in an earlier life is remembered."""
        self._forget()
        self._since = position.since
        self._matcher = None
        self._table.forget()
        found = self._look()
        return self._go_on(position.identity, position.watermark, found, self._identify(found))

    def read(self, now: Instant) -> Page:
        """The next changes: at most 10,000 keys; one query if there are any, and one look each `poll_secs`."""
        try:
            self._attend(now)
            return self._hand_over(self._unacknowledged(), now)
        except CrmError as error:
            # Without us on the line, neither a CRM that shuts down nor the next reader of the slot waits.
            self._forget()
            if isinstance(error, CrmUnavailable):
                self._capture.close()  # what ended the one may have ended the other, unnoticed
            raise

    def acknowledge(self, page: Page, now: Instant) -> None:
        """The ledger has `page`, durably: the server may forget what comes before its position."""
        if page is not self._handed or self._gathered is None:
            return
        self._through = max(self._through, self._gathered.through)
        self._gathered = self._handed = None
        if page.reached is not None:
            self._position = lsn_of(page.reached)
            self._moved_at = now
            self._stream.asked = False
            self._stream.confirm(self._position)

    def scan(self, after: str | None, limit: int) -> Sequence[Change]:
        """Keys of rows that are ours, in the key's order, after a key; fewer than `limit` at the end."""
        return self._table.scan(self._since, after, limit)

    def estimate(self) -> int | None:
        """About how many rows a whole scan will find, as the planner thinks."""
        return self._table.estimate(self._since)

    def without_watermark(self) -> int:
        """Rows that no scan finds, for their watermark is NULL; the stream has them all the same when they change."""
        return self._table.without_watermark()

    def mark(self) -> str | None:
        """The end of the WAL."""
        return slot_look.newest(self._capture, self._about)

    def passed(self, mark: str | None) -> bool:
        """Whether all that was committed before `mark` has been read; asks the server how far it is where not."""
        if mark is None:
            return True
        if self._gathered is None and self._through >= slot_look.end_of(mark):
            return True
        self._stream.ask()
        return False

    def fileno(self) -> int | None:
        """The replication connection's; None while a page waits to become visible, when no arrival matters."""
        return None if self._again_secs is not None else self._stream.fileno()

    def awake(self) -> bool:
        """Whether a change has come, or the server wants to know how far we are; answers keepalives by itself."""
        if self._again_secs is not None:
            return False
        return self._stream.awake() or (self._stream.asked and self._stream.received > self._position)

    def close(self) -> None:
        """Leave the CRM."""
        self._forget()
        self._capture.close()

    # -- beginning, and looking ------------------------------------------------------------------------------

    def _attend(self, now: Instant) -> None:
        """Have a running stream, and look at slot and publication when it is time."""
        if not self._stream.running:
            self._begin()
        elif now >= self._look_due:
            self._look()
        else:
            self._stream.tell_again(STATUS_SECS if self._again_secs is None else _HOLD_STATUS_SECS)
            return
        self._look_due = now + self._poll_secs

    def _begin(self) -> None:
        self._forget()
        found = self._look()
        system = self._identify(found)
        resumed = self._go_on(self._identity, lsn_text(self._position), found, system)
        if found.active_pid is not None:
            raise slot_look.in_use(found, self._objects, self._about)
        assert found.relation is not None
        self._stream.start(self._position)
        self._gatherer = Gatherer(
            self._stream,
            relation=found.relation,
            key=self._key,
            position=self._position,
            timeline=system.timeline,
            about=self._about,
        )
        if resumed.gap is not None:
            # The server has become another since `resume`, which was not asked again.
            self._gathered = Gathered(self._position, more=True, gap=resumed.gap)

    def _go_on(self, identity: str | None, watermark: str | None, found: Look, system: System) -> Resumed:
        resumed = slot_look.compare(identity, watermark, found, system, self._objects, self._about)
        assert resumed.watermark is not None
        self._identity = resumed.identity
        self._position = self._through = lsn_of(resumed.watermark)
        return resumed

    def _look(self) -> Look:
        found = slot_look.look(self._capture, self._objects, self._relation, self._key, self._about)
        self.slot_lag_bytes = found.kept
        slot_look.judge(found, self._objects, self._relation, self._key, self._about, self._setup)
        self.notice = slot_look.notice(found, self._objects, self._about)
        if self._key_type != (found.relation, found.key_type):
            self._key_type = found.relation, found.key_type
            self._table.forget()
            self._matcher = None
        return found

    def _identify(self, found: Look) -> System:
        try:
            return self._stream.identify()
        except CrmUnavailable as error:
            if found.may_replicate:
                raise
            raise CaptureLost(
                f"{self._about}: syncd's role has no REPLICATION of its own, and the server let no stream begin:"
                f" {error.message}",
                self._setup,
            ) from None

    def _forget(self) -> None:
        """Drop the stream, and what came of it that the ledger does not have."""
        self._stream.close()
        self._gatherer = self._gathered = self._handed = self._again_secs = None
        self._through = self._position

    # -- reading ---------------------------------------------------------------------------------------------

    def _unacknowledged(self) -> Gathered:
        """The page that the ledger does not have yet: the one that was read before, if there was anything in it."""
        before = self._gathered
        if before is None or not (before.versions or before.gap):
            assert self._gatherer is not None
            self._gathered = self._gatherer.gather(self._through if before is None else before.through)
        assert self._gathered is not None
        return self._gathered

    def _hand_over(self, gathered: Gathered, now: Instant) -> Page:
        """The page, once all its transactions are visible."""
        changes: list[Change] = []
        if gathered.versions:
            versions, found, snapshot = self._matching(gathered)
            if not all(is_visible(xid, snapshot) for xid in gathered.xids):
                least, most = _AGAIN_SECS
                self._again_secs = least if self._again_secs is None else min(2 * self._again_secs, most)
                return Page((), None, more=False, rows=0, again_secs=self._again_secs, held=True)
            changes = [Change(key, version) for key, version in versions.items() if key in found]
        self._again_secs = None
        self._handed = Page(
            changes, self._reached(gathered, now, found=bool(changes)), gathered.more, gathered.rows, gap=gathered.gap
        )
        return self._handed

    def _reached(self, gathered: Gathered, now: Instant, *, found: bool) -> str | None:
        """What the ledger is to write down: with changes at once, without them now and then."""
        due = self._stream.asked or not 0 <= now - self._moved_at < _IDLE_SECS
        if gathered.through > self._position and (found or due or gathered.gap is not None):
            return lsn_text(gathered.through)
        # After a gap, the position may be a lower one than the ledger's.
        return lsn_text(self._position) if gathered.gap is not None else None

    def _matching(self, gathered: Gathered) -> tuple[dict[str, str], frozenset[str], str]:
        """The keys as text with their versions, which of them have a row that matches, and the snapshot of that."""
        try:
            versions = self._as_text(gathered.versions)
            if self._matcher is None:
                self._matcher = self._table.matcher(self._since)
            matched = self._matcher.matching(list(versions))
        except CrmFault:
            self._table.forget()
            self._matcher = None
            if self._table.holds(list(gathered.versions)):
                raise
            # They were written when the key had another type: whether their rows are there, only a sweep can tell.
            gathered.gap = f"{self._about}: the type of {self._key} was changed; changes before it may be missing."
            gathered.versions, gathered.xids = {}, set()
            self._matcher = self._table.matcher(self._since)
            matched = self._matcher.matching([])
            versions = {}
        return versions, matched.keys, matched.snapshot

    def _as_text(self, versions: dict[str, str]) -> dict[str, str]:
        """The keys as a cast to text writes them, which is how the ledger has them."""
        kind = self._key_type[1]
        if kind is None or kind in _PLAIN_TYPES:
            return versions
        query = sql.SQL("SELECT key::{}::text FROM unnest(%s::text[]) WITH ORDINALITY AS k (key, n) ORDER BY n")
        with self._capture.cursor(self._about) as cursor:
            # The catalogue's own words.
            texts = cursor.execute(query.format(sql.SQL(kind.replace("%", "%%"))), (list(versions),)).fetchall()
        return {str(text): version for (text,), version in zip(texts, versions.values(), strict=True)}
