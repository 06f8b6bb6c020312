"""Decoding the replication protocol: what is made up comes out again, and nonsense is an error."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.capture.pgoutput import (
    WAL_HEADER,
    Begin,
    Commit,
    Keepalive,
    ProtocolError,
    Relation,
    Row,
    Skipped,
    frame_kind,
    keepalive,
    lsn_of,
    lsn_text,
    message,
    status_update,
)
from tests.support.effort import examples

LSNS = st.integers(0, 2**64 - 1)
OIDS = st.integers(1, 2**32 - 1)
TIMES = st.integers(-(2**62), 2**62)
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=30)
FIELDS = st.one_of(st.sampled_from([("n", ""), ("u", "")]), st.tuples(st.just("t"), TEXTS))
TUPLES = st.lists(FIELDS, min_size=1, max_size=6)


def packed_tuple(fields: list[tuple[str, str]]) -> bytes:
    """A row as pgoutput writes it."""
    made = struct.pack("!H", len(fields))
    for kind, text in fields:
        made += kind.encode()
        if kind == "t":
            made += struct.pack("!I", len(text.encode())) + text.encode()
    return made


def packed_row(kind: str, oid: int, new: list[tuple[str, str]], old: tuple[str, list[tuple[str, str]]] | None) -> bytes:
    """An insert or an update; `old` is the letter and the row of what was before."""
    before = b"" if old is None else old[0].encode() + packed_tuple(old[1])
    return kind.encode() + struct.pack("!I", oid) + before + b"N" + packed_tuple(new)


def packed_relation(oid: int, schema: str, name: str, columns: list[str]) -> bytes:
    """What a table looks like."""
    made = b"R" + struct.pack("!I", oid) + schema.encode() + b"\0" + name.encode() + b"\0d"
    made += struct.pack("!H", len(columns))
    for column in columns:
        made += b"\1" + column.encode() + b"\0" + struct.pack("!Ii", 25, -1)
    return made


def packed_begin(commit: int, at: int, xid: int) -> bytes:
    """The beginning of a transaction."""
    return struct.pack("!cQqI", b"B", commit, at, xid)


@given(LSNS, TIMES, OIDS)
@settings(max_examples=examples(50))
def test_a_begin_comes_out_as_it_went_in(commit: int, at: int, xid: int) -> None:
    assert message(packed_begin(commit, at, xid), {}) == Begin(commit, xid)


@given(LSNS, LSNS, TIMES)
@settings(max_examples=examples(50))
def test_a_commit_comes_out_as_it_went_in(commit: int, end: int, at: int) -> None:
    assert message(struct.pack("!cBQQq", b"C", 0, commit, end, at), {}) == Commit(commit, end)


@given(OIDS, NAMES, NAMES, st.lists(NAMES, max_size=5))
@settings(max_examples=examples(100))
def test_a_relation_comes_out_as_it_went_in(oid: int, schema: str, name: str, columns: list[str]) -> None:
    found = message(packed_relation(oid, schema, name, columns), {})
    assert found == Relation(oid, schema or "pg_catalog", name, tuple(columns))


def expected(new: tuple[str, str], old: tuple[str, str] | None) -> tuple[str | None, bool]:
    """The key that a row has, and whether there is one that cannot be known."""
    if new[0] == "u" and old is not None and old[0] == "t":
        new = old
    return (new[1] if new[0] == "t" else None), new[0] == "u"


@given(st.data(), OIDS, TUPLES)
@settings(max_examples=examples(200))
def test_the_key_of_a_row_is_found_wherever_it_is(data: st.DataObject, oid: int, new: list[tuple[str, str]]) -> None:
    place = data.draw(st.integers(0, len(new) - 1))
    letter = data.draw(st.sampled_from(["I", "U"]))
    old = None
    if letter == "U" and data.draw(st.booleans()):
        fields = data.draw(st.lists(FIELDS, min_size=len(new), max_size=len(new)))
        old = (data.draw(st.sampled_from(["K", "O"])), fields)
    made = packed_row(letter, oid, new, old)
    whole = message(memoryview(made), {oid: place})
    assert whole == Row(oid, *expected(new[place], None if old is None else old[1][place]))
    assert message(made, {oid + 1: place}) == Row(oid, None, unknown=False)


def test_a_key_too_long_to_be_repeated_is_taken_from_the_old_row() -> None:
    made = packed_row("U", 7, [("u", ""), ("t", "x")], ("K", [("t", "long"), ("n", "")]))
    assert message(made, {7: 0}) == Row(7, "long", unknown=False)


def test_a_key_that_is_no_text_is_unknown() -> None:
    made = b"I" + struct.pack("!I", 7) + b"N" + struct.pack("!H", 1) + b"t" + struct.pack("!I", 1) + b"\xff"
    assert message(made, {7: 0}) == Row(7, None, unknown=True)


@pytest.mark.parametrize("kind", ["D", "T", "Y", "O", "M"])
def test_what_says_nothing_of_a_row_that_is_there_is_stepped_over(kind: str) -> None:
    assert message(kind.encode() + b"whatever", {}) == Skipped(kind)


@given(st.data(), TUPLES)
@settings(max_examples=examples(200))
def test_a_message_that_is_cut_short_or_goes_on_is_an_error(data: st.DataObject, new: list[tuple[str, str]]) -> None:
    whole = data.draw(
        st.sampled_from(
            [
                packed_row("I", 7, new, None),
                packed_row("U", 7, new, ("O", new)),
                packed_relation(7, "public", "leads", ["id"]),
                packed_begin(1, 2, 3),
                struct.pack("!cBQQq", b"C", 0, 1, 2, 3),
            ]
        )
    )
    with pytest.raises(ProtocolError):
        message(whole[: data.draw(st.integers(0, len(whole) - 1))], {7: 0})
    with pytest.raises(ProtocolError):
        message(whole + b"n", {7: 0})


@given(st.binary(max_size=200), st.integers(0, 3))
@settings(max_examples=examples(500))
def test_nonsense_is_an_error_or_a_message_and_never_anything_else(data: bytes, place: int) -> None:
    keys = {int.from_bytes(data[1:5], "big"): place}
    for decode in (lambda: message(data, keys), lambda: frame_kind(data), lambda: keepalive(data)):
        with contextlib.suppress(ProtocolError):
            decode()


def test_a_length_beyond_the_message_is_an_error_at_once() -> None:
    made = b"I" + struct.pack("!I", 7) + b"N" + struct.pack("!H", 1) + b"t" + struct.pack("!I", 2**32 - 1) + b"x"
    with pytest.raises(ProtocolError, match="beyond the end"):
        message(made, {7: 0})


def test_a_row_with_fewer_columns_than_its_table_is_an_error() -> None:
    with pytest.raises(ProtocolError, match="no column 3"):
        message(packed_row("I", 7, [("t", "1")], None), {7: 2})


# -- frames ----------------------------------------------------------------------------------------------------


@given(LSNS, TIMES, st.booleans())
@settings(max_examples=examples(50))
def test_a_keepalive_comes_out_as_it_went_in(end: int, at: int, asks: bool) -> None:  # noqa: FBT001  # drawn by name
    frame = struct.pack("!cQqB", b"k", end, at, asks)
    assert frame_kind(frame) == "k"
    assert keepalive(frame) == Keepalive(end, asks)


def test_the_message_begins_behind_the_header_of_its_frame() -> None:
    frame = struct.pack("!cQQq", b"w", 1, 2, 3) + packed_begin(1, 2, 3)
    assert frame_kind(frame) == "w"
    assert message(memoryview(frame)[WAL_HEADER:], {}) == Begin(1, 3)


@given(st.integers(0, 2**63), st.integers(0, 2**63), st.booleans())
@settings(max_examples=examples(50))
def test_a_status_update_says_what_was_received_and_what_is_done_with(
    written: int,
    flushed: int,
    ask: bool,  # noqa: FBT001  # drawn by name
) -> None:
    frame = status_update(written, flushed, 946_684_801.5, ask=ask)
    assert struct.unpack("!cQQQqB", frame) == (b"r", written, flushed, flushed, 1_500_000, ask)


@given(LSNS)
@settings(max_examples=examples(100))
def test_a_position_is_written_and_read_as_postgres_does(lsn: int) -> None:
    assert lsn_of(lsn_text(lsn)) == lsn
    assert lsn_of(f"{lsn >> 32:08X}/{lsn & 0xFFFFFFFF:08x}") == lsn


@pytest.mark.parametrize(
    "text", ["", "/", "0", "1/", "/1", "x/1", "1/1/1", "123456789/1", "-1/1", "2026-01-01 00:00+00"]
)
def test_what_is_no_position_is_an_error(text: str) -> None:
    with pytest.raises(ValueError):
        lsn_of(text)
