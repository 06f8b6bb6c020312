"""`syncd recover`: after a ledger was restored."""

from __future__ import annotations

import os
import pwd
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from syncd.cli.options import config_option, json_option, loaded, print_json, print_table
from syncd.errors import EXIT_FAILED, LedgerError, LedgerUnavailable, SenderDeposed
from syncd.ledger import RENEW_SECS, Lease, open_ledger
from syncd.ledger.lease import this_process
from syncd.recovery import Recovery


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask before writing.")
@click.option(
    "--resend-changed", is_flag=True, help="Send the leads that wolkvox has with other values; else hold them."
)
@click.option("--emptied", is_flag=True, help="Send what is absent even where a campaign was emptied in wolkvox.")
@json_option
@config_option
def recover(own_config: Path | None, yes: bool, resend_changed: bool, emptied: bool, as_json: bool) -> int:
    """Make a restored ledger true again: ask wolkvox what it has, and go on from there. syncd must be stopped."""
    from syncd import assembly

    config, path = loaded(own_config)
    client = assembly.client(config, path)
    ledger = open_ledger(config, path, purpose="command")
    connections = assembly.CrmConnections(config, path)
    lease = Lease(ledger.home, time.time, this_process())
    try:
        with _kept(lease):

            def term() -> int:
                if lease.term is None:
                    raise SenderDeposed(
                        "Another syncd has become the sender of this ledger.", "Stop it, and run again."
                    )
                return lease.term

            witness = assembly.witness(config)
            recovery = Recovery(config, path, ledger, connections, client, witness, term, time.time)
            recovery.look()
            if not as_json:
                _tell(recovery, resend_changed=resend_changed, emptied=emptied)
            if not yes and not click.confirm("Write this, and let leads leave again?", err=True):
                return EXIT_FAILED
            recovery.write(pwd.getpwuid(os.getuid()).pw_name, resend_changed=resend_changed, emptied=emptied)
    finally:
        connections.close()
        ledger.close()
    if as_json:
        _print(recovery)
    else:
        click.echo("The ledger is true again. Start syncd.")
    return 0


@contextmanager
def _kept(lease: Lease) -> Iterator[None]:
    """The lease, renewed for as long as the block takes.

    Raises:
        LedgerError: another process has it.
    """
    if not lease.acquire():
        raise LedgerError(
            f"Another syncd sends for this ledger ({lease.other()}).", "Stop it (systemctl stop syncd), and run again."
        )
    done = threading.Event()

    def renew() -> None:
        while not done.wait(RENEW_SECS):
            try:
                if not lease.renew():
                    return
            except LedgerUnavailable:
                continue  # whoever needs the ledger meets the same

    thread = threading.Thread(target=renew, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        try:
            lease.release()
        except LedgerError:
            lease.close()


def _tell(recovery: Recovery, *, resend_changed: bool, emptied: bool) -> None:
    print_table(
        ("sync", "rows", "known as delivered", "found delivered", "to be sent" if resend_changed else "held", "absent"),
        [
            (
                one.sync,
                f"{one.rows:,}",
                f"{one.known:,}",
                f"{len(one.delivered):,}",
                f"{len(one.unsure):,}",
                f"{one.absent:,}",
            )
            for one in recovery.findings
        ],
        empty="No sync.",
    )
    fate = "will not be sent without --emptied" if recovery.emptied and not emptied else "will be sent"
    click.echo(f"{recovery.calls} calls were spent. wolkvox has none of the absent leads: they {fate}.")


def _print(recovery: Recovery) -> None:
    print_json(
        {
            "calls": recovery.calls,
            "syncs": [
                {
                    "name": one.sync,
                    "rows": one.rows,
                    "known": one.known,
                    "gone": one.gone,
                    "delivered": len(one.delivered),
                    "unsure": len(one.unsure),
                    "absent": one.absent,
                }
                for one in recovery.findings
            ],
        }
    )


COMMANDS = (recover,)
