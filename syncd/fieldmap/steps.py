"""The steps of a rule, compiled: each is one loop over one column. Pure.

Where a look at the column as a whole tells that no cell needs a step, the step costs next to nothing. A cell that a
step cannot take rejects its row, and is empty for the steps that follow. A step makes a new list, and changes none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from unicodedata import normalize
from zoneinfo import ZoneInfo

from syncd.fieldmap.blocks import Block, Cells, Step, Steps
from syncd.fieldmap.letters import compile_replace, only_digits, unmarked
from syncd.fieldmap.moments import compile_moment
from syncd.fieldmap.names import split_name
from syncd.fieldmap.numbers import number_of, written
from syncd.fieldmap.phones import Undialable, compile_phone, compile_spread
from syncd.fieldmap.rules import BoolRule, DatetimeRule, FieldRule, NumberRule, PhoneRule, ReplaceRule
from syncd.fieldmap.text import Unfit, clean
from syncd.model import Rejection
from syncd.record import CUSTOMER_ID, LIMITS, RECALL_DATE, TELEPHONES, Schema

YES = frozenset(["true", "t", "yes", "y", "on", "1", "si", "sí", "s", "verdadero"])
NO = frozenset(["false", "f", "no", "n", "off", "0", "falso"])


def text_steps(field: str, rule: FieldRule, place: str) -> Steps:
    """What is done to a text before anything else, whatever it means."""
    if rule.strip is not None:
        yield "strip", _strip(rule.strip)
    if rule.replace is not None:
        yield "replace", _replace(field, rule.replace, place)


def reading_steps(field: str, rule: FieldRule, place: str, zone: ZoneInfo) -> Steps:
    """The step that reads the database's own values, after `text_steps` on those that are texts."""
    for key, step in text_steps(field, rule, place):
        yield key, _on_texts(step)
    lenient = rule.default is not None
    if rule.number is not None:
        yield "number", _number(field, rule.number, place, lenient=lenient)
    if rule.moment is not None:
        yield "datetime", _moment(field, rule.moment, place, zone, lenient=lenient)


def meaning_steps(field: str, rule: FieldRule, place: str, index: Mapping[str, int]) -> Steps:
    """The steps on texts, after `text_steps`."""
    lenient = rule.default is not None
    if rule.digits:
        yield "digits", _digits
    if rule.ascii:
        yield "ascii", _ascii
    if rule.split is not None:
        yield "split", {"first": _first_word, "rest": _other_words, "names": _names, "surnames": _surnames}[rule.split]
    if rule.lookup is not None:
        yield "lookup", _lookup(field, rule.lookup, place, fold=rule.fold, lenient=lenient)
    if rule.bool is not None:
        yield "bool", _bool(field, rule.bool, place, lenient=lenient)
    if rule.case is not None:
        yield "case", _case(rule.case)
    if rule.phone is not None:
        yield "phone", _phone(field, rule.phone, place, index, lenient=lenient)


def last_steps(field: str, rule: FieldRule, place: str, schema: Schema) -> Steps:
    """The steps on what is written."""
    limit = rule.max if rule.max is not None else LIMITS.get(field)
    if limit is not None:
        cut = rule.over == "cut" or (rule.max is not None and rule.over is None)
        yield "max", _limit(field, limit, place, cut=cut)
    if rule.default:
        yield "default", _default(clean(rule.default))
    if field in (CUSTOMER_ID, RECALL_DATE) or (field in TELEPHONES and rule.phone is None):
        yield "check", _check(field, place, schema, None if field == CUSTOMER_ID else rule.default)


def folded(text: str) -> str:
    """A text without regard to case and accents, for comparing."""
    return unmarked(text).casefold() or text.casefold()


def _on_texts(step: Step) -> Step:
    def change(values: Sequence[object], block: Block) -> list[object]:
        cells = step([clean(value) if isinstance(value, str) else "" for value in values], block)
        return [cell if isinstance(value, str) else value for cell, value in zip(cells, values, strict=True)]

    return change


def _strip(characters: str) -> Step:
    ends = characters + " "

    def strip(cells: Cells, _block: Block) -> Cells:
        # What follows a mark that was taken off may be a space; what composes with nothing stays as it was.
        return [cell.strip(ends) for cell in cells]

    return strip


def _replace(field: str, rules: Sequence[ReplaceRule], place: str) -> Step:
    change = compile_replace(rules)
    too_long = Rejection(field, "replace", f"{field}: {place} holds a text that is too long to be searched.")

    def replace(cells: Cells, block: Block) -> Cells:
        changed: Cells = []
        for row, cell in enumerate(cells):
            new = change(cell) if cell else ""
            if new is None:
                block.reject(row, too_long)
            changed.append(new or "")
        return changed

    return replace


def _digits(cells: Cells, _block: Block) -> Cells:
    return [only_digits(cell) for cell in cells]


