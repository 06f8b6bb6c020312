-- Takes back what syncd's role may read for sync {sync_text}. The role stays, for it may serve other syncs.
-- Run by whoever may run the script that gave it. It may be run again.

BEGIN;
SET LOCAL lock_timeout = '5s';
SET LOCAL search_path = pg_catalog, pg_temp;

DO $syncd$
DECLARE
    login constant text := {role_text};
    relation constant regclass := to_regclass({relation_text});
    kept constant text[] := {kept_text};  -- columns that other syncs read from the same table
    login_oid oid;
    space regnamespace;
    list text;
BEGIN
    SELECT r.oid INTO login_oid FROM pg_roles r WHERE r.rolname = login;
    IF login_oid IS NULL THEN
        RAISE NOTICE 'There is no role %.', login;
        RETURN;
    END IF;
    IF relation IS NULL THEN
        RAISE NOTICE 'There is no table % any more, and so no right to it.', {relation_text};
    ELSE
        SELECT c.relnamespace INTO space FROM pg_class c WHERE c.oid = relation;
        SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) INTO list
        FROM pg_attribute a
        WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> ALL (kept)
          AND EXISTS (
              SELECT FROM aclexplode(a.attacl) x WHERE x.grantee = login_oid AND x.privilege_type = 'SELECT'
          );
        IF list IS NULL THEN
            RAISE NOTICE 'Role % was granted no column of % that another sync does not need.', login, relation;
        ELSE
            EXECUTE format('REVOKE SELECT (%s) ON TABLE %s FROM %I', list, relation, login);
            RAISE NOTICE 'Role % may not read % of % any more.', login, list, relation;
        END IF;
        -- The schema, where nothing in it is the role's to use now.
        IF pg_has_role((SELECT n.nspowner FROM pg_namespace n WHERE n.oid = space), 'USAGE') AND NOT EXISTS (
            SELECT FROM pg_class c
            LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attacl IS NOT NULL
            WHERE c.relnamespace = space AND (
                c.relowner = login_oid
                OR EXISTS (SELECT FROM aclexplode(c.relacl) x WHERE x.grantee = login_oid)
                OR EXISTS (SELECT FROM aclexplode(a.attacl) x WHERE x.grantee = login_oid)
            )
        ) THEN
            EXECUTE format('REVOKE USAGE ON SCHEMA %s FROM %I', space, login);
        END IF;
    END IF;
    RAISE NOTICE 'Role % stays: it may serve other syncs. DROP OWNED BY %; DROP ROLE %; takes it away.',
        login, quote_ident(login), quote_ident(login);
END
$syncd$;

COMMIT;
