"""What `syncd check` asks wolkvox: whether it knows the token and the campaigns. Each question costs a call."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import orjson

from syncd import assembly
from syncd.check.finding import Finding
from syncd.config import Config
from syncd.errors import EXIT_CONFIG, EXIT_FAILED, QuotaSpent, SyncdError
from syncd.ledger import open_ledger
from syncd.model import Exchange
from syncd.questions import Ask, ask_counted, question
from syncd.replies import judge
from syncd.wolkvox import SERVER_SECS


def look(config: Config, config_file: Path) -> Iterator[Finding]:
    try:
        client = assembly.client(config, config_file)
    except SyncdError:
        return  # `offline` has said so
    with _counted(config, config_file) as put:
        try:
            exchange = put("token_info", client.token_info)
            if (trouble := _trouble(exchange)) is not None:
                yield Finding("error", "wolkvox", trouble, EXIT_FAILED)
                return
            yield Finding("ok", "wolkvox", "knows the token (this question cost one call).")
            wanted = _campaigns(config)
            for number in sorted(wanted):
                yield _campaign(wanted[number], number, put("campaigns", partial(client.campaigns, number)))
        except QuotaSpent as error:
            yield Finding("warning", "wolkvox", f"was not asked: {error}")
        except _BusyError:
            yield Finding(
                "warning", "wolkvox", "was not asked: a call of the daemon is under way; try again in a minute."
            )


class _BusyError(Exception):
    """A call is in flight, and the token bears no other."""


@contextmanager
def _counted(config: Config, config_file: Path) -> Iterator[Ask]:
    """A way to ask wolkvox that counts each question in the ledger's quota, where there is a ledger yet."""
    try:
        ledger = open_ledger(config, config_file, purpose="check", tables="require")
    except SyncdError:
        yield lambda _kind, asked: asked()
        return
    rules = assembly.rules(config)

    def ask(kind: str, asked: Callable[[], Exchange]) -> Exchange:
        now = time.time()
        if ledger.busy_until(now, rules.concurrent_calls, SERVER_SECS) is not None:
            raise _BusyError
        secs = config.wolkvox.call_timeout_secs
        intent = question(kind, now, zone=rules.zone, budget=rules.budget, timeout_secs=secs)
        return ask_counted(ledger, None, intent, asked, time.time, "`syncd check`")

    try:
        yield ask
    finally:
        ledger.close()


def _campaigns(config: Config) -> dict[str, set[str]]:
    """The types that the syncs name of each campaign: of those of a lookup, too; of a column's, nobody knows them."""
    found: dict[str, set[str]] = {}
    for sync in config.sync:
        _, route = assembly.maps(config, sync)
        for number in (sync.campaign.number,) if route is None else route.campaigns:
            found.setdefault(number, set()).add(sync.campaign.type)
    return found


def _campaign(wanted: set[str], number: str, exchange: Exchange) -> Finding:
    kinds = {str(row.get("type_campaign", "")) for row in _rows(exchange)}
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
