"""The client on real sockets: one request a call, a deadline for the whole of it, and the truth of what was sent."""

from __future__ import annotations

import gzip
import json
import logging
import socket
import time
import traceback
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncd import wolkvox
from syncd.model import Campaign, Exchange
from syncd.replies import Outcome, judge
from syncd.simulator import Fault, Settings, Simulator
from syncd.simulator.faults import KINDS
from syncd.wolkvox import Wolkvox
from tests.support.effort import examples
from tests.support.rawserver import Behaviour, Peer, RawServer, raw_server, response

TOKEN = "simulator-token"
CAMPAIGN = Campaign("12345", "predictive", "start")
BODY = json.dumps([{"customer_id": "c1", "customer_name": "Ñandú", "tel1": "90000000001"}], ensure_ascii=False).encode()
GOOD = b'{"code": "201", "error": null, "msg": "All records has been added successfully", "data": [{}]}'


def client(url: str, secs: float = 10.0, token: str = TOKEN) -> Wolkvox:
    return Wolkvox(url, "0042", token, secs)


def call(behave: Behaviour, *, secs: float = 10.0, body: bytes = BODY) -> tuple[Exchange, RawServer]:
    """One call of a server that behaves so."""
    with raw_server(behave) as server:
        exchange = client(server.url, secs).add_record(CAMPAIGN, body)
        return exchange, server


def answering(data: bytes) -> Behaviour:
    def behave(peer: Peer) -> None:
        peer.read_request()
        peer.send(data)

    return behave


# -- the request ---------------------------------------------------------------------------------------------


def test_a_call_is_one_request_as_wolkvox_wants_it() -> None:
    exchange, server = call(answering(response(GOOD)))
    assert exchange == Exchange(True, 201, GOOD, "", exchange.seconds, exchange.sent_secs)
    assert exchange.sent_secs is not None
    assert 0 < exchange.sent_secs < exchange.seconds
    assert (server.connections, len(server.requests)) == (1, 1)
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    assert first == (
        "POST /api/v2/campaign.php?api=add_record&type_campaign=predictive&campaign_id=12345&campaign_status=start"
        " HTTP/1.1"
    )
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    assert headers["wolkvox-token"] == TOKEN
    assert headers["wolkvox_server"] == "0042"
    assert headers["content-type"] == "application/json"
    assert headers["connection"] == "close"
    assert "expect" not in headers
    assert body == BODY


def test_questions_are_asked_as_wolkvox_wants_them() -> None:
    with Simulator() as simulator:
        asking = client(simulator.base_url)
        assert json.loads(asking.token_info().body)["data"][0]["token_limit"]
        assert json.loads(asking.campaigns("12345").body)["data"][0]["campaign_id"] == "12345"
        assert simulator.state.calls() == {"token_info": 1, "campaigns": 1}


def test_a_question_too_is_asked_once_whatever_happens() -> None:
    def behave(peer: Peer) -> None:
        peer.read_request()
        peer.reset()

    with raw_server(behave) as server:
        assert client(server.url).token_info().status is None
        assert server.connections == 1


def test_no_connection_is_used_twice() -> None:
    with raw_server(answering(response(GOOD, "201 Created", "Connection: keep-alive"))) as server:
        for _ in range(3):
            assert client(server.url).add_record(CAMPAIGN, BODY).status == 201
        assert server.connections == 3


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with raw_server(answering(response(b"{}", "200 OK"))) as proxy:
        monkeypatch.setenv(name, proxy.url)
        exchange, server = call(answering(response(GOOD)))
        assert (exchange.status, server.connections, proxy.connections) == (201, 1, 0)


