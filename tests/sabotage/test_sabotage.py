"""The sabotages stay alive: each still finds its place in the code, and a few are played for real."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.sabotage.bug import ROOT, Bug, bug
from tests.sabotage.catalogue import BUGS, PARTS
from tests.sabotage.playing import play

PLAYED = ("position-off-by-one", "redirects-followed", "quota-counts-successes")
"""The cheapest to play; `make sabotage` plays all."""


def test_there_are_enough_and_no_name_is_given_twice() -> None:
    assert len({each.name for each in BUGS}) == len(BUGS) >= 30


@pytest.mark.parametrize("each", BUGS, ids=lambda each: each.name)
def test_each_still_applies(each: Bug, tmp_path: Path) -> None:
    for edit in each.edits:
        (tmp_path / edit.file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / edit.file, tmp_path / edit.file)
    each.apply(tmp_path)
    for edit in each.edits:
        text = (tmp_path / edit.file).read_text(encoding="utf-8")
        assert text != (ROOT / edit.file).read_text(encoding="utf-8")
        compile(text, edit.file, "exec")  # else it would be caught for its grammar


@pytest.mark.parametrize("each", BUGS, ids=lambda each: each.name)
def test_the_tests_that_must_notice_it_exist(each: Bug) -> None:
    assert each.tests
    for test in each.tests:
        path, _, name = test.partition("::")
        assert re.search(rf"^def {re.escape(name.partition('[')[0])}\(", (ROOT / path).read_text(), re.MULTILINE), test


def test_a_text_that_is_not_there_once_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file.py").write_text("one\ntwo\ntwo\n")
    for old in ("three", "two"):
        with pytest.raises(ValueError, match="must be one"):
            bug("some-name", "", "file.py", old, "", "").apply(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", PLAYED)
def test_a_sabotage_is_caught(name: str) -> None:
    played = play(next(each for each in BUGS if each.name == name))
    assert played.verdict == "caught", played.words


def test_what_breaks_nothing_survives() -> None:
    harmless = bug(
        "harmless",
        "Nothing.",
        "syncd/states.py",
        "OPEN_CALLS: Final =",
        "OPEN_CALLS: Final  =",
        "tests/replies/test_replies.py::test_accepted_is_accepted",
    )
    assert play(harmless).verdict == "SURVIVED"


def test_the_page_counts_them() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    section = page.partition("\n## Sabotage\n")[2].partition("\n## ")[0]
    counts = {part: int(bugs) for part, bugs in re.findall(r"^\| ([a-z]+) \| (\d+) \|", section, re.MULTILINE)}
    assert counts == {part: len(bugs) for part, bugs in PARTS.items()}
