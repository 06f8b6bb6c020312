"""Columns of other tables that come along with each lead: which they are, and the query that reads them.

Each join is a LEFT JOIN by a key: a lead whose partner is not there has empty columns in its place. The leads' own
table is read first, in a subquery, so that names in the operator's ``where`` mean its columns and no others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from syncd.crm.shape import identifier
from syncd.crm.values import expression

_BASE = "the lead"
"""How the leads' own table is called in the query; a space keeps it apart from every name of a join."""


@dataclass(frozen=True, slots=True)
class Joined:
    """A table of which at most one row belongs to each lead."""

    name: str
    """What its columns are called after: ``account`` for ``account.name``."""
    relation: tuple[str, str]
    key: str
    """Its column that `on` points to."""
    on: str
    """A column of the leads' table, or one of an earlier join, such as ``account.owner_id``."""


def place_of(column: str, joins: Iterable[Joined]) -> tuple[str | None, str]:
    """Where a column of the map is: the name of a join and its column, or None and a column of the leads' table."""
    name, dot, rest = column.partition(".")
    if dot and rest and any(join.name == name for join in joins):
        return name, rest
    return None, column


def columns_by_place(columns: Sequence[str], joins: Sequence[Joined]) -> dict[str | None, list[str]]:
    """What is read of each table, each column once: by the name of the join, and under None the leads' own."""
    found: dict[str | None, dict[str, None]] = {None: {}} | {join.name: {join.key: None} for join in joins}
    for column in (*columns, *(join.on for join in joins)):
        name, own = place_of(column, joins)
        found[name][own] = None
    return {name: list(own) for name, own in found.items()}


def select_joined(
    relation: tuple[str, str],
    key: str,
    columns: Sequence[str],
    joins: Sequence[Joined],
    read_as: Mapping[str | None, Mapping[str, str]],
    rows: sql.Composable,
    *,
    with_parameters: bool,
) -> sql.Composed:
    """The query that reads the key as text, then the columns.

    Args:
        read_as: of each join and, under None, of the leads' table, as `syncd.crm.values.expression` takes it.
        rows: which rows of the leads' table: what goes after WHERE, order and limit included.
        with_parameters: whether the query is executed with parameters, when psycopg wants each % doubled.
    """

    def name(*parts: str) -> sql.Identifier:
        return identifier(*parts, with_parameters=with_parameters)

    def at(column: str) -> tuple[sql.Identifier, str]:
        place, own = place_of(column, joins)
        return name(_BASE if place is None else place, own), read_as.get(place, {}).get(own, "")

    needed = dict.fromkeys([key, *columns_by_place(columns, joins)[None]])
    tables = [
        sql.SQL(" LEFT JOIN {} AS {} ON {} = {}").format(
            name(*join.relation), name(join.name), name(join.name, join.key), at(join.on)[0]
        )
        for join in joins
    ]
    return sql.SQL("SELECT {}::text AS key, {} FROM (SELECT {} FROM {} WHERE {}) AS {}{}").format(
        name(_BASE, key),
        sql.SQL(", ").join(expression(*at(column)) for column in columns) if columns else sql.SQL("NULL"),
        sql.SQL(", ").join(map(name, needed)),
        name(*relation),
        rows,
        name(_BASE),
        sql.Composed(tables),
    )


def greatest_first(key: str) -> sql.Composed:
    """The order of a query of `select_joined`: that of the rows within it is lost."""
    return sql.SQL(" ORDER BY {} DESC").format(sql.Identifier(_BASE, key))


def once(rows: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Each key once: where a join's key is not unique after all, a lead must not become two records.

    Of several rows it is always the same one, so that what was sent can be recognised later.
    """
    found: dict[str, tuple[Any, ...]] = {}
    for row in rows:
        other = found.setdefault(row[0], row)
        if other is not row:
            found[row[0]] = min(other, row, key=repr)
    return list(found.values())
