"""What a simulated run stands on: the time, the dice, the faults at each step, and the story of what happened."""

from __future__ import annotations

import random
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from syncd.errors import CrmUnavailable, LedgerUnavailable
from syncd.ledger import migration
from syncd.ledger.home import Home

ZONE = ZoneInfo("America/Bogota")
MONDAY = datetime(2026, 3, 2, 6, tzinfo=ZONE).timestamp()
"""Where each run begins."""
DAY = 86_400.0


class Violation(AssertionError):  # it says what happened
    """Something that must always hold does not."""


class Crash(BaseException):  # it is a death, which no `except Exception` may catch
    """The process dies at this very step."""


class World:
    """The true time, the dice of a run, and how likely each fault is at the moment.

    Mutable state: all of it; one thread.

    Args:
        seed: of the dice.
    """

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.now = MONDAY
        self.story: deque[tuple[float, str]] = deque(maxlen=400)
        self.aloud: Callable[[str], None] | None = None
        self.calm = False
        """No fault happens."""
        self.crash_rate = self.crm_rate = self.ledger_rate = self.freeze_rate = 0.0
        self.on_advance: Callable[[], None] = lambda: None
        self.on_freeze: Callable[[float], None] = lambda _secs: None
        self.io_steps = 0

    def tell(self, text: str) -> None:
        """Add to the story."""
        self.story.append((self.now, text))
        if self.aloud is not None:
            self.aloud(self.line(self.now, text))

    def line(self, at: float, text: str) -> str:
        return f"{datetime.fromtimestamp(at, ZONE):%a %d %H:%M:%S} {text}"

    def advance(self, secs: float) -> None:
        self.now += max(0.0, secs)
        self.on_advance()

    def chance(self, rate: float) -> bool:
        """Whether a fault of this rate happens now."""
        return rate > 0 and not self.calm and self.dice.random() < rate

    def io(self, where: str) -> None:
        """A step at which the process may die."""
        self.io_steps += 1
        if self.chance(self.crash_rate):
            self.tell(f"CRASH at {where}")
            raise Crash(where)

    def crm(self, where: str) -> None:
        """A step at which the CRM is asked."""
        self.io(where)
        if self.chance(self.crm_rate):
            self.tell(f"the CRM fails at {where}")
            self.advance(self.dice.choice((0.01, 5.0, 30.0)))
            raise CrmUnavailable("The simulated CRM does not answer.")

    def freeze(self, where: str, longest: float) -> None:
        """A step at which the process may stand still."""
        if self.chance(self.freeze_rate):
            secs = min(longest, self.dice.choice((5.0, 15.0, 25.0, 70.0, 400.0, 4000.0)))
            self.tell(f"frozen for {secs:.0f} s at {where}")
            self.advance(secs)
            self.on_freeze(secs)

    @contextmanager
    def calmly(self) -> Iterator[None]:
        """Without faults."""
        before, self.calm = self.calm, True
        try:
            yield
        finally:
            self.calm = before


class SimulatedHome(Home):
    """A SQLite ledger in memory, whose transactions fail before or after they are committed.

    Mutable state: `world`, which changes from run to run, so that SQLAlchemy compiles its statements once.
    """

    def __init__(self) -> None:
        super().__init__("sqlite:///:memory:", name="syncd simulation")
        self.path = None  # the lease expires by the clock, as in Postgres
        self.world = World(0)
        self.world.calm = True
        with self.engine.connect() as connection:
            raw: Any = connection.connection.driver_connection
            self.raw = raw
            """The one connection, past SQLAlchemy."""
        migration.require_current(self)
        self._empty = sqlite3.connect(":memory:")
        self.raw.backup(self._empty)

    def begin(self, world: World) -> None:
        """An empty ledger, for another run."""
        if self.raw.in_transaction:
            self.raw.rollback()
        self._empty.backup(self.raw)
        self.world = world

    @contextmanager
    def read(self) -> Iterator[Connection]:
        self._before("a read of the ledger")
        with super().read() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        world = self.world
        self._before("a write of the ledger")
        with super().write() as connection:
            yield connection
            world.io("the commit, before it is done")
            if world.chance(world.ledger_rate):
                world.tell("the ledger fails before the commit")
                raise LedgerUnavailable("The simulated ledger does not answer.")
        world.io("the commit, after it is done")
        if world.chance(world.ledger_rate):
            world.tell("the ledger commits, and the answer is lost")
            raise LedgerUnavailable("The simulated ledger does not answer.")
        world.freeze("the end of a transaction", 4000.0)

    def _before(self, where: str) -> None:
        self.world.io(where)
        if self.world.chance(self.world.ledger_rate):
            self.world.tell(f"the ledger fails before {where}")
            raise LedgerUnavailable("The simulated ledger does not answer.")
