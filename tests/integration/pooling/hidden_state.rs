//! State not visible in a text: left by functions, triggers, views and types, some made elsewhere a moment ago. No
//! second session sees the state, and the session itself keeps the state.

use crate::harness::{Frames, Pooled, Shape};

/// Settings, role, temporary tables and locks of a backend, as seen by another session of the same login.
const LOOK: &str = "SELECT concat_ws(' ', coalesce(nullif(current_setting('app.tenant', true), ''), '-'), current_user, \
    current_setting('work_mem'), to_regclass('pg_temp.orders')::text, \
    (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()), \
    (SELECT count(*) FROM pg_listening_channels()), (SELECT count(*) FROM pg_cursors WHERE is_holdable))";

/// A single-backend pool over a database with `definitions`, and the state seen by the first session.
async fn pool(definitions: &str, pool: &str) -> (Pooled, String) {
    let pooled = Pooled::start(Shape { size: 1, pool, ..Shape::default() }).await;
    if !definitions.is_empty() {
        pooled.server(definitions).await;
    }
    let mut first = pooled.client().await;
    let clean = first.ask(LOOK).await.unwrap();
    (pooled, clean)
}

/// A session executes `acts` and leaves; another session looks.
async fn leaves_nothing(pooled: &Pooled, clean: &str, what: &str, acts: &[&str]) {
    let mut acting = pooled.client().await;
    for act in acts {
        acting.ask(act).await.unwrap_or_else(|error| panic!("{what}: {act}: {error:?}"));
    }
    drop(acting);
    pooled.rests().await;
    let mut other = pooled.client().await;
    assert_eq!(other.ask(LOOK).await.unwrap(), clean, "{what}");
}

#[tokio::test]
async fn functions_made_elsewhere_leave_nothing_to_others() {
    let (pooled, clean) = pool("", "").await;
    for (name, body) in [
        ("sets", "PERFORM set_config('app.tenant', 'evil', false);"),
        ("sets_by_text", "EXECUTE 'SET work_mem = ''1MB''';"),
        ("makes", "CREATE TEMP TABLE orders (a int);"),
        ("locks", "PERFORM pg_advisory_lock(5);"),
        ("listens", "LISTEN news;"),
    ] {
        // By a direct connection, not through the pool: Gatekeeper gets no notice.
        pooled
            .server(&format!(
                "CREATE FUNCTION {name}() RETURNS void LANGUAGE plpgsql AS $$ BEGIN {body} END $$"
            ))
            .await;
        leaves_nothing(&pooled, &clean, name, &[&format!("SELECT {name}()")]).await;
    }
}

#[tokio::test]
async fn functions_that_are_changed_elsewhere_leave_nothing_to_others() {
    let harmless = "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM now(); END $$";
    let (pooled, clean) = pool(&format!("{harmless};"), "isolation = \"strict\"").await;
    leaves_nothing(&pooled, &clean, "a harmless function", &["SELECT f()"]).await;
    pooled
        .server(
            "CREATE OR REPLACE FUNCTION f() RETURNS void LANGUAGE plpgsql AS \
             $$ BEGIN PERFORM set_config('app.tenant', 'evil', false); END $$",
        )
        .await;
    leaves_nothing(&pooled, &clean, "the function as it is now", &["SELECT f()"]).await;
}

#[tokio::test]
async fn views_triggers_and_types_leave_nothing_to_others() {
    let (pooled, clean) = pool(
        "CREATE FUNCTION evil() RETURNS int LANGUAGE plpgsql AS \
         $$ BEGIN PERFORM set_config('work_mem', '1MB', false); RETURN 1; END $$;\
         CREATE FUNCTION evil_trigger() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN PERFORM evil(); RETURN NEW; END $$;\
         CREATE TABLE parent (a int PRIMARY KEY) PARTITION BY RANGE (a);\
         CREATE TABLE child PARTITION OF parent FOR VALUES FROM (0) TO (100);\
         CREATE TRIGGER t BEFORE INSERT ON child FOR EACH ROW EXECUTE FUNCTION evil_trigger();\
         CREATE TABLE referenced (a int PRIMARY KEY);\
         CREATE TABLE referencing (a int REFERENCES referenced ON DELETE CASCADE);\
         CREATE TRIGGER t BEFORE DELETE ON referencing FOR EACH ROW EXECUTE FUNCTION evil_trigger();\
         INSERT INTO referenced VALUES (1); INSERT INTO referencing VALUES (1);\
         CREATE DOMAIN checked AS int CHECK (evil() = 1);\
         CREATE TYPE pair AS (one checked, two int);\
         CREATE TABLE pairs (p pair);\
         CREATE TABLE defaults (a int, b int DEFAULT evil());\
         CREATE VIEW seen AS SELECT evil() AS e;\
         CREATE VIEW my_settings AS SELECT * FROM pg_settings;\
         GRANT ALL ON ALL TABLES IN SCHEMA public TO app;",
        "",
    )
    .await;
    for (what, act) in [
        ("a trigger of a partition", "INSERT INTO parent VALUES (1)"),
        ("a trigger by a cascade", "DELETE FROM referenced"),
        ("a domain within a composite type", "INSERT INTO pairs VALUES (ROW(1, 2)::pair)"),
        ("a default", "INSERT INTO defaults (a) VALUES (1)"),
        ("a view", "SELECT e FROM seen"),
        ("a view of pg_settings", "UPDATE my_settings SET setting = '1024' WHERE name = 'work_mem'"),
        ("query_to_xml", "SELECT length(query_to_xml('SELECT * FROM seen', true, true, '')::text)"),
        ("table_to_xml", "SELECT length(table_to_xml('seen', true, true, '')::text)"),
        (
            "a statement prepared by SQL",
            "PREPARE p AS SELECT set_config('work_mem', '1MB', false); EXECUTE p; DEALLOCATE p",
        ),
    ] {
        leaves_nothing(&pooled, &clean, what, &[act]).await;
    }
}

