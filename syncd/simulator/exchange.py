"""One call from its headers to its last byte, with what was scripted to go wrong."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from syncd.simulator.calls import Calls, Request
from syncd.simulator.campaigns import Campaigns
from syncd.simulator.faults import APIS, Fault, Script
from syncd.simulator.gate import Gate, Pass
from syncd.simulator.replies import Replies, Reply
from syncd.simulator.settings import Settings
from syncd.simulator.state import Seen, State
from syncd.simulator.waits import Waits
from syncd.simulator.wire import Head, Line, render

_HUGE = 8 * 1024 * 1024  # bytes of padding, unless the fault says
_DRIP_SECS = 0.05  # between two pieces of a dripping reply, at least

_NO_FAULT = Fault("latency")  # of 0 seconds
_NOTHING = Reply(0, b"")


@dataclass(slots=True)
class _Call:
    line: Line
    head: Head
    admitted: Pass
    fault: Fault
    struck: str  # the fault's kind, "" where none struck
    at: float
    started: float
    arrival: int  # for Waits.hang
    reply: Reply = _NOTHING  # what is to be answered, as far as it is known


class Exchanges:
    """Serves calls; the simulator's only room that knows faults and sockets both."""

    def __init__(
        self,
        settings: Settings,
        gate: Gate,
        calls: Calls,
        campaigns: Campaigns,
        script: Script,
        state: State,
        waits: Waits,
        clock: Callable[[], float],
        log: Callable[[str], None] | None,
    ) -> None:
        self._settings = settings
        self._gate = gate
        self._calls = calls
        self._campaigns = campaigns
        self._script = script
        self._state = state
        self._waits = waits
        self._clock = clock
        self._log = log
        self._replies = Replies(settings)

    def serve(self, line: Line, head: Head) -> bool:
        """Serve one call; whether the connection goes on. Raises what reading and sending raise."""
        at, started = self._clock(), time.monotonic()
        arrival = self._waits.arrival()
        admitted = self._gate.enter(head.headers)
        if isinstance(admitted, Reply):
            line.skip_body(head)
            self._note(head, at, started, admitted, "")
            line.send(render(admitted, keep_alive=head.keep_alive))
            return head.keep_alive
        fault = self._script.take(head.query.get("api", "")) if _api(head) in APIS else None
        struck = fault.kind if fault else ""
        call = _Call(line, head, admitted, fault or _NO_FAULT, struck, at, started, arrival)
        try:
            return self._serve_admitted(call)
        finally:
            if not admitted.left:  # the client went away, or the simulator stops
                self._account(call, sent=False)

    def _serve_admitted(self, call: _Call) -> bool:
        line, head, fault = call.line, call.head, call.fault
        if fault.kind in ("cut-headers", "cut-body"):
            if fault.kind == "cut-body":
                line.skip_body(head, fault.size or head.length // 2)
            return self._cut(call, after=fault.seconds)
        body = line.read_body(head, greet=fault.kind != "no-continue")
        if _api(head) == "add_record":
            self._campaigns.keep_body(body)
        request = Request(head.method, head.path.rpartition("/")[2], head.query, call.admitted.token, body)
        if fault.kind == "cut-then-store":
            line.cut(reset=fault.reset)
            self._waits.hang(fault.seconds, call.arrival)
        self._answer(call, request)
        delay = self._settings.latency_secs + self._settings.record_secs * call.reply.records
        match fault.kind:
            case "cut-then-store":
                return self._cut(call)
            case "hang":
                self._waits.hang(fault.seconds, call.arrival)
                return self._send(call) if fault.stores else self._cut(call)
            case "cut-before" | "cut-after":
                return self._cut(call, after=delay + fault.seconds)
            case _:
                self._waits.pause(delay + fault.seconds + fault.record_secs * call.reply.records)
                return self._send(call)

    def _answer(self, call: _Call, request: Request) -> None:
        try:
            reply = self._calls.answer(request, store=call.fault.stores)
        except (TypeError, AttributeError) as error:  # validate is off, and the records are none
            reply = self._replies.refusal(500, f"The simulator could not take this: {error}", "simulator")
        call.reply = self._disguised(call.fault, reply if call.fault.stores else replace(reply, accepted=0))

    def _cut(self, call: _Call, after: float = 0.0) -> bool:
        self._waits.pause(after)
        self._account(call, sent=False)
        call.line.cut(reset=call.fault.reset)
        return False

    def _disguised(self, fault: Fault, reply: Reply) -> Reply:
        """The reply that the client is to see; its counts stay."""
        match fault.kind:
            case "reply":
                return replace(reply, status=fault.http_status, body=fault.body.encode(), reason="")
            case "redirect":
                return replace(reply, status=fault.http_status, body=b"", reason="")
            case "maintenance":
                told = self._replies.maintenance(fault.http_status, fault.body)
                return replace(told, records=reply.records)
            case "broken-json":
                return replace(reply, body=reply.body[: len(reply.body) // 2])
            case "huge-body":
                return replace(reply, body=b" " * (fault.size or _HUGE) + reply.body)
            case _:
                return reply

    def _send(self, call: _Call) -> bool:
        line, head, fault, reply = call.line, call.head, call.fault, call.reply
        broken = fault.kind in ("cut-reply", "cut-idle")  # closes, having promised not to
        goes_on = head.keep_alive and not broken and fault.kind != "wrong-length"
        length = len(reply.body) + (fault.excess if fault.kind == "wrong-length" else 0)
        data = render(
            reply,
            keep_alive=goes_on or (head.keep_alive and broken),
            location=fault.location if fault.kind == "redirect" else "",
            length=max(0, length),
        )
        if fault.kind == "drip":
            self._drip(call, data)
            return goes_on
        if fault.kind == "cut-reply":
            data = data[: fault.size or len(data) // 2]
        line.send(data, lambda: self._account(call))
        if broken:
            line.cut(reset=fault.reset and fault.kind != "cut-idle")
        return goes_on

    def _drip(self, call: _Call, data: bytes) -> None:
        size = max(1, round(call.fault.bytes_per_sec * _DRIP_SECS))
        for start in range(0, len(data), size):
            self._waits.pause(size / call.fault.bytes_per_sec)
            if start + size >= len(data):
                self._account(call)
            call.line.send(data[start : start + size])

    def _account(self, call: _Call, *, sent: bool = True) -> None:
        """Give the pass back and count the call, before the client can know how it went and call again."""
        told = call.reply if sent else replace(call.reply, status=0, reason="")
        self._gate.leave(call.admitted, refused=told.status >= 400 and told.reason != "no-rows")
        self._note(call.head, call.at, call.started, told, call.struck)

    def _note(self, head: Head, at: float, started: float, reply: Reply, fault: str) -> None:
        took = time.monotonic() - started
        campaign_id = head.query.get("campaign_id", "")
        shown = campaign_id if campaign_id.isalnum() else "-"  # it came from outside: no line of its own in a log
        self._state.note(
            Seen(
                at,
                took,
                _api(head),
                campaign_id,
                reply.status,
                reply.reason,
                reply.records,
                reply.accepted,
                fault,
            )
        )
        if self._log is not None:
            self._log(
                f"{_api(head)} campaign={shown} records={reply.records} accepted={reply.accepted} "
                f"answered={reply.status or 'nothing'}"
                + (f" refused={reply.reason}" if reply.reason else "")
                + (f" fault={fault}" if fault else "")
            )


def _api(head: Head) -> str:
    name = head.query.get("api", "")
    return name if name in APIS else "unknown"
