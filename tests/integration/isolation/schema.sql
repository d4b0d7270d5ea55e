CREATE SEQUENCE kept;
CREATE VIEW prepared AS SELECT * FROM pg_catalog.pg_prepared_statements;
GRANT SELECT ON prepared TO PUBLIC;

CREATE FUNCTION leaves_setting() RETURNS text LANGUAGE plpgsql AS
    $$ BEGIN SET my.two = 'by function'; RETURN current_setting('my.two'); END $$;
CREATE FUNCTION leaves_lock() RETURNS bool LANGUAGE sql AS 'SELECT pg_try_advisory_lock(8)';
CREATE FUNCTION leaves_lock_by_another() RETURNS bool LANGUAGE sql AS 'SELECT leaves_lock()';
CREATE FUNCTION leaves_table() RETURNS void LANGUAGE plpgsql SET client_min_messages = warning AS
    $$ BEGIN CREATE TEMP TABLE IF NOT EXISTS t AS SELECT 3 AS a; END $$;
CREATE PROCEDURE leaves_channel() LANGUAGE plpgsql AS 'BEGIN LISTEN a; END';
CREATE FUNCTION trigger_leaves() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM set_config('my.one', 'by trigger', false); RETURN NEW; END $$;
CREATE TABLE triggering (a int);
CREATE TRIGGER leaves BEFORE INSERT ON triggering FOR EACH ROW EXECUTE FUNCTION trigger_leaves();
CREATE VIEW leaving_view AS SELECT set_config('my.one', 'by view', false) AS x;
CREATE FUNCTION operator_leaves(a int, b int) RETURNS int LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_try_advisory_lock(9); RETURN a + b; END $$;
CREATE OPERATOR <+> (LEFTARG = int, RIGHTARG = int, FUNCTION = operator_leaves);
