"""Alembic's entry: runs the migrations on the connection that `syncd.ledger.migration` hands over."""

from __future__ import annotations

from alembic import context

from syncd.ledger.schema import SCHEMA, metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    version_table_schema=None if connection.dialect.name == "sqlite" else SCHEMA,
    include_schemas=True,
    transactional_ddl=False,  # the caller has the transaction
)
context.run_migrations()
