"""A client on a real socket, and simulators that end with their test."""

import http.client
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pytest

from syncd.simulator import Settings, Simulator

HEADERS = {
    "wolkvox-token": "simulator-token",
    "wolkvox_server": "0042",
    "Content-Type": "application/json",
}


@dataclass(frozen=True)
class Answer:
    """A reply as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Calls a simulator, each time on a connection of its own."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.simulator.port, timeout=20)

    def call(self, method: str, path: str, body: object = None, **headers: str | None) -> Answer:
        """One call; a header given as None is left out, underscores are as they are."""
        mixed = {**HEADERS, **headers}
        sent = {name: value for name, value in mixed.items() if value is not None}
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        with closing(self.connect()) as connection:
            connection.request(method, path, data, sent)
            return read(connection)

    def add(self, records: object, kind: str = "predictive", campaign: str = "12345", status: str = "start") -> Answer:
        return self.call("POST", add_path(kind, campaign, status), records)

    def get(self, page: str, api: str, **query: str) -> Answer:
        return self.call("GET", f"/api/v2/{page}.php?" + urlencode({"api": api, **query}))


def add_path(kind: str = "predictive", campaign: str = "12345", status: str = "start") -> str:
    query = {"api": "add_record", "type_campaign": kind, "campaign_id": campaign, "campaign_status": status}
    return "/api/v2/campaign.php?" + urlencode({name: value for name, value in query.items() if value})


def read(connection: http.client.HTTPConnection) -> Answer:
    response = connection.getresponse()
    return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())


def leads(*names: str) -> list[dict[str, str]]:
    return [{"customer_id": name, "customer_name": "Prueba", "tel1": "90000000001"} for name in names]


Start = Callable[..., Client]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a simulator with the given settings."""
    with ExitStack() as stack:

        def starter(clock: Callable[[], float] = time.time, **settings: Any) -> Client:
            return Client(stack.enter_context(Simulator(Settings(**settings), clock)))

        yield starter
