//! Statements that a read pool cannot serve run again elsewhere, invisibly to the client.

use std::time::Duration;

use crate::harness::{
    Frames, Split,
    frames::{bind, execute, parse, sync},
    split::{SplitShape, last_route},
    until,
};
use gatekeeper::testing::{
    sandbox::{APP, DATABASE, Stop},
    wire::tag::backend::{self as b, READY_FOR_QUERY},
};

const PATIENCE: Duration = Duration::from_secs(30);

async fn stock() -> Split {
    stock_with("").await
}

/// The same with more keys of the listener.
async fn stock_with(listener: &str) -> Split {
    let split = Split::with(listener).await;
    split.primary("CREATE TABLE stock (id int, n int); INSERT INTO stock VALUES (1, 10); GRANT ALL ON stock TO PUBLIC").await;
    split.settles().await;
    split
}

#[tokio::test]
async fn a_misclassified_write_runs_on_the_primary_and_is_remembered() {
    let split = Split::with("hints = \"all\"").await;
    split
        .primary(
            "CREATE TABLE stock (n int); INSERT INTO stock VALUES (0); GRANT ALL ON stock TO PUBLIC; \
             CREATE FUNCTION bump() RETURNS int LANGUAGE plpgsql AS \
             $$ BEGIN UPDATE stock SET n = n + 1; RETURN (SELECT n FROM stock); END $$",
        )
        .await;
    split.settles().await;
    let mut client = split.client().await;
    let call = "/* gatekeeper: route=read */ SELECT bump()";
    assert_eq!(client.ask(call).await.unwrap(), "1");
    assert_eq!(last_route(&mut client).await, "primary (read-only-refused)");
    for n in 2..=4 {
        assert_eq!(client.ask(call).await.unwrap(), n.to_string(), "once each");
        assert_eq!(last_route(&mut client).await, "primary (learned-write)");
    }
    // Messages, too: other texts are not known yet.
    let call = "/* gatekeeper: route=read */ SELECT bump() AS again";
    client.send(&[parse("", call), bind("", "", &[]), execute("", 0), sync()].concat()).await;
    let received = client.read_until(READY_FOR_QUERY).await;
    assert!(received.iter().all(|message| message.tag != b'E'), "{received:?}");
    assert_eq!(split.primary("SELECT n FROM stock").await, "5");
}

/// The regression suite's `select_views` hung here behind a lagging standby, together with its worker.
#[tokio::test]
async fn a_rerun_sets_the_role_of_its_new_backend() {
    let split = stock().await;
    split.primary(&format!("CREATE ROLE clerk; GRANT clerk TO \"{}\"", APP.name)).await;
    split.settles().await;
    for node in ["reads-1", "reads-2"] {
        split.sandbox.node(node).pause_replay().await.unwrap();
    }
    split.primary("CREATE TABLE young AS SELECT 7 AS n; GRANT ALL ON young TO PUBLIC").await;
    let mut client = split.client().await;
    client.ask("SET gatekeeper.consistency = 'eventual'").await.unwrap();
    client.ask("SET ROLE clerk").await.unwrap();
    // A writing session keeps the backend that has the role.
    let mut writer = split.client().await;
    writer.ask("BEGIN").await.unwrap();
    writer.ask("LOCK TABLE stock IN ROW EXCLUSIVE MODE").await.unwrap();
    // A statement right behind SET follows SET until the state check is done.
    until(PATIENCE, async || {
        assert_eq!(client.ask("SELECT n || current_role FROM young").await.unwrap(), "7clerk");
        match last_route(&mut client).await {
            route if route == "primary (standby-refused)" => Ok(()),
            route => Err(route),
        }
    })
    .await;
    writer.ask("COMMIT").await.unwrap();
}

