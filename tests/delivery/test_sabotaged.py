"""What only a deliberate bug showed to be without a test: see tests/sabotage."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import pytest

from syncd import wolkvox
from syncd.batch import prepare
from syncd.model import Campaign, Exchange
from syncd.simulator import Fault, Settings
from syncd.wolkvox import Wolkvox
from tests.delivery.conftest import Start
from tests.delivery.stage import NOON, ZONE, Stage
from tests.support.rawserver import Peer, raw_server, response

CAMPAIGN = Campaign("12345", "predictive", "start")
GOOD = b'{"code": "201", "error": null, "msg": "All records has been added successfully", "data": [{}]}'


# -- sending -------------------------------------------------------------------------------------------------


def test_the_quota_day_ends_at_midnight_of_its_zone(stage: Stage) -> None:
    stage.clock.now = datetime(2026, 3, 2, 22, tzinfo=ZONE).timestamp()
    stage.add("ana")
    stage.run(1800)
    assert [made["quota_day"] for made in stage.calls()] == ["2026-03-02"]


def test_what_is_kept_of_a_record_is_without_the_marker(start: Start) -> None:
    stage = start(marker="opt12")
    stage.add("ana")
    lane, sync_id = stage.lane("web", "12345"), stage.ledger.register("web", NOON)
    first, second = (
        prepare(lane, stage.ledger, sync_id, stage.ledger.claim(sync_id, 10), call_id, NOON)
        for call_id in ("call-1", "call-2")
    )
    assert b"call-1" in first.body
    assert first.prints == second.prints != b""


# -- the client ----------------------------------------------------------------------------------------------


def test_a_server_that_would_keep_the_line_gets_a_new_one_for_each_call() -> None:
    def behave(peer: Peer) -> None:
        peer.connection.settimeout(3)
        while True:
            peer.read_request()
            peer.send(response(GOOD, "201 Created", "Connection: keep-alive"))

    with raw_server(behave) as server:
        client = Wolkvox(server.url, "0042", "token", 5)
        made = [client.add_record(CAMPAIGN, b"[{}]") for _ in range(3)]
        assert [(exchange.sent, exchange.status) for exchange in made] == [(True, 201)] * 3
        assert server.connections == 3


def test_tls_is_1_2_or_later() -> None:
    assert wolkvox._tls().minimum_version >= ssl.TLSVersion.TLSv1_2


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
def test_a_certificate_that_nobody_vouches_for_gets_nothing(tmp_path: Path) -> None:
    make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    try:
        subprocess.run(
            [*make.split(), "-keyout", tmp_path / "key", "-out", tmp_path / "certificate"],
            check=True,
            capture_output=True,
        )
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate", tmp_path / "key")
    seen: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        with suppress(OSError):
            connection, _ = listener.accept()
            with context.wrap_socket(connection, server_side=True) as wrapped:
                seen.append(wrapped.recv(65_536))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        client = Wolkvox(f"https://127.0.0.1:{listener.getsockname()[1]}", "0042", "the-token", 5)
        exchange = client.add_record(CAMPAIGN, b"[{}]")
        thread.join(10)
    assert (exchange.sent, exchange.status) == (False, None)
    assert b"the-token" not in b"".join(seen)


def test_what_went_wrong_is_said_without_a_word_of_the_reply() -> None:
    def behave(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\nswordfish\r\n")

    with raw_server(behave) as server:
        exchange = Wolkvox(server.url, "0042", "token", 5).add_record(CAMPAIGN, b"[{}]")
    assert (exchange.sent, exchange.status) == (True, None)
    assert exchange.error
    assert "swordfish" not in exchange.error


# -- leads that wolkvox refuses without naming them --------------------------------------------------------------


def test_a_lead_that_was_refused_by_itself_is_not_asked_about_again(start: Start) -> None:
    stage = start(sim=Settings(poison="peste", keep_bodies=20), batch_size=1, max_wait_secs=5)
    stage.add("peste")
    stage.clock.now += 1
    stage.add("ana", "beto")
    stage.run(60)
    assert sorted(stage.states().values()) == ["delivered", "delivered", "rejected"]
    assert [record["customer_id"] for body in stage.bodies() for record in body].count("peste") == 1


def test_a_poisoned_lead_that_waits_alone_is_not_sent_at_each_look(start: Start) -> None:
    stage = start(sim=Settings(poison="peste", keep_bodies=20), batch_size=1)
    stage.add("peste")
    for _ in range(5):
        stage.turn()
        stage.clock.now += 1
    assert stage.posts() == 1


def test_a_call_without_an_answer_is_no_acceptance_by_which_others_are_rejected(start: Start) -> None:
    stage = start(sim=Settings(poison="customer_id", keep_bodies=20))
    stage.simulator.script(Fault("cut-before", api="add_record", nth=3))
    stage.add(*(f"lead-{number}" for number in range(20)))
    stage.run(3600)
    assert sorted(stage.states().values()) == ["held"] + ["pending"] * 19
    assert "does not say why" in stage.delivery.standing.reason


def test_a_lead_that_is_sent_alone_into_a_maintenance_is_not_rejected_for_that(start: Start) -> None:
    stage = start(sim=Settings(poison="peste", keep_bodies=20))
    stage.simulator.script(Fault("maintenance", api="add_record", nth=2))
    (bad,) = stage.add("peste")
    good = stage.add(*(f"lead-{number}" for number in range(7)))
    stage.turn()
    stage.turn()
    assert stage.calls()[-1]["leads"] == 1
    stage.change(bad, captured=False, document="curada")
    stage.run(3600)
    assert stage.states() == dict.fromkeys([bad, *good], "delivered")


def test_where_many_are_poisoned_the_search_rests_before_it_goes_on(start: Start) -> None:
    stage = start(sim=Settings(poison="peste", keep_bodies=20), batch_size=64, max_wait_secs=5)
    stage.add(*(f"{'peste' if number % 2 else 'lead'}-{number}" for number in range(128)))
    budget = 1 + 6 * 6 + 8  # the refused call, six for each halving of 64, and eight to spare
    stage.run(60)
    assert stage.posts() == budget
    assert "refuses many leads without naming them" in stage.delivery.standing.reason
    stage.run(900)
    assert budget < stage.posts() <= 2 * budget + 4  # before the next search, one lead or two go by themselves


def test_a_call_counts_as_at_work_from_when_its_request_had_left() -> None:
    assert Exchange(True, None, b"", "no reply", 20.0, 15.0).left_by(1000.0) == 995.0
    assert Exchange(True, None, b"", "cut while it was sent", 20.0, None).left_by(1000.0) == 1000.0
