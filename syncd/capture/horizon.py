"""How far back a late commit can reach: since when the oldest open transaction has been open."""

from __future__ import annotations

from psycopg import sql

HORIZON = sql.SQL(
    """
    SELECT CASE WHEN pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')
                 AND NOT pg_is_in_recovery()  -- a replica does not know what is open on its primary
                 AND NOT EXISTS (SELECT FROM pg_catalog.pg_prepared_xacts WHERE database = current_database())
                 AND coalesce(bool_and(state <> 'disabled' OR backend_type <> 'client backend'), true)
           THEN least(min(xact_start), statement_timestamp()) END
    FROM pg_catalog.pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
    """
)
"""Since when the oldest transaction that is open here has been; NULL where this role cannot tell. With a transaction
that is prepared for a two-phase commit, nobody can: Postgres forgets when it began."""
