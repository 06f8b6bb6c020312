"""Capture by triggers, for the suite and its own tests: installed as `syncd setup` does it."""

from __future__ import annotations

from typing import Any

import psycopg

from syncd.capture.listen import ListenSource
from syncd.capture.outbox import OutboxConnection
from syncd.config import Sync
from syncd.config.objects import Objects
from syncd.crm import CrmConnection
from syncd.setup import render
from tests.capture.harness import Leads


def script(name: str, leads: Leads, objects: Objects, role: str, **changes: str) -> str:
    """``listen.sql`` or ``listen-remove.sql`` for a table and a role."""
    described: dict[str, Any] = {"name": objects.name, "table": f"public.{leads.name}", "key": leads.key}
    # Unchecked, for names that no configuration may have are a purpose of the tests.
    return render(name, Sync.model_construct(None, **(described | {"crm_name": None} | changes)), role)


def install(admin: psycopg.Connection, leads: Leads, objects: Objects, role: str | None = None) -> None:
    """What `syncd setup` does, for `role`; without one, for the administrator."""
    admin.execute(script("listen.sql", leads, objects, role or admin.info.user))


def remove(admin: psycopg.Connection, leads: Leads, objects: Objects) -> None:
    """What `syncd setup --remove` does."""
    admin.execute(script("listen-remove.sql", leads, objects, admin.info.user))


class AloneSource(ListenSource):
    """A source whose connection to the outboxes nobody shares, and which closes it."""

    def close(self) -> None:
        """Leave the outboxes, too."""
        self._outboxes.close()


def make(url: str, connection: CrmConnection, leads: Leads, objects: Objects) -> AloneSource:
    """A source as `assembly` makes it, with a connection of its own for the outbox."""
    outboxes = OutboxConnection(CrmConnection(url, None, "outbox", 10, writes=True))
    return AloneSource(
        connection,
        outboxes,
        ("public", leads.name),
        key=leads.key,
        watermark=leads.watermark,
        where=leads.where,
        start=leads.start,
        objects=objects,
        about='sync "leads"',
    )
