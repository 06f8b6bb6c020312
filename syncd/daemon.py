"""The daemon: wires the parts, starts, stops and reloads them. It decides nothing.

Threads: *intake* turns every sync's intake, *delivery* sends, *web* serves the pages, and the main thread keeps the
lease, speaks to systemd and waits for signals. They share the ledger, whose methods are transactions; `Loops.wake`,
by which intake tells delivery that leads have come; and values that are replaced whole (`Delivery.standing`,
`Intake.trouble`, the beats).
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import structlog

from syncd import __version__, assembly
from syncd.config import Config, load
from syncd.delivery import Delivery, DeliveryResult, Standing
from syncd.errors import EXIT_FAILED, EXIT_OK, ConfigError, LedgerError, LedgerUnavailable, SenderDeposed
from syncd.intake import Intake, IntakeResult
from syncd.ledger import RENEW_SECS, Lease, Ledger, open_ledger
from syncd.ledger.lease import this_process
from syncd.logs import LogListener, configure
from syncd.metrics import Metrics
from syncd.model import Clock
from syncd.status import Status, in_words, status_of
from syncd.systemd import Notifier
from syncd.web import Pages, WebServer

_RETRY_SECS = 5.0
_STANDBY_SECS = 2.0
_TICK_SECS = 0.5
_STUCK_SECS = 120.0
"""Beyond the longest call: a loop that has not turned for so long is stuck."""


class Signals:
    """SIGTERM, SIGINT and SIGHUP as flags; handlers set them and do nothing else."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.reload = threading.Event()
        self.either = threading.Event()

    def install(self) -> None:
        """Catch the signals; only the main thread may."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, self._reload)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stop.set()
        self.either.set()

    def _reload(self, number: int, frame: FrameType | None) -> None:
        self.reload.set()
        self.either.set()


class Loops:
    """The two loops of a sender, each in its thread.

    Args:
        heard: is told of each turn's result, in the thread of its loop.
    """

    def __init__(
        self,
        intakes: Sequence[Intake],
        delivery: Delivery,
        clock: Clock,
        heard_intake: Callable[[IntakeResult], None],
        heard_delivery: Callable[[DeliveryResult], None],
    ) -> None:
        self._intakes = list(intakes)
        self.delivery = delivery
        self._clock = clock
        self._heard_intake = heard_intake
        self._heard_delivery = heard_delivery
        self._stopping = threading.Event()
        self.wake = threading.Event()
        self.failure: BaseException | None = None
        self.beats = {"intake": time.monotonic(), "delivery": time.monotonic()}
        self._threads = [
            threading.Thread(target=self._guarded, args=(turn,), name=name, daemon=True)
            for name, turn in (("intake", self._intake), ("delivery", self._deliver))
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Finish the turn that each loop is in, the call in flight included."""
        self._stopping.set()
        self.wake.set()
        for thread in self._threads:
            thread.join()

    @property
    def troubles(self) -> list[str]:
        """What keeps each sync's intake from reading."""
        return [str(intake.trouble) for intake in self._intakes if intake.trouble is not None]

    def _guarded(self, loop: Callable[[], None]) -> None:
        try:
            loop()
        except BaseException as error:  # noqa: BLE001  # whatever it is, the main thread ends the process with it
            self.failure = error

    def _intake(self) -> None:
        log = structlog.get_logger()
        while not self._stopping.is_set():
            self.beats["intake"] = time.monotonic()
            now = self._clock()
            due = min(self._intakes, key=lambda intake: now if intake.wants_sweep else intake.next_at)
            wait = 0.0 if due.wants_sweep else due.next_at - now
            # A clock that is set back must not stop the polls.
            if wait > 0 and self._stopping.wait(min(wait, _RETRY_SECS)):
                return
            if wait > _RETRY_SECS:
                continue
            try:
                result = due.run_once()
            except LedgerUnavailable as error:
                log.error("ledger.unavailable", reason=str(error), loop="intake")
                self._stopping.wait(_RETRY_SECS)
                continue
            self._heard_intake(result)
            if result.new or result.again:
                self.wake.set()

    def _deliver(self) -> None:
        log = structlog.get_logger()
        while not self._stopping.is_set():
            self.beats["delivery"] = time.monotonic()
            self.wake.clear()
            try:
                result = self.delivery.run_once()
            except LedgerUnavailable as error:
                log.error("ledger.unavailable", reason=str(error), loop="delivery")
                self._stopping.wait(_RETRY_SECS)
                continue
            self._heard_delivery(result)
            wait = result.next_at - self._clock()
            if wait > 0:
                self.wake.wait(min(wait, _RETRY_SECS * 12))


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

    def run(self) -> Config | None:
        """Work until a signal; the configuration to go on with after SIGHUP, or None at the end.

        Raises:
            SyncdError: what keeps it from working at all.
        """
        client = assembly.client(self._config, self._config_file)
        assembly.crm_password(self._config, self._config_file)
        self._ledger = ledger = self._open_ledger()
        if ledger is None:
            return None
        metrics = Metrics(
            [sync.name for sync in self._config.sync], self.status, lambda: self._loops is not None, self._clock
        )
        address = self._config.http.address
        web = WebServer(address, self._pages(metrics)) if address else None
        lease = self._lease = Lease(ledger.home, self._clock, this_process())
        try:
            self._log.info("daemon.started", version=__version__, ledger=ledger.home.where)
            while not self._stand_by(lease):
                if (following := self._next()) is not None or self._signals.stop.is_set():
                    return following
            self._recover(ledger, lease)
            self._loops = self._build_loops(ledger, client, metrics)
            self._loops.start()
            self._notifier.ready("Leads are looked for.")
            self._log.info("sender.began", term=lease.term)
            return self._watch(lease, self._loops)
        finally:
            self._end(lease, web)

    def _open_ledger(self) -> Ledger | None:
        """The ledger, waited for while it does not answer; None where the end came first."""
        while True:
            try:
                return open_ledger(self._config, self._config_file, purpose="ledger")
            except LedgerUnavailable as error:
                if self._config.ledger.is_sqlite:
                    raise
                self._log.error("ledger.unavailable", reason=str(error), loop="start")
                self._notifier.status(str(error))
                if self._signals.either.wait(_RETRY_SECS):
                    return None

    def _stand_by(self, lease: Lease) -> bool:
        """Wait until this process may send; False where a signal came first."""
        said = False
        while not self._signals.either.is_set():
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
            self._signals.either.wait(_STANDBY_SECS)
        return False

    def _recover(self, ledger: Ledger, lease: Lease) -> None:
        assert lease.term is not None
        for call_id, leads in ledger.give_up_intended(lease.term, self._clock()):
            self._log.warning(
                "call.unresolved", call=call_id, leads=leads, reason="syncd ended while this call was under way"
            )

    def _build_loops(self, ledger: Ledger, client: Any, metrics: Metrics) -> Loops:
        connections = [
            assembly.crm_connection(self._config, self._config_file, purpose) for purpose in ("capture", "delivery")
        ]
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

        return Loops(
            assembly.intakes(self._config, ledger, connections[0], self._clock),
            assembly.delivery(self._config, ledger, connections[1], client, term, self._clock),
            self._clock,
            heard_intake,
            heard_delivery,
        )

    def _watch(self, lease: Lease, loops: Loops) -> Config | None:
        """Keep the lease and the watchdog until a signal, or until a loop fails."""
        renewed = time.monotonic()
        while True:
            self._signals.either.wait(_TICK_SECS)
            if loops.failure is not None:
                raise loops.failure
            if self._signals.either.is_set() and ((following := self._next()) or self._signals.stop.is_set()):
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
        self._signals.either.clear()
        if self._signals.stop.is_set():
            return None
        self._signals.reload.clear()
        self._notifier.reloading()
        try:
            config = load(self._config_file)
            assembly.client(config, self._config_file)
            assembly.crm_password(config, self._config_file)
        except ConfigError as error:
            self._log.error("daemon.reload_refused", problems=list(error.problems))
            self._notifier.ready("The new configuration was refused; the old one stays.")
            return None
        self._log.info("daemon.reloading")
        return config

    def _end(self, lease: Lease, web: WebServer | None) -> None:
        if self._signals.stop.is_set():
            self._notifier.stopping(self._config.wolkvox.call_timeout_secs + 30)
        if self._loops is not None:
            self._loops.stop()
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
            self._config, self._ledger, self._clock(), ready=ready, state=standing.state, reason=standing.reason
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


def run(config_file: Path, clock: Clock = time.time) -> int:
    """`syncd run`: load, work, reload, end; returns the exit status.

    Raises:
        SyncdError: what keeps it from working at all.
    """
    config = load(config_file)
    configure(config.log.format, config.log.level)
    signals, notifier = Signals(), Notifier()
    signals.install()
    following: Config | None = config
    while following is not None and not signals.stop.is_set():
        config = following
        configure(config.log.format, config.log.level)
        following = Daemon(config, config_file, signals, notifier, clock).run()
    structlog.get_logger().info("daemon.stopped")
    return EXIT_OK if signals.stop.is_set() else EXIT_FAILED
