"""Each fault of the network and of a reply, at each step of a call's life, against the real client and ledger.

After the fault, a lead is pending only if no byte of its record can have been taken or wolkvox has refused it,
delivered only if it was accepted for certain, and else held. Then verification, or the way back, ends with one
acceptance.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from syncd.delivery import DeliveryResult
from syncd.ledger.schema import metadata
from syncd.verify import Verifier, VerifyRules
from syncd.wolkvox import Wolkvox
from tests.delivery.stage import ZONE, Stage
from tests.faults.front import DIGITS, MARK, TROUBLES, Front, Trouble, closed_port, deaf_port, fronted
from tests.support.ledgers import assert_conserved
from tests.support.waiting import eventually

STATES = {"unsent": "pending", "refused": "pending", "unknown": "held", "accepted": "delivered"}
CALLS = {"unsent": "not_sent", "refused": "refused", "unknown": "unknown", "accepted": "accepted"}
DEADLINE_SECS = 0.5
"""Of a call that only its deadline ends."""
PATIENT_SECS = 30.0
TOKEN = "simulator-token"


class _Present:
    """The client that the stage has at present."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stage.client.client, name)


@dataclass
class Scene:
    """A stage whose calls go through a front."""

    stage: Stage
    front: Front

    def __post_init__(self) -> None:
        self.front.target = self.stage.simulator.base_url
        self.verifier = Verifier(
            self.stage.ledger,
            [self.stage.lane("web", "12345")],
            _Present(self.stage),  # type: ignore[arg-type]  # it has what verification calls
            VerifyRules(180, 600, "hold", 5000, 1, ZONE),
            self.stage.term,
            self.stage.clock,
        )
        self._leads = 0

    def add(self) -> list[str]:
        """Two leads, of whom every field is a canary."""
        self._leads += 2
        names = [f"{MARK}-{self._leads - 1}", f"{MARK}-{self._leads}"]
        return self.stage.add(*names, mobile=DIGITS)

    def use(self, url: str, secs: float) -> None:
        """Let calls go to an address, with a deadline."""
        self.stage.client.client = Wolkvox(url, "0042", TOKEN, secs)

    def mend(self) -> None:
        """Let all go well from here on."""
        self.front.disarm()
        self.use(self.front.server.url, PATIENT_SECS)

    def call(self) -> DeliveryResult:
        """Turn until a call was made."""
        for _ in range(100):
            result = self.stage.turn()
            if result.call is not None:
                return result
            self.stage.clock.now += max(0.001, result.next_at - self.stage.clock.now)
        raise AssertionError(f"no call is made: {self.stage.delivery.standing}")

    def drain(self) -> None:
        """Go on, as the loop would, until every lead is delivered and no call is unresolved."""
        for _ in range(1500):
            result = self.stage.turn()
            verified = self.verifier.run_once()
            if set(self.stage.states().values()) == {"delivered"} and not self.stage.ledger.unresolved_calls():
                return
            next_at = result.next_at if verified.next_at is None else min(result.next_at, verified.next_at)
            self.stage.clock.now += max(0.001, next_at - self.stage.clock.now)
        raise AssertionError(f"it does not drain: {self.stage.states()}")

    def ledger_text(self) -> str:
        """Everything in the ledger, as text; of SQLite, with the bytes of its files."""
        home = self.stage.ledger.home
        with home.read() as connection:
            rows = [str(connection.execute(table.select()).all()) for table in metadata.tables.values()]
        if home.path is not None:
            rows += [file.read_bytes().decode("latin-1") for file in home.path.parent.glob("ledger.db*")]
        return "\n".join(rows)


@pytest.fixture
def scene(home_url: str, shared_database: str) -> Iterator[Scene]:
    with ExitStack() as stack:
        front = stack.enter_context(fronted())
        stage = stack.enter_context(Stage(home_url, shared_database, url=front.server.url))
        yield Scene(stage, front)


