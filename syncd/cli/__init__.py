"""The commands. Each module holds a few; what they do is elsewhere, and is imported when it is needed.

Exit status: 0 done, 1 failed, 2 usage, 78 configuration error.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from syncd import __version__
from syncd.errors import EXIT_FAILED, EXIT_USAGE, ConfigError, SyncdError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="syncd")
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    help="The configuration [default: $SYNCD_CONFIG, else /etc/syncd/config.toml].",
)
@click.pass_context
def cli(context: click.Context, config_file: Path | None) -> None:
    """Hand the leads of a CRM on Postgres to wolkvox: soon, once, and within the day's calls."""
    context.obj = config_file


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit status. Errors are sentences on standard error, never tracebacks."""
    from syncd.cli import daemon, init, ledger, preview, recover, rehearsal, repair, setup

    for module in (daemon, init, setup, preview, ledger, repair, recover, rehearsal):
        for command in module.COMMANDS:
            cli.add_command(command)
    try:
        status = cli.main(arguments, prog_name="syncd", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except click.exceptions.Abort:
        return 130
    except click.ClickException as error:
        error.show()
        return EXIT_USAGE
    except ConfigError as error:
        for problem in error.problems:
            click.echo(f"syncd: {problem}", err=True)
        return error.exit_status
    except SyncdError as error:
        click.echo(f"syncd: {error}", err=True)
        return error.exit_status
    except BrokenPipeError:
        sys.stderr.close()  # the reader has gone, as `head` does; nothing is left to say
        return EXIT_FAILED
