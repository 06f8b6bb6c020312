"""The two loops of a sender, each in a thread of its own: they turn, wait, and turn again.

Shared between the threads: `Loops.wake`, by which intake tells delivery that leads have come; `failure` and `beats`,
which the main thread reads.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import structlog

from syncd.delivery import Delivery, DeliveryResult
from syncd.errors import LedgerUnavailable
from syncd.intake import Intake, IntakeResult
from syncd.model import Clock

RETRY_SECS = 5.0
"""A ledger that does not answer is asked again after this long."""
_LONGEST_SLEEP_SECS = 60.0


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

    def stop(self, meanwhile: Callable[[], None]) -> None:
        """Finish the turn that each loop is in, the call in flight included; `meanwhile` is called every second."""
        self._stopping.set()
        self.wake.set()
        for thread in self._threads:
            while thread.is_alive():
                thread.join(1.0)
                meanwhile()

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
            if wait > 0 and self._stopping.wait(min(wait, RETRY_SECS)):
                return
            if wait > RETRY_SECS:
                continue
            try:
                result = due.run_once()
            except LedgerUnavailable as error:
                log.error("ledger.unavailable", reason=str(error), loop="intake")
                self._stopping.wait(RETRY_SECS)
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
                self._stopping.wait(RETRY_SECS)
                continue
            self._heard_delivery(result)
            wait = result.next_at - self._clock()
            if wait > 0:
                self.wake.wait(min(wait, _LONGEST_SLEEP_SECS))
