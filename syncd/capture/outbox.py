"""The connection that listens to all outboxes and empties them, and the question whether it hears anything.

Hearing is a courtesy of the CRM's server: a notification may be missed in many ways, and none of them loses a lead, for
every source looks into its outbox at its own pace as well.

Mutable state, used by the intake thread alone: what is listened to, which channels rang, and where a probe is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql

from syncd.crm import CrmConnection
from syncd.errors import CaptureLost, CrmError
from syncd.model import Instant

_PROBE = "syncd probe"
"""What a notification says that is none of a change."""
_HEARD_SECS = 5.0
_AGAIN_SECS = 600.0


class OutboxConnection:
    """One connection for the outboxes of all syncs that listen.

    Args:
        connection: one that may write; nobody else uses it.
    """

    def __init__(self, connection: CrmConnection) -> None:
        self._crm = connection
        # -- mutable --
        self.generation = 0
        """Counts connections: in another one, nothing is known of what was heard in the last."""
        self._channels: set[str] = set()
        self._listening: set[str] = set()
        self._current: psycopg.Connection[tuple[Any, ...]] | None = None
        self._rung: set[str] = set()
        self._heard: set[str] = set()

    def register(self, channel: str) -> None:
        """Listen to a channel from the next session on."""
        self._channels.add(channel)

    @contextmanager
    def session(self, about: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
        """The connection, which listens to every registered channel.

        Raises:
            CaptureLost: it leads to a replica.
            CrmUnavailable, CrmFault: as `CrmConnection.session`.
        """
        with self._crm.session(about) as connection:
            if connection is not self._current:
                self._current = None  # until all is listened to
                self._listening = set()
                self._heard = set()
                self._rung = set(self._channels)  # whatever rang meanwhile, nobody heard
                self.generation += 1
                connection.add_notify_handler(self._hear)
            for channel in sorted(self._channels - self._listening):
                try:
                    connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
                except psycopg.errors.ReadOnlySqlTransaction:
                    raise CaptureLost(
                        f"{about} cannot listen: crm.url leads to a replica, and the outbox is emptied on the primary.",
                        'Name the primary in crm.url, or use capture = "poll".',
                    ) from None
                self._listening.add(channel)
            self._current = connection
            yield connection

    def rang(self, channel: str) -> bool:
        """Whether a channel has rung since it was last silenced, or the connection broke. Never blocks or raises."""
        self._drain()
        return channel in self._rung

    def silence(self, channel: str) -> None:
        """What rang until now is about to be looked at."""
        self._drain()
        self._rung.discard(channel)

    def heard(self, channel: str) -> bool:
        """Whether this connection has heard anything of a channel, a probe included."""
        self._drain()
        return channel in self._heard

    def fileno(self) -> int | None:
        """The descriptor that becomes readable when something arrives; None while there is no connection."""
        connection = self._crm.opened
        return None if connection is None else connection.fileno()

    def close(self) -> None:
        """Close the connection; it opens again when it is needed."""
        self._current = None
        self._crm.close()

    def _drain(self) -> None:
        connection = self._crm.opened
        if connection is None:
            if self._current is not None:
                self._current = None
                self._rung |= self._channels
            return
        try:
            connection.pgconn.consume_input()
            while (notice := connection.pgconn.notifies()) is not None:
                self._ring(notice.relname.decode(), notice.extra.decode(errors="replace"))
        except psycopg.Error:
            # The server has gone. Whoever looks next connects anew.
            self._current = None
            self._rung |= self._channels

    def _hear(self, notify: psycopg.Notify) -> None:
        self._ring(notify.channel, notify.payload)

    def _ring(self, channel: str, payload: str) -> None:
        self._heard.add(channel)
        if payload != _PROBE:
            self._rung.add(channel)


class Probe:
    """Finds out whether notifications arrive: sends one through another connection, and sees whether it is heard.

    A pooler in transaction mode never delivers one, and gives no error.

    Args:
        sender: any connection to the same database; it may be read-only.
        channel: what to listen for.
        about: names the sync in errors.
    """

    def __init__(self, outboxes: OutboxConnection, sender: CrmConnection, channel: str, about: str) -> None:
        self._outboxes = outboxes
        self._sender = sender
        self._channel = channel
        self._about = about
        # -- mutable --
        self.deaf = False
        """Whether a probe was in vain, and nothing else was heard since."""
        self._generation = 0
        self._sent_at: Instant | None = None
        self._again_at: Instant = 0.0

    def look(self, now: Instant) -> None:
        """Send one to a new connection, or see what has become of it; never waits."""
        if self._generation != self._outboxes.generation:
            self._generation, self._sent_at, self._again_at = self._outboxes.generation, None, now
        if self._outboxes.heard(self._channel):
            self.deaf = False
        elif self._sent_at is not None and now - self._sent_at >= _HEARD_SECS:
            self.deaf, self._sent_at, self._again_at = True, None, now + _AGAIN_SECS
        elif self._sent_at is None and now >= self._again_at:
            self._again_at = now + _AGAIN_SECS
            self._sent_at = now if self._send() else None

    def _send(self) -> bool:
        # A full queue would fail the commit of everybody who notifies.
        query = sql.SQL("SELECT pg_notify({}, {}) WHERE pg_notification_queue_usage() < 0.5").format(
            sql.Literal(self._channel), sql.Literal(_PROBE)
        )
        try:
            with self._sender.cursor(self._about) as cursor:
                return cursor.execute(query).fetchone() is not None
        except CrmError:
            return False  # a replica notifies nobody: nothing is known
