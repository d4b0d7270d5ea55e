//! The writer's connection is lost at each point of a transaction: what the client receives, and that its session
//! continues.

use std::time::Duration;

use gatekeeper::testing::{
    sandbox::{DATABASE, Stop},
    wire::tag::backend as b,
};

use crate::harness::{
    Frames, Pooled, Shape, Split,
    frames::{bind, copy_data, copy_done, execute, flush, function_call, parse, query, statement, sync},
    until,
};

const TERMINATE: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
    WHERE usename = 'app' AND backend_type = 'client backend'";
const SLEEP: &str = "SELECT pg_sleep(600)";
const SLEEPING: &str = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
const COMMIT_SLEEPS: &str = "CREATE TABLE slow (a int); GRANT ALL ON slow TO app;\
    CREATE FUNCTION sleeps() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(600); RETURN NULL; END $$;\
    CREATE CONSTRAINT TRIGGER sleeps AFTER INSERT ON slow DEFERRABLE INITIALLY DEFERRED \
    FOR EACH ROW EXECUTE FUNCTION sleeps()";

async fn pooled() -> Pooled {
    let pooled = Pooled::of(2).await;
    pooled.server("CREATE TABLE t (a int); GRANT ALL ON t TO app").await;
    pooled
}

/// The messages up to `count` ReadyForQuery: the SQLSTATE of each error, and the status of each ReadyForQuery.
async fn summary(client: &mut Frames, count: usize) -> String {
    let mut words = Vec::new();
    for _ in 0..count {
        for message in client.read_until(b::READY_FOR_QUERY).await {
            match message.tag {
                b::ERROR_RESPONSE => {
                    assert_eq!(message.field(b'S'), "ERROR", "{message:?}");
                    words.push(message.field(b'C'));
                }
                b::READY_FOR_QUERY => words.push(char::from(message.body[0]).to_string()),
                b::COMMAND_COMPLETE => {
                    words.push(String::from_utf8_lossy(&message.body).trim_end_matches('\0').into())
                }
                _ => {}
            }
        }
    }
    words.join(" ")
}

/// Sends `messages`, waits until the server sleeps, and terminates the server's process.
async fn lose_during(pooled: &Pooled, client: &mut Frames, messages: &[u8]) {
    client.send(messages).await;
    pooled.server_says(SLEEPING, "1").await;
    pooled.server(TERMINATE).await;
}

/// The session is outside a transaction, and works.
async fn goes_on(pooled: &Pooled, client: &mut Frames) {
    client.send(&query("SELECT 1")).await;
    assert_eq!(summary(client, 1).await, "SELECT 1 I");
    pooled.rests().await;
}

/// Waits until a session is pinned by `pin`.
async fn is_pinned(pooled: &Pooled, pin: &str) {
    until(Duration::from_secs(30), async || {
        let sessions = pooled.stand.gatekeeper.get("/v1/sessions").await.unwrap().body;
        if sessions.contains(&format!("\"pins\":[\"{pin}\"]")) { Ok(()) } else { Err(sessions) }
    })
    .await;
}

