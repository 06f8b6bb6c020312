"""What `syncd check` asks of the CRM about one sync's field map: columns, types, lookups, and rules that never work.

Types are compared with what the rules read; the rest shows on a bounded sample of rows, by the compiled map itself.
"""

from __future__ import annotations

import difflib
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from syncd import assembly
from syncd.check.finding import Finding
from syncd.config import Config, Sync
from syncd.crm import CrmConnection, look_at
from syncd.errors import EXIT_CONFIG, CrmUnavailable
from syncd.fieldmap import FieldRule
from syncd.fieldmap.columns import columns_of
from syncd.fieldmap.mapping import Run
from syncd.fieldmap.routing import CAMPAIGN

_ROWS = 2000
"""Rows that are sampled, those with the greatest keys."""
_FEW = 20
"""Fewer rows tell nothing about the others."""
_DISTINCT = 50
"""More values than this are no codes: a lookup of them is not looked through."""
_SHOWN = 10
_LONGEST = 40

_MOMENTS = frozenset({"date", "timestamp with time zone", "timestamp without time zone"})
_TIMES = _MOMENTS | {"time without time zone", "time with time zone", "interval"}
_WHOLE = frozenset({"smallint", "integer", "bigint"})
_FRACTIONS = frozenset({"numeric", "real", "double precision", "money"})
_ODD = frozenset({"boolean", "uuid", "bytea", "inet", "cidr", "point", "polygon"})
_JSON = frozenset({"json", "jsonb"})


def unknown(mapping: Mapping[str, FieldRule], missing: str, known: Sequence[str]) -> str:
    """Which fields read a column that is not there, and which one may be meant; to follow a sentence."""
    fields = [field for field, rule in mapping.items() if missing in columns_of(rule)]
    near = difflib.get_close_matches(missing, known, n=1)
    read = f"; {' and '.join(map(_place, fields))} reads it" if fields else ""
    return read + (f"; did you mean {near[0]}?" if near else "")


def types(mapping: Mapping[str, FieldRule], known: Mapping[str, str], about: str) -> Iterator[Finding]:
    """Columns of a type that their rule cannot take, so that it would reject every lead that has a value.

    Args:
        known: type by column, as Postgres names it.
    """
    for field, rule in mapping.items():
        for column in dict.fromkeys(columns_of(rule)):
            kind = known.get(column)
            fault = None if kind is None else _fault(rule, column, kind)
            if fault is not None:
                yield Finding(
                    "error", about, f"{_place(field)}: column {column} has type {kind}; {fault}.", EXIT_CONFIG
                )


def _fault(rule: FieldRule, column: str, kind: str) -> str | None:
    """Why a rule can take no value of a type, or None where it may."""
    if kind == "bytea":
        return "binary data is no text, and no rule takes it"
    if column != rule.column:
        return None
    if rule.path is not None:
        scalar = _TIMES | _WHOLE | _FRACTIONS | _ODD
        return "a path leads into json, jsonb and arrays" if kind in scalar else None
    is_list = kind in _JSON or kind.endswith("[]")
    if rule.datetime and (is_list or kind in _WHOLE | _FRACTIONS | _ODD or kind in _TIMES - _MOMENTS):
        return "datetime reads a date, a timestamp or a text"
    if rule.number is not None and (is_list or kind in _TIMES | _ODD):
        return "number reads a number or a text"
    if rule.phone is not None and (kind in _JSON or kind in _TIMES | _ODD):
        return "phone reads a text or a whole number"
    return None


