//! Statements with an effect beyond their text in transaction pooling: execution of statements prepared by message, and
//! statements about whole databases.

use gatekeeper::testing::{
    sandbox::{APP as USER, SandboxOptions, Single},
    wire::tag::backend as b,
};

use std::time::Duration;

use tokio_postgres::SimpleQueryMessage;

use crate::harness::{
    Frames,
    frames::{bind, close, describe, execute, parse, query, statement, sync},
    stand::{Stand, config},
    until,
};

const APP: &str = "user=app password=app-password dbname=app";

async fn stand(size: u32) -> Stand {
    stand_with(&format!("size = {size}")).await
}

/// A stand with the given pool keys.
async fn stand_with(pool: &str) -> Stand {
    let server = Single::start(SandboxOptions::default()).await.unwrap();
    let login = "login = { password = \"app-password\" }";
    let keys = format!("auth = {{ method = \"trust\" }}\npool = {{ mode = \"transaction\", {pool} }}");
    let text = config(&server, login, &keys, "");
    Stand::start(server, &text).await
}

#[tokio::test]
async fn sql_execute_runs_a_protocol_statement_inside_another_statement() {
    let stand = stand(2).await;
    let client = stand.connect(APP).await.unwrap();
    let prepared = client.prepare("SELECT 42 AS answer").await.unwrap();
    let listed = client.simple_query("SELECT name FROM pg_prepared_statements").await.unwrap();
    let names: Vec<_> = listed
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        })
        .collect();
    let [name] = names.as_slice() else { panic!("it sees its own and no other: {names:?}") };
    client.simple_query(&format!("EXPLAIN EXECUTE {name}")).await.unwrap();
    client.simple_query(&format!("CREATE TEMP TABLE made AS EXECUTE {name}")).await.unwrap();
    let made: i32 = client.query_one("SELECT answer FROM made", &[]).await.unwrap().get(0);
    assert_eq!(made, 42);
    // By message, too.
    let explained = client.query(&format!("EXPLAIN EXECUTE {name}"), &[]).await.unwrap();
    assert!(!explained.is_empty());
    assert_eq!(client.query_one(&prepared, &[]).await.unwrap().get::<_, i32>(0), 42);
}

#[tokio::test]
async fn a_database_is_dropped_though_a_pool_is_idle_in_it() {
    let stand = stand(2).await;
    stand.server.node().sql("postgres", "ALTER ROLE app CREATEDB").await.unwrap();
    let client = stand.connect(APP).await.unwrap();
    client.simple_query("CREATE DATABASE passing").await.unwrap();
    let other = stand.connect("user=app password=app-password dbname=passing").await.unwrap();
    other.simple_query("SELECT 1").await.unwrap();
    client.simple_query("DROP DATABASE passing").await.unwrap();
}

/// Responses to `messages` and a Sync: tags, and the texts of rows and errors.
async fn exchange(client: &mut Frames, messages: &[Vec<u8>]) -> String {
    client.send(&[messages.concat(), sync()].concat()).await;
    let received = client.read_until(b::READY_FOR_QUERY).await;
    let shown = received.iter().map(|message| match message.tag {
        b::DATA_ROW => format!("D({})", String::from_utf8_lossy(message.body.get(6..).unwrap_or_default())),
        b::ERROR_RESPONSE => format!("E({})", message.field(b'C')),
        tag => char::from(tag).to_string(),
    });
    shown.collect::<Vec<_>>().join(" ")
}

/// Two sessions on a single backend.
async fn two_sessions(stand: &Stand) -> [Frames; 2] {
    let mut sessions = Vec::new();
    for _ in 0..2 {
        sessions.push(Frames::log_in(stand.listener, USER, &[("database", "app")]).await);
    }
    sessions.try_into().ok().unwrap()
}

#[tokio::test]
async fn an_unnamed_statement_survives_the_reset_of_sequences() {
    let stand = stand(1).await;
    let reads = stand.connect(APP).await.unwrap();
    reads.simple_query("CREATE SEQUENCE here; SELECT nextval('here'); SELECT lastval()").await.unwrap();
    drop(reads);
    let [mut one, mut other] = two_sessions(&stand).await;
    assert_eq!(exchange(&mut other, &[parse("named", "SELECT 2")]).await, "1 Z");
    assert_eq!(exchange(&mut one, &[parse("", "SELECT 1")]).await, "1 Z");
    assert_eq!(exchange(&mut other, &[bind("", "named", &[]), execute("", 0)]).await, "2 D(2) C Z");
    assert_eq!(exchange(&mut one, &[bind("", "", &[]), execute("", 0)]).await, "2 D(1) C Z");
}

