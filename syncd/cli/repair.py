"""`syncd retry`, `resolve`, `pause`, `resume` and `acts`: what people do to the ledger, each with its reason.

They write to the ledger that the daemon reads, and so work while it runs; it heeds them within a minute.
"""

from __future__ import annotations

import os
import pwd
import re
import time
from pathlib import Path

import click

from syncd.cli.options import config_option, json_option, local, opened, print_json, print_table
from syncd.ledger.acts import RETRIED
from syncd.states import LeadState
from syncd.status import utc

_LONGEST = 500
_STATES = click.Choice([state.value for state in RETRIED])


def _reason(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    """A reason as a database takes it, on one line.

    Raises:
        click.BadParameter: it is empty, or a page long.
    """
    if value is None:
        return None
    words = re.sub(r"[\x00-\x1f\x7f\s]+", " ", value.encode("utf-8", "replace").decode()).strip()
    if not words:
        raise click.BadParameter("it is empty; say in a few words why.")
    if len(words) > _LONGEST:
        raise click.BadParameter(f"it has {len(words)} characters, and may have {_LONGEST}; say it in fewer words.")
    return words


_NO_REASON = "no reason was given"
_reason_option = click.option(
    "--reason", metavar="TEXT", default=_NO_REASON, callback=_reason, help="Why; it is kept in the audit trail."
)


def who() -> str:
    """Who runs this command: the user's name, or the number of one that has none."""
    number = os.getuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"uid {number}"


@click.command()
@click.argument("sync")
@click.option("--key", metavar="K", help="The lead with this key.")
@click.option("--state", type=_STATES, help="Every lead in this state.")
@click.option("--field", metavar="NAME", help="With --state rejected: only those that this field's rule rejected.")
@_reason_option
@config_option
def retry(
    own_config: Path | None, sync: str, key: str | None, state: str | None, field: str | None, reason: str
) -> int:
    """Send leads of SYNC on their way again that were rejected, withdrawn, expired or left out."""
    if (key is None) == (state is None):
        raise click.UsageError("Say one of --key and --state.")
    if field is not None and state != LeadState.REJECTED:
        raise click.UsageError("--field goes with --state rejected: no other state has a field.")
    with opened(own_config) as (_, ledger):
        if key is not None:
            before = ledger.doubts.retry_key(sync, key, time.time(), who(), reason)
            click.echo(f'Lead "{key}" of {sync} was {before}, and waits for its call again.')
            return 0
        assert state is not None
        moved = ledger.doubts.retry_state(sync, LeadState(state), time.time(), who(), reason, field=field)
    if moved:
        click.echo(f"{moved:,} leads of {sync} were {state}, and wait for their call again, behind what is new.")
    else:
        click.echo(f"No lead of {sync} is {state}{f' by {field}' if field is not None else ''}.")
    return 0


@click.command()
@click.argument("call")
@click.option("--verify", "verifying", is_flag=True, help="Let the daemon ask wolkvox again, at once.")
@click.option("--delivered", "delivering", is_flag=True, help="wolkvox has its leads: they are delivered.")
@click.option("--resend", "resending", is_flag=True, help="wolkvox has them not: they are sent again.")
@click.option("--reason", metavar="TEXT", required=True, callback=_reason, help="Why; it is kept in the audit trail.")
@config_option
def resolve(own_config: Path | None, call: str, verifying: bool, delivering: bool, resending: bool, reason: str) -> int:
    """Say what became of the leads of CALL, whose outcome is not known."""
    if (verifying, delivering, resending).count(True) != 1:
        raise click.UsageError("Say one of --verify, --delivered and --resend.")
    state = LeadState.DELIVERED if delivering else LeadState.PENDING if resending else None
    with opened(own_config) as (config, ledger):
        found = ledger.doubts.find(call)
        resend_changed = any(sync.name == found.sync and sync.resend == "when-changed" for sync in config.sync)
        if resending:
            click.echo(
                "syncd: If wolkvox has taken this call after all, the people in it are called twice;"
                f" `syncd pause {found.sync}` still keeps its leads back.",
                err=True,
            )
        settled = ledger.doubts.resolve(call, state, time.time(), who(), reason, resend_changed=resend_changed)
    if state is None:
        click.echo(f"The daemon asks wolkvox about call {call} within a minute, if calls are left.")
    else:
        counts = " and ".join(f"{leads:,} {name}" for name, leads in sorted(settled.items()) if leads)
        click.echo(f"Call {call} is resolved: of its leads, {counts or 'none was held any more'}.")
    return 0


@click.command()
@click.argument("sync")
@_reason_option
@config_option
def pause(own_config: Path | None, sync: str, reason: str) -> int:
    """Send nothing of SYNC until it is resumed; its leads are captured all the same."""
    with opened(own_config) as (_, ledger):
        is_new = ledger.doubts.pause(sync, time.time(), who(), reason)
    if is_new:
        click.echo(f"{sync} is paused: after a call that is under way, none leaves before `syncd resume {sync}`.")
    else:
        click.echo(f"{sync} was paused already, and stays so; `syncd status` says why.")
    return 0


@click.command()
@click.argument("sync")
@_reason_option
@config_option
def resume(own_config: Path | None, sync: str, reason: str) -> int:
    """Send the leads of SYNC again; what has come until now counts as no surge."""
    with opened(own_config) as (_, ledger):
        was_paused = ledger.doubts.resume(sync, time.time(), who(), reason)
    click.echo(f"{sync} goes on." if was_paused else f"{sync} was not paused.")
    return 0


@click.command()
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="How many at most.")
@json_option
@config_option
def acts(own_config: Path | None, limit: int, as_json: bool) -> int:
    """List what people did, and why, the latest first."""
    with opened(own_config) as (config, ledger):
        found = ledger.doubts.acts(limit)
    if as_json:
        print_json(
            [
                {
                    "at": utc(act.at),
                    "who": act.who,
                    "what": act.what,
                    "subject": act.subject,
                    "leads": act.leads,
                    "reason": act.reason,
                }
                for act in found
            ]
        )
        return 0
    print_table(
        ("when", "who", "what", "subject", "leads", "reason"),
        [
            (local(act.at, config.wolkvox.zone), act.who, act.what, act.subject, f"{act.leads:,}", act.reason)
            for act in found
        ],
        empty="Nobody did anything yet.",
    )
    return 0


COMMANDS = (retry, resolve, pause, resume, acts)
