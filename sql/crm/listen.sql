-- Capture by triggers: each statement that inserts or updates rows of the table writes their keys, and nothing else of
-- them, into an outbox, which syncd empties. Run it as the owner of the table, or as a superuser, with the right to
-- create a schema. It may be run again at any time: to mend what is missing, after an upgrade of syncd, and to give
-- triggers to partitions that came since. It happens as a whole or not at all. Where a long transaction holds the
-- table, it gives up after five seconds, so that writers do not queue up behind it: try again later.
BEGIN;
SET LOCAL lock_timeout = '5s';
SET LOCAL client_min_messages = warning;

CREATE SCHEMA IF NOT EXISTS {outbox_schema};

-- One row for each statement and 10,000 keys. Without keys: something changed that could not be written down.
CREATE TABLE IF NOT EXISTS {outbox} (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    n integer NOT NULL,
    keys text[]
);
ALTER TABLE {outbox} ALTER COLUMN keys SET STORAGE EXTERNAL; -- what is deleted in a second is not worth compressing
-- A queue: always short, and all of it dead soon. Giving the end of the file back would lock writers out meanwhile.
ALTER TABLE {outbox} SET (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 10000,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 10000, vacuum_truncate = off,
    toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 1000, toast.vacuum_truncate = off
);

-- No change of the table can make a write of the CRM fail here: what might be gone is looked for before it is used, and
-- plpgsql looks at a statement only when it comes to it. There is no EXCEPTION block, for that would be a
-- subtransaction for each statement, which costs all readers dearly in a transaction of thousands. The looking asks
-- the server's caches, not the catalogue's tables, which show a REPEATABLE READ transaction what was long ago.
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER -- who writes leads need have no right on the outbox
SET search_path = pg_catalog, pg_temp
SET datestyle = 'ISO' -- a key that is a date is written as syncd reads it
AS $syncd_listen$
#variable_conflict use_column
DECLARE
    key_type regtype;
    written bigint;
BEGIN
    -- The key's type: pg_snapshot, which is nobody's key, where no column has its name any more. A bare name means the
    -- nearest column so called: that of the row, or else that of `missing`.
    SELECT pg_typeof(found.key) INTO key_type
    FROM (SELECT NULL::pg_snapshot AS {key}) AS missing
    CROSS JOIN syncd_new
    CROSS JOIN LATERAL (SELECT {key} AS key FROM (SELECT syncd_new.*) AS it) AS found
    LIMIT 1;
    IF key_type IS NULL THEN
        RETURN NULL; -- the statement touched no row
    END IF;

    -- The outbox may be gone, or this function's owner may have lost it; syncd sees that, and the sweep goes on.
    IF has_schema_privilege(to_regnamespace('{outbox_schema}'), 'USAGE') IS NOT TRUE THEN
        RETURN NULL;
    END IF;
    IF has_table_privilege(to_regclass({outbox_text}), 'INSERT') IS NOT TRUE THEN
        RETURN NULL;
    END IF;

    IF key_type = 'pg_snapshot'::regtype THEN
        INSERT INTO {outbox} (n, keys) VALUES (0, NULL);
        RETURN NULL;
    END IF;
    INSERT INTO {outbox} (n, keys)
    SELECT count(*), array_agg(fresh.key)
    FROM (
        SELECT syncd_new.{key}::text AS key, (row_number() OVER () - 1) / 10000 AS chunk
        FROM syncd_new
        WHERE syncd_new.{key} IS NOT NULL
    ) AS fresh
    GROUP BY fresh.chunk;
    GET DIAGNOSTICS written = ROW_COUNT;

    -- Waking syncd is a courtesy: it looks every few seconds anyway. So none where it could make the commit fail: a
    -- queue that somebody else's idle listener has filled, or PREPARE TRANSACTION, which forbids NOTIFY. And only
    -- one in each twentieth of a second: those who notify commit one after the other, each with a flush of its own
    -- (PostgreSQL holds a lock of the whole server meanwhile), and sixteen writers would come down to the pace of one.
    -- Whom syncd then does not see at once, it sees a moment later: after each find it looks again.
    IF written > 0
        AND current_setting('max_prepared_transactions')::integer = 0
        AND pg_notification_queue_usage() < 0.5
    THEN
        IF pg_try_advisory_xact_lock(
            hashtext({outbox_text}), (floor(extract(epoch FROM clock_timestamp()) * 20)::bigint % 1000000000)::integer
        ) THEN
            PERFORM pg_notify({channel_text}, ''); -- Postgres joins those of one transaction
        END IF;
    END IF;
    RETURN NULL;
