//! COMMIT in doubt: the connection to the writer is lost while a client commits, and another server tells the outcome, or must
//! not.

use std::time::Duration;

use gatekeeper::testing::{
    sandbox::{DATABASE, Node, Passage},
    wire::tag::backend as b,
};

use crate::harness::{
    Frames, Split, SplitShape,
    frames::{query, statement, sync},
    until,
};

const COUNT: &str = "SELECT count(*) FROM t";
/// Server processes that have flushed a commit and wait for a standby that does not exist.
const WAITING: &str =
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND usename = 'app'";

/// A cluster with a table, and a listener that resolves commits.
async fn resolving() -> Split {
    let shape = SplitShape { size: 8, listener: "resolve_commits = true\n", ..SplitShape::default() };
    let split = Split::start(shape).await;
    let primary = split.sandbox.node("primary");
    primary.sql(DATABASE, "CREATE TABLE t (a int); GRANT ALL ON t TO app").await.unwrap();
    split.settles().await;
    split
}

/// Has commits wait for a standby that does not exist: each is in flight until a fault.
async fn hold_commits(node: &Node) {
    node.set("synchronous_standby_names", "nobody").await.unwrap();
}

/// Waits until `count` commits are in flight.
async fn are_in_flight(node: &Node, count: usize) {
    until(Duration::from_secs(30), async || match node.sql(DATABASE, WAITING).await.unwrap() {
        waiting if waiting == count.to_string() => Ok(()),
        waiting => Err(waiting),
    })
    .await;
}

/// Crashes the server and starts it again, once its processes are gone.
async fn crash(node: &Node) {
    node.crash().await.unwrap();
    until(Duration::from_secs(30), async || node.start().await.map_err(|error| error.to_string())).await;
}

/// Waits until the probe has had another answer of the primary.
async fn is_probed_again(split: &Split) {
    let probes = "gatekeeper_probes_total{endpoint=\"primary\",backend_role=\"primary\",outcome=\"ok\"}";
    let before = split.gatekeeper.metric(probes).await;
    until(Duration::from_secs(30), async || match split.gatekeeper.metric(probes).await {
        now if now > before => Ok(()),
        now => Err(now),
    })
    .await;
}

/// The next response: SQLSTATE and DETAIL of the error or the command tags, and the status of ReadyForQuery.
async fn answer(client: &mut Frames) -> String {
    let mut words = Vec::new();
    for message in client.read_until(b::READY_FOR_QUERY).await {
        match message.tag {
            b::ERROR_RESPONSE => words.push(format!("{} {}", message.field(b'C'), message.field(b'D'))),
            b::READY_FOR_QUERY => words.push(char::from(message.body[0]).to_string()),
            b::COMMAND_COMPLETE => {
                words.push(String::from_utf8_lossy(&message.body).trim_end_matches('\0').into())
            }
            _ => {}
        }
    }
    words.join(" ")
}

/// The commits of the table: explicit, explicit by messages, and a batch.
async fn commit_in_each_form(split: &Split) -> Vec<(Frames, &'static str)> {
    let batch = |sql: &str| [statement(sql, &[]), sync()].concat();
    let mut clients = Vec::new();
    for (begins, commit, committed) in [
        (true, query("COMMIT"), "COMMIT I"),
        (true, query("end work;"), "COMMIT I"),
        (true, batch("COMMIT"), "COMMIT I"),
        (false, batch("INSERT INTO t VALUES (1)"), "INSERT 0 1 I"),
        (false, batch("WITH x AS (INSERT INTO t VALUES (1) RETURNING a) SELECT a FROM x"), "SELECT 1 I"),
    ] {
        let mut client = split.client().await;
        if begins {
            client.ask("BEGIN").await.unwrap();
            client.ask("INSERT INTO t VALUES (1)").await.unwrap();
        }
        client.send(&commit).await;
        clients.push((client, committed));
    }
    clients
}

