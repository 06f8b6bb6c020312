"""A rule in words, for people. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from syncd.fieldmap.rules import DatetimeRule, FieldRule, PhoneRule

_SPLITS: Final = {
    "first": "first word",
    "rest": "all but the first word",
    "names": "the names of a person",
    "surnames": "the surnames of a person",
}


def origin(rule: FieldRule) -> str:
    """Name the source of a rule, as ``column "mobile"``; for sentences about its value."""
    if rule.column is not None:
        place = f'column "{rule.column}"'
        return f'"{rule.path}" in {place}' if rule.path is not None else place
    if rule.template is not None:
        return f'the template "{rule.template}"'
    if rule.first is not None:
        return f"the first of {_columns(rule.first)}"
    if rule.join is not None:
        return f"the join of {_columns(rule.join)}"
    return "the constant"


def describe(rule: FieldRule) -> str:
    """Say a rule, source and steps in their order; for people who read a preview."""
    if rule.value is not None:
        return f'always "{rule.value}"'
    return ", ".join([origin(rule), *_texts(rule), *_forms(rule), *_ends(rule)])


def _columns(names: Sequence[str]) -> str:
    quoted = [f'"{name}"' for name in names]
    return f"{'column' if len(quoted) == 1 else 'columns'} {', '.join(quoted)}"


def _texts(rule: FieldRule) -> Iterator[str]:
    if rule.strip is not None:
        yield f'without "{rule.strip}" at its ends'
    if rule.replace is not None:
        yield "1 replacement" if len(rule.replace) == 1 else f"{len(rule.replace)} replacements"
    if rule.digits:
        yield "digits alone"
    if rule.ascii:
        yield "without accents"
    if rule.split is not None:
        yield _SPLITS.get(rule.split, rule.split)
    if rule.lookup is not None:
        yield f"lookup of {len(rule.lookup)}" + (" in any case" if rule.fold else "")
    if rule.bool is not None:
        yield f'"{rule.bool.true}" or "{rule.bool.false}"'
    if rule.case is not None:
        yield f"{rule.case} case"


def _forms(rule: FieldRule) -> Iterator[str]:
    if rule.number is not None:
        places = "" if rule.number.decimals is None else f" with {rule.number.decimals} decimals"
        yield f"number{places}"
    if rule.phone is not None:
        yield _phone(rule.phone)
    if rule.moment is not None:
        yield _moment(rule.moment)


def _ends(rule: FieldRule) -> Iterator[str]:
    if rule.max is not None:
        yield f"at most {rule.max} characters"
    if rule.default is not None:
        yield f'"{rule.default}" if empty'
    if rule.required:
        yield "required"


def _phone(rule: PhoneRule) -> str:
    kind = "telephone" if rule.kind == "any" else f"{rule.kind} telephone"
    many = f"every {kind}" if rule.spread else kind
    dialled = f", {rule.prefix} before it" if rule.prefix else ""
    return f"{many} of {rule.region}, {rule.format}{dialled}"


def _moment(rule: DatetimeRule) -> str:
    words = ["date and time"]
    if rule.read is not None:
        words.append(f"by {rule.read}")
    if rule.zone is not None:
        words.append(f"of {rule.zone}")
    if rule.write is not None:
        words.append(f"written as {rule.write}")
    return " ".join(words)
