"""Which campaign each row goes to, where one table feeds several: a rule that gives the campaign's number. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final
from zoneinfo import ZoneInfo

from syncd.fieldmap.columns import Block, Line, columns_of
from syncd.fieldmap.describing import describe, origin
from syncd.fieldmap.mapping import Run
from syncd.fieldmap.problems import problems_of
from syncd.fieldmap.rules import FieldMapError, FieldRule, Problem
from syncd.fieldmap.text import clean
from syncd.model import Instant, Rejection
from syncd.record import schema

CAMPAIGN: Final = "campaign"
"""What a rejection for the route names as its field."""
_NUMBER: Final = re.compile(r"[0-9]{1,18}")
_BLOCK_ROWS: Final = 512
_STAND_IN: Final = "city"
"""A field that takes any text: to look for faults, the rule is put in its place."""


class Route:
    """A rule that has no problem, compiled; made by `compile_route`. It holds no state.

    Args:
        columns: what stands in a row before the columns that only the route needs.
    """

    def __init__(self, rule: FieldRule, columns: Sequence[str], zone: ZoneInfo) -> None:
        self.columns: tuple[str, ...] = tuple(dict.fromkeys([*columns, *columns_of(rule)]))
        """Of a row, in their order."""
        self.campaigns = _campaigns_of(rule)
        """The campaigns that the rule names itself; there may be others, where it takes them from a column as they
        are."""
        self.words = describe(rule)
        """The rule in words."""
        index = {column: place for place, column in enumerate(self.columns)}
        self._line = Line(CAMPAIGN, rule, index, schema("predictive", zone))
        place = origin(rule)
        self._none = Rejection(CAMPAIGN, "required", f"campaign: {place} gives no campaign.")
        self._no_number = Rejection(CAMPAIGN, "digits", f"campaign: {place} gives no number of a campaign.")

    def map_many(self, rows: Iterable[Sequence[object]], now: Instant) -> list[str | Rejection]:
        """The campaign of each row, or why it has none.

        Args:
            rows: the values of `columns`, in their order; of any types.
            now: seconds since the epoch.
        """
        mapped: list[str | Rejection] = []
        feed = iter(rows)
        while some := list(islice(feed, _BLOCK_ROWS)):
            block = Block(some, now)
            for place, cell in enumerate(self._line.run(block)):
                mapped.append(block.rejected.get(place) or self._checked(cell))
        return mapped

    def run(self, rows: Sequence[Sequence[object]], now: Instant) -> Run:
        """What each step of the rule made of some rows, as `FieldMap.runs` tells it of a field."""
        block = Block(rows, now)
        return Run(CAMPAIGN, tuple(self._line.stages(block)), block.rejected)

    def _checked(self, cell: str) -> str | Rejection:
        if not cell:
            return self._none
        return cell if _NUMBER.fullmatch(cell) else self._no_number


def compile_route(rule: FieldRule, columns: Sequence[str], zone: ZoneInfo) -> Route:
    """Check and compile a route.

    Args:
        columns: those of the field map, which come first in a row.
        zone: in which dates are written.

    Raises:
        FieldMapError: with every problem of the rule.
    """
    if problems := route_problems(rule):
        raise FieldMapError(problems)
    return Route(rule, columns, zone)


def route_problems(rule: FieldRule) -> list[Problem]:
    """Every fault of a route, found before any row is read."""
    whole = {"customer_id": FieldRule(value="0"), "tel1": FieldRule(value="0"), _STAND_IN: rule}
    found = [
        Problem("", problem.key, problem.value, problem.rule)
        for problem in problems_of(whole, "predictive", [])
        if problem.field == _STAND_IN
    ]
    if rule.value is not None:
        found.append(Problem("", "value", rule.value, 'must not be: one campaign is written as id = "12345"'))
    return found + [
        Problem("", "", number, "must be the campaign's number in wolkvox: up to 18 digits, in quotes")
        for number in _campaigns_of(rule)
        if not _NUMBER.fullmatch(number)
    ]


def _campaigns_of(rule: FieldRule) -> tuple[str, ...]:
    named = [*(rule.lookup.values() if rule.lookup else ()), rule.default or ""]
    if rule.bool is not None:
        named += [rule.bool.true, rule.bool.false]
    return tuple(dict.fromkeys(number for number in map(clean, named) if number))
