-- What syncd may do in the CRM to read the leads of sync {sync_text}: log in, and read the columns that it needs.
-- Run by a superuser, or by whoever owns the table and may create roles; it may be run again.

BEGIN;
SET LOCAL lock_timeout = '5s';
SET LOCAL search_path = pg_catalog, pg_temp;

DO $syncd$
DECLARE
    login constant text := {role_text};
    relation constant regclass := to_regclass({relation_text});
    wanted constant text[] := {columns_text};
    mentioned constant text[] := {candidates_text};  -- words of `where`: a column, or a function, a keyword, a type
    space regnamespace;
    owner oid;
    kind "char";
    absent text;
    missing text;
    list text;
    setting text[];
BEGIN
    IF relation IS NULL THEN
        RAISE EXCEPTION 'The database % has no table %.', current_database(), {relation_text}
            USING HINT = 'Correct sync.table; a name is written just as Postgres has it, schema first.';
    END IF;
    SELECT c.relnamespace, c.relowner, c.relkind INTO space, owner, kind FROM pg_class c WHERE c.oid = relation;
    IF {capture_text} <> 'poll' AND kind NOT IN ('r', 'p') THEN
        RAISE EXCEPTION '% is %, and capture = "%" can follow tables only.', {relation_text},
            CASE kind WHEN 'v' THEN 'a view' WHEN 'm' THEN 'a materialized view' ELSE 'no table of this database' END,
            {capture_text}
            USING HINT = 'Say capture = "poll", or name the table itself and put the view''s condition into `where`.';
    END IF;

    SELECT string_agg(w.name, ', ') INTO absent
    FROM unnest(wanted) AS w(name)
    WHERE NOT EXISTS (
        SELECT FROM pg_attribute a
        WHERE a.attrelid = relation AND a.attname = w.name AND a.attnum > 0 AND NOT a.attisdropped
    );
    IF absent IS NOT NULL THEN
        RAISE EXCEPTION '% has no column %.', {relation_text}, absent
            USING HINT = 'Correct the key, the watermark_column or the fields of the sync.';
    END IF;

    -- The role, if it is not there yet: it may log in, and nothing else.
    IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = login) THEN
        EXECUTE format('CREATE ROLE %I LOGIN', login);
        RAISE NOTICE 'Role % was made; it has no password yet: psql''s \password gives it one.', login;
    ELSIF pg_has_role(login, owner, 'USAGE') THEN
        RAISE NOTICE
            'Role % % and may do more than read: syncd should have a role of its own. Nothing of it was restricted.',
            login,
            CASE WHEN (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = login) THEN 'is a superuser'
                ELSE 'has the rights of the table''s owner' END;
        RETURN;
    END IF;

    IF pg_has_role((SELECT d.datdba FROM pg_database d WHERE d.datname = current_database()), 'USAGE') THEN
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), login);
    ELSIF NOT has_database_privilege(login, current_database(), 'CONNECT') THEN
        RAISE EXCEPTION 'Role % may not connect to database %, and % may not grant it.',
            login, current_database(), current_user
            USING HINT = 'Run this as the owner of the database, or as a superuser.';
    END IF;
    IF pg_has_role((SELECT n.nspowner FROM pg_namespace n WHERE n.oid = space), 'USAGE') THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %s TO %I', space, login);
    ELSIF NOT has_schema_privilege(login, space::oid, 'USAGE') THEN
        RAISE EXCEPTION 'Role % has no USAGE of schema %, and % may not grant it.', login, space, current_user
            USING HINT = 'Run this as the owner of the schema, or as a superuser.';
    END IF;

    SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)
            FILTER (WHERE NOT has_column_privilege(login, relation::oid, a.attnum, 'SELECT')),
        string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)
    INTO missing, list
    FROM pg_attribute a
    WHERE a.attrelid = relation AND a.attname = ANY (wanted || mentioned) AND a.attnum > 0 AND NOT a.attisdropped;
    IF missing IS NOT NULL THEN
        IF NOT pg_has_role(owner, 'USAGE') THEN
            RAISE EXCEPTION 'Role % may not read % of %, and % may not grant it.',
                login, missing, relation, current_user
                USING HINT = format('Run this as the owner of the table, %s, or as a superuser.', owner::regrole);
        END IF;
        EXECUTE format('GRANT SELECT (%s) ON TABLE %s TO %I', missing, relation, login);
    END IF;
    RAISE NOTICE 'Role % may read % of %.', login, list, relation;

    -- syncd sets these for itself, in every connection; here they hold for anybody else who has its password.
    BEGIN
        FOREACH setting SLICE 1 IN ARRAY ARRAY[
            ['statement_timeout', {statement_timeout_text}],
            ['lock_timeout', '5s'],
            ['idle_in_transaction_session_timeout', '60s']
        ] LOOP
            EXECUTE format(
                'ALTER ROLE %I IN DATABASE %I SET %s = %L', login, current_database(), setting[1], setting[2]
            );
        END LOOP;
        -- Not where a sync listens: behind a pooler that drops syncd's own settings it could not empty its outbox.
        EXECUTE format(
            CASE WHEN {read_only} THEN 'ALTER ROLE %I IN DATABASE %I SET default_transaction_read_only = on'
                ELSE 'ALTER ROLE %I IN DATABASE %I RESET default_transaction_read_only' END,
            login, current_database()
        );
        -- One for each purpose of the daemon, and two for commands such as `syncd check`. Never lowered: two syncds
        -- may share the role.
        IF (SELECT r.rolconnlimit < {connections} FROM pg_roles r WHERE r.rolname = login) THEN
            EXECUTE format('ALTER ROLE %I CONNECTION LIMIT %s', login, {connections});
        END IF;
    EXCEPTION WHEN insufficient_privilege THEN
        RAISE NOTICE 'Role % has no time-outs and no connection limit of its own: % may not alter it.',
            login, current_user;
    END;
END
$syncd$;

COMMIT;
