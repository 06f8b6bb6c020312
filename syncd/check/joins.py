"""What `syncd check` asks of the CRM about the tables that a sync joins: columns, rights, and one partner at most."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from syncd import assembly
from syncd.check.asking import denied, repeats
from syncd.check.finding import Finding
from syncd.config import Sync
from syncd.crm import CrmConnection, Joined, Shape, look_at
from syncd.crm.joining import columns_by_place, place_of
from syncd.errors import EXIT_CONFIG, CrmFault


def look(sync: Sync, mapped: Sequence[str], connection: CrmConnection, about: str) -> Iterator[Finding]:
    """What stands in the way of reading the joined tables, and what is to be known of them.

    Args:
        mapped: the columns that the map reads, of every table.

    Raises:
        CrmUnavailable, CrmFault: as `CrmConnection.cursor`.
    """
    joins = assembly.joins(sync)
    if not joins:
        return
    places = columns_by_place(mapped, joins)
    types: dict[str | None, Mapping[str, str]] = {None: look_at(connection, sync.relation, about).columns}
    for join in joins:
        shape = look_at(connection, join.relation, about, "sync.join.table")
        types[join.name] = shape.columns
        faults = list(_columns(sync, join, places[join.name], shape, connection, about))
        place, column = place_of(join.on, joins)
        if not faults and (ours := types[place].get(column)) is not None:
            faults = list(_types(join, ours, shape.columns[join.key], connection, about))
        yield from faults or _key(join, shape, connection, about)
    names = " and ".join(dict.fromkeys(join.table for join in sync.join))
    yield Finding(
        "ok",
        about,
        f"a change in {names} alone captures no lead: leads are found by changes of {sync.table}, and the columns of "
        "the others are read right before the call.",
    )


def _columns(
    sync: Sync, join: Joined, columns: Sequence[str], shape: Shape, connection: CrmConnection, about: str
) -> Iterator[Finding]:
    table = ".".join(join.relation)
    if absent := [name for name in columns if name not in shape.columns]:
        for name in absent:
            setting = "sync.join.key" if name == join.key else f"{join.name}.{name}"
            sentence = f"{table} has no column {name}, which {setting} names; it has: {', '.join(shape.columns)}."
            yield Finding("error", about, sentence, EXIT_CONFIG)
        return
    if (unreadable := denied(sync, join.relation, table, columns, connection, about)) is not None:
        yield unreadable


def _types(join: Joined, ours: str, theirs: str, connection: CrmConnection, about: str) -> Iterator[Finding]:
    """The two columns that meet have types that Postgres compares."""
    try:
        with connection.cursor(about) as cursor:
            cursor.execute(f"SELECT NULL::{ours} = NULL::{theirs}".encode())  # the catalogue's own words
    except CrmFault:
        sentence = f"on {join.on} of join {join.name} has type {ours}, and key {join.key} of {'.'.join(join.relation)} "
        sentence += f"has type {theirs}: Postgres does not compare them; join a view that casts one of them."
        yield Finding("error", about, sentence, EXIT_CONFIG)


def _key(join: Joined, shape: Shape, connection: CrmConnection, about: str) -> Iterator[Finding]:
    """A lead has one partner at most."""
    table = ".".join(join.relation)
    if join.key in shape.unique:
        return
    if repeats(join.relation, join.key, connection, about):
        sentence = f"key {join.key} of join {join.name} is not unique: two rows of {table} share a value, and nobody "
        sentence += "could tell which belongs to a lead; join a view that has one row for each."
        yield Finding("error", about, sentence, EXIT_CONFIG)
    elif shape.is_table:
        sentence = f"key {join.key} of join {join.name} has no unique index, so nothing keeps it unique in {table}; "
        sentence += "where a lead has several partners, syncd takes one of them."
        yield Finding("warning", about, sentence)
