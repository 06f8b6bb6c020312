"""Simulator: threads and sockets around the rest."""

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Callable
from typing import Self

from syncd.simulator.calls import Calls
from syncd.simulator.campaigns import Campaigns
from syncd.simulator.control import PREFIX, Control
from syncd.simulator.exchange import Exchanges
from syncd.simulator.faults import Fault, Script
from syncd.simulator.gate import Gate
from syncd.simulator.replies import Reply
from syncd.simulator.settings import Settings
from syncd.simulator.state import State
from syncd.simulator.waits import StoppedError, Waits
from syncd.simulator.wire import BadRequestError, GoneError, Head, Line, render

_BACKLOG = 128
_STOP_SECS = 10.0  # a handler that takes longer to end is a bug
_PAGES = ("/api/v2/campaign.php", "/api/v2/information.php")


class Simulator:
    """A wolkvox on loopback. A context manager. Started again after a stop, it has its port and counts.

    clock: seconds since the epoch, for the quota day and the dates of records; faults wait in real time.
    log: called with one line for each call; the line holds no field of a lead and no token.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        clock: Callable[[], float] = time.time,
        log: Callable[[str], None] | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self._port = self.settings.port
        gate = Gate(self.settings, clock)
        campaigns = Campaigns(self.settings)
        self._script = Script()
        self._script.add(self.settings.faults)
        self._waits = Waits()
        self.state = State(self.settings, gate, campaigns, self._script)
        self._control = Control(gate, campaigns, self._script, self.state, self._waits)
        calls = Calls(self.settings, campaigns, gate, clock)
        self._exchanges = Exchanges(
            self.settings, gate, calls, campaigns, self._script, self.state, self._waits, clock, log
        )
        # Of a running simulator, touched by start and stop alone:
        self._acceptor: threading.Thread | None = None
        self._wake: socket.socket | None = None
        # Its connections, behind the lock:
        self._lock = threading.Lock()
        self._open: dict[threading.Thread, socket.socket] = {}

    @property
    def base_url(self) -> str:
        """Where it listens, such as http://127.0.0.1:8642, known once it has been started."""
        host = f"[{self.settings.host}]" if ":" in self.settings.host else self.settings.host
        return f"http://{host}:{self._port}"

    @property
    def port(self) -> int:
        """The port it listens on; 0 before the first start if it is to take a free one."""
        return self._port

    def start(self) -> "Simulator":
        """Listen. Raises OSError if the address is taken, RuntimeError if it runs already."""
        if self._acceptor is not None:
            raise RuntimeError("this simulator runs already")
        family = socket.AF_INET6 if ":" in self.settings.host else socket.AF_INET
        listener = socket.create_server((self.settings.host, self._port), family=family, backlog=_BACKLOG)
        self._port = listener.getsockname()[1]
        self._waits.restart()
        self._wake, woken = socket.socketpair()
        self._acceptor = threading.Thread(target=self._accept, args=(listener, woken), name="simulator", daemon=True)
        self._acceptor.start()
        return self

    def stop(self) -> None:
        """Close every connection, end every thread. What was counted stays. A second time does nothing.

        Raises RuntimeError if a thread does not end.
        """
        if self._acceptor is None or self._wake is None:
            return
        self._waits.stop()
        self._wake.close()
        self._acceptor.join()  # from here on nobody connects
        with self._lock:
            handlers = dict(self._open)
        for connection in handlers.values():
            _shut(connection)
        until = time.monotonic() + _STOP_SECS
        for handler in handlers:
            handler.join(max(0.0, until - time.monotonic()))
        self._acceptor = self._wake = None
        if any(handler.is_alive() for handler in handlers):
            raise RuntimeError("a connection of the simulator did not end")

    def __enter__(self) -> Self:
        if self._acceptor is None:
            self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def script(self, *faults: Fault) -> None:
        """Put faults at the end of the line."""
        self._script.add(faults)

    def clear_faults(self) -> None:
        """Forget the faults to come, and let hanging calls go on."""
        self._control.clear_faults()

    def release(self) -> None:
        """Let hanging calls go on; faults to come stay."""
        self._waits.release()

    def set_quota_used(self, units: int) -> None:
        """Pretend that so many units were spent today."""
        self._control.set_quota_used(units)

    def reset(self) -> None:
        """As freshly started: no record, no count, no fault, no unit spent."""
        self._control.reset()

    def _accept(self, listener: socket.socket, woken: socket.socket) -> None:
        with listener, woken, selectors.DefaultSelector() as selector:
            listener.setblocking(False)
            selector.register(listener, selectors.EVENT_READ)
            selector.register(woken, selectors.EVENT_READ)
            while True:
                if any(key.fileobj is woken for key, _ in selector.select()):
                    return
                try:
                    connection, _ = listener.accept()
                except OSError:  # the client went away before it was let in
                    continue
                connection.setblocking(True)
                handler = threading.Thread(
                    target=self._handle, args=(connection,), name="simulator-connection", daemon=True
                )
                with self._lock:
                    self._open[handler] = connection
                handler.start()

    def _handle(self, connection: socket.socket) -> None:
        try:
            with connection, Line(connection) as line:
                self._converse(line)
        except (
            OSError,
            GoneError,
            StoppedError,
        ):  # the client went away, or the simulator stops: nobody to tell
            pass
        finally:
            with self._lock:
                del self._open[threading.current_thread()]

    def _converse(self, line: Line) -> None:
        try:
            while (head := line.read_head()) is not None:
                if head.path in _PAGES:
                    goes_on = self._exchanges.serve(line, head)
                else:
                    goes_on = self._serve_page(line, head)
                if not goes_on:
                    return
        except BadRequestError as error:
            line.send(render(_plain(error.status, str(error)), keep_alive=False))

    def _serve_page(self, line: Line, head: Head) -> bool:
        body = line.read_body(head)
        if head.path.startswith(PREFIX):
            reply = self._control.answer(head, body)
        else:
            reply = _plain(404, "there is nothing here; wolkvox's calls are under /api/v2/")
        line.send(render(reply, keep_alive=head.keep_alive))
        return head.keep_alive


def run(
    settings: Settings,
    log: Callable[[str], None],
    stop: threading.Event,
    clock: Callable[[], float] = time.time,
) -> int:
    """Run a simulator until ``stop`` is set, by a signal's handler say; the exit status (1: cannot listen).

    log: called with one line for each call, and a few around them.
    """
    simulator = Simulator(settings, clock, log)
    try:
        simulator.start()
    except OSError as error:
        reason = error.strerror or str(error)
        log(f"cannot listen on {settings.host} port {settings.port}: {reason}; choose another with --port")
        return 1
    with simulator:
        campaigns = ", ".join(f"{number} ({kind})" for number, kind in settings.campaigns.items())
        log(f"wolkvox simulator listens on {simulator.base_url}")
        log(
            f"server {settings.server}, campaigns {campaigns}, {settings.quota} calls a day; "
            f"counts are at {PREFIX}state"
        )
        stop.wait()
    state = simulator.state
    accepted = sum(each.accepted for each in state.campaigns())
    log(f"stopped after {sum(state.calls().values())} calls and {accepted} records accepted")
    return 0


def _plain(status: int, text: str) -> Reply:
    return Reply(status, f"{text}\n".encode(), content_type="text/plain; charset=utf-8")


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it was closed meanwhile
        connection.shutdown(socket.SHUT_RDWR)
