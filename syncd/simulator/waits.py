"""Where a handler waits: until the time is over, until it is told, or until the simulator stops."""

import threading


class StoppedError(Exception):
    """The simulator stops: unwind."""


class Waits:
    """Waits of all handlers, which one call ends."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._released = 0
        self._stopped = False

    def pause(self, seconds: float) -> None:
        """Wait so many real seconds. Raises StoppedError."""
        with self._changed:
            if seconds > 0:
                self._changed.wait_for(lambda: self._stopped, seconds)
            if self._stopped:
                raise StoppedError

    def arrival(self) -> int:
        """A mark of now, for ``hang``: take it before anybody can know of the call that may hang."""
        with self._changed:
            return self._released

    def hang(self, seconds: float, arrival: int) -> None:
        """Wait until a ``release`` later than ``arrival``, or so many real seconds if not 0.

        A release that came between the arrival and this wait counts: else it would be lost. Raises StoppedError.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._released > arrival, seconds or None)
            if self._stopped:
                raise StoppedError

    def release(self) -> None:
        """End every hang of the calls that have arrived."""
        with self._changed:
            self._released += 1
            self._changed.notify_all()

    def stop(self) -> None:
        """End every wait, now and from now on."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def restart(self) -> None:
        """Allow waits again."""
        with self._changed:
            self._stopped = False