#[tokio::test]
async fn each_point_of_a_transaction_has_its_fate() {
    let pooled = pooled().await;
    let sleep = statement(SLEEP, &[]);
    for (what, begun, messages, readies, wanted) in [
        ("autocommit", false, query(SLEEP), 1, "08007 I"),
        ("an autocommit batch", false, [sleep.clone(), sync()].concat(), 1, "08007 I"),
        ("several statements", false, query("SELECT 1; SELECT pg_sleep(600)"), 1, "SELECT 1 08007 I"),
        ("a statement", true, query(SLEEP), 1, "40001 E"),
        ("a batch", true, [sleep.clone(), sync()].concat(), 1, "40001 E"),
        // Of pg_sleep.
        ("a FunctionCall", true, function_call(2626, &[b"600"]), 1, "40001 E"),
        (
            "BEGIN in the same batch",
            false,
            [statement("BEGIN", &[]), sleep.clone(), sync()].concat(),
            1,
            "BEGIN 40001 E",
        ),
        (
            "a pipeline with its COMMIT",
            true,
            [query(SLEEP), query("COMMIT"), query("SELECT 1")].concat(),
            3,
            "08007 E 08007 I 08007 I",
        ),
        (
            "a pipeline with its ROLLBACK",
            true,
            [query(SLEEP), query("ROLLBACK")].concat(),
            2,
            "40001 E ROLLBACK I",
        ),
        (
            "a pipeline of batches with its ROLLBACK",
            true,
            [sleep.clone(), sync(), statement("ROLLBACK", &[]), sync()].concat(),
            2,
            "40001 E ROLLBACK I",
        ),
        ("a pipeline of statements", false, [query(SLEEP), query("SELECT 1")].concat(), 2, "08007 I 08007 I"),
    ] {
        let mut client = pooled.client().await;
        if begun {
            assert_eq!(client.ask("BEGIN").await, Ok(String::new()));
            client.ask("INSERT INTO t VALUES (1)").await.unwrap();
        }
        lose_during(&pooled, &mut client, &messages).await;
        assert_eq!(summary(&mut client, readies).await, wanted, "{what}");
        if wanted.ends_with('E') {
            assert_eq!(client.ask("SELECT 1").await, Err("25P02".to_owned()), "{what}");
            client.send(&query("COMMIT")).await;
            assert_eq!(summary(&mut client, 1).await, "ROLLBACK I", "{what}");
        }
        goes_on(&pooled, &mut client).await;
    }
    assert_eq!(pooled.server("SELECT count(*) FROM t").await, "0");
    let fate =
        |fate| format!("gatekeeper_interrupted_transactions_total{{listener=\"app\",fate=\"{fate}\"}}");
    assert_eq!(pooled.stand.gatekeeper.metric(&fate("unknown")).await, Some(5.0));
    assert_eq!(pooled.stand.gatekeeper.metric(&fate("rolled_back")).await, Some(6.0));
    assert_eq!(pooled.stand.gatekeeper.metric(&fate("session_lost")).await, Some(0.0));
}

#[tokio::test]
async fn an_idle_transaction_fails_with_its_next_message() {
    let pooled = pooled().await;
    for (what, next, wanted) in [
        ("a statement", query("SELECT 1"), "40001 E"),
        ("a batch", [statement("SELECT 1", &[]), sync()].concat(), "40001 E"),
        ("ROLLBACK", query("ROLLBACK"), "ROLLBACK I"),
        ("a batch with ROLLBACK", [statement("ROLLBACK", &[]), sync()].concat(), "ROLLBACK I"),
        ("COMMIT", query("COMMIT"), "40001 I"),
        ("a batch with COMMIT", [statement("COMMIT", &[]), sync()].concat(), "40001 I"),
    ] {
        let mut client = pooled.client().await;
        client.ask("BEGIN").await.unwrap();
        client.ask("INSERT INTO t VALUES (1)").await.unwrap();
        pooled.server(TERMINATE).await;
        pooled.server_says("SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%'", "0").await;
        client.send(&next).await;
        assert_eq!(summary(&mut client, 1).await, wanted, "{what}");
        if wanted.ends_with('E') {
            client.send(&query("ROLLBACK")).await;
            assert_eq!(summary(&mut client, 1).await, "ROLLBACK I", "{what}");
        }
        goes_on(&pooled, &mut client).await;
    }
    assert_eq!(pooled.server("SELECT count(*) FROM t").await, "0");
}

