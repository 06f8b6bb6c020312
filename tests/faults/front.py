"""A server before the simulator: it passes each call on, but for those that a test lets go wrong on the wire."""

from __future__ import annotations

import gzip
import socket
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from tests.support.rawserver import Peer, RawServer, raw_server, response

MARK: Final = "c4n4ry"
"""In every field of a lead that may hold letters, and in whatever a reply quotes."""
DIGITS: Final = "93017654321"
ACCEPTED: Final = (
    b'{"code":"201","error":"","msg":"All records has been added successfully","data":[{"total_registers":" "}]}'
)
_QUOTE: Final = f"{MARK} {DIGITS} {MARK}@example.com"

Meet = Callable[[Peer, Callable[[], None]], None]
"""Deals with one connection; the second argument lets the simulator take the request that was read last."""


@dataclass(frozen=True)
class Trouble:
    """One thing that goes wrong with a call, and what may be believed after it."""

    step: str
    """Where in the call's life: connect, head, body, wait, status, headers, reply."""
    name: str
    meet: Meet | None
    truth: str
    """What syncd may believe: ``unsent``, ``unknown``, ``refused`` or ``accepted``."""
    stored: tuple[bool, ...] = (False, True)
    """Whether wolkvox has taken the records; both ways where both can be."""
    hangs: bool = False
    """Whether only the deadline ends it."""
    scheme: str = "http"

    def __str__(self) -> str:
        return f"{self.step}: {self.name}"


# -- before the request is whole -----------------------------------------------------------------------------


def _read(peer: Peer, until: bytes, more: int = 0) -> None:
    data = b""
    while until not in data or len(data) < data.index(until) + len(until) + more:
        data += peer.connection.recv(1)


def _early(until: bytes, more: int, then: Callable[[Peer], None]) -> Meet:
    def meet(peer: Peer, store: Callable[[], None]) -> None:
        _read(peer, until, more)
        then(peer)

    return meet


def _at_once(then: Callable[[Peer], None]) -> Meet:
    return lambda peer, store: then(peer)


def _close(peer: Peer) -> None:
    peer.connection.close()


def _reset_after_hello(peer: Peer) -> None:
    peer.connection.recv(1)
    peer.reset()


def _send_and_wait(data: bytes) -> Callable[[Peer], None]:
    def then(peer: Peer) -> None:
        peer.send(data)
        peer.wait_for_hang_up()

    return then


# -- after it ------------------------------------------------------------------------------------------------


def _late(then: Callable[[Peer], None]) -> Meet:
    def meet(peer: Peer, store: Callable[[], None]) -> None:
        peer.read_request()
        store()
        then(peer)

    return meet


def _says(reply: bytes) -> Meet:
    return _late(lambda peer: peer.send(reply))


def _says_then_resets(reply: bytes) -> Meet:
    def then(peer: Peer) -> None:
        peer.send(reply)
        peer.reset()

    return _late(then)


def _drips(reply: bytes) -> Meet:
    return _late(lambda peer: peer.drip(reply, 0.05))


def _json(code: object, words: str, data: str = "[]", status: str = "201 Created") -> bytes:
    return response(f'{{"code":{code},"error":"","msg":"{words}","data":{data}}}'.encode(), status)


def _drips_the_body(peer: Peer) -> None:
    peer.send(_HEAD)
    peer.drip(ACCEPTED, 0.05)


def _bomb(peer: Peer) -> None:
    peer.send(response(gzip.compress(b" " * (80 << 20), 1), "201 Created", "Content-Encoding: gzip"))


def _flood(peer: Peer) -> None:
    peer.send(response(b"", length=None))
    for _ in range(80):
        peer.send(b" " * (1 << 20))


def _continues(peer: Peer) -> None:
    while not peer.over.wait(0.002):
        peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")


def _endless_headers(peer: Peer) -> None:
    peer.send(b"HTTP/1.1 201 Created\r\n")
    while True:
        peer.send(b"X-More: more\r\n" * 100)


_CHUNKED = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n"
_OK = response(ACCEPTED)
_HEAD = _OK[: _OK.index(b"\r\n\r\n") + 4]


