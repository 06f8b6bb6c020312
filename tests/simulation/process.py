"""One process of syncd upon the simulated edges: the real parts, wired as the daemon's are."""

from __future__ import annotations

from functools import cache

from syncd.batch import Lane
from syncd.capture import Source
from syncd.delivery import ClockGate, Delivery, DeliveryResult, Rules
from syncd.errors import LedgerUnavailable, SenderDeposed
from syncd.fieldmap import FieldMap, FieldRule, compile_map
from syncd.intake import Intake
from syncd.ledger import Lease, Ledger
from syncd.ledger.hashes import Hasher
from syncd.model import Campaign, Clock
from syncd.pacing import OpenHours
from syncd.verify import CheckReport, Verifier, VerifyRules
from syncd.wolkvox import SERVER_SECS
from tests.simulation.crm import Crm, LogSource, SimulatedReader
from tests.simulation.scenario import Scenario
from tests.simulation.vendor import Vendor
from tests.simulation.world import ZONE, SimulatedHome, World

SYNC = "web"
HASHER = Hasher("a-key-of-the-simulation-0123456789")
RETRY_SECS = 5.0
SETTLE_SECS = 180.0
POLL_SECS = 4 * 3600.0
SWEEP_SECS = 9 * 3600.0
LOOKS_SECS = (60.0, 300.0, 1800.0, 7200.0)
"""How long delivery sleeps where nothing comes of its looks: longer each time, for the time of the test."""
_MANY_PUT_OFF = 10
IDLE_SECS = 6 * 3600.0
"""And where nothing waits: whoever brings a lead wakes it."""


@cache
def field_map() -> FieldMap:
    """The map of every run."""
    rules = {"customer_id": "document", "customer_name": "name", "tel1": "mobile", "opt1": "key"}
    compiled = {field: FieldRule(column=column) for field, column in rules.items()}
    return compile_map(compiled, campaign_type="predictive", require=[], zone=ZONE)


