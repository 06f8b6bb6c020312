"""Rows as columns, and the steps that take a column at a time. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from syncd.fieldmap.text import texts
from syncd.model import Instant, Rejection

Cells = list[str]


class Block:
    """Some rows, as columns, and the rejections among them so far.

    Args:
        rows: each with a value for every column.
        now: seconds since the epoch.
    """

    __slots__ = ("_texts", "columns", "now", "rejected", "size", "spread")

    def __init__(self, rows: Sequence[Sequence[object]], now: Instant) -> None:
        self.size = len(rows)
        self.columns: list[tuple[object, ...]] = list(zip(*rows, strict=True))
        self.now = now
        self.rejected: dict[int, Rejection] = {}
        self.spread: dict[str, list[tuple[str, ...]]] = {}
        """The numbers of each row, by the telephone that spreads them."""
        self._texts: dict[int, tuple[Cells, dict[int, str]]] = {}

    def reject(self, row: int, rejection: Rejection) -> None:
        """Reject a row, unless it is already: the first fault counts."""
        self.rejected.setdefault(row, rejection)

    def text(self, index: int, field: str, place: str) -> Cells:
        """A column as clean text, made once; rows with a value that is no text are rejected for `field`."""
        made = self._texts.get(index)
        if made is None:
            made = self._texts[index] = texts(self.columns[index])
        cells, faults = made
        self.refuse(faults, field, place)
        return cells

    def written(self, values: Sequence[object], field: str, place: str) -> Cells:
        """Values as clean text; rows with a value that is no text are rejected for `field`."""
        cells, faults = texts(values)
        self.refuse(faults, field, place)
        return cells

    def refuse(self, faults: dict[int, str], field: str, place: str) -> None:
        """Reject the rows whose value is no text; `faults` are the reasons by row."""
        for row, reason in faults.items():
            self.reject(row, Rejection(field, "text", f"{field}: {place} {reason}."))


Values = Sequence[Any]
"""What a source gives: texts, or the database's own values where ``number`` or ``datetime`` reads them."""
Source = Callable[[Block], Values]
Step = Callable[[Any, Block], Any]
"""From a column to a new one of the same length."""
Named = tuple[str, Step]
"""A step with the rule's key, as a preview shows it."""
Steps = Iterable[Named]
