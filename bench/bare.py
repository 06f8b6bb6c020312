"""The least that could do what syncd's capture does, without a ledger: what the figures of latency and of capture are
held against.

As a program (`python -m bench.bare listen|slot CRM ADDRESS [SLOT PUBLICATION]`) it posts each new row by itself, with
`requests`, until it is ended. The functions below it drain what waits, as fast as they can.
"""

from __future__ import annotations

import json
import select
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import closing

import psycopg
import requests
from psycopg import pq, sql

from bench.floor import HEADERS
from bench.leads import body_query
from syncd.record import PREDICTIVE_FIELDS

CHANNEL = "bare"
TRIGGER = f"""
CREATE FUNCTION public.bare() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN PERFORM pg_notify('{CHANNEL}', NEW.id::text); RETURN NULL; END$$;
CREATE TRIGGER bare AFTER INSERT ON public.leads FOR EACH ROW EXECUTE FUNCTION public.bare();
"""
PUBLICATION = "CREATE PUBLICATION bare FOR TABLE public.leads WITH (publish = 'insert')"
READY = "ready"
_HEADERS = dict(header.split(": ", 1) for header in HEADERS)
_XLOG_HEADER = 25
_WAL, _INSERT, _UPDATE, _COMMIT, _TEXT = b"wIUCt"
"""The letters of frames, messages and columns that matter here, as the manual has them."""
_COLUMNS = ("customer_id", "customer_name", "tel1", "email")
"""The fields that the columns after the id give, as they are."""


def listen(crm: str, address: str) -> None:
    """LISTEN; for each notification fetch the row, already mapped, and post it."""
    with psycopg.connect(crm, autocommit=True) as hears, psycopg.connect(crm, autocommit=True) as reads:
        hears.execute(f"LISTEN {CHANNEL}".encode())
        print(READY, flush=True)
        for notify in hears.notifies():
            number = int(notify.payload)
            row = reads.execute(f"SELECT ({body_query(number - 1, number)})::text".encode()).fetchone()
            assert row is not None
            _post(address, row[0])


def slot(crm: str, address: str, name: str, publication: str) -> None:
    """Follow a slot; post each insert, with the first columns as they are."""
    with closing(psycopg.connect(crm, autocommit=True, replication="database")) as connection:
        for message, end in stream(connection, name, publication, ready=True):
            if message[0] == _INSERT:
                values = _texts(message)
                record = dict.fromkeys(PREDICTIVE_FIELDS, "") | dict(zip(_COLUMNS, values[1:], strict=False))
                _post(address, json.dumps([record]))
            elif message[0] == _COMMIT:
                confirm(connection, end)


def stream(
    connection: psycopg.Connection[tuple[object, ...]], name: str, publication: str, *, ready: bool = False
) -> Iterator[tuple[memoryview, int]]:
    """The messages of pgoutput with their positions, as they come; never ends.

    Args:
        ready: whether to print `READY` once it runs.
    """
    options = f"(proto_version '2', publication_names '{publication}')"
    begun = connection.pgconn.exec_(f"START_REPLICATION SLOT {name} LOGICAL 0/0 {options}".encode())
    assert begun.status == pq.ExecStatus.COPY_BOTH, begun.error_message
    if ready:
        print(READY, flush=True)
    wire = connection.pgconn
    while True:
        length, frame = wire.get_copy_data(1)
        if length > 0 and frame[0] == _WAL:
            yield frame[_XLOG_HEADER:], struct.unpack_from("!Q", frame, 9)[0]
        elif length > 0 and frame[17]:
            confirm(connection, struct.unpack_from("!Q", frame, 1)[0])
        elif length == 0:
            select.select([wire.socket], [], [])
            wire.consume_input()
        elif length < 0:
            raise ConnectionError(wire.error_message)


def confirm(connection: psycopg.Connection[tuple[object, ...]], position: int) -> None:
    """Tell the server how far we are."""
    micros = int((time.time() - 946_684_800) * 1e6)
    connection.pgconn.put_copy_data(struct.pack("!cQQQqB", b"r", position, position, position, micros, 0))
    connection.pgconn.flush()


def drain_slot(crm: str, name: str, publication: str, rows: int) -> float:
    """Seconds to decode so many inserted and updated rows from a slot, keeping nothing but each row's first column."""
    began = time.monotonic()
    with closing(psycopg.connect(crm, autocommit=True, replication="database")) as connection:
        keys = 0
        for message, end in stream(connection, name, publication):
            if message[0] in (_INSERT, _UPDATE):
                keys += bool(_texts(message)[0])
            elif message[0] == _COMMIT:
                confirm(connection, end)
                if keys >= rows:
                    break
    return time.monotonic() - began


def drain_outbox(crm: str, outbox: sql.Identifier, keys: int, page: int = 10_000) -> float:
    """Seconds to SELECT and DELETE an outbox's rows, pages of so many keys, until it is empty.

    Returns:
        Seconds; `keys` is what must have come.
    """
    select_page = sql.SQL(
        "SELECT id, keys FROM (SELECT id, keys, sum(n) OVER (ORDER BY id) - n AS before FROM"
        " (SELECT id, n, keys FROM {} ORDER BY id LIMIT {}) AS first) AS page WHERE before < {}"
    ).format(outbox, page, page)
    delete = sql.SQL("DELETE FROM {} WHERE id = ANY(%s)").format(outbox)
    began, come = time.monotonic(), 0
    with psycopg.connect(crm, autocommit=True) as connection:
        while rows := connection.execute(select_page).fetchall():
            come += sum(len(row[1]) for row in rows)
            connection.execute(delete, ([row[0] for row in rows],))
    assert come == keys, (come, keys)
    return time.monotonic() - began


def drain_table(crm: str, since: str, rows: int, page: int = 10_000) -> float:
    """Seconds to read key and watermark of all rows since an instant, in pages by (watermark, key)."""
    began, come, at = time.monotonic(), 0, (since, "0")
    query = (
        "SELECT id::text, updated_at::text FROM public.leads WHERE (updated_at, id) > (%s::timestamptz, %s::bigint)"
        f" ORDER BY leads.updated_at, leads.id LIMIT {page}"
    ).encode()
    with psycopg.connect(crm, autocommit=True) as connection:
        while found := connection.execute(query, at).fetchall():
            come += len(found)
            at = (found[-1][1], found[-1][0])
    assert come == rows, (come, rows)
    return time.monotonic() - began


def _texts(message: memoryview) -> list[str | None]:
    """The columns of an insert, or of an update that has no old row."""
    count = struct.unpack_from("!H", message, 6)[0]
    at, values = 8, []
    for _ in range(count):
        kind, value = message[at], None
        at += 1
        if kind == _TEXT:
            size = struct.unpack_from("!I", message, at)[0]
            value = str(message[at + 4 : at + 4 + size], "utf-8")
            at += 4 + size
        values.append(value)
    return values


def _post(address: str, body: str) -> None:
    requests.post(address, data=body.encode(), headers=_HEADERS, timeout=60).raise_for_status()


if __name__ == "__main__":
    if sys.argv[1] == "listen":
        listen(*sys.argv[2:])
    else:
        slot(*sys.argv[2:])
