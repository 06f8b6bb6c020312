"""What can be wrong with the steps of one rule before any row is read. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final
from zoneinfo import ZoneInfo

from syncd.fieldmap.letters import PatternError, compile_replace
from syncd.fieldmap.moments import can_read, can_write
from syncd.fieldmap.numbers import DECIMALS, MOST_DECIMALS, THOUSANDS
from syncd.fieldmap.phones import EXTENSIONS, FORMATS, KINDS, REGIONS
from syncd.fieldmap.rules import FieldRule
from syncd.fieldmap.steps import folded
from syncd.fieldmap.text import clean
from syncd.record import RECALL_DATE, TELEPHONES

SPLITS: Final = ("first", "rest", "names", "surnames")
CASES: Final = ("lower", "upper", "title")

Fault = tuple[str, str, str]
"""Key, value and rule of a `syncd.fieldmap.rules.Problem`."""

_PROBES: Final = ("a", "Z9", "ñ b", "3211234567", "x@example.com", "-", "Cali, Valle", "(0)")

_TOGETHER: Final = {
    "datetime": ("digits", "ascii", "split", "lookup", "bool", "case", "number", "phone"),
    "number": ("digits", "ascii", "split", "lookup", "bool", "case", "phone"),
    "bool": ("digits", "split", "lookup", "phone"),
}
"""Which rules a rule does not take beside it."""
_WHY: Final = {
    "datetime": "which reads the source itself",
    "number": "which reads the source itself",
    "bool": "which reads the words of yes and no",
}


def among(key: str, value: str | None, allowed: Sequence[str]) -> Iterator[Fault]:
    """Say so where a value is none of those allowed."""
    if value is not None and value not in allowed:
        yield key, str(value), f"must be {either(allowed)}"


def either(words: Mapping[str, object] | Sequence[str]) -> str:
    """Name the choices, as words."""
    return " or ".join(words)


def _together(_field: str, rule: FieldRule) -> Iterator[Fault]:
    told: set[str] = set()
    for key, others in _TOGETHER.items():
        if _is_given(rule, key):
            for other in others:
                if other not in told and _is_given(rule, other):
                    told.add(other)
                    yield other, "", f"must not go with {key}, {_WHY[key]}"
    if rule.digits and rule.split in ("rest", "names", "surnames"):
        yield "split", rule.split, "must not go with digits, which leaves one word at most"
    if rule.digits and rule.case is not None:
        yield "case", rule.case, "must not go with digits, which leaves no letter"


def _is_given(rule: FieldRule, key: str) -> bool:
    return getattr(rule, key) not in (None, False)


def _letters(_field: str, rule: FieldRule) -> Iterator[Fault]:
    if rule.strip is not None and not rule.strip.strip():
        yield "strip", rule.strip, "must have at least one character; spaces are taken off in any case"
    if rule.replace is not None:
        yield from _replace(rule)
    yield from among("split", rule.split, SPLITS)
    yield from among("case", rule.case, CASES)


def _replace(rule: FieldRule) -> Iterator[Fault]:
    patterns = rule.replace or ()
    if not patterns:
        yield "replace", "", "must have at least one pattern"
        return
    faults = False
    for each in patterns:
        try:
            compile_replace([each])
        except PatternError as fault:
            faults = True
            yield "replace", each.pattern, str(fault)
    if not faults:
        replace = compile_replace(patterns)
        if not rule.default and not any(replace(probe) for probe in _PROBES):
            yield "replace", patterns[-1].pattern, "must leave something: it takes every text away"


def _words(_field: str, rule: FieldRule) -> Iterator[Fault]:
    if rule.fold and rule.lookup is None:
        yield "fold", "", "must go with lookup: it says how that compares"
    if rule.lookup is not None:
        yield from _lookup(rule, rule.lookup)
    if rule.bool is not None and not clean(rule.bool.true + rule.bool.false) and not rule.default:
        yield "bool", "", "must write something for yes or for no: it gives nothing"


def _lookup(rule: FieldRule, table: Mapping[str, str]) -> Iterator[Fault]:
    if not table:
        yield "lookup", "", "must have at least one text to look up"
        return
    if any(not clean(key) for key in table):
        yield "lookup", "", "must not look up the empty text: default says what is written for it"
    elif not any(map(clean, table.values())) and not rule.default:
        yield "lookup", "", "must write something for at least one text: it gives nothing"
    seen: dict[str, str] = {}
    for key, value in table.items():
        same = folded(clean(key)) if rule.fold else clean(key)
        if seen.setdefault(same, value) != value:
            yield "lookup", key, "must be there once: written otherwise, it stands for something else"


def _number(field: str, rule: FieldRule) -> Iterator[Fault]:
    number = rule.number
    if number is None:
        return
    if field in TELEPHONES or field == RECALL_DATE:
        yield "number", "", f"must not be a rule of {field}: its digits are no amount"
    if number.decimals is not None and not 0 <= number.decimals <= MOST_DECIMALS:
        yield "number.decimals", str(number.decimals), f"must be 0 to {MOST_DECIMALS}"
    yield from among("number.decimal", number.decimal, DECIMALS)
    yield from among("number.read", number.read, DECIMALS)
    if number.thousands not in THOUSANDS:
        yield "number.thousands", number.thousands, "must be . or , or ' or a space, or nothing"
    elif number.thousands == number.decimal:
        yield "number.thousands", number.thousands, "must not be the decimal mark too"


def _datetime(field: str, rule: FieldRule) -> Iterator[Fault]:
    at = rule.moment
    if at is None:
        return
    key = "datetime" if isinstance(rule.datetime, str) else "datetime.read"
    if at.read is not None and not can_read(at.read):
        yield key, at.read, "must be true, or the format of a text, such as %d/%m/%Y %H:%M"
    if at.write is not None and not can_write(at.write):
        yield "datetime.write", at.write, "must be a format of %d %m %Y %y %H %I %M %S %p and %j, such as %d/%m/%Y"
    if at.write is not None and (field == RECALL_DATE or field in TELEPHONES):
        yield "datetime.write", at.write, f"must not be given for {field}: wolkvox takes it in one form alone"
    if at.zone is not None and not _is_zone(at.zone):
        yield "datetime.zone", at.zone, "must be a zone such as UTC or America/Bogota"


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except Exception:  # noqa: BLE001 - a name may be no name of a file, in ways of its own
        return False
    return True


def _phone(_field: str, rule: FieldRule) -> Iterator[Fault]:
    phone = rule.phone
    if phone is None:
        return
    if phone.region not in REGIONS:
        yield "phone.region", phone.region, "must be a country as ISO 3166 writes it in capitals, such as CO"
    if phone.region_column is not None and not phone.region_column.strip():
        yield "phone.region_column", phone.region_column, "must name a column"
    for key, digits in (("prefix", phone.prefix), ("area", phone.area)):
        if digits and not (digits.isascii() and digits.isdigit()):
            yield f"phone.{key}", digits, "must be digits alone"
    if phone.area == "":
        yield "phone.area", "", "must be digits alone"
    yield from among("phone.format", phone.format, FORMATS)
    yield from among("phone.kind", phone.kind, KINDS)
    yield from among("phone.extension", phone.extension, EXTENSIONS)
    if phone.area is not None and phone.kind == "mobile":
        yield "phone.area", phone.area, "must not go with kind = mobile: a mobile has no area"


STEP_CHECKS: Final[tuple[Callable[[str, FieldRule], Iterator[Fault]], ...]] = (
    _together,
    _letters,
    _words,
    _number,
    _datetime,
    _phone,
)
