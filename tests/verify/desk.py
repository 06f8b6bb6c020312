"""The stage of delivery with a verifier upon it, and what a test of verification does there."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, Literal, Self

import orjson
from sqlalchemy import select

from syncd.batch import Lane
from syncd.fieldmap import FieldRule
from syncd.ledger.schema import history
from syncd.model import Exchange
from syncd.simulator import Fault
from syncd.verify import Verifier, VerifyRules
from tests.delivery.stage import ZONE, Stage

AFTER, AGAIN = 180.0, 600.0
FIRST = 60.0 + AFTER
"""From the start of a call to the first question about it."""
OnUnresolved = Literal["hold", "assume-delivered", "resend"]
QUESTIONS = ("find_record", "campaign_15", "campaigns")


class Asking:
    """The real client; a test may put its own reply in place of one to a question, or do something before it."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.before: Callable[[str], None] = lambda _kind: None
        self.instead: dict[str, Callable[[], Exchange]] = {}

    @property
    def timeout_secs(self) -> float:
        return self._desk.client.timeout_secs

    def __getattr__(self, name: str) -> Callable[..., Exchange]:
        kind = {"export": "campaign_15"}.get(name, name)

        def ask(*arguments: Any) -> Exchange:
            self.before(kind)
            instead = self.instead.get(kind)
            return instead() if instead is not None else getattr(self._desk.client.client, name)(*arguments)

        return ask


class Desk(Stage):
    """Delivery and verification of one ledger, with one clock."""

    def __init__(
        self,
        home_url: str,
        crm: str,
        *,
        on_unresolved: OnUnresolved = "hold",
        budget: int = 5000,
        concurrent: int = 1,
        **options: Any,
    ) -> None:
        super().__init__(home_url, crm, **options)
        self.how = VerifyRules(AFTER, AGAIN, on_unresolved, budget, concurrent, ZONE)
        self.doubt: str | None = None

    def __enter__(self) -> Self:
        super().__enter__()
        self.asking = Asking(self)
        self.verifier = self.new_verifier()
        return self

    def new_verifier(self, lane: Lane | None = None) -> Verifier:
        """A verifier that remembers nothing, as after a start."""
        lanes = [self.lane(*pair) for pair in zip(self._syncs, self._campaigns, strict=True)]
        return Verifier(
            self.ledger,
            lanes if lane is None else [lane],
            self.asking,  # type: ignore[arg-type]  # it has what verification calls
            self.how,
            self.term,
            self.clock,
            lambda _clock: self.doubt,
        )

    def lose(self, *names: str, fault: str = "cut-after", **options: Any) -> list[str]:
        """Leads whose call gets no reply; their keys."""
        keys = self.add(*names)
        self.simulator.script(Fault(fault, api="add_record", **options))
        result = self.turn()
        assert result.call is not None
        assert {self.states()[key] for key in keys} == {"held"}
        return keys

    def check(self, secs: float = 0.0) -> dict[str, int]:
        """Let time pass, and verify once; what was settled."""
        self.clock.now += secs
        result = self.verifier.run_once()
        return {} if result.report is None else dict(result.report.settled)

    def look(self) -> tuple[int, int, int] | None:
        """Verify once; how many are there, absent and unsure, or None where nothing was asked."""
        report = self.verifier.run_once().report
        return None if report is None else (report.there, report.absent, report.unsure)

    def verify_for(self, secs: float) -> None:
        """Verify whenever something is due, for so long."""
        until = self.clock.now + secs
        while self.clock.now < until:
            next_at = self.verifier.run_once().next_at
            self.clock.now = until if next_at is None else min(until, max(next_at, self.clock.now + 1))

    def asked(self) -> dict[str, int]:
        """Questions that arrived at the simulator, by kind."""
        calls = self.simulator.state.calls()
        return {kind: calls[kind] for kind in QUESTIONS if kind in calls}

    def answer(self, kind: str, body: object, status: int | None = 200) -> None:
        """Put a reply in place of wolkvox's to a kind of question, from now on."""
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        error = "" if status is not None else "the connection broke (ReadError)"
        self.asking.instead[kind] = lambda: Exchange(True, status, data, error, 0.1)

    def the_call(self, which: int = 0) -> dict[str, Any]:
        """A call that carried leads, as the ledger has it."""
        return [row for row in self.calls() if row["kind"] == "add_record"][which]

    def causes(self) -> list[str]:
        """Why leads left a state, in order."""
        with self.ledger.home.read() as connection:
            return list(connection.scalars(select(history.c.cause).order_by(history.c.id)))

    def is_busy(self) -> bool:
        """Whether a call or a question counts as in flight."""
        return self.ledger.busy_until(self.clock(), 1, 60.0) is not None

    def names(self, many: int) -> list[str]:
        """So many new people."""
        return [f"person-{next(_people)}" for _ in range(many)]


_people = itertools.count(1)
RECALL = {"recall_date": FieldRule(column="callback_at", datetime=True)}
