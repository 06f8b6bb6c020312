"""`syncd setup`, `syncd check` and `syncd migrate`: before leads flow."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from syncd.cli.options import config_option, json_option, loaded, print_json, sync_named
from syncd.errors import EXIT_CONFIG

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


COMMANDS = (setup, check, migrate)
