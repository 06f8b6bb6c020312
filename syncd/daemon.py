"""The daemon: wires the parts, starts, stops and reloads them. It decides nothing.

Threads: *intake* and *delivery* (`loops`), *web* (`web`), and the main thread, which keeps the lease, speaks to
systemd and waits for signals. They share the ledger, whose methods are transactions, and values that are replaced
whole (`Delivery.standing`, `Intake.trouble`, the beats).
"""

from __future__ import annotations

import resource
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog

from syncd import __version__, assembly
from syncd.config import Config, load
from syncd.delivery import DeliveryResult, Standing
from syncd.errors import EXIT_FAILED, EXIT_OK, ConfigError, LedgerError, LedgerUnavailable, SenderDeposed, SyncdError
from syncd.intake import IntakeResult
from syncd.ledger import RENEW_SECS, Lease, Ledger, open_ledger
from syncd.ledger.lease import this_process
from syncd.logs import LogListener, configure
from syncd.loops import Loops
from syncd.metrics import Metrics
from syncd.model import Clock
from syncd.signals import Signals
from syncd.status import Status, in_words, status_of
from syncd.systemd import Notifier
from syncd.verify import VerifyResult
from syncd.web import Pages, WebServer
from syncd.witness import Guard

_RETRY_SECS = 5.0
_STANDBY_SECS = 2.0
_TICK_SECS = 0.5
_SWITCH_SECS = 0.001
_STUCK_SECS = 120.0
"""Beyond the longest call: a loop that has not turned for so long is stuck."""


