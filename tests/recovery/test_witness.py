"""The witness: written before a byte leaves, and compared before anything is sent."""

# ruff: noqa: F811  # fixtures that another conftest has, as arguments

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, func, select, update

from syncd.delivery import Delivery
from syncd.errors import EnvironmentFault
from syncd.ledger import Ledger
from syncd.ledger.schema import call, lead, meta, tally
from syncd.witness import Guard, Statement, Witness
from tests.delivery.conftest import home_url, made_once, shared_database, stage, start  # noqa: F401  # fixtures
from tests.delivery.stage import Stage

Start = Callable[..., Stage]


def guarded(on: Stage, path: Path) -> Guard:
    """The stage's delivery begins anew, with a witness; nobody warns of anything."""
    guard = Guard(on.ledger, Witness(path))
    assert guard.begin() is None
    watch(on, guard)
    return guard


def watch(on: Stage, guard: Guard) -> None:
    on.delivery = Delivery(
        on.ledger,
        [on.lane("web", "12345")],
        on.client,  # type: ignore[arg-type]  # it has what delivery calls
        on.rules,
        on.term,
        on.clock,
        guard=guard,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "far").mkdir()
    return tmp_path / "far" / "witness"


def send(on: Stage, *names: str) -> None:
    on.add(*names)
    on.run(2000)


def lose_last_call(ledger: Ledger) -> None:
    """A failover: the newest call never was, and its leads are pending."""
    with ledger.home.write() as connection:
        number = connection.scalar(select(func.max(call.c.n)))
        moved = connection.execute(
            update(lead)
            .where(lead.c.call_n == number)
            .values(state="pending", settled_at=None, call_n=None, reason=None)
        ).rowcount
        connection.execute(delete(call).where(call.c.n == number))
        for state, by in (("delivered", -moved), ("pending", moved)):
            connection.execute(update(tally).where(tally.c.state == state).values(leads=tally.c.leads + by))


def uid_in(path: Path) -> str:
    said = Witness(path).read()
    assert said is not None
    return said.uid


# -- on disk -----------------------------------------------------------------------------------------------------


