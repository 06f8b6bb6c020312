-- Takes back what listen.sql made: the triggers, wherever they are, their function, the outbox with what syncd has not
-- taken yet, and the schema once no other sync uses it. Harmless where some or all of it is gone already. It happens as
-- a whole or not at all, and gives up after five seconds where a long transaction holds the table: try again later.
BEGIN;
SET LOCAL lock_timeout = '5s';
SET LOCAL client_min_messages = warning;

-- The triggers first: once they are gone, no writer can be on its way to the outbox.
DO $syncd_listen$
DECLARE
    place record;
BEGIN
    FOR place IN
        SELECT t.tgname, t.tgrelid::regclass AS relation
        FROM pg_catalog.pg_trigger t
        WHERE t.tgfoid = pg_catalog.to_regprocedure({outbox_text} || '()') -- the function's name is the outbox's
        ORDER BY t.tgrelid
    LOOP
        EXECUTE pg_catalog.format('DROP TRIGGER %I ON %s', place.tgname, place.relation);
    END LOOP;
END
$syncd_listen$;
DROP FUNCTION IF EXISTS {function}();
DROP TABLE IF EXISTS {outbox};

DO $syncd_listen$
BEGIN
    DROP SCHEMA IF EXISTS {outbox_schema};
EXCEPTION WHEN dependent_objects_still_exist THEN
    NULL; -- another sync's outbox is in it
END
$syncd_listen$;
COMMIT;
