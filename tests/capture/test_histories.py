"""Whatever the order of commits: what is captured is what a reader sees at the end, and a broken capture is caught."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest
from psycopg import sql

from syncd import intake as intake_module
from syncd.capture import Page, poll
from syncd.capture.poll import PollSource
from syncd.crm import CrmConnection
from syncd.ledger import Ledger
from syncd.model import Instant
from tests.capture.harness import KITS, Kit, Leads, poll_kit
from tests.capture.history import WRITERS, History, begin

GROUPS = 8
EACH = int(os.environ.get("SYNCD_HISTORIES", "208")) // GROUPS
"""SYNCD_HISTORIES=5000 plays thousands."""
STEPS = 50


@pytest.fixture
def writers(database: str) -> Iterator[list[psycopg.Connection]]:
    with ExitStack() as stack:
        yield [stack.enter_context(psycopg.connect(database)) for _ in range(WRITERS)]


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poll, "PAGE_ROWS", 7)
    monkeypatch.setattr(intake_module, "SWEEP_ROWS", 7)


def faults_of(history: History, *, sweep: bool = False) -> list[str]:
    """What is wrong at the end of a history, in words."""
    try:
        history.play(STEPS)
        history.settle()
        found = history.catcher.sweep() if sweep else 0
        history.settle()
        seen, known = history.catcher.leads.visible(history.writers[0].connection), history.catcher.versions
        history.writers[0].connection.commit()
    finally:
        history.catcher.close()
    faults = [f"{key} was missed" for key in seen.keys() - known.keys()]
    faults += [f"{key} was never there" for key in known.keys() - history.committed]
    faults += [f"{key} changed unseen" for key in seen if key in known and known[key] != seen[key] and not found]
    new = sum(result.new for result in history.catcher.results)
    if new + found != len(known):
        faults.append(f"{new} + {found} captures for {len(known)} leads")
    return faults


@pytest.mark.parametrize("kit_name", KITS)
@pytest.mark.parametrize("group", range(GROUPS))
def test_what_is_captured_is_what_a_reader_sees_at_the_end(
    database: str, writers: list[psycopg.Connection], ledger: Ledger, small_pages: None, kit_name: str, group: int
) -> None:
    for seed in range(group * EACH, (group + 1) * EACH):
        history = begin(KITS[kit_name], database, writers, ledger, seed)
        assert faults_of(history) == [], f"seed {seed}"


@pytest.mark.parametrize("kit_name", KITS)
def test_with_transactions_longer_than_the_look_back_the_sweep_leaves_nothing_out(
    database: str, writers: list[psycopg.Connection], ledger: Ledger, small_pages: None, kit_name: str
) -> None:
    for seed in range(24):
        history = begin(KITS[kit_name], database, writers, ledger, seed, lookback_secs=0.0)
        missed = [fault for fault in faults_of(history, sweep=True) if "unseen" not in fault]
        assert missed == [], f"seed {seed}"


class Hasty(PollSource):
    """Acknowledges what it reads, before the ledger has it."""

    def read(self, now: Instant) -> Page:
        page = super().read(now)
        super().acknowledge(page, now)
        return page

    def acknowledge(self, page: Page, now: Instant) -> None:
        """Too late."""


class Strict(PollSource):
    """Goes on behind the last watermark, and not behind the last row."""

    def _query(self) -> sql.Composed:
        query = super()._query()
        if self._cursor is None:
            return query
        return sql.Composed([sql.SQL(query.as_string().replace(" >= ", " > "))])


class ByText(PollSource):
    """Sorts by what a bare name in ORDER BY means: the text in the SELECT list."""

    def _qualified(self, column: str) -> sql.Identifier:
        return sql.Identifier(column)


class Forgetful(PollSource):
    """Does not look behind the watermark."""

    def _floor(self) -> sql.Composable | None:
        return self._now_or_watermark()


def broken(source: type[PollSource]) -> Kit:
    """A kit that makes such a source."""

    def kit(connection: CrmConnection, leads: Leads) -> PollSource:
        made: Any = poll_kit(connection, leads)
        made.__class__ = source
        return made  # type: ignore[no-any-return]

    return kit


@pytest.mark.parametrize("source", [Hasty, Strict, ByText, Forgetful])
def test_the_histories_catch_a_broken_capture(
    database: str,
    writers: list[psycopg.Connection],
    ledger: Ledger,
    small_pages: None,
    source: type[PollSource],
) -> None:
    for seed in range(30):
        history = begin(broken(source), database, writers, ledger, seed)
        try:
            faults = faults_of(history)
        except AssertionError:
            continue
        if any("missed" in fault for fault in faults):
            return
    pytest.fail(f"{source.__name__} went through")


def test_without_a_look_back_and_a_sweep_the_histories_find_a_gap(
    database: str, writers: list[psycopg.Connection], ledger: Ledger, small_pages: None
) -> None:
    assert any(
        any(
            "missed" in fault
            for fault in faults_of(begin(poll_kit, database, writers, ledger, seed, lookback_secs=0.0))
        )
        for seed in range(30)
    )
