"""What verification and operators need."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    # ALTER TABLE heeds no schema_translate_map.
    schema = None if op.get_bind().dialect.name == "sqlite" else "syncd"
    for table, column in (
        ("sync", sa.Column("paused_at", sa.Double(), nullable=True)),
        ("sync", sa.Column("pause_reason", sa.Text(), nullable=True)),
        ("sync", sa.Column("resumed_at", sa.Double(), nullable=True)),
        ("call", sa.Column("fresh", sa.Integer(), server_default="0", nullable=False)),
        ("call", sa.Column("prints", sa.LargeBinary(), nullable=True)),
        ("call", sa.Column("marker", sa.Text(), nullable=True)),
        ("call", sa.Column("found", sa.Integer(), server_default="0", nullable=False)),
        ("call", sa.Column("checks", sa.Integer(), server_default="0", nullable=False)),
        ("call", sa.Column("checked_at", sa.Double(), nullable=True)),
        ("call", sa.Column("resolved_by", sa.Text(), nullable=True)),
        ("lead", sa.Column("absent_at", sa.Double(), nullable=True)),
    ):
        op.add_column(table, column, schema=schema)
    op.create_table(
        "act",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("leads", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        schema=schema,
    )
