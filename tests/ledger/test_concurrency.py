"""Intake and delivery upon one ledger at once: nothing locks up, and no change is lost."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

import pytest
from sqlalchemy import select

from syncd.errors import LedgerError, QuotaSpent
from syncd.ledger import Ledger, captures
from syncd.ledger.schema import tally
from syncd.model import Change, Settlement
from syncd.states import CallState, LeadState
from tests.support.effort import examples
from tests.support.ledgers import NOON, Scene, assert_conserved, opened, rows

KEYS = [f"k{number}" for number in range(60)]


class Hands:
    """What several threads do to one ledger, each with its own randomness."""

    def __init__(self, url: str, scene: Scene, turns: int) -> None:
        self.url = url
        self.scene = scene
        self.turns = turns
        self.failures: list[BaseException] = []
        self.versions = dict.fromkeys(KEYS, 0)
        self.sent: dict[str, list[int]] = {key: [] for key in KEYS}
        """The version of the row at the moment at which a call read it, for each call that carried it."""
        self._crm = threading.Lock()

    def intake(self, ledger: Ledger, dice: random.Random) -> None:
        """Rows change, and are captured."""
        with self._crm:
            keys = dice.sample(KEYS, dice.randint(1, 12))
            for key in keys:
                self.versions[key] += 1
            changes = [Change(key, str(self.versions[key])) for key in keys]
            ledger.capture(self.scene.sync_id, changes, None, NOON, resend_changed=True)

    def delivery(self, ledger: Ledger, dice: random.Random) -> None:
        """Claim, read, settle some, send others, write the outcome."""
        claim = ledger.claim(self.scene.sync_id, dice.randint(1, 20))
        read = {lead.key: self.versions[lead.key] for lead in claim.leads}
        unsent = [lead for lead in claim.leads if dice.random() < 0.2]
        chosen = [lead for lead in claim.leads if lead not in unsent]
        settlements = [Settlement(lead.id, LeadState.WITHDRAWN) for lead in unsent]
        if not chosen:
            ledger.settle_unsent(self.scene.sync_id, claim.seq, settlements, NOON)
            return
        intent = self.scene.intent(lead_ids=[lead.id for lead in chosen], budget=10**6)
        number, _ = ledger.intend(
            self.scene.term, intent, sync_id=self.scene.sync_id, seq=claim.seq, settlements=settlements
        )
        end, rest = dice.choice(
            [
                (CallState.ACCEPTED, LeadState.DELIVERED),
                (CallState.REFUSED, LeadState.PENDING),
                (CallState.UNKNOWN, LeadState.HELD),
            ]
        )
        self.scene.finish(number, end, rest)
        if end is CallState.UNKNOWN:
            end, rest = CallState.ACCEPTED, LeadState.DELIVERED
            self.scene.finish(number, end, rest)
        if rest is LeadState.DELIVERED:
            for lead in chosen:
                self.sent[lead.key].append(read[lead.key])

    def watcher(self, ledger: Ledger, _dice: random.Random) -> None:
        """What the status page does."""
        with ledger.home.read() as connection:
            kept = connection.execute(select(tally.c.sync_id, tally.c.state, tally.c.leads).where(tally.c.leads > 0))
            counts = {(row.sync_id, row.state): row.leads for row in kept}
            assert captures.recount(connection) == counts, "a reader sees one moment"
        ledger.syncs()
        ledger.busy_until(NOON, 1, 60)

    def work(self, task: Callable[[Ledger, random.Random], None], seed: int) -> None:
        dice = random.Random(seed)
        try:
            with opened(self.url, prepare=False) as ledger:
                for _ in range(self.turns):
                    task(ledger, dice)
        except BaseException as error:  # noqa: BLE001  # shown by the test, whatever it is
            self.failures.append(error)


@pytest.mark.parametrize("seed", range(examples(1)))
def test_loops_that_hammer_one_ledger_lose_nothing(home_url: str, seed: int) -> None:
    with opened(home_url) as ledger:
        scene = Scene(ledger, resend=True)
        scene.capture(*KEYS, version="0")
        hands = Hands(home_url, scene, turns=60)
        threads = [
            threading.Thread(target=hands.work, args=(task, seed * 10 + number))
            for number, task in enumerate((hands.intake, hands.intake, hands.delivery, hands.watcher))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in threads), "a deadlock"
        assert hands.failures == []
        assert_conserved(ledger)
        for key, lead in rows(ledger).items():
            assert lead["version"] == str(hands.versions[key])
            assert lead["state"] in ("pending", "delivered", "withdrawn")
            if lead["state"] == "delivered":  # at rest: so what was sent last was the row as it is
                assert hands.sent[key][-1] == hands.versions[key], f"a change of {key} was forgotten"
        scene.lease.release()


def test_senders_of_several_syncs_and_intakes_do_not_lock_up(home_url: str) -> None:
    """Several threads of one sender (a later version has two): locks are taken in one order."""
    with opened(home_url) as ledger:
        first = Scene(ledger, "first", resend=True)
        second = ledger.register("second", NOON)
        failures: list[BaseException] = []

        def send(sync_id: int, seed: int) -> None:
            dice = random.Random(seed)
            try:
                with opened(home_url, prepare=False) as own:
                    for turn in range(40):
                        keys = [Change(f"{seed}-{turn}-{number}", "1") for number in range(4)]
                        own.capture(sync_id, keys, str(turn), NOON, resend_changed=True)
                        claim = own.claim(sync_id, 4)
                        leads = [lead for lead in claim.leads if lead.key.startswith(f"{seed}-")]
                        if len(leads) < 2:
                            continue
                        intent = first.intent(id=f"{seed}-{turn}", lead_ids=[lead.id for lead in leads[1:]], budget=90)
                        settlements = [Settlement(leads[0].id, LeadState.WITHDRAWN)] if dice.random() < 0.5 else []
                        try:
                            own.intend(first.term, intent, sync_id=sync_id, seq=claim.seq, settlements=settlements)
                        except QuotaSpent:
                            continue
            except LedgerError as error:
                failures.append(error)

        threads = [
            threading.Thread(target=send, args=(sync_id, seed))
            for seed, sync_id in enumerate((first.sync_id, second, first.sync_id, second))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert failures == []
        assert ledger.calls_started("2026-09-21") <= 90
        assert_conserved(ledger)
        first.lease.release()