class Daemon:
    """One life of `syncd run`, from a configuration to the next.

    Args:
        config_file: looked at again upon SIGHUP.
    """

    def __init__(self, config: Config, config_file: Path, signals: Signals, notifier: Notifier, clock: Clock) -> None:
        self._config = config
        self._config_file = config_file
        self._signals = signals
        self._notifier = notifier
        self._clock = clock
        self._log = structlog.get_logger()
        self._standing = Standing("starting", "syncd is starting.")
        self._lease: Lease | None = None
        self._loops: Loops | None = None
        self._ledger: Ledger | None = None
        self._guard: Guard | None = None
        self._connections: assembly.CrmConnections | None = None

    def run(self) -> Config | None:
        """Work until a signal; the configuration to go on with after SIGHUP, or None at the end.

        Raises:
            SyncdError: what keeps it from working at all.
        """
        client = assembly.client(self._config, self._config_file)
        assembly.crm_password(self._config, self._config_file)
        ledger = self._open_ledger()
        if not isinstance(ledger, Ledger):
            return ledger
        self._ledger = ledger
        metrics = Metrics(
            [sync.name for sync in self._config.sync], self.status, lambda: self._loops is not None, self._clock
        )
        address = self._config.http.address
        web = WebServer(address, self._pages(metrics)) if address else None
        lease = self._lease = Lease(ledger.home, self._clock, this_process())
        try:
            self._log.info("daemon.started", version=__version__, ledger=ledger.home.where)
            for sync in self._config.sync:
                if sync.join:
                    self._log.info("sync.joins", sync=sync.name, tables=[join.table for join in sync.join])
            while not self._stand_by(lease):
                if (following := self._next()) is not None or self._signals.stop:
                    return following
            self._recover(ledger, lease)
            self._mistrust(ledger)
            self._loops = self._build_loops(ledger, client, metrics)
            self._loops.start()
            self._notifier.ready("Leads are looked for.")
            self._log.info("sender.began", term=lease.term)
            return self._watch(lease, self._loops)
        finally:
            self._end(lease, web)

    def _open_ledger(self) -> Ledger | Config | None:
        """The ledger, waited for while it does not answer; or what `_next` says, where a signal came first."""
        said = False
        while True:
            try:
                return open_ledger(self._config, self._config_file, purpose="ledger")
            except LedgerUnavailable as error:
                if self._config.ledger.is_sqlite:
                    raise
                self._log.error("ledger.unavailable", reason=str(error), loop="start")
                if not said:
                    said = True
                    self._notifier.ready(str(error))  # else systemd would end the wait as a start that failed
                self._notifier.alive()
                if self._signals.wait(_RETRY_SECS):
                    following = self._next()
                    if following is not None or self._signals.stop:
                        return following

    def _stand_by(self, lease: Lease) -> bool:
        """Wait until this process may send; False where a signal came first."""
        said = False
        while not self._signals.pending:
            try:
                if lease.acquire():
                    return True
                if not said:
                    said = True
                    reason = f"Another syncd sends for this ledger ({lease.other()}); this one takes over if it ends."
                    self._standing = Standing("standby", reason)
                    self._log.info("sender.standby", reason=reason)
                    self._notifier.ready("Standing by.")
            except LedgerUnavailable as error:
                self._log.error("ledger.unavailable", reason=str(error), loop="lease")
            self._notifier.alive()
            self._signals.wait(_STANDBY_SECS)
        return False

    def _recover(self, ledger: Ledger, lease: Lease) -> None:
        assert lease.term is not None
        for call_id, leads in ledger.give_up_intended(lease.term, self._clock()):
            self._log.warning(
                "call.unresolved", call=call_id, leads=leads, reason="syncd ended while this call was under way"
            )

    def _mistrust(self, ledger: Ledger) -> None:
        """Compare the ledger with its witness; where it was restored, delivery says so at every turn."""
        self._guard = Guard(ledger, assembly.witness(self._config))
        if (warning := self._guard.begin()) is not None:
            self._log.warning("ledger.witness", reason=warning)

    def _build_loops(self, ledger: Ledger, client: Any, metrics: Metrics) -> Loops:
        self._connections = connections = assembly.CrmConnections(self._config, self._config_file)
        lease = self._lease
        assert lease is not None

        def term() -> int:
            if lease.term is None:
                raise SenderDeposed("Another syncd has become the sender of this ledger.")
            return lease.term

        listener = LogListener()

        def heard_intake(result: IntakeResult) -> None:
            listener.intake(result)
            metrics.intake(result)

        def heard_delivery(result: DeliveryResult) -> None:
            listener.delivery(result)
            metrics.delivery(result)

        def heard_verify(result: VerifyResult) -> None:
            listener.verify(result)
            metrics.verify(result)

        delivery, verifier = assembly.sending(
            self._config, ledger, connections.delivery, client, term, self._clock, self._guard
        )
        return Loops(
            assembly.intakes(self._config, ledger, connections, self._clock),
            delivery,
            verifier,
            self._clock,
            heard_intake,
            heard_delivery,
            heard_verify,
        )

    def _watch(self, lease: Lease, loops: Loops) -> Config | None:
        """Keep the lease and the watchdog until a signal, or until a loop fails."""
        renewed = time.monotonic()
        while True:
            self._signals.wait(_TICK_SECS)
            if loops.failure is not None:
                raise loops.failure
            if self._signals.pending and ((following := self._next()) or self._signals.stop):
                return following
            if time.monotonic() - renewed >= RENEW_SECS:
                renewed = time.monotonic()
                self._renew(lease)
            if self.alive()[0]:
                self._notifier.alive()
            self._notifier.status(f"{loops.delivery.standing.state}: {loops.delivery.standing.reason}")

    def _renew(self, lease: Lease) -> None:
        try:
            if not lease.renew():
                raise SenderDeposed("Another syncd has become the sender of this ledger; this one ends.")
        except LedgerUnavailable as error:
            self._log.error("ledger.unavailable", reason=str(error), loop="lease")

    def _next(self) -> Config | None:
        """What a signal asks for: the configuration to go on with, or None to go on (or to end) as it is."""
        if self._signals.stop:
            return None
        self._signals.reload = False
        self._notifier.reloading()
        try:
            config = load(self._config_file)
            assembly.client(config, self._config_file)
            assembly.crm_password(config, self._config_file)
            assembly.ledger_secrets(config, self._config_file)
        except ConfigError as error:
            self._log.error("daemon.reload_refused", problems=list(error.problems))
            self._notifier.ready("The new configuration was refused; the old one stays.")
            return None
        self._log.info("daemon.reloading")
        return config

    def _end(self, lease: Lease, web: WebServer | None) -> None:
        if self._signals.stop:
            self._notifier.stopping(self._config.wolkvox.call_timeout_secs + 30)
        if self._loops is not None:
            self._loops.stop(self._notifier.alive)
        if self._connections is not None:
            self._connections.close()
        try:
            lease.release()
        except LedgerError as error:
            self._log.error("ledger.unavailable", reason=str(error), loop="end")
            lease.close()
        if web is not None:
            web.close()
        assert self._ledger is not None
        self._ledger.close()

    # -- what the pages show ---------------------------------------------------------------------------------

    def status(self) -> Status:
        """The status, as of now.

        Raises:
            LedgerError: the ledger does not answer.
        """
        loops, standing = self._loops, self._standing
        if loops is not None:
            standing = loops.delivery.standing
            troubles = loops.troubles
            if troubles:
                standing = Standing("held" if standing.state == "idle" else standing.state, " ".join(troubles))
        assert self._ledger is not None
        ready = standing.state != "starting" and self.alive()[0]
        return status_of(
            self._config,
            self._ledger,
            self._clock(),
            ready=ready,
            state=standing.state,
            reason=standing.reason,
            remarks=loops.remarks if loops is not None else None,
        )

    def alive(self) -> tuple[bool, str]:
        """Whether the loops turn, and a sentence."""
        if self._loops is None:
            return True, self._standing.reason
        limit = self._config.wolkvox.call_timeout_secs + _STUCK_SECS
        for name, beat in self._loops.beats.items():
            silent = time.monotonic() - beat
            if silent > limit:
                return False, f"The {name} loop has not turned for {silent:.0f} seconds."
        return True, "The loops turn."

    def _pages(self, metrics: Metrics) -> Pages:
        zone = self._config.wolkvox.zone
        return Pages(
            metrics=metrics.exposition,
            alive=self.alive,
            status=lambda: self.status().as_json(zone),
            words=lambda: in_words(self.status(), zone),
        )


