"""The ways of capturing, each a kit: whatever the contract promises is tested with all of them."""

from __future__ import annotations

import psycopg
from psycopg import sql

from syncd.capture.listen import ListenSource
from syncd.capture.poll import PollSource
from syncd.capture.slot import SlotSource
from syncd.config.objects import Objects
from syncd.crm import CrmConnection
from tests.capture import listen_kit, slot_kit
from tests.capture.harness import Kit, Leads


def make_poll(url: str, connection: CrmConnection, leads: Leads, objects: Objects) -> PollSource:
    """A source as `assembly` makes it."""
    return PollSource(
        connection,
        ("public", leads.name),
        key=leads.key,
        watermark=leads.mark,
        where=leads.where,
        start=leads.start,
        lookback_secs=leads.lookback_secs,
        about='sync "leads"',
    )


def make_listen(url: str, connection: CrmConnection, leads: Leads, objects: Objects) -> ListenSource:
    """A source with a connection of its own for the outbox."""
    return listen_kit.make(url, connection, leads, objects)


def make_slot(url: str, connection: CrmConnection, leads: Leads, objects: Objects) -> SlotSource:
    """A source with connections of its own."""
    return slot_kit.make(url, leads, objects, watermark=leads.watermarked)


def grant_reading(admin: psycopg.Connection, leads: Leads, objects: Objects) -> None:
    """SELECT on the columns that syncd is told of, which each way needs, and poll nothing else."""
    if leads.role != "postgres":
        admin.execute(
            sql.SQL("GRANT SELECT ({}) ON {} TO {}").format(
                sql.SQL(", ").join(map(sql.Identifier, (leads.key, leads.mark, "note"))),
                leads.identifier,
                sql.Identifier(leads.role),
            )
        )


def install_listen(admin: psycopg.Connection, leads: Leads, objects: Objects) -> None:
    """Outbox and triggers."""
    grant_reading(admin, leads, objects)
    listen_kit.install(admin, leads, objects, leads.role)


def install_slot(admin: psycopg.Connection, leads: Leads, objects: Objects) -> None:
    """Publication and slot."""
    grant_reading(admin, leads, objects)
    slot_kit.install(admin, ("public", leads.name), leads.key, leads.where, objects, leads.role)


def remove_slot(admin: psycopg.Connection, leads: Leads, objects: Objects) -> None:
    """Both of them."""
    slot_kit.remove(admin, ("public", leads.name), leads.key, objects, leads.role)


POLL = Kit("poll", make_poll, install=grant_reading)
LISTEN = Kit("listen", make_listen, install_listen, listen_kit.remove)
SLOT = Kit("slot", make_slot, install_slot, remove_slot)
KITS = {kit.name: kit for kit in (POLL, LISTEN, SLOT)}