#[tokio::test]
async fn a_failed_transaction_stays_failed() {
    let pooled = pooled().await;
    let mut client = pooled.client().await;
    client.ask("BEGIN").await.unwrap();
    assert_eq!(client.ask("SELECT 1 / 0").await, Err("22012".to_owned()));
    pooled.server(TERMINATE).await;
    pooled.server_says("SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%'", "0").await;
    assert_eq!(client.ask("SELECT 1").await, Err("25P02".to_owned()));
    client.send(&query("ROLLBACK")).await;
    assert_eq!(summary(&mut client, 1).await, "ROLLBACK I");
    goes_on(&pooled, &mut client).await;
}

#[tokio::test]
async fn a_commit_in_flight_is_in_doubt() {
    let pooled = pooled().await;
    pooled.server(COMMIT_SLEEPS).await;
    for (what, messages) in [
        ("COMMIT", query("COMMIT")),
        ("a batch", [statement("COMMIT", &[]), sync()].concat()),
        ("a named portal", [bind("p", "s", &[]), execute("p", 0), sync()].concat()),
        ("with a chain", query("COMMIT AND CHAIN")),
    ] {
        let mut client = pooled.client().await;
        client.send(&[parse("s", "COMMIT"), sync()].concat()).await;
        summary(&mut client, 1).await;
        client.ask("BEGIN").await.unwrap();
        client.ask("INSERT INTO slow VALUES (1)").await.unwrap();
        lose_during(&pooled, &mut client, &messages).await;
        assert_eq!(summary(&mut client, 1).await, "08007 I", "{what}");
        goes_on(&pooled, &mut client).await;
    }
}

#[tokio::test]
async fn a_batch_without_sync_has_taken_no_effect() {
    let pooled = pooled().await;
    let mut client = pooled.client().await;
    let insert = [statement("INSERT INTO t VALUES (1)", &[]), statement(SLEEP, &[]), flush()].concat();
    lose_during(&pooled, &mut client, &insert).await;
    let error = client.read_until(b::ERROR_RESPONSE).await.pop().unwrap();
    assert_eq!(error.field(b'C'), "40001");
    // The rest of the batch is skipped.
    client.send(&[statement("SELECT 1", &[]), sync()].concat()).await;
    assert_eq!(summary(&mut client, 1).await, "I");
    goes_on(&pooled, &mut client).await;
    assert_eq!(pooled.server("SELECT count(*) FROM t").await, "0");
}

#[tokio::test]
async fn a_copy_without_its_end_takes_nothing_in() {
    let pooled = pooled().await;
    for (what, start) in [
        ("Query", query("COPY t FROM STDIN")),
        ("a batch", [parse("", "COPY t FROM STDIN"), bind("", "", &[]), execute("", 0), sync()].concat()),
    ] {
        let mut client = pooled.client().await;
        client.send(&start).await;
        client.read_until(b::COPY_IN_RESPONSE).await;
        client.send(&copy_data(b"1\n")).await;
        pooled.server(TERMINATE).await;
        let error = client.read_until(b::ERROR_RESPONSE).await.pop().unwrap();
        assert_eq!(error.field(b'C'), "40001", "{what}");
        client.send(&[copy_data(b"2\n"), copy_done()].concat()).await;
        if what == "a batch" {
            client.send(&sync()).await;
        }
        assert_eq!(summary(&mut client, 1).await, "I", "{what}");
        goes_on(&pooled, &mut client).await;
    }
    assert_eq!(pooled.server("SELECT count(*) FROM t").await, "0");
}

#[tokio::test]
async fn a_copy_fails_with_its_transaction() {
    let pooled = pooled().await;
    let mut client = pooled.client().await;
    client.ask("BEGIN").await.unwrap();
    client.ask("CREATE TEMP TABLE mine (a int)").await.unwrap();
    client.send(&query("COPY mine FROM STDIN")).await;
    client.read_until(b::COPY_IN_RESPONSE).await;
    pooled.server(TERMINATE).await;
    assert_eq!(summary(&mut client, 1).await, "40001 E");
    client.send(&copy_done()).await;
    client.send(&query("ROLLBACK")).await;
    assert_eq!(summary(&mut client, 1).await, "ROLLBACK I");
    goes_on(&pooled, &mut client).await;
}

