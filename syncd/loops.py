"""The two loops of a sender, each in a thread of its own: they turn, wait, and turn again.

Intake waits for whatever arrives by itself, on any of its sources' connections, and for what is due by the clock.

Shared between the threads: `Loops.wake`, by which intake tells delivery that leads have come; `failure` and `beats`,
which the main thread reads; and a pipe that ends intake's wait when the loops are to stop.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable, Sequence

import structlog

from syncd.delivery import Delivery, DeliveryResult
from syncd.errors import LedgerUnavailable
from syncd.intake import Intake, IntakeResult
from syncd.model import Clock, Instant
from syncd.verify import Verifier, VerifyResult

RETRY_SECS = 5.0
"""A ledger that does not answer is asked again after this long."""
_LONGEST_SLEEP_SECS = 60.0
_VERIFY_SECS = 60.0
"""However busy delivery is, verification has a turn so often."""


class Loops:
    """The two loops of a sender, each in its thread.

    Args:
        heard: is told of each turn's result, in the thread of its loop.
    """

    def __init__(
        self,
        intakes: Sequence[Intake],
        delivery: Delivery,
        verifier: Verifier,
        clock: Clock,
        heard_intake: Callable[[IntakeResult], None],
        heard_delivery: Callable[[DeliveryResult], None],
        heard_verify: Callable[[VerifyResult], None],
    ) -> None:
        self._intakes = list(intakes)
        self.delivery = delivery
        self._verifier = verifier
        self._clock = clock
        self._heard_intake = heard_intake
        self._heard_delivery = heard_delivery
        self._heard_verify = heard_verify
        self._stopping = threading.Event()
        self._stopped, self._stop = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.wake = threading.Event()
        for intake in self._intakes:
            intake.captured = self.wake.set
        self.failure: BaseException | None = None
        self.beats = {"intake": time.monotonic(), "delivery": time.monotonic()}
        self._verified_at: Instant = clock()  # delivery's thread alone
        self._turns = 0
        self._turned: dict[Intake, int] = {}  # which turn was an intake's last; intake's thread alone
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
        os.write(self._stop, b"!")
        self.wake.set()
        for thread in self._threads:
            while thread.is_alive():
                thread.join(1.0)
                meanwhile()
        for intake in self._intakes:
            intake.source.close()
        os.close(self._stop)
        os.close(self._stopped)

    @property
    def troubles(self) -> list[str]:
        """What keeps each sync's intake from reading."""
        return [str(intake.trouble) for intake in self._intakes if intake.trouble is not None]

    @property
    def remarks(self) -> dict[str, str]:
        """What there is to say of each sync's intake, where there is something."""
        return {intake.sync: intake.remark for intake in self._intakes if intake.remark is not None}

    def _guarded(self, loop: Callable[[], None]) -> None:
        try:
            loop()
        except BaseException as error:  # noqa: BLE001  # whatever it is, the main thread ends the process with it
            self.failure = error

    def _intake(self) -> None:
        log = structlog.get_logger()
        while not self._stopping.is_set():
            self.beats["intake"] = time.monotonic()
            due, wait = self._next_intake()
            if wait > 0:
                # A clock that is set back must not stop the looks.
                self._hear(min(wait, RETRY_SECS))
                continue
            self._turns += 1
            self._turned[due] = self._turns
            try:
                result = due.run_once()
            except LedgerUnavailable as error:
                log.error("ledger.unavailable", reason=str(error), loop="intake")
                self._stopping.wait(RETRY_SECS)
                continue
            self._heard_intake(result)

    def _next_intake(self) -> tuple[Intake, float]:
        """Whose turn it is, and in how many seconds; of several that are due, the one that has waited longest."""
        now = self._clock()
        at = {intake: intake.due_at(now) for intake in self._intakes}
        due = [intake for intake in self._intakes if at[intake] <= now]
        if due:
            return min(due, key=lambda intake: self._turned.get(intake, 0)), 0.0
        first = min(self._intakes, key=lambda intake: at[intake])
        return first, at[first] - now

    def _hear(self, secs: float) -> None:
        """Wait until something arrives from a CRM, or the loops are to stop; so long at most."""
        waiting = select.poll()
        waiting.register(self._stopped, select.POLLIN)
        for number in {intake.source.fileno() for intake in self._intakes if intake.trouble is None} - {None}:
            assert number is not None
            waiting.register(number, select.POLLIN)
        waiting.poll(secs * 1000)

    def _deliver(self) -> None:
        log = structlog.get_logger()
        while not self._stopping.is_set():
            self.beats["delivery"] = time.monotonic()
            self.wake.clear()
            try:
                next_at = self._deliver_once()
            except LedgerUnavailable as error:
                log.error("ledger.unavailable", reason=str(error), loop="delivery")
                self._stopping.wait(RETRY_SECS)
                continue
            wait = next_at - self._clock()
            if wait > 0:
                self.wake.wait(min(wait, _LONGEST_SLEEP_SECS))

    def _deliver_once(self) -> Instant:
        """A turn of delivery, and one of verification where no call was made, or none was for long; when to go on."""
        result = self.delivery.run_once()
        self._heard_delivery(result)
        if self.delivery.distrusts_ledger:
            return result.next_at  # what it calls unknown may be known by now
        now = self._clock()
        if result.call is not None and 0 <= now - self._verified_at < _VERIFY_SECS:
            return result.next_at
        self._verified_at = now
        verified = self._verifier.run_once()
        self._heard_verify(verified)
        return result.next_at if verified.next_at is None else min(result.next_at, verified.next_at)
