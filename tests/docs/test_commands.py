"""docs/commands.md lists every command and option, and the command lines of all pages are ones that syncd takes."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from syncd.cli import cli, main
from syncd.states import LeadState
from tests.docs.pages import PAGES, ROOT, page, rows, shell_lines, ticked

COMMANDS = page("commands.md")
main(["--version"])  # adds the commands to the group
SECTIONS = dict(re.findall(r"^## syncd ([a-z]+)\n(.*?)(?=^## |\Z)", COMMANDS, re.DOTALL | re.MULTILINE))
APPLICATIONS = {name for row in rows(page("dba.md"), "`application_name`") for name in ticked(row[0])}
"""The names of database connections, which read like commands."""


def options_of(command: click.Command) -> set[str]:
    return {name for option in command.params if isinstance(option, click.Option) for name in option.opts}


def syncd_lines() -> Iterator[tuple[str, str]]:
    """(page, command line) of every `syncd ...` in a shell block, without sudo, redirections and pipes."""
    for path in PAGES:
        for line in shell_lines(path.read_text(encoding="utf-8")):
            match = re.match(r"(?:sudo -u syncd )?(?:\S*/)?syncd (.*)", line)
            if match:
                yield path.name, re.split(r" [|>] ", match[1])[0]


def inline_lines() -> Iterator[tuple[str, str]]:
    """The same of the text between backticks."""
    for path in PAGES:
        text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        for code in set(ticked(text)) - APPLICATIONS:
            match = re.match(r"(?:sudo -u syncd )?syncd ([a-z]+.*)", code)
            if match:
                yield path.name, match[1]


def parse(line: str) -> None:
    """Let click read a command line, without running it.

    Raises:
        click.UsageError: it is none.
    """
    words = shlex.split(line, comments=True)
    context = click.Context(cli, info_name="syncd")
    name, command, rest = cli.resolve_command(context, words)
    assert command is not None, name
    command.make_context(name, rest, parent=context)


def test_every_command_has_a_section_and_every_section_a_command() -> None:
    assert set(SECTIONS) == set(cli.commands)


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_a_commands_options_are_listed_and_no_others(name: str) -> None:
    listed = {
        word
        for row in rows(SECTIONS[name], "Option")
        for word in re.findall(r"(?<!\S)--?[a-z-]+", row[0].replace("`", " "))
    }
    assert listed == options_of(cli.commands[name])


def test_the_options_of_syncd_itself_are_listed() -> None:
    listed = {
        word
        for row in rows(COMMANDS, "Option of `syncd` itself")
        for word in re.findall(r"(?<!\S)--?[a-z-]+", row[0].replace("`", " ").replace(",", " "))
    }
    assert listed == options_of(cli) | {"-h", "--help"}


def test_the_default_that_a_page_gives_for_an_option_is_the_commands_own() -> None:
    checked = 0
    for name, command in cli.commands.items():
        for option in (param for param in command.params if isinstance(param, click.Option) and param.show_default):
            row = next(row for row in rows(SECTIONS[name], "Option") if re.search(rf"{option.opts[0]}\b", row[0]))
            default = option.default
            shown = f"{default:g}" if isinstance(default, float) else str(default)
            assert re.search(rf"\({re.escape(shown)}\)", row[1]), f"{name} {option.opts[0]}: {shown}"
            checked += 1
    assert checked >= 6


def test_the_states_of_a_lead_are_listed_in_the_option_and_in_the_readme() -> None:
    option = next(row for row in rows(SECTIONS["leads"], "Option") if "--state" in row[0])
    assert set(re.findall(r"[a-z]+", option[1].partition(":")[2])) == set(LeadState)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert {row[0] for row in rows(readme, "State")} == set(LeadState)


def test_the_states_that_syncd_may_say_it_is_in_are_explained() -> None:
    files = [*(ROOT / "syncd" / "delivery").glob("*.py"), ROOT / "syncd" / "daemon.py", ROOT / "syncd/cli/daemon.py"]
    source = "".join(path.read_text() for path in files)
    said = set(re.findall(r'(?:Standing\(|\bwait\(|state=)\s*"([a-z_]+)"', source)) | {"quota_exhausted", "held"}
    assert {row[0] for row in rows(SECTIONS["status"], "State")} == said


@pytest.mark.parametrize(("where", "line"), sorted({*syncd_lines()}))
def test_a_command_line_in_a_shell_block_is_one_that_syncd_takes(where: str, line: str) -> None:
    parse(line)


@pytest.mark.parametrize(("where", "line"), sorted({*inline_lines()}))
def test_a_command_in_the_text_names_a_command_and_its_options(where: str, line: str) -> None:
    words = shlex.split(line)
    assert words[0] in cli.commands, line
    assert {word for word in words if word.startswith("--")} <= options_of(cli.commands[words[0]]), line


def test_the_make_targets_in_the_pages_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for path in PAGES for name in re.findall(r"(?:`|^)make ([a-z]+)", path.read_text(), re.MULTILINE)}
    assert {"demo", "test", "check"} <= named <= targets


def test_the_readme_says_what_ci_runs() -> None:
    ci = re.findall(r"^exec (make \w+)$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    assert len(ci) == 1
    assert re.search(rf"`{ci[0]}`[^.]*`\.ci/run` calls", (ROOT / "README.md").read_text())


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_link_and_file_that_a_page_names_is_there(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (path.parent / link).exists(), link
    for line in shell_lines(text):
        for word in re.findall(r"(?<![\w/.-])((?:sql|systemd|requirements|docs)/[\w./-]+)", line):
            assert (ROOT / word).exists(), word


@pytest.mark.parametrize(
    "path", [*PAGES, ROOT / "config.example.toml", ROOT / "systemd" / "syncd.service"], ids=lambda path: path.name
)
def test_a_page_is_no_wider_than_a_screen_outside_tables_and_commands(path: Path) -> None:
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    wide = [line for line in text.splitlines() if len(line) > 120 and not line.startswith("|")]
    assert wide == []


def test_the_rehearsals_configuration_of_the_readme_loads_and_points_to_the_simulator(tmp_path: Path) -> None:
    from syncd.config import load

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    line = next(line for line in shell_lines(readme) if line.startswith("sudo sed "))
    edits = [word for word in shlex.split(line.partition("/etc/")[0]) if word.startswith("s|")]
    text = (ROOT / "config.example.toml").read_text(encoding="utf-8")
    for edit in edits:
        _, pattern, replacement, _ = edit.split("|")
        text, changed = re.subn(pattern, replacement, text, flags=re.MULTILINE)
        assert changed == 1, edit
    (tmp_path / "rehearsal.toml").write_text(text, encoding="utf-8")
    config = load(tmp_path / "rehearsal.toml")
    assert config.wolkvox.base_url == "http://127.0.0.1:8642"
    assert config.ledger.url == "sqlite:////var/lib/syncd/rehearsal.db"
    assert str(config.wolkvox.token_file) == "rehearsal-token"


def test_the_wheel_of_the_readme_can_be_built_and_carries_the_sql(tmp_path: Path) -> None:
    import subprocess
    import zipfile

    line = next(line for line in shell_lines((ROOT / "README.md").read_text()) if " pip wheel " in line)
    words = [sys.executable, *shlex.split(line)[1:]]
    words[words.index("--wheel-dir") + 1] = str(tmp_path)
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("syncd-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        carried = {name.removeprefix("syncd/_sql/") for name in archive.namelist() if name.startswith("syncd/_sql/")}
    assert carried == {str(path.relative_to(ROOT / "sql")) for path in (ROOT / "sql").rglob("*.*")}
    assert "crm/listen.sql" in carried


def test_the_page_for_the_dba_lists_the_connections_by_their_names() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "syncd").rglob("*.py") if "demo" not in path.parts)
    named = set(re.findall(r'purpose="(\w+)"', sources))
    named |= set(re.findall(r'crm_connection\(config, (?:config_file|path), "(\w+)"\)', sources))
    named |= set(re.findall(r'"(\w+)"', "".join(re.findall(r"for purpose in \((.*?)\)", sources))))
    named |= set(re.findall(r'CrmConnection\(\s*url, password, "(\w+)"', sources))
    assert {"capture", "check", "setup"} < named
    # Those of listen and slot are made where they are needed, the last with the sync's name.
    assert {f"syncd {purpose}" for purpose in named | {"outbox", "slot NAME"}} == APPLICATIONS


def test_help_can_be_shown_for_every_command() -> None:
    for name in cli.commands:
        shown = CliRunner().invoke(cli, [name, "--help"])
        assert shown.exit_code == 0, name
        assert shown.output.startswith("Usage:"), name
