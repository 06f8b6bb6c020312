"""What verification asks, how little, and what it makes of bad answers."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from syncd.errors import SenderDeposed
from syncd.ledger import Lease
from syncd.model import Exchange
from syncd.simulator import Fault, Settings
from tests.verify.conftest import Start
from tests.verify.desk import AGAIN, FIRST, Desk

HOSTILE = {
    "nothing": b"",
    "no json": b"<html>Bad Gateway</html>",
    "half": b'{"code": "200", "records": [{"id_cliente": "x"}',
    "NUL": b'{"code": "200", "records": []}\x00',
    "raw NUL": b"\x00" * 100,
    "not UTF-8": b'{"code": "200", "records": [{"id_cliente": "\xff"}]}',
    "deep": b'{"code": "200", "records": ' + b"[" * 200_000,
    "deep row": b'{"code": "200", "records": [{"id_cliente": ' + b'{"a":' * 100_000,
    "huge number": b'{"code": "200", "records": [{"id_cliente": ' + b"9" * 10_000 + b"}]}",
    "rows of numbers": b'{"code": "200", "records": [1, 2, 3]}',
    "rows of lists": b'{"code": "200", "records": [[]]}',
    "no customer": b'{"code": "200", "records": [{"tel1": "90000000001"}]}',
    "customer a list": b'{"code": "200", "records": [{"id_cliente": []}]}',
    "customer a truth": b'{"code": "200", "records": [{"id_cliente": true}]}',
    "records a text": b'{"code": "200", "records": "none"}',
    "records null": b'{"code": "200", "records": null}',
    "two envelopes": b'{"code": "200", "records": [{"id_cliente": "x"}]}{"code": "200", "records": []}',
    "an error with 200": b'{"code": "500", "records": [{"id_cliente": "x"}]}',
    "no code": b'{"records": [{"id_cliente": "x"}]}',
    "token_info's": b'{"code": "200", "error": null, "msg": "", "data": [{"token_limit": "5000"}]}',
    "campaigns'": b'{"code": "200", "data": [{"campaign_id": "12345", "records": "0"}]}',
    "add_record's": b'{"code": "201", "error": null, "msg": "All records has been added successfully", "data": [{}]}',
    "find_record's": b'{"code": "200", "data": [{"customer_id": "somebody"}]}',
    "another campaign's": b'{"code": "200", "campaign_id": "99999", "records": [{"id_cliente": "x"}]}',
    "a list": b"[]",
    "a number": b"200",
}


@pytest.mark.parametrize("fault", ["cut-after", "cut-before"])
def test_a_hostile_answer_neither_crashes_nor_settles_anything(desk: Desk, fault: str) -> None:
    keys = desk.lose(*desk.names(2), fault=fault)
    desk.clock.now += FIRST
    for name, body in HOSTILE.items():
        for kind in ("find_record", "campaign_15"):
            desk.answer(kind, body)
        desk.verifier = desk.new_verifier()
        for _ in range(2):
            desk.check(AGAIN)
        assert desk.states() == dict.fromkeys(keys, "held"), name
        assert {desk.lead(key)["absent_at"] for key in keys} == {None}, name
    assert desk.the_call()["checks"] == 0
    desk.asking.instead.clear()
    desk.verify_for(2 * 3600)
    assert desk.states() == dict.fromkeys(keys, "delivered" if fault == "cut-after" else "pending")


@pytest.mark.parametrize("body", [b'{"code": "200", "records": [{"id_cliente": "\\ud800\\u0000", "tel1": "\\udfff"}]}'])
def test_odd_letters_in_a_row_of_somebody_else_do_not_matter(desk: Desk, body: bytes) -> None:
    desk.lose(*desk.names(4), fault="cut-before")
    desk.answer("campaign_15", body)
    desk.check(FIRST)
    assert desk.check(AGAIN) == {"pending": 4}


@pytest.mark.parametrize("status", [None, 302, 403, 503])
def test_no_answer_is_asked_again_later_and_releases_nobody(desk: Desk, status: int | None) -> None:
    keys = desk.lose(*desk.names(4), fault="cut-before")
    desk.answer("campaign_15", {"code": "200", "records": [{"id_cliente": "x"}]}, status)
    desk.clock.now += FIRST
    began, asked = desk.clock.now, []
    desk.asking.before = lambda _kind: asked.append(desk.clock.now - began)
    while desk.clock.now < began + 4800:
        desk.verifier.run_once()
        desk.clock.now += 20
    assert asked[0] == 0
    waits = [second - first for first, second in itertools.pairwise(asked)]
    assert waits == sorted(waits)
    assert [round(wait / 60) for wait in waits] == [1, 2, 5, 15]
    assert desk.states() == dict.fromkeys(keys, "held")
    assert {desk.lead(key)["absent_at"] for key in keys} == {None}


@pytest.mark.parametrize("policy", ["hold", "assume-delivered", "resend"])
def test_where_nobody_answers_for_hours_the_setting_decides(start: Start, policy: str) -> None:
    desk = start(on_unresolved=policy)
    (key,) = desk.lose("ana", fault="cut-before")
    desk.answer("find_record", b"", 503)
    desk.answer("campaign_15", b"", 503)
    desk.verify_for(3600)
    assert desk.states() == {key: "held"}
    desk.verify_for(24 * 3600)
    assert desk.states() == {key: {"hold": "held", "assume-delivered": "delivered", "resend": "pending"}[policy]}


def test_a_crm_that_does_not_answer_is_no_check(start: Start) -> None:
    desk = start(on_unresolved="resend")
    (key,) = desk.lose("ana", fault="cut-before")
    desk.crm.execute("ALTER TABLE leads RENAME TO elsewhere")
    desk.verify_for(24 * 3600)
    assert (desk.states()[key], desk.the_call()["checks"], desk.asked()) == ("held", 0, {})
    desk.crm.execute("ALTER TABLE elsewhere RENAME TO leads")
    desk.verify_for(3600)
    assert desk.states() == {key: "pending"}


# -- an empty campaign ---------------------------------------------------------------------------------------


def test_an_empty_campaign_answers_404_and_its_counter_proves_it(desk: Desk) -> None:
    desk.lose(*desk.names(4), fault="cut-before")
    desk.check(FIRST)
    assert desk.asked() == {"campaign_15": 1, "campaigns": 1}
    assert desk.check(AGAIN) == {"pending": 4}


ROW = {"campaign_id": "12345", "records": "0"}


DOUBTFUL: list[tuple[object, int | None]] = [
    ({"code": "200", "data": [{**ROW, "records": "4"}]}, 200),
    ({"code": "200", "data": [{**ROW, "records": ""}]}, 200),
    ({"code": "200", "data": [{**ROW, "records": None}]}, 200),
    ({"code": "200", "data": [{**ROW, "campaign_id": "12346"}]}, 200),
    ({"code": "200", "data": [ROW, {**ROW, "records": "7"}]}, 200),
    ({"code": "200", "data": [{"campaign_id": "12345"}]}, 200),
    ({"code": "200", "data": []}, 200),
    ({"code": "404", "data": [ROW]}, 200),
    ({"code": "200", "data": [ROW]}, 404),
    ({"code": "200", "data": [ROW]}, 500),
    ({"code": "200", "data": [ROW]}, None),
    (b"[" * 100_000, 200),
]


@pytest.mark.parametrize("empty", [(b"", 404), (b'{"code": "200", "records": []}', 200)])
def test_neither_a_404_nor_an_empty_list_proves_anything_by_itself(desk: Desk, empty: tuple[bytes, int]) -> None:
    keys = desk.lose(*desk.names(4), fault="cut-before")
    desk.answer("campaign_15", *empty)
    desk.clock.now += FIRST
    for answer in DOUBTFUL:
        desk.answer("campaigns", *answer)
        desk.verifier = desk.new_verifier()
        for _ in range(2):
            desk.check(AGAIN)
        assert desk.states() == dict.fromkeys(keys, "held"), answer
        assert {desk.lead(key)["absent_at"] for key in keys} == {None}, answer


@pytest.mark.parametrize("rows", [59_999, 60_000])
def test_an_export_of_as_many_records_as_there_may_be_proves_no_absence(desk: Desk, rows: int) -> None:
    keys = desk.lose(*desk.names(4), fault="cut-before")
    desk.answer("campaign_15", {"code": "200", "records": [{"id_cliente": str(number)} for number in range(rows)]})
    for _ in range(3):
        desk.check(FIRST + 32 * AGAIN)
    assert desk.states() == dict.fromkeys(keys, "held" if rows == 60_000 else "pending")


def test_an_export_with_fewer_records_than_it_says_proves_no_absence(desk: Desk) -> None:
    (key, *_) = desk.lose(*desk.names(4), fault="cut-before")
    desk.answer("campaign_15", {"code": "200", "total_records": "2", "records": [{"id_cliente": "x"}]})
    for _ in range(3):
        desk.check(FIRST + 32 * AGAIN)
    assert desk.states()[key] == "held"


# -- thrift, and the quota -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("many", "fault", "asked"),
    [
        (1, "cut-after", {"find_record": 1}),
        (3, "cut-after", {"find_record": 3}),
        (4, "cut-after", {"campaign_15": 1}),
        (200, "cut-after", {"campaign_15": 1}),
        (1, "cut-before", {"find_record": 1, "campaign_15": 1}),
        (3, "cut-before", {"find_record": 1, "campaign_15": 1}),
        (200, "cut-before", {"campaign_15": 1}),
    ],
)
def test_no_more_is_asked_than_needed(desk: Desk, many: int, fault: str, asked: dict[str, int]) -> None:
    desk.add("somebody-else")
    desk.turn()
    desk.clock.now += 60
    desk.lose(*desk.names(many), fault=fault)
    desk.check(FIRST)
    assert desk.asked() == asked
    settled = many if fault == "cut-after" else 0
    report = desk.verifier.run_once().report
    assert report is None
    assert sum(row["state"] == "delivered" for row in desk.leads().values()) == settled + 1


def test_questions_are_counted_like_all_calls(desk: Desk) -> None:
    desk.lose(*desk.names(4))
    assert desk.delivery.quota().used == 1
    desk.check(FIRST)
    assert desk.delivery.quota().used == 2
    assert [row["kind"] for row in desk.calls()] == ["add_record", "campaign_15"]
    assert desk.calls()[1]["state"] == "accepted"
    assert desk.simulator.state.quota_used() == 2


def test_without_a_call_left_nothing_is_asked_and_the_next_day_all_is_well(start: Start) -> None:
    desk = start(budget=1)
    keys = desk.lose(*desk.names(4))
    desk.clock.now += FIRST
    report = desk.verifier.run_once().report
    assert report is not None
    assert (list(report.questions), "are used" in report.sentence) == ([], True)
    assert desk.look() is None  # and it is not said again each minute
    desk.verify_for(10 * 3600)
    assert (desk.asked(), desk.states()) == ({}, dict.fromkeys(keys, "held"))
    desk.verify_for(3 * 3600)
    assert desk.states() == dict.fromkeys(keys, "delivered")


def test_a_share_of_the_day_is_left_to_verification(start: Start) -> None:
    desk = start(licenses=1, budget=1000)
    desk.rules = desk.delivery._rules = type(desk.rules)(
        **{name: getattr(desk.rules, name) for name in desk.rules.__slots__} | {"verify_calls": 10}
    )
    desk.lose(*desk.names(4))
    with desk.ledger.home.write() as connection:
        day = desk.the_call()["quota_day"]
        for number in range(989):
            connection.exec_driver_sql(
                "INSERT INTO {}call (id, kind, state, term, quota_day, leads, started_at, deadline_at, ended_at)"
                " VALUES ('c{}', 'token_info', 'accepted', 1, '{}', 0, 0, 0, 0)".format(
                    "" if desk.ledger.home.is_sqlite else "syncd.", number, day
                )
            )
    desk.add("late")
    assert desk.run(FIRST) == []
    assert desk.check() == {"delivered": 4}


def test_nothing_is_asked_while_a_call_may_still_be_at_work(desk: Desk) -> None:
    desk.lose(*desk.names(4))
    desk.clock.now += FIRST - 20
    desk.lose("late")
    desk.clock.now += 20
    result = desk.verifier.run_once()
    assert (result.report, desk.asked()) == (None, {})
    assert result.next_at == pytest.approx(desk.the_call(1)["started_at"] + 60, abs=0.5)
    desk.check(40)
    assert desk.the_call()["state"] == "accepted"


def test_a_question_without_an_answer_counts_as_at_work_for_a_minute(desk: Desk) -> None:
    desk.lose("ana")
    desk.clock.now += FIRST
    desk.simulator.script(Fault("cut-before", api="find_record"))
    assert desk.look() == (0, 0, 0)
    assert (desk.asked(), desk.is_busy()) == ({"find_record": 1}, True)
    desk.add("late")
    assert desk.turn().standing.state == "waiting"
    desk.clock.now += 59
    assert desk.is_busy()
    desk.clock.now += 2
    assert desk.check() == {"delivered": 1}
    assert not desk.is_busy()
    assert desk.turn().standing.state == "sending"


def test_a_question_that_never_left_is_not_at_work(desk: Desk) -> None:
    desk.lose("ana")
    desk.clock.now += FIRST
    desk.asking.instead["find_record"] = lambda: Exchange(False, None, b"", "no connection", 0.0)
    desk.check()
    assert not desk.is_busy()
    assert [row["state"] for row in desk.calls() if row["kind"] == "find_record"] == ["not_sent"]


@pytest.mark.parametrize("secs", [21, -21, 4000])
def test_a_question_whose_sender_stood_still_is_not_asked(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, secs: float
) -> None:
    desk.lose("ana")
    desk.clock.now += FIRST
    real = desk.ledger.intend

    def intend(*arguments: Any, **named: Any) -> Any:
        made = real(*arguments, **named)
        desk.clock.now += secs
        return made

    monkeypatch.setattr(desk.ledger, "intend", intend)
    report = desk.verifier.run_once().report
    assert report is not None
    assert (desk.asked(), "stood still" in report.sentence) == ({}, True)
    monkeypatch.setattr(desk.ledger, "intend", real)
    assert {row["state"] for row in desk.calls() if row["kind"] != "add_record"} == {"not_sent"}
    desk.verify_for(3600)
    assert desk.the_call()["state"] == "accepted"


def test_a_clock_that_cannot_be_trusted_asks_nothing(desk: Desk) -> None:
    (key,) = desk.lose("ana", fault="cut-before")
    desk.check(FIRST)
    asked = desk.asked()
    desk.doubt = "One clock has jumped."
    desk.verify_for(7200)
    assert (desk.asked(), desk.states()) == (asked, {key: "held"})
    desk.doubt = None
    desk.verify_for(3600)
    assert desk.states() == {key: "pending"}


# -- senders that come and go --------------------------------------------------------------------------------


def test_a_call_of_a_killed_process_is_verified_like_any_other(desk: Desk) -> None:
    class Killed(BaseException):
        pass

    def kill() -> None:
        raise Killed

    keys = desk.add(*desk.names(4))
    desk.client.after = kill
    with pytest.raises(Killed):
        desk.turn()
    desk.client.after = lambda: None
    desk.clock.now += 3600
    desk.start_again()
    desk.verifier = desk.new_verifier()
    assert desk.states() == dict.fromkeys(keys, "held")
    assert desk.check(FIRST - 61) == {}  # the minute of wolkvox is long over, the settle time begins now
    assert desk.asked() == {}
    assert desk.check(1) == {"delivered": 4}


def test_a_question_of_a_killed_process_is_at_work_for_a_minute_and_then_forgotten(desk: Desk) -> None:
    class Killed(BaseException):
        pass

    def kill(_kind: str) -> None:
        raise Killed

    desk.lose("ana")
    desk.clock.now += FIRST
    desk.asking.before = kill
    with pytest.raises(Killed):
        desk.verifier.run_once()
    desk.asking.before = lambda _kind: None
    desk.clock.now += 10
    assert desk.start_again() == []
    desk.clock.now += 59
    assert desk.is_busy()
    desk.clock.now += 1
    assert not desk.is_busy()
    assert desk.ledger.unresolved_calls() == 1
    desk.verifier = desk.new_verifier()
    assert desk.check() == {"delivered": 1}


def test_who_asks_for_a_check_need_not_wait_for_what_failed_before(desk: Desk) -> None:
    desk.lose("ana")
    desk.answer("find_record", b"", 403)
    desk.answer("campaign_15", b"", 403)
    desk.verify_for(3000)
    desk.asking.instead.clear()
    assert desk.check() == {}, "it is not asked again yet"
    (found,) = desk.ledger.doubts.unresolved()
    desk.ledger.doubts.resolve(found.id, None, desk.clock(), "ana", "why", resend_changed=False)
    assert desk.check() == {"delivered": 1}


@pytest.mark.parametrize("when", ["find_record", "campaign_15"])
@pytest.mark.parametrize("fault", ["cut-after", "cut-before"])
def test_a_sender_that_was_deposed_in_the_middle_settles_nothing(desk: Desk, when: str, fault: str) -> None:
    keys = desk.lose(*desk.names(1 if when == "find_record" else 4), fault=fault)
    if fault == "cut-before":
        desk.check(FIRST)
    before = desk.leads()
    term = desk.term()

    def depose(kind: str) -> None:
        if kind == when:
            desk.lease.release()
            another = Lease(desk.ledger.home, desk.clock, "another")
            assert another.acquire()
            desk.lease.close()
            desk.lease = another

    desk.asking.before = depose
    desk.term = lambda: term  # type: ignore[method-assign]  # it has not heard of it yet
    desk.verifier = desk.new_verifier()
    desk.clock.now += AGAIN if fault == "cut-before" else FIRST
    with pytest.raises(SenderDeposed):
        desk.verifier.run_once()
    assert desk.leads() == before
    assert desk.states() == dict.fromkeys(keys, "held")


def test_a_campaign_that_is_larger_than_an_export_is_asked_about_few_leads_one_by_one(start: Start) -> None:
    desk = start(sim=Settings(keep_bodies=5))
    keys = desk.lose(*desk.names(3))
    desk.answer("campaign_15", b"", 500)
    assert desk.check(FIRST) == {"delivered": 3}
    assert desk.states() == dict.fromkeys(keys, "delivered")