def _leave_no_core() -> None:
    """Let no crash write the memory, which holds the token and leads, to the disk; not only under systemd.

    The limit stops the kernel's own files. A program that /proc/sys/kernel/core_pattern pipes to is started whatever
    the limit (core(5)), so the filter leaves the memory out of what it gets. Not PR_SET_DUMPABLE: /proc/PID would turn
    root's, and an operator could no longer look at syncd (py-spy, the open files) as the user that it runs as.
    """
    with suppress(OSError, ValueError):  # not allowed to: it works all the same
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):  # no Linux, or no /proc
        Path("/proc/self/coredump_filter").write_text("0", encoding="ascii")


def run(config_file: Path, clock: Clock = time.time) -> int:
    """`syncd run`: load, work, reload, end; returns the exit status.

    Raises:
        SyncdError: what keeps it from working at all.
    """
    _leave_no_core()
    config = load(config_file)
    configure(config.log.format, config.log.level)
    # A thread that has been woken by a new lead must not wait for another one's Python for 5 ms, as is the default.
    sys.setswitchinterval(_SWITCH_SECS)
    signals, notifier = Signals(), Notifier()
    signals.install()
    following: Config | None = config
    while following is not None and not signals.stop:
        config = following
        configure(config.log.format, config.log.level)
        try:
            following = Daemon(config, config_file, signals, notifier, clock).run()
        except SyncdError as error:
            structlog.get_logger().error("daemon.failed", reason=str(error))
            raise
        except Exception as error:  # noqa: BLE001  # a fault of ours: say where, and not with which values
            where = [
                f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)
            ]
            structlog.get_logger().critical("daemon.failed", reason=type(error).__name__, where=where[-12:])
            return EXIT_FAILED
    structlog.get_logger().info("daemon.stopped")
    return EXIT_OK if signals.stop else EXIT_FAILED
