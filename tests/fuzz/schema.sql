CREATE SEQUENCE kept;
CREATE TABLE notes (id int PRIMARY KEY, word text);
CREATE TABLE own_0 (a int, b text);
CREATE TABLE own_1 (a int, b text);
CREATE TABLE own_2 (a int, b text);
CREATE TABLE late (a int UNIQUE DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE triggering (a int);

CREATE FUNCTION leaves_setting() RETURNS text LANGUAGE plpgsql AS
    $$ BEGIN SET my.two = 'by function'; RETURN current_setting('my.two'); END $$;
CREATE FUNCTION leaves_lock(a int) RETURNS bool LANGUAGE sql AS 'SELECT pg_try_advisory_lock(a, 8)';
CREATE FUNCTION leaves_lock_by_another(a int) RETURNS bool LANGUAGE sql AS 'SELECT leaves_lock(a)';
CREATE FUNCTION leaves_table() RETURNS void LANGUAGE plpgsql SET client_min_messages = warning AS
    $$ BEGIN CREATE TEMP TABLE IF NOT EXISTS t AS SELECT 3 AS a; END $$;
CREATE FUNCTION leaves_table_by_path() RETURNS void LANGUAGE plpgsql SET search_path = pg_temp, public
    SET client_min_messages = warning AS $$ BEGIN CREATE TABLE IF NOT EXISTS orders (a int); END $$;
CREATE PROCEDURE leaves_channel() LANGUAGE plpgsql AS 'BEGIN LISTEN a; END';
CREATE FUNCTION trigger_leaves() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM set_config('my.one', 'by trigger', false); RETURN NEW; END $$;
CREATE TRIGGER leaves BEFORE INSERT ON triggering FOR EACH ROW EXECUTE FUNCTION trigger_leaves();
CREATE VIEW leaving_view AS SELECT set_config('my.one', 'by view', false) AS x;
CREATE FUNCTION operator_leaves(a int, b int) RETURNS int LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_try_advisory_lock(a, 9); RETURN a + b; END $$;
CREATE OPERATOR <+> (LEFTARG = int, RIGHTARG = int, FUNCTION = operator_leaves);
CREATE FUNCTION fails(a int) RETURNS int LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'it fails with %', a USING ERRCODE = 'P0001'; END $$;
CREATE FUNCTION speaks() RETURNS int LANGUAGE plpgsql AS
    $$ BEGIN RAISE NOTICE 'a notice'; RAISE WARNING 'a warning'; RETURN 1; END $$;
CREATE FUNCTION catches() RETURNS text LANGUAGE plpgsql AS
    $$ BEGIN PERFORM 1 / 0; RETURN 'no'; EXCEPTION WHEN division_by_zero THEN RETURN 'caught'; END $$;

CREATE FUNCTION anew() RETURNS void LANGUAGE plpgsql AS $$
DECLARE made text;
BEGIN
    -- First: the triggers among them run as whoever deletes, and may change the role.
    FOR made IN SELECT oid::regprocedure FROM pg_proc WHERE proname LIKE 'made\_%' LOOP
        EXECUTE format('DROP FUNCTION IF EXISTS %s CASCADE', made);
    END LOOP;
    FOR made IN SELECT oid::regclass FROM pg_class WHERE relname LIKE 'made\_%' AND relkind = 'r' LOOP
        EXECUTE format('DROP TABLE IF EXISTS %s CASCADE', made);
    END LOOP;
    DELETE FROM own_0; DELETE FROM own_1; DELETE FROM own_2; DELETE FROM late; DELETE FROM triggering; DELETE FROM notes;
    INSERT INTO notes SELECT i, 'word ' || i FROM generate_series(1, 9) i;
    INSERT INTO own_0 SELECT i, 'zero' FROM generate_series(1, 5) i;
    PERFORM setval('kept', 1, false);
END $$;

-- The triggers and views that one tenant has made by somebody else are all his own.
GRANT ALL ON SCHEMA public TO app;
ALTER TABLE own_0 OWNER TO app;
ALTER TABLE own_1 OWNER TO app;
ALTER TABLE own_2 OWNER TO app;
GRANT ALL ON ALL TABLES IN SCHEMA public TO app;
GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO app;