def _before() -> Iterator[Trouble]:
    yield Trouble("connect", "refused", None, "unsent", (False,))
    yield Trouble("connect", "never answered", None, "unsent", (False,), hangs=True)
    yield Trouble("connect", "reset at the first byte", _at_once(_reset_after_hello), "unknown", (False,))
    yield Trouble("connect", "closed", _at_once(_close), "unknown", (False,))
    yield Trouble("connect", "TLS reset", _at_once(_reset_after_hello), "unsent", (False,), scheme="https")
    yield Trouble("connect", "TLS silent", _at_once(Peer.wait_for_hang_up), "unsent", (False,), True, "https")
    yield Trouble("connect", "TLS garbage", _at_once(_send_and_wait(b"hello")), "unsent", (False,), scheme="https")
    for step, until, more in (("head", b"POST ", 3), ("head", b"\r\n\r\n", 0), ("body", b"\r\n\r\n", 9)):
        where = {3: "in the request line", 0: "after the headers", 9: "amid the body"}[more]
        yield Trouble(step, f"reset {where}", _early(until, more, Peer.reset), "unknown", (False,))
        yield Trouble(step, f"closed {where}", _early(until, more, _close), "unknown", (False,))
    yield Trouble("head", "silent", _early(b"\r\n\r\n", 0, Peer.wait_for_hang_up), "unknown", (False,), hangs=True)
    yield Trouble(
        "body", "refused amid it", _early(b"\r\n\r\n", 9, _send_and_wait(_json('"500"', "no", status="500 No"))),
        "unknown", (False,),
    )  # fmt: skip


