"""Decoding what the server says on a replication connection: bytes in, small values out, and nothing else.

Two layers: the frames of the streaming replication protocol, and inside them the messages of the plugin ``pgoutput``,
both as the PostgreSQL manual has them ("Streaming Replication Protocol", "Logical Replication Message Formats").
Transactions come whole here (``streaming`` is off), so no message inside one repeats its number. Of a row, the key
alone is taken out; all else is stepped over. Whatever does not fit raises `ProtocolError`.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

Buffer = bytes | memoryview
"""What is decoded; never changed, and copied in small parts only."""

WAL_HEADER = 25
"""Bytes before the message in a frame of WAL: its letter, two positions and a time."""
_EPOCH_SECS = 946_684_800
"""2000-01-01, from where Postgres counts its microseconds, as a Unix time."""

_FRAME_KEEPALIVE = struct.Struct("!cQqB")
_STATUS = struct.Struct("!cQQQqB")
_BEGIN = struct.Struct("!cQqI")
_COMMIT = struct.Struct("!cBQQq")
_COUNT = struct.Struct("!H")
_OID = struct.Struct("!I")
_COLUMN_TYPE = struct.Struct("!Ii")
_LSN_BITS = 32


class ProtocolError(ValueError):
    """The bytes are not what the protocol says; the text holds no value of a row."""


class Keepalive(NamedTuple):
    """The server lives, and has sent all that there is before `end`."""

    end: int
    asks: bool
    """Whether it wants an answer at once."""


class Begin(NamedTuple):
    """A transaction follows."""

    commit: int
    """Where its commit record begins."""
    xid: int
    """Its number, of 32 bits."""


class Commit(NamedTuple):
    """The transaction is whole."""

    commit: int
    end: int
    """Where its commit record ends."""


@dataclass(frozen=True, slots=True)
class Relation:
    """What a table looks like from here on."""

    oid: int
    schema: str
    name: str
    columns: tuple[str, ...]
    """The published ones, in the order in which a row has them."""


class Row(NamedTuple):
    """One row was inserted or updated."""

    relation: int
    key: str | None
    """As Postgres writes it; None where it is NULL, not to be known, or nobody asked for it."""
    unknown: bool
    """There is a key, and it is not in the message: too long to be repeated in an update, or no text."""


class Skipped(NamedTuple):
    """A message that says nothing about a row that is there: deletes, truncations, types, origins, messages."""

    kind: str


Message = Begin | Commit | Relation | Row | Skipped


def lsn_text(lsn: int) -> str:
    """A position as Postgres writes it: ``0/16B3748``."""
    return f"{lsn >> _LSN_BITS:X}/{lsn & 0xFFFFFFFF:X}"


def lsn_of(text: str) -> int:
    """The position that `lsn_text` or Postgres wrote.

    Raises:
        ValueError: it is none.
    """
    high, slash, low = text.partition("/")
    if not slash or not (0 < len(high) <= 8 and 0 < len(low) <= 8 and (high + low).isalnum()):
        raise ValueError("no position in the WAL")
    return (int(high, 16) << _LSN_BITS) | int(low, 16)


def frame_kind(frame: Buffer) -> str:
    """``w`` for WAL, whose message begins at `WAL_HEADER`, and ``k`` for a keepalive.

    Raises:
        ProtocolError: it is neither.
    """
    kind = chr(frame[0]) if len(frame) else ""
    if kind == "w" and len(frame) > WAL_HEADER:
        return kind
    if kind == "k" and len(frame) == _FRAME_KEEPALIVE.size:
        return kind
    raise ProtocolError(f"a frame of {len(frame)} bytes is neither WAL nor a keepalive")


def keepalive(frame: Buffer) -> Keepalive:
    """The content of a frame of kind ``k``.

    Raises:
        ProtocolError: its length is wrong.
    """
    _, end, _, asks = _unpack(_FRAME_KEEPALIVE, frame, 0)
    return Keepalive(end, asks != 0)


def status_update(written: int, flushed: int, unix_secs: float, *, ask: bool = False) -> bytes:
    """The frame that tells the server how far the client is.

    Args:
        written: up to where the client has received.
        flushed: up to where the client will never ask again; the server may forget what comes before.
        ask: whether the server is to answer at once.
    """
    micros = int((unix_secs - _EPOCH_SECS) * 1_000_000)
    return _STATUS.pack(b"r", written, flushed, flushed, micros, ask)


def message(data: Buffer, keys: Mapping[int, int]) -> Message:
    """One message of pgoutput.

    Args:
        data: all of it, and nothing else.
        keys: by a table's oid, at which place among its columns the key is; rows of other tables are not looked into.

    Raises:
        ProtocolError: it is no such message, or not a whole one.
    """
    kind = chr(data[0]) if len(data) else ""
    if kind in ("I", "U"):
        return _row(data, keys, updated=kind == "U")
    if kind == "B":
        _, commit, _, xid = _whole(_BEGIN, data)
        return Begin(commit, xid)
    if kind == "C":
        _, _, commit, end, _ = _whole(_COMMIT, data)
        return Commit(commit, end)
    if kind == "R":
        return _relation(data)
    if kind in ("D", "T", "Y", "O", "M"):
        return Skipped(kind)
    raise ProtocolError(f"a message of {len(data)} bytes has a kind that pgoutput does not have here")


def _row(data: Buffer, keys: Mapping[int, int], *, updated: bool) -> Row:
    (relation,) = _unpack(_OID, data, 1)
    place = keys.get(relation)
    if place is None:
        return Row(relation, None, unknown=False)
    at, old = 5, None
    if updated and _letter(data, at) in (b"K", b"O"):
        at, old = _tuple(data, at + 1, place)
    if _letter(data, at) != b"N":
        raise ProtocolError("a row has no new state")
    at, new = _tuple(data, at + 1, place)
    if at != len(data):
        raise ProtocolError(f"{len(data) - at} bytes follow a row")
    if new[0] == "u" and old is not None and old[0] == "t":
        new = old
    if new[0] == "n":
        return Row(relation, None, unknown=False)
    if new[0] != "t":
        return Row(relation, None, unknown=True)
    try:
        return Row(relation, str(data[new[1] : new[2]], "utf-8"), unknown=False)
    except UnicodeDecodeError:  # a database of bytes (SQL_ASCII) may hold anything
        return Row(relation, None, unknown=True)


def _tuple(data: Buffer, at: int, place: int) -> tuple[int, tuple[str, int, int]]:
    """Step over one row: where it ends, and the kind, the begin and the end of the field at `place`."""
    (count,) = _unpack(_COUNT, data, at)
    if place >= count:
        raise ProtocolError(f"a row of {count} columns has no column {place + 1}")
    at += _COUNT.size
    found = ("n", 0, 0)
    for number in range(count):
        kind = _letter(data, at)
        begin = end = at + 1
        if kind in (b"t", b"b"):
            (length,) = _unpack(_OID, data, begin)
            begin += _OID.size
            end = begin + length
            if end > len(data):
                raise ProtocolError("a field goes on beyond the end of its message")
        elif kind not in (b"n", b"u"):
            raise ProtocolError("a field is neither text, NULL nor unchanged")
        if number == place:
            found = (kind.decode(), begin, end)
        at = end
    return at, found


def _relation(data: Buffer) -> Relation:
    (oid,) = _unpack(_OID, data, 1)
    at, schema = _string(data, 5)
    at, name = _string(data, at)
    at += 1  # which replica identity it has
    (count,) = _unpack(_COUNT, data, at)
    at += _COUNT.size
    columns = []
    for _ in range(count):
        at, column = _string(data, at + 1)  # after a flag
        _unpack(_COLUMN_TYPE, data, at)
        at += _COLUMN_TYPE.size
        columns.append(column)
    if at != len(data):
        raise ProtocolError(f"{len(data) - at} bytes follow a relation")
    return Relation(oid, schema or "pg_catalog", name, tuple(columns))


def _string(data: Buffer, at: int) -> tuple[int, str]:
    """Where the string that begins at `at` ends, its zero included, and the string."""
    raw = bytes(data[at : at + 1024])  # a name has 63 bytes, or a few times that in another encoding
    end = raw.find(b"\0")
    if end < 0:
        raise ProtocolError("a name has no end")
    return at + end + 1, raw[:end].decode("utf-8", "replace")


def _letter(data: Buffer, at: int) -> bytes:
    if at >= len(data):
        raise ProtocolError("a message ends too soon")
    return bytes(data[at : at + 1])


def _whole(form: struct.Struct, data: Buffer) -> tuple[int, ...]:
    if len(data) != form.size:
        raise ProtocolError(f"a message has {len(data)} bytes, and should have {form.size}")
    return form.unpack(data)


def _unpack(form: struct.Struct, data: Buffer, at: int) -> tuple[int, ...]:
    if at + form.size > len(data):
        raise ProtocolError("a message ends too soon")
    return form.unpack_from(data, at)
