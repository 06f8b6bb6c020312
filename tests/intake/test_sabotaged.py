"""What only a deliberate bug showed to be without a test: see tests/sabotage."""

from __future__ import annotations

from typing import Any

import pytest

from syncd import scanning
from syncd.errors import LedgerUnavailable
from syncd.ledger import Ledger
from tests.intake.test_scanning import Stage, Table
from tests.intake.test_scanning import ledger as ledger


def test_a_chunk_that_the_ledger_refused_is_scanned_again(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "SCAN_ROWS", 3)
    stage = Stage(ledger, Table("abcdefg"))
    take, refusals = ledger.take_existing, [LedgerUnavailable("The disk is full.")]

    def refuse_once(*args: Any) -> int:
        if refusals:
            raise refusals.pop()
        return take(*args)

    monkeypatch.setattr(ledger, "take_existing", refuse_once)
    with pytest.raises(LedgerUnavailable):
        stage.rest()
    stage.rest()
    assert stage.keys == list("abcdefg")
    assert stage.intake.due_at(stage.now) > stage.now
