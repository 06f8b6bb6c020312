-- capture = "slot": a publication of one table, a replication slot that keeps its changes, and the right to read them.
-- Rendered by `syncd setup`; may be run again at any time, and then mends what is not as it should be.
--
-- Who may run it: the table's owner, who needs CREATE on the database for the publication, and for the slot and the
-- role's REPLICATION a superuser (from PostgreSQL 16, a role with CREATEROLE and REPLICATION may do both). Hosted:
-- Amazon RDS and Aurora have GRANT rds_replication TO the role in place of ALTER ROLE ... REPLICATION (run it first,
-- and this script leaves the role alone); Cloud SQL and Azure let their administrators run ALTER ROLE.
--
-- What it does to the CRM: the publication takes a lock that conflicts with VACUUM and DDL of the table, never with a
-- write. From then on, PostgreSQL refuses an UPDATE of a published table without a replica identity, so this script
-- refuses first where that could come to pass. Two changes of the table would bring it about later: dropping its
-- primary key, and a REPLICA IDENTITY (or another primary key) whose columns the publication's list lacks. From
-- PostgreSQL 15 on, the type of a listed column (the key, and what identifies rows) cannot be altered, nor the column
-- dropped, while it is listed. Remove the sync (`syncd setup NAME --remove`) before such a change, and set it up again
-- after it: a sweep finds what changed meanwhile.
--
-- Once the slot is there, the server keeps WAL until syncd has read it: start syncd soon, set max_slot_wal_keep_size,
-- and remove the slot when syncd is to be gone for good.
--
-- FAILOVER (PostgreSQL 17) is not asked for: it needs settings on the standby as well (sync_replication_slots,
-- synchronized_standby_slots). Without it, a standby that is promoted has no slot: syncd then says so, this script
-- makes a new one, and a sweep of the table finds what was missed.

BEGIN;
SET LOCAL lock_timeout = '5s';
SELECT set_config('syncd.slot_outdated', 'no', false);

-- Whether a slot can serve this table, and does no harm.
DO $syncd$
DECLARE
  leads constant oid := to_regclass({relation_text});
  leads_kind "char";
  bad text;
BEGIN
  IF leads IS NULL THEN
    RAISE EXCEPTION 'there is no table %', {relation_text}
      USING HINT = 'Correct sync.table; a name is written just as Postgres has it, schema first.';
  END IF;
  IF current_setting('wal_level') <> 'logical' THEN
    RAISE EXCEPTION 'wal_level is %, and a slot needs logical', current_setting('wal_level')
      USING HINT = 'Set wal_level = logical and restart the server, or use capture = "listen".';
  END IF;
  IF current_setting('synchronous_standby_names') LIKE '%*%' THEN
    RAISE EXCEPTION 'synchronous_standby_names takes any client for a standby (*), so that commits would wait for syncd'
      USING HINT = 'Name the standbys there, or use capture = "listen".';
  END IF;
  SELECT relkind INTO leads_kind FROM pg_catalog.pg_class WHERE oid = leads;
  IF leads_kind NOT IN ('r', 'p') THEN
    RAISE EXCEPTION '% is not a table, and only tables have changes that a slot sees', {relation_text}
      USING HINT = 'Name the table behind it, or use capture = "poll".';
  END IF;
  SELECT format('%I.%I', n.nspname, c.relname) INTO bad
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE c.oid IN (SELECT leads UNION ALL SELECT relid FROM pg_catalog.pg_partition_tree(leads))
    AND (c.relkind NOT IN ('r', 'p') OR c.relkind = 'r' AND c.relpersistence <> 'p')
  LIMIT 1;
  IF bad IS NOT NULL THEN
    RAISE EXCEPTION '% is unlogged, temporary or foreign, so that its changes are not in the WAL', bad
      USING HINT = 'Use capture = "listen" or "poll".';
  END IF;
  -- What identifies a row: its primary key or, where the owner said so, another index or the whole row. New partitions
  -- have the primary key of their table, and nothing else by themselves.
  SELECT format('%I.%I', n.nspname, c.relname) INTO bad
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE c.oid IN (SELECT leads UNION ALL SELECT relid FROM pg_catalog.pg_partition_tree(leads))
    AND NOT EXISTS (
      SELECT FROM pg_catalog.pg_index i
      WHERE i.indrelid = c.oid AND i.indisvalid AND i.indimmediate
        AND (c.relkind = 'p' OR c.relreplident = 'd') AND i.indisprimary
    )
    AND NOT (
      c.relkind = 'r' AND (
        c.relreplident = 'f'
        OR c.relreplident = 'i' AND EXISTS (
          SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisreplident
        )
      )
    )
  LIMIT 1;
  IF bad IS NOT NULL THEN
    RAISE EXCEPTION '% has no replica identity (a primary key), so that its publication would make UPDATE fail', bad
      USING HINT = 'Give it a primary key, or use capture = "listen".';
  END IF;
  IF NOT EXISTS (
    SELECT FROM pg_catalog.pg_attribute
    WHERE attrelid = leads AND attname = {key_text} AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
  ) THEN
    RAISE EXCEPTION '% has no column % that is stored as written', {relation_text}, {key_text}
      USING HINT = 'Correct sync.key; a generated column is not published.';
  END IF;
  IF EXISTS (
    SELECT FROM pg_catalog.pg_replication_slots
    WHERE slot_name = {slot_text}
      AND (plugin IS DISTINCT FROM 'pgoutput' OR database IS DISTINCT FROM current_database())
  ) THEN
    RAISE EXCEPTION 'the slot % is there already, of another plugin or database', {slot_text}
      USING HINT = 'Set crm_name, which names slot and publication.';
  END IF;
END
$syncd$;