#[tokio::test]
async fn a_role_missing_on_the_read_pool_reads_on_the_primary() {
    let split = stock().await;
    for node in ["reads-1", "reads-2"] {
        split.sandbox.node(node).pause_replay().await.unwrap();
    }
    split.primary(&format!("CREATE ROLE newcomer; GRANT newcomer TO \"{}\"", APP.name)).await;
    let mut client = split.client().await;
    client.ask("SET gatekeeper.consistency = 'eventual'").await.unwrap();
    client.ask("SET ROLE newcomer").await.unwrap();
    // A statement right behind SET follows SET until the state check is done.
    until(PATIENCE, async || {
        assert_eq!(client.ask("SELECT n || current_role FROM stock").await.unwrap(), "10newcomer");
        match last_route(&mut client).await {
            route if route == "primary (standby-refused)" => Ok(()),
            route => Err(route),
        }
    })
    .await;
    // The rerun of one read does not affect the next.
    client.ask("RESET ROLE").await.unwrap();
    // A statement right behind SET follows SET until the state check is done.
    until(PATIENCE, async || {
        assert_eq!(client.ask("SELECT n FROM stock").await.unwrap(), "10");
        match last_route(&mut client).await {
            route if route == "reads (read)" => Ok(()),
            route => Err(route),
        }
    })
    .await;
}

#[tokio::test]
async fn a_database_missing_on_the_read_pool_is_read_on_the_primary() {
    let split = stock().await;
    for node in ["reads-1", "reads-2"] {
        split.sandbox.node(node).pause_replay().await.unwrap();
    }
    split.primary("CREATE DATABASE young").await;
    let mut client = split.client_of("young").await;
    assert_eq!(client.ask("SELECT count(*) > 0 FROM pg_class").await.unwrap(), "t");
    assert_eq!(last_route(&mut client).await, "primary (standby-refused)");
}

#[tokio::test]
async fn a_table_missing_on_the_read_pool_is_read_on_the_primary() {
    let split = stock().await;
    for node in ["reads-1", "reads-2"] {
        split.sandbox.node(node).pause_replay().await.unwrap();
    }
    split.primary("CREATE TABLE young AS SELECT 7 AS n; GRANT ALL ON young TO PUBLIC").await;
    let mut client = split.client().await;
    assert_eq!(client.ask("SELECT n FROM young").await.unwrap(), "7");
    // And in the extended protocol, where answers begin before the error.
    client
        .send(&[parse("", "SELECT n FROM young"), bind("", "", &[]), execute("", 0), sync()].concat())
        .await;
    let received = client.read_until(READY_FOR_QUERY).await;
    let tags: Vec<u8> = received.iter().map(|message| message.tag).collect();
    assert_eq!(String::from_utf8_lossy(&tags), "12DCZ");
    // An error that is the same on every server comes from the primary.
    assert_eq!(client.ask("SELECT n FROM nowhere").await.unwrap_err(), "42P01");
}

#[tokio::test]
async fn reads_survive_the_death_of_their_node() {
    let split = stock().await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = split.client().await;
        client.ask("SELECT n FROM stock").await.unwrap();
        clients.push(client);
    }
    split.sandbox.node("reads-1").stop(Stop::Immediate).await.unwrap();
    for _ in 0..10 {
        for client in &mut clients {
            assert_eq!(client.ask("SELECT n FROM stock").await.unwrap(), "10");
        }
    }
    split.sandbox.node("reads-2").stop(Stop::Immediate).await.unwrap();
    for _ in 0..10 {
        for client in &mut clients {
            assert_eq!(client.ask("SELECT n FROM stock").await.unwrap(), "10");
        }
    }
    for node in ["reads-1", "reads-2"] {
        split.sandbox.node(node).start().await.unwrap();
    }
    let client = &mut clients[0];
    until(PATIENCE, async || {
        assert_eq!(client.ask("SELECT n FROM stock").await.unwrap(), "10");
        match last_route(client).await {
            route if route == "reads (read)" => Ok(()),
            route => Err(route),
        }
    })
    .await;
}

