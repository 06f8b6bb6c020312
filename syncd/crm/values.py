"""How a value of each type comes out of the CRM: so that no value fails the rows beside it.

Most types come as psycopg loads them. The others:

- dates and times that Python cannot hold (``infinity``, BC, beyond 9999, ``24:00``), intervals and ranges: the text
  that Postgres writes;
- json and jsonb: decoded, without losing digits of numbers; a string by itself is a `JsonString`;
- composite types, hstore, and arrays of types that are not built in (enums, citext, domains): as JSON, by `expression`;
- money: as numeric, for its text depends on the server's locale.

A value that cannot be loaded all the same comes as text, or as bytes where it is none (`rows_of`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import orjson
import psycopg
from psycopg import sql
from psycopg.adapt import Loader, Transformer
from psycopg.pq import Format
from psycopg.types.datetime import DateLoader, TimeLoader, TimestampLoader, TimestamptzLoader, TimetzLoader
from psycopg.types.json import set_json_loads
from psycopg.types.string import TextLoader

from syncd.fieldmap.sources import JsonString, parse_json

_RANGES: Final = ("int4", "int8", "num", "date", "ts", "tstz")
_MANY_DIGITS: Final = re.compile(rb"\d[\d.]{15}")
"""More digits than a float may keep, or what looks like it."""


def expression(column: sql.Composable, read_as: str) -> sql.Composable:
    """The column in a SELECT.

    Args:
        read_as: ``json``, ``numeric`` or ``""``, as `syncd.crm.shape.Shape` has it.
    """
    if read_as == "numeric":
        return sql.SQL("{}::pg_catalog.numeric").format(column)
    return sql.SQL("pg_catalog.to_json({})").format(column) if read_as == "json" else column


def register(connection: psycopg.Connection[tuple[Any, ...]]) -> None:
    """Load the types as the module says, on this connection."""
    for name, loader in _MOMENTS.items():
        connection.adapters.register_loader(name, loader)
    as_text = ["interval", *(f"{name}{kind}" for name in _RANGES for kind in ("range", "multirange"))]
    for name in as_text:
        connection.adapters.register_loader(name, TextLoader)
    set_json_loads(_json, connection)


def rows_of(cursor: psycopg.Cursor[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """All rows of a result; a value that cannot be loaded is text, or bytes, and costs no other its row."""
    try:
        return cursor.fetchall()
    except Exception:  # noqa: BLE001 - the result has arrived: only a loader fails here, each in its own way
        return _one_by_one(cursor)


def _one_by_one(cursor: psycopg.Cursor[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    result = cursor.pgresult
    if result is None:
        return []
    transformer = Transformer(cursor)
    loads = [transformer.get_loader(result.ftype(column), Format.TEXT).load for column in range(result.nfields)]
    return [
        tuple(_value(load, result.get_value(row, column)) for column, load in enumerate(loads))
        for row in range(result.ntuples)
    ]


def _value(load: Callable[[Any], Any], data: bytes | None) -> Any:
    if data is None:
        return None
    with suppress(Exception):  # as above
        return load(data)
    try:
        return bytes(data).decode()
    except UnicodeDecodeError:
        return bytes(data)  # which the field map refuses, for this row alone


def _or_as_text(base: type[Loader]) -> type[Loader]:
    """A loader that gives the text of what Python cannot hold."""

    class OrText(base):  # type: ignore[misc, valid-type]  # a class is made of each
        def load(self, data: Any) -> Any:
            try:
                return super().load(data)
            except psycopg.DataError:
                return bytes(data).decode()

    return OrText


_MOMENTS: Final = {
    name: _or_as_text(base)
    for name, base in (
        ("date", DateLoader),
        ("time", TimeLoader),
        ("timetz", TimetzLoader),
        ("timestamp", TimestampLoader),
        ("timestamptz", TimestamptzLoader),
    )
}


def _json(data: bytes | str) -> Any:
    raw = data if isinstance(data, bytes) else data.encode()
    value: object
    try:
        value = parse_json(raw.decode()) if _MANY_DIGITS.search(raw) else orjson.loads(raw)
    except ValueError:
        try:
            value = parse_json(raw.decode())
        except ValueError:
            return raw.decode()
    return JsonString(value) if isinstance(value, str) else value
