"""Verification against each way of believing wolkvox too much: see tests/sabotage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from syncd import holdings
from syncd.holdings import Finding, find, find_unknown, loosely, read_holdings
from syncd.simulator import Fault
from syncd.verify import Verifier, VerifyResult, VerifyRules
from tests.delivery.stage import ZONE, Stage
from tests.support.ledgers import assert_conserved
from tests.support.ledgers import home_url as home_url
from tests.support.ledgers import made_once as made_once
from tests.support.ledgers import shared_database as shared_database

AFTER, AGAIN = 180.0, 600.0
SETTLED = 60.0 + AFTER + 1


class Doubt:
    """A stage with a campaign that holds somebody else's record, and calls whose outcome nobody knows."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        rules = VerifyRules(
            verify_after_secs=AFTER,
            verify_again_secs=AGAIN,
            on_unresolved="hold",
            budget=1000,
            concurrent_calls=1,
            zone=ZONE,
        )
        lanes = [stage.lane("web", "12345")]
        self.verifier = Verifier(stage.ledger, lanes, stage.client.client, rules, stage.term, stage.clock)
        (self.other,) = stage.add("beto")
        stage.turn()

    def lose(self, *names: str, stored: bool, mobile: str | None = None) -> list[str]:
        """A call whose reply is lost; the keys of its leads."""
        self.stage.clock.now += 3600
        self.stage.simulator.script(Fault("cut-after" if stored else "cut-before", api="add_record"))
        keys = self.stage.add(*names, mobile=mobile)
        self.stage.turn()
        assert [self.state(key) for key in keys] == ["held"] * len(keys)
        return keys

    def check(self, after: float) -> VerifyResult:
        """A turn of verification, so much later."""
        self.stage.clock.now += after
        return self.verifier.run_once()

    def check_for_long(self) -> None:
        """Twenty checks, as far apart as it wants them."""
        for _ in range(20):
            found = self.check(1)
            self.stage.clock.now = max(self.stage.clock.now, found.next_at or 0.0)

    def state(self, key: str) -> str:
        return self.stage.states()[key]


Begin = Callable[..., Doubt]


@pytest.fixture
def begin(home_url: str, shared_database: str) -> Iterator[Begin]:
    """Set a stage with what the test wants to be different."""
    with ExitStack() as stack:
        begun: list[Doubt] = []

        def starter(**options: Any) -> Doubt:
            begun.append(Doubt(stack.enter_context(Stage(home_url, shared_database, **options))))
            return begun[-1]

        yield starter
        for doubt in begun:
            assert_conserved(doubt.stage.ledger)


def test_one_absence_releases_nobody(begin: Begin) -> None:
    doubt = begin()
    (key,) = doubt.lose("ana", stored=False)
    report = doubt.check(SETTLED).report
    assert report is not None
    assert report.absent == 1
    assert doubt.state(key) == "held"
    doubt.check(AGAIN + 1)
    assert doubt.state(key) == "pending"


def test_two_absences_too_close_to_each_other_release_nobody(begin: Begin) -> None:
    doubt = begin()
    (key,) = doubt.lose("ana", stored=False)
    doubt.check(SETTLED)
    call_id = doubt.stage.calls()[1]["id"]
    doubt.stage.ledger.doubts.resolve(
        call_id, None, doubt.stage.clock(), "an operator", "ask at once", resend_changed=False
    )
    report = doubt.check(1).report
    assert report is not None
    assert report.absent == 1
    assert doubt.state(key) == "held"


