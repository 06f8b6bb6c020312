"""A server that does whatever a test says with each connection: canned bytes, silence, a cut line."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Behaviour = Callable[["Peer"], None]


class Peer:
    """One connection, from the server's side."""

    def __init__(self, connection: socket.socket, server: RawServer) -> None:
        self.connection = connection
        self._server = server

    @property
    def over(self) -> threading.Event:
        """Set when the test has ended."""
        return self._server.over

    def read_request(self) -> bytes:
        """The whole request: head, and as much body as its Content-Length says."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._receive()
        head, _, body = data.partition(b"\r\n\r\n")
        length = next(
            (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        while len(body) < length:
            body += self._receive()
        request = head + b"\r\n\r\n" + body
        self._server.requests.append(request)
        return request

    def _receive(self) -> bytes:
        piece = self.connection.recv(65_536)
        if not piece:
            raise ConnectionError
        return piece

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def drip(self, data: bytes, secs: float) -> None:
        """A byte at a time, until the other side or the test has had enough."""
        for place in range(len(data)):
            if self.over.wait(secs):
                return
            self.connection.sendall(data[place : place + 1])

    def reset(self) -> None:
        """An RST instead of an orderly end."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def wait_for_hang_up(self) -> None:
        """Until the client closes, or the test ends."""
        self.connection.settimeout(0.05)
        while not self.over.is_set():
            try:
                if not self.connection.recv(65_536):
                    return
            except TimeoutError:
                continue


class RawServer:
    """What a test asks about afterwards."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.requests: list[bytes] = []
        self.connections = 0
        self.over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def raw_server(behave: Behaviour) -> Iterator[RawServer]:
    """A server on loopback that does `behave` with each connection, and is gone afterwards."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = RawServer(listener.getsockname()[1])
    handlers: list[threading.Thread] = []

    def handle(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            behave(Peer(connection, server))

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            server.connections += 1
            handler = threading.Thread(target=handle, args=(connection,))
            handlers.append(handler)
            handler.start()

    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield server
    finally:
        server.over.set()
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        acceptor.join(10)
        for handler in handlers:
            handler.join(10)


def response(body: bytes, status: str = "201 Created", *headers: str, length: int | None = -1) -> bytes:
    """A reply as bytes; a length of -1 is the right one, None leaves it out."""
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", *headers]
    if length is not None:
        lines.append(f"Content-Length: {len(body) if length == -1 else length}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
