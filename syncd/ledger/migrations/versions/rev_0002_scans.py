"""Where a scan of the table is, which source a watermark belongs to, and which leads go first."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    # ALTER TABLE heeds no schema_translate_map.
    schema = None if op.get_bind().dialect.name == "sqlite" else "syncd"
    for column in (
        sa.Column("identity", sa.Text(), nullable=True),
        sa.Column("gap", sa.Text(), nullable=True),
        sa.Column("existing", sa.Text(), nullable=True),
        sa.Column("scanned_to", sa.Text(), nullable=True),
        sa.Column("scanned", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("scan_estimate", sa.BigInteger(), nullable=True),
    ):
        op.add_column("sync", column, schema=schema)
    op.create_table(
        "noted",
        sa.Column("sync_id", sa.Integer(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("sync_id", "key"),
        schema=schema,
    )
    op.add_column("lead", sa.Column("rank", sa.Integer(), server_default="0", nullable=False), schema=schema)
    op.drop_index("lead_pending", "lead", schema=schema)
    op.create_index(
        "lead_pending",
        "lead",
        ["sync_id", "rank", "captured_at", "id"],
        unique=False,
        schema=schema,
        postgresql_where=sa.text("state = 'pending'"),
        sqlite_where=sa.text("state = 'pending'"),
    )
