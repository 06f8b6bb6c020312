"""`syncd simulator` and `syncd demo`: to try it before a person is dialled."""

from __future__ import annotations

import signal
import threading
from dataclasses import replace
from pathlib import Path

import click

from syncd.cli.options import json_option
from syncd.errors import EXIT_USAGE


@click.command()
@click.option("--port", default=8642, show_default=True, type=click.IntRange(0, 65535))
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--token", "tokens", multiple=True, help="A token that it accepts; may be repeated.")
@click.option("--licenses", type=click.IntRange(1), help="Licences of the simulated operation.")
@click.option("--set", "switches", multiple=True, metavar="NAME=VALUE", help="A switch; docs/simulator.md lists them.")
@click.option("--fault", "faults", multiple=True, metavar="TEXT", help="A fault; docs/simulator.md lists them.")
@click.option("--quiet", is_flag=True, help="Say nothing of single calls.")
def simulator(
    port: int,
    host: str,
    tokens: tuple[str, ...],
    licenses: int | None,
    switches: tuple[str, ...],
    faults: tuple[str, ...],
    quiet: bool,
) -> int:
    """Run a wolkvox to rehearse on: it answers as wolkvox does, counts, and dials nobody."""
    from syncd.simulator import Fault, Settings, run

    try:
        settings = Settings(host=host, port=port)
        if tokens:
            settings = replace(settings, tokens=tokens)
        if licenses is not None:
            settings = replace(settings, licenses=licenses)
        settings = replace(settings.with_text(switches), faults=tuple(Fault.parse(text) for text in faults))
    except ValueError as error:
        click.echo(f"syncd: {error}", err=True)
        return EXIT_USAGE
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return run(settings, _silence if quiet else click.echo, stop)


def _silence(line: str) -> None:
    """What a quiet simulator says of a call."""


@click.command()
@click.option(
    "--leads", default=20_000, show_default=True, type=click.IntRange(100, 500_000), help="Leads to begin with."
)
@click.option(
    "--seconds", default=40.0, show_default=True, type=click.FloatRange(2, 3600), help="How long leads keep coming."
)
@click.option("--keep", type=click.Path(path_type=Path), help="A folder in which to leave configuration, ledger, logs.")
@json_option
def demo(leads: int, seconds: float, keep: Path | None, as_json: bool) -> int:
    """Show syncd at work for a minute, on this machine alone, and prove that every lead arrived exactly once."""
    from syncd.demo import Wishes, run

    return run(Wishes(leads, seconds, keep, as_json))


COMMANDS = (simulator, demo)
