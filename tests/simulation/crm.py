"""A CRM in memory: its table, what captures its changes, and what reads its rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from syncd.capture import BEGINNING, NOTED, Existing, Page, Position, Resumed, Start
from syncd.errors import CaptureLost
from syncd.model import Change, Instant
from tests.simulation.world import World


@dataclass(frozen=True, slots=True)
class Row:
    """A lead as a salesperson would see it."""

    key: str
    version: int
    document: str
    name: str
    mobile: str
    consent: bool
    fault: str = ""
    """What wolkvox thinks of it: ``named`` or ``unnamed`` where it refuses it, ``""`` where it does not."""

    @property
    def good(self) -> bool:
        """Whether it gives a record that wolkvox takes."""
        return bool(self.mobile) and not self.fault


@dataclass(slots=True)
class Crm:
    """The table and the log of its changes, in the order of their commits.

    Mutable state: all of it.
    """

    world: World
    rows: dict[str, Row] = field(default_factory=dict)
    log: list[tuple[str, int]] = field(default_factory=list)
    open: list[tuple[float, Row, bool]] = field(default_factory=list)
    """Transactions that will commit: when, what, and whether the log hears of it."""
    dropped: int = 0
    """The log up to here is gone: whoever has not read it has a gap."""
    touched: set[str] = field(default_factory=set)
    """Keys that the log named at least once, or that were inserted after the start."""
    last_read: dict[str, int] = field(default_factory=dict)
    """The version of each row when it was last read."""
    _keys: int = 0
    _versions: int = 0

    def insert(self, *, logged: bool = True) -> None:
        """A new lead; its transaction may be a long one, and the log may not hear of it."""
        dice = self.world.dice
        self._keys += 1
        key = str(self._keys)
        mobile = "" if dice.random() < 0.05 else f"9300{dice.randrange(12 if dice.random() < 0.3 else 10**6):07}"
        fault = dice.choice(("named", "unnamed")) if dice.random() < 0.06 else ""
        # Some customers are in the table twice.
        document = key if dice.random() < 0.9 or self._keys < 3 else str(dice.randrange(1, self._keys))
        row = Row(key, 0, f"doc{document}", f"name{key}", mobile, dice.random() < 0.95, fault)
        self.touched.add(key)
        late = 0.0 if dice.random() < 0.8 else dice.uniform(1, 3000)
        self.open.append((self.world.now + late, row, logged))
        self.commit_due()

    def insert_good(self) -> None:
        """A new lead that nothing is wrong with, committed at once."""
        self._keys += 1
        key = str(self._keys)
        self.touched.add(key)
        self._commit(Row(key, 0, f"doc{key}", f"name{key}", f"9301{self._keys:07}", consent=True), logged=True)
        self.world.tell(f"row {key} inserted, and good")

    def change(self, key: str, *, renames: bool = False) -> None:
        """An update or a deletion of a row, committed at once.

        Args:
            renames: it is an update that wolkvox should hear of.
        """
        dice, row = self.world.dice, self.rows[key]
        self.touched.add(key)
        what = 4 if renames else dice.randrange(8)
        if what == 0:
            del self.rows[key]
            self.world.tell(f"row {key} deleted")
            return
        mobile = f"9300{dice.randrange(10**6):07}"
        changes: dict[str, Any] = (
            {"consent": not row.consent},
            {"consent": True, "fault": "", "mobile": row.mobile or mobile},
            {"consent": True, "fault": "", "mobile": row.mobile or mobile},
            {"name": f"name{key}-{dice.randrange(3)}"},
            {"name": f"name{key}"},
            {"mobile": dice.choice(("", mobile))},
            {},
        )[what - 1]
        self.world.tell(f"row {key} changes: {changes}")
        self._commit(replace(row, **changes), logged=True)

    def commit_due(self) -> None:
        """Commit what is due."""
        due = [each for each in self.open if each[0] <= self.world.now]
        if due:
            self.open = [each for each in self.open if each[0] > self.world.now]
            for _, row, logged in due:
                self._commit(row, logged=logged)
                self.world.tell(f"row {row.key} inserted{'' if logged else ', unheard'}: {row}")

    def _commit(self, row: Row, *, logged: bool) -> None:
        self._versions += 1
        self.rows[row.key] = replace(row, version=self._versions)
        if logged:
            self.log.append((row.key, self._versions))


class LogSource:
    """Keeps the contract of `syncd.capture.Source` over the log.

    Mutable state: how far it has read in this life.
    """

    notice: str | None = None
    slot_lag_bytes: int | None = None

    def __init__(self, crm: Crm, *, existing: Existing, settle_secs: float) -> None:
        self._crm = crm
        self._existing = existing
        self.settle_secs = settle_secs
        self._at = 0
        self._read_to = 0

    def first_start(self, now: Instant) -> Start:
        self._crm.world.crm("first_start")
        since = NOTED if self._existing is Existing.NOTE else BEGINNING
        return Start(since, str(len(self._crm.log)), self._existing)

    def resume(self, position: Position) -> Resumed:
        self._crm.world.crm("resume")
        self._at = int(position.watermark or 0)
        return Resumed("log", position.watermark or "0")

    def read(self, now: Instant) -> Page:
        world, log = self._crm.world, self._crm.log
        world.crm("read")
        if world.chance(world.crm_rate / 4):
            raise CaptureLost("The simulated trigger is gone.")
        gap = "The simulated log has lost its beginning." if self._at < self._crm.dropped else None
        begin = max(self._at, self._crm.dropped)
        end = min(len(log), begin + world.dice.choice((1, 5, 100)))
        seen = dict(log[begin:end])
        # As a real source: only rows that match now are handed over, with the version that they have.
        changes = [Change(key, str(self._crm.rows[key].version)) for key in seen if self._matches(key)]
        self._read_to = end
        return Page(changes, str(end) if end != self._at else None, end < len(log), end - begin, gap=gap)

    def acknowledge(self, page: Page, now: Instant) -> None:
        self._crm.world.crm("acknowledge")
        if page.reached is not None:
            self._at = int(page.reached)

    def scan(self, after: str | None, limit: int) -> Sequence[Change]:
        self._crm.world.crm("scan")
        rows = [row for key, row in self._crm.rows.items() if self._matches(key) and int(key) > int(after or 0)]
        return [Change(row.key, str(row.version)) for row in sorted(rows, key=lambda row: int(row.key))[:limit]]

    def estimate(self) -> int | None:
        return len(self._crm.rows)

    def without_watermark(self) -> int:
        self._crm.world.crm("without_watermark")
        return 0

    def mark(self) -> str | None:
        self._crm.world.crm("mark")
        return str(len(self._crm.log))

    def passed(self, mark: str | None) -> bool:
        return self._at >= int(mark or 0)

    def fileno(self) -> int | None:
        return None

    def awake(self) -> bool:
        return len(self._crm.log) > self._at

    def close(self) -> None:
        pass

    def _matches(self, key: str) -> bool:
        row = self._crm.rows.get(key)
        return row is not None and row.consent


class SimulatedReader:
    """Reads the rows of a batch, as `RowReader` does; something may happen meanwhile."""

    def __init__(self, crm: Crm, columns: Sequence[str], meanwhile: Callable[[], None]) -> None:
        self._crm = crm
        self._columns = columns
        self._meanwhile = meanwhile

    def read(self, keys: Sequence[str]) -> list[tuple[Any, ...]]:
        self._crm.world.crm("the rows of a batch")
        self._meanwhile()
        rows = [self._crm.rows[key] for key in keys if key in self._crm.rows and self._crm.rows[key].consent]
        self._crm.last_read |= {row.key: row.version for row in rows}
        self._crm.world.dice.shuffle(rows)
        return [(row.key, *(getattr(row, column) for column in self._columns)) for row in rows]