def is_clean(words: str) -> None:
    """No canary sings."""
    low = words.lower()
    for canary in (MARK, DIGITS, TOKEN):
        place = low.find(canary)
        assert place < 0, f"...{low[max(0, place - 200) : place + 100]}..."


def strike(scene: Scene, trouble: Trouble, stack: ExitStack, *, stored: bool) -> None:
    """Let the next call meet its trouble."""
    secs = DEADLINE_SECS if trouble.hangs else PATIENT_SECS
    if trouble.meet is None:
        port = stack.enter_context(deaf_port()) if trouble.hangs else closed_port()
        scene.use(f"http://127.0.0.1:{port}", secs)
        return
    scene.front.arm(trouble.meet, stored=stored)
    scene.use(f"{trouble.scheme}://127.0.0.1:{scene.front.server.port}", secs)


@pytest.mark.parametrize("trouble", TROUBLES, ids=str)
def test_a_fault_leaves_the_truth_and_one_acceptance(
    scene: Scene, trouble: Trouble, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    stage, said = scene.stage, []
    for stored in trouble.stored:
        keys = scene.add()
        before, stores = scene.front.server.connections, scene.front.stores
        with ExitStack() as stack:
            strike(scene, trouble, stack, stored=stored)
            result = scene.call()
        said.append(str(result))
        states = stage.states()
        assert {states[key] for key in keys} == {STATES[trouble.truth]}
        assert stage.calls()[-1]["state"] == CALLS[trouble.truth]
        assert scene.front.server.connections - before == (trouble.meet is not None), "one attempt, whatever happens"
        eventually(lambda stores=stores, stored=stored: scene.front.stores == stores + stored, "it is stored")  # type: ignore[misc]
        taken = {lead: times for lead, times in stage.accepted().items() if lead in _names(stage, keys)}
        assert taken == dict.fromkeys(_names(stage, keys), 1) if stored else taken == {}
        assert_conserved(stage.ledger)
        scene.mend()
        scene.drain()
        assert_conserved(stage.ledger)
        assert stage.accepted() == dict.fromkeys(_names(stage, list(stage.states())), 1)
    is_clean(caplog.text)
    is_clean("\n".join(said))
    is_clean(scene.ledger_text())


def _names(stage: Stage, keys: list[str]) -> list[str]:
    rows = stage.crm.execute("SELECT document FROM leads WHERE id::text = ANY(%s)", [keys]).fetchall()
    return [str(row[0]) for row in rows]


QUESTIONS = [trouble for trouble in TROUBLES if trouble.step in ("wait", "status", "headers", "reply")]


@pytest.mark.parametrize("home_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("trouble", [each for each in QUESTIONS if not each.hangs], ids=str)
def test_a_fault_of_a_question_of_verification_settles_nothing_wrongly(
    scene: Scene, trouble: Trouble, caplog: pytest.LogCaptureFixture
) -> None:
    """wolkvox has the leads, or has them not; what a broken answer says of that is not believed."""
    caplog.set_level(logging.DEBUG)
    stage = scene.stage
    lost = next(each for each in TROUBLES if str(each) == "wait: closed")
    for stored in (True, False):
        keys = scene.add()
        with ExitStack() as stack:
            strike(scene, lost, stack, stored=stored)
            scene.call()
        assert trouble.meet is not None
        scene.mend()
        scene.front.arm(trouble.meet, stored=False, times=3)
        stage.clock.now += 300
        checked = scene.verifier.run_once()
        assert checked.report is not None
        states = {stage.states()[key] for key in keys}
        assert states == {"held"}, "a broken answer tells nothing"
        scene.mend()
        scene.drain()
        assert stage.accepted() == dict.fromkeys(_names(stage, list(stage.states())), 1)
        assert_conserved(stage.ledger)
    is_clean(caplog.text)
    is_clean(scene.ledger_text())