#[tokio::test]
async fn a_read_whose_server_ends_in_the_middle_runs_again() {
    let split = stock().await;
    let mut client = split.client().await;
    let slow = "SELECT count(*) FROM stock WHERE pg_sleep(1) IS NOT NULL";
    client.send(&crate::harness::frames::query(slow)).await;
    // Both nodes: the balancer's choice is unknown.
    for node in ["reads-1", "reads-2"] {
        let node = split.sandbox.node(node);
        until(PATIENCE, async || {
            node.sql("postgres", "SELECT 1").await.map(|_| ()).map_err(|error| error.to_string())
        })
        .await;
        node.sql(
            "postgres",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(1)%' AND pid <> pg_backend_pid()",
        )
        .await
        .unwrap();
    }
    let received = client.read_until(READY_FOR_QUERY).await;
    assert!(received.iter().all(|message| message.tag != b'E'), "{received:?}");
}

/// Found by the checker of `chaos`: a node that ended during the query of its replay position, ahead of a read, ended
/// the client's session, too.
#[tokio::test]
async fn a_node_lost_during_its_position_query_fails_no_read() {
    let split = stock().await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(split.client().await);
    }
    let terminate = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'app'";
    for n in 0..20 {
        for client in &mut clients {
            client.ask(&format!("UPDATE stock SET n = {n}")).await.unwrap();
        }
        // The writer has been sampled once a read is back on a node: from then on nodes report their positions.
        for _ in 0..10 {
            for client in &mut clients {
                assert_eq!(client.ask("SELECT n FROM stock").await.unwrap(), n.to_string());
            }
        }
        for node in ["reads-1", "reads-2"] {
            split.sandbox.node(node).sql("postgres", terminate).await.unwrap();
        }
        for client in &mut clients {
            assert_eq!(client.ask("SELECT n FROM stock").await.unwrap(), n.to_string());
        }
    }
}

/// The regression suite's `tsdicts` saw the last words of a node that had refused a read, behind a lagging standby.
#[tokio::test]
async fn a_node_lost_behind_its_error_sends_nothing_to_the_client() {
    let split = Split::with("hints = \"all\"\nconsistency = \"eventual\"").await;
    let mut client = split.client().await;
    // On a standby there is no such unit (0A000), and then the connection is ended.
    let read = "/* gatekeeper: route=read */ SELECT date_trunc(CASE WHEN pg_is_in_recovery() \
                AND pg_terminate_backend(pg_backend_pid()) THEN 'timezone' ELSE 'day' END, timestamp '2020-02-02 20:02')";
    for n in 0..20 {
        assert_eq!(client.ask(&format!("{read} AS n{n}")).await.unwrap(), "2020-02-02 00:00:00");
        // A node whose connections end is ejected for a while.
        let route = last_route(&mut client).await;
        assert!(matches!(&*route, "primary (standby-refused)" | "primary (node-lost)"), "{route}");
        // If the connection was returned before the node's last messages, a proved read can receive them.
        assert_eq!(client.ask("SELECT 1").await.unwrap(), "1");
    }
}

/// A function declared as reading that calls a writing function.
#[tokio::test]
async fn nothing_is_written_on_a_node_that_was_promoted_by_mistake() {
    // Invisible to the probe.
    let split = Split::start(SplitShape { interval: "1h", ..SplitShape::default() }).await;
    split
        .primary(
            "CREATE TABLE notes (n int); GRANT ALL ON notes TO PUBLIC; \
             CREATE FUNCTION note() RETURNS int LANGUAGE plpgsql VOLATILE AS \
             $$ BEGIN INSERT INTO notes VALUES (1); RETURN 1; END $$; \
             CREATE FUNCTION look() RETURNS int LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN note(); END $$",
        )
        .await;
    split.settles().await;
    let mut client = split.client().await;
    until(PATIENCE, async || {
        client.ask("SELECT count(*) FROM notes").await?;
        let route = last_route(&mut client).await;
        if route == "reads (read)" { Ok(()) } else { Err(route) }
    })
    .await;
    for node in ["reads-1", "reads-2"] {
        split.sandbox.node(node).promote().await.unwrap();
    }
    assert_eq!(client.ask("SELECT look()").await.unwrap(), "1");
    assert_eq!(last_route(&mut client).await, "primary (read-only-refused)");
    for (node, notes) in [("primary", "1"), ("reads-1", "0"), ("reads-2", "0")] {
        let found = split.sandbox.node(node).sql(DATABASE, "SELECT count(*) FROM notes").await.unwrap();
        assert_eq!(found, notes, "on {node}");
    }
    // Clients see one writable server.
    assert_eq!(client.ask("SHOW default_transaction_read_only").await.unwrap(), "off");
}

