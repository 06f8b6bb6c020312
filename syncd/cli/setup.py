"""`syncd setup`, `syncd check`, `syncd preview` and `syncd migrate`: before leads flow."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click

from syncd.cli.options import config_option, json_option, loaded, print_json, sync_named
from syncd.errors import EXIT_CONFIG
from syncd.model import Rejection

_MARKS = {"ok": "ok     ", "warning": "warning", "error": "error  "}


@click.command()
@click.argument("sync")
@click.option("--print", "printing", is_flag=True, help="Print the SQL for psql, and run nothing.")
@click.option("--apply", "applying", is_flag=True, help="Run it on the server of crm.url.")
@click.option("--remove", "removing", is_flag=True, help="Undo it; with --print, print what would.")
@click.option("--as", "user", metavar="USER", help="Log in as this user instead of crm.url's.")
@click.option("--ask-password", is_flag=True, help="Ask for the password, instead of ~/.pgpass and its like.")
@config_option
def setup(
    own_config: Path | None,
    sync: str,
    printing: bool,
    applying: bool,
    removing: bool,
    user: str | None,
    ask_password: bool,
) -> int:
    """Give syncd's role its rights in the CRM, and install what the sync's capture needs there."""
    if (printing, applying, removing).count(True) != 1 and not (printing and removing and not applying):
        raise click.UsageError("Say one of --print, --apply and --remove (or --remove --print).")
    if printing and (user is not None or ask_password):
        raise click.UsageError("--as and --ask-password go with --apply and --remove: --print logs in nowhere.")
    from syncd import setup as setups

    config, path = loaded(own_config)
    chosen = sync_named(config, sync)
    if printing:
        click.echo(setups.for_psql(config, chosen, remove=removing), nl=False)
        return 0
    password = _asked(user or setups.role_of(config)) if ask_password else None
    for sentence in setups.run(config, path, chosen, remove=removing, user=user, password=password):
        click.echo(sentence)
    return 0


def _asked(user: str) -> str:
    if not sys.stdin.isatty():
        raise click.UsageError("--ask-password needs a terminal; ~/.pgpass or PGPASSFILE serve without one.")
    return str(click.prompt(f"Password of {user}", hide_input=True, err=True))


@click.command()
@click.option("--offline", is_flag=True, help="Look at the file and the secrets alone.")
@click.option("--no-calls", is_flag=True, help="Spend no call of the day's quota on asking wolkvox.")
@json_option
@config_option
def check(own_config: Path | None, offline: bool, no_calls: bool, as_json: bool) -> int:
    """Say everything that is wrong with the configuration, the CRM's table, the ledger and the token."""
    from syncd import check as checks

    config, path = loaded(own_config)
    findings = list(checks.offline(config, path))
    if not offline and not any(finding.status == EXIT_CONFIG for finding in findings):
        findings += checks.online(config, path, spend_calls=not no_calls)
    if as_json:
        print_json([{"level": f.level, "subject": f.subject, "sentence": f.sentence} for f in findings])
    else:
        for finding in findings:
            click.echo(f"{_MARKS[finding.level]}  {finding.subject}: {finding.sentence}", err=finding.level == "error")
    return max(finding.status for finding in findings)


@click.command()
@click.argument("sync")
@click.option(
    "-n", "rows", default=5, show_default=True, type=click.IntRange(1, 1000), help="How many rows to look at."
)
@click.option("--unmasked", is_flag=True, help="Show personal data as it is.")
@json_option
@config_option
def preview(own_config: Path | None, sync: str, rows: int, unmasked: bool, as_json: bool) -> int:
    """Show the records that would be sent, and why others would not. Sends nothing."""
    from syncd import assembly

    config, path = loaded(own_config)
    chosen = sync_named(config, sync)
    fieldmap = assembly.field_map(config, chosen)
    connection = assembly.crm_connection(config, path, "preview")
    try:
        found = assembly.reader(chosen, fieldmap.columns, connection).sample(rows)
    finally:
        connection.close()
    mapped = fieldmap.map_many([row[1:] for row in found], time.time())
    shown: list[dict[str, Any]] = []
    for row, result in zip(found, mapped, strict=True):
        if isinstance(result, Rejection):
            why = {"field": result.field, "rule": result.rule, "reason": result.reason}
            shown.append({"key": row[0], "rejected": why})
        else:
            record = {name: value if unmasked else mask(value) for name, value in result.items() if value}
            shown.append({"key": row[0], "record": record})
    if as_json:
        print_json(shown)
        return 0
    _print_preview(shown)
    if not unmasked and shown:
        click.echo("Values are masked; --unmasked shows them.")
    return 0


def _print_preview(shown: list[dict[str, Any]]) -> None:
    if not shown:
        click.echo("No row matches.")
    for lead in shown:
        if "rejected" in lead:
            click.echo(f"\n{lead['key']}: would not be sent: {lead['rejected']['reason']}")
        else:
            click.echo(f"\n{lead['key']}: would be sent as")
            for name, value in lead["record"].items():
                click.echo(f"    {name:<18} {value}")


def mask(value: str) -> str:
    """A value that can be recognised and not read: its first and last character, and its length."""
    if len(value) <= 3:
        return "*" * len(value)
    return f"{value[0]}{'*' * (len(value) - 2)}{value[-1]}"


@click.command()
@config_option
def migrate(own_config: Path | None) -> int:
    """Make the ledger's tables, or bring them to this version. Stop every syncd on it first, and back it up."""
    from syncd.ledger import open_ledger
    from syncd.ledger.migration import migrate as apply

    config, path = loaded(own_config)
    ledger = open_ledger(config, path, purpose="migrate", tables="leave")
    try:
        before, after = apply(ledger.home)
        ledger.check_key()
    finally:
        ledger.close()
    if before == after:
        click.echo(f"The ledger at {ledger.home.where} is at version {after} already.")
    else:
        click.echo(f"The ledger at {ledger.home.where} is at version {after} now (before: {before or 'empty'}).")
    return 0


COMMANDS = (setup, check, preview, migrate)
