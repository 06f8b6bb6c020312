"""docs/simulator.md says what the simulator does: its tables, its commands and its curls are tried."""

import http.client
import json
import re
import shlex
import threading
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from syncd.simulator import Fault, Settings, run
from syncd.simulator.faults import KINDS
from tests.simulator.conftest import HEADERS, Start, add_path, leads, read

DOC = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", DOC, re.DOTALL) for line in block.splitlines()]


def table(first: str) -> list[list[str]]:
    """The cells of the table whose head begins with ``first``."""
    rows = DOC.split(f"| {first} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


def ticked(cell: str) -> list[str]:
    return re.findall(r"`([^`]*)`", cell)


def test_the_table_of_faults_names_every_kind_with_its_parameters_and_what_it_stores() -> None:
    rows = {ticked(row[0])[0]: row for row in table("Kind")}
    assert set(rows) == set(KINDS)
    says = {
        "never": ("no",),
        "always": ("yes", "as ever", "yes, late"),
        "no": ("no, or `stored=yes`",),
        "yes": ("yes, or `stored=no`",),
    }
    for kind, rule in KINDS.items():
        assert rows[kind][2] in says[rule.stored], kind
        assert tuple(ticked(rows[kind][3]) if len(rows[kind]) > 3 else ()) == rule.takes, kind


def test_the_table_of_parameters_names_those_of_every_fault() -> None:
    assert [ticked(row[0])[0] for row in table("Parameter")] == ["api", "nth", "times", "seconds"]


def test_the_table_of_switches_names_every_switch_its_default_and_its_values() -> None:
    rows = {ticked(row[0])[0]: row for row in table("Switch")}
    assert set(rows) == {field.name for field in fields(Settings)} - {"faults"}
    for name, (_, default, values, _meaning) in rows.items():
        if name not in ("port", "no_rows_msg", "poison"):
            assert Settings().with_text([f"{name}={default.strip('`')}"]) == Settings(), name
        for value in ticked(values):
            Settings().with_text([f"{name}={value}"])
        if ticked(values):
            with pytest.raises(ValueError, match=name):
                Settings().with_text([f"{name}=no-such-value"])


def test_every_command_of_the_simulator_is_understood() -> None:
    commands = [shlex.split(line) for line in COMMANDS if line.startswith("syncd simulator")]
    assert len(commands) >= 6
    for _, _, *words in commands:
        for option, value in zip(words[::2], words[1::2], strict=True):
            match option:
                case "--fault":
                    Fault.parse(value)
                case "--set":
                    Settings().with_text([value])
                case _:
                    assert option in ("--port", "--token", "--licenses")


def test_every_curl_succeeds_in_the_order_of_the_page(start: Start) -> None:
    client = start()
    curls = [shlex.split(line)[1:] for line in COMMANDS if line.startswith("curl")]
    assert len(curls) >= 12
    for words in curls:
        method, url, body, headers = "GET", "", None, {}
        while words:
            match words.pop(0):
                case "-X":
                    method = words.pop(0)
                case "-H":
                    name, _, value = words.pop(0).partition(": ")
                    headers[name] = value
                case "-d":
                    body = words.pop(0).encode()
                case given:
                    url = given
        parts = urlsplit(url)
        assert parts.netloc == "127.0.0.1:8642"
        bare: dict[str, str | None] = {"wolkvox-token": None, "wolkvox_server": None}
        answer = client.call(method, f"{parts.path}?{parts.query}", body, **(bare | headers))
        assert answer.status in (200, 201), (url, answer.body)
        assert answer.json is not None
    assert client.simulator.state.calls() == {}  # the last one was a reset


def test_the_python_of_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    code = DOC.split("```python\n")[1].split("```")[0]
    exec(compile(code, "simulator.md", "exec"), {})  # noqa: S102 - our own documentation
    assert capsys.readouterr().out.startswith("http://127.0.0.1:")


def test_the_pages_tell_counts_and_leads_accepted_more_than_once(start: Start) -> None:
    client = start()
    client.add(leads("a", "b"))
    client.add(leads("b"))
    client.add([{"customer_id": ""}])
    state = client.call("GET", "/_simulator/state").json
    assert state["calls"] == {"add_record": 3}
    assert state["refused"] == {"records": 1}
    assert (state["total_accepted"], state["unique_leads"]) == (3, 2)
    assert state["leads_accepted_more_than_once"] == 1
    assert state["quota"]["used"] == 3
    assert state["peak_simultaneous"] == 1
    assert state["campaigns"]["12345"]["records"] == 3
    assert client.call("GET", "/_simulator/leads?campaign_id=12345").json == {"a": 1, "b": 2}
    assert client.call("GET", "/_simulator/leads?campaign_id=12345&more_than=1").json == {"b": 2}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "faults", b"{}"),
        ("POST", "faults", b"nonsense"),
        ("POST", "faults", b'[{"kind": "explode"}]'),
        ("POST", "quota", b'{"used": -1}'),
        ("GET", "leads?campaign_id=777", None),
        ("GET", "leads?campaign_id=12345&more_than=x", None),
    ],
)
def test_a_page_asked_wrongly_says_why(start: Start, method: str, path: str, body: bytes | None) -> None:
    answer = start().call(method, f"/_simulator/{path}", body)
    assert answer.status == 400
    assert answer.json["error"]


def test_a_page_that_is_not_there_names_those_that_are(start: Start) -> None:
    answer = start().call("GET", "/_simulator/")
    assert answer.status == 404
    assert "/_simulator/state" in answer.json["error"]


def test_run_serves_until_told_to_stop_and_logs_no_lead_and_no_token() -> None:
    stop, listens = threading.Event(), threading.Event()
    lines: list[str] = []
    statuses: list[int] = []

    def log(line: str) -> None:
        lines.append(line)
        listens.set()

    thread = threading.Thread(target=lambda: statuses.append(run(Settings(), log, stop)))
    thread.start()
    assert listens.wait(10)
    port = int(lines[0].rpartition(":")[2])

    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("POST", add_path(), json.dumps(leads("secret-lead")), HEADERS)
        assert read(connection).status == 201
    taken = run(Settings(port=port), lines.append, stop)
    stop.set()
    thread.join(10)
    assert (statuses, taken) == ([0], 1)
    text = "\n".join(lines)
    assert "add_record campaign=12345 records=1 accepted=1 answered=201" in text
    assert f"cannot listen on 127.0.0.1 port {port}" in text
    assert "secret-lead" not in text
    assert "simulator-token" not in text