def test_a_doubt_between_two_absences_begins_the_count_anew(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    doubt = begin()
    (key,) = doubt.lose("ana", stored=False)
    reports = [doubt.check(SETTLED).report]
    monkeypatch.setattr(holdings, "EXPORT_ROWS", 1)  # what it gives might not be all
    reports.append(doubt.check(AGAIN + 1).report)
    monkeypatch.undo()
    reports.append(doubt.check(2 * AGAIN + 1).report)
    assert [(report.absent, report.unsure) for report in reports if report] == [(1, 0), (0, 1), (1, 0)]
    assert doubt.state(key) == "held"


def test_a_change_while_held_is_considered_once_it_is_found(begin: Begin) -> None:
    doubt = begin(resend=True, marker="opt12")
    (key,) = doubt.lose("ana", stored=True)
    doubt.stage.change(key, mobile="93009998877")
    doubt.check(SETTLED)
    assert doubt.state(key) == "pending"


def test_a_duplicate_of_an_absent_lead_is_pending_again(begin: Begin) -> None:
    doubt = begin(dedupe_hours=24)
    (first,) = doubt.lose("ana", stored=False, mobile="93001112233")
    doubt.stage.clock.now += 61
    (twin,) = doubt.stage.add("ana again", mobile="93001112233")
    doubt.stage.run(1000)
    assert (doubt.state(first), doubt.state(twin)) == ("held", "duplicate")
    doubt.check(0)
    doubt.check(AGAIN + 1)
    assert (doubt.state(first), doubt.state(twin)) == ("pending", "pending")


def test_nothing_is_asked_before_the_settle_time_is_over(begin: Begin) -> None:
    doubt = begin()
    doubt.lose("ana", stored=True)
    found = doubt.check(60 + AFTER - 1)
    assert found.report is None
    assert found.next_at is not None
    assert found.next_at > doubt.stage.clock()
    assert doubt.stage.simulator.state.calls() == {"add_record": 2}


def test_every_question_is_counted(begin: Begin) -> None:
    doubt = begin()
    doubt.lose("ana", stored=False)
    doubt.check(SETTLED)
    asked = sum(doubt.stage.simulator.state.calls().values())
    assert asked >= 4
    assert doubt.stage.ledger.calls_started("2026-03-02") == asked


def test_a_row_that_changed_since_is_not_looked_for_as_it_is_now(begin: Begin) -> None:
    doubt = begin()
    (key,) = doubt.lose("ana", stored=True)
    doubt.stage.change(key, document="somebody else")
    doubt.check_for_long()
    assert doubt.state(key) == "held"


def test_a_404_alone_does_not_prove_that_there_is_nothing(begin: Begin) -> None:
    doubt = begin()
    doubt.stage.simulator.script(Fault("reply", api="campaign_15", status=404, body='{"code": "404"}', times=0))
    (key,) = doubt.lose("ana", stored=False)
    doubt.check_for_long()
    assert doubt.state(key) == "held"


def test_what_stays_unsure_stays_held(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holdings, "EXPORT_ROWS", 1)  # what it gives might not be all
    doubt = begin()
    (key,) = doubt.lose("ana", stored=False)
    doubt.check_for_long()
    assert doubt.state(key) == "held"


def test_with_a_marker_only_the_calls_own_records_count(begin: Begin) -> None:
    doubt = begin(marker="opt12")
    doubt.stage.resent_on_purpose = True
    (key,) = doubt.lose("beto", stored=False)  # whose record of the first call is there
    doubt.check(SETTLED)
    doubt.check(AGAIN + 1)
    assert doubt.state(key) == "pending"


@pytest.mark.parametrize("stored", [True, False])
def test_a_customer_with_other_values_is_neither_there_nor_absent(begin: Begin, *, stored: bool) -> None:
    doubt = begin()
    (key,) = doubt.lose("beto", stored=stored, mobile="93001112233")
    doubt.check_for_long()
    assert doubt.state(key) == ("delivered" if stored else "held")


# -- what an answer says -------------------------------------------------------------------------------------

RECORD = {"customer_id": "00-12A", "tel1": "93001112233", "opt1": "web"}


def answer(*rows: str, code: str = "200", campaign: str = "7", total: str = "") -> bytes:
    return (
        f'{{"code": "{code}", "total_records": "{total}", "campaign_id": "{campaign}", "records": [{", ".join(rows)}]}}'
    ).encode()


def row(customer: str, **values: str) -> str:
    return "{" + ", ".join(f'"{name}": "{value}"' for name, value in {"id_cliente": customer, **values}.items()) + "}"


def read(body: bytes, marker: tuple[str, str] | None = None) -> holdings.Holdings | None:
    return read_holdings(body, {loosely("00-12A")}, marker=marker, campaign_id="7")


def test_an_export_that_holds_others_proves_absence() -> None:
    found = read(answer(row("somebody"), total="1"))
    assert found is not None
    assert find(RECORD, found, None, 1) is Finding.ABSENT


def test_an_export_that_may_be_cut_proves_no_absence(monkeypatch: pytest.MonkeyPatch) -> None:
    fewer = read(answer(row("somebody"), total="2"))
    assert fewer is not None
    assert find(RECORD, fewer, None, 1) is Finding.UNSURE
    monkeypatch.setattr(holdings, "EXPORT_ROWS", 1)
    full = read(answer(row("somebody"), total="1"))
    assert full is not None
    assert find(RECORD, full, None, 1) is Finding.UNSURE


@pytest.mark.parametrize("kept", ["12a", "0012A", " 00-12A "])
def test_a_customer_in_another_form_is_not_absent(kept: str) -> None:
    found = read(answer(row(kept, tel1="3001112233")))
    assert found is not None
    assert find(RECORD, found, None, 1) is Finding.UNSURE


def test_some_records_of_a_call_prove_nothing_of_the_others() -> None:
    marker = ("opt12", "call-1")
    found = read(answer(row("somebody", opt12="call-1")), marker)
    assert found is not None
    assert find_unknown(found, marker, 2) is Finding.UNSURE
    assert find_unknown(found, marker, 1) is Finding.THERE


@pytest.mark.parametrize(
    "body",
    [
        answer(code="404"),
        answer(campaign="8"),
        b'{"code": "200", "campaign_id": "7"}',
        b'{"code": "200", "campaign_id": "7", "data": []}',
        answer()[:-1],
        b"[]",
        b"",
    ],
)
def test_an_envelope_that_is_no_export_of_this_campaign_proves_nothing(body: bytes) -> None:
    assert read(body) is None


def test_a_lead_that_was_delivered_before_is_believed_by_its_marker(begin: Begin) -> None:
    doubt = begin(marker="opt12", resend=True)
    doubt.stage.clock.now += 3600
    doubt.stage.simulator.script(Fault("cut-after", api="add_record"))
    doubt.stage.change(doubt.other, name="Beto B.")
    doubt.stage.turn()
    assert doubt.state(doubt.other) == "held"
    doubt.check(SETTLED)
    assert doubt.state(doubt.other) == "delivered"