/// After a first call of `lastval()`, sessions without `lastval()` are not pinned permanently by sequence moves.
#[tokio::test]
async fn another_sessions_lastval_takes_no_backend() {
    let stand = stand(1).await;
    let reads = stand.connect(APP).await.unwrap();
    let made = "CREATE SEQUENCE here; CREATE TABLE numbered (id int DEFAULT nextval('here'), word text)";
    reads.simple_query(&format!("{made}; SELECT nextval('here'); SELECT lastval()")).await.unwrap();
    drop(reads);
    for (number, moves) in [
        "INSERT INTO numbered VALUES (1)",
        "INSERT INTO numbered (word) VALUES ('x')",
        "INSERT INTO nowhere VALUES (1)",
        "SELECT nextval('here')",
    ]
    .into_iter()
    .enumerate()
    {
        let [mut writes, mut waits] = two_sessions(&stand).await;
        let request = match number % 2 {
            0 => [parse("", moves), bind("", "", &[]), execute("", 0), sync()].concat(),
            _ => query(moves),
        };
        writes.send(&request).await;
        writes.read_until(b::READY_FOR_QUERY).await;
        assert_eq!(
            exchange(&mut waits, &[parse("", "SELECT 2"), bind("", "", &[]), execute("", 0)]).await,
            "1 2 D(2) C Z",
            "{moves}"
        );
    }
    // A session with a sequence read keeps the backend.
    let [mut one, mut other] = two_sessions(&stand).await;
    for _ in 0..2 {
        let next = one.ask("SELECT nextval('here')").await.unwrap();
        assert_eq!(one.ask("SELECT lastval()").await.unwrap(), next);
        other.send(&query("SELECT 2")).await;
        assert_eq!(one.ask("SELECT currval('here')").await.unwrap(), next);
        one.ask("DISCARD ALL").await.unwrap();
        other.read_until(b::READY_FOR_QUERY).await;
    }
}

#[tokio::test]
async fn a_late_lastval_finds_its_sequence() {
    let stand = stand(1).await;
    let [mut before, mut late] = two_sessions(&stand).await;
    before.ask("CREATE SEQUENCE here").await.unwrap();
    before.ask("SELECT nextval('here')").await.unwrap();
    before.ask("SELECT lastval()").await.unwrap();
    before.ask("DISCARD ALL").await.unwrap();
    let next = late.ask("SELECT nextval('here')").await.unwrap();
    // No session waits for the backend meanwhile.
    let rested = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND query LIKE '%nextval%' \
                  AND state = 'idle' AND state_change < now() - interval '3 s'";
    until(Duration::from_secs(20), async || match stand.server.node().sql("app", rested).await.unwrap() {
        one if one == "1" => Ok(()),
        other => Err(other),
    })
    .await;
    assert_eq!(late.ask("SELECT lastval()").await.unwrap(), next);
}

#[tokio::test]
async fn an_unnamed_statement_outlives_the_beginning_of_anothers_transaction() {
    let stand = stand(1).await;
    let [mut one, mut other] = two_sessions(&stand).await;
    assert_eq!(exchange(&mut other, &[parse("two", "SELECT 2"), parse("end", "COMMIT")]).await, "1 1 Z");
    assert_eq!(exchange(&mut one, &[parse("", "SELECT 1")]).await, "1 Z");
    other.ask("BEGIN").await.unwrap();
    assert_eq!(exchange(&mut other, &[bind("", "two", &[]), execute("", 0)]).await, "2 D(2) C Z");
    assert_eq!(exchange(&mut other, &[bind("", "end", &[]), execute("", 0)]).await, "2 C Z");
    assert_eq!(exchange(&mut one, &[bind("", "", &[]), execute("", 0)]).await, "2 D(1) C Z");
}

