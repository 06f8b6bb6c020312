"""The rules compiled: a source and the steps upon it, each taking a column of cells at a time. Pure.

Rows come by the hundred thousand, and in Python a function call costs more than what most rules do to a cell.
So a `Block` of rows is turned into columns, and each step is one loop over one column. Where a look at the
column as a whole tells that no cell needs a step, the step costs next to nothing.

A cell that a step cannot take rejects its row, and is empty for the steps that follow. Columns are shared
between fields that read the same one: a step makes a new list, and changes none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from unicodedata import normalize
from zoneinfo import ZoneInfo

from syncd.fieldmap.phones import Undialable, compile_phone
from syncd.fieldmap.rules import FieldRule, PhoneRule, origin
from syncd.fieldmap.sources import Path, follow, parse_path, parse_template
from syncd.fieldmap.text import Unfit, clean, moment, texts
from syncd.model import Instant, Rejection
from syncd.record import CUSTOMER_ID, LIMITS, RECALL_DATE, TELEPHONES, Schema

Cells = list[str]


class Block:
    """Some rows, as columns, and the rejections among them so far.

    Args:
        rows: each with a value for every column.
        now: seconds since the epoch.
    """

    __slots__ = ("_texts", "columns", "now", "rejected", "size")

    def __init__(self, rows: Sequence[Sequence[object]], now: Instant) -> None:
        self.size = len(rows)
        self.columns: list[tuple[object, ...]] = list(zip(*rows, strict=True))
        self.now = now
        self.rejected: dict[int, Rejection] = {}
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
        for row, reason in faults.items():
            self.reject(row, Rejection(field, "text", f"{field}: {place} {reason}."))
        return cells


Source = Callable[[Block], Cells]
Step = Callable[[Cells, Block], Cells]


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
        self._source = _compile_source(field, rule, index, schema.zone)
        self._steps = tuple(_compile_steps(field, rule, index, schema))

    def run(self, block: Block) -> Cells:
        """The field's value for every row of the block; what it is for a rejected row means nothing."""
        cells = self._source(block)
        for step in self._steps:
            cells = step(cells, block)
        return cells


def columns_of(rule: FieldRule) -> Iterable[str]:
    """The columns that a rule reads."""
    if rule.column is not None:
        yield rule.column
    if rule.template is not None:
        yield from parse_template(rule.template)[1]
    if rule.phone is not None and rule.phone.region_column is not None:
        yield rule.phone.region_column


def _compile_source(field: str, rule: FieldRule, index: Mapping[str, int], zone: ZoneInfo) -> Source:
    place = origin(rule)
    if rule.template is not None:
        source = _template_source(field, rule.template, index, place)
        return _moment_source(field, source, rule, zone) if rule.datetime else source
    column = index[rule.column or ""]
    path = parse_path(rule.path) if rule.path is not None else None
    if path is None and not rule.datetime:
        return lambda block: block.text(column, field, place)

    def raw(block: Block) -> Sequence[object]:
        return block.columns[column] if path is None else _at_path(path, block.columns[column], block, field, place)

    if rule.datetime:
        return _moment_source(field, raw, rule, zone)

    def at_path(block: Block) -> Cells:
        cells, faults = texts(raw(block))
        for row, reason in faults.items():
            block.reject(row, Rejection(field, "text", f"{field}: {place} {reason}."))
        return cells

    return at_path


def _at_path(path: Path, values: Iterable[object], block: Block, field: str, place: str) -> list[object]:
    found: list[object] = []
    for row, value in enumerate(values):
        try:
            found.append(follow(path, value))
        except Unfit as unfit:
            found.append(None)
            block.reject(row, Rejection(field, "path", f"{field}: the source of {place} {unfit.reason}."))
    return found


def _template_source(field: str, template: str, index: Mapping[str, int], place: str) -> Source:
    pattern, names = parse_template(template)
    write = pattern.format

    def fill(block: Block) -> Cells:
        parts = [block.text(index[name], field, f'column "{name}" in {place}') for name in names]
        # Parts that are clean each may be unclean together: "{a} {b}" with nothing in b ends with a space.
        return texts([write(*row) if any(row) else "" for row in zip(*parts, strict=True)])[0]

    return fill


def _moment_source(field: str, source: Callable[[Block], Sequence[object]], rule: FieldRule, zone: ZoneInfo) -> Source:
    pattern = None if rule.datetime is True else str(rule.datetime)
    place = origin(rule)

    def write(block: Block) -> Cells:
        cells: Cells = []
        for row, value in enumerate(source(block)):
            try:
                cells.append("" if value is None else moment(value, pattern, zone))
            except Unfit as unfit:
                cells.append("")
                if rule.default is None:
                    block.reject(row, Rejection(field, "datetime", f"{field}: {place} {unfit.reason}."))
        return cells

    return write