/// Settings follow a session to both sides; the read-only setting of a read pool's backend does not.
#[tokio::test]
async fn the_read_only_setting_of_read_pools_is_hidden() {
    let split = stock().await;
    let mut client = split.client().await;
    for value in ["on", "off"] {
        client.ask(&format!("SET default_transaction_read_only = {value}")).await.unwrap();
        for _ in 0..3 {
            assert_eq!(client.ask("SELECT n FROM stock").await.unwrap(), "10");
            assert_eq!(client.ask("SHOW default_transaction_read_only").await.unwrap(), value);
        }
    }
    for command in ["BEGIN READ ONLY", "SHOW default_transaction_read_only", "COMMIT"] {
        let answer = client.ask(command).await.unwrap();
        assert!(!command.starts_with("SHOW") || answer == "off", "{answer}");
    }
    client.ask("UPDATE stock SET n = 11").await.unwrap();
    client.ask("RESET default_transaction_read_only").await.unwrap();
    assert_eq!(client.ask("SELECT n FROM stock").await.unwrap(), "11");
    client.ask("UPDATE stock SET n = 12").await.unwrap();
}

/// Number of reruns caused by a read pool so far.
async fn reruns(split: &Split) -> f64 {
    let mut sum = 0.0;
    for cause in ["node-lost", "recovery-conflict", "standby-refused", "read-only-refused"] {
        let series = format!(
            "gatekeeper_reruns_total{{endpoint=\"reads\",backend_role=\"read-pool\",cause=\"{cause}\"}}"
        );
        sum += split.gatekeeper.metric(&series).await.unwrap();
    }
    sum
}

/// A Bind with too few values (08P01) was rerun some thousand times a second, and the client got no answer.
#[tokio::test]
async fn an_error_of_every_server_is_returned_once() {
    let split = stock().await;
    split
        .primary(
            "CREATE FUNCTION fails(state text) RETURNS int LANGUAGE plpgsql STABLE AS \
             $$ BEGIN RAISE EXCEPTION 'so be it' USING ERRCODE = state; END $$",
        )
        .await;
    split.settles().await;
    let mut client = split.client().await;
    until(PATIENCE, async || {
        client.ask("SELECT n FROM stock").await?;
        let route = last_route(&mut client).await;
        if route == "reads (read)" { Ok(()) } else { Err(route) }
    })
    .await;
    let mut direct = split.plain().await;
    for batch in [
        [parse("", "SELECT $1::int, $2::text"), bind("", "", &[b"1"]), execute("", 0), sync()],
        [parse("", "SELECT $1::int"), bind("", "", &[b"one"]), execute("", 0), sync()],
        [parse("", "SELECT 1"), bind("", "", &[]), execute("nobody", 0), sync()],
    ] {
        let batch = batch.concat();
        let before = reruns(&split).await;
        let mut received = Vec::new();
        for who in [&mut client, &mut direct] {
            who.send(&batch).await;
            let answer = who.read_until(READY_FOR_QUERY).await;
            received
                .push(answer.iter().map(|it| (it.tag, it.field(b'C'), it.field(b'M'))).collect::<Vec<_>>());
        }
        assert_eq!(received[0], received[1]);
        assert_eq!(reruns(&split).await, before, "{received:?}");
    }
    for (state, most) in [
        ("08000", 0.0),
        ("08006", 0.0),
        ("08P01", 0.0),
        ("57014", 0.0),
        ("57P01", 0.0),
        ("57P03", 0.0),
        ("22012", 0.0),
        ("40001", 1.0),
        ("40P01", 1.0),
        ("0A000", 1.0),
        ("42P01", 1.0),
        ("55000", 1.0),
        ("58030", 1.0),
        ("XX000", 1.0),
    ] {
        let before = reruns(&split).await;
        assert_eq!(client.ask(&format!("SELECT fails('{state}')")).await.unwrap_err(), state);
        assert_eq!(reruns(&split).await - before, most, "{state}");
    }
    assert_eq!(client.ask("SELECT n FROM stock").await.unwrap(), "10", "the session goes on");
}

