"""A sink for the latency: takes one call at a time, says that all was accepted, and notes when each lead came.

It runs in the process of the writer, so that both read one clock, and does no more than that: the simulator's own
time to count and to answer would be a part of every figure.
"""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

import orjson

from bench.errors import BenchFailed
from syncd.simulator.replies import Replies
from syncd.simulator.settings import Settings

_REPLIES = Replies(Settings())


class Arrivals:
    """The sink.

    Mutable state, behind the condition: when each lead came first, and how many came again.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._at: dict[str, float] = {}
        self._again = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                at = time.monotonic()
                records = orjson.loads(body)
                reply = _REPLIES.accepted(len(records))
                self.send_response(reply.status)
                self.send_header("Content-Type", reply.content_type)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body)
                outer._note([record["customer_id"] for record in records], at)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class names it so
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Its base address."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def wait_for(self, lead: str, secs: float) -> float:
        """When a lead came, on `time.monotonic`.

        Raises:
            BenchFailed: it does not come.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: lead in self._at, secs):
                raise BenchFailed(f"A lead did not come within {secs:.0f} s of its commit.")
            return self._at[lead]

    @property
    def again(self) -> int:
        """Leads that came more than once."""
        with self._changed:
            return self._again

    def _note(self, leads: list[str], at: float) -> None:
        with self._changed:
            for lead in leads:
                self._again += lead in self._at
                self._at.setdefault(lead, at)
            self._changed.notify_all()
