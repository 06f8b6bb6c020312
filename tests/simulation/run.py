"""A run: a seed's scenario, day after day with faults, then without any until all is drained."""

from __future__ import annotations

import heapq
from collections.abc import Callable

from syncd.errors import LedgerError, LedgerUnavailable, SenderDeposed, UnknownName
from syncd.ledger import Ledger
from syncd.ledger.lease import LEASE_SECS
from syncd.states import LeadState
from tests.simulation.crm import Crm
from tests.simulation.invariants import Invariants
from tests.simulation.process import HASHER, SYNC, Process
from tests.simulation.scenario import Scenario, draw
from tests.simulation.vendor import Vendor
from tests.simulation.world import DAY, Crash, SimulatedHome, Violation, World

DAYS = 5
"""Of a run, before it drains."""
_DRAIN_DAYS = 30
_MOST_STEPS = 20_000


class Simulation:
    """One seed.

    Mutable state: all of it.

    Args:
        home: is emptied first.
        aloud: is told the story as it happens.
    """

    def __init__(self, home: SimulatedHome, seed: int, *, aloud: Callable[[str], None] | None = None) -> None:
        self.seed = seed
        self.plan: Scenario = draw(seed)
        self.world = World(seed)
        self.world.aloud = aloud
        home.begin(self.world)
        self.home = home
        self.crm = Crm(self.world)
        self.vendor = Vendor(
            self.world,
            home,
            HASHER.body,
            daily_limit=self.plan.daily_limit,
            concurrent=self.plan.concurrent_calls,
            marker=self.plan.marker,
            stock_limit=self.plan.stock_limit,
        )
        self.invariants = Invariants(home, self.plan, self.crm, self.vendor)
        self.processes: list[Process] = []
        self.days = 0.0
        self._offset = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = 0
        self._started = 0
        self._nested = False
        self._start_at = self.world.now
        self._operator = Ledger(home, HASHER)
        self.vendor.faults_of = lambda key: self.crm.rows[key].fault if key in self.crm.rows else ""
        self.vendor.version_of = lambda key: self.crm.last_read.get(key, 0)
        self.vendor.meanwhile = self._meanwhile
        self.world.on_advance = self.vendor.catch_up
        self.world.on_freeze = self._frozen

    def clock(self) -> float:
        """The time as this host has it."""
        return self.world.now + self._offset

    def run(self, days: int = DAYS) -> None:
        """The whole of it.

        Raises:
            Violation: something that must always hold does not.
        """
        self.world.tell(str(self.plan))
        for _ in range(self.plan.existing_rows):
            self.crm.insert(logged=False)
        self.invariants.begin()
        until = self.world.now + days * DAY
        self._plan_events(days)
        self._go_on(until)
        self._drain()
        self.days = (self.world.now - until) / DAY + days

    # -- what happens around syncd ---------------------------------------------------------------------------

    def _plan_events(self, days: int) -> None:
        dice, plan = self.world.dice, self.plan
        for day in range(days):
            begins = self.world.now + day * DAY
            for _ in range(dice.randint(plan.arrivals // 2, plan.arrivals * 3 // 2)):
                self._at(begins + dice.gauss(0.4, 0.2) % 1 * DAY, self._arrival)
            for _ in range(dice.randint(0, plan.arrivals)):
                self._at(begins + dice.random() * DAY, self._change)
            for _ in range(4):
                self._at(begins + dice.random() * DAY, self._weather)
            if plan.operators:
                for _ in range(3):
                    self._at(begins + dice.random() * DAY, self._operate)
            if plan.clock_jumps and dice.random() < 0.5:
                self._at(begins + dice.random() * DAY, self._jump)

    def _at(self, at: float, what: Callable[[], None]) -> None:
        self._numbers += 1
        heapq.heappush(self._events, (at, self._numbers, what))

    def _arrival(self) -> None:
        dice = self.world.dice
        for _ in range(1 if dice.random() < 0.85 else dice.randint(2, 8)):
            self.crm.insert(logged=dice.random() < 0.95)

    def _change(self) -> None:
        """A row changes: often one of those whose call is under way, which is the hard case."""
        dice, rows = self.world.dice, list(self.crm.rows)
        if rows:
            query = "SELECT key FROM lead WHERE state IN ('sending', 'held') ORDER BY id"
            under_way = [key for (key,) in self.home.raw.execute(query) if key in self.crm.rows]
            if under_way and dice.random() < 0.5:
                self.crm.change(dice.choice(under_way), renames=dice.random() < 0.6)
            else:
                self.crm.change(dice.choice(rows))

    def _weather(self) -> None:
        """A bad hour begins, or a good one."""
        dice, world, plan, vendor = self.world.dice, self.world, self.plan, self.vendor
        bad = dice.random() < 0.6
        vendor.fault_rate = plan.trouble if bad else 0.0
        vendor.campaign_missing = bad and dice.random() < 0.1
        world.crash_rate, world.freeze_rate = (plan.crash_rate, plan.freeze_rate) if bad else (0.0, 0.0)
        world.crm_rate, world.ledger_rate = (plan.crm_rate, plan.ledger_rate) if bad else (0.0, 0.0)
        if dice.random() < 0.1:
            self.crm.dropped = len(self.crm.log) if self._nothing_is_missed() else self.crm.dropped

    def _nothing_is_missed(self) -> bool:
        """Whether the log may lose its beginning: a sweep finds new rows, and no source gives back a lost update."""
        position = self.home.raw.execute("SELECT watermark FROM sync").fetchone()
        read = int(position[0] or 0) if position else 0
        unread = {key for key, _ in self.crm.log[read:]}
        known = {key for (key,) in self.home.raw.execute("SELECT key FROM lead UNION SELECT key FROM noted")}
        return not unread & known

    def _jump(self) -> None:
        dice = self.world.dice
        self._offset = dice.choice((-2 * DAY, -7200.0, -900.0, 900.0, 7200.0, DAY, 40 * DAY))
        self.world.tell(f"the host's clock jumps by {self._offset:.0f} s")
        self._at(self.world.now + dice.uniform(60, 20_000), self._mend_clock)

    def _mend_clock(self) -> None:
        self._offset = 0.0
        self.world.tell("the host's clock is right again")

    def _operate(self) -> None:
        """An operator does something, in the ledger, whatever the daemon does."""
        dice, doubts, now = self.world.dice, self._operator.doubts, self.clock()
        what = dice.choice(("pause", "resume", "retry key", "retry state", "verify", "delivered", "resend"))
        self.world.tell(f"an operator: {what}")
        with self.world.calmly():
            try:
                if what == "pause":
                    doubts.pause(SYNC, now, "operator", "wants to")
                elif what == "resume":
                    doubts.resume(SYNC, now, "operator", "wants to")
                elif what == "retry key" and self.crm.rows:
                    doubts.retry_key(SYNC, dice.choice(list(self.crm.rows)), now, "operator", "wants to")
                elif what == "retry state":
                    doubts.retry_state(SYNC, dice.choice((LeadState.REJECTED, LeadState.DUPLICATE)), now, "op", "why")
                elif (calls := doubts.unresolved()) and what in ("verify", "delivered", "resend"):
                    call = dice.choice(calls)
                    word = {"verify": None, "delivered": LeadState.DELIVERED, "resend": LeadState.PENDING}[what]
                    self.invariants.excuse(call.number, word)
                    doubts.resolve(call.id, word, now, "operator", "says so", resend_changed=self.plan.resend_changed)
            except UnknownName as error:
                self.world.tell(f"refused: {error}")
        self._wake()

    def _wake(self) -> None:
        """The daemon looks every few seconds for what operators did: it has, by now."""
        for process in self.processes:
            process.wake()

    def _meanwhile(self) -> None:
        """While a batch is read or posted, the CRM and capture go on."""
        if self.world.calm or self.world.dice.random() > 0.15 or not self.crm.rows or not self.processes:
            return
        self._change()
        with self.world.calmly():
            self.processes[-1].take_in()

    # -- processes -------------------------------------------------------------------------------------------

    def _frozen(self, secs: float) -> None:
        """A process stood still for so long: another may have taken over, and worked."""
        if secs <= LEASE_SECS or self._nested or self.world.dice.random() < 0.5 or not self.processes:
            return
        self._nested = True
        try:
            if self._start():
                for _ in range(self.world.dice.choice((1, 5, 40))):
                    if not self.processes:
                        break
                    self._step_of(self.processes[-1])
                    self.world.advance(self.world.dice.choice((0.0, 10.0)))
        finally:
            self._nested = False

    def _start(self) -> bool:
        self._started += 1
        name = f"syncd{self._started}"
        process = Process(name, self.world, self.home, self.crm, self.vendor, self.plan, self.clock)
        try:
            process.start()
        except (LedgerUnavailable, Crash):
            return False
        self.world.tell(f"{name} is the sender, term {process.lease.term}")
        self.processes.append(process)
        return True

    def _step_of(self, process: Process) -> None:
        """A turn of one process, and whatever that ends in."""
        sends = self._is_sender(process)
        try:
            if not sends and self.world.dice.random() < 0.3:
                raise SenderDeposed("It finds that it does not renew its lease.")  # noqa: TRY301
            process.turn()
        except Crash:
            self._bury(process)
        except SenderDeposed:
            if self._is_sender(process):
                raise Violation("the sender is deposed, and by nobody") from None
            self._bury(process)
        except LedgerError as error:
            if self._is_sender(process):
                raise Violation(f"the ledger refuses the only sender: {error}") from error
            self._bury(process)
        self.invariants.check()

    def _is_sender(self, process: Process) -> bool:
        """Whether the ledger has this process as its sender."""
        return bool(self.home.raw.execute("SELECT term FROM lease").fetchone()[0] == process.lease.term)

    def _bury(self, process: Process) -> None:
        if process in self.processes:
            self.world.tell(f"{process.name} is dead")
            self.processes.remove(process)
            self._start_at = self.world.now + self.world.dice.choice((2.0, 25.0, 25.0, 600.0))

    # -- time ------------------------------------------------------------------------------------------------

    def _go_on(self, until: float, *, done: Callable[[], bool] = lambda: False) -> None:
        for _ in range(_MOST_STEPS):
            self.crm.commit_due()
            if not self.processes and self._start_at <= self.world.now and not self._start():
                self._start_at = self.world.now + 5.0
            if done():
                return
            at = min([process.next_at for process in self.processes] or [self._start_at])
            at = min([at, until, *(each[0] for each in self.crm.open)])
            if self._events and self._events[0][0] <= max(at, self.world.now):
                at, _, event = heapq.heappop(self._events)
                self.world.advance(at - self.world.now)
                event()
                continue
            if at >= until:
                self.world.advance(until - self.world.now)
                return
            self.world.advance(at - self.world.now)
            for process in list(self.processes):
                if process in self.processes and process.next_at <= self.world.now:
                    self._step_of(process)
        raise Violation(f"{_MOST_STEPS} steps were not enough: something goes round and round")

    def _drain(self) -> None:
        """All faults off: what can be settled is."""
        world = self.world
        world.tell("All faults are off.")
        world.calm = True
        self._offset = 0.0
        self._events.clear()
        self.vendor.fault_rate, self.vendor.campaign_missing, self.vendor.stock_limit = 0.0, False, 10**9
        if self.seed % 2:  # else it drains as it is
            self.processes.clear()
            self._start_at = world.now + 25.0
        until = world.now + _DRAIN_DAYS * DAY
        self._drain_until(until)
        self._go_on(world.now + 0.5 * DAY)  # a sweep finds what was never heard of
        self._drain_until(until)
        self.invariants.check()
        self.invariants.check_drained()

    def _drain_until(self, until: float) -> None:
        world = self.world
        while world.now < until and not self.invariants.is_drained():
            self._operator.doubts.resume(SYNC, self.clock(), "operator", "the end is near")
            self._wake()
            self._go_on(min(until, world.now + 0.5 * DAY), done=self.invariants.is_drained)
            if not self.invariants.is_drained():
                # Leads go on coming. One that wolkvox refuses without a name is told by others that it takes.
                self.crm.insert_good()
