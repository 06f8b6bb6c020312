"""Everything that can be wrong with a map before any row is read. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Final

from syncd.fieldmap.phones import FORMATS, KINDS, REGIONS
from syncd.fieldmap.rules import FieldRule, Problem
from syncd.fieldmap.sources import parse_path, parse_template
from syncd.fieldmap.text import clean
from syncd.record import CUSTOMER_ID, DIALLED, FIELDS, LIMITS, RECALL_DATE, TELEPHONES, schema

_SOURCES: Final = ("column", "value", "template")
_WHOLE: Final = frozenset({CUSTOMER_ID, RECALL_DATE, *TELEPHONES})
"""Fields that mean something else once they are cut."""

_Fault = tuple[str, str, str]
"""Key, value and rule of a `Problem`."""


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
        return [Problem("", "", campaign_type, f"must be a campaign type: {_either(FIELDS)}")]
    found: list[Problem] = []
    for field, rule in rules.items():
        if field not in known:
            found.append(Problem(field, "", "", f"must be a field of a {campaign_type} campaign{_other(field)}"))
        found += [Problem(field, *fault) for check in _CHECKS for fault in check(field, rule)]
    if CUSTOMER_ID not in rules:
        found.append(Problem(CUSTOMER_ID, "", "", "must be mapped: wolkvox takes no lead without it"))
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


def _source(_field: str, rule: FieldRule) -> Iterator[_Fault]:
    named = [key for key in _SOURCES if getattr(rule, key) is not None]
    if len(named) != 1:
        yield "", " and ".join(named), "must have exactly one source: column, value or template"
    if rule.column is not None and not rule.column.strip():
        yield "column", rule.column, "must name a column"
    if rule.template is not None:
        yield from _parsed("template", rule.template, parse_template)
    if rule.path is not None:
        if rule.column is None:
            yield "path", rule.path, "must go with column: it leads into a column's JSON"
        yield from _parsed("path", rule.path, parse_path)


def _parsed(key: str, text: str, parse: Callable[[str], object]) -> Iterator[_Fault]:
    try:
        parse(text)
    except ValueError as fault:
        yield key, text, str(fault)


def _constant(field: str, rule: FieldRule) -> Iterator[_Fault]:
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


def _fixed(field: str, key: str, text: str) -> Iterator[_Fault]:
    """Check a text that the operator gave for a field: it obeys the record's rules."""
    known = next((name for name, names in FIELDS.items() if field in names), None)
    if known is None or (not text and field != CUSTOMER_ID):
        return
    rejection = schema(known).check_value(field, clean(text), now=0)
    if rejection is not None:
        yield key, text, f"must be fit to be sent: {rejection.reason}"


def _steps(_field: str, rule: FieldRule) -> Iterator[_Fault]:
    yield from _among("split", rule.split, ("first", "rest"))
    yield from _among("case", rule.case, ("lower", "upper", "title"))
    if rule.lookup is not None:
        if not rule.lookup:
            yield "lookup", "", "must have at least one text to look up"
        for key in rule.lookup:
            if not clean(key):
                yield "lookup", "", "must not look up the empty text: default says what is written for it"
    if rule.datetime is False:
        return
    for key in ("split", "lookup", "case", "phone"):
        if getattr(rule, key) is not None:
            yield key, "", "must not go with datetime, which reads the source itself"
    if rule.datetime is not True and not _is_pattern(rule.datetime):
        yield "datetime", rule.datetime, "must be true, or the format of a text, such as %d/%m/%Y %H:%M"


def _is_pattern(pattern: str) -> bool:
    try:
        sample = datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC)
        read = datetime.strptime(sample.strftime(pattern), pattern)  # noqa: DTZ007 - only its year is looked at
        return read.year == sample.year
    except Exception:  # noqa: BLE001 - it is made a regular expression, which fails in ways of its own
        return False


def _phone(_field: str, rule: FieldRule) -> Iterator[_Fault]:
    phone = rule.phone
    if phone is None:
        return
    if phone.region not in REGIONS:
        yield "phone.region", phone.region, "must be a country as ISO 3166 writes it in capitals, such as CO"
    if phone.region_column is not None and not phone.region_column.strip():
        yield "phone.region_column", phone.region_column, "must name a column"
    if phone.prefix and not (phone.prefix.isascii() and phone.prefix.isdigit()):
        yield "phone.prefix", phone.prefix, "must be digits alone"
    yield from _among("phone.format", phone.format, FORMATS)
    yield from _among("phone.kind", phone.kind, KINDS)


def _length(field: str, rule: FieldRule) -> Iterator[_Fault]:
    yield from _among("over", rule.over, ("cut", "reject"))
    limit = LIMITS.get(field)
    if rule.max is None:
        if rule.over is not None and limit is None:
            yield "over", rule.over, "must go with max: no limit of this field is known"
        return
    if rule.max < 1:
        yield "max", str(rule.max), "must be at least 1"
    if limit is not None and rule.max > limit:
        yield "max", str(rule.max), f"must be at most {limit}, which is all that wolkvox takes"
    if field in _WHOLE and rule.over != "reject":
        yield "over", rule.over or "cut", 'must be "reject": cut, it would be another number or date'


def _default(field: str, rule: FieldRule) -> Iterator[_Fault]:
    if rule.default is None or rule.value is not None:
        return
    if field == RECALL_DATE and rule.default:
        yield "default", rule.default, "must be empty: one day a fixed date will be past"
    elif rule.default:
        yield from _fixed(field, "default", rule.default)


def _among(key: str, value: str | None, allowed: Sequence[str]) -> Iterator[_Fault]:
    if value is not None and value not in allowed:
        yield key, str(value), f"must be {_either(allowed)}"


def _either(words: Mapping[str, object] | Sequence[str]) -> str:
    return " or ".join(words)


_CHECKS: Final[tuple[Callable[[str, FieldRule], Iterator[_Fault]], ...]] = (
    _source,
    _constant,
    _steps,
    _phone,
    _length,
    _default,
)
