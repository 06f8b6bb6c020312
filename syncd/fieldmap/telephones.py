"""The telephones of a record together: numbers spread over them, and none twice. Pure.

A dialler goes through `tel1` to `tel10`, and would call a number again that is there twice. So of equal numbers the
first stays. A telephone with a rule of its own is empty then, and so are others never moved into it; but among the
telephones that one cell is spread over, the numbers after it move up.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from syncd.fieldmap.blocks import Block, Cells
from syncd.fieldmap.rules import FieldRule
from syncd.record import DIALLED


class Telephones:
    """What is done with the telephones of a map's records.

    Args:
        rules: by field.
        constants: by field, for those that are the same in every record.
        required: fields that keep their number in any case.
    """

    __slots__ = ("_constants", "_plan", "_required", "fields")

    def __init__(self, rules: Mapping[str, FieldRule], constants: Mapping[str, str], required: Collection[str]) -> None:
        self._plan = dict(slots(rules))
        self.fields = tuple(self._plan)
        """Those that may hold a number, in the order of trial."""
        self._constants = {field: constants[field] for field in self.fields if rules.get(field, _NONE).value}
        self._required = frozenset(required)

    def settle(self, columns: dict[str, Cells], block: Block) -> None:
        """Spread numbers, and leave out those that are there twice; changes `columns`."""
        if len(self.fields) < 2 or len(self._constants) == len(self.fields):
            return
        before = [columns.get(field) or [self._constants.get(field, "")] * block.size for field in self.fields]
        rows = list(zip(*before, strict=True))
        if not block.spread and not any(_has_twice(row) for row in rows):
            return
        settled = [self._row(place, row, block) for place, row in enumerate(rows)]
        for field, cells in zip(self.fields, zip(*settled, strict=True), strict=True):
            columns[field] = list(cells)

    def _row(self, place: int, row: tuple[str, ...], block: Block) -> list[str]:
        waiting = {
            owner: [number for number in many[place] or (row[self.fields.index(owner)],) if number]
            for owner, many in block.spread.items()
        }
        taken: set[str] = set()
        numbers: list[str] = []
        for field, own in zip(self.fields, row, strict=True):
            owner = self._plan[field]
            queue = [own] if owner is None else waiting.get(owner, [])
            number = next((each for each in queue if each not in taken), "")
            if not number and field in self._required:
                number = own
            if number:
                taken.add(number)
            numbers.append(number)
        return numbers


def slots(rules: Mapping[str, FieldRule]) -> Iterator[tuple[str, str | None]]:
    """The telephones that may hold a number, in the order of trial, each with the one whose cell is spread over it."""
    owner: str | None = None
    for field in DIALLED:
        rule = rules.get(field)
        if rule is not None:
            spreads = rule.phone is not None and rule.phone.spread
            owner = field if spreads else owner
            yield field, owner if spreads else None
        elif owner is not None:
            yield field, owner


_NONE = FieldRule()


def _has_twice(row: tuple[str, ...]) -> bool:
    numbers = [number for number in row if number]
    return len(numbers) > 1 and len(set(numbers)) < len(numbers)
