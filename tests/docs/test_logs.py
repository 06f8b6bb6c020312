"""docs/logs.md has every event that the package logs, with its level and fields, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.docs.pages import ROOT, page, rows, ticked

LEVELS = {"debug", "info", "warning", "error", "critical"}
EDGES = ("daemon.py", "loops.py", "logs.py")
"""The modules that log: observability is an edge, and a test below holds the others to it."""


@dataclass(frozen=True)
class Logged:
    event: str
    level: str
    fields: frozenset[str]


def calls(source: str) -> Iterator[tuple[str, ast.Call]]:
    """(level, call) of each call of a logger's method."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        match node.func:
            case ast.Attribute(value=value, attr=level) if level in LEVELS and "log" in ast.unparse(value):
                yield level, node
            case ast.Call(func=ast.Name(id="getattr"), args=[logger, *_]) if "log" in ast.unparse(logger):
                yield "", node


def names(first: ast.expr) -> list[str]:
    """The events that the first argument may name."""
    if isinstance(first, ast.Constant):
        return [str(first.value)]
    # The one that is composed: f"{loop}.trouble"
    text = ast.unparse(first)
    return [re.sub(r"^f'\{loop\}(.*)'$", rf"{loop}\1", text) for loop in ("intake", "delivery")]


def events() -> list[Logged]:
    found = []
    for name in EDGES:
        source = (ROOT / "syncd" / name).read_text()
        for level, call in calls(source):
            fields = {keyword.arg for keyword in call.keywords if keyword.arg is not None}
            found += [Logged(event, level, frozenset(fields)) for event in names(call.args[0])]
    return found


EVENTS = events()
DOCUMENTED = {
    ticked(row[0])[0]: (set(re.findall(r"[a-z]+", row[1])), set(ticked(row[2])))
    for row in rows(page("logs.md"), "Event")
}


def test_the_page_lists_every_event_and_no_other() -> None:
    assert set(DOCUMENTED) == {logged.event for logged in EVENTS}


def test_the_page_gives_each_events_levels() -> None:
    for event, (levels, _) in DOCUMENTED.items():
        in_code = {logged.level for logged in EVENTS if logged.event == event and logged.level}
        assert in_code <= levels, event
        if all(logged.level for logged in EVENTS if logged.event == event):
            assert in_code == levels, event


def test_the_page_gives_the_fields_that_each_event_is_logged_with() -> None:
    for event, (_, fields) in DOCUMENTED.items():
        in_code = frozenset().union(*(logged.fields for logged in EVENTS if logged.event == event))
        assert in_code <= fields, event


def test_the_page_gives_no_field_that_the_code_does_not_know() -> None:
    source = "".join((ROOT / "syncd" / name).read_text() for name in EDGES)
    for event, (_, fields) in DOCUMENTED.items():
        for field in fields:
            assert re.search(rf'"{field}"|\b{field}=', source), f"{event}: {field}"


def test_only_the_edges_log() -> None:
    for path in sorted((ROOT / "syncd").rglob("*.py")):
        if path.name not in EDGES:
            assert "structlog" not in path.read_text(), path
