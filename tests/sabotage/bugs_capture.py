"""Sabotages of capture and intake: what would lose a lead before anybody knew of it."""

from __future__ import annotations

from typing import Final

from tests.sabotage.bug import Bug, bug

_POLL = "syncd/capture/poll.py"
_SLOT = "syncd/capture/slot.py"
_SCAN = "syncd/scanning.py"
_T_CONFORMANCE = "tests/capture/test_conformance.py::"
_T_POLL = "tests/capture/test_poll.py::"
_T_TYPES = "tests/shapes/test_types.py::"
_T_SCAN = "tests/intake/test_scanning.py::"

CAPTURE: Final[tuple[Bug, ...]] = (
    bug(
        "acknowledged-before-commit",
        "A ledger that fails then loses every lead of the page.",
        "syncd/intake.py",
        "        page = self.source.read(began)\n",
        "        page = self.source.read(began)\n        self.source.acknowledge(page, began)\n",
        f"{_T_CONFORMANCE}test_what_the_ledger_refuses_is_read_again",
    ),
    bug(
        "greater-for-greater-or-equal",
        "Rows that share an instant with the last of a page are lost.",
        _POLL,
        '" AND {} >= {} AND ({}, {}) > ({}, {})"',
        '" AND {} > {} AND ({}, {}) > ({}, {})"',
        f"{_T_POLL}test_rows_that_share_a_watermark_are_all_captured_whatever_its_type",
        f"{_T_CONFORMANCE}test_bulk_statements_are_captured_whole",
    ),
    bug(
        "look-back-forgotten",
        "A transaction that commits late is passed, and its leads are lost.",
        _POLL,
        "self._floor(whole=self._over_whole) if self._over_window else self._now_or_watermark()",
        "self._now_or_watermark()",
        f"{_T_CONFORMANCE}test_a_transaction_that_began_before_and_commits_after_others_is_not_missed",
    ),
    bug(
        "watermark-from-the-future",
        "One row with a wrong date hides every row that comes after it.",
        _POLL,
        'column = sql.SQL("least({}, {})").format(column, self._clock())',
        "column = sql.SQL('least({0}, {0})').format(column)",
        f"{_T_POLL}test_a_row_dated_in_the_future_is_captured_and_hides_no_later_one",
    ),
    bug(
        "watermark-goes-back",
        "The watermark jumps about with the clocks of the writers.",
        _POLL,
        "if self._watermark is not None:\n            column = sql.SQL(",
        "if self._watermark == '':\n            column = sql.SQL(",
        f"{_T_POLL}test_the_watermark_in_the_ledger_never_goes_back",
    ),
    bug(
        "outbox-read-by-number",
        "Numbers are drawn before they commit: who comes late is behind the mark for good.",
        "syncd/capture/installed.py",
        "if more or self._behind is None or xmin <= self._behind[1]:",
        "if more or self._behind is None:",
        "tests/capture/test_listen.py::test_a_long_query_does_not_slow_the_looks_and_a_late_commit_is_not_overlooked",
        f"{_T_CONFORMANCE}test_a_transaction_that_began_before_and_commits_after_others_is_not_missed",
        f"{_T_CONFORMANCE}test_a_late_commit_over_a_restart_is_not_missed",
    ),
    bug(
        "outbox-emptied-too-far",
        "What came after the page that the ledger has is deleted with it.",
        "syncd/capture/installed.py",
        "WHERE id = ANY({}::bigint[]) AND tableoid = {})",
        "WHERE id <= (SELECT max(n) + 1000 FROM unnest({}::bigint[]) n) AND tableoid = {})",
        "tests/capture/test_listen.py::test_a_large_outbox_is_read_in_pages_with_flat_memory",
        f"{_T_CONFORMANCE}test_a_transaction_that_began_before_and_commits_after_others_is_not_missed",
        f"{_T_CONFORMANCE}test_bulk_statements_are_captured_whole",
    ),
    bug(
        "slot-confirmed-early",
        "The server forgets what the ledger never had.",
        _SLOT,
        "        changes: list[Change] = []\n        if gathered.versions:",
        "        changes: list[Change] = []\n"
        "        self._stream.confirm(gathered.through)\n        if gathered.versions:",
        "tests/capture/test_slot.py::test_what_is_not_acknowledged_comes_again_from_the_same_source_and_a_fresh_one",
    ),
    bug(
        "visibility-ignored",
        "A row that is not visible yet is taken for one that is gone, and never looked at again.",
        _SLOT,
        "if not all(is_visible(xid, snapshot) for xid in gathered.xids):",
        "if not snapshot:",
        "tests/capture/test_slot.py::test_a_commit_that_waits_for_a_standby_is_not_handed_over_nor_dropped_until_it_is_visible",
    ),
    bug(
        "condition-ignored",
        "Rows that are no leads are captured.",
        _SLOT,
        "for key, version in versions.items() if key in found]",
        "for key, version in versions.items()]",
        f"{_T_CONFORMANCE}test_a_row_that_was_gone_or_matched_no_more_when_it_was_read_is_not_captured",
    ),
    bug(
        "suspects-not-rechecked",
        "What reading was about to bring counts as missed: the alarm that matters is drowned.",
        _SCAN,
        "swept = self._take(missing) if lost else 0",
        "swept = self._take(missing)",
        f"{_T_SCAN}test_what_is_on_its_way_is_not_taken_for_missed",
    ),
    bug(
        "suspects-not-waited-for",
        "What reading was about to bring counts as missed.",
        _SCAN,
        "return self._read_since and self._source.passed(self._suspected_at)",
        "return True",
        f"{_T_SCAN}test_it_waits_until_reading_has_come_past_the_look",
    ),
    bug(
        "gap-closed-while-it-grows",
        "What changed while nobody watched is never swept.",
        _SCAN,
        "if self._gap and not lost:",
        "if self._gap:",
        f"{_T_SCAN}test_while_changes_cannot_be_followed_the_sweep_goes_on_and_again_once_they_can",
    ),
    bug(
        "gap-closed-early",
        "A gap counts as swept after the first ten thousand rows.",
        _SCAN,
        "self._last = rows < SCAN_ROWS",
        "self._last = True",
        f"{_T_SCAN}test_a_gap_is_swept_at_once_and_until_it_is_closed_by_a_whole_sweep",
    ),
    bug(
        "scan-ahead-of-the-ledger",
        "A chunk that the ledger refused is never scanned again.",
        _SCAN,
        "            scanned, after = self._scanned + rows, changes[-1].key\n",
        "            scanned, after = self._scanned + rows, changes[-1].key\n"
        "            self._scanned, self._after = scanned, after\n",
        "tests/intake/test_sabotaged.py::test_a_chunk_that_the_ledger_refused_is_scanned_again",
    ),
    bug(
        "one-odd-value-fails-all",
        "A value that the driver cannot load, such as a time of 24:00, stops every lead of its batch.",
        "syncd/crm/values.py",
        "        return _one_by_one(cursor)\n",
        "        raise\n",
        f"{_T_TYPES}test_a_value_that_cannot_be_loaded_costs_no_other_its_row",
    ),
    bug(
        "one-row-of-no-text-fails-all",
        "A row whose bytes are no text stops every lead of its batch, for ever.",
        "syncd/crm/reading.py",
        "            if len(keys) == 1:\n",
        "            if len(keys) > 0:\n                raise\n            if len(keys) == 1:\n",
        f"{_T_TYPES}test_bytes_that_are_no_text_cost_no_other_its_row",
    ),
)
