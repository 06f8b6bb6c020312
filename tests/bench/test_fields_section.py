"""The section on the field map measures what it says, and ends where the two sides differ."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from bench import fields as section
from bench.errors import BenchFailed
from syncd.fieldmap import FieldRule, compile_map


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_map_is_measured_beside_the_same_by_hand_and_telephones_beside_the_library(tmp_path: Path) -> None:
    told = tmp_path / "bench.json"
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", "--only", "fields", "--json", str(told)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(told.read_text())["sections"]["fields"]
    kinds = ["12 rules", "telephones, mobile", "telephones, fixed", "telephones, wrong"]
    assert [line[""] for line in found["lines"]] == kinds
    assert [bar["bar"] for bar in found["bars"]] == [3.0, 1.3, 1.3, 1.3]
    assert all(bar["figure"] > 0 for bar in found["bars"])


def test_twelve_rules_are_of_twelve_kinds_and_read_every_column() -> None:
    mapped = compile_map(section.RULES, campaign_type="predictive", require=[], zone=section.ZONE)
    assert len(section.RULES) == 12
    assert set(mapped.columns) == set(section.COLUMNS)


def test_the_made_up_rows_give_records_and_rejections() -> None:
    made = [section.by_hand(row) for row in section.lead_rows(300)]
    assert made.count(None) == 3
    numbers = [number for kind in section.telephones(300).values() for number in kind]
    assert len(set(numbers)) == len(numbers)
    assert [section.bare((number,)) is None for number in numbers] == [False] * 600 + [True] * 300


def test_sides_that_differ_end_the_bench() -> None:
    rules = section.RULES | {"opt1": FieldRule(column="utm_source")}
    mapped = compile_map(rules, campaign_type="predictive", require=[], zone=ZoneInfo("America/Bogota"))
    rows = list(section.lead_rows(20))
    picked = [tuple(row[section.COLUMNS.index(name)] for name in mapped.columns) for row in rows]
    with pytest.raises(BenchFailed, match="20 of 20 rows differently"):
        section.compare(mapped, picked, section.by_hand, rows)