def _ascii(cells: Cells, _block: Block) -> Cells:
    return cells if "".join(cells).isascii() else [unmarked(cell) for cell in cells]


def _first_word(cells: Cells, _block: Block) -> Cells:
    return [cell.partition(" ")[0] for cell in cells]


def _other_words(cells: Cells, _block: Block) -> Cells:
    return [cell.partition(" ")[2] for cell in cells]


def _names(cells: Cells, _block: Block) -> Cells:
    return [split_name(cell)[0] for cell in cells]


def _surnames(cells: Cells, _block: Block) -> Cells:
    return [split_name(cell)[1] for cell in cells]


def _lookup(field: str, table: Mapping[str, str], place: str, *, fold: bool, lenient: bool) -> Step:
    known = {clean(key): clean(value) for key, value in table.items()} | {"": ""}
    by_fold = {folded(key): value for key, value in known.items()}
    missing = Rejection(field, "lookup", f"{field}: {place} holds a value that the lookup has not.")

    def look_up(cells: Cells, block: Block) -> Cells:
        found = list(map(known.get, cells))
        if fold and None in found:
            found = [
                by_fold.get(folded(cell)) if value is None else value for cell, value in zip(cells, found, strict=True)
            ]
        if None in found and not lenient:
            for row, value in enumerate(found):
                if value is None:
                    block.reject(row, missing)
        return [value or "" for value in found]

    return look_up


def _bool(field: str, rule: BoolRule, place: str, *, lenient: bool) -> Step:
    known = dict.fromkeys(YES, clean(rule.true)) | dict.fromkeys(NO, clean(rule.false)) | {"": ""}
    neither = Rejection(field, "bool", f"{field}: {place} holds a word that is neither yes nor no.")

    def decide(cells: Cells, block: Block) -> Cells:
        found = [known.get(cell.lower()) for cell in cells]
        if None in found and not lenient:
            for row, value in enumerate(found):
                if value is None:
                    block.reject(row, neither)
        return [value or "" for value in found]

    return decide


def _case(case: str) -> Step:
    change = {"lower": str.lower, "upper": str.upper, "title": str.title}[case]

    def recase(cells: Cells, _block: Block) -> Cells:
        # A letter in another case may be several that are not composed.
        return [change(cell) if cell.isascii() else normalize("NFC", change(cell)) for cell in cells]

    return recase


def _number(field: str, rule: NumberRule, place: str, *, lenient: bool) -> Step:
    def write(value: Any) -> str:
        number = number_of(value, rule.read)
        return "" if number is None else written(number, rule)

    return _of_values(field, "number", write, place, lenient=lenient)


def _moment(field: str, rule: DatetimeRule, place: str, zone: ZoneInfo, *, lenient: bool) -> Step:
    return _of_values(field, "datetime", compile_moment(rule, zone), place, lenient=lenient)


def _of_values(field: str, key: str, write: Callable[[object], str], place: str, *, lenient: bool) -> Step:
    def convert(values: Sequence[object], block: Block) -> Cells:
        cells: Cells = []
        for row, value in enumerate(values):
            try:
                cells.append("" if value is None else write(value))
            except Unfit as unfit:
                cells.append("")
                if not lenient:
                    block.reject(row, Rejection(field, key, f"{field}: {place} {unfit.reason}."))
        return cells

    return convert


def _phone(field: str, rule: PhoneRule, place: str, index: Mapping[str, int], *, lenient: bool) -> Step:
    dial = compile_spread(rule) if rule.spread else compile_phone(rule)
    home = rule.region
    rejections = {why: Rejection(field, "phone", f"{field}: {place} {why.value}.") for why in Undialable}
    if rule.region_column is not None:
        rejections[Undialable.NOWHERE] = Rejection(
            field, "phone", f'{field}: column "{rule.region_column}" {Undialable.NOWHERE.value}.'
        )
    elsewhere = None if rule.region_column is None else index[rule.region_column]

    def write(cells: Cells, block: Block) -> Cells:
        regions = None if elsewhere is None else block.text(elsewhere, field, f'column "{rule.region_column}"')
        dialled: Cells = []
        many: list[tuple[str, ...]] = []
        for row, cell in enumerate(cells):
            if not cell:
                dialled.append("")
                many.append(())
                continue
            region = home if regions is None else regions[row].upper() or home
            number = dial(cell, region)
            if isinstance(number, str):
                dialled.append(number)
                continue
            if isinstance(number, tuple):
                dialled.append(number[0])
                many.append(number)
                continue
            dialled.append("")
            many.append(())
            if not lenient:
                block.reject(row, rejections[number])
        if rule.spread:
            block.spread[field] = many
        return dialled

    return write


def _limit(field: str, limit: int, place: str, *, cut: bool) -> Step:
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


def _default(default: str) -> Step:
    return lambda cells, _block: [cell or default for cell in cells] if "" in cells else cells


def _check(field: str, place: str, schema: Schema, instead: str | None) -> Step:
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
