"""What the demo stands on: a Postgres, a simulator and the daemon, each a process; their files; and their end."""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar
from zoneinfo import ZoneInfo

import orjson

from syncd.errors import EnvironmentFault

CAMPAIGN: Final = "12345"
SYNC: Final = "web-leads"
READER: Final = "syncd"
SERVER: Final = "0042"
DIAL_PREFIX: Final = "9"
_START_SECS = 30.0
_END_SECS = 30.0
_SPACING_SECS = 1.5
"""A call every so often is what the licences are chosen for."""
_RESERVED = 500
_CALLS_PER_LICENSE = 1000
_NEAR_MIDNIGHT_SECS = 900
_DIE_WITH_PARENT = 1  # prctl(2), PR_SET_PDEATHSIG


class Process:
    """One command of syncd as a process of its own, which ends with the demo whatever happens to that.

    Args:
        name: for errors, and of the log file.
        folder: where its output goes, to NAME.log.
    """

    def __init__(self, name: str, arguments: list[str], folder: Path) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("wb") as sink:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "syncd", *arguments],
                cwd=folder,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C is for the demo, which ends the rest in order
                preexec_fn=_die_with_parent,  # there are no threads that could hold a lock
            )
        self.pid = self._process.pid

    def check(self) -> None:
        """See that it runs.

        Raises:
            EnvironmentFault: it has ended; the message has its last words.
        """
        status = self._process.poll()
        if status is not None:
            self.fail(f"ended with status {status}")

    def fail(self, what: str) -> NoReturn:
        """Give up.

        Raises:
            EnvironmentFault: always; the message has its last words.
        """
        words = self.log.read_text("utf-8", "replace").strip().splitlines()[-3:]
        raise EnvironmentFault(f"The {self.name} {what}: {' '.join(words) or 'it said nothing'}")

    def end(self) -> int:
        """Ask it to end by SIGTERM; its exit status (-9 if it had to be killed)."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(_END_SECS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGTERM)


def _environment() -> dict[str, str]:
    """Nothing that belongs to another syncd, to its service manager, or to another Postgres."""
    foreign = ("PG", "SYNCD_", "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}


class Command:
    """A command of syncd that prints JSON, run to its end.

    Args:
        config_file: that it reads.
    """

    def __init__(self, config_file: Path) -> None:
        self._config_file = config_file

    def ask(self, *arguments: str) -> Any:
        """What it prints.

        Raises:
            EnvironmentFault: it failed; the message has what it said.
        """
        command = [sys.executable, "-m", "syncd", "--config", str(self._config_file), *arguments, "--json"]
        done = subprocess.run(command, env=_environment(), capture_output=True, check=False, timeout=120)
        if done.returncode != 0:
            words = done.stderr.decode("utf-8", "replace").strip()
            raise EnvironmentFault(f"`syncd {arguments[0]}` failed with status {done.returncode}: {words}")
        return orjson.loads(done.stdout)


class Pages:
    """The pages of a process on loopback.

    Args:
        port: on 127.0.0.1.
    """

    def __init__(self, port: int) -> None:
        self._port = port

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Any:
        """The JSON of a page; None where nothing answers as it should."""
        return self._ask("GET", path, None, headers or {})

    def post(self, path: str, value: object) -> Any:
        """The same, after sending JSON."""
        return self._ask("POST", path, orjson.dumps(value), {})

    def _ask(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            content = response.read()
            return orjson.loads(content) if response.status == 200 else None
        except (OSError, http.client.HTTPException, orjson.JSONDecodeError):
            return None
        finally:
            connection.close()


def start_simulator(folder: Path, token: str, pacing: Pacing, wait: Callable[[float], None]) -> tuple[Process, int]:
    """A `syncd simulator` on a free port that counts leads by their number in the CRM; and its port.

    Args:
        wait: sleeps, unless the demo is to end.

    Raises:
        EnvironmentFault: it does not start.
    """
    switches = ("identity=opt12", "stock=0", "latency_secs=0.3", f"timezone={pacing.timezone}")
    arguments = ["simulator", "--port", "0", "--token", token, "--licenses", str(pacing.licenses)]
    process = Process("simulator", [*arguments, *(word for each in switches for word in ("--set", each))], folder)

    def port() -> int:
        line, newline, _ = process.log.read_text("utf-8").partition("\n")
        return int(line.rpartition(":")[2]) if newline else 0

    return process, _started(process, port, wait)


def start_daemon(folder: Path, config_file: Path, port: int, wait: Callable[[float], None]) -> Process:
    """`syncd run`, ready.

    Raises:
        EnvironmentFault: it does not become ready.
    """
    process = Process("daemon", ["run", "--config", str(config_file)], folder)
    _started(process, lambda: (Pages(port).get("/status") or {}).get("ready"), wait)
    return process


T = TypeVar("T")


def _started(process: Process, sign: Callable[[], T], wait: Callable[[float], None]) -> T:
    """The sign of life of a process that has just been made, which ends if it gives none."""
    deadline = time.monotonic() + _START_SECS
    try:
        while not (found := sign()):
            process.check()
            if time.monotonic() > deadline:
                process.fail("does not become ready")
            wait(0.05)
    except BaseException:
        process.end()
        raise
    return found


@dataclass(frozen=True, slots=True)
class Counted:
    """What the simulator has seen."""

    arrived: Mapping[str, int]
    """How often each lead was accepted, by its number in the CRM."""
    dialled: Mapping[str, str]
    """The telephone number in each lead's record, without the dial prefix; an export has 60,000 leads at most."""
    calls: int
    """Calls to wolkvox, before this one."""