/// Definitions changed without Gatekeeper's knowledge.
#[tokio::test]
async fn a_parsed_statement_uses_the_current_definitions() {
    let stand = stand(1).await;
    let node = stand.server.node();
    let there = async |sql| node.sql("app", sql).await.unwrap();
    there("CREATE TABLE changing AS SELECT 1 AS a; ALTER TABLE changing OWNER TO app").await;
    let [mut one, mut other] = two_sessions(&stand).await;
    let star = "SELECT * FROM changing";
    let run = |name| [bind("", name, &[]), describe(b'P', ""), execute("", 0)].concat();
    for session in [&mut one, &mut other] {
        assert_eq!(exchange(session, &[parse("s", star), run("s")]).await, "1 2 T D(1) C Z");
    }
    there("ALTER TABLE changing ADD COLUMN b int DEFAULT 2").await;
    let both = "D(1\0\0\0\u{1}2)";
    for session in [&mut one, &mut other] {
        let answer = exchange(session, &[parse("n", star), run("n")]).await;
        assert_eq!(answer, format!("1 2 T {both} C Z"), "in the same batch");
    }
    there("ALTER TABLE changing DROP COLUMN b").await;
    for session in [&mut one, &mut other] {
        assert_eq!(exchange(session, &[parse("m", star)]).await, "1 Z");
        assert_eq!(exchange(session, &[run("m")]).await, "2 T D(1) C Z", "in the next one");
    }
    there("ALTER TABLE changing ADD COLUMN b int DEFAULT 2").await;
    assert_eq!(exchange(&mut one, &[run("m")]).await, "E(0A000) Z", "it was parsed before");
}

/// A pool of two backends and a table of the client. `one` has prepared `s` on the first backend with a known result,
/// and `u` with an unknown result. Then the table gets another column, and `other` holds the first backend in a
/// transaction.
async fn altered_elsewhere() -> (Stand, Frames, Frames) {
    let stand = stand(2).await;
    let there = async |sql| stand.server.node().sql("app", sql).await.unwrap();
    there("CREATE TABLE changing AS SELECT 1 AS a; ALTER TABLE changing OWNER TO app").await;
    let [mut one, mut other] = two_sessions(&stand).await;
    let prepared = [parse("s", STAR), describe(b'S', "s"), parse("u", "TABLE changing")];
    assert_eq!(exchange(&mut one, &prepared).await, "1 t T 1 Z");
    for name in ["s", "u"] {
        assert_eq!(exchange(&mut one, &executed(name)).await, "2 D(1) C Z");
    }
    there("ALTER TABLE changing ADD COLUMN b int DEFAULT 2").await;
    let process = exchange(&mut one, &[statement("SELECT pg_backend_pid()", &[])]).await;
    until(Duration::from_secs(20), async || {
        other.ask("ROLLBACK; BEGIN").await.unwrap();
        let held = exchange(&mut other, &[statement("SELECT pg_backend_pid()", &[])]).await;
        if held == process { Ok(()) } else { Err(held) }
    })
    .await;
    (stand, one, other)
}

const STAR: &str = "SELECT * FROM changing";
/// A row of the table after the change.
const ALTERED: &str = "D(1\0\0\0\u{1}2)";

fn executed(name: &str) -> [Vec<u8>; 2] {
    [bind("", name, &[]), execute("", 0)]
}

#[tokio::test]
async fn a_result_of_another_shape_is_rejected() {
    let (_stand, mut one, mut other) = altered_elsewhere().await;
    for _ in 0..2 {
        assert_eq!(exchange(&mut one, &executed("s")).await, "E(0A000) Z", "until it is prepared again");
    }
    one.send(&[executed("s").concat(), sync()].concat()).await;
    let refused = one.read_until(b::READY_FOR_QUERY).await.swap_remove(0);
    assert_eq!(refused.field(b'M'), "cached plan must not change result type");
    assert_eq!(refused.field(b'R'), "RevalidateCachedQuery", "drivers go by it");
    one.ask("BEGIN").await.unwrap();
    assert_eq!(exchange(&mut one, &executed("s")).await, "E(0A000) Z");
    assert_eq!(exchange(&mut one, &executed("u")).await, "E(25P02) Z", "the transaction has failed");
    one.ask("ROLLBACK").await.unwrap();
    let begin = statement("BEGIN", &[]);
    assert_eq!(
        exchange(&mut one, &[begin, executed("s").concat()]).await,
        "1 2 n C E(0A000) Z",
        "in a batch"
    );
    one.ask("ROLLBACK").await.unwrap();
    // A client with a Describe before each Execute relies on the response.
    let asked = [bind("", "s", &[]), describe(b'P', ""), execute("", 0)];
    assert_eq!(exchange(&mut one, &asked).await, format!("2 T {ALTERED} C Z"));
    assert_eq!(exchange(&mut one, &executed("u")).await, format!("2 {ALTERED} C Z"), "it was told nothing");
    other.ask("ROLLBACK").await.unwrap();
    for session in [&mut one, &mut other] {
        let anew = [close(b'S', "s"), parse("s", STAR), describe(b'S', "s")];
        assert_eq!(exchange(session, &anew).await, "3 1 t T Z");
        assert_eq!(exchange(session, &executed("s")).await, format!("2 {ALTERED} C Z"));
    }
}

