"""The rules compiled: a source and the steps upon it, each taking a column of cells at a time. Pure.

Rows come by the hundred thousand, and in Python a function call costs more than what most rules do to a cell.
So a `Block` of rows is turned into columns, and each step is one loop over one column. Columns are shared between
fields that read the same one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from syncd.fieldmap.blocks import Block, Cells, Source, Steps
from syncd.fieldmap.describing import origin
from syncd.fieldmap.reading import columns_of, compile_source
from syncd.fieldmap.rules import FieldRule
from syncd.fieldmap.steps import last_steps, meaning_steps, reading_steps, text_steps
from syncd.fieldmap.text import texts
from syncd.record import Schema

__all__ = ["Block", "Cells", "Line", "columns_of"]


class Line:
    """One field's rule, compiled.

    Args:
        field: of the record.
        rule: without any problem.
        index: where each column stands in a row.
        schema: of the record.
    """

    __slots__ = ("_source", "_steps", "field")

    def __init__(self, field: str, rule: FieldRule, index: Mapping[str, int], schema: Schema) -> None:
        self.field = field
        raw = rule.number is not None or rule.moment is not None
        self._source: Source = compile_source(field, rule, index, raw=raw)
        self._steps = tuple(_steps(field, rule, index, schema, raw=raw))

    def run(self, block: Block) -> Cells:
        """The field's value for every row of the block; what it is for a rejected row means nothing."""
        values: Any = self._source(block)
        for _, step in self._steps:
            values = step(values, block)
        cells: Cells = values  # a step that takes the database's own values gives texts
        return cells

    def stages(self, block: Block) -> Iterable[tuple[str, Cells]]:
        """The same, told step by step: the name of each, as the key of the rule is called, and the cells after it.
        Before ``number`` and ``datetime`` they are the texts of the database's own values."""
        values = self._source(block)
        yield "source", texts(values)[0]
        for name, step in self._steps:
            values = step(values, block)
            yield name, texts(values)[0]


def _steps(field: str, rule: FieldRule, index: Mapping[str, int], schema: Schema, *, raw: bool) -> Steps:
    place = origin(rule)
    if raw:
        yield from reading_steps(field, rule, place, schema.zone)
    else:
        yield from text_steps(field, rule, place)
        yield from meaning_steps(field, rule, place, index)
    yield from last_steps(field, rule, place, schema)
