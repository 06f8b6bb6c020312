"""The two homes of a ledger, SQLite and Postgres, behind one pair of transactions: `Home.read` and `Home.write`.

Third-party exceptions stop here: out of both come `LedgerUnavailable` and the errors of syncd alone.

Mutable state: the engine's pool, and `_writing`, the lock that lets one thread of this process write at a time in
SQLite, where a second writer would otherwise sleep and retry.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Connection,
    FromClause,
    Select,
    Text,
    any_,
    bindparam,
    column,
    create_engine,
    event,
    func,
    select,
)
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import DBAPIError, OperationalError

from syncd.errors import LedgerError, LedgerUnavailable
from syncd.ledger.schema import SCHEMA

_BUSY_SECS = 30


class Home:
    """A database that a ledger lives in.

    Args:
        url: ``sqlite:////path`` or ``postgresql://...``, without a password.
        password: the password of a Postgres ledger.
        name: what the connections call themselves in pg_stat_activity.

    Raises:
        LedgerUnavailable: where the folder of a SQLite ledger cannot be used.
    """

    def __init__(self, url: str, password: str | None = None, name: str = "syncd ledger") -> None:
        parsed = make_url(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self.path = Path(parsed.database or "") if self.is_sqlite else None
        self.where = str(self.path) if self.is_sqlite else parsed.render_as_string(hide_password=True)
        self._writing = threading.RLock()
        self.engine = self._sqlite(parsed) if self.is_sqlite else _postgres(parsed, password, name)
        self._readers = self.engine
        if not self.is_sqlite:  # READ COMMITTED would look anew with each statement; SQLite sees one moment anyway
            self._readers = self.engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    def _sqlite(self, url: URL) -> Engine:
        assert self.path is not None
        if not self.path.parent.is_dir():
            raise LedgerUnavailable(
                f"The ledger's folder {self.path.parent} does not exist.", "Make it, writable by syncd alone."
            )
        engine = create_engine(url, connect_args={"timeout": _BUSY_SECS, "check_same_thread": False})
        engine = engine.execution_options(schema_translate_map={SCHEMA: None})
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads, and sees one moment.

        Raises:
            LedgerUnavailable: where the database does not answer.
        """
        with self._guarded(), self._readers.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that commits at the end of the block, durably, or leaves nothing.

        Raises:
            LedgerUnavailable: where the database does not answer or cannot write.
        """
        with (
            self._guarded(),
            self._writing if self.is_sqlite else nullcontext(),
            self.engine.connect() as raw,
        ):
            connection = raw.execution_options(syncd_writes=True)
            with connection.begin():
                yield connection

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except OperationalError as error:
            raise LedgerUnavailable(f"The ledger at {self.where} does not answer: {_cause(error)}.") from None
        except DBAPIError as error:
            # The text of a driver's exception may carry a key: its class and code are enough.
            raise LedgerError(f"The ledger at {self.where} refused a statement: {_cause(error)}.") from None

    def close(self) -> None:
        """Give back every connection."""
        self.engine.dispose()

    # -- the few places where the two speak differently ------------------------------------------------------

    def pairs(self, pairs: Sequence[tuple[str, str]]) -> FromClause:
        """Rows of two text columns, ``a`` and ``b``, in one parameter: a bulk statement without a loop.

        Postgres may give them in any order: ``place`` counts them there. SQLite gives them from first to last.
        """
        if self.is_sqlite:
            each = func.json_each(
                bindparam("pairs", orjson.dumps([tuple(pair) for pair in pairs]).decode(), Text)
            ).table_valued("value")
            return select(
                func.json_extract(each.c.value, "$[0]").label("a"),
                func.json_extract(each.c.value, "$[1]").label("b"),
            ).subquery("pairs")
        return (
            func.unnest(
                bindparam("pairs_a", [a for a, _ in pairs], ARRAY(Text)),
                bindparam("pairs_b", [b for _, b in pairs], ARRAY(Text)),
            )
            .table_valued(column("a", Text), column("b", Text), with_ordinality="place")
            .render_derived()
        )

    def texts(self, values: Sequence[str]) -> Select[Any]:
        """One text column of many values in one parameter, for ``IN``."""
        if self.is_sqlite:
            each = func.json_each(bindparam("texts", orjson.dumps(values).decode(), Text)).table_valued("value")
            return select(each.c.value)
        return select(func.unnest(bindparam("texts", list(values), ARRAY(Text))))

    def among(self, column: ColumnElement[int], values: Sequence[int]) -> ColumnElement[bool]:
        """Whether a column of integers is one of many, in one parameter."""
        if self.is_sqlite:
            each = func.json_each(bindparam("numbers", orjson.dumps(values).decode(), Text)).table_valued("value")
            return column.in_(select(each.c.value))
        # Not IN (SELECT unnest(...)): for that, the planner may read every pending lead to join the list to them.
        return column == any_(bindparam("numbers", list(values), ARRAY(BigInteger)))


def _postgres(url: URL, password: str | None, name: str) -> Engine:
    url = url.set(drivername="postgresql+psycopg")
    if password is not None:
        url = url.set(password=password)
    return create_engine(
        url,
        pool_pre_ping=True,
        pool_size=4,
        isolation_level="READ COMMITTED",
        connect_args={
            "application_name": name,
            "connect_timeout": 10,
            "options": "-c statement_timeout=60s -c lock_timeout=20s -c synchronous_commit=on",
        },
    )


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # SQLAlchemy begins transactions itself, see _begin_sqlite
    cursor = connection.cursor()
    # FULL: an intent must survive a power cut. With NORMAL, WAL loses the last transactions.
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        f"busy_timeout={_BUSY_SECS}000",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("syncd_writes", False)
    # IMMEDIATE takes the write lock now: a reader that turns writer half-way would fail instead of waiting.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _cause(error: DBAPIError) -> str:
    original = error.orig
    code = getattr(original, "sqlstate", None) or getattr(original, "sqlite_errorname", None)
    if code is None and isinstance(error, OperationalError):
        return "no connection (is it running, and are address, user and password right?)"
    return f"{type(original).__name__} ({code})"


def make_private(path: Path) -> None:
    """Create a SQLite ledger's file for its owner alone, if it is not there yet.

    Raises:
        LedgerUnavailable: where that is not permitted.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise LedgerUnavailable(
            f"The ledger {path} cannot be opened: {error.strerror}.",
            "Run the command as syncd's user, or let that user own the folder.",
        ) from None
