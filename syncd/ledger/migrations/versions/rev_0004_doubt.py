"""Until when a call without an answer may be at work, and what was delivered before the call under way."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    # ALTER TABLE heeds no schema_translate_map.
    schema = None if op.get_bind().dialect.name == "sqlite" else "syncd"
    op.add_column("call", sa.Column("left_at", sa.Double(), nullable=True), schema=schema)
    op.add_column("lead", sa.Column("fingerprint_before", sa.LargeBinary(), nullable=True), schema=schema)
    condition = sa.text("left_at IS NOT NULL")
    op.create_index("call_left", "call", ["left_at"], schema=schema, postgresql_where=condition, sqlite_where=condition)
    # Nothing is known of those that are without an outcome now, but that they are not to be sent beside.
    call = sa.table("call", sa.column("left_at"), sa.column("ended_at"), sa.column("state"), schema=schema)
    op.execute(call.update().where(call.c.state == "unknown").values(left_at=call.c.ended_at))
