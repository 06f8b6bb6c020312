"""The scans: what was there at the start, and the sweep; over a made-up table, and a real ledger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from syncd import scanning
from syncd.capture import BEGINNING, NOTED, SCANNED, Existing, Page, Position, Resumed, Start
from syncd.errors import CaptureLost, CrmError, CrmUnavailable
from syncd.intake import Intake, IntakeResult
from syncd.ledger import Ledger
from syncd.model import Change, Instant
from tests.support.ledgers import opened

NOON = 1_750_000_000.0


class Table:
    """A source over a set of keys; what changes is put into `coming`, and what nobody sees into `rows` alone."""

    notice: str | None = None
    settle_secs = 0.0
    slot_lag_bytes: int | None = None

    def __init__(self, rows: Sequence[str] = (), start: Start | None = None) -> None:
        self.rows = set(rows)
        self.coming: list[str] = []
        self.start = start or Start(BEGINNING, None, Existing.TAKE)
        self.gap: str | None = None
        self.failing: CrmError | None = None
        self.scans: list[str | None] = []
        self.acknowledged = 0
        self.passes = True

    def first_start(self, now: Instant) -> Start:
        return self.start

    def resume(self, position: Position) -> Resumed:
        if self.failing is not None:
            raise self.failing
        gap, self.gap = self.gap, None
        return Resumed("made-up 1", position.watermark, gap)

    def read(self, now: Instant) -> Page:
        if self.failing is not None:
            raise self.failing
        page, self.coming = [Change(key, "seen") for key in self.coming], []
        self.rows |= {change.key for change in page}
        return Page(page, None, more=False, rows=len(page))

    def acknowledge(self, page: Page, now: Instant) -> None:
        self.acknowledged += 1

    def scan(self, after: str | None, limit: int) -> Sequence[Change]:
        self.scans.append(after)
        return [Change(key, SCANNED) for key in sorted(self.rows) if after is None or key > after][:limit]

    def estimate(self) -> int | None:
        return 1234

    def without_watermark(self) -> int:
        return 0

    def mark(self) -> str | None:
        return "here"

    def passed(self, mark: str | None) -> bool:
        assert mark == "here"
        return self.passes

    def fileno(self) -> int | None:
        return None

    def awake(self) -> bool:
        return bool(self.coming) and self.failing is None

    def close(self) -> None:
        """Nothing to leave."""


class Stage:
    """An intake over a table, a clock that the test turns, and every result."""

    def __init__(self, ledger: Ledger, table: Table) -> None:
        self.ledger = ledger
        self.table = table
        self.now = NOON
        self.results: list[IntakeResult] = []
        self.restart()

    def restart(self) -> None:
        self.intake = Intake(
            self.ledger,
            self.table,
            "web",
            resend_changed=False,
            poll_secs=5.0,
            sweep_secs=3600.0,
            clock=lambda: self.now,
        )

    def turn(self) -> IntakeResult:
        self.results.append(self.intake.run_once())
        return self.results[-1]

    def rest(self) -> list[IntakeResult]:
        """Turn until nothing is due; what was done."""
        done = []
        while self.intake.due_at(self.now) <= self.now:
            done.append(self.turn())
        return done

    def sleep(self, secs: float) -> list[IntakeResult]:
        """Let time pass, as the loop would, and do what is due in it."""
        end, done = self.now + secs, []
        while (at := self.intake.due_at(self.now)) <= end:
            self.now = max(self.now, at)
            done.append(self.turn())
        self.now = end
        return done

    @property
    def keys(self) -> list[str]:
        """What delivery would take, in its order."""
        return [lead.key for lead in self.ledger.claim(self.sync_id, 1000).leads]

    @property
    def sync_id(self) -> int:
        return self.ledger.register("web", self.now)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with opened(f"sqlite:///{tmp_path / 'ledger.db'}") as made:
        yield made


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "SCAN_ROWS", 3)


def letters(text: str) -> list[str]:
    return list(text)


def test_what_was_there_is_taken_in_chunks_with_progress(ledger: Ledger) -> None:
    stage = Stage(ledger, Table(letters("abcdefg")))
    done = [result.progress for result in stage.rest() if result.progress is not None]
    assert [(progress.rows, progress.of_about, progress.done) for progress in done] == [
        (3, 1234, False),
        (6, 1234, False),
        (7, 1234, True),
    ]
    assert stage.keys == letters("abcdefg")
    assert ledger.position(stage.sync_id).existing is None
    assert sum(result.new for result in stage.results) == 7


def test_what_changes_meanwhile_is_read_between_two_chunks_and_goes_first(ledger: Ledger) -> None:
    stage = Stage(ledger, Table(letters("bcdefg")))
    stage.turn()
    stage.turn()
    stage.table.coming = ["a"]
    assert stage.turn().progress is None
    stage.rest()
    assert stage.keys == letters("abcdefg")
    assert ledger.waiting(stage.sync_id).fresh


def test_looks_that_are_always_due_do_not_starve_a_scan(ledger: Ledger) -> None:
    stage = Stage(ledger, Table(letters("abcdefg")))
    stage.intake._poll_secs = 0.0
    for _ in range(8):
        stage.turn()
    assert stage.keys == letters("abcdefg")


def test_a_backfill_goes_on_after_a_restart_where_it_was(ledger: Ledger) -> None:
    stage = Stage(ledger, Table(letters("abcdefg")))
    stage.turn()
    stage.turn()
    stage.table.scans.clear()
    stage.restart()
    stage.now += 60
    stage.rest()
    assert stage.table.scans == ["c", "f"]
    assert stage.keys == letters("abcdefg")


def test_a_scan_that_came_too_early_to_count_is_made_again(ledger: Ledger) -> None:
    table = Table(letters("ab"))
    table.settle_secs = 300.0
    stage = Stage(ledger, table)
    stage.rest()
    table.rows |= {"c"}  # committed late
    assert ledger.position(stage.sync_id).existing == "take"
    assert "c" not in stage.keys
    stage.sleep(301)
    assert stage.keys == letters("abc")
    assert ledger.position(stage.sync_id).existing is None
    assert sum(result.swept for result in stage.results) == 0


def test_keys_from_before_the_start_are_noted_and_never_swept(ledger: Ledger) -> None:
    stage = Stage(ledger, Table(letters("abcd"), Start(NOTED, None, Existing.NOTE)))
    stage.rest()
    assert stage.keys == []
    stage.table.rows |= {"e"}
    stage.sleep(2 * 3600)
    assert stage.keys == ["e"]
    assert sum(result.swept for result in stage.results) == 1
    stage.table.coming = ["a"]  # and an old row that changes is a lead
    stage.rest()
    assert stage.keys == ["e", "a"]


@pytest.fixture
def swept(ledger: Ledger) -> Stage:
    stage = Stage(ledger, Table(letters("abcdefg"), Start(BEGINNING, None, Existing.LEAVE)))
    stage.table.coming = letters("abcdefg")
    stage.rest()
    return stage


def test_a_sweep_takes_what_is_missing_and_counts_it(swept: Stage) -> None:
    swept.table.rows |= {"bb", "h"}
    done = swept.sleep(3700)
    assert sum(result.swept for result in done) == 2
    assert swept.keys[-2:] == ["bb", "h"]
    assert sum(result.swept for result in swept.sleep(3 * 3600)) == 0


def test_what_is_on_its_way_is_not_taken_for_missed(swept: Stage) -> None:
    swept.table.rows |= {"h"}
    swept.now += 3601
    swept.turn()
    while not swept.table.scans or swept.table.scans[-1] != "f":
        swept.turn()
    swept.table.coming = ["h"]  # seen by the scan already
    done = swept.rest()
    assert sum(result.new for result in done) == 1
    assert sum(result.swept for result in done) == 0


def test_it_waits_until_reading_has_come_past_the_look(swept: Stage) -> None:
    swept.table.rows |= {"h"}
    swept.table.passes = False
    swept.sleep(3700)
    assert "h" not in swept.keys
    swept.table.passes = True
    swept.sleep(10)
    assert swept.keys[-1] == "h"


def test_a_gap_is_swept_at_once_and_until_it_is_closed_by_a_whole_sweep(swept: Stage) -> None:
    swept.table.rows |= {"aa", "h"}
    swept.table.gap = "The slot was made anew."
    swept.restart()
    assert swept.turn().gap == "The slot was made anew."
    swept.turn()
    assert swept.ledger.position(swept.sync_id).gap == "The slot was made anew."
    swept.restart()  # a restart in the middle sweeps from the beginning
    swept.rest()
    swept.sleep(1)
    assert {"aa", "h"} <= set(swept.keys)
    assert swept.ledger.position(swept.sync_id).gap is None


def test_while_changes_cannot_be_followed_the_sweep_goes_on_and_again_once_they_can(swept: Stage) -> None:
    swept.table.rows |= {"h"}
    swept.table.failing = CaptureLost("The slot is gone.", "Make another.")
    swept.now += 5
    result = swept.turn()
    assert str(result.trouble) == "The slot is gone. Make another."
    done = swept.rest()
    assert sum(result.swept for result in done) == 1
    assert all(result.trouble is not None for result in done)
    assert swept.ledger.position(swept.sync_id).gap == "The slot is gone. Make another."
    swept.table.rows |= {"i"}
    swept.table.failing = None
    swept.sleep(120)
    assert swept.keys[-2:] == ["h", "i"]
    assert swept.ledger.position(swept.sync_id).gap is None
    assert swept.intake.trouble is None


def test_a_new_process_that_cannot_follow_changes_sweeps_all_the_same(swept: Stage) -> None:
    swept.table.rows |= {"h"}
    swept.table.failing = CaptureLost("The slot is gone.")
    swept.restart()
    swept.rest()
    assert swept.keys[-1] == "h"


def test_a_crm_that_does_not_answer_is_not_scanned(swept: Stage) -> None:
    swept.table.failing = CrmUnavailable("The CRM is down.")
    swept.now += 3601
    swept.table.scans.clear()
    swept.sleep(600)
    assert swept.table.scans == []
    assert len([result for result in swept.results if result.trouble is not None]) > 5
    swept.table.failing = None
    swept.table.rows |= {"h"}
    swept.sleep(120)
    assert swept.keys[-1] == "h"


# -- a clock that was wrong for a while ----------------------------------------------------------------------


def test_a_clock_that_was_far_ahead_puts_off_neither_looks_nor_sweeps(ledger: Ledger) -> None:
    stage = Stage(ledger, Table())
    stage.rest()
    stage.now += 40 * 86_400
    stage.sleep(10)
    stage.now -= 40 * 86_400
    stage.table.rows.add("unheard")
    looks = len(stage.results)
    assert [result.swept for result in stage.sleep(60) if result.swept] == [1]
    assert stage.keys == ["unheard"]
    assert len(stage.results) - looks >= 10


def test_a_failure_while_the_clock_was_far_ahead_is_tried_again_soon(ledger: Ledger) -> None:
    stage = Stage(ledger, Table())
    stage.rest()
    stage.now += 40 * 86_400
    stage.table.failing = CrmUnavailable("The made-up CRM does not answer.")
    stage.sleep(10)
    stage.now -= 40 * 86_400
    stage.table.failing = None
    stage.sleep(5)
    assert stage.intake.trouble is None
