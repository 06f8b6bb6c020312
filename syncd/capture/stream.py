"""The replication connection: START_REPLICATION, what comes of it, and what the server is told.

Nothing here waits but the opening. What the server is told to be done with (`confirm`) is said by the caller, who
knows what the ledger has; keepalives are answered here, whenever anybody looks.

Mutable state, used by one thread: the position that the server has come to, the one that it was told, and one message
that was read ahead to see whether there is any.
"""

from __future__ import annotations

import time
from typing import NamedTuple

import psycopg
from psycopg import pq, sql
from psycopg.errors import error_from_result

from syncd.capture import pgoutput
from syncd.crm import CrmConnection
from syncd.errors import CaptureLost, CrmError, CrmFault, CrmUnavailable

STATUS_SECS = 10.0
"""The server hears from us at least this often, while somebody reads."""
_PROTOCOLS = ((160000, 4), (150000, 3), (0, 2))
"""By the server's version, the newest protocol of pgoutput that it speaks."""
_BEGIN, _COMMIT = b"BC"


class System(NamedTuple):
    """Which server this is, and which of its histories."""

    identifier: str
    timeline: str


class Stream:
    """The stream of one slot.

    Args:
        connection: one made with ``replication=True``.
        slot: the slot's name.
        publication: the publication's name.
        about: names the sync in errors.
        setup: the sentence that tells how to make slot and publication anew.
    """

    def __init__(self, connection: CrmConnection, slot: str, publication: str, about: str, setup: str) -> None:
        self._connection = connection
        self._slot = slot
        self._publication = publication
        self._about = about
        self._setup = setup
        # -- mutable --
        self._running = False
        self._ahead: memoryview | None = None
        self._begin: memoryview | None = None  # of a transaction that has no more so far
        self._behind: memoryview | None = None  # what comes after that beginning
        self._failed: psycopg.Error | pgoutput.ProtocolError | None = None
        self._confirmed = 0
        self._told_at = 0.0
        self._asking = False
        self.received = 0
        """Everything before this position has come, or was none of ours."""
        self.asked = False
        """Whether the server has wanted an answer since `confirm`: as when it waits for us to shut down."""

    @property
    def between(self) -> bool:
        """Whether all that came of the last transaction was handed out."""
        return self._ahead is None and self._begin is None and self._behind is None

    @property
    def running(self) -> bool:
        """Whether a stream was begun, and is not known to have ended."""
        return self._running and self._connection.opened is not None

    def identify(self) -> System:
        """Which server this is; opens the connection.

        Raises:
            CrmUnavailable, CrmFault: as `CrmConnection.session`.
        """
        with self._connection.session(self._about) as connection:
            result = connection.pgconn.exec_(b"IDENTIFY_SYSTEM")
            if result.status != pq.ExecStatus.TUPLES_OK:
                raise error_from_result(result)
            system, timeline = result.get_value(0, 0), result.get_value(0, 1)
            assert system is not None
            assert timeline is not None
            return System(system.decode(), timeline.decode())

    def start(self, position: int) -> None:
        """Begin to stream what commits at `position` or later.

        Raises:
            CaptureLost: there is no such slot, or nothing can be had of it any more.
            CrmUnavailable: it is in use, or the server gave up.
            CrmFault: the server refuses for another reason.
        """
        with self._connection.session(self._about) as connection:
            version = next(proto for since, proto in _PROTOCOLS if connection.info.server_version >= since)
            names = sql.Identifier(self._publication).as_string(connection)
            command = sql.SQL("START_REPLICATION SLOT {} LOGICAL {} (proto_version {}, publication_names {})").format(
                sql.Identifier(self._slot),
                sql.SQL(pgoutput.lsn_text(position)),
                sql.Literal(str(version)),
                sql.Literal(names),
            )
            result = connection.pgconn.exec_(command.as_bytes(connection))
            if result.status != pq.ExecStatus.COPY_BOTH:
                raise self._explained(error_from_result(result))
        self._running = True
        self.received = self._confirmed = position
        self.asked = self._asking = False
        self.confirm(position)

    def next(self) -> memoryview | None:
        """The next message of pgoutput; None where none is there yet.

        Raises:
            CrmUnavailable: the stream has ended.
            CaptureLost: it cannot be gone on with.
        """
        if self._ahead is not None:
            message, self._ahead = self._ahead, None
            return message
        try:
            if self._failed is not None:
                raise self._failed  # it happened in `awake`, which may not raise
            return self._take()
        except psycopg.Error as error:
            self.close()
            raise self._explained(error) from None
        except pgoutput.ProtocolError as error:
            self.close()
            raise CrmUnavailable(f"{self._about}: the replication stream cannot be understood: {error}.") from None

    def confirm(self, position: int, *, ask: bool = False) -> None:
        """Tell the server that all before `position` may be forgotten; a lower one than before changes nothing.

        Where the stream has ended, the next `next` will say so.

        Args:
            ask: whether the server is to say at once how far it is.
        """
        self._confirmed = max(self._confirmed, position)
        self.received = max(self.received, position)
        if not self.running:
            return
        try:
            self._tell(ask=ask)
        except psycopg.Error as error:
            self._failed = self._failed or error

    def ask(self) -> None:
        """Have the server say how far it is, unless it was asked already."""
        if not self._asking:
            self._asking = True
            self.confirm(self._confirmed, ask=True)

    def tell_again(self, secs: float) -> None:
        """Tell the server how far we are, unless it was told within the last `secs`."""
        if time.monotonic() - self._told_at >= secs:
            self.confirm(self._confirmed)

    def awake(self) -> bool:
        """Whether `next` has something to say; answers keepalives. Never blocks, and never raises."""
        if not self._running or self._ahead is not None:
            return self._running
        if self._failed is None:
            try:
                self._ahead = self._take()
            except (psycopg.Error, pgoutput.ProtocolError) as error:
                self._failed = error
        return self._ahead is not None or self._failed is not None

    def fileno(self) -> int | None:
        """The connection's descriptor, while it streams."""
        connection = self._connection.opened
        if not self._running or connection is None or connection.broken:
            return None
        return connection.fileno()

    def close(self) -> None:
        """End the stream."""
        self._running = False
        self._ahead = self._begin = self._behind = self._failed = None
        self._connection.close()

    # -- below ---------------------------------------------------------------------------------------------------

    def _take(self) -> memoryview | None:
        connection = self._connection.opened
        if connection is None:
            raise psycopg.OperationalError("the connection is closed")
        if self._behind is not None:
            behind, self._behind = self._behind, None
            return behind
        pgconn, looked = connection.pgconn, False
        while True:
            length, frame = pgconn.get_copy_data(1)
            if length > 0:
                if pgoutput.frame_kind(frame) == "k":
                    self._heed(pgoutput.keepalive(frame))
                elif (message := self._within(frame[pgoutput.WAL_HEADER :])) is not None:
                    return message
            elif length < 0:
                self._ended(pgconn)
            elif looked:
                return None
            else:
                pgconn.flush()  # an answer that did not fit earlier
                pgconn.consume_input()
                looked = True

    def _within(self, message: memoryview) -> memoryview | None:
        """A message, or None where it is about nothing: before 15, a server tells of others' transactions, emptied."""
        kind = message[0]
        if kind == _BEGIN and self._begin is None:
            self._begin = message
            return None
        begin, self._begin = self._begin, None
        if begin is None:
            return message
        if kind == _COMMIT:
            said = pgoutput.message(message, {})
            assert isinstance(said, pgoutput.Commit)
            self.received = max(self.received, said.end)
            return None
        self._behind = message
        return begin

    def _heed(self, said: pgoutput.Keepalive) -> None:
        self.received = max(self.received, said.end)
        self._asking = False
        if said.asks:
            self.asked = True
            self._tell()

    def _tell(self, *, ask: bool = False) -> None:
        connection = self._connection.opened
        if connection is not None:
            update = pgoutput.status_update(self.received, self._confirmed, time.time(), ask=ask)
            connection.pgconn.put_copy_data(update)
            connection.pgconn.flush()
            self._told_at = time.monotonic()

    def _ended(self, pgconn: pq.abc.PGconn) -> None:
        """The server has ended the stream: raises what it said."""
        result = pgconn.get_result()
        if result is not None and result.status == pq.ExecStatus.FATAL_ERROR:
            raise error_from_result(result)
        raise psycopg.OperationalError("the server ended the stream")

    def _explained(self, error: psycopg.Error) -> CrmError:
        """What the server said of the slot, as one of ours; where it is not known to be harmless, by its code alone."""
        state = error.sqlstate or ""
        said = (error.diag.message_primary or "").strip()
        if state == "42704":
            return CaptureLost(
                f"{self._about}: the slot {self._slot} cannot be read: {said}.",
                f"{self._setup} Where that does not help, the slot is older than the publication: remove both first.",
            )
        if state == "55006":
            return CrmUnavailable(
                f"{self._about}: {said}.",
                "Another syncd may be using it; two syncds on one CRM need different names (crm_name).",
            )
        if state == "55000":
            return CaptureLost(f"{self._about}: the slot {self._slot} cannot be read: {said}.", self._setup)
        if state == "42501":
            return CaptureLost(
                f"{self._about}: syncd's role may not read the slot {self._slot}: {said}.",
                f"Give the role REPLICATION. {self._setup}",
            )
        if state.startswith(("08", "57", "53", "40")) or isinstance(error, psycopg.OperationalError):
            why = said or " ".join(str(error).split())[-200:]
            return CrmUnavailable(f"{self._about}: the stream of the slot {self._slot} ended: {why}.")
        return CrmFault(
            f"{self._about}: the server refuses the stream of the slot {self._slot} (SQLSTATE {state or 'none'}).",
            "The server's log has the reason.",
        )
