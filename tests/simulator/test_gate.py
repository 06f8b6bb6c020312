"""Tokens, the day's quota, and calls at once."""

from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta

import pytest

from syncd.simulator import Fault
from tests.simulator.conftest import HEADERS, Start, add_path, leads, read


@pytest.mark.parametrize(
    ("headers", "status", "msg"),
    [
        ({"wolkvox-token": None}, 401, "PLEASE ENTER THE WOLKVOX-TOKEN"),
        ({"wolkvox-token": "wrong"}, 403, "PLEASE VALIDATE TOKEN"),
        ({"wolkvox_server": None}, 400, "SOME PARAMETERS ARE REQUIRED"),
        ({"wolkvox_server": "0043"}, 403, "PLEASE VALIDATE TOKEN"),
    ],
)
def test_headers_that_are_missing_or_wrong_are_refused(
    start: Start, headers: dict[str, str | None], status: int, msg: str
) -> None:
    client = start()
    answer = client.call("POST", add_path(), leads("a"), **headers)
    assert (answer.status, answer.json["msg"]) == (status, msg)
    assert client.simulator.state.accepted("12345") == {}


def test_the_quota_is_spent_call_by_call_and_comes_back_at_midnight_in_bogota(start: Start) -> None:
    midnight = datetime(2025, 3, 5, 5, 0, tzinfo=UTC)  # 00:00 in Bogota
    now = [(midnight - timedelta(seconds=1)).timestamp()]
    client = start(clock=lambda: now[0], licenses=1)
    client.simulator.set_quota_used(998)
    assert client.add(leads("a")).status == 201
    info = client.get("information", "token_info").json["data"][0]
    assert (info["token_limit"], info["token_use_today"]) == ("1000", "1000")
    answer = client.add(leads("b"))
    assert (answer.status, answer.json["msg"]) == (403, "TOKEN LIMIT EXCEEDED")
    assert client.simulator.state.quota_used() == 1000
    now[0] += 1
    assert client.add(leads("b")).status == 201
    assert client.simulator.state.quota_used() == 1


@pytest.mark.parametrize(("counted", "used"), [(True, 3), (False, 1)])
def test_a_refused_call_costs_a_unit_as_the_switch_says(start: Start, *, counted: bool, used: int) -> None:
    client = start(count_refused=counted)
    client.add([{"customer_id": ""}])
    client.call("POST", add_path(), leads("a"), wolkvox_server="0043")
    client.get("campaign", "campaign_15", campaign_id="12345")  # no rows, but no refusal: it costs
    assert client.simulator.state.quota_used() == used


@pytest.mark.parametrize(("shared", "status"), [(True, 403), (False, 200)])
def test_tokens_share_the_quota_as_the_switch_says(start: Start, *, shared: bool, status: int) -> None:
    client = start(tokens=("one", "two"), licenses=1, shared_quota=shared)
    for _ in range(2):
        client.call("GET", "/api/v2/information.php?api=token_info", **{"wolkvox-token": "one"})
    assert client.simulator.state.quota_used("one") == 2
    client.simulator.set_quota_used(999)
    for token in ("one", "one"):
        client.call("GET", "/api/v2/information.php?api=token_info", **{"wolkvox-token": token})
    other = client.call("GET", "/api/v2/information.php?api=token_info", **{"wolkvox-token": "two"})
    assert other.status == status


def test_the_third_call_at_once_is_refused_and_the_two_go_on(start: Start) -> None:
    client = start()
    client.simulator.script(Fault("hang", times=2, stored=True))
    with ExitStack() as stack:
        hanging = [stack.enter_context(closing(client.connect())) for _ in range(2)]
        for connection in hanging:
            connection.request("POST", add_path(), b'[{"customer_id": "a"}]', HEADERS)
        assert client.simulator.state.wait_for(lambda state: state.in_flight() == 2)
        answer = client.add(leads("b"))
        assert answer.status == 403
        assert answer.json["msg"] == "EXCEEDS THE LIMIT OF SIMULTANEOUS REQUESTS PER TOKEN (2)"
        assert client.simulator.state.peak_simultaneous() == 3
        client.simulator.release()
        assert [read(connection).status for connection in hanging] == [201, 201]
    assert client.add(leads("b")).status == 201
    assert client.simulator.state.refused() == {"simultaneous": 1}


def test_calls_one_after_the_other_are_never_seen_as_two_at_once(start: Start) -> None:
    client = start(simultaneous=1)
    assert {client.add(leads("a")).status for _ in range(50)} == {201}
    assert client.simulator.state.peak_simultaneous() == 1
