"""What goes wrong, and whether the records are stored when it does."""

import contextlib
import http.client
import json
import socket
import threading
import time
from contextlib import closing

import pytest

from syncd.simulator import Fault, Simulator
from syncd.simulator.faults import KINDS
from syncd.simulator.waits import Waits
from tests.simulator.conftest import HEADERS, Client, Start, add_path, leads

CUTS = (ConnectionError, http.client.IncompleteRead, http.client.BadStatusLine)
QUICK: dict[str, dict[str, object]] = {  # what makes a kind end by itself, and soon
    "hang": {"seconds": 0.01},
    "cut-then-store": {"seconds": 0.01},
    "drip": {"bytes_per_sec": 1e6},
    "huge-body": {"size": 200_000},
}


def outcome(client: Client) -> str:
    """What a client makes of one add_record: a status, or how it broke."""
    try:
        answer = client.add(leads("a"))
    except CUTS as error:
        return type(error).__name__
    return str(answer.status)


@pytest.mark.parametrize("stored", [None, True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_every_fault_stores_exactly_when_it_says_so(start: Start, kind: str, *, stored: bool | None) -> None:
    if stored is not None and KINDS[kind].stored in ("always", "never"):
        with pytest.raises(ValueError, match="takes no stored"):
            Fault(kind, stored=stored)
        return
    client = start()
    fault = Fault.from_json({"kind": kind, **QUICK.get(kind, {}), **({} if stored is None else {"stored": stored})})
    client.simulator.script(fault)
    outcome(client)
    assert client.simulator.state.wait_for(lambda state: state.struck() == {kind: 1})
    assert client.simulator.state.accepted("12345") == ({"a": 1} if fault.stores else {})
    assert client.simulator.state.last_calls()[-1].accepted == int(fault.stores)
    assert client.simulator.state.quota_used() == 1
    assert client.add(leads("b")).status == 201  # and the next call is a call as ever
    assert client.simulator.state.peak_simultaneous() == 1


@pytest.mark.parametrize("kind", ["cut-headers", "cut-body", "cut-before", "cut-after", "cut-reply", "cut-then-store"])
@pytest.mark.parametrize("reset", [True, False])
def test_a_cut_gives_the_client_no_reply(start: Start, kind: str, *, reset: bool) -> None:
    client = start()
    client.simulator.script(Fault.from_json({"kind": kind, "reset": reset, **QUICK.get(kind, {})}))
    assert not outcome(client).isdigit()


def test_a_reply_by_script_comes_verbatim(start: Start) -> None:
    client = start()
    client.simulator.script(Fault("reply", status=502, body="<html>Bad Gateway</html>"))
    answer = client.add(leads("a"))
    assert (answer.status, answer.body) == (502, b"<html>Bad Gateway</html>")


def test_maintenance_is_a_403_with_a_text_of_its_own(start: Start) -> None:
    client = start()
    client.simulator.script(Fault("maintenance", body="BACKUP"))
    answer = client.add(leads("a"))
    assert (answer.status, answer.json["msg"]) == (403, "BACKUP")


def test_a_redirect_says_where_to(start: Start) -> None:
    client = start()
    client.simulator.script(Fault("redirect", status=307, location="/elsewhere"))
    answer = client.add(leads("a"))
    assert (answer.status, answer.headers["location"]) == (307, "/elsewhere")


def test_broken_json_has_the_right_status_and_length(start: Start) -> None:
    client = start()
    client.simulator.script(Fault("broken-json"))
    answer = client.add(leads("a"))
    assert answer.status == 201
    with pytest.raises(json.JSONDecodeError):
        json.loads(answer.body)


def test_a_huge_body_is_huge(start: Start) -> None:
    client = start()
    client.simulator.script(Fault("huge-body", size=3_000_000))
    assert len(client.add(leads("a")).body) > 3_000_000


def test_a_wrong_length_is_too_long_or_too_short(start: Start) -> None:
    client = start()
    client.simulator.script(Fault("wrong-length"), Fault("wrong-length", excess=-5))
    assert outcome(client) == "IncompleteRead"
    assert not client.add(leads("a")).body.endswith(b"}")


def test_an_idle_connection_is_closed_after_a_promise_to_keep_it(start: Start) -> None:
    client = start()
    client.simulator.script(Fault("cut-idle"))
    with closing(client.connect()) as connection:
        connection.request("POST", add_path(), json.dumps(leads("a")), HEADERS)
        response = connection.getresponse()
        assert response.getheader("connection") == "keep-alive"
        response.read()
        assert connection.sock is not None
        assert connection.sock.recv(1) == b""


def test_latency_counts_the_records(start: Start) -> None:
    client = start(latency_secs=0.01, record_secs=0.005)
    client.simulator.script(Fault("latency", seconds=0.02, record_secs=0.01))
    before = time.monotonic()
    client.add(leads("a", "b"))
    assert time.monotonic() - before >= 0.06


def test_a_drip_takes_its_time(start: Start) -> None:
    client = start()
    client.simulator.script(Fault("drip", bytes_per_sec=1000))
    before = time.monotonic()
    assert client.add(leads("a")).status == 201
    assert time.monotonic() - before >= 0.15


@pytest.mark.parametrize(("faults", "greeted"), [((), True), ((Fault("no-continue"),), False)])
def test_expect_continue_is_answered_unless_a_fault_ignores_it(
    start: Start, faults: tuple[Fault, ...], *, greeted: bool
) -> None:
    client = start(faults=faults)
    head = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
    with socket.create_connection(("127.0.0.1", client.simulator.port), timeout=10) as raw:
        raw.sendall(f"POST {add_path()} HTTP/1.1\r\n{head}Expect: 100-continue\r\nContent-Length: 2\r\n\r\n".encode())
        if greeted:
            assert raw.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        raw.sendall(b"[]")
        assert raw.recv(12) == b"HTTP/1.1 404"


def test_a_late_store_happens_after_the_cut_when_told(start: Start) -> None:
    client = start()
    client.simulator.script(Fault("cut-then-store"))
    assert not outcome(client).isdigit()
    assert client.simulator.state.accepted("12345") == {}
    assert client.simulator.state.in_flight() == 1  # a call that the client gave up goes on
    client.simulator.release()
    assert client.simulator.state.wait_for(lambda state: state.accepted("12345") == {"a": 1})


def test_faults_strike_in_line_by_call_and_by_number(start: Start) -> None:
    client = start()
    client.simulator.script(
        Fault("reply", api="token_info", status=599),
        Fault("reply", api="add_record", nth=2, times=2, status=500),
        Fault("reply", api="add_record", nth=5, times=0, status=501),
    )
    assert [client.add(leads("a")).status for _ in range(6)] == [201, 500, 500, 201, 501, 501]
    assert [client.get("information", "token_info").status for _ in range(2)] == [599, 200]
    assert [fault.status for fault in client.simulator.state.faults()] == [501]
    client.simulator.clear_faults()
    assert client.add(leads("a")).status == 201


def test_a_fault_leaves_alone_what_the_gate_refuses(start: Start) -> None:
    client = start(faults=(Fault("reply"),))
    assert client.call("POST", add_path(), leads("a"), **{"wolkvox-token": "wrong"}).status == 403
    assert client.add(leads("a")).status == 500


def test_a_fault_is_read_from_words() -> None:
    text = "reply api=add_record nth=3 times=forever status=502 stored=yes body='Bad Gateway' seconds=0.5"
    assert Fault.parse(text) == Fault(
        "reply", api="add_record", nth=3, times=0, status=502, stored=True, body="Bad Gateway", seconds=0.5
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "unknown fault ''"),
        ("explode", "the kinds are latency"),
        ("hang api=dial", "unknown api 'dial'"),
        ("hang stored=maybe", "stored cannot be 'maybe'"),
        ("hang nth=x", "nth cannot be 'x'"),
        ("hang nth=0", "nth counts from 1"),
        ("hang colour=red", "unknown parameter 'colour'"),
        ("hang often", "'often' is not name=value"),
        ("drip location=/x", "drip takes no location"),
        ("drip bytes_per_sec=0", "more than 0"),
        ("reply status=99", "200..599"),
        ("redirect 'location=/x\r\ny'", "one line"),
    ],
)
def test_a_fault_that_makes_no_sense_is_named(text: str, told: str) -> None:
    with pytest.raises(ValueError, match="fault") as caught:
        Fault.parse(text)
    assert told in str(caught.value)


