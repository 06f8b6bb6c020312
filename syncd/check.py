"""`syncd check`: does the configuration fit the CRM, the ledger and wolkvox? Everything that is wrong, at once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import orjson
from psycopg import sql

from syncd import assembly
from syncd.capture.poll import NUMBERS, TIMESTAMPS
from syncd.config import Config, Sync
from syncd.crm import CrmConnection, Shape, condition, look_at
from syncd.delivery import new_call_id
from syncd.errors import (
    EXIT_CONFIG,
    EXIT_FAILED,
    EXIT_OK,
    CrmFault,
    CrmUnavailable,
    LedgerEmpty,
    QuotaSpent,
    SyncdError,
)
from syncd.ledger import Ending, Intent, open_ledger
from syncd.model import Exchange
from syncd.pacing import quota_day
from syncd.replies import judge
from syncd.states import CallState, LeadState
from syncd.wolkvox import SERVER_SECS


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    level: Literal["ok", "warning", "error"]
    subject: str
    sentence: str
    status: int = EXIT_OK
    """What the command's exit status becomes."""


def offline(config: Config, config_file: Path) -> Iterator[Finding]:
    """What can be told without a network: the secrets are there. The file itself was checked when it was loaded."""
    yield Finding("ok", str(config_file), f"is valid, with {len(config.sync)} sync(s).")
    secrets: tuple[tuple[str, Callable[[], object]], ...] = (
        ("wolkvox.token_file", lambda: assembly.client(config, config_file)),
        ("crm.password_file", lambda: assembly.crm_password(config, config_file)),
        ("ledger", lambda: assembly.ledger_secrets(config, config_file)),
    )
    for key, read in secrets:
        try:
            read()
        except SyncdError as error:
            yield _failure(key, error)
    if config.wolkvox.call_timeout_secs <= 60:
        yield Finding(
            "warning",
            "wolkvox.call_timeout_secs",
            f"= {config.wolkvox.call_timeout_secs}: wolkvox may work on a call for 60 s, and a call given up before "
            "that has an unknown outcome; 75 is a good value.",
        )


def online(config: Config, config_file: Path, *, spend_calls: bool) -> Iterator[Finding]:
    """What only the ledger, the CRM and wolkvox can tell.

    Args:
        spend_calls: ask wolkvox too: one call for the token, and one for each campaign.
    """
    yield _ledger(config, config_file)
    connection = assembly.crm_connection(config, config_file, "check")
    try:
        for sync in config.sync:
            yield from _sync(config, sync, connection)
    except CrmUnavailable as error:
        yield _failure("crm", error)
    finally:
        connection.close()
    if spend_calls:
        yield from _wolkvox(config, config_file)


def _failure(subject: str, error: SyncdError) -> Finding:
    return Finding("error", subject, str(error), EXIT_CONFIG if not error.retry else EXIT_FAILED)


def _ledger(config: Config, config_file: Path) -> Finding:
    """Looks, and makes nothing: a file made here might belong to whoever runs the check, and not to the daemon."""
    path = Path(config.ledger.url.removeprefix("sqlite:///"))
    if config.ledger.is_sqlite and path.parent.is_dir() and not path.exists():
        if os.access(path.parent, os.W_OK | os.X_OK):
            return Finding("ok", "ledger", f"{path} is not there yet; `syncd run` makes it.")
        return Finding("error", "ledger", f"The folder of {path} may not be written by this user.", EXIT_FAILED)
    try:
        ledger = open_ledger(config, config_file, purpose="check", tables="require")
        try:
            ledger.check_key()
        finally:
            ledger.close()
    except LedgerEmpty as error:
        return Finding("ok", "ledger", str(error))
    except SyncdError as error:
        return _failure("ledger", error)
    return Finding("ok", "ledger", f"{ledger.home.where} answers.")