#[tokio::test]
async fn a_session_keeps_state_left_by_functions() {
    let (pooled, _) = pool("", "").await;
    pooled
        .server(
            "CREATE FUNCTION mine() RETURNS void LANGUAGE plpgsql AS \
             $$ BEGIN PERFORM set_config('app.tenant', 'mine', false); PERFORM set_config('work_mem', '2MB', false); END $$",
        )
        .await;
    let mut session = pooled.client().await;
    session.ask("SELECT mine()").await.unwrap();
    let seen = session
        .ask("SELECT concat(current_setting('app.tenant', true), ' ', current_setting('work_mem'))")
        .await;
    assert_eq!(seen.unwrap(), "mine 2MB");
}

#[tokio::test]
async fn a_proved_function_does_not_pin_its_session() {
    let (pooled, _) = pool(
        "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN NEW.changed = now(); RETURN NEW; END $$;\
         CREATE TABLE touched (a int, changed timestamptz);\
         CREATE TRIGGER t BEFORE INSERT ON touched FOR EACH ROW EXECUTE FUNCTION touch();\
         GRANT ALL ON touched TO app;",
        "",
    )
    .await;
    let (mut one, mut two) = (pooled.client().await, pooled.client().await);
    for _ in 0..3 {
        one.ask("INSERT INTO touched (a) VALUES (1)").await.unwrap();
        two.ask("INSERT INTO touched (a) VALUES (2)").await.unwrap();
    }
}

/// A pool over table `t`, whose trigger leaves nothing, as the pool has found out.
async fn pool_with_harmless_trigger() -> (Pooled, String) {
    let harmless = "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS \
        $$ BEGIN PERFORM relname FROM pg_class LIMIT 1; RETURN NEW; END $$;\
        CREATE TABLE t (a int); GRANT ALL ON t TO app;\
        CREATE TRIGGER t BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f();";
    let (pooled, clean) = pool(harmless, "").await;
    leaves_nothing(&pooled, &clean, "a harmless trigger", &["INSERT INTO t VALUES (1)"]).await;
    (pooled, clean)
}

/// Makes the trigger leave `work_mem`, and waits until a catalog compared before has expired.
async fn change_trigger(pooled: &Pooled) {
    pooled
        .server(
            "CREATE OR REPLACE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN SET work_mem = '1MB'; RETURN NEW; END $$",
        )
        .await;
    pooled.server("SELECT pg_sleep(1.1)").await;
}

/// `session` leaves, and the next session sees nothing of it.
async fn leaves_nothing_behind(pooled: &Pooled, clean: &str, session: Frames) {
    drop(session);
    pooled.rests().await;
    let mut other = pooled.client().await;
    assert_eq!(other.ask(LOOK).await.unwrap(), clean);
}

#[tokio::test]
async fn pinned_sessions_compare_the_catalog() {
    let (pooled, clean) = pool_with_harmless_trigger().await;
    let mut pinned = pooled.client().await;
    pinned.ask("SELECT pg_advisory_lock(9)").await.unwrap();
    change_trigger(&pooled).await;
    pinned.ask("INSERT INTO t VALUES (1)").await.unwrap();
    pinned.ask("SELECT pg_advisory_unlock(9)").await.unwrap();
    assert_eq!(pinned.ask("SHOW work_mem").await.unwrap(), "1MB");
    leaves_nothing_behind(&pooled, &clean, pinned).await;
}

#[tokio::test]
async fn long_transactions_compare_the_catalog() {
    let (pooled, clean) = pool_with_harmless_trigger().await;
    let mut long = pooled.client().await;
    long.ask("BEGIN").await.unwrap();
    long.ask("INSERT INTO t VALUES (1)").await.unwrap();
    change_trigger(&pooled).await;
    // The server's process learns of new definitions with its next lock.
    for statement in ["SELECT FROM pg_type LIMIT 0", "INSERT INTO t VALUES (2)", "COMMIT"] {
        long.ask(statement).await.unwrap();
    }
    leaves_nothing_behind(&pooled, &clean, long).await;
}

#[tokio::test]
async fn long_statements_compare_the_catalog() {
    let (pooled, clean) = pool_with_harmless_trigger().await;
    let mut long = pooled.client().await;
    let rows = "INSERT INTO t SELECT a FROM generate_series(1, 30) a WHERE pg_sleep(0.1) IS NOT NULL";
    let (inserted, ()) = tokio::join!(long.ask(rows), async {
        pooled.server_says("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'", "1").await;
        change_trigger(&pooled).await;
    });
    inserted.unwrap();
    leaves_nothing_behind(&pooled, &clean, long).await;
}