/// Termination of each backend of a read finally fails the read, on the writer: nothing took effect.
#[tokio::test]
async fn a_read_that_fails_everywhere_fails() {
    let split = stock().await;
    let mut client = split.client().await;
    let before = reruns(&split).await;
    client
        .send(&crate::harness::frames::query("SELECT count(*) FROM stock WHERE pg_sleep(60) IS NOT NULL"))
        .await;
    let terminate = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                     WHERE query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()";
    let ends_everywhere = async {
        loop {
            for node in ["reads-1", "reads-2", "primary"] {
                split.sandbox.node(node).sql("postgres", terminate).await.unwrap();
            }
        }
    };
    let received = tokio::select! {
        received = client.read_until(READY_FOR_QUERY) => received,
        () = ends_everywhere => unreachable!("it goes on for ever"),
    };
    let error = received.iter().find(|message| message.tag == b::ERROR_RESPONSE).expect("an error");
    assert_eq!((error.field(b'S'), error.field(b'C')), ("ERROR".to_owned(), "40001".to_owned()));
    assert!(reruns(&split).await - before <= 2.0);
    assert_eq!(client.ask("SELECT 'on'").await.unwrap(), "on");
}

/// A split listener with a short `read_deadline`, and clients that have read from the read pool.
async fn impatient() -> (Split, [Frames; 4]) {
    let split = stock_with("read_deadline = \"1s\"").await;
    let mut clients =
        [split.client().await, split.client().await, split.client().await, split.client().await];
    for client in &mut clients {
        until(PATIENCE, async || {
            client.ask("SELECT n FROM stock").await.unwrap();
            match last_route(client).await {
                route if route.starts_with("reads") => Ok(()),
                route => Err(route),
            }
        })
        .await;
    }
    (split, clients)
}

#[tokio::test]
async fn reads_on_a_read_pool_that_stands_still_run_elsewhere() {
    let (split, mut clients) = impatient().await;
    // A late probe is enough: no probe must fail.
    split.gatekeeper.reload_with(|config| config.replace("timeout = \"2s\"", "timeout = \"60s\"")).await;
    let nodes = ["reads-1", "reads-2"].map(|name| split.sandbox.node(name));
    nodes.iter().for_each(|node| node.freeze());
    let [one, two, three, four] = &mut clients;
    let read = "SELECT n FROM stock";
    let answers = tokio::join!(one.ask(read), two.ask(read), three.ask(read), four.ask(read));
    assert_eq!(answers, (Ok("10".into()), Ok("10".into()), Ok("10".into()), Ok("10".into())));
    assert!(last_route(one).await.starts_with("primary"));
    let given_up = "gatekeeper_backends_terminated_total{endpoint=\"reads\",backend_role=\"read-pool\",reason=\"silence\"}";
    assert!(split.gatekeeper.metric(given_up).await.unwrap() >= 1.0);
    let failed = "gatekeeper_probes_total{endpoint=\"reads\",backend_role=\"read-pool\",outcome=\"error\"}";
    assert_eq!(split.gatekeeper.metric(failed).await, Some(0.0));
    nodes.iter().for_each(|node| node.thaw());
}

#[tokio::test]
async fn a_long_read_on_a_read_pool_that_answers_goes_on() {
    let (split, [mut client, ..]) = impatient().await;
    let before = reruns(&split).await;
    let read = "SELECT n FROM stock WHERE pg_sleep(3) IS NOT NULL";
    assert_eq!(client.ask(read).await.unwrap(), "10");
    assert!(last_route(&mut client).await.starts_with("reads"));
    assert_eq!(reruns(&split).await, before);
}