-- The publication. Without a row filter: its columns would have to be in the replica identity, or UPDATE would fail,
-- and a changed `where` would be a silent gap; syncd asks the table for `where` itself. With a list of columns from
-- PostgreSQL 15 on: the key, and what identifies rows, for without that UPDATE would fail, too.
DO $syncd$
DECLARE
  leads constant oid := to_regclass({relation_text});
  options constant text := 'publish = ''insert, update'', publish_via_partition_root = true';
  published pg_catalog.pg_publication;
  wanted text[];
  listed text[];
  target text;
  fits boolean;
BEGIN
  IF current_setting('server_version_num')::int >= 150000 AND NOT EXISTS (
    -- REPLICA IDENTITY FULL takes no list.
    SELECT FROM pg_catalog.pg_class
    WHERE relreplident = 'f'
      AND oid IN (SELECT leads UNION ALL SELECT relid FROM pg_catalog.pg_partition_tree(leads))
  ) THEN
    SELECT array_agg(DISTINCT name::text ORDER BY name::text) INTO wanted
    FROM (
      SELECT {key_text} AS name
      UNION
      SELECT a.attname::text
      FROM pg_catalog.pg_class c
      JOIN pg_catalog.pg_index i ON i.indrelid = c.oid
        AND CASE c.relreplident WHEN 'i' THEN i.indisreplident OR i.indisprimary ELSE i.indisprimary END
      JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
      WHERE c.oid IN (SELECT leads UNION ALL SELECT relid FROM pg_catalog.pg_partition_tree(leads))
    ) AS identifying;
  END IF;
  target := {relation_text};
  IF wanted IS NOT NULL THEN
    target := target || ' (' || (SELECT string_agg(quote_ident(name), ', ') FROM unnest(wanted) AS name) || ')';
  END IF;

  SELECT * INTO published FROM pg_catalog.pg_publication WHERE pubname = {publication_text};
  IF FOUND AND published.puballtables THEN
    EXECUTE format('DROP PUBLICATION %I', {publication_text});
    published := NULL;
  END IF;
  IF published.oid IS NULL THEN
    EXECUTE format('CREATE PUBLICATION %I FOR TABLE %s WITH (%s)', {publication_text}, target, options);
    -- A slot reads old WAL with the catalogue of that time, in which this publication is not there.
    PERFORM set_config('syncd.slot_outdated', 'yes', false);
    RETURN;
  END IF;

  SELECT count(*) = 1 AND bool_and(prrelid = leads) INTO fits
  FROM pg_catalog.pg_publication_rel WHERE prpubid = published.oid;
  IF fits AND current_setting('server_version_num')::int >= 150000 THEN
    SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_publication_namespace WHERE pnpubid = published.oid) INTO fits;
    IF NOT fits THEN
      RAISE EXCEPTION 'the publication % publishes a whole schema, and is none of syncd''s', {publication_text}
        USING HINT = 'Set crm_name, which names slot and publication.';
    END IF;
    SELECT (SELECT array_agg(a.attname::text ORDER BY a.attname::text)
            FROM pg_catalog.pg_attribute a WHERE a.attrelid = leads AND a.attnum = ANY (r.prattrs)),
           r.prqual IS NULL
    INTO listed, fits
    FROM pg_catalog.pg_publication_rel r WHERE r.prpubid = published.oid;
    fits := fits AND listed IS NOT DISTINCT FROM wanted;
  END IF;
  IF NOT fits THEN
    EXECUTE format('ALTER PUBLICATION %I SET TABLE %s', {publication_text}, target);
  END IF;
  IF NOT (published.pubinsert AND published.pubupdate AND published.pubviaroot)
     OR published.pubdelete OR published.pubtruncate THEN
    EXECUTE format('ALTER PUBLICATION %I SET (%s)', {publication_text}, options);
  END IF;
END
$syncd$;

-- The right to read a slot.
DO $syncd$
BEGIN
  IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {role_text} AND (rolreplication OR rolsuper)) THEN
    RETURN;
  END IF;
  IF EXISTS (
    SELECT FROM pg_catalog.pg_roles
    WHERE rolname = 'rds_replication' AND pg_has_role({role_text}, oid, 'MEMBER')
  ) THEN
    RETURN;
  END IF;
  EXECUTE format('ALTER ROLE %I REPLICATION', {role_text});
END
$syncd$;

COMMIT;

-- A slot from which nothing can be read any more makes room: one that was lost, or is older than the publication.
DO $syncd$
DECLARE
  slot record;
BEGIN
  SELECT active_pid, wal_status INTO slot FROM pg_catalog.pg_replication_slots WHERE slot_name = {slot_text};
  IF NOT FOUND
     OR slot.wal_status IS DISTINCT FROM 'lost' AND current_setting('syncd.slot_outdated', true) IS DISTINCT FROM 'yes'
  THEN
    RETURN;
  END IF;
  IF slot.active_pid IS NOT NULL THEN
    RAISE EXCEPTION 'the slot % has to be made anew, and process % reads it', {slot_text}, slot.active_pid
      USING HINT = 'Stop syncd, remove the setup and run it again.', ERRCODE = '55006';
  END IF;
  PERFORM pg_catalog.pg_drop_replication_slot({slot_text});
END
$syncd$;

-- The slot. It must be made by a transaction that has written nothing, and waits for those that write now to end.
SELECT pg_catalog.pg_create_logical_replication_slot({slot_text}, 'pgoutput')
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_replication_slots WHERE slot_name = {slot_text});

DO $syncd$
BEGIN
  PERFORM set_config('syncd.slot_outdated', '', false);
  RAISE NOTICE 'The server keeps WAL for the slot % from now on: start syncd soon.', {slot_text};
END
$syncd$;
