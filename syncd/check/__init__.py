"""`syncd check`: does the configuration fit the CRM, the ledger and wolkvox? Everything that is wrong, at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from syncd import assembly
from syncd.check import table, wolkvox
from syncd.check.finding import Finding, failure
from syncd.config import Config
from syncd.errors import EXIT_FAILED, CrmUnavailable, LedgerEmpty, SyncdError
from syncd.ledger import open_ledger

__all__ = ["Finding", "offline", "online"]


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
            yield failure(key, error)
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
        spend_calls: ask wolkvox too: one call for the token, and one for each campaign, those of a lookup included.
    """
    yield _ledger(config, config_file)
    connection = assembly.crm_connection(config, config_file, "check")
    try:
        for sync in config.sync:
            yield from table.look(config, sync, connection)
    except CrmUnavailable as error:
        yield failure("crm", error)
    finally:
        connection.close()
    if spend_calls:
        yield from wolkvox.look(config, config_file)


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
        return failure("ledger", error)
    return Finding("ok", "ledger", f"{ledger.home.where} answers.")