#[tokio::test]
async fn a_result_that_another_session_prepared_is_compared() {
    let (stand, mut one, _other) = altered_elsewhere().await;
    let mut third = Frames::log_in(stand.listener, USER, &[("database", "app")]).await;
    for described in [vec![], vec![describe(b'S', "s")]] {
        let answer = if described.is_empty() { "3 1 2" } else { "3 1 t T 2" };
        let anew = [vec![close(b'S', "s"), parse("s", STAR)], described, executed("s").to_vec()].concat();
        assert_eq!(exchange(&mut third, &anew).await, format!("{answer} {ALTERED} C Z"));
        assert_eq!(exchange(&mut one, &executed("s")).await, "E(0A000) Z");
        assert_eq!(exchange(&mut third, &executed("s")).await, format!("2 {ALTERED} C Z"));
    }
}

#[tokio::test]
async fn a_result_of_the_described_shape_runs_on_any_backend() {
    let (stand, mut one, mut other) = altered_elsewhere().await;
    stand.server.node().sql("app", "ALTER TABLE changing DROP COLUMN b").await.unwrap();
    let both = [executed("s").concat(), executed("s").concat(), describe(b'S', "s"), executed("u").concat()];
    assert_eq!(exchange(&mut one, &both).await, "2 D(1) C 2 D(1) C t T 2 D(1) C Z");
    other.ask("ROLLBACK").await.unwrap();
    stand.server.node().sql("app", "DROP TABLE changing").await.unwrap();
    for _ in 0..2 {
        assert_eq!(exchange(&mut one, &executed("s")).await, "E(42P01) Z");
    }
}

#[tokio::test]
async fn a_transaction_has_the_time_of_its_beginning() {
    let stand = stand(2).await;
    let [mut one, mut other] = two_sessions(&stand).await;
    one.ask("BEGIN").await.unwrap();
    // Client work between BEGIN and the first statement.
    until(Duration::from_secs(20), async || {
        let asked = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'";
        match other.ask(asked).await.unwrap().as_str() {
            "1" => Ok(()),
            seen => Err(seen.to_owned()),
        }
    })
    .await;
    let before = other.ask("SELECT clock_timestamp()").await.unwrap();
    let earlier = one.ask(&format!("SELECT now() < '{before}'")).await.unwrap();
    assert_eq!(earlier, "t", "now() is the time of BEGIN");
    one.ask("COMMIT").await.unwrap();
}

#[tokio::test]
async fn a_deferred_begin_without_a_free_backend_fails_nothing() {
    let stand = stand_with("size = 1, query_wait_timeout = \"1s\"").await;
    let [mut one, mut other] = two_sessions(&stand).await;
    other.ask("BEGIN").await.unwrap();
    assert_eq!(other.ask("SELECT 1").await.unwrap(), "1");
    one.ask("BEGIN").await.unwrap();
    one.ask("COMMIT").await.unwrap();
    one.ask("BEGIN").await.unwrap();
    // Longer than a backend is waited for.
    let waits = "SELECT pg_sleep(1.5)";
    other.ask(waits).await.unwrap();
    other.ask("COMMIT").await.unwrap();
    assert_eq!(one.ask("SELECT 1").await.unwrap(), "1");
    one.ask("COMMIT").await.unwrap();
}

#[tokio::test]
async fn a_sessions_own_notification_has_its_process_id() {
    let stand = stand(1).await;
    let mut client = Frames::log_in(stand.listener, USER, &[("database", "app")]).await;
    client.ask("LISTEN here").await.unwrap();
    let long = "x".repeat(7900);
    for payload in ["word", &long] {
        client.send(&query(&format!("NOTIFY here, '{payload}'"))).await;
        let mut received = client.read_until(b::READY_FOR_QUERY).await;
        while received.last().is_none_or(|message| message.tag != b::NOTIFICATION_RESPONSE)
            && !received.iter().any(|message| message.tag == b::NOTIFICATION_RESPONSE)
        {
            received.extend(client.hear().await);
        }
        let notification = received.iter().find(|message| message.tag == b::NOTIFICATION_RESPONSE).unwrap();
        let pid = client.key.as_ref().unwrap().pid().to_be_bytes();
        let expected = [&pid[..], b"here\0", payload.as_bytes(), b"\0"].concat();
        assert!(notification.body == expected, "{notification:?}");
    }
}

