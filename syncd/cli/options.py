"""What the commands share: options, the configuration, tables and JSON."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import click
import orjson

from syncd.config import Config, Sync, config_path, load
from syncd.errors import UnknownName
from syncd.ledger import Ledger, open_ledger
from syncd.model import Instant

F = TypeVar("F", bound=Callable[..., Any])


def config_option(command: F) -> F:
    """``--config`` after the command as well as before it."""
    return click.option("--config", "own_config", type=click.Path(path_type=Path), help="The configuration.")(command)


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def chosen(own_config: Path | None) -> Path:
    """The configuration file that was asked for, wherever the option stood."""
    return config_path(own_config or click.get_current_context().obj)


def loaded(own_config: Path | None) -> tuple[Config, Path]:
    """The configuration, and its file."""
    path = chosen(own_config)
    return load(path), path


@contextmanager
def opened(own_config: Path | None) -> Iterator[tuple[Config, Ledger]]:
    """The configuration and its ledger, which must be there already."""
    config, path = loaded(own_config)
    ledger = open_ledger(config, path, purpose="command", tables="require")
    try:
        yield config, ledger
    finally:
        ledger.close()


def sync_named(config: Config, name: str) -> Sync:
    """The configured sync of that name.

    Raises:
        UnknownName: there is none.
    """
    for sync in config.sync:
        if sync.name == name:
            return sync
    raise UnknownName(
        f'The configuration has no sync "{name}".', f"It has: {', '.join(sync.name for sync in config.sync)}."
    )


def print_json(value: Any) -> None:
    """Print a value as JSON, indented for the eye."""
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def print_table(head: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str) -> None:
    """Print a table that fits the terminal; in a pipe, as wide as it needs."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    rows = list(rows)
    if not rows:
        click.echo(empty)
        return
    table = Table(*head, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    console = Console(width=None if sys.stdout.isatty() else 400, highlight=False, markup=False, emoji=False)
    console.print(table)


def local(instant: Instant | None, zone: ZoneInfo) -> str:
    """An instant for a person, in the operation's zone."""
    return "" if instant is None else f"{datetime.fromtimestamp(instant, zone):%Y-%m-%d %H:%M:%S}"
