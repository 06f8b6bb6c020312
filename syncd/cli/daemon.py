"""`syncd run` and `syncd status`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from syncd.cli.options import chosen, config_option, json_option, loaded, opened, print_json
from syncd.config import Config
from syncd.status import in_words, status_of


@click.command()
@config_option
def run(own_config: Path | None) -> int:
    """Run the daemon: capture leads and deliver them, until SIGTERM; SIGHUP reloads the configuration."""
    from syncd.daemon import run as run_daemon

    return run_daemon(chosen(own_config))


@click.command()
@config_option
@json_option
def status(own_config: Path | None, as_json: bool) -> int:
    """Say whether leads flow, how many wait, and how many calls are left."""
    config, _ = loaded(own_config)
    live = _ask_daemon(config)
    if live is not None:
        if as_json:
            print_json(live["json"])
        else:
            click.echo(live["words"], nl=False)
        return 0
    with opened(own_config) as (_, ledger):
        reason = "No syncd answers on http.listen; this is what the ledger says."
        found = status_of(config, ledger, time.time(), ready=False, state="stopped", reason=reason)
    if as_json:
        print_json(found.as_json(config.wolkvox.zone))
    else:
        click.echo(in_words(found, config.wolkvox.zone), nl=False)
    return 0


def _ask_daemon(config: Config) -> dict[str, Any] | None:
    """What the running daemon says, or None where none answers."""
    import requests

    if config.http.address is None:
        return None
    host, port = config.http.address
    base = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    try:
        with requests.Session() as session:
            session.trust_env = False
            found = session.get(f"{base}/status", timeout=5)
            words = session.get(f"{base}/", timeout=5)
            if found.status_code != 200 or words.status_code != 200:
                return None
            return {"json": found.json(), "words": words.text}
    except (requests.RequestException, ValueError):
        return None


COMMANDS = (run, status)