/// An INSERT of about `bytes` bytes.
fn bulk_insert(bytes: usize) -> String {
    let row = format!("('{}')", "x".repeat(80));
    let rows = vec![row.as_str(); bytes / (row.len() + 1)];
    format!("INSERT INTO bulk VALUES {}", rows.join(","))
}

#[tokio::test]
async fn a_long_statement_does_not_pin_its_session() {
    const MIB: usize = 1 << 20;
    let stand = stand(1).await;
    let [mut one, mut other] = two_sessions(&stand).await;
    let create = "CREATE TABLE bulk (line text)";
    one.ask(create).await.unwrap();
    for bytes in [2 * MIB, 17 * MIB] {
        let insert = bulk_insert(bytes);
        one.ask(&insert).await.unwrap();
        assert_eq!(other.ask("SELECT 'served'").await.unwrap(), "served", "behind a Query of {bytes} bytes");
    }
    let insert = bulk_insert(2 * MIB);
    let long: [(&str, &[Vec<u8>]); 2] = [("", &[parse("", &insert)]), ("s", &[parse("s", &insert)])];
    for (name, parse) in long {
        assert_eq!(exchange(&mut one, parse).await, "1 Z");
        assert_eq!(other.ask("SELECT 'served'").await.unwrap(), "served", "behind a Parse of {name:?}");
        assert_eq!(exchange(&mut one, &[bind("", name, &[]), execute("", 0)]).await, "2 C Z", "{name:?}");
        assert_eq!(other.ask("SELECT 'served'").await.unwrap(), "served", "behind its Execute");
    }
}

#[tokio::test]
async fn leftover_state_of_a_long_statement_stays_with_its_session() {
    const MIB: usize = 1 << 20;
    let stand = stand(1).await;
    let [mut one, mut other] = two_sessions(&stand).await;
    one.ask("CREATE TABLE bulk (line text)").await.unwrap();
    for bytes in [2 * MIB, 17 * MIB] {
        let pid = other.ask("SELECT pg_backend_pid()").await.unwrap();
        let sets = format!("{}; SET work_mem = '7MB'; SELECT setseed(0.5)", bulk_insert(bytes));
        one.ask(&sets).await.unwrap();
        assert_eq!(one.ask("SHOW work_mem").await.unwrap(), "7MB");
        if bytes > 16 * MIB {
            assert_eq!(other.ask("SHOW work_mem").await.unwrap(), "4MB");
            assert_ne!(
                other.ask("SELECT pg_backend_pid()").await.unwrap(),
                pid,
                "nobody has read what ran on it"
            );
        }
        one.ask("DISCARD ALL").await.unwrap();
    }
    let makes = format!("{}; CREATE TEMP TABLE mine (a int)", bulk_insert(17 * MIB));
    one.ask(&makes).await.unwrap();
    assert_eq!(one.ask("SELECT count(*) FROM mine").await.unwrap(), "0", "it is held to where its table is");
}

/// An accepted `EXECUTE s1` of another session is no evidence about the session's own `s1`.
#[tokio::test]
async fn a_prepared_execute_finds_its_own_sessions_statement() {
    let stand = stand(4).await;
    let mut others = Vec::new();
    for number in 1..=3 {
        let mut client = Frames::log_in(stand.listener, USER, &[("database", "app")]).await;
        for (name, text) in
            [("s1", format!("SELECT {number}")), ("s2", "EXPLAIN (VERBOSE) EXECUTE s1".to_owned())]
        {
            client.send(&[parse(name, &text), sync()].concat()).await;
            let received = client.read_until(b::READY_FOR_QUERY).await;
            assert!(
                received.iter().all(|message| message.tag != b::ERROR_RESPONSE),
                "{name} of {number}: {received:?}"
            );
        }
        client.send(&[bind("", "s2", &[]), execute("", 0), sync()].concat()).await;
        let received = client.read_until(b::READY_FOR_QUERY).await;
        let rows: Vec<_> = received.iter().filter(|message| message.tag == b::DATA_ROW).collect();
        let shown = format!("Output: {number}");
        assert!(
            rows.iter().any(|row| String::from_utf8_lossy(&row.body).contains(&shown)),
            "{number}: {received:?}"
        );
        // The session stays, so that its prepared statement is known to later sessions.
        others.push(client);
    }
}
