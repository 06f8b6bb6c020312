-- Takes back what poll-grants.sql gave, and removes the role. Stop syncd first.
--
--   psql -d crm -f poll-remove.sql                   (-v role=syncd is the default)
--
-- Where the role was given rights in more than one database, DROP ROLE refuses and names what is left: run
-- DROP OWNED BY there, too. Nothing else of syncd is in the CRM.

\set ON_ERROR_STOP on
\if :{?role}
\else
  \set role syncd
\endif

BEGIN;
DROP OWNED BY :"role";
DROP ROLE :"role";
COMMIT;