def test_no_password_of_a_netrc_is_sent(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login somebody password swordfish\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    _, server = call(answering(response(GOOD)))
    assert b"authorization" not in server.requests[0].lower()


# -- what was sent, and what was not -------------------------------------------------------------------------


def test_a_refused_connection_sent_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    exchange = client(f"http://127.0.0.1:{port}").add_record(CAMPAIGN, BODY)
    assert (exchange.sent, exchange.status, exchange.body) == (False, None, b"")
    assert exchange.error.startswith("no connection")


def test_a_name_that_does_not_resolve_sent_nothing() -> None:
    exchange = client("http://no-such-host.invalid").add_record(CAMPAIGN, BODY)
    assert (exchange.sent, exchange.status) == (False, None)


def test_a_connection_that_never_stands_sent_nothing() -> None:
    """A listener whose queue is full lets nobody in, as a firewall does."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        began = time.monotonic()
        exchange = client(f"http://127.0.0.1:{listener.getsockname()[1]}", 0.4).add_record(CAMPAIGN, BODY)
        assert (exchange.sent, exchange.status) == (False, None)
        assert time.monotonic() - began < 3


def test_a_handshake_that_fails_sent_nothing() -> None:
    seen: list[bytes] = []

    def speak_plainly(peer: Peer) -> None:
        seen.append(peer.connection.recv(65_536))
        peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with raw_server(speak_plainly) as server:
        exchange = client(server.url.replace("http:", "https:")).add_record(CAMPAIGN, BODY)
    assert (exchange.sent, exchange.status) == (False, None)
    assert TOKEN.encode() not in b"".join(seen)
    assert b"wolkvox" not in b"".join(seen)


def test_a_handshake_that_is_cut_sent_nothing() -> None:
    def behave(peer: Peer) -> None:
        peer.connection.recv(1)
        peer.reset()

    with raw_server(behave) as server:
        exchange = client(server.url.replace("http:", "https:")).add_record(CAMPAIGN, BODY)
    assert (exchange.sent, exchange.status) == (False, None)


@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize("body", [BODY, b"[" + b" " * 20_000_000 + b"]"])
def test_a_line_cut_once_a_byte_was_read_may_have_sent_something(*, reset: bool, body: bytes) -> None:
    def behave(peer: Peer) -> None:
        peer.connection.recv(1)
        if reset:
            peer.reset()

    exchange, server = call(behave, body=body)
    assert (exchange.sent, exchange.status, server.connections) == (True, None, 1)


@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize(
    "part",
    [
        b"",
        b"HTTP",
        b"HTTP/1.1 ",
        b"HTTP/1.1 20",
        b"HTTP/1.1 201 Created\r\nContent-Length: 400\r\n\r\n",
        response(GOOD)[:-1],
        response(GOOD, "201 Created", "Transfer-Encoding: chunked", length=None)[: -len(GOOD)] + b"10\r\n" + GOOD[:16],
        response(gzip.compress(GOOD)[:-30], "201 Created", "Content-Encoding: gzip"),
        response(b"not gzip at all", "201 Created", "Content-Encoding: gzip"),
        response(GOOD, length=len(GOOD) + 10),
    ],
)
def test_half_a_reply_is_no_reply(part: bytes, *, reset: bool) -> None:
    def behave(peer: Peer) -> None:
        peer.read_request()
        peer.send(part)
        if reset:
            peer.reset()

    exchange, server = call(behave)
    assert exchange.sent
    assert judge(exchange, 1).outcome is Outcome.UNKNOWN
    assert (server.connections, len(server.requests)) == (1, 1)


@pytest.mark.parametrize("place", range(1, len(response(GOOD)), 7))
def test_a_reply_cut_anywhere_accepts_nothing(place: int) -> None:
    exchange, server = call(answering(response(GOOD)[:place]))
    assert exchange.sent
    assert judge(exchange, 1).outcome is Outcome.UNKNOWN
    assert server.connections == 1


def test_a_reply_shorter_than_it_says_is_unknown_and_one_longer_is_cut() -> None:
    exchange, _ = call(answering(response(GOOD, length=len(GOOD) - 5)))
    assert judge(exchange, 1).outcome is Outcome.UNKNOWN


def test_a_reply_without_a_length_ends_with_the_line() -> None:
    exchange, _ = call(answering(response(GOOD, length=None)))
    assert (exchange.status, exchange.body, exchange.error) == (201, GOOD, "")


def test_a_compressed_reply_is_read() -> None:
    exchange, _ = call(answering(response(gzip.compress(GOOD), "201 Created", "Content-Encoding: gzip")))
    assert (exchange.status, exchange.body) == (201, GOOD)


def test_an_early_reply_to_a_body_that_nobody_reads_is_no_acceptance() -> None:
    def behave(peer: Peer) -> None:
        peer.connection.recv(1000)
        peer.send(response(b"{}", "413 Too Large"))
        peer.reset()

    exchange, server = call(behave, body=b"[" + b" " * 20_000_000 + b"]")
    assert exchange.sent
    assert judge(exchange, 1).outcome is Outcome.UNKNOWN
    assert server.connections == 1


# -- the deadline --------------------------------------------------------------------------------------------


def silent(peer: Peer) -> None:
    peer.read_request()
    peer.wait_for_hang_up()


def deaf(peer: Peer) -> None:
    peer.over.wait(20)


def drip_headers(peer: Peer) -> None:
    peer.read_request()
    peer.drip(response(GOOD), 0.05)


def drip_status(peer: Peer) -> None:
    peer.read_request()
    peer.drip(b"HTTP/1.1 100 Continue\r\n\r\n" * 100, 0.01)


def drip_body(peer: Peer) -> None:
    peer.read_request()
    peer.send(response(GOOD)[: -len(GOOD)])
    peer.drip(GOOD, 0.05)


def drip_body_without_length(peer: Peer) -> None:
    peer.read_request()
    peer.send(response(b"", length=None) + GOOD[:30])
    peer.drip(b" " * 1000, 0.05)


def drip_chunks(peer: Peer) -> None:
    peer.read_request()
    peer.send(response(b"", "201 Created", "Transfer-Encoding: chunked", length=None))
    peer.drip(b"1\r\n \r\n" * 200, 0.01)


@pytest.mark.parametrize(
    "behave", [silent, deaf, drip_headers, drip_status, drip_body, drip_body_without_length, drip_chunks]
)
def test_the_deadline_is_for_the_whole_exchange(behave: Behaviour) -> None:
    body = b"[" + b" " * 20_000_000 + b"]" if behave is deaf else BODY
    exchange, server = call(behave, secs=0.4, body=body)
    assert exchange.sent
    assert 0.35 < exchange.seconds < 3
    assert judge(exchange, 1).outcome is Outcome.UNKNOWN
    assert server.connections == 1


def test_a_reply_within_the_deadline_is_not_cut() -> None:
    def behave(peer: Peer) -> None:
        peer.read_request()
        peer.drip(response(GOOD), 0.0005)

    exchange, _ = call(behave, secs=30)
    assert (exchange.status, exchange.body) == (201, GOOD)


# -- redirects -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_the_token_goes_nowhere(status: int) -> None:
    with raw_server(answering(response(GOOD))) as elsewhere:
        moved = response(b"", f"{status} Moved", f"Location: {elsewhere.url}/api/v2/campaign.php")
        exchange, server = call(answering(moved))
        assert (exchange.sent, exchange.status) == (True, status)
        assert (server.connections, elsewhere.connections) == (1, 0)
        assert judge(exchange, 1).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("location", ["http://[", "//", "http://\xff/", "file:///etc/passwd", "x" * 60_000])
def test_a_redirect_to_nowhere_is_a_reply_like_any_other(location: str) -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: " + location.encode("latin-1") + b"\r\nContent-Length: 2\r\n\r\n{}"
    exchange, _ = call(answering(moved))
    assert (exchange.sent, exchange.status) == (True, 302)


# -- how much is read ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["201 Created", "302 Found"])
def test_a_reply_is_read_up_to_a_limit(monkeypatch: pytest.MonkeyPatch, status: str) -> None:
    monkeypatch.setattr(wolkvox, "REPLY_LIMIT_BYTES", 1_000_000)
    sent = 0

    def behave(peer: Peer) -> None:
        nonlocal sent
        peer.read_request()
        peer.send(response(b"", status, "Location: /", length=None))
        for _ in range(1000):
            peer.send(b" " * 100_000)
            sent += 100_000

    exchange, _ = call(behave)
    assert (exchange.sent, exchange.status, exchange.error) == (True, None, "the reply was too long")
    assert sent < 50_000_000


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("status", ["201 Created", "302 Found"])
def test_a_small_reply_that_unpacks_to_much_is_read_up_to_a_limit(
    monkeypatch: pytest.MonkeyPatch, layers: int, status: str
) -> None:
    monkeypatch.setattr(wolkvox, "REPLY_LIMIT_BYTES", 1_000_000)
    bomb = gzip.compress(b" " * 40_000_000)
    if layers == 2:
        bomb = gzip.compress(bomb)
    encoding = ", ".join(["gzip"] * layers)
    exchange, _ = call(answering(response(bomb, status, f"Content-Encoding: {encoding}", "Location: /")))
    assert (exchange.sent, exchange.status) == (True, None)
    assert exchange.error
    assert exchange.body == b""


# -- every fault of the simulator ----------------------------------------------------------------------------

LASTING = {"hang", "drip", "cut-then-store"}
HARMLESS = {"latency", "no-continue", "cut-idle", "huge-body"}
"""Faults that leave the reply as it is."""


@pytest.mark.parametrize("kind", KINDS)
def test_under_every_fault_one_request_arrives_and_nothing_is_said_that_is_not_so(kind: str) -> None:
    with Simulator(Settings(latency_secs=0.0)) as simulator:
        simulator.script(Fault(kind, api="add_record"))
        exchange = client(simulator.base_url, 0.5 if kind in LASTING else 10).add_record(CAMPAIGN, BODY)
        simulator.clear_faults()
        outcome = judge(exchange, 1).outcome
        assert simulator.state.wait_for(lambda state: state.calls().get("add_record") == 1)
        stored = simulator.state.accepted("12345") == {"c1": 1}
        assert exchange.sent
        assert simulator.state.calls() == {"add_record": 1}
        if outcome is Outcome.ACCEPTED:
            assert stored
        elif outcome is Outcome.REFUSED:
            assert not stored
        else:
            assert outcome is Outcome.UNKNOWN
        expected = (
            Outcome.ACCEPTED if kind in HARMLESS else Outcome.REFUSED if kind == "maintenance" else Outcome.UNKNOWN
        )
        assert outcome is expected


# -- secrets -------------------------------------------------------------------------------------------------

SECRET = "s3cret-token-of-nobody"


def test_the_token_is_in_no_word_of_the_client(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Simulator() as simulator:
        words = []
        for url, secs in ((simulator.base_url, 10.0), ("http://127.0.0.1:1", 1.0), ("http://[", 1.0), ("x:", 1.0)):
            asking = client(url, secs, SECRET)
            words += [repr(asking), str(asking)]
            try:
                words.append(repr(asking.add_record(CAMPAIGN, BODY)))
            except Exception:  # noqa: BLE001  # whatever it says must not say that
                words.append(traceback.format_exc())
        assert SECRET not in "".join(words)
        assert SECRET not in caplog.text
        assert "Ñandú" not in caplog.text
        assert "90000000001" not in caplog.text


@pytest.mark.parametrize("token", ["line\r\nbreak: yes", "ñ", "\x00", " leading"])
def test_a_token_that_cannot_be_a_header_sends_nothing_and_is_not_shown(token: str) -> None:
    with raw_server(answering(response(GOOD))) as server:
        try:
            said = repr(client(server.url, 5, token).add_record(CAMPAIGN, BODY))
        except Exception:  # noqa: BLE001  # as above
            said = traceback.format_exc()
        assert token.strip() not in said.replace(f"{token!r}", "") or token == "ñ"
        assert all(b"break: yes" not in request for request in server.requests)


# -- anything at all -----------------------------------------------------------------------------------------

LINES = st.sampled_from(
    [
        b"HTTP/1.1 201 Created\r\n",
        b"HTTP/1.1 403 Forbidden\r\n",
        b"HTTP/1.0 200 OK\r\n",
        b"HTTP/1.1 99999 Much\r\n",
        b"HTTP/9.9 200\r\n",
        b"Content-Length: 2\r\n",
        b"Content-Length: -2\r\n",
        b"Content-Length: 2, 3\r\n",
        b"Content-Length: " + b"9" * 5000 + b"\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Encoding: gzip\r\n",
        b"Content-Encoding: br, zstd, deflate\r\n",
        b"Set-Cookie: a=b; Expires=never; Domain=.\r\n",
        b"Set-Cookie: \xff\x00=\r\n",
        b"Location: http://[::\r\n",
        b"X: " + b"x" * 70_000 + b"\r\n",
        b"X: y\r\n" * 200,
        b" folded\r\n",
        b"\r\n",
        b"\n",
        b"FFFFFFFFFFFFFFFFFF\r\n",
        b"-1\r\n",
        b"2\r\n{}\r\n0\r\n\r\n",
        GOOD,
    ]
)


@settings(max_examples=examples(80), deadline=None, suppress_health_check=list(HealthCheck))
@given(parts=st.lists(LINES | st.binary(max_size=40), max_size=8))
def test_any_bytes_of_a_server_make_an_exchange_and_no_exception(parts: list[bytes]) -> None:
    exchange, server = call(answering(b"".join(parts)), secs=5)
    assert exchange.sent
    assert server.connections == 1
    judge(exchange, 1)
