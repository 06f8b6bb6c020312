"""Connecting to the CRM's database.

Each connection has one purpose, which its ``application_name`` tells the DBA, and gives up a statement or a lock that
takes too long. All are read-only but the one that empties syncd's own outbox. psycopg's exceptions stop here: their
texts carry values of rows, ours do not.

Mutable state: the connection of a `CrmConnection`, used by one thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from syncd.crm.values import register
from syncd.errors import CrmError, CrmFault, CrmUnavailable, CrmUndecodable

_LOCK_TIMEOUT_SECS = 5


class CrmConnection:
    """One connection to the CRM, opened when first needed and again after it was lost.

    Args:
        url: as configured, without a password.
        password: None where the server asks for none.
        purpose: a word or two for ``application_name``; with `instance`, it says which syncd, and what for.
        statement_timeout_secs: after which the server gives up a query.
        instance: which syncd: ``wv0042``.
        writes: only for syncd's own outbox; every other connection is read-only.
        replication: one that speaks the replication protocol, to this database.
    """

    def __init__(
        self,
        url: str,
        password: str | None,
        purpose: str,
        statement_timeout_secs: int,
        *,
        instance: str = "",
        writes: bool = False,
        replication: bool = False,
    ) -> None:
        self._url = url
        self._password = password
        self._name = f"syncd {purpose} {instance}".rstrip()
        self._timeout_secs = statement_timeout_secs
        self._writes = writes
        self._replication = replication
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None
        self.lost = False
        """Whether the last failure was that the server had gone meanwhile, so that asking again may help at once."""

    @contextmanager
    def session(self, about: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
        """The connection itself, in autocommit, made anew where it was lost.

        Args:
            about: what is being read, for errors: ``sync "web-leads"``.

        Raises:
            CrmUnavailable: the database cannot be reached, or gave up.
            CrmFault: it answered that the table, a column, a privilege or the condition is not as configured.
        """
        try:
            if self._connection is None or self._connection.closed:
                self._connection = self._connect()
            yield self._connection
        except psycopg.Error as error:
            self.lost = self._connection is not None and self._connection.broken
            if isinstance(error, psycopg.OperationalError) or self._connection is None:
                self.close()
            raise explain(error, about, self._timeout_secs) from None

    @contextmanager
    def cursor(self, about: str) -> Iterator[psycopg.Cursor[tuple[Any, ...]]]:
        """A cursor in a transaction of its own statement; arguments and errors as `session`."""
        with self.session(about) as connection, connection.cursor() as cursor:
            yield cursor

    @property
    def opened(self) -> psycopg.Connection[tuple[Any, ...]] | None:
        """The connection where it is open, for those who listen on it; None where it is not."""
        return None if self._connection is None or self._connection.closed else self._connection

    def close(self) -> None:
        """Close the connection; it opens again when it is needed."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        options = (
            f"-c statement_timeout={self._timeout_secs}s -c lock_timeout={_LOCK_TIMEOUT_SECS}s"
            f" -c default_transaction_read_only={'off' if self._writes else 'on'}"
            " -c datestyle=ISO -c intervalstyle=postgres -c extra_float_digits=1"
        )
        given: dict[str, Any] = {} if self._password is None else {"password": self._password}
        if self._replication:
            given["replication"] = "database"
        try:
            connection = self._open(options, given)
        except psycopg.ProgrammingError as error:  # libpq does not understand the URL, which holds no password
            raise CrmFault(f"crm.url cannot be used: {' '.join(str(error).split())}.", "Correct crm.url.") from None
        register(connection)
        connection.prepare_threshold = None  # a pooler in transaction mode has no prepared statements
        return connection

    def _open(self, options: str, given: dict[str, Any]) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(
            self._url,
            autocommit=True,
            application_name=self._name,
            client_encoding="utf8",  # else a database of bytes (SQL_ASCII) would give bytes
            options=options,
            connect_timeout=10,
            keepalives_idle=30,
            keepalives_interval=10,
            keepalives_count=3,
            tcp_user_timeout=(self._timeout_secs + 30) * 1000,
            **given,
        )


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
    if state in ("22021", "22P05"):
        return CrmUndecodable(
            f"A row of {about} holds bytes that are no text in the encoding of the CRM's database.", "Correct the row."
        )
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
