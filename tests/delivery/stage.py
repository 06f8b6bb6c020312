"""The stage itself, and what a test does upon it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from types import TracebackType
from typing import Any, Self, TypeVar
from zoneinfo import ZoneInfo

import psycopg
from sqlalchemy import select, update

from syncd.batch import Lane
from syncd.crm import CrmConnection, RowReader
from syncd.delivery import LOOK_SECS, ClockGate, Delivery, DeliveryResult, Rules
from syncd.fieldmap import FieldRule, compile_map
from syncd.ledger import Lease, Ledger
from syncd.ledger.schema import call
from syncd.ledger.schema import lease as lease_table
from syncd.model import Campaign, Change, Exchange
from syncd.pacing import OpenHours
from syncd.simulator import Settings, Simulator
from syncd.wolkvox import Wolkvox
from tests.support.ledgers import assert_conserved, opened, rows

ZONE = ZoneInfo("America/Bogota")
NOON = datetime(2026, 3, 2, 12, tzinfo=ZONE).timestamp()
"""A Monday, in the middle of the quota day."""
TABLE = """
CREATE TABLE IF NOT EXISTS leads (
    id bigserial PRIMARY KEY, document text, name text, mobile text, other text, mail text,
    consent boolean NOT NULL DEFAULT true
)
"""
MAP = {
    "customer_id": FieldRule(column="document"),
    "customer_name": FieldRule(column="name"),
    "tel1": FieldRule(column="mobile"),
    "tel2": FieldRule(column="other"),
    "email": FieldRule(column="mail"),
}
_versions = itertools.count(1)


@dataclass
class Clock:
    """The time, as the test has it."""

    now: float = NOON

    def __call__(self) -> float:
        return self.now


class Meddling:
    """The real client, with something that happens right after each exchange, before its outcome is written."""

    def __init__(self, client: Wolkvox) -> None:
        self.client = client
        self.timeout_secs = client.timeout_secs
        self.before: Callable[[], None] = lambda: None
        self.after: Callable[[], None] = lambda: None

    def add_record(self, campaign: Campaign, body: bytes) -> Exchange:
        self.before()
        exchange = self.client.add_record(campaign, body)
        self.after()
        return exchange


class Stage:
    """Everything that one sender needs, real but for the clock.

    Args:
        crm: the database of the CRM; the ledger may lie in it, too.
        sim: settings of the simulator.
        url: where the calls go instead.
    """

    def __init__(
        self,
        home_url: str,
        crm: str,
        *,
        sim: Settings | None = None,
        url: str | None = None,
        timeout_secs: float = 10.0,
        batch_size: int = 1000,
        max_wait_secs: float = 900,
        hours: Sequence[str] = (),
        closed_on: Callable[[date], bool] = lambda _day: False,
        licenses: int = 5,
        reserve: int = 0,
        resend: bool = False,
        dedupe_hours: float | None = None,
        marker: str | None = None,
        where: str | None = "consent",
        dedupe_by: Sequence[str] = ("tel1",),
        across: Sequence[str] = (),
        syncs: Sequence[str] = ("web",),
        campaigns: Sequence[str] = ("12345",),
        max_age_hours: float | None = None,
        max_per_hour: int | None = None,
        verify_calls: int = 0,
        crm_clock: Callable[[], float] | None = None,
    ) -> None:
        self.home_url = home_url
        self.crm_url = crm
        self.clock = Clock()
        self.resend = resend
        self._given = (where, dedupe_hours, marker)
        self._dedupe_by, self._across = dedupe_by, across
        self._max_age_secs = None if max_age_hours is None else max_age_hours * 3600
        self._max_per_hour = max_per_hour
        self._crm_clock = crm_clock
        self._syncs, self._campaigns = syncs, campaigns
        self.rules = Rules(
            batch_size=batch_size,
            max_wait_secs=max_wait_secs,
            hours=OpenHours.parse(hours),
            closed_on=closed_on,
            zone=ZONE,
            daily_limit=licenses * 1000,
            reserve_calls=reserve,
            concurrent_calls=1,
            verify_calls=verify_calls,
        )
        self._stack = ExitStack()
        self._url, self._timeout_secs = url, timeout_secs
        self._sim = sim or Settings(keep_bodies=20)
        self.resent_on_purpose = False

    def __enter__(self) -> Self:
        self.simulator = self._stack.enter_context(Simulator(self._sim, self.clock))
        self.crm = self._stack.enter_context(psycopg.connect(self.crm_url, autocommit=True))
        self.crm.execute(TABLE)
        self.ledger: Ledger = self._stack.enter_context(opened(self.home_url))
        self.client = Meddling(
            Wolkvox(self._url or self.simulator.base_url, "0042", "simulator-token", self._timeout_secs)
        )
        self.lease = Lease(self.ledger.home, self.clock, "the first sender")
        assert self.lease.acquire()
        self.reader = CrmConnection(self.crm_url, None, "delivery", 30)
        self.delivery = self.new_delivery()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.reader.close()
        self.lease.close()
        self._stack.close()

    def new_delivery(self) -> Delivery:
        """A delivery that remembers nothing, as after a start."""
        return Delivery(
            self.ledger,
            [self.lane(*pair) for pair in zip(self._syncs, self._campaigns, strict=True)],
            self.client,  # type: ignore[arg-type]  # it has what delivery calls
            self.rules,
            self.term,
            self.clock,
            None if self._crm_clock is None else ClockGate(self.ledger, self._crm_clock),
        )

    def lane(self, sync: str, campaign: str) -> Lane:
        where, dedupe_hours, marker = self._given
        fieldmap = compile_map(MAP, campaign_type="predictive", require=[], zone=ZONE)
        return Lane(
            sync=sync,
            campaign=Campaign(campaign, "predictive", "start"),
            reader=RowReader(self.reader, ("public", "leads"), "id", fieldmap.columns, where, f'sync "{sync}"'),
            fieldmap=fieldmap,
            resend_changed=self.resend,
            dedupe_by=() if dedupe_hours is None else self._dedupe_by,
            dedupe_secs=(dedupe_hours or 0) * 3600,
            marker=marker,
            max_age_secs=self._max_age_secs,
            max_per_hour=self._max_per_hour,
            dedupe_across=self._across if sync in self._across else (),
        )

    def term(self) -> int:
        return self.lease.term or 0

    # -- the CRM ---------------------------------------------------------------------------------------------

    def add(self, *names: str, sync: str = "web", mobile: str | None = None, **columns: object) -> list[str]:
        """New rows, captured at once; their keys."""
        keys = [
            str(
                self.crm.execute(
                    "INSERT INTO leads (document, name, mobile) VALUES (%s, %s, %s) RETURNING id",
                    [name, name.title(), mobile or f"9{abs(hash(name)) % 10**10:010}"],
                ).fetchone()[0]  # type: ignore[index]  # RETURNING returns
            )
            for name in names
        ]
        for key, (column, value) in itertools.product(keys, columns.items()):
            self.crm.execute(f"UPDATE leads SET {column} = %s WHERE id = %s", [value, key])
        self.capture(*keys, sync=sync)
        return keys

    def change(self, key: str, *, sync: str = "web", captured: bool = True, **columns: object) -> None:
        """A row changes, and that is captured."""
        for column, value in columns.items():
            self.crm.execute(f"UPDATE leads SET {column} = %s WHERE id = %s", [value, key])
        if captured:
            self.capture(key, sync=sync)

    def capture(self, *keys: str, sync: str = "web") -> None:
        sync_id = self.ledger.register(sync, self.clock())
        changes = [Change(key, str(next(_versions))) for key in keys]
        self.ledger.capture(sync_id, changes, None, self.clock(), resend_changed=self.resend)

    # -- delivery --------------------------------------------------------------------------------------------

    def turn(self) -> DeliveryResult:
        return self.delivery.run_once()

    def run(self, secs: float, *, turns: int = 5000, look_secs: float = LOOK_SECS) -> list[DeliveryResult]:
        """Turn after turn for so long, as the loop would; what each that made a call did.

        Args:
            look_secs: how long a turn that has nothing to wait for sleeps; the real loop looks each minute.
        """
        until, made = self.clock.now + secs, []
        for _ in range(turns):
            result = self.turn()
            if result.call is not None:
                made.append(result)
            wait = result.next_at - self.clock.now
            self.clock.now = min(until, self.clock.now + (look_secs if wait >= LOOK_SECS else max(wait, 0.001)))
            if self.clock.now >= until:
                return made
        raise AssertionError(f"{turns} turns were not enough")

    def start_again(self) -> list[tuple[str, int]]:
        """The process died, and another begins."""
        self.lease.release()
        if not self.lease.acquire():  # it died in taking the lease: time passes until that lapses
            with self.ledger.home.write() as connection:
                connection.execute(update(lease_table).values(expires_at=0.0))
            assert self.lease.acquire()
        self.delivery = self.new_delivery()
        return self.ledger.give_up_intended(self.term(), self.clock())

    # -- what came of it -------------------------------------------------------------------------------------

    def states(self) -> dict[str, str]:
        """The state of each key, of whatever sync."""
        return {key: str(row["state"]) for key, row in rows(self.ledger).items()}

    def leads(self) -> dict[str, dict[str, object]]:
        return rows(self.ledger)

    def lead(self, key: str) -> dict[str, object]:
        return self.leads()[key]

    def calls(self) -> list[dict[str, Any]]:
        """The calls as the ledger has them, in order."""
        with self.ledger.home.read() as connection:
            return [dict(row._mapping) for row in connection.execute(select(call).order_by(call.c.n))]

    def posts(self) -> int:
        """The POSTs that arrived at the simulator."""
        return self.simulator.state.calls().get("add_record", 0)

    def accepted(self, campaign: str = "12345") -> dict[str, int]:
        return self.simulator.state.accepted(campaign)

    def bodies(self) -> list[list[dict[str, str]]]:
        return [json.loads(body) for body in self.simulator.state.bodies()]

    def assert_nobody_was_called_twice(self) -> None:
        if not self.resent_on_purpose:
            for campaign in set(self._campaigns) & set(self._sim.campaigns):
                assert {lead: times for lead, times in self.accepted(campaign).items() if times > 1} == {}


S = TypeVar("S", bound=Stage)


@contextmanager
def counted_again(kind: type[S], home_url: str, crm: str) -> Iterator[Callable[..., S]]:
    """Sets stages of a kind with what a test wants to be different; at the end each ledger is counted again."""
    with ExitStack() as stack:
        stages: list[S] = []

        def starter(**options: object) -> S:
            stage = kind(home_url, crm, **options)  # type: ignore[arg-type]  # the tests' own
            stack.enter_context(stage)
            stages.append(stage)
            return stage

        yield starter
        for stage in stages:
            assert_conserved(stage.ledger)
            stage.assert_nobody_was_called_twice()