END
$syncd_listen$;
-- Firing takes no right to execute; making a trigger of it on another table does.
REVOKE ALL ON FUNCTION {function}() FROM PUBLIC;
-- It writes with its owner's rights.
ALTER FUNCTION {function}() OWNER TO CURRENT_USER;
GRANT USAGE ON SCHEMA {outbox_schema} TO CURRENT_USER;
GRANT INSERT ON TABLE {outbox} TO CURRENT_USER;

REVOKE ALL ON SCHEMA {outbox_schema} FROM PUBLIC;
REVOKE ALL ON TABLE {outbox} FROM PUBLIC;
GRANT USAGE ON SCHEMA {outbox_schema} TO {role};
GRANT SELECT, DELETE ON TABLE {outbox} TO {role};

DO $syncd_listen$
DECLARE
    place record;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_class
                   WHERE oid = pg_catalog.to_regclass({relation_text}) AND relkind IN ('r', 'p')) THEN
        RAISE EXCEPTION 'There is no table %; a view can have no such triggers.', {relation_text}
            USING ERRCODE = 'wrong_object_type';
    END IF;
    BEGIN
        LOCK TABLE {relation} IN SHARE ROW EXCLUSIVE MODE; -- with its partitions and children
    EXCEPTION WHEN lock_not_available THEN
        RAISE EXCEPTION 'A transaction has held % for five seconds; nothing was installed.', {relation_text}
            USING ERRCODE = 'lock_not_available', HINT = 'Try again when no long transaction writes into it.';
    END;

    -- Triggers of an earlier installation on tables that are not, or no longer, the sync's.
    FOR place IN
        WITH RECURSIVE tree (oid) AS (
            SELECT pg_catalog.to_regclass({relation_text})::oid
            UNION
            SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN tree ON i.inhparent = tree.oid
        )
        SELECT t.tgname, t.tgrelid::regclass AS relation
        FROM pg_catalog.pg_trigger t
        WHERE t.tgfoid = pg_catalog.to_regprocedure({outbox_text} || '()')
          AND (t.tgname NOT IN ({trigger_insert_text}, {trigger_update_text})
               OR t.tgrelid NOT IN (SELECT tree.oid FROM tree))
    LOOP
        EXECUTE pg_catalog.format('DROP TRIGGER %I ON %s', place.tgname, place.relation);
    END LOOP;

    -- A statement fires the triggers of the table that it names, not those of the partitions that its rows go to, and
    -- not those of the parent: so each has them. Two, for a transition table belongs to one event.
    FOR place IN
        WITH RECURSIVE tree (oid) AS (
            SELECT pg_catalog.to_regclass({relation_text})::oid
            UNION
            SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN tree ON i.inhparent = tree.oid
        )
        SELECT tree.oid::regclass AS relation
        FROM tree JOIN pg_catalog.pg_class c ON c.oid = tree.oid
        WHERE c.relkind IN ('r', 'p') -- a foreign table can have none
        ORDER BY tree.oid
    LOOP
        EXECUTE pg_catalog.format(
            'CREATE OR REPLACE TRIGGER %I AFTER INSERT ON %s REFERENCING NEW TABLE AS syncd_new'
            ' FOR EACH STATEMENT EXECUTE FUNCTION %s(%L)',
            {trigger_insert_text}, place.relation, {outbox_text}, {key_text});
        EXECUTE pg_catalog.format(
            'CREATE OR REPLACE TRIGGER %I AFTER UPDATE ON %s REFERENCING NEW TABLE AS syncd_new'
            ' FOR EACH STATEMENT EXECUTE FUNCTION %s(%L)',
            {trigger_update_text}, place.relation, {outbox_text}, {key_text});
    END LOOP;
END
$syncd_listen$;
COMMIT;
