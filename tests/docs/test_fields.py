"""docs/fields.md: its reference is made from the rules, and each of its examples gives what it says."""

from __future__ import annotations

import re
import tomllib
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from syncd.config.fields import FieldTable
from syncd.fieldmap import FieldRule, compile_map
from syncd.fieldmap.names import split_name
from syncd.model import Rejection
from syncd.record import LIMITS, RECALL_AHEAD_SECS
from tests.docs.field_examples import EXAMPLES
from tests.docs.fields_reference import PAGE, page_with, reference
from tests.docs.pages import rows, ticked

TEXT = PAGE.read_text(encoding="utf-8")
NOW = datetime(2030, 5, 6, 12, 0, tzinfo=UTC).timestamp()
WRITTEN = rows(TEXT, "Field")


def test_the_reference_is_what_the_docstrings_say() -> None:
    assert page_with(reference(), TEXT) == TEXT, "run: python -m tests.docs.fields_reference"


def test_every_key_of_a_rule_has_an_example() -> None:
    assert list(EXAMPLES) == list(FieldTable.model_fields)
    assert all(EXAMPLES.values())
    assert len(WRITTEN) == sum(map(len, EXAMPLES.values()))


@pytest.mark.parametrize("cells", WRITTEN, ids=lambda cells: cells[1][:60])
def test_each_example_gives_what_it_says(cells: list[str]) -> None:
    field, rule = ticked(cells[0])[0], tomllib.loads(f"rule = {ticked(cells[1])[0]}")["rule"]
    row = tomllib.loads(f"row = {{ {ticked(cells[2])[0]} }}")["row"] if "`" in cells[2] else {}
    spec = FieldTable.model_validate({"column": rule} if isinstance(rule, str) else rule)
    others = {"customer_id": FieldRule(value="1"), "tel9": FieldRule(value="3000000009")}
    field_map = compile_map(
        others | {field: spec.to_rule()}, campaign_type="predictive", require=[], zone=ZoneInfo("America/Bogota")
    )
    result = field_map.map([row[column] for column in field_map.columns], NOW)
    if cells[3].startswith("rejected"):
        assert isinstance(result, Rejection)
        assert (result.field, f"rejected: `{result.rule}`") == (field, cells[3])
        return
    assert not isinstance(result, Rejection), result
    said = "" if cells[3] == "empty" else ticked(cells[3])[0]
    expected = dict(re.findall(r"(tel\d+) = (\d+)", said)) or {field: said}
    assert {name: result[name] for name in expected} == expected
    given = {name for name, value in result.items() if value} - {"customer_id", "tel9"} - set(expected)
    assert not given


def test_the_page_has_the_vendors_limits() -> None:
    listed = {ticked(row[0])[0]: row[1] for row in rows(TEXT, "Word")}
    for limit in set(LIMITS.values()):
        assert str(limit) in listed["length"]
    assert f"{RECALL_AHEAD_SECS // 60} minutes" in listed["recall"]


def test_the_page_has_every_word_that_a_rejection_may_have() -> None:
    listed = {word for row in rows(TEXT, "Word") for word in ticked(row[0])}
    house = PAGE.parents[1] / "syncd"
    source = "".join(path.read_text() for path in [house / "record.py", *(house / "fieldmap").glob("*.py")])
    said = set(re.findall(r'Rejection\(\s*(?:[\w.]+|"[\w.]*"),\s*"(\w+)"', source))
    said |= {"number", "datetime"}
    assert {"text", "lookup", "required", "telephone", "form"} <= said
    assert said == listed


def test_the_names_of_the_page_are_taken_apart_as_it_says() -> None:
    table = rows(TEXT, "Whole name")
    assert len(table) > 5
    for whole, names, surnames in table:
        assert split_name(whole) == (names, surnames)