#[tokio::test]
async fn a_copy_with_its_end_is_a_statement() {
    let pooled = pooled().await;
    pooled
        .server(
            "CREATE FUNCTION sleeps() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN PERFORM pg_sleep(600); RETURN NEW; END $$;\
             CREATE TRIGGER sleeps BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION sleeps()",
        )
        .await;
    let batch = [parse("", "COPY t FROM STDIN"), bind("", "", &[]), execute("", 0), sync()].concat();
    for (what, is_begun, start, end, wanted) in [
        ("Query", false, query("COPY t FROM STDIN"), copy_done(), "08007 I"),
        ("Query in a transaction", true, query("COPY t FROM STDIN"), copy_done(), "40001 E"),
        ("a batch", false, batch.clone(), [copy_done(), sync()].concat(), "08007 I"),
        ("a batch in a transaction", true, batch, [copy_done(), sync()].concat(), "40001 E"),
    ] {
        let mut client = pooled.client().await;
        if is_begun {
            client.ask("BEGIN").await.unwrap();
        }
        client.send(&start).await;
        client.read_until(b::COPY_IN_RESPONSE).await;
        lose_during(&pooled, &mut client, &[copy_data(b"1\n"), end].concat()).await;
        assert_eq!(summary(&mut client, 1).await, wanted, "{what}");
        if is_begun {
            client.send(&query("ROLLBACK")).await;
            assert_eq!(summary(&mut client, 1).await, "ROLLBACK I", "{what}");
        }
        goes_on(&pooled, &mut client).await;
    }
}

#[tokio::test]
async fn state_that_only_the_client_can_make_again_ends_the_session() {
    let pooled = pooled().await;
    for (pin, act) in [
        ("listen", "LISTEN news"),
        ("temporary_object", "CREATE TEMP TABLE mine (a int)"),
        ("advisory_lock", "SELECT pg_advisory_lock(1)"),
        ("sql_prepare", "PREPARE p AS SELECT 1"),
        ("hold_cursor", "BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT 1; COMMIT"),
    ] {
        let mut client = pooled.client().await;
        client.ask(act).await.unwrap();
        is_pinned(&pooled, pin).await;
        pooled.server(TERMINATE).await;
        let last = client.read_to_close().await.pop().unwrap();
        assert_eq!((last.field(b'S').as_str(), last.field(b'C').as_str()), ("FATAL", "08006"), "{pin}");
        assert!(last.field(b'M').contains(pin), "{pin}: {last:?}");
        pooled.rests().await;
    }
}

#[tokio::test]
async fn lesser_state_is_reported_as_lost_once() {
    let pooled = pooled().await;
    pooled.server("CREATE SEQUENCE s; GRANT ALL ON s TO app").await;
    let mut client = pooled.client().await;
    client.ask("SELECT nextval('s'), lastval()").await.unwrap();
    pooled.server(TERMINATE).await;
    // The probe logs in again at once.
    let backends = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' \
        AND application_name <> 'gatekeeper probe'";
    pooled.server_says(backends, "0").await;
    assert_eq!(client.ask("SELECT lastval()").await, Err("08006".to_owned()));
    goes_on(&pooled, &mut client).await;
}

