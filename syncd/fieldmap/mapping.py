"""The map as a whole: from a row of the CRM to a record, or to the reason why there is none. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final
from zoneinfo import ZoneInfo

from syncd.fieldmap.columns import Block, Cells, Line, columns_of
from syncd.fieldmap.describing import describe, origin
from syncd.fieldmap.problems import problems_of
from syncd.fieldmap.rules import FieldMapError, FieldRule
from syncd.fieldmap.telephones import Telephones
from syncd.fieldmap.text import clean
from syncd.model import Instant, Record, Rejection
from syncd.record import CUSTOMER_ID, DIALLED, Schema, schema

_BLOCK_ROWS: Final = 512
"""Rows mapped together: enough for a loop to cost little, few enough to stay in the processor's cache."""

_Check = Callable[[dict[str, Cells], Block], None]


@dataclass(frozen=True, slots=True)
class Run:
    """What the steps of one field made of some rows; constants have none."""

    field: str
    steps: tuple[tuple[str, Cells], ...]
    """Each step's name, and the text of every row after it. The first is ``source``."""
    faults: Mapping[int, Rejection]
    """Why this field rejects a row, by the row's place."""


class FieldMap:
    """A map that has no problem, compiled; made by `compile_map`. It holds no state but a bounded cache of
    telephone numbers, and may be used by several threads.

    Every record that it gives passes `Schema.check` at the same instant, and no row of any values raises
    anything. Of several faults of a row, the one of the first field in the vendor's order is told."""

    def __init__(self, rules: Mapping[str, FieldRule], schema: Schema, require: Sequence[str]) -> None:
        self.schema = schema
        """Of the records that it gives."""
        ordered = [(field, rules[field]) for field in schema.fields if field in rules]
        named = (column for _, rule in ordered for column in columns_of(rule))
        self.columns: tuple[str, ...] = tuple(dict.fromkeys(named))
        """The columns that it needs, each once, in the order in which it takes their values."""
        self._rules = dict(ordered)
        self._constants = schema.blank | {field: clean(rule.value) for field, rule in ordered if rule.value is not None}
        index = {column: place for place, column in enumerate(self.columns)}
        self._lines = [Line(field, rule, index, schema) for field, rule in ordered if rule.value is None]
        required = {*require, *(field for field, rule in ordered if rule.required)}
        self._checks = list(self._compile_checks(required))
        self._telephones = Telephones(self._rules, self._constants, required)
        self.telephones: tuple[str, ...] = self._telephones.fields
        """Those of tel1 to tel10 that may hold a number, with or without a rule of their own."""

    def map(self, row: Sequence[object], now: Instant) -> Record | Rejection:
        """Map one row.

        Args:
            row: the values of `columns`, in their order; of any types.
            now: seconds since the epoch, against which ``recall_date`` is measured.

        Raises:
            ValueError: if the row has not as many values as there are columns.
        """
        return self.map_many([row], now)[0]

    def map_many(self, rows: Iterable[Sequence[object]], now: Instant) -> list[Record | Rejection]:
        """Map many rows, as `map` does each; one that is rejected does not stop its neighbours.

        Returns:
            as many results as rows, in their order.
        """
        mapped: list[Record | Rejection] = []
        feed = iter(rows)
        while some := list(islice(feed, _BLOCK_ROWS)):
            mapped += self._map_block(some, now)
        return mapped

    def source_of(self, field: str) -> str:
        """Where a field comes from and through which rules, in words; ``"not mapped"`` where it is not."""
        rule = self._rules.get(field)
        return "not mapped" if rule is None else describe(rule)

    def runs(self, rows: Sequence[Sequence[object]], now: Instant) -> Iterable[Run]:
        """Run the very steps that `map` runs, each field by itself, and keep what each step gave."""
        for line in self._lines:
            block = Block(rows, now)
            yield Run(line.field, tuple(line.stages(block)), block.rejected)

    def _map_block(self, rows: Sequence[Sequence[object]], now: Instant) -> list[Record | Rejection]:
        block = Block(rows, now)
        if len(block.columns) != len(self.columns):
            raise ValueError(f"A row has {len(block.columns)} values for {len(self.columns)} columns.")
        columns = {line.field: line.run(block) for line in self._lines}
        for check in self._checks:
            check(columns, block)
        self._telephones.settle(columns, block)
        records = [self._constants.copy() for _ in rows]
        for field, cells in columns.items():
            for record, cell in zip(records, cells, strict=True):
                record[field] = cell
        mapped: list[Record | Rejection] = [*records]
        for place, rejection in block.rejected.items():
            mapped[place] = rejection
        return mapped

    def _compile_checks(self, require: Collection[str]) -> Iterable[_Check]:
        """What is asked of several fields, or of any by the operator, after each has its value."""
        for field in self._rules:
            if field in require and field != CUSTOMER_ID and not self._constants[field]:
                yield _not_empty(field, origin(self._rules[field]))
        dialled = [field for field in DIALLED if field in self._rules]
        if not any(self._constants[field] for field in dialled):
            yield _some_telephone(dialled, self._rules)


def compile_map(
    rules: Mapping[str, FieldRule], *, campaign_type: str, require: Sequence[str], zone: ZoneInfo
) -> FieldMap:
    """Check and compile a map.

    Args:
        rules: by wolkvox field.
        campaign_type: ``predictive`` or ``preview``: which fields there are.
        require: fields that must not be empty, besides ``customer_id`` and one telephone.
        zone: in which dates are written.

    Raises:
        FieldMapError: with every problem of the map.
    """
    problems = problems_of(rules, campaign_type, require)
    if problems:
        raise FieldMapError(problems)
    return FieldMap(rules, schema(campaign_type, zone), require)


def _not_empty(field: str, place: str) -> _Check:
    rejection = Rejection(field, "required", f"{field} is required, and {place} gives nothing for it.")

    def check(columns: dict[str, Cells], block: Block) -> None:
        cells = columns.get(field) or [""] * block.size
        if "" in cells:
            for row, cell in enumerate(cells):
                if not cell:
                    block.reject(row, rejection)

    return check


def _some_telephone(fields: Sequence[str], rules: Mapping[str, FieldRule]) -> _Check:
    places = " and ".join(dict.fromkeys(origin(rules[field]) for field in fields))
    rejection = Rejection("", "telephone", f"There is no telephone to dial: {places} give nothing.")

    def check(columns: dict[str, Cells], block: Block) -> None:
        telephones = [columns[field] for field in fields if field in columns]
        if any("" not in cells for cells in telephones):
            return
        for row in range(block.size):
            if not any(cells[row] for cells in telephones):
                block.reject(row, rejection)

    return check