def test_a_power_cut_in_the_middle_of_a_write_leaves_what_was_said_before(tmp_path: Path) -> None:
    path = tmp_path / "witness"
    witness = Witness(path)
    said = [Statement("u", number, f"call-{number}") for number in range(5)]
    witness.write(said[0])
    inode = path.stat().st_ino
    for before, now in pairwise(said):
        whole = path.read_bytes()
        witness.write(now)
        assert witness.read() == now
        after = path.read_bytes()
        written = [place for place in range(len(after)) if after[place] != whole[place]]
        for kept in (0, 1, len(written) // 2, len(written) - 1):
            torn = bytearray(after)
            for place in written[kept:]:
                torn[place] = whole[place]
            path.write_bytes(torn)
            assert witness.read() == before
            path.write_bytes(after)
    assert path.stat().st_ino == inode, "it is written in place"
    for place in (10, 4096 + 10):
        after = after[:place] + b"\0" + after[place + 1 :]
    path.write_bytes(after)
    with pytest.raises(ValueError, match="no slot"):
        witness.read()


def test_two_who_write_in_turn_take_turns_with_the_slots(tmp_path: Path) -> None:
    path = tmp_path / "witness"
    for number in range(4):
        Witness(path).write(Statement("u", number, "call"))
    assert Witness(path).read() == Statement("u", 3, "call")


def test_a_statement_that_grows_gets_longer_slots(tmp_path: Path) -> None:
    witness = Witness(tmp_path / "witness")
    for many in (0, 1, 50, 400, 3):
        said = Statement("u", many, "call", starts={f"sync-{number}": "beginning" for number in range(many)})
        witness.write(said)
        assert witness.read() == said
    assert not witness.path.with_name("witness.new").exists()


# -- written in time ---------------------------------------------------------------------------------------------


def test_it_names_the_call_before_the_first_byte_leaves_and_after_the_intent(stage: Stage, path: Path) -> None:
    guarded(stage, path)
    seen = []

    def look() -> None:
        said = Witness(path).read()
        assert said is not None
        (row,) = [row for row in stage.calls() if row["n"] == said.number]
        seen.append((row["id"] == said.call, row["state"], said.used))

    stage.client.before = look
    send(stage, "ana")
    send(stage, "eva")
    assert seen == [(True, "intended", 1), (True, "intended", 2)]
    assert path.stat().st_mode & 0o777 == 0o600


def test_without_a_witness_that_can_be_written_no_call_is_made_and_no_quota_burnt(stage: Stage, path: Path) -> None:
    guarded(stage, path)
    send(stage, "ana")
    path.unlink()
    path.parent.rmdir()
    keys = stage.add("eva")
    stage.run(3600)
    assert stage.posts() == 1
    assert stage.delivery.standing.state == "held"
    assert f"{path} cannot be written" in stage.delivery.standing.reason
    assert stage.states()[keys[0]] == "pending"
    assert [row["state"] for row in stage.calls()] == ["accepted", "not_sent"]
    path.parent.mkdir()
    stage.run(3600)
    assert stage.states()[keys[0]] == "delivered"


def test_a_process_that_dies_between_intent_and_witness_raises_no_alarm(
    stage: Stage,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    guarded(stage, path)
    send(stage, "ana")

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Witness, "write", die)
        stage.add("eva")
        with pytest.raises(KeyboardInterrupt):
            stage.run(2000)
    assert stage.posts() == 1
    assert [leads for _, leads in stage.start_again()] == [1]
    guard = guarded(stage, path)
    assert guard.objection() is None
    send(stage, "ida")
    assert stage.posts() == 2


# -- compared ----------------------------------------------------------------------------------------------------


def test_a_tail_that_is_lost_while_it_runs_is_noticed_at_the_next_turn(stage: Stage, path: Path) -> None:
    guarded(stage, path)
    send(stage, "ana")
    send(stage, "eva")
    lost = stage.calls()[-1]["id"]
    lose_last_call(stage.ledger)
    send(stage, "ida")
    assert stage.posts() == 2
    assert stage.delivery.standing.state == "held"
    assert f"it lacks call {lost}" in stage.delivery.standing.reason
    assert stage.delivery.distrusts_ledger
    # A host that has no witness, or an old one, sends from it no more than this one.
    for other in (None, Witness(path.with_name("other"))):
        guard = Guard(stage.ledger, other)
        guard.begin()
        assert guard.objection() == stage.delivery.standing.reason


def test_a_tail_that_is_lost_between_the_look_and_the_intent_is_noticed_before_the_post(
    stage: Stage, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guarded(stage, path)
    send(stage, "ana")
    intend = stage.ledger.intend

    def restored_then_intend(*args: Any, **options: Any) -> object:
        lose_last_call(stage.ledger)
        if not stage.ledger.home.is_sqlite:  # as a standby that had not heard of the number
            with stage.ledger.home.write() as connection:
                connection.exec_driver_sql("SELECT setval(pg_get_serial_sequence('syncd.call', 'n'), 1, false)")
        monkeypatch.undo()
        return intend(*args, **options)

    monkeypatch.setattr(stage.ledger, "intend", restored_then_intend)
    keys = stage.add("eva")
    stage.run(3600)
    assert stage.posts() == 1
    assert stage.states()[keys[0]] == "pending"
    assert stage.delivery.standing.state == "held"


def test_another_call_in_its_place_is_not_taken_for_it(stage: Stage, path: Path) -> None:
    guarded(stage, path)
    send(stage, "ana")
    lose_last_call(stage.ledger)
    with stage.ledger.home.write() as connection:
        row = {"id": "another", "kind": "campaign_15", "state": "refused", "term": 1, "quota_day": "d", "leads": 0}
        connection.execute(call.insert().values(row | {"n": 1, "started_at": 0, "deadline_at": 0, "ended_at": 0}))
    stage.run(2000)
    assert stage.posts() == 1


def test_a_standby_with_an_older_witness_takes_over_without_alarm(stage: Stage, path: Path) -> None:
    first = guarded(stage, path)
    send(stage, "ana")
    other = path.with_name("other")
    other.write_text(path.read_text())
    send(stage, "eva")
    second = guarded(stage, other)
    assert second.objection() is None
    send(stage, "ida")
    assert stage.posts() == 3
    # And back: what the first has witnessed is older than the ledger.
    assert first.objection() is None


def test_a_host_that_slept_through_a_recovery_takes_it_over(stage: Stage, path: Path) -> None:
    guard = guarded(stage, path)
    send(stage, "ana")
    before = uid_in(path)
    lose_last_call(stage.ledger)
    assert guard.objection() is not None
    uid = stage.ledger.restoration.end(stage.term(), before, {}, stage.clock(), "tester", "a test", 0)
    assert guard.objection() is None
    assert uid_in(path) == uid != before
    # The lost ledger itself, put back now, would be another.
    stage.ledger.restoration.hold("")
    with stage.ledger.home.write() as connection:
        connection.execute(update(meta).where(meta.c.name == "uid").values(value=before))
        connection.execute(update(meta).where(meta.c.name == "former_uids").values(value=""))
    assert "is not the one" in str(Guard.objection(guard))
    send(stage, "eva")
    assert stage.posts() == 1


def test_a_ledger_of_an_earlier_version_gets_an_id_and_a_witness_with_a_warning(stage: Stage, path: Path) -> None:
    send(stage, "ana")  # without a guard: neither id nor witness
    guard = Guard(stage.ledger, Witness(path))
    assert "had no witness" in str(guard.begin())
    assert guard.objection() is None
    found = Witness(path).read()
    assert found is not None
    assert (found.number, found.call) == (1, stage.calls()[0]["id"])
    assert Guard(stage.ledger, Witness(path)).begin() is None


def test_an_empty_ledger_in_the_place_of_one_is_held(stage: Stage, path: Path) -> None:
    Witness(path).write(Statement("0123456789abcdef", 7, "a-call"))
    guarded(stage, path)
    send(stage, "ana")
    assert stage.posts() == 0
    assert "is not the one that the last calls were made with" in stage.delivery.standing.reason


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "7",
        '{"uid": "x"}',
        '{"uid": 1, "number": "n", "call": 2, "quota_day": 3, "used": 4, "starts": 5}',
    ],
)
def test_a_spoilt_witness_holds_everything(stage: Stage, path: Path, text: str) -> None:
    path.write_text(text)
    guarded(stage, path)
    send(stage, "ana")
    assert stage.posts() == 0
    assert f"{path} is spoilt" in stage.delivery.standing.reason
    assert path.read_text() == text


def test_one_that_cannot_be_read_or_written_ends_the_start_with_a_sentence(stage: Stage, path: Path) -> None:
    path.mkdir()
    with pytest.raises(EnvironmentFault, match=r"witness .* cannot be read"):
        Guard(stage.ledger, Witness(path)).begin()
    with pytest.raises(EnvironmentFault, match=r"witness .* cannot be written"):
        Guard(stage.ledger, Witness(path.with_name("nowhere") / "witness")).begin()