#[tokio::test]
async fn sessions_survive_a_crash_of_the_server() {
    let pooled = pooled().await;
    let [mut idle, mut open, mut busy] =
        [pooled.client().await, pooled.client().await, pooled.client().await];
    idle.ask("SET application_name = 'kept'").await.unwrap();
    open.ask("BEGIN").await.unwrap();
    open.ask("INSERT INTO t VALUES (1)").await.unwrap();
    busy.send(&query(SLEEP)).await;
    pooled.server_says(SLEEPING, "1").await;
    let node = pooled.stand.server.node();
    node.stop(Stop::Immediate).await.unwrap();
    let received = busy.read_until(b::READY_FOR_QUERY).await;
    let tags: Vec<_> = received.iter().map(|message| message.tag).collect();
    // No warning of the server comes first.
    assert_eq!(tags, [b::ROW_DESCRIPTION, b::ERROR_RESPONSE, b::READY_FOR_QUERY], "{received:?}");
    assert_eq!(received[1].field(b'C'), "08007");
    // Held until the server is back.
    idle.send(&query("SHOW application_name")).await;
    node.start().await.unwrap();
    assert_eq!(open.ask("SELECT 1").await, Err("40001".to_owned()));
    open.send(&query("ROLLBACK")).await;
    assert_eq!(summary(&mut open, 1).await, "ROLLBACK I");
    assert_eq!(summary(&mut idle, 1).await, "SHOW I");
    assert_eq!(idle.ask("SHOW application_name").await.unwrap(), "kept");
    for client in [&mut open, &mut busy] {
        goes_on(&pooled, client).await;
    }
}

#[tokio::test]
async fn a_listener_can_disconnect_instead() {
    let shape = Shape { size: 2, listener: "on_backend_loss = \"disconnect\"", ..Shape::default() };
    let pooled = Pooled::start(shape).await;
    let mut client = pooled.client().await;
    lose_during(&pooled, &mut client, &query(SLEEP)).await;
    let last = client.read_to_close().await.pop().unwrap();
    assert_eq!((last.field(b'S').as_str(), last.field(b'C').as_str()), ("FATAL", "57P01"));
}

#[tokio::test]
async fn another_server_at_the_address_ends_the_use_of_the_silent_one() {
    let split = Split::with("").await;
    let sandbox = &split.sandbox;
    let (primary, reads) = (sandbox.endpoint("primary"), sandbox.endpoint("reads"));
    let [old, new] = [&primary.nodes()[0], &reads.nodes()[0]];
    old.sql(DATABASE, "CREATE TABLE t (a int); GRANT ALL ON t TO app").await.unwrap();
    new.catch_up(old).await.unwrap();
    let [mut open, mut busy, mut pinned] = [split.client().await, split.client().await, split.client().await];
    open.ask("BEGIN").await.unwrap();
    open.ask("INSERT INTO t VALUES (1)").await.unwrap();
    busy.send(&query("INSERT INTO t SELECT 2 FROM pg_sleep(600)")).await;
    pinned.ask("SELECT pg_advisory_lock(1)").await.unwrap();
    let sleeping = async || match old.sql(DATABASE, SLEEPING).await.unwrap() {
        one if one == "1" => Ok(()),
        seen => Err(seen),
    };
    until(Duration::from_secs(30), sleeping).await;
    // The probe has answered since the logins.
    tokio::time::sleep(Duration::from_secs(1)).await;
    old.freeze();
    new.promote().await.unwrap();
    primary.middleman().lead_to(&[new.address()]);
    assert_eq!(summary(&mut busy, 1).await, "08007 I");
    assert_eq!(open.ask("SELECT 1").await, Err("40001".to_owned()));
    let last = pinned.read_to_close().await.pop().unwrap();
    assert_eq!((last.field(b'S').as_str(), last.field(b'C').as_str()), ("FATAL", "08006"));
    open.send(&query("ROLLBACK")).await;
    assert_eq!(summary(&mut open, 1).await, "ROLLBACK I");
    open.ask("INSERT INTO t VALUES (3)").await.unwrap();
    assert_eq!(new.sql(DATABASE, "SELECT string_agg(a::text, ' ') FROM t").await.unwrap(), "3");
    let ended =
        "gatekeeper_backends_terminated_total{endpoint=\"primary\",backend_role=\"primary\",reason=\"node\"}";
    assert_eq!(split.gatekeeper.metric(ended).await, Some(3.0));
    old.thaw();
}
