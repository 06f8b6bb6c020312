"""From messages to pages: which keys changed, in which transactions, and up to where everything has come.

Mutable state, used by one thread: the transaction whose rows are coming, and at which place its table has the key.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from syncd.capture.pgoutput import Begin, Commit, Message, ProtocolError, Relation, Row, lsn_text, message
from syncd.capture.stream import Stream
from syncd.errors import CrmUnavailable

PAGE_KEYS = 10_000
_PAGE_MESSAGES = 100_000
"""Messages of one page, whatever they say: about half a second."""


@dataclass(slots=True)
class Gathered:
    """A page as it came from the stream, before the table was asked."""

    through: int
    """All that commits before this position has come, with this page."""
    versions: dict[str, str] = field(default_factory=dict)
    """By key, the version of its newest change."""
    xids: set[int] = field(default_factory=set)
    """The transactions that these keys come from, by their 32-bit numbers."""
    rows: int = 0
    more: bool = False
    gap: str | None = None


@dataclass(frozen=True, slots=True)
class _Transaction:
    """The one whose rows are coming."""

    xid: int
    version: str
    known: bool
    """Whether the ledger has it already."""


class Gatherer:
    """Makes pages of one run of a stream.

    Args:
        stream: begun.
        relation: the table's oid; rows of another are not ours.
        key: the key's column.
        position: the ledger has what commits before it.
        timeline: which of the server's histories this is.
        about: names the sync in errors.
    """

    def __init__(self, stream: Stream, *, relation: int, key: str, position: int, timeline: str, about: str) -> None:
        self._stream = stream
        self._relation = relation
        self._key = key
        self._position = position
        self._timeline = timeline
        self._about = about
        # -- mutable --
        self._keys: dict[int, int] = {}
        self._transaction: _Transaction | None = None

    def gather(self, through: int) -> Gathered:
        """What has come, up to a page.

        Args:
            through: how far the pages before have come.

        Raises:
            CrmUnavailable, CaptureLost: as `Stream.next`.
        """
        page = Gathered(through)
        for _ in range(_PAGE_MESSAGES):
            data = self._stream.next()
            if data is None:
                if self._transaction is None and self._stream.between:
                    page.through = max(page.through, self._stream.received)
                return page
            try:
                self._heed(message(data, self._keys), page)
            except ProtocolError as error:
                raise CrmUnavailable(f"{self._about}: the stream cannot be understood: {error}.") from None
            if len(page.versions) >= PAGE_KEYS:
                break
        page.more = True
        return page

    def _heed(self, said: Message, page: Gathered) -> None:
        match said:
            case Row():
                self._take(said, page)
            case Begin(commit, xid):
                # The commit that begins where the ledger's position ends is the next one, not the last.
                known = commit < self._position
                self._transaction = _Transaction(xid, f"{self._timeline}-{lsn_text(commit)}", known)
            case Commit(_, end):
                self._transaction = None
                page.through = max(page.through, end)
            case Relation(oid, _, _, columns):
                # A partition is described after its table, and old WAL has the table with other columns than now.
                if oid == self._relation:
                    self._keys = {oid: columns.index(self._key)} if self._key in columns else {}
            case _:
                pass

    def _take(self, row: Row, page: Gathered) -> None:
        within = self._transaction
        if within is None:
            raise ProtocolError("a row is in no transaction")
        if within.known or row.relation != self._relation:
            return
        page.rows += 1
        if row.unknown or row.relation not in self._keys:
            page.gap = f"{self._about}: a change came without the value of {self._key}; it may be missing."
        elif row.key is not None:
            page.versions[row.key] = within.version
            page.xids.add(within.xid)


def is_visible(xid: int, snapshot: str) -> bool:
    """Whether a snapshot sees a transaction, given that it has committed.

    Args:
        xid: its number, of 32 bits.
        snapshot: as ``pg_current_snapshot()`` is written: ``xmin:xmax:xip,...``, of 64 bits.
    """
    xmin, xmax, running = snapshot.split(":")
    newest = int(xmax)
    half, whole = 1 << 31, 1 << 32
    # Of all numbers that end so, the one nearest to the newest.
    full = newest + ((xid - newest + half) % whole - half)
    return full < int(xmin) or (full < newest and str(full) not in running.split(","))