def count(simulator: Pages, token: str) -> Counted:
    """Ask the simulator, by its own pages and by wolkvox's export of a campaign.

    Raises:
        EnvironmentFault: it does not answer.
    """
    arrived = simulator.get(f"/_simulator/leads?campaign_id={CAMPAIGN}")
    state = simulator.get("/_simulator/state")
    headers = {"wolkvox-token": token, "wolkvox_server": SERVER}
    export = simulator.get(f"/api/v2/campaign.php?api=campaign_15&campaign_id={CAMPAIGN}", headers)
    if arrived is None or state is None or (export is None and arrived):
        raise EnvironmentFault("The simulator does not tell what it counted.")
    records = export["records"] if export is not None else []
    dialled = {record["opt12"]: record["tel1"].removeprefix(DIAL_PREFIX) for record in records}
    return Counted(arrived, dialled, int(state["quota"]["used"]))


class Pacing:
    """Licences for which a call goes every second or two: syncd spreads the day's calls over what is left of the day.

    Args:
        now: in seconds since the epoch.
    """

    def __init__(self, now: float) -> None:
        self.timezone = "America/Bogota"
        if _until_midnight(now, self.timezone) < _NEAR_MIDNIGHT_SECS:
            self.timezone = "America/Sao_Paulo"  # the day's quota must not begin anew in the middle of the demo
        left = _until_midnight(now, self.timezone)
        self.licenses = int((left / _SPACING_SECS + _RESERVED) // _CALLS_PER_LICENSE) + 1
        self.calls = self.licenses * _CALLS_PER_LICENSE
        self.spacing_secs = left / (self.calls - _RESERVED)


def _until_midnight(now: float, timezone: str) -> float:
    here = datetime.fromtimestamp(now, ZoneInfo(timezone))
    midnight = datetime.combine(here.date() + timedelta(days=1), datetime.min.time(), here.tzinfo)
    return midnight.timestamp() - now


def write_configuration(folder: Path, values: Mapping[str, str | int], secrets_by_name: Mapping[str, str]) -> Path:
    """The daemon's configuration and its secrets, in files for this user alone; the configuration's file."""
    text = files("syncd.demo").joinpath("config.toml").read_text("utf-8")
    for name, value in values.items():
        text = text.replace(f"@{name}@", json.dumps(value))  # a JSON string or number is one in TOML, too
    config_file = folder / "config.toml"
    for path, content in ((config_file, text), *((folder / name, secret) for name, secret in secrets_by_name.items())):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(content)
    return config_file


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def new_secret() -> str:
    """A password or token that nobody can guess."""
    return secrets.token_urlsafe(24)
