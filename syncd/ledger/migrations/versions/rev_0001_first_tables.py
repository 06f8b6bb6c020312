"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "history",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("lead_id", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("left_state", sa.Text(), nullable=False),
        sa.Column("captured_at", sa.Double(), nullable=False),
        sa.Column("settled_at", sa.Double(), nullable=True),
        sa.Column("call_n", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        schema="syncd",
    )
    op.create_index("history_lead", "history", ["lead_id"], unique=False, schema="syncd")
    op.create_table(
        "lead",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("sync_id", sa.Integer(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("changed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("captured_at", sa.Double(), nullable=False),
        sa.Column("settled_at", sa.Double(), nullable=True),
        sa.Column("call_n", sa.BigInteger(), nullable=True),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=True),
        sa.Column("person", sa.LargeBinary(), nullable=True),
        sa.Column("field", sa.Text(), nullable=True),
        sa.Column("rule", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "CASE state WHEN 'pending' THEN settled_at IS NULL AND changed = 0 WHEN 'delivered' THEN settled_at IS NOT NULL AND call_n IS NOT NULL AND changed = 0 WHEN 'sending' THEN settled_at IS NULL AND call_n IS NOT NULL WHEN 'held' THEN settled_at IS NULL AND call_n IS NOT NULL WHEN 'rejected' THEN settled_at IS NOT NULL AND reason IS NOT NULL AND changed = 0 WHEN 'withdrawn' THEN settled_at IS NOT NULL AND changed = 0 WHEN 'expired' THEN settled_at IS NOT NULL AND changed = 0 WHEN 'duplicate' THEN settled_at IS NOT NULL AND changed = 0 WHEN 'unchanged' THEN settled_at IS NOT NULL AND changed = 0 ELSE 1 = 0 END",
            name="lead_state_ties_its_columns",
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("sync_id", "key", name="lead_key"),
        schema="syncd",
    )
    op.create_index(
        "lead_in_flight",
        "lead",
        ["call_n"],
        unique=False,
        schema="syncd",
        postgresql_where=sa.text("state IN ('sending', 'held')"),
        sqlite_where=sa.text("state IN ('sending', 'held')"),
    )
    op.create_index(
        "lead_pending",
        "lead",
        ["sync_id", "captured_at", "id"],
        unique=False,
        schema="syncd",
        postgresql_where=sa.text("state = 'pending'"),
        sqlite_where=sa.text("state = 'pending'"),
    )
    op.create_index(
        "lead_person",
        "lead",
        ["sync_id", "person"],
        unique=False,
        schema="syncd",
        postgresql_where=sa.text("person IS NOT NULL"),
        sqlite_where=sa.text("person IS NOT NULL"),
    )
    op.create_index(
        "lead_rejected",
        "lead",
        ["sync_id", "id"],
        unique=False,
        schema="syncd",
        postgresql_where=sa.text("state = 'rejected'"),
        sqlite_where=sa.text("state = 'rejected'"),
    )
    op.create_table(
        "lease",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("term", sa.BigInteger(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.CheckConstraint("id = 1", name="lease_is_one"),
        sa.PrimaryKeyConstraint("id"),
        schema="syncd",
    )
    op.create_table(
        "meta",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        schema="syncd",
    )
    op.create_table(
        "sync",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("start", sa.Text(), nullable=True),
        sa.Column("watermark", sa.Text(), nullable=True),
        sa.Column("seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
        schema="syncd",
    )
    op.create_table(
        "call",
        sa.Column("n", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("sync_id", sa.Integer(), nullable=True),
        sa.Column("campaign_id", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("term", sa.BigInteger(), nullable=False),
        sa.Column("quota_day", sa.Text(), nullable=False),
        sa.Column("leads", sa.Integer(), nullable=False),
        sa.Column("body_hash", sa.LargeBinary(), nullable=True),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("deadline_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("http_status", sa.Integer(), nullable=True),
        sa.Column("verdict", sa.Text(), nullable=True),
        sa.Column("sentence", sa.Text(), nullable=True),
        sa.CheckConstraint("(kind = 'add_record') = (leads > 0)", name="call_carries_leads"),
        sa.CheckConstraint("(state = 'intended') = (ended_at IS NULL)", name="call_ended_with_an_outcome"),
        sa.CheckConstraint(
            "state IN ('intended', 'accepted', 'accepted_in_part', 'refused', 'not_sent', 'unknown')",
            name="call_state_known",
        ),
        sa.ForeignKeyConstraint(
            ["sync_id"],
            ["syncd.sync.id"],
        ),
        sa.PrimaryKeyConstraint("n"),
        sa.UniqueConstraint("id"),
        schema="syncd",
    )
    op.create_index(
        "call_open",
        "call",
        ["n"],
        unique=False,
        schema="syncd",
        postgresql_where=sa.text("state IN ('intended', 'unknown')"),
        sqlite_where=sa.text("state IN ('intended', 'unknown')"),
    )
    op.create_index("call_quota_day", "call", ["quota_day"], unique=False, schema="syncd")
    op.create_table(
        "tally",
        sa.Column("sync_id", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("leads", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("leads >= 0", name="tally_not_negative"),
        sa.ForeignKeyConstraint(
            ["sync_id"],
            ["syncd.sync.id"],
        ),
        sa.PrimaryKeyConstraint("sync_id", "state"),
        schema="syncd",
    )