def _sync(config: Config, sync: Sync, connection: CrmConnection) -> Iterator[Finding]:
    about = assembly.about(sync)
    fieldmap = assembly.field_map(config, sync)
    try:
        shape = look_at(connection, sync.relation, about)
        faults = list(_columns(sync, shape, fieldmap.columns, about))
        if faults:
            yield from faults
            return
        if unreadable := _unreadable(sync, fieldmap.columns, connection, about):
            yield unreadable
            return
        # The very queries that the daemon will run: what they need in privileges and syntax shows here.
        with connection.cursor(about) as cursor:
            cursor.execute(_select(sync, (sync.key, *fieldmap.columns)) + sql.SQL(" LIMIT 1"))
        yield from _key(sync, shape, connection, about)
        yield from _watermark(sync, shape, connection, about)
    except CrmFault as error:
        yield _failure(about, error)
        return
    yield Finding("ok", about, f"{sync.table} has all that is needed.")


def _select(sync: Sync, columns: tuple[str, ...]) -> sql.Composed:
    return sql.SQL("SELECT {} FROM {} WHERE {}").format(
        sql.SQL(", ").join(sql.Identifier(name) for name in columns),
        sql.Identifier(*sync.relation),
        condition(sync.where),
    )


def _columns(sync: Sync, shape: Shape, mapped: tuple[str, ...], about: str) -> Iterator[Finding]:
    wanted = {"key": [sync.key], "fields": list(mapped)}
    if sync.watermark_column is not None:
        wanted["watermark_column"] = [sync.watermark_column]
    for setting, names in wanted.items():
        for name in names:
            if name not in shape.columns:
                yield Finding(
                    "error",
                    about,
                    f"{sync.table} has no column {name}, which sync.{setting} names; it has: "
                    f"{', '.join(shape.columns)}.",
                    EXIT_CONFIG,
                )
    kind = shape.columns.get(sync.watermark_column or "")
    if kind is not None and kind not in TIMESTAMPS + NUMBERS:
        yield Finding(
            "error",
            about,
            f"watermark_column {sync.watermark_column} has type {kind}; it must be a timestamp, or a number that "
            "every change increases.",
            EXIT_CONFIG,
        )
    if kind in NUMBERS and sync.start not in ("now", "beginning"):
        yield Finding(
            "error",
            about,
            f'start is an instant, but watermark_column {sync.watermark_column} is a number; say "now" or "beginning".',
            EXIT_CONFIG,
        )


_UNREADABLE = """
SELECT a.attname
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE n.nspname = %s AND c.relname = %s AND a.attname = ANY(%s)
  AND NOT has_column_privilege(c.oid, a.attnum, 'SELECT')
ORDER BY a.attnum
"""


def _unreadable(sync: Sync, mapped: tuple[str, ...], connection: CrmConnection, about: str) -> Finding | None:
    """The columns that the role may not read: Postgres itself would name the table alone."""
    wanted = [sync.key, *mapped, *([sync.watermark_column] if sync.watermark_column else [])]
    with connection.cursor(about) as cursor:
        names = [row[0] for row in cursor.execute(_UNREADABLE, (*sync.relation, wanted)).fetchall()]
    if not names:
        return None
    return Finding(
        "error",
        about,
        f"permission denied for {', '.join(names)} of {sync.table}; grant SELECT on it to syncd's role "
        "(sql/crm/poll-grants.sql).",
        EXIT_CONFIG,
    )


def _key(sync: Sync, shape: Shape, connection: CrmConnection, about: str) -> Iterator[Finding]:
    if sync.key in shape.unique:
        return
    query = sql.SQL("SELECT 1 FROM {} WHERE {} IS NOT NULL GROUP BY {} HAVING count(*) > 1 LIMIT 1").format(
        sql.Identifier(*sync.relation), sql.Identifier(sync.key), sql.Identifier(sync.key)
    )
    with connection.cursor(about) as cursor:
        repeated = cursor.execute(query).fetchone()
    if repeated is not None:
        yield Finding(
            "error",
            about,
            f"key {sync.key} is not unique: two rows of {sync.table} share a value, and one of the two leads would be "
            "lost; name the column that identifies a row.",
            EXIT_CONFIG,
        )
    elif shape.is_table:
        yield Finding(
            "warning",
            about,
            f"key {sync.key} has no unique index, so nothing keeps it unique; every batch reads the whole table.",
        )