#[tokio::test]
async fn a_flushed_commit_is_reported_after_a_crash() {
    let split = resolving().await;
    let primary = split.sandbox.node("primary");
    hold_commits(primary).await;
    let mut clients = commit_in_each_form(&split).await;
    are_in_flight(primary, clients.len()).await;
    crash(primary).await;
    for (client, committed) in &mut clients {
        assert_eq!(answer(client).await, *committed);
    }
    assert_eq!(primary.sql(DATABASE, COUNT).await.unwrap(), clients.len().to_string());
    primary.set("synchronous_standby_names", "").await.unwrap();
    for (client, _) in &mut clients {
        // The table was new, so that its INSERT may have left session state, which is lost.
        let first = client.ask("SELECT 1").await;
        assert!(first == Ok("1".to_owned()) || first == Err("08006".to_owned()), "{first:?}");
        client.ask("INSERT INTO t VALUES (2)").await.unwrap();
    }
    let outcome =
        |outcome| format!("gatekeeper_commits_in_doubt_total{{listener=\"app\",outcome=\"{outcome}\"}}");
    let gatekeeper = &split.gatekeeper;
    assert_eq!(gatekeeper.metric(&outcome("committed")).await, Some(5.0));
    assert_eq!(gatekeeper.metric(&outcome("unresolved")).await, Some(0.0));
    until(Duration::from_secs(30), async || {
        let events = gatekeeper.get("/v1/events").await.unwrap().body;
        let kinds = ["failover_began", "failover_ended", "commit_resolved"];
        if kinds.iter().all(|kind| events.contains(kind)) { Ok(()) } else { Err(events) }
    })
    .await;
}

#[tokio::test]
async fn a_commit_in_progress_is_ended_and_reported() {
    let split = resolving().await;
    let primary = split.sandbox.node("primary");
    hold_commits(primary).await;
    let mut client = split.client().await;
    client.ask("BEGIN").await.unwrap();
    client.ask("INSERT INTO t VALUES (1)").await.unwrap();
    client.send(&query("COMMIT")).await;
    are_in_flight(primary, 1).await;
    // The connections break, and the server lives: its process still waits for the standby.
    split.sandbox.endpoint("primary").middleman().set(Passage::Cut);
    until(Duration::from_secs(30), async || {
        match split.gatekeeper.metric("gatekeeper_held_clients{listener=\"app\"}").await {
            Some(1.0) => Ok(()),
            held => Err(held),
        }
    })
    .await;
    split.sandbox.endpoint("primary").middleman().set(Passage::Open);
    assert_eq!(answer(&mut client).await, "COMMIT I");
    assert_eq!(primary.sql(DATABASE, COUNT).await.unwrap(), "1");
}

#[tokio::test]
async fn a_lossy_promotion_resolves_nothing() {
    let split = resolving().await;
    let (primary, next) = (split.sandbox.node("primary"), split.sandbox.node("reads-1"));
    // What the promoted server lacks.
    next.pause_replay().await.unwrap();
    hold_commits(primary).await;
    let mut clients = commit_in_each_form(&split).await;
    are_in_flight(primary, clients.len()).await;
    is_probed_again(&split).await;
    primary.freeze();
    next.resume_replay().await.unwrap();
    next.promote().await.unwrap();
    split.sandbox.endpoint("primary").middleman().lead_to(&[next.address()]);
    for (client, _) in &mut clients {
        let answer = answer(client).await;
        assert!(answer.contains("08007 The id of the transaction is ") && answer.ends_with(" I"), "{answer}");
    }
    primary.thaw();
}

#[tokio::test]
async fn a_session_can_switch_the_resolution_off() {
    let split = resolving().await;
    let primary = split.sandbox.node("primary");
    let mut client = split.client().await;
    client.ask("SET gatekeeper.resolve_commits = off").await.unwrap();
    hold_commits(primary).await;
    client.ask("BEGIN").await.unwrap();
    client.ask("INSERT INTO t VALUES (1)").await.unwrap();
    client.send(&query("COMMIT")).await;
    are_in_flight(primary, 1).await;
    crash(primary).await;
    assert_eq!(answer(&mut client).await, "08007  I");
}

#[tokio::test]
async fn an_unflushed_commit_is_not_resolved() {
    let split = resolving().await;
    let primary = split.sandbox.node("primary");
    let mut client = split.client().await;
    client.ask("BEGIN").await.unwrap();
    client.ask("SET LOCAL synchronous_commit = off").await.unwrap();
    // Its trigger keeps the COMMIT in flight.
    primary
        .sql(
            DATABASE,
            "CREATE FUNCTION sleeps() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN PERFORM pg_sleep(600); RETURN NULL; END $$;\
             CREATE CONSTRAINT TRIGGER sleeps AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED \
             FOR EACH ROW EXECUTE FUNCTION sleeps()",
        )
        .await
        .unwrap();
    client.ask("INSERT INTO t VALUES (1)").await.unwrap();
    client.send(&query("COMMIT")).await;
    until(Duration::from_secs(30), async || {
        let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        match primary.sql(DATABASE, sleeping).await.unwrap().as_str() {
            "1" => Ok(()),
            other => Err(other.to_owned()),
        }
    })
    .await;
    crash(primary).await;
    assert_eq!(answer(&mut client).await, "08007  I");
}
