"""systemd/syncd.service is one that systemd understands, keeps syncd in narrow bounds, and fits the configuration."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from syncd.config.models import Wolkvox
from syncd.errors import EXIT_CONFIG
from tests.docs.pages import ROOT

UNIT = ROOT / "systemd" / "syncd.service"
TEXT = UNIT.read_text(encoding="utf-8")
EXAMPLE = (ROOT / "config.example.toml").read_text(encoding="utf-8")

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="systemd-analyze is missing (apt-get install systemd): systemd's own opinion of the unit is not asked",
)


def settings(name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", TEXT, re.MULTILINE)


def seconds(name: str) -> int:
    return int(settings(name)[0])


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The unit with a program that is there, for systemd looks for it."""
    unit = tmp_path / "syncd.service"
    unit.write_text(TEXT.replace("/opt/syncd/bin/syncd", "/bin/true"), encoding="utf-8")
    return unit


@needs_systemd
def test_systemd_understands_every_line(installed: Path) -> None:
    done = subprocess.run(["systemd-analyze", "verify", str(installed)], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_systemd
def test_systemd_would_tell_of_a_line_that_it_does_not_understand(installed: Path) -> None:
    installed.write_text(installed.read_text().replace("[Service]", "[Service]\nNonsense=yes"), encoding="utf-8")
    done = subprocess.run(["systemd-analyze", "verify", str(installed)], capture_output=True, text=True)
    assert "Nonsense" in done.stderr


@needs_systemd
def test_the_unit_is_exposed_to_no_more_than_1_5_of_10(installed: Path) -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=15", "--no-pager", str(installed)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "Overall exposure level" in done.stdout


def test_a_fault_of_the_configuration_is_not_met_again_and_again() -> None:
    assert settings("Restart") == ["on-failure"]
    assert settings("RestartPreventExitStatus") == [str(EXIT_CONFIG)]
    # A status of ExecStartPre is not looked at by RestartPreventExitStatus: it must not be the one that fails.
    assert all(command.startswith("-") for command in settings("ExecStartPre"))


def test_a_call_in_flight_can_end_before_systemd_kills() -> None:
    longest = Wolkvox.model_fields["call_timeout_secs"].default
    assert seconds("TimeoutStopSec") >= longest + 30
    assert seconds("WatchdogSec") > longest + 30  # a reload waits for the call, too, and feeds no watchdog meanwhile


def test_a_crash_writes_no_memory_to_the_disk() -> None:
    assert settings("LimitCORE") == ["0"]


def test_the_secrets_that_the_unit_loads_are_those_that_the_example_names() -> None:
    loaded = {line.partition(":")[0] for line in settings("#?LoadCredential")}
    named = re.findall(r'^(?:# )?(\w+)_file = "(.*)"$', EXAMPLE, re.MULTILINE)
    assert loaded == {file for key, file in named if key != "witness"}  # which syncd writes, and is no secret
    in_use = {line.partition(":")[0] for line in settings("LoadCredential")}
    assert in_use == set(re.findall(r'^\w+_file = "(.*)"$', EXAMPLE, re.MULTILINE))


def test_the_ledger_of_the_example_is_in_the_folder_that_the_unit_may_write() -> None:
    assert settings("StateDirectory") == ["syncd"]
    assert 'url = "sqlite:////var/lib/syncd/' in EXAMPLE


def test_the_commands_of_the_unit_are_commands_of_syncd() -> None:
    from syncd.cli import cli, main

    main(["--version"])
    commands = [line for name in ("ExecStart", "ExecStartPre") for line in settings(name)]
    assert len(commands) == 2
    for command in commands:
        words = command.lstrip("-").split()
        assert words[0] == "/opt/syncd/bin/syncd"
        cli.commands[words[1]].make_context(words[1], words[2:])