def _watermark(sync: Sync, shape: Shape, connection: CrmConnection, about: str) -> Iterator[Finding]:
    column = sync.watermark_column
    if column is None:
        return
    if column not in shape.indexed and shape.is_table:
        yield Finding(
            "warning",
            about,
            f"watermark_column {column} has no index: every poll reads the whole table; CREATE INDEX CONCURRENTLY ON "
            f"{sync.table} ({column}).",
        )
    query = sql.SQL("SELECT 1 FROM {} WHERE {} IS NULL LIMIT 1").format(
        sql.Identifier(*sync.relation), sql.Identifier(column)
    )
    with connection.cursor(about) as cursor:
        if cursor.execute(query).fetchone() is not None:
            yield Finding(
                "warning", about, f"some rows have no {column}; they are never captured until they are given one."
            )


def _wolkvox(config: Config, config_file: Path) -> Iterator[Finding]:
    try:
        client = assembly.client(config, config_file)
    except SyncdError:
        return  # `offline` has said so
    with _counted(config, config_file) as ask:
        try:
            exchange = ask("token_info", client.token_info)
            if (trouble := _trouble(exchange)) is not None:
                yield Finding("error", "wolkvox", trouble, EXIT_FAILED)
                return
            yield Finding("ok", "wolkvox", "knows the token (this question cost one call).")
            for number in sorted({sync.campaign.id for sync in config.sync}):
                yield _campaign(config, number, ask("campaigns", partial(client.campaigns, number)))
        except QuotaSpent as error:
            yield Finding("warning", "wolkvox", f"was not asked: {error}")
        except _BusyError:
            yield Finding(
                "warning", "wolkvox", "was not asked: a call of the daemon is under way; try again in a minute."
            )


class _BusyError(Exception):
    """A call is in flight, and the token bears no other."""


@contextmanager
def _counted(config: Config, config_file: Path) -> Iterator[Callable[[str, Callable[[], Exchange]], Exchange]]:
    """A way to ask wolkvox that counts each question in the ledger's quota, where there is a ledger yet."""
    try:
        ledger = open_ledger(config, config_file, purpose="check", tables="require")
    except SyncdError:
        yield lambda _kind, question: question()
        return
    rules = assembly.rules(config)

    def ask(kind: str, question: Callable[[], Exchange]) -> Exchange:
        now = time.time()
        if ledger.busy_until(now, rules.concurrent_calls, SERVER_SECS) is not None:
            raise _BusyError
        day = quota_day(now, rules.zone).isoformat()
        deadline = now + config.wolkvox.call_timeout_secs
        intent = Intent(new_call_id(now), kind, None, day, rules.budget, None, now, deadline)
        number, _ = ledger.intend(None, intent)
        exchange = question()
        state = CallState.ACCEPTED if exchange.status == 200 else CallState.REFUSED
        ending = Ending(state, time.time(), exchange.status, kind, "A question of `syncd check`.", LeadState.PENDING)
        ledger.finish(number, ending, resend_changed=False)
        return exchange

    try:
        yield ask
    finally:
        ledger.close()


def _campaign(config: Config, number: str, exchange: Exchange) -> Finding:
    kinds = {str(row.get("type_campaign", "")) for row in _rows(exchange)}
    wanted = {sync.campaign.type for sync in config.sync if sync.campaign.id == number}
    subject = f"campaign {number}"
    if not kinds:
        return Finding("error", subject, "wolkvox knows no such campaign.", EXIT_CONFIG)
    if wanted - kinds:
        sentence = f"is of type {', '.join(sorted(kinds))} in wolkvox; sync.campaign.type must say so."
        return Finding("error", subject, sentence, EXIT_CONFIG)
    return Finding("ok", subject, "is there (this question cost one call).")


def _trouble(exchange: Exchange) -> str | None:
    if exchange.status == 200:
        return None
    verdict = judge(exchange, 0)
    return verdict.sentence if not exchange.error else f"{verdict.sentence} ({exchange.error})"


def _rows(exchange: Exchange) -> list[dict[str, object]]:
    try:
        data = orjson.loads(exchange.body).get("data", [])
    except (orjson.JSONDecodeError, AttributeError):
        return []
    return [row for row in data if isinstance(row, dict)] if isinstance(data, list) else []
