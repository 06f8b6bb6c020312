"""What `syncd recover` makes of each lead: never a second call, never a lead that is forgotten, nothing guessed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import select

from syncd import holdings
from syncd.cli import main
from syncd.errors import SenderDeposed
from syncd.ledger import Lease, acts
from syncd.ledger.recovering import Recovered, Restoration
from syncd.ledger.schema import call
from syncd.model import Exchange
from syncd.simulator import Simulator
from syncd.states import LeadState
from syncd.wolkvox import Wolkvox
from tests.recovery.conftest import Rig, flow


def restored(rig: Rig, old: int = 2, new: int = 3) -> None:
    """`old` leads are delivered, a copy is taken, `new` are delivered, and the copy is put back."""
    rig.site.insert(old)
    flow(rig)
    rig.copy()
    if new:
        rig.site.insert(new, old + 1)
        flow(rig)
    rig.put_back()


def posts(rig: Rig) -> int:
    return rig.site.simulator.state.calls().get("add_record", 0)


def twice(rig: Rig) -> dict[str, int]:
    return {lead: count for lead, count in rig.site.accepted().items() if count > 1}


def test_a_lead_that_changed_since_it_was_sent_is_held_for_a_person_to_decide(rig: Rig) -> None:
    restored(rig)
    rig.site.execute("UPDATE leads SET mobile = '3019999999', updated_at = now() WHERE id IN (4, 5)")
    rig.site.insert(1, 6)
    found = rig.recover()
    assert (found["known"], found["delivered"], found["unsure"], found["absent"]) == (2, 1, 2, 1)
    assert rig.leads() == {"1": "delivered", "2": "delivered", "3": "delivered", "4": "held", "5": "held"}
    assert flow(rig).state != "held"
    rig.site.execute("UPDATE leads SET mobile = '3018888888', updated_at = now() WHERE id IN (4, 5)")
    flow(rig)
    assert twice(rig) == {}
    assert rig.leads()["6"] == "delivered"
    (unresolved,) = json.loads(rig.syncd("calls", "--unresolved", "--json"))
    assert unresolved["call"].startswith("recovered-")
    assert unresolved["leads"] == 2
    rig.syncd("resolve", unresolved["call"], "--delivered", "--reason", "a test")
    assert set(rig.leads().values()) == {"delivered"}
    flow(rig)
    assert twice(rig) == {}


def test_who_says_so_has_them_sent_again(small: Rig) -> None:
    restored(small)
    small.site.execute("UPDATE leads SET mobile = '3019999999', updated_at = now() WHERE id = 5")
    small.recover("--resend-changed")
    flow(small)
    assert twice(small) == {"doc-5": 2}
    assert set(small.leads().values()) == {"delivered"}


def test_a_record_vouches_for_one_lead_only(small: Rig) -> None:
    """The same person asks again: two rows alike, of which wolkvox has one."""
    restored(small)
    small.site.execute(
        "INSERT INTO leads (document, name, mobile, email) SELECT document, name, mobile, email FROM leads"
        " WHERE document IN ('doc-1', 'doc-5')"
    )
    found = small.recover()
    # doc-1: the ledger knows whose the record is. doc-5: the first row has it.
    assert (found["known"], found["delivered"], found["unsure"]) == (2, 3, 2)
    assert small.leads() == dict.fromkeys("12345", "delivered") | dict.fromkeys("67", "held")


def test_leads_that_no_longer_match_are_recognised_too(small: Rig) -> None:
    small.site.write(sync__0__where="consent")
    restored(small)
    small.site.execute("UPDATE leads SET consent = false, updated_at = now() WHERE id > 2")
    small.site.insert(1, 6)
    small.site.execute("UPDATE leads SET consent = false WHERE id = 6")
    found = small.recover()
    assert (found["delivered"], found["absent"]) == (3, 0)
    flow(small)
    small.site.execute("UPDATE leads SET consent = true, updated_at = now()")
    flow(small)
    assert small.site.accepted() == {f"doc-{n}": 1 for n in range(1, 7)}


def test_with_resend_when_changed_only_what_wolkvox_has_not_is_sent(small: Rig) -> None:
    small.site.write(sync__0__resend="when-changed")
    small.site.insert(3)
    flow(small)
    small.copy()
    small.site.execute("UPDATE leads SET mobile = '3017777777', updated_at = now() WHERE id = 1")
    flow(small)
    assert small.site.accepted()["doc-1"] == 2
    small.put_back()
    small.site.execute("UPDATE leads SET mobile = '3016666666', updated_at = now() WHERE id = 2")
    small.recover()
    flow(small)
    assert small.site.accepted() == {"doc-1": 2, "doc-2": 2, "doc-3": 1}


def test_a_batch_marker_does_not_hide_a_record(small: Rig) -> None:
    small.site.write(delivery__batch_marker="opt12")
    restored(small)
    assert small.recover()["delivered"] == 3
    flow(small)
    assert twice(small) == {}


def test_rejected_and_duplicate_leads_stay_unless_their_row_has_changed(small: Rig) -> None:
    small.site.write(sync__0__dedupe={"by": "tel1", "within_hours": 24}, delivery__batch_size=1)
    small.site.insert(1)
    small.site.execute("INSERT INTO leads (document, mobile) VALUES ('doc-1', '3000000001'), ('', '3000000009')")
    flow(small)
    before = small.leads()
    assert before == {"1": "delivered", "2": "duplicate", "3": "rejected"}
    small.copy()
    small.site.insert(1, 5)
    flow(small)
    small.put_back()
    small.recover()
    assert small.leads() == before | {"4": "delivered"}


def test_an_export_that_may_be_cut_releases_nothing(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    restored(rig)
    monkeypatch.setattr(holdings, "EXPORT_ROWS", 5)
    assert main(["recover", "--yes", "--config", str(rig.site.config)]) == 1
    assert set(rig.leads().values()) == {"delivered"}
    rig.site.insert(1, 6)
    assert flow(rig).state == "held"
    assert posts(rig) == 2


def test_a_campaign_that_is_empty_says_so_with_a_404(small: Rig, simulator: Simulator) -> None:
    restored(small)
    simulator.reset()
    said = small.syncd("recover", "--yes", status=1)
    assert "Campaign 12345 has not what the ledger knows to be delivered" in said
    assert flow(small).state == "held"
    found = small.recover("--emptied")
    assert (found["calls"], found["absent"], found["known"], found["gone"]) == (2, 3, 2, 2)
    flow(small)
    assert set(small.site.accepted()) == {"doc-3", "doc-4", "doc-5"}


def test_an_empty_ledger_and_an_emptied_campaign_prove_nothing_where_calls_were_made(
    small: Rig, simulator: Simulator
) -> None:
    small.site.insert(3)
    flow(small)
    small.lose()
    simulator.reset()
    assert flow(small).state == "held"
    small.syncd("recover", "--yes", status=1)
    assert flow(small).state == "held"
    assert small.site.accepted() == {}


@pytest.mark.parametrize(("left", "status"), [(1, 1), (2, 0)])
def test_a_campaign_that_has_lost_most_of_what_it_had_proves_nothing(
    small: Rig, monkeypatch: pytest.MonkeyPatch, left: int, status: int
) -> None:
    restored(small, old=4, new=1)
    export = Wolkvox.export

    def emptied(client: Wolkvox, campaign_id: str) -> Exchange:
        found = export(client, campaign_id)
        held = json.loads(found.body)
        held["records"] = held["records"][:left]
        return replace(found, body=json.dumps(held | {"total_records": str(left)}).encode())

    monkeypatch.setattr(Wolkvox, "export", emptied)
    assert main(["recover", "--yes", "--config", str(small.site.config)]) == status
    assert (flow(small).state == "held") is (status == 1)


def test_an_export_without_a_record_does_not_prove_that_there_is_none(
    small: Rig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    restored(small)
    body = b'{"code": "200", "total_records": "0", "campaign_id": "12345", "records": []}'
    monkeypatch.setattr(Wolkvox, "export", lambda *_: Exchange(True, 200, body, "", 0.1))
    assert main(["recover", "--yes", "--config", str(small.site.config)]) == 1
    assert "does not say what campaign 12345 holds" in capsys.readouterr().err
    assert flow(small).state == "held"


def test_without_an_answer_nothing_is_released(small: Rig) -> None:
    restored(small)
    small.site.write(sync__0__campaign={"id": "99", "type": "predictive", "status": "start"})
    said = small.syncd("recover", "--yes", status=1)
    assert "does not say what campaign 99 holds" in said
    assert flow(small).state == "held"


def test_it_may_fail_half_way_and_be_run_again(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    restored(rig)
    arguments = ["recover", "--yes", "--config", str(rig.site.config)]
    for name in ("end", "refresh"):
        with monkeypatch.context() as patch:
            patch.setattr(Restoration, name, _fail)
            with pytest.raises(ZeroDivisionError):
                main(arguments)
        assert flow(rig).state == "held"
    assert main(arguments) == 0
    assert main(arguments) == 0
    rig.site.insert(1, 6)
    assert flow(rig).state != "held"
    assert rig.site.accepted() == {f"doc-{n}": 1 for n in range(1, 7)}
    assert set(rig.leads().values()) == {"delivered"}


def _fail(*_: object) -> None:
    raise ZeroDivisionError


def test_nothing_is_written_without_a_yes(small: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    restored(small)
    said = small.syncd("recover", status=130)
    assert "3" in said
    assert set(small.leads()) == {"1", "2"}
    assert flow(small).state == "held"


def test_the_days_calls_that_were_forgotten_are_counted_again_and_the_act_is_written(small: Rig) -> None:
    restored(small)
    small.recover()
    ledger = small.ledger()
    try:
        with ledger.home.read() as connection:
            kinds = [row.kind for row in connection.execute(select(call.c.kind).order_by(call.c.n))]
            (act,) = acts.acts(connection, 10)
        # Two calls were made, of which the copy has one; the third is the question.
        assert sorted(kinds) == ["add_record", "add_record", "campaign_15", "lost"]
        assert (act.what, act.leads) == ("recover", 3)
        assert ledger.unresolved_calls() == 0
    finally:
        ledger.close()
    assert "recovered: wolkvox has it" in small.syncd("trace", "web", "4")


def test_a_ledger_that_is_whole_comes_to_no_harm(small: Rig) -> None:
    small.site.insert(4)
    flow(small)
    small.site.insert(2, 5)
    found = small.recover()
    assert (found["known"], found["delivered"], found["unsure"], found["absent"]) == (4, 0, 0, 2)
    flow(small)
    assert small.site.accepted() == {f"doc-{n}": 1 for n in range(1, 7)}


def test_the_tables_are_swept_after_it(small: Rig) -> None:
    """What the slot or the outbox gave to the lost tail comes by no other way."""
    restored(small)
    small.recover()
    ledger = small.ledger()
    try:
        assert ["restored" in str(view.gap) for view in ledger.syncs()] == [True]
    finally:
        ledger.close()


def test_who_is_not_the_sender_any_more_writes_nothing(rig: Rig) -> None:
    restored(rig)
    before = rig.leads()
    ledger = rig.ledger()
    lease = Lease(ledger.home, time.time, "a test")
    try:
        assert lease.acquire()
        former, now = (lease.term or 0) - 1, time.time()
        sync_id = ledger.register("web", now)
        part = [Recovered("1", "another"), Recovered("9", "new")]
        restoration = ledger.restoration
        uid = restoration.identity().uid
        acts_of_one: list[Callable[[], object]] = [
            lambda: restoration.record(former, sync_id, "12345", LeadState.DELIVERED, part, now),
            lambda: restoration.refresh(former, sync_id, part),
            lambda: restoration.count_lost(former, "2026-09-21", 9, now),
            lambda: restoration.end(former, None, {}, now, "ana", "why", 0),
        ]
        for act in acts_of_one:
            with pytest.raises(SenderDeposed):
                act()
        assert restoration.identity().uid == uid
        assert ledger.calls_started("2026-09-21") == 0
    finally:
        lease.release()
        ledger.close()
    assert rig.leads() == before
