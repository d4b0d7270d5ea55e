//! Operators successfully end sessions in any protocol state: singly, by database or with the program.

use std::{net::SocketAddr, time::Duration};

use gatekeeper::testing::sandbox::DATABASE;
use rustix::process::Signal;

use super::terminate::{Place, client, points, sessions, stand_of};
use crate::harness::{Frames, Gatekeeper, Split, SplitShape, connect, until};

/// Far longer than needed, for busy machines.
const PATIENCE: Duration = Duration::from_secs(60);
/// Keys of `[runtime]`, and further tables.
const MORE: &str = "drain_timeout = \"1s\"\n\n\
                    [console]\nadmin_users = [\"root\"]\ninsecure_trust = true\n";
/// Leftovers of clients at the server: locks, statements and transactions.
const LEFT: &str = "SELECT (SELECT count(*) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation WHERE relname LIKE 'k0%') + \
                    (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory') + \
                    (SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND datname = current_database() \
                    AND state <> 'idle')";

/// A table for each point, so no client waits for a lock of another client.
fn tables() -> String {
    let each = |number| format!("CREATE TABLE k{number:03} (a int); GRANT ALL ON k{number:03} TO app;");
    (0..points().len()).map(each).collect()
}

/// Clients in all states.
async fn clients_at_all_points(place: &Place) -> Vec<Frames> {
    let mut clients = Vec::new();
    for (number, point) in points().into_iter().enumerate() {
        eprintln!("{}: {}", place.name, point.what);
        let mut sent = point.sent;
        for start in 0..sent.len().saturating_sub(3) {
            if sent[start..].starts_with(b"kept") {
                sent[start..start + 4].copy_from_slice(format!("k{number:03}").as_bytes());
            }
        }
        let mut client = client(place.address).await;
        client.send(&sent).await;
        if let Some(tag) = point.awaited_tag {
            client.read_until(tag).await;
        }
        clients.push(client);
    }
    clients
}

/// Waits until `left` reports no leftovers at the server.
async fn nothing_is_left(what: &str, left: impl AsyncFn() -> String) {
    until(PATIENCE, async || match left().await {
        left if left == "0" => Ok(()),
        left => Err((what.to_owned(), left)),
    })
    .await;
}

/// KILL of each session, then of the whole database, in the console at `console`; `left` returns the leftovers at the
/// server.
async fn kill_at_all_points(
    gatekeeper: &Gatekeeper,
    console: SocketAddr,
    place: &Place,
    left: impl AsyncFn() -> String,
) {
    let console = connect(console, "user=root dbname=gatekeeper").await.unwrap();
    for by_database in [false, true] {
        let clients = clients_at_all_points(place).await;
        if by_database {
            console.simple_query(&format!("KILL {DATABASE}")).await.unwrap();
        } else {
            for session in sessions(gatekeeper).await {
                // The session of a leaving client may already be gone.
                let _ = console.simple_query(&format!("KILL {session}")).await;
            }
        }
        nothing_is_left(place.name, &left).await;
        until(PATIENCE, async || match sessions(gatekeeper).await.len() {
            // The console's own session does not count.
            0 => Ok(()),
            some => Err((place.name, by_database, some)),
        })
        .await;
        drop(clients);
        if by_database {
            console.simple_query(&format!("RESUME {DATABASE}")).await.unwrap();
        }
        let mut next = client(place.address).await;
        assert_eq!(next.ask("SELECT count(*) FROM k000").await.as_deref(), Ok("0"), "{}", place.name);
    }
}

/// KILL and the end of the program at the listener with the given number.
async fn end_at_all_points(which: usize) {
    let (mut stand, places) = stand_of(points().len() + 2, MORE).await;
    stand.server.node().sql(DATABASE, &tables()).await.unwrap();
    let server = &stand.server;
    let left = async || server.node().sql(DATABASE, LEFT).await.unwrap();
    kill_at_all_points(&stand.gatekeeper, places[1].address, &places[which], &left).await;
    let clients = clients_at_all_points(&places[which]).await;
    stand.gatekeeper.signal(Signal::TERM);
    assert!(stand.gatekeeper.ended().await.success());
    nothing_is_left(places[which].name, left).await;
    drop(clients);
}

#[tokio::test]
async fn operators_end_sessions_with_own_backends() {
    end_at_all_points(0).await;
}

#[tokio::test]
async fn operators_end_sessions_of_session_pools() {
    end_at_all_points(1).await;
}

#[tokio::test]
async fn operators_end_sessions_of_transaction_pools() {
    end_at_all_points(2).await;
}

#[tokio::test]
async fn operators_end_split_sessions() {
    let shape =
        SplitShape { size: points().len() + 2, rest: &format!("[runtime]\n{MORE}"), ..SplitShape::default() };
    let mut split = Split::start(shape).await;
    split.primary(&tables()).await;
    split.settles().await;
    let place = Place { name: "split", address: split.listener() };
    kill_at_all_points(&split.gatekeeper, place.address, &place, async || split.primary(LEFT).await).await;
    let clients = clients_at_all_points(&place).await;
    split.gatekeeper.signal(Signal::TERM);
    assert!(split.gatekeeper.ended().await.success());
    nothing_is_left(place.name, async || split.primary(LEFT).await).await;
    drop(clients);
}