def _waiting() -> Iterator[Trouble]:
    yield Trouble("wait", "reset", _late(Peer.reset), "unknown")
    yield Trouble("wait", "closed", _late(_close), "unknown")
    yield Trouble("wait", "silent", _late(Peer.wait_for_hang_up), "unknown", hangs=True)
    yield Trouble("status", "half of the line", _says(b"HTTP/1.1 20"), "unknown")
    yield Trouble("status", "half of the line, reset", _says_then_resets(b"HTTP/1.1 201 Cre"), "unknown")
    yield Trouble("status", "drips", _drips(_OK), "unknown", hangs=True)
    yield Trouble("status", "garbage", _says(b"\x16\x03\x01\x02\x00 not HTTP\r\n\r\n" + ACCEPTED), "unknown")
    yield Trouble("status", "no version", _says(b"201 Created\r\n\r\n" + ACCEPTED), "unknown")
    yield Trouble("status", "out of range", _says(response(ACCEPTED, "99999 Odd")), "unknown")
    yield Trouble("status", "continue for ever", _late(_continues), "unknown", hangs=True)
    yield Trouble("status", "hints, then closed", _says(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"), "unknown")
    yield Trouble("status", "switches", _says(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n" + ACCEPTED), "unknown")
    yield Trouble(
        "status", "continue, then accepts", _says(b"HTTP/1.1 100 Continue\r\n\r\n" + _OK), "accepted", (True,)
    )


def _headers() -> Iterator[Trouble]:
    yield Trouble("headers", "cut", _says(b"HTTP/1.1 201 Created\r\nContent-Le"), "unknown")
    yield Trouble(
        "headers", "cut, reset", _says_then_resets(b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\n"), "unknown"
    )
    yield Trouble("headers", "endless", _late(_endless_headers), "unknown")
    yield Trouble("headers", "one too long", _says(response(ACCEPTED, "201 Created", "X: " + "x" * 100_000)), "unknown")
    yield Trouble("headers", "silent", _late(_send_and_wait(b"HTTP/1.1 201 Created\r\n")), "unknown", hangs=True)
    yield Trouble("headers", "two lengths", _says(response(ACCEPTED, "201 Created", "Content-Length: 3")), "unknown")
    for status in ("301 Moved", "302 Found", "307 Temporary", "308 Permanent"):
        yield Trouble("headers", status, _says(response(ACCEPTED, status, "Location: /api/v2/campaign.php")), "unknown")
    defect = _OK.replace(b"\r\nContent-Length", b"\r\nno colon\r\nContent-Length")
    yield Trouble("headers", "one without a colon", _says(defect), "accepted", (True,))
    plain = ACCEPTED, "201 Created", "Content-Type: text/html"
    yield Trouble("headers", "another type", _says(response(*plain)), "accepted", (True,))


def _bodies() -> Iterator[Trouble]:
    half = len(ACCEPTED) // 2
    bodies = {
        "empty": b"",
        "blank": b"  \r\n",
        "half of the JSON": ACCEPTED[:half],
        "a page": f"<html>{_QUOTE}</html>".encode(),
        "a NUL": b'{"code":"201","error":"","msg":"\x00' + MARK.encode() + b'","data":[]',
        "NULs": b"\x00" * 500,
        "a lone surrogate, refused": b'{"code":"404","error":"\\ud800","msg":"\\udfff 1 records","data":[]}',
        "no UTF-8": b'{"code":"201","msg":"\xff\xfe"}',
        "nested deeply": b"[" * 100_000,
        "an object nested deeply": b'{"code":"201","data":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        "a huge integer": b'{"code":' + b"9" * 10_000 + b"}",
        "a huge count": b'{"code":"201","msg":"","data":[{"total_success":' + b"9" * 4000 + b"}]}",
        "an array": b"[" + ACCEPTED + b"]",
        "of another call": b'{"code":"200","error":"","msg":"1 records were found","data":[{"token_limit":"5000"}]}',
        "another code": b'{"code":"404","error":"","msg":"All records has been added successfully","data":[]}',
        "another count": b'{"code":"201","error":"","msg":"9 records has been added","data":[]}',
    }
    for name, body in bodies.items():
        yield Trouble("reply", name, _says(response(body)), "unknown")
    yield Trouble("reply", "cut", _says(response(ACCEPTED)[:-20]), "unknown")
    yield Trouble("reply", "cut, reset", _says_then_resets(_HEAD + ACCEPTED[:half]), "unknown")
    yield Trouble("reply", "silent", _late(_send_and_wait(_HEAD + ACCEPTED[:half])), "unknown", hangs=True)
    yield Trouble("reply", "drips", _late(_drips_the_body), "unknown",
                  hangs=True)  # fmt: skip
    yield Trouble("reply", "longer than it says", _says(response(ACCEPTED, length=20)), "unknown")
    yield Trouble("reply", "a length that is none", _says(_HEAD.replace(b"Length: 1", b"Length: x1") + ACCEPTED[:9]),
                  "unknown")  # fmt: skip
    yield Trouble("reply", "chunks of garbage", _says(_CHUNKED + b"zz\r\n" + ACCEPTED), "unknown")
    yield Trouble("reply", "a chunk cut", _says(_CHUNKED + b"ff\r\n" + ACCEPTED), "unknown")
    yield Trouble(
        "reply", "a chunk without end", _says(_CHUNKED + b"%x\r\n%b\r\n" % (len(ACCEPTED), ACCEPTED)), "unknown"
    )
    yield Trouble("reply", "a bomb", _late(_bomb), "unknown")
    yield Trouble("reply", "no gzip", _says(response(ACCEPTED, "201 Created", "Content-Encoding: gzip")), "unknown")
    yield Trouble("reply", "a flood", _late(_flood), "unknown")
    for status in ("404 Not Found", "409 Conflict", "429 Too Many", "500 Broken", "502 Bad Gateway", "503 Away"):
        words = _json(f'"{status[:3]}"', _QUOTE, status=status)
        yield Trouble("reply", f"{status}, new words", _says(words), "unknown")
        yield Trouble("reply", f"{status}, a page", _says(response(f"<p>{_QUOTE}</p>".encode(), status)), "unknown")
    yield Trouble("reply", "201, but code 500", _says(_json(500, _QUOTE)), "unknown")
    yield Trouble(
        "reply", "maintenance", _says(_json('"403"', f"BACKUP {_QUOTE}", status="403 No")), "refused", (False,)
    )
    yield Trouble("reply", "token refused", _says(_json('"403"', "PLEASE VALIDATE TOKEN", status="403 No")), "refused",
                  (False,))  # fmt: skip
    yield Trouble("reply", "code as a number", _says(_json(201, "All records")), "accepted", (True,))


TROUBLES: Final = (*_before(), *_waiting(), *_headers(), *_bodies())


class Front:
    """The server, and what it is to do with the next connections."""

    def __init__(self) -> None:
        self.server: RawServer
        self.target = ""
        """Where calls are passed on to."""
        self.stores = 0
        """How often it has let the simulator take a request that then went wrong."""
        self._next: deque[tuple[Meet, bool]] = deque()

    def arm(self, meet: Meet, *, stored: bool, times: int = 1) -> None:
        """Let the next connections go wrong."""
        self._next.extend([(meet, stored)] * times)

    def disarm(self) -> None:
        """Let all go well."""
        self._next.clear()

    def meet(self, peer: Peer) -> None:
        """One connection."""
        if not self._next:
            peer.send(self._pass_on(peer.read_request()))
            return
        meet, stored = self._next.popleft()
        meet(peer, lambda: self._store() if stored else None)

    def _store(self) -> None:
        reply = self._pass_on(self.server.requests[-1])
        assert b" 201 " in reply, reply[:100]
        self.stores += 1

    def _pass_on(self, request: bytes) -> bytes:
        parts = urlsplit(self.target)
        with socket.create_connection((parts.hostname, parts.port or 80), 10) as behind:
            behind.sendall(request)
            reply = b""
            while b"\r\n\r\n" not in reply:
                reply += behind.recv(65_536)
            head, _, body = reply.partition(b"\r\n\r\n")
            length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
            while len(body) < length:
                body += behind.recv(65_536)
        return head + b"\r\n\r\n" + body


@contextmanager
def fronted() -> Iterator[Front]:
    """A front on loopback, until the end of the block; `Front.target` is to be set."""
    front = Front()
    with raw_server(front.meet) as server:
        front.server = server
        yield front


@contextmanager
def deaf_port() -> Iterator[int]:
    """A port of loopback that leaves whoever connects waiting: its backlog is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        waiting = [socket.socket() for _ in range(3)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]
        for each in waiting:
            each.close()


def closed_port() -> int:
    """A port of loopback where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
