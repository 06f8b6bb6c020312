"""The sources of a rule, compiled: from the columns of a block to the cells of a field. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from syncd.fieldmap.blocks import Block, Cells, Source
from syncd.fieldmap.describing import origin
from syncd.fieldmap.rules import FieldRule
from syncd.fieldmap.sources import Path, follow, parse_path, parse_template
from syncd.fieldmap.text import Unfit, clean, texts
from syncd.model import Rejection


def columns_of(rule: FieldRule) -> Iterable[str]:
    """The columns that a rule reads."""
    if rule.column is not None:
        yield rule.column
    if rule.template is not None:
        yield from parse_template(rule.template)[1]
    yield from rule.first or ()
    yield from rule.join or ()
    if rule.phone is not None and rule.phone.region_column is not None:
        yield rule.phone.region_column


def compile_source(field: str, rule: FieldRule, index: Mapping[str, int], *, raw: bool) -> Source:
    """The source of a rule.

    Args:
        field: of the record.
        rule: without any problem.
        index: where each column stands in a row.
        raw: give the database's own values, where the source does not make a text of them.
    """
    if rule.template is not None:
        return _template(field, rule.template, index, origin(rule))
    if rule.join is not None:
        separator = " " if rule.separator is None else rule.separator
        return _join(field, rule.join, separator, index)
    if rule.first is not None:
        return _first_raw(rule.first, index) if raw else _first(field, rule.first, index)
    column = index[rule.column or ""]
    place = origin(rule)
    if rule.path is None:
        return (lambda block: block.columns[column]) if raw else lambda block: block.text(column, field, place)
    path = parse_path(rule.path)

    def at_path(block: Block) -> Sequence[object]:
        return _at_path(path, block.columns[column], block, field, place)

    return at_path if raw else lambda block: block.written(at_path(block), field, place)


def _at_path(path: Path, values: Iterable[object], block: Block, field: str, place: str) -> list[object]:
    found: list[object] = []
    for row, value in enumerate(values):
        try:
            found.append(follow(path, value))
        except Unfit as unfit:
            found.append(None)
            block.reject(row, Rejection(field, "path", f"{field}: the source of {place} {unfit.reason}."))
    return found


def _template(field: str, template: str, index: Mapping[str, int], place: str) -> Callable[[Block], Cells]:
    pattern, names = parse_template(template)
    write = pattern.format

    def fill(block: Block) -> Cells:
        parts = [block.text(index[name], field, f'column "{name}" in {place}') for name in names]
        # Parts that are clean each may be unclean together: "{a} {b}" with nothing in b ends with a space.
        return texts([write(*row) if any(row) else "" for row in zip(*parts, strict=True)])[0]

    return fill


def _join(field: str, names: Sequence[str], separator: str, index: Mapping[str, int]) -> Callable[[Block], Cells]:
    def join(block: Block) -> Cells:
        parts = [block.text(index[name], field, f'column "{name}"') for name in names]
        # A separator may be unclean beside what it joins, and two letters may compose.
        return texts([separator.join(filter(None, row)) for row in zip(*parts, strict=True)])[0]

    return join


def _first(field: str, names: Sequence[str], index: Mapping[str, int]) -> Callable[[Block], Cells]:
    def choose(block: Block) -> Cells:
        chosen = block.text(index[names[0]], field, f'column "{names[0]}"')
        for name in names[1:]:
            if "" not in chosen:
                break
            others = block.text(index[name], field, f'column "{name}"')
            chosen = [cell or other for cell, other in zip(chosen, others, strict=True)]
        return chosen

    return choose


def _first_raw(names: Sequence[str], index: Mapping[str, int]) -> Source:
    places = [index[name] for name in names]

    def choose(block: Block) -> Sequence[object]:
        rows = zip(*(block.columns[place] for place in places), strict=True)
        return [next((value for value in row if not _is_empty(value)), None) for row in rows]

    return choose


def _is_empty(value: object) -> bool:
    return value is None or (isinstance(value, str) and not clean(value))
