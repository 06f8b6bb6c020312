-- What syncd may do in the CRM with capture = "poll": read some columns of one table, and nothing else.
--
-- A script for psql, run by whoever may create roles and owns the table (or a superuser). It may be run again, for
-- another table or for more columns:
--
--   psql -d crm -v table=leads -v columns='id, updated_at, consent, status, full_name, mobile' -f poll-grants.sql
--
--   columns   the key, the watermark_column, every column that `where` mentions, and every column that the fields
--             name (in templates and as region_column, too); written as in SQL
--   table     the table or view
--   schema    its schema                                    (default: public)
--   role      the role that syncd logs in as                (default: syncd)
--   limit     connections that the role may have at once    (default: 4)
--
-- The role has no password afterwards: give it one with psql's \password, or let pg_hba.conf say how it logs in.

\set ON_ERROR_STOP on
\if :{?role}
\else
  \set role syncd
\endif
\if :{?schema}
\else
  \set schema public
\endif
\if :{?limit}
\else
  \set limit 4
\endif
\if :{?table}
\else
  DO $$ BEGIN RAISE EXCEPTION 'Say which table: -v table=leads'; END $$;
\endif
\if :{?columns}
\else
  DO $$ BEGIN RAISE EXCEPTION 'Say which columns: -v columns=''id, updated_at, mobile'''; END $$;
\endif

BEGIN;

-- The role, if it is not there yet: it may log in, and nothing else.
SELECT format('CREATE ROLE %I LOGIN', :'role')
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = :'role')
\gexec

GRANT CONNECT ON DATABASE :"DBNAME" TO :"role";
GRANT USAGE ON SCHEMA :"schema" TO :"role";
GRANT SELECT (:columns) ON TABLE :"schema".:"table" TO :"role";

-- syncd sets the first three for itself, in every connection; here they hold for anybody else who has its password.
ALTER ROLE :"role" IN DATABASE :"DBNAME" SET default_transaction_read_only = on;
ALTER ROLE :"role" IN DATABASE :"DBNAME" SET statement_timeout = '30s';
ALTER ROLE :"role" IN DATABASE :"DBNAME" SET lock_timeout = '5s';
ALTER ROLE :"role" IN DATABASE :"DBNAME" SET idle_in_transaction_session_timeout = '60s';

-- Two for the daemon, and two for commands such as `syncd check`.
ALTER ROLE :"role" CONNECTION LIMIT :limit;

COMMIT;
