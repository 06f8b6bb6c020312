"""Capture by a slot, for the suite and its own tests: installed as `syncd setup` does it."""

from __future__ import annotations

from typing import Any

import psycopg

from syncd.capture.slot import SlotSource
from syncd.config import Sync
from syncd.config.objects import Objects
from syncd.crm import CrmConnection
from syncd.setup import render
from tests.capture.harness import Leads
from tests.support.waiting import eventually


def script(name: str, relation: tuple[str, str], key: str, objects: Objects, role: str) -> str:
    """``slot.sql`` or ``slot-remove.sql`` for a table and a role."""
    described: dict[str, Any] = {"name": objects.name, "table": ".".join(relation), "key": key, "capture": "slot"}
    sync = Sync.model_construct(None, **(described | {"crm_name": None}))  # odd names are the tests' purpose
    return render(name, sync, role)


def install(
    admin: psycopg.Connection,
    relation: tuple[str, str],
    key: str,
    where: str | None,
    objects: Objects,
    role: str = "postgres",
) -> None:
    """What `syncd setup` does, beside the rights to read the table; `where` is in none of it."""
    admin.execute(script("slot.sql", relation, key, objects, role).encode())


def remove(
    admin: psycopg.Connection, relation: tuple[str, str], key: str, objects: Objects, role: str = "postgres"
) -> None:
    """What `syncd setup --remove` does, once the server has noticed that syncd has left."""
    eventually(lambda: not is_active(admin, objects), "the slot is free")
    admin.execute(script("slot-remove.sql", relation, key, objects, role).encode())


def is_active(admin: psycopg.Connection, objects: Objects) -> bool:
    """Whether somebody reads the slot."""
    row = admin.execute("SELECT active FROM pg_replication_slots WHERE slot_name = %s", [objects.slot]).fetchone()
    return row is not None and bool(row[0])


def make(
    url: str,
    leads: Leads,
    objects: Objects,
    *,
    schema: str = "public",
    poll_secs: float = 5.0,
    watermark: bool = True,
) -> SlotSource:
    """A source over a table, with connections of its own."""
    return SlotSource(
        CrmConnection(url, None, "capture", 10),
        CrmConnection(url, None, "slot", 10, replication=True),
        (schema, leads.name),
        key=leads.key,
        watermark=leads.mark if watermark else None,
        where=leads.where,
        start=leads.start,
        objects=objects,
        about='sync "leads"',
        poll_secs=poll_secs,
    )
