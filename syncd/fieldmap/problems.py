"""Everything that can be wrong with a map before any row is read. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Final

from syncd.fieldmap.rules import FieldRule, Problem
from syncd.fieldmap.sources import parse_path, parse_template
from syncd.fieldmap.step_problems import STEP_CHECKS, Fault, among, either
from syncd.fieldmap.text import clean
from syncd.record import CUSTOMER_ID, DIALLED, FIELDS, LIMITS, RECALL_DATE, TELEPHONES, schema

_SOURCES: Final = ("column", "value", "template", "first", "join")
_WHOLE: Final = frozenset({CUSTOMER_ID, RECALL_DATE, *TELEPHONES})
"""Fields that mean something else once they are cut."""


def problems_of(rules: Mapping[str, FieldRule], campaign_type: str, require: Sequence[str]) -> list[Problem]:
    """Find every fault of a map.

    Args:
        rules: by wolkvox field.
        campaign_type: ``predictive`` or ``preview``; another is a fault.
        require: the fields that must not be empty.

    Returns:
        the faults in the order of the rules, then those of the map as a whole; empty where it can be
        compiled.
    """
    known = FIELDS.get(campaign_type)
    if known is None:
        return [Problem("", "", campaign_type, f"must be a campaign type: {either(FIELDS)}")]
    found: list[Problem] = []
    for field, rule in rules.items():
        if field not in known:
            found.append(Problem(field, "", "", f"must be a field of a {campaign_type} campaign{_other(field)}"))
        found += [Problem(field, *fault) for check in _CHECKS for fault in check(field, rule)]
    if CUSTOMER_ID not in rules:
        found.append(Problem(CUSTOMER_ID, "", "", "must be mapped: wolkvox takes no lead without it"))
    for field, rule in rules.items():
        if rule.phone is not None and rule.phone.spread and field not in DIALLED:
            found.append(Problem(field, "phone.spread", "", "must be a rule of tel1 to tel10, over which it spreads"))
    if not any(field in rules for field in DIALLED):
        found.append(Problem("tel1", "", "", "must be mapped, or another of tel1 to tel10: a campaign dials"))
    found += [
        Problem(field, "", "", "must be mapped: the sync's require names it")
        for field in dict.fromkeys(require)
        if field not in rules and field != CUSTOMER_ID
    ]
    return found


def _other(field: str) -> str:
    others = [name for name, known in FIELDS.items() if field in known]
    return f"; it is one of a {others[0]} campaign" if others else ""


def _source(_field: str, rule: FieldRule) -> Iterator[Fault]:
    named = [key for key in _SOURCES if getattr(rule, key) is not None]
    if len(named) != 1:
        yield "", " and ".join(named), "must have exactly one source: column, value, template, first or join"
    if rule.column is not None and not rule.column.strip():
        yield "column", rule.column, "must name a column"
    if rule.template is not None:
        yield from _parsed("template", rule.template, parse_template)
    for key, names in (("first", rule.first), ("join", rule.join)):
        if names is None:
            continue
        if not all(name.strip() for name in names) or not names:
            yield key, "", "must name at least one column"
        elif len(set(names)) < len(names):
            yield key, ", ".join(names), "must name each column once"
    if rule.separator is not None and rule.join is None:
        yield "separator", rule.separator, "must go with join: it stands between its columns"
    if rule.path is not None:
        if rule.column is None:
            yield "path", rule.path, "must go with column: it leads into a column's JSON"
        yield from _parsed("path", rule.path, parse_path)


def _parsed(key: str, text: str, parse: Callable[[str], object]) -> Iterator[Fault]:
    try:
        parse(text)
    except ValueError as fault:
        yield key, text, str(fault)


def _constant(field: str, rule: FieldRule) -> Iterator[Fault]:
    if rule.value is None:
        return
    for key in fields(rule):
        if key.name not in _SOURCES and getattr(rule, key.name) not in (None, False):
            yield (
                key.name,
                str(getattr(rule, key.name)),
                "must not go with value: a constant is written as it is sent",
            )
    if field == RECALL_DATE:
        yield "value", rule.value, "must not be a constant: one day it will be past for every lead"
    else:
        yield from _fixed(field, "value", rule.value)


def _fixed(field: str, key: str, text: str) -> Iterator[Fault]:
    """Check a text that the operator gave for a field: it obeys the record's rules."""
    known = next((name for name, names in FIELDS.items() if field in names), None)
    if known is None or (not text and field != CUSTOMER_ID):
        return
    rejection = schema(known).check_value(field, clean(text), now=0)
    if rejection is not None:
        yield key, text, f"must be fit to be sent: {rejection.reason}"


def _length(field: str, rule: FieldRule) -> Iterator[Fault]:
    yield from among("over", rule.over, ("cut", "reject"))
    limit = LIMITS.get(field)
    if rule.max is None:
        if rule.over is not None and limit is None:
            yield "over", rule.over, "must go with max: no limit of this field is known"
        return
    if rule.max < 1:
        yield "max", str(rule.max), "must be at least 1"
    if limit is not None and rule.max > limit:
        yield "max", str(rule.max), f"must be at most {limit}, which is all that wolkvox takes"
    if rule.phone is not None and rule.phone.spread:
        yield "max", str(rule.max), "must not go with phone.spread: it would hold for the first number alone"
    elif field in _WHOLE and rule.over != "reject":
        yield "over", rule.over or "cut", 'must be "reject": cut, it would be another number or date'


def _default(field: str, rule: FieldRule) -> Iterator[Fault]:
    if rule.default is None or rule.value is not None:
        return
    if rule.default and rule.required:
        yield "required", "", "must not go with a default that is not empty: it would never be asked"
    if field == RECALL_DATE and rule.default:
        yield "default", rule.default, "must be empty: one day a fixed date will be past"
    elif rule.default:
        yield from _fixed(field, "default", rule.default)


_CHECKS: Final[tuple[Callable[[str, FieldRule], Iterator[Fault]], ...]] = (
    _source,
    _constant,
    *STEP_CHECKS,
    _length,
    _default,
)
