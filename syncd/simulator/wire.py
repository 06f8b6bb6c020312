"""Bytes <-> one HTTP/1.1 request: a connection that can also be cut, as real ones are.

Written on the socket itself, since a tidy HTTP library cannot send half a reply, a false length or an RST.
"""

import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Self
from urllib.parse import parse_qsl, urlsplit

from syncd.simulator.replies import Reply
from syncd.simulator.settings import MAX_BODY

_LONGEST_LINE = 65_536  # bytes, of a request or header line
_MOST_HEADERS = 200
_FITS_SOCKET = 65_536  # bytes that a send takes without waiting for the reader
_PIECE = 4 * 1024 * 1024  # bytes read at once of a body that is thrown away


class BadRequestError(Exception):
    """What came is no HTTP/1.1 request; ``status`` is the answer before the connection closes."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class GoneError(Exception):
    """The peer closed the connection in the middle of a request."""


@dataclass(frozen=True, slots=True)
class Head:
    """A request without its body. Header names are in lower case; of a repeated parameter the last counts."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    version: str

    @property
    def keep_alive(self) -> bool:
        """Whether the client means to go on using the connection."""
        wish = self.headers.get("connection", "").lower()
        return "close" not in wish and (self.version == "HTTP/1.1" or "keep-alive" in wish)

    @property
    def length(self) -> int:
        """Content-Length in bytes; 0 if there is none. Raises BadRequestError."""
        text = self.headers.get("content-length", "0")
        if not (text.isascii() and text.isdigit()):
            raise BadRequestError(400, "Content-Length is not a number")
        if int(text) > MAX_BODY:
            raise BadRequestError(413, f"a body holds {MAX_BODY} bytes at most")
        return int(text)


class Line:
    """A connection with one client."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = connection.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cut(reset=False)

    def read_head(self) -> Head | None:
        """The next request; None once the client has closed. Raises BadRequestError, GoneError, OSError."""
        first = self._read_line()
        while first == b"\r\n":  # tolerated before a request (RFC 9112, 2.2)
            first = self._read_line()
        if not first:
            return None
        words = first.decode("latin-1").split()
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            raise BadRequestError(400, "not a request line")
        headers: dict[str, str] = {}
        while (line := self._read_line()) not in (b"\r\n", b"\n"):
            name, colon, value = line.decode("latin-1").partition(":")
            if not line:
                raise GoneError
            if not colon or len(headers) >= _MOST_HEADERS:
                raise BadRequestError(400, "not a header")
            headers[name.strip().lower()] = value.strip()
        url = urlsplit(words[1])
        return Head(words[0], url.path, dict(parse_qsl(url.query, keep_blank_values=True)), headers, words[2])

    def read_body(self, head: Head, *, greet: bool = True) -> bytes:
        """The whole body. ``greet`` answers ``Expect: 100-continue``. Raises BadRequestError, GoneError."""
        length = head.length
        if greet and head.headers.get("expect", "").lower() == "100-continue":
            self._socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "chunked" in head.headers.get("transfer-encoding", "").lower():
            return self._read_chunks()
        return self._read_exactly(length)

    def skip_body(self, head: Head, size: int | None = None) -> None:
        """Read a body, or ``size`` bytes of it, and throw it away."""
        if "chunked" in head.headers.get("transfer-encoding", "").lower():
            self.read_body(head)
            return
        if head.headers.get("expect", "").lower() == "100-continue":
            self._socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        left = head.length if size is None else min(size, head.length)
        while left:
            left -= len(self._read_exactly(min(left, _PIECE)))

    def send(self, data: bytes, before_last: Callable[[], None] = lambda: None) -> None:
        """Send bytes; ``before_last`` is called before the reader can have all of them."""
        if len(data) > _FITS_SOCKET:
            self._socket.sendall(data[:-1])
            data = data[-1:]
        before_last()
        self._socket.sendall(data)

    def cut(self, *, reset: bool) -> None:
        """Close the connection: with an RST, or in order. A second time does nothing."""
        if reset:
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            except OSError:  # closed already
                return
        self._reader.close()
        self._socket.close()

    def _read_line(self) -> bytes:
        line = self._reader.readline(_LONGEST_LINE + 1)
        if len(line) > _LONGEST_LINE:
            raise BadRequestError(431, "a line is too long")
        return line

    def _read_exactly(self, size: int) -> bytes:
        data = self._reader.read(size)
        if len(data) < size:
            raise GoneError
        return data

    def _read_chunks(self) -> bytes:
        parts: list[bytes] = []
        total = 0
        while True:
            text = self._read_line().split(b";")[0].strip()
            try:
                size = int(text, 16)
            except ValueError:
                raise BadRequestError(400, "not a chunk") from None
            total += size
            if size < 0 or total > MAX_BODY:
                raise BadRequestError(413, f"a body holds {MAX_BODY} bytes at most")
            if size == 0:
                break
            parts.append(self._read_exactly(size))
            self._read_line()
        while self._read_line() not in (b"\r\n", b"\n", b""):  # trailers
            pass
        return b"".join(parts)


def render(reply: Reply, *, keep_alive: bool, location: str = "", length: int | None = None) -> bytes:
    """A reply as bytes. ``length`` is what Content-Length says, the truth unless told."""
    try:
        phrase = HTTPStatus(reply.status).phrase
    except ValueError:
        phrase = "Unknown"
    lines = [
        f"HTTP/1.1 {reply.status} {phrase}",
        f"Content-Type: {reply.content_type}",
        f"Content-Length: {len(reply.body) if length is None else length}",
        f"Connection: {'keep-alive' if keep_alive else 'close'}",
        *([f"Location: {location}"] if location else []),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + reply.body