@pytest.mark.parametrize("fault", [Fault("hang"), Fault("latency", seconds=60), Fault("drip", bytes_per_sec=1)])
def test_stop_is_prompt_and_leaves_no_thread(fault: Fault) -> None:
    before = set(threading.enumerate())
    simulator = Simulator().start()
    simulator.script(fault)
    client = Client(simulator)
    with closing(client.connect()) as struck, closing(client.connect()) as idle:
        struck.request("POST", add_path(), json.dumps(leads("a")), HEADERS)
        idle.connect()
        assert simulator.state.wait_for(lambda state: state.in_flight() == 1)
        began = time.monotonic()
        simulator.stop()
        assert time.monotonic() - began < 2
    assert set(threading.enumerate()) <= before
    assert simulator.state.in_flight() == 0
    simulator.stop()


def test_it_starts_again_on_its_port_with_what_it_counted() -> None:
    simulator = Simulator()
    with simulator:
        client, port = Client(simulator), simulator.port
        client.add(leads("a"))
        with pytest.raises(RuntimeError, match="already"):
            simulator.start()
    with contextlib.suppress(ConnectionError):
        client.add(leads("b"))
        pytest.fail("it should not listen")
    with simulator:
        assert simulator.port == port
        client.add(leads("a"))
        assert simulator.state.accepted("12345") == {"a": 2}


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nContent-Length: 999999999999\r\n\r\n", b"413"),
        (b"GET / HTTP/1.1\r\n\r\n", b"404"),
    ],
)
def test_what_is_no_request_is_told_so(start: Start, sent: bytes, status: bytes) -> None:
    client = start()
    with socket.create_connection(("127.0.0.1", client.simulator.port), timeout=10) as raw:
        raw.sendall(sent)
        assert raw.recv(12) == b"HTTP/1.1 " + status


def test_a_release_between_the_arrival_and_the_hang_is_not_lost() -> None:
    waits = Waits()
    arrival = waits.arrival()
    waits.release()
    began = time.monotonic()
    waits.hang(5, arrival)
    assert time.monotonic() - began < 1