class Process:
    """A process of syncd, from its start to its death.

    Mutable state: all of it.
    """

    def __init__(
        self, name: str, world: World, home: SimulatedHome, crm: Crm, vendor: Vendor, plan: Scenario, clock: Clock
    ) -> None:
        self.name = name
        self._world = world
        self.clock = clock
        self.ledger = Ledger(home, HASHER)
        # As in Postgres, the lease goes by the database's clock, which no jump of this host's moves.
        self.lease = Lease(home, lambda: world.now, name)
        source: Source = LogSource(crm, existing=plan.existing, settle_secs=60.0)
        self.intake = Intake(
            self.ledger,
            source,
            SYNC,
            resend_changed=plan.resend_changed,
            poll_secs=POLL_SECS,
            sweep_secs=SWEEP_SECS,
            clock=clock,
        )
        self.intake.captured = self._wake
        lane = Lane(
            sync=SYNC,
            campaign=Campaign("12345", "predictive", "start"),
            reader=SimulatedReader(crm, field_map().columns, vendor.meanwhile),  # type: ignore[arg-type]  # it has what is called of it
            fieldmap=field_map(),
            resend_changed=plan.resend_changed,
            dedupe_by=() if plan.dedupe_secs is None else ("tel1",),
            dedupe_secs=plan.dedupe_secs or 0.0,
            marker=plan.marker,
            max_age_secs=plan.max_age_secs,
            max_per_hour=plan.max_per_hour,
        )
        rules = Rules(
            batch_size=plan.batch_size,
            max_wait_secs=plan.max_wait_secs,
            hours=OpenHours.parse(plan.hours),
            closed_on=lambda _day: False,
            zone=ZONE,
            daily_limit=plan.daily_limit,
            reserve_calls=0,
            concurrent_calls=plan.concurrent_calls,
            verify_calls=plan.verify_calls,
        )
        how = VerifyRules(SETTLE_SECS, 600.0, plan.on_unresolved, plan.daily_limit, plan.concurrent_calls, ZONE)
        gate = ClockGate(self.ledger, lambda: self._crm_clock())
        self.delivery = Delivery(self.ledger, [lane], vendor, rules, self._term, clock, gate)  # type: ignore[arg-type]
        self.verifier = Verifier(self.ledger, [lane], vendor, how, self._term, clock, gate.objection)  # type: ignore[arg-type]
        self.intake_at = self.delivery_at = self.verify_at = world.now
        self._concurrent = plan.concurrent_calls
        self._looks = self._puts_off = 0
        self._deaf_until = 0.0

    def start(self) -> None:
        """Take the lease, and hold what an earlier process left under way.

        Raises:
            LedgerUnavailable: it is not a sender yet; try again.
        """
        if not self.lease.acquire():
            raise LedgerUnavailable("Another one sends.")
        for number, leads in self.ledger.give_up_intended(self._term(), self.clock()):
            self._world.tell(f"{self.name} gives up call {number} with {leads} leads")

    @property
    def next_at(self) -> float:
        """When it has something to do, in true time."""
        if self._hears():
            return self._world.now
        return min(self.intake_at, self.delivery_at, self.verify_at)

    def turn(self) -> None:
        """What is due now.

        Raises:
            SenderDeposed: another process sends by now.
        """
        now = self._world.now
        if self.intake_at <= now or self._hears():
            self.take_in()
        if self.delivery_at <= self._world.now:
            try:
                self._deliver()
            except LedgerUnavailable:
                self.delivery_at = self._world.now + RETRY_SECS
        if self.verify_at <= self._world.now:
            try:
                result = self.verifier.run_once()
            except LedgerUnavailable:
                self.verify_at = self._world.now + RETRY_SECS
            else:
                self.verify_at = self._true(result.next_at, longest=6 * 3600.0)
                if result.report is not None:
                    self._world.tell(f"{self.name} verified: {result.report}")
                    self._rest_of_verification(result.report)

    def _rest_of_verification(self, report: CheckReport) -> None:
        """Where it can ask nothing it says so each minute: after a few times, less often, for the time of the test."""
        if report.settled:
            self.delivery_at = min(self.delivery_at, self._world.now)
        if report.questions:
            self._puts_off = 0
        else:
            self._puts_off += 1
            if self._puts_off > _MANY_PUT_OFF:
                self.verify_at = self._world.now + LOOKS_SECS[1]

    def take_in(self) -> None:
        """A turn of intake, where one is due by the process's own clock."""
        if self.intake.due_at(self.clock()) > self.clock():
            self.intake_at = self._true(self.intake.due_at(self.clock()), longest=POLL_SECS)
            return
        try:
            result = self.intake.run_once()
        except LedgerUnavailable:
            self.intake_at = self._deaf_until = self._world.now + RETRY_SECS
            return
        if result.new or result.again:
            self._world.tell(f"{self.name} captured {result.new} new and {result.again} again, {result.swept} swept")
        self.intake_at = self._true(self.intake.due_at(self.clock()), longest=POLL_SECS)

    def _deliver(self) -> None:
        result = self.delivery.run_once()
        if result.call is not None or result.settled or result.trouble is not None:
            self._looks = 0
            self.delivery_at = self._true(result.next_at, longest=60.0)
            self._world.tell(f"{self.name} delivered: {dict(result.settled)} {result.standing.reason}")
            if result.call is not None and result.call.outcome == "unknown":
                self.verify_at = self._world.now
            return
        self.delivery_at = self._world.now + max(self._rest(result), 0.001)

    def _rest(self, result: DeliveryResult) -> float:
        """Seconds until delivery looks again, where nothing came of its look: the daemon would look more often."""
        secs = result.next_at - self.clock()
        match result.standing.state:
            case "idle":
                return IDLE_SECS
            case "waiting":
                with self._world.calmly():
                    busy = self.ledger.busy_until(self.clock(), self._concurrent, SERVER_SECS)
                return secs if busy is None else busy - self.clock()
            case state:
                if secs > 59.0 or state == "paused":
                    secs = LOOKS_SECS[min(self._looks, len(LOOKS_SECS) - 1)]
                    self._looks += 1
                return secs

    def _hears(self) -> bool:
        """Whether intake has something to read at once."""
        intake = self.intake
        return intake.source.awake() and intake.trouble is None and self._deaf_until <= self._world.now

    def wake(self) -> None:
        """Leads have come, or an operator has done something: delivery and verification look at once."""
        self._wake()
        self.verify_at = min(self.verify_at, self._world.now)

    def _wake(self) -> None:
        self._looks = 0
        self.delivery_at = min(self.delivery_at, self._world.now)

    def _true(self, at: float | None, *, longest: float) -> float:
        """When the process's own clock will show an instant, in true time."""
        if at is None:
            return self._world.now + longest
        return self._world.now + min(max(at - self.clock(), 0.001), longest)

    def _term(self) -> int:
        if self.lease.term is None:
            raise SenderDeposed("Another process is the sender.")
        return self.lease.term

    def _crm_clock(self) -> float:
        self._world.crm("the CRM's clock")
        return self._world.now
