-- Takes back what slot.sql made for one sync: the slot, with the WAL that it kept, the publication, and the role's
-- REPLICATION where no other slot of syncd's is left. Ends nobody's session: stop syncd first. May be run again.

BEGIN;
SET LOCAL lock_timeout = '5s';

DO $syncd$
DECLARE
  slot record;
BEGIN
  SELECT active_pid, plugin, database INTO slot
  FROM pg_catalog.pg_replication_slots WHERE slot_name = {slot_text};
  IF NOT FOUND THEN
    RETURN;
  END IF;
  IF slot.plugin IS DISTINCT FROM 'pgoutput' OR slot.database IS DISTINCT FROM current_database() THEN
    RAISE NOTICE 'The slot % is of another plugin or database, and stays.', {slot_text};
    RETURN;
  END IF;
  IF slot.active_pid IS NOT NULL THEN
    RAISE EXCEPTION 'the slot % is being read by process %', {slot_text}, slot.active_pid
      USING HINT = 'Stop syncd, or whoever that is, and run this again.', ERRCODE = '55006';
  END IF;
  PERFORM pg_catalog.pg_drop_replication_slot({slot_text});
END
$syncd$;

DROP PUBLICATION IF EXISTS {publication};

DO $syncd$
BEGIN
  IF EXISTS (SELECT FROM pg_catalog.pg_replication_slots WHERE starts_with(slot_name, 'syncd_'))
     OR NOT EXISTS (
       SELECT FROM pg_catalog.pg_roles WHERE rolname = {role_text} AND rolreplication AND NOT rolsuper
     )
  THEN
    RETURN;
  END IF;
  EXECUTE format('ALTER ROLE %I NOREPLICATION', {role_text});
EXCEPTION WHEN insufficient_privilege THEN
  RAISE NOTICE 'The role % keeps REPLICATION, which this user may not take back.', {role_text};
END
$syncd$;

COMMIT;