def look(config: Config, sync: Sync, connection: CrmConnection, about: str) -> Iterator[Finding]:
    """What a sample of rows shows: columns that are empty, rules that take no value, lookups that miss some.

    Raises:
        CrmUnavailable: the catalogue does not answer.
        CrmFault: as `CrmConnection.cursor`.
    """
    for join in assembly.joins(sync):
        shape = look_at(connection, join.relation, about, "sync.join.table")
        joined = {f"{join.name}.{column}": kind for column, kind in shape.columns.items()}
        yield from types(rules_of(sync), joined, about)
    fieldmap, route = assembly.maps(config, sync)
    columns = assembly.columns_for(fieldmap, route)
    try:
        rows = [row[1:] for row in assembly.reader(sync, columns, connection).sample(_ROWS)]
    except CrmUnavailable as error:
        # The daemon reads by key, which is fast where going through the table is not.
        yield Finding("warning", about, f"no rows could be looked at to try the map on: {error}")
        return
    if not rows:
        return
    mapping = rules_of(sync)
    empty = {name for place, name in enumerate(columns) if all(row[place] in (None, "") for row in rows)}
    if len(rows) >= _FEW:
        yield from _never(mapping, empty, len(rows), about)
    now = time.time()
    runs = list(fieldmap.runs([row[: len(fieldmap.columns)] for row in rows], now))
    yield from _faults([*runs, *([route.run(rows, now)] if route else [])], mapping, len(rows), about)


def rules_of(sync: Sync) -> dict[str, FieldRule]:
    """The rules of a sync, by wolkvox field; with the one that gives the campaign, where there is one."""
    route = {} if sync.campaign.rule is None else {CAMPAIGN: sync.campaign.rule}
    return route | {field: spec.to_rule() for field, spec in sync.fields.items()}


def _place(field: str) -> str:
    """Where the configuration has a field's rule."""
    return "campaign.id" if field == CAMPAIGN else f"fields.{field}"


def _never(mapping: Mapping[str, FieldRule], empty: set[str], rows: int, about: str) -> Iterator[Finding]:
    for field, rule in mapping.items():
        columns = list(dict.fromkeys(columns_of(rule)))
        if columns and empty.issuperset(columns) and rule.default is None:
            names = " and ".join(columns)
            yield Finding(
                "warning",
                about,
                f"{_place(field)}: {names} is empty in all of the {rows:,} rows looked at, so nothing comes of it.",
            )


def _faults(runs: Iterable[Run], mapping: Mapping[str, FieldRule], rows: int, about: str) -> Iterator[Finding]:
    """Rules that take none of the values, and lookups that miss some of them."""
    for run in runs:
        before = ""
        for name, _ in run.steps:
            if name == "lookup":
                break
            before = name
        yield from _takes_none(run, mapping[run.field], about)
        texts = dict(run.steps).get(before, [])
        missed = Counter(texts[row] for row, fault in run.faults.items() if fault.rule == "lookup")
        if missed:
            yield Finding("warning", about, f"{_place(run.field)}: {_missed(missed, rows)}")


def _takes_none(run: Run, rule: FieldRule, about: str) -> Iterator[Finding]:
    """A rule that takes none of the values that are there; a lookup's are listed anyway."""
    _, sources = run.steps[0]
    tried = sum(1 for row, text in enumerate(sources) if text or row in run.faults)
    if tried < _FEW or len(run.faults) < tried or rule.lookup is not None:
        return
    name, _ = Counter(fault.rule for fault in run.faults.values()).most_common(1)[0]
    reason = next(fault.reason for fault in run.faults.values() if fault.rule == name)
    yield Finding(
        "warning",
        about,
        f"{_place(run.field)}: the rule {name} takes none of the {tried:,} values looked at, so that each such "
        f"lead is rejected: {reason}",
    )


def _missed(missed: Counter[str], rows: int) -> str:
    leads = f"the lookup misses values of {missed.total():,} of the {rows:,} rows looked at, which are rejected"
    if len(missed) > _DISTINCT:
        return f"{leads}: {len(missed):,} different ones; add them, or a default."
    shown = [f'"{text[:_LONGEST]}" ({count:,})' for text, count in missed.most_common(_SHOWN)]
    more = f" and {len(missed) - _SHOWN} more" if len(missed) > _SHOWN else ""
    return f"{leads}: {', '.join(shown)}{more}; add them, or a default."
