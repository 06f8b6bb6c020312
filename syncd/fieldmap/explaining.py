"""How each field of a row came to its value, step by step; and what stops the rows of a table, counted. Pure.

The steps are the compiled ones of the map, run again on one row: nothing here knows what a rule does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from syncd.fieldmap.mapping import FieldMap
from syncd.model import Instant, Record, Rejection

SOURCE: Final = "source"
"""The name of the first step: what the source gives, as text."""
TOGETHER: Final = "together"
"""The name of the step in which the fields of a record are seen beside each other, where it changed one."""
_EXAMPLES: Final = 3


@dataclass(frozen=True, slots=True)
class Told:
    """How one field came to its value."""

    field: str
    origin: str
    """Where it comes from and through which rules, in words."""
    steps: tuple[tuple[str, str], ...]
    """The name of each step, as its key in the configuration, and the value after it; those that changed nothing
    too. Empty for a constant. After a fault, the values mean nothing."""
    fault: Rejection | None
    """Why this field would reject the row."""
    constant: bool
    """Whether it is the same for every row, and so no personal data."""
    value: str
    """What the record has; where the row is rejected, what the last step gave."""


@dataclass(frozen=True, slots=True)
class Explained:
    """What becomes of one row, and why."""

    result: Record | Rejection
    fields: tuple[Told, ...]
    """In the order of the record; those that are neither mapped nor filled are left out."""


def explain(fieldmap: FieldMap, row: Sequence[object], now: Instant) -> Explained:
    """Map one row, and tell each step.

    Args:
        row: the values of the map's columns, in their order.
        now: seconds since the epoch.

    Returns:
        the very result of `FieldMap.map`; of several faults of a row, all are told.
    """
    result = fieldmap.map(row, now)
    runs = {run.field: run for run in fieldmap.runs([row], now)}
    told = []
    for name in fieldmap.schema.fields:
        sent = "" if isinstance(result, Rejection) else result[name]
        mapped = fieldmap.source_of(name)
        if name not in runs:
            is_constant = mapped != "not mapped"
            if is_constant or sent:
                steps = () if is_constant else ((TOGETHER, sent),)
                told.append(
                    Told(name, mapped if is_constant else "numbers of another field", steps, None, is_constant, sent)
                )
            continue
        run = runs[name]
        stages = [(step, cells[0]) for step, cells in run.steps]
        fault = run.faults.get(0)
        if fault is None and isinstance(result, Rejection) and result.field == name:
            fault = result  # asked of the value, after every step
        last = stages[-1][1]
        if not isinstance(result, Rejection) and sent != last:
            stages = [*stages, (TOGETHER, sent)]
            last = sent
        told.append(Told(name, mapped, tuple(stages), fault, False, last))
    return Explained(result, tuple(told))


@dataclass(slots=True)
class Stopped:
    """Rows that one reason stops; mutable, it counts."""

    field: str
    rule: str
    reason: str
    rows: int = 0
    examples: list[str] = dataclasses.field(default_factory=list)
    """The keys of the first few."""


class Tally:
    """Counts how many rows would pass, and what stops the others. Mutable; bounded by the reasons of the map."""

    def __init__(self) -> None:
        self.rows = 0
        """Rows counted."""
        self.passed = 0
        """Those of them that give a record."""
        self._stopped: dict[Rejection, Stopped] = {}

    def add(self, keys: Sequence[str], mapped: Sequence[Record | Rejection]) -> None:
        """Count the results of some rows."""
        self.rows += len(keys)
        for key, result in zip(keys, mapped, strict=True):
            if not isinstance(result, Rejection):
                self.passed += 1
                continue
            found = self._stopped.get(result)
            if found is None:
                found = self._stopped[result] = Stopped(result.field, result.rule, result.reason)
            found.rows += 1
            if len(found.examples) < _EXAMPLES:
                found.examples.append(key)

    @property
    def stopped(self) -> list[Stopped]:
        """What stops rows, the most first."""
        return sorted(self._stopped.values(), key=lambda found: -found.rows)