def _compile_steps(field: str, rule: FieldRule, index: Mapping[str, int], schema: Schema) -> Iterable[Step]:
    place = origin(rule)
    lenient = rule.default is not None
    if rule.split is not None:
        yield _first_word if rule.split == "first" else _other_words
    if rule.lookup is not None:
        yield _lookup_step(field, rule.lookup, place, lenient=lenient)
    if rule.case is not None:
        yield _case_step(rule.case)
    if rule.phone is not None:
        yield _phone_step(field, rule.phone, place, index, lenient=lenient)
    limit = rule.max if rule.max is not None else LIMITS.get(field)
    if limit is not None:
        cut = rule.over == "cut" or (rule.max is not None and rule.over is None)
        yield _limit_step(field, limit, place, cut=cut)
    if rule.default:
        yield _default_step(clean(rule.default))
    if field in (CUSTOMER_ID, RECALL_DATE) or (field in TELEPHONES and rule.phone is None):
        yield _check_step(field, place, schema, None if field == CUSTOMER_ID else rule.default)


def _first_word(cells: Cells, _block: Block) -> Cells:
    return [cell.partition(" ")[0] for cell in cells]


def _other_words(cells: Cells, _block: Block) -> Cells:
    return [cell.partition(" ")[2] for cell in cells]


def _lookup_step(field: str, table: Mapping[str, str], place: str, *, lenient: bool) -> Step:
    known = {clean(key): clean(value) for key, value in table.items()} | {"": ""}
    missing = Rejection(field, "lookup", f"{field}: {place} holds a value that the lookup has not.")

    def look_up(cells: Cells, block: Block) -> Cells:
        found = list(map(known.get, cells))
        if None in found and not lenient:
            for row, cell in enumerate(found):
                if cell is None:
                    block.reject(row, missing)
        return [cell or "" for cell in found]

    return look_up


def _case_step(case: str) -> Step:
    change = {"lower": str.lower, "upper": str.upper, "title": str.title}[case]

    def recase(cells: Cells, _block: Block) -> Cells:
        # A letter in another case may be several that are not composed.
        return [change(cell) if cell.isascii() else normalize("NFC", change(cell)) for cell in cells]

    return recase


def _phone_step(field: str, rule: PhoneRule, place: str, index: Mapping[str, int], *, lenient: bool) -> Step:
    dial = compile_phone(rule)
    home = rule.region
    rejections = {why: Rejection(field, "phone", f"{field}: {place} {why.value}.") for why in Undialable}
    if rule.region_column is not None:
        rejections[Undialable.NOWHERE] = Rejection(
            field, "phone", f'{field}: column "{rule.region_column}" {Undialable.NOWHERE.value}.'
        )
    elsewhere = None if rule.region_column is None else index[rule.region_column]

    def write(cells: Cells, block: Block) -> Cells:
        regions = None if elsewhere is None else block.text(elsewhere, field, f'column "{rule.region_column}"')
        written: Cells = []
        for row, cell in enumerate(cells):
            if not cell:
                written.append("")
                continue
            region = home if regions is None else regions[row].upper() or home
            number = dial(cell, region)
            if isinstance(number, str):
                written.append(number)
                continue
            written.append("")
            if not lenient:
                block.reject(row, rejections[number])
        return written

    return write


def _limit_step(field: str, limit: int, place: str, *, cut: bool) -> Step:
    too_long = Rejection(field, "length", f"{field}: {place} gives more than {limit} characters.")

    def limit_length(cells: Cells, block: Block) -> Cells:
        if max(map(len, cells), default=0) <= limit:
            return cells
        if cut:
            return [cell[:limit].rstrip() for cell in cells]
        for row, cell in enumerate(cells):
            if len(cell) > limit:
                block.reject(row, too_long)
        return cells

    return limit_length


def _default_step(default: str) -> Step:
    return lambda cells, _block: [cell or default for cell in cells] if "" in cells else cells


def _check_step(field: str, place: str, schema: Schema, instead: str | None) -> Step:
    """Hold the field against the record's own rules, for what no step before it has made sure of; `instead`
    is written for what breaks them, if it is not None."""
    may_be_empty = field != CUSTOMER_ID
    suspicious = {CUSTOMER_ID: _may_be_no_id, RECALL_DATE: any}.get(field, _may_be_no_digits)

    def check(cells: Cells, block: Block) -> Cells:
        if not suspicious(cells):
            return cells
        checked = list(cells)
        for row, cell in enumerate(cells):
            if not cell and may_be_empty:
                continue
            fault = schema.check_value(field, cell, block.now)
            if fault is None:
                continue
            if instead is None:
                block.reject(row, Rejection(field, fault.rule, f"{fault.reason} It comes from {place}."))
            else:
                checked[row] = clean(instead)
        return checked

    return check


def _may_be_no_id(cells: Cells) -> bool:
    return "" in cells or "," in "".join(cells)


def _may_be_no_digits(cells: Cells) -> bool:
    joined = "".join(cells)
    return not (joined.isascii() and joined.isdigit())
