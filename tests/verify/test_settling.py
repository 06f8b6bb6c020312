"""What becomes of a call whose reply was lost: found, absent twice, or in between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from syncd.batch import Lane
from syncd.crm import RowReader
from syncd.fieldmap import compile_map
from syncd.simulator import Fault, Settings
from tests.delivery.stage import MAP, ZONE
from tests.verify.conftest import Start
from tests.verify.desk import AGAIN, FIRST, RECALL, Desk

STORED = [
    ("cut-after", {}, 1),
    ("cut-after", {}, 3),
    ("cut-after", {}, 4),
    ("broken-json", {}, 4),
    ("reply", {"stored": True, "status": 502}, 4),
]
LOST = [("cut-before", {}, 1), ("cut-before", {}, 4), ("cut-body", {}, 4), ("reply", {"status": 500}, 4)]


@pytest.mark.parametrize(("fault", "options", "many"), STORED)
def test_a_call_that_arrived_is_found_and_delivered(
    desk: Desk, fault: str, options: dict[str, object], many: int
) -> None:
    keys = desk.lose(*desk.names(many), fault=fault, **options)
    assert desk.check(FIRST - 1) == {}
    assert desk.asked() == {}
    assert desk.check(1) == {"delivered": many}
    assert desk.states() == dict.fromkeys(keys, "delivered")
    assert set(desk.accepted().values()) == {1}
    made = desk.the_call()
    assert (made["state"], made["resolved_by"], made["prints"], made["found"]) == ("accepted", "verified", None, many)


@pytest.mark.parametrize(("fault", "options", "many"), LOST)
def test_a_call_that_never_arrived_is_seen_absent_twice_and_sent_again_once(
    desk: Desk, fault: str, options: dict[str, object], many: int
) -> None:
    keys = desk.lose(*desk.names(many), fault=fault, **options)
    assert desk.check(FIRST) == {}
    assert desk.states() == dict.fromkeys(keys, "held")
    assert desk.check(AGAIN - 1) == {}
    assert desk.the_call()["checks"] == 1
    assert desk.check(1) == {"pending": many}
    assert desk.states() == dict.fromkeys(keys, "pending")
    assert desk.the_call()["state"] == "refused"
    desk.run(60)
    assert desk.states() == dict.fromkeys(keys, "delivered")
    assert desk.posts() == 2
    assert set(desk.accepted().values()) == {1}


def test_one_absence_never_releases_however_long_it_is_ago(desk: Desk) -> None:
    (key,) = desk.lose("ana", fault="cut-before")
    desk.check(FIRST)
    desk.answer("campaign_15", b"", 503)
    desk.clock.now += 86_400
    desk.verify_for(600)
    assert desk.states() == {key: "held"}


def test_an_absence_that_a_doubt_broke_does_not_count(desk: Desk) -> None:
    (key,) = desk.lose("ana", fault="cut-before")
    desk.check(FIRST)
    assert desk.lead(key)["absent_at"] == desk.clock.now
    restore = changed_for_now(desk, key)
    desk.check(AGAIN)
    assert desk.lead(key)["absent_at"] is None
    restore()
    desk.check(2 * AGAIN)
    assert desk.states() == {key: "held"}
    assert desk.check(4 * AGAIN) == {"pending": 1}


def changed_for_now(desk: Desk, key: str) -> Callable[[], object]:
    """What was sent of a lead is not known any more, until what is returned is called."""
    change = "UPDATE leads SET name = {} WHERE id = %s"
    desk.crm.execute(change.format("name || ' changed'"), [key])
    return lambda: desk.crm.execute(change.format("replace(name, ' changed', '')"), [key])


def test_what_is_stored_after_the_line_was_cut_is_found(desk: Desk) -> None:
    (key,) = desk.add("ana")
    desk.simulator.script(Fault("cut-then-store", api="add_record"))
    desk.turn()
    assert desk.accepted() == {}
    desk.simulator.clear_faults()  # it stores now
    assert desk.simulator.state.wait_for(lambda state: state.accepted("12345") == {"ana": 1})
    assert desk.check(FIRST) == {"delivered": 1}
    assert desk.states() == {key: "delivered"}


def test_what_becomes_visible_between_two_looks_is_found(start: Start) -> None:
    desk = start(sim=Settings(visible_after_secs=FIRST + 10, keep_bodies=5))
    desk.add("somebody-else")
    desk.turn()
    desk.clock.now += FIRST + 10
    (key,) = desk.lose("ana")
    assert desk.check(FIRST) == {}
    assert desk.lead(key)["absent_at"] == desk.clock.now
    assert desk.check(AGAIN) == {"delivered": 1}
    assert desk.states()[key] == "delivered"


@pytest.mark.parametrize("marker", [None, "opt12"])
def test_a_call_that_arrived_in_part_is_split(start: Start, marker: str | None) -> None:
    # The field is too long for wolkvox and not for this map: it keeps the others, and its reply is lost.
    desk = start(marker=marker)
    keys = desk.add(*(people := desk.names(5)))
    bad = people[2]
    desk.simulator.script(Fault("cut-after", api="add_record"))
    spoil(desk, bad)
    desk.turn()
    assert set(desk.accepted()) == set(people) - {bad}
    assert desk.check(FIRST) == {"delivered": 4}
    assert desk.states() == {
        key: "held" if name == bad else "delivered" for key, name in zip(keys, people, strict=True)
    }
    assert desk.the_call()["state"] == "unknown"
    assert desk.check(AGAIN) == {"pending": 1}
    assert desk.the_call()["state"] == "accepted_in_part"
    desk.run(60)
    assert set(desk.accepted().values()) == {1}


def spoil(desk: Desk, customer: str) -> None:
    """Let one record of the next call be one that wolkvox refuses, and the ledger know it as it should have been."""
    send = desk.client.client.add_record

    def spoiling(campaign: object, body: bytes) -> object:
        desk.client.client.add_record = send  # type: ignore[method-assign]
        sent = body.replace(f'"customer_id":"{customer}"'.encode(), b'"customer_id":""')
        assert sent != body
        return send(campaign, sent)  # type: ignore[arg-type]

    desk.client.client.add_record = spoiling  # type: ignore[method-assign,assignment]


# -- rows that changed, or are gone --------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["cut-after", "cut-before"])
@pytest.mark.parametrize("what", ["changed", "gone", "withdrawn"])
def test_without_a_marker_nothing_is_known_of_a_row_that_is_not_as_it_was(desk: Desk, fault: str, what: str) -> None:
    (key,) = desk.lose("ana", fault=fault)
    spoil_row(desk, key, what)
    for _ in range(5):
        desk.check(FIRST + 32 * AGAIN)
    assert desk.states() == {key: "held"}
    assert desk.lead(key)["absent_at"] is None
    assert desk.posts() == 1


def spoil_row(desk: Desk, key: str, what: str) -> None:
    if what == "changed":
        desk.change(key, mobile="90000000077", captured=False)
    elif what == "withdrawn":
        desk.change(key, consent=False, captured=False)
    else:
        desk.crm.execute("DELETE FROM leads WHERE id = %s", [key])


@pytest.mark.parametrize("what", ["changed", "gone", "withdrawn"])
@pytest.mark.parametrize("fault", ["cut-after", "cut-before"])
def test_a_marker_tells_of_rows_that_are_not_as_they_were(start: Start, fault: str, what: str) -> None:
    desk = start(marker="opt12")
    names = desk.names(4)
    keys = desk.lose(*names, fault=fault)
    for key in keys[:2]:
        spoil_row(desk, key, what)
    if fault == "cut-after":
        assert desk.check(FIRST) == {"delivered": 4}
        return
    assert desk.check(FIRST) == {}
    assert desk.check(AGAIN) == {"pending": 4}
    desk.run(60)
    expected = {"changed": "delivered", "gone": "withdrawn", "withdrawn": "withdrawn"}[what]
    assert [desk.states()[key] for key in keys] == [expected, expected, "delivered", "delivered"]


def test_a_marker_set_after_the_call_does_not_make_its_records_absent(start: Start) -> None:
    """Somebody sees unresolved calls, and turns on what makes verification exact."""
    desk = start()
    keys = desk.lose(*desk.names(4))
    desk._given = (*desk._given[:2], "opt12")
    desk.verifier = desk.new_verifier()
    assert desk.check(FIRST) == {"delivered": 4}
    assert desk.states() == dict.fromkeys(keys, "delivered")


def test_a_marker_taken_away_after_the_call_is_asked_for_all_the_same(start: Start) -> None:
    desk = start(marker="opt12")
    keys = desk.lose(*desk.names(4))
    for key in keys:
        spoil_row(desk, key, "changed")
    desk._given = (*desk._given[:2], None)
    desk.verifier = desk.new_verifier()
    assert desk.check(FIRST) == {"delivered": 4}


# -- customers whom wolkvox knew before ----------------------------------------------------------------------


def known_before(desk: Desk, name: str, mobile: str) -> str:
    """A customer whom another row has brought to wolkvox; and the key of a new row of his, captured."""
    desk.add(name, mobile="90000000001")
    desk.run(30)
    desk.resent_on_purpose = True
    (key,) = desk.add(name, mobile=mobile)
    return key


@pytest.mark.parametrize("fault", ["cut-after", "cut-before"])
def test_without_a_marker_a_customer_known_with_other_values_is_there_or_unsure(desk: Desk, fault: str) -> None:
    key = known_before(desk, "ana", "90000000002")
    desk.simulator.script(Fault(fault, api="add_record"))
    desk.turn()
    for _ in range(4):
        desk.check(FIRST + 32 * AGAIN)
    assert desk.states()[key] == ("delivered" if fault == "cut-after" else "held")
    assert desk.posts() == 2


@pytest.mark.parametrize("fault", ["cut-after", "cut-before"])
def test_with_a_marker_earlier_records_of_the_customer_do_not_count(start: Start, fault: str) -> None:
    desk = start(marker="opt12")
    key = known_before(desk, "ana", "90000000001")
    desk.simulator.script(Fault(fault, api="add_record"))
    desk.turn()
    desk.check(FIRST)
    desk.check(AGAIN)
    assert desk.states()[key] == ("delivered" if fault == "cut-after" else "pending")


@pytest.mark.parametrize("marker", [None, "opt12"])
def test_a_lead_that_was_delivered_before_is_found_by_its_marker_alone(start: Start, marker: str | None) -> None:
    """Its name changed, which no reply is compared by: what is found may be what was there before."""
    desk = start(resend=True, marker=marker)
    (key,) = desk.add("ana")
    desk.run(30)
    desk.resent_on_purpose = True
    desk.simulator.script(Fault("cut-before", api="add_record"))
    desk.change(key, name="Ana María")
    desk.turn()
    assert desk.states() == {key: "held"}
    desk.check(FIRST)
    desk.check(AGAIN)
    assert desk.states() == {key: "held" if marker is None else "pending"}
    assert desk.accepted() == {"ana": 1}


@pytest.mark.parametrize("known", ["0123", "123", "12-3", "ABC", "abc"])
def test_a_customer_kept_in_another_form_is_not_absent(desk: Desk, known: str) -> None:
    sent = {"0123": "123", "123": "000123", "12-3": "123", "ABC": "abc", "abc": "ABC"}[known]
    (key,) = desk.lose(sent, fault="cut-before")
    row = {"customer_id": known, "tel1": "", "opt1": ""}
    desk.answer("find_record", {"code": "404", "data": []}, 404)
    desk.answer("campaign_15", {"code": "200", "records": [row, {"id_cliente": "other"}]})
    for _ in range(4):
        desk.check(FIRST + 32 * AGAIN)
    assert desk.states() == {key: "held"}


def test_a_recall_that_was_far_enough_ahead_when_it_was_sent_is_known_again(desk: Desk) -> None:
    soon = f"to_timestamp({desk.clock() + 1860})"
    desk.crm.execute(f"ALTER TABLE leads ADD COLUMN callback_at timestamptz DEFAULT {soon}")
    lane = recalling(desk)
    desk.delivery._lanes = [lane]
    desk.verifier = desk.new_verifier(lane)
    (key,) = desk.lose("ana", fault="cut-before")
    desk.check(FIRST)
    assert desk.lead(key)["absent_at"] is not None
    assert desk.check(AGAIN) == {"pending": 1}
    desk.run(60)
    assert desk.states() == {key: "rejected"}  # by now it is too near


def recalling(desk: Desk) -> Lane:
    fieldmap = compile_map(MAP | RECALL, campaign_type="predictive", require=[], zone=ZONE)
    reader = RowReader(desk.reader, ("public", "leads"), "id", fieldmap.columns, "consent", 'sync "web"')
    return replace(desk.lane("web", "12345"), fieldmap=fieldmap, reader=reader)


# -- changes meanwhile, and twins ----------------------------------------------------------------------------


@pytest.mark.parametrize("resend", [True, False])
def test_a_change_while_held_is_considered_once_it_is_found(start: Start, *, resend: bool) -> None:
    desk = start(resend=resend, marker="opt12")
    (key,) = desk.lose("ana")
    desk.change(key, mobile="90000000055")
    assert desk.lead(key)["changed"] == 1
    desk.check(FIRST)
    assert desk.states() == {key: "pending" if resend else "delivered"}
    assert desk.lead(key)["changed"] == 0
    assert desk.the_call()["state"] == "accepted"
    if resend:
        desk.resent_on_purpose = True
        desk.run(60)
        assert desk.posts() == 2
        assert desk.bodies()[-1][0]["tel1"] == "90000000055"


@pytest.mark.parametrize("resend", [True, False])
def test_a_change_while_held_goes_along_once_it_is_released(start: Start, *, resend: bool) -> None:
    desk = start(resend=resend, marker="opt12")
    (key,) = desk.lose("ana", fault="cut-before")
    desk.change(key, mobile="90000000055")
    desk.check(FIRST)
    desk.check(AGAIN)
    assert (desk.states()[key], desk.lead(key)["changed"]) == ("pending", 0)
    desk.run(60)
    assert desk.bodies()[-1][0]["tel1"] == "90000000055"
    assert desk.accepted() == {"ana": 1}


@pytest.mark.parametrize("fault", ["cut-after", "cut-before"])
def test_duplicates_of_a_lead_come_back_if_it_is_released(start: Start, fault: str) -> None:
    desk = start(dedupe_hours=24)
    (first,) = desk.add("ana", mobile="90000000001")
    desk.simulator.script(Fault(fault, api="add_record"))
    desk.turn()
    twins = desk.add("ana-2", "ana-3", mobile="90000000001")
    desk.run(FIRST - 1)
    assert {desk.states()[key] for key in twins} == {"duplicate"}
    desk.check(1)
    desk.check(AGAIN)
    released = fault == "cut-before"
    assert desk.states() == {first: "pending" if released else "delivered"} | dict.fromkeys(
        twins, "pending" if released else "duplicate"
    )
    desk.run(600)
    assert sorted(desk.states().values()) == ["delivered", "duplicate", "duplicate"]
    assert sum(desk.accepted().values()) == 1


# -- what stays unsure ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["hold", "assume-delivered", "resend"])
def test_after_three_checks_the_setting_decides_on_what_is_unsure(start: Start, policy: str) -> None:
    desk = start(on_unresolved=policy)
    keys = desk.lose(*desk.names(5), fault="cut-before")
    spoil_row(desk, keys[0], "changed")
    assert desk.check(FIRST) == {}
    assert desk.check(AGAIN) == {"pending": 4}
    assert desk.states()[keys[0]] == "held"
    settled = desk.check(2 * AGAIN)
    assert settled == {"hold": {}, "assume-delivered": {"delivered": 1}, "resend": {"pending": 1}}[policy]
    made = desk.the_call()
    by = {"hold": None}.get(policy, f'on_unresolved = "{policy}"')
    state = {"hold": "unknown", "assume-delivered": "accepted_in_part", "resend": "refused"}[policy]
    assert (made["state"], made["resolved_by"], made["checks"]) == (state, by, 3)


def test_the_setting_does_not_decide_on_what_was_just_seen_absent(start: Start) -> None:
    desk = start(on_unresolved="assume-delivered")
    keys = desk.lose(*desk.names(5), fault="cut-before")
    restore = [changed_for_now(desk, key) for key in keys]
    desk.check(FIRST)
    desk.check(AGAIN)
    for each in restore[1:]:
        each()
    assert desk.check(2 * AGAIN) == {"delivered": 1}
    assert [desk.states()[key] for key in keys] == ["delivered", *["held"] * 4]
    assert desk.check(4 * AGAIN) == {"pending": 4}
