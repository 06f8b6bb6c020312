"""Who was called by what, of each call; before, a lead remembered the last of it alone."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_MANY = 10_000


def upgrade() -> None:
    # ALTER TABLE heeds no schema_translate_map.
    schema = None if op.get_bind().dialect.name == "sqlite" else "syncd"
    op.create_table(
        "called",
        sa.Column("lead_id", sa.BigInteger(), nullable=False),
        sa.Column("call_n", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("hash", sa.BigInteger(), nullable=False),
        sa.Column("sync_id", sa.Integer(), nullable=False),
        sa.Column("called_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("lead_id", "call_n", "kind", "hash"),
        schema=schema,
        sqlite_with_rowid=False,
    )
    op.create_index("called_hash", "called", ["hash"], schema=schema)
    op.create_index("called_at", "called", ["called_at"], schema=schema)
    op.add_column("lead", sa.Column("twin_id", sa.BigInteger(), nullable=True), schema=schema)
    _add_campaigns(schema)
    _carry_over(schema)
    op.drop_index("lead_person", "lead", schema=schema)
    op.drop_column("lead", "person", schema=schema)
    condition = sa.text("twin_id IS NOT NULL")
    op.create_index("lead_twin", "lead", ["twin_id"], schema=schema, postgresql_where=condition, sqlite_where=condition)


def _add_campaigns(schema: str | None) -> None:
    """Where each pending lead goes, for syncs with several campaigns; no lead has one yet."""
    op.add_column("lead", sa.Column("campaign_id", sa.Text(), nullable=True), schema=schema)
    columns, condition = (
        ["sync_id", "campaign_id", "rank", "captured_at", "id"],
        "state = 'pending' AND campaign_id IS NOT NULL",
    )
    op.create_index(
        "lead_routed",
        "lead",
        columns,
        schema=schema,
        postgresql_where=sa.text(condition),
        sqlite_where=sa.text(condition),
    )


def _carry_over(schema: str | None) -> None:
    """Whom the leads remember, and whose duplicates they are."""
    lead = sa.table("lead", *map(sa.column, ("id", "sync_id", "state", "call_n", "person", "twin_id")), schema=schema)
    history = sa.table("history", *map(sa.column, ("lead_id", "left_state", "call_n", "cause")), schema=schema)
    call = sa.table("call", sa.column("n"), sa.column("started_at"), schema=schema)
    called = sa.table(
        "called", *map(sa.column, ("lead_id", "call_n", "kind", "hash", "sync_id", "called_at")), schema=schema
    )
    # What a duplicate remembers is not its own.
    own = sa.and_(lead.c.person.is_not(None), lead.c.state != "duplicate")
    columns = (lead.c.id, lead.c.sync_id, lead.c.person, call.c.n, call.c.started_at)
    now = (
        sa.select(*columns)
        .join_from(lead, call, call.c.n == lead.c.call_n)
        .where(own, lead.c.state.in_(("sending", "held", "delivered")))
    )
    delivered = sa.or_(history.c.left_state == "delivered", history.c.cause.like("delivered,%"))
    before = (
        sa.select(*columns)
        .join_from(lead, history, history.c.lead_id == lead.c.id)
        .join(call, call.c.n == history.c.call_n)
        .where(own, delivered)
    )
    connection = op.get_bind()
    found = connection.execute(now.union(before))
    while rows := found.fetchmany(_MANY):
        values = [
            {
                "lead_id": lead_id,
                "call_n": number,
                "kind": "",  # the ledger does not say by which field
                "hash": int.from_bytes(person[:8], "big", signed=True),
                "sync_id": sync_id,
                "called_at": started_at,
            }
            for lead_id, sync_id, person, number, started_at in rows
        ]
        connection.execute(called.insert(), values)
    twin = lead.alias("twin")
    first = (
        sa.select(sa.func.min(twin.c.id))
        .where(twin.c.sync_id == lead.c.sync_id, twin.c.person == lead.c.person)
        .where(twin.c.state.in_(("sending", "held")))
    )
    op.execute(
        lead.update()
        .where(lead.c.state == "duplicate", lead.c.person.is_not(None))
        .values(twin_id=first.scalar_subquery())
    )
