"""What syncd shows over HTTP, on loopback: /metrics, /livez, /readyz, /status and a page of plain text at /."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson

from syncd.errors import EnvironmentFault, LedgerError


@dataclass(frozen=True, slots=True)
class Pages:
    """What the pages show; each is asked when it is requested."""

    metrics: Callable[[], bytes]
    alive: Callable[[], tuple[bool, str]]
    """Whether the loops turn, and a sentence."""
    status: Callable[[], dict[str, Any]]
    """The status JSON; may raise LedgerError."""
    words: Callable[[], str]
    """The status in words; may raise LedgerError."""


class WebServer:
    """Serves the pages in a thread of its own.

    Raises:
        EnvironmentFault: the address cannot be had.
    """

    def __init__(self, address: tuple[str, int], pages: Pages) -> None:
        try:
            self._server = _Server(address, _Handler)
        except OSError as error:
            raise EnvironmentFault(
                f"http.listen = {address[0]}:{address[1]} cannot be used: {error.strerror}.",
                "Choose another port, or turn it off with an empty text.",
            ) from None
        self._server.pages = pages
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.25,), name="web", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port in use."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    pages: Pages


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 10
    server_version, sys_version = "syncd", ""

    def do_GET(self) -> None:
        pages = self.server.pages
        try:
            match self.path.partition("?")[0]:
                case "/metrics":
                    self._reply(200, "text/plain; version=0.0.4; charset=utf-8", pages.metrics())
                case "/livez":
                    alive, sentence = pages.alive()
                    self._text(200 if alive else 503, sentence + "\n")
                case "/readyz":
                    status = pages.status()
                    self._text(200 if status["ready"] else 503, f"{status['state']}: {status['reason']}\n")
                case "/status":
                    self._reply(200, "application/json", orjson.dumps(pages.status()))
                case "/":
                    self._text(200, pages.words())
                case _:
                    self._text(404, "There are /, /status, /metrics, /livez and /readyz.\n")
        except LedgerError as error:
            self._text(503, f"{error}\n")

    do_HEAD = do_GET  # noqa: N815  # http.server's own name

    def _text(self, status: int, text: str) -> None:
        self._reply(status, "text/plain; charset=utf-8", text.encode())

    def _reply(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # http.server's own name
        """Nothing: requests are no events."""
