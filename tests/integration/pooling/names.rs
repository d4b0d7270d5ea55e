//! Shared statements, and the proxy's own statements, are out of SQL's reach and out of clients' sight.

use gatekeeper::testing::wire::tag::backend as b;

use crate::harness::{
    Frames, Pooled,
    frames::{bind, close, execute, parse, query, sync},
    raw::Message,
    shared::{Shared, batch, q, talk},
};

/// `invalid_sql_statement_name`
const UNKNOWN: &str = "26000";
/// Lists the prepared statements of a backend, under an inconspicuous name.
const LISTED: &str = "CREATE FUNCTION listed() RETURNS SETOF text LANGUAGE sql AS \
'SELECT name FROM pg_prepared_statements WHERE name ~ ''gatekeeper'''";

async fn say(client: &mut Frames, messages: &[Vec<u8>]) -> Vec<Message> {
    client.send(&messages.concat()).await;
    client.read_until(b::READY_FOR_QUERY).await
}

fn code(received: &[Message]) -> String {
    received
        .iter()
        .find(|message| message.tag == b::ERROR_RESPONSE)
        .map(|error| error.field(b'C'))
        .unwrap_or_default()
}

#[tokio::test]
async fn no_client_reaches_a_shared_statement_by_sql() {
    let pool = Pooled::of(1).await;
    pool.server(LISTED).await;
    let (mut victim, mut other) = (pool.client().await, pool.client().await);
    victim.ask("SET app.tenant = 'mine'").await.unwrap();
    other.ask("SET app.tenant = 'theirs'").await.unwrap();
    say(&mut victim, &[parse("s", "SELECT 'secret'"), sync()]).await;
    victim.ask("SELECT 1").await.unwrap();
    for number in 1..30 {
        for sql in [
            format!("EXECUTE \"__gatekeeper_{number}\""),
            format!("EXECUTE \"__gatekeeper_{number}\"('app.tenant', 'EVIL')"),
            format!("DEALLOCATE \"__gatekeeper_{number}\""),
        ] {
            assert_eq!(other.ask(&sql).await, Err(UNKNOWN.to_owned()), "{sql}");
        }
    }
    // Names found out nevertheless.
    let listed = say(&mut other, &[query("SELECT listed()")]).await;
    let names: Vec<String> = listed
        .iter()
        .filter(|message| message.tag == b::DATA_ROW)
        .map(|row| String::from_utf8(row.body[6..].to_vec()).unwrap())
        .collect();
    assert!(!names.is_empty(), "the backend has statements that sessions share");
    let used = say(&mut victim, &[bind("", "s", &[]), execute("", 0), sync()]).await;
    assert_eq!(code(&used), "");
    for name in &names {
        assert_eq!(name.len(), 61, "{name}");
        for sql in [format!("EXECUTE \"{name}\""), format!("DEALLOCATE \"{name}\"")] {
            assert_eq!(other.ask(&sql).await, Err(UNKNOWN.to_owned()), "{sql}");
            let by_message =
                say(&mut other, &[parse("", &sql), bind("", "", &[]), execute("", 0), sync()]).await;
            assert_eq!(code(&by_message), UNKNOWN, "{sql}");
        }
        let bound = say(&mut other, &[bind("", name, &[]), execute("", 0), sync()]).await;
        assert_eq!(code(&bound), UNKNOWN, "{name}");
        say(&mut other, &[close(b'S', name), sync()]).await;
        let used = say(&mut victim, &[bind("", "s", &[]), execute("", 0), sync()]).await;
        assert_eq!(code(&used), "", "{name} was closed by another session");
    }
    assert_eq!(victim.ask("SHOW app.tenant").await.as_deref(), Ok("mine"));
}

#[tokio::test]
async fn each_backend_has_names_of_its_own() {
    let pool = Pooled::of(2).await;
    pool.server(LISTED).await;
    let (mut one, mut two) = (pool.client().await, pool.client().await);
    let mut names = Vec::new();
    for client in [&mut one, &mut two] {
        client.ask("BEGIN").await.unwrap();
        say(client, &[parse("s", "SELECT 'same'"), sync()]).await;
        names.push(client.ask("SELECT listed()").await.unwrap());
    }
    assert!(!names[0].is_empty() && names[0] != names[1], "{names:?}");
}

#[tokio::test]
async fn errors_name_statements_by_the_clients_names() {
    let shared = Shared::start().await;
    shared
        .agree([
            talk(
                "the wrong number of parameters",
                [
                    batch([parse("mine", "SELECT $1::int")]),
                    batch([bind("", "mine", &[])]),
                    batch([bind("", "mine", &[b"1", b"2"]), execute("", 0)]),
                    batch([bind("", "mine", &[]), close(b'S', "mine")]),
                    batch([bind("", "mine", &[b"1"]), execute("", 0)]),
                ],
            ),
            talk(
                "statements that a block has taken away",
                [
                    batch([parse("mine", "SELECT 1")]),
                    q("DO $$ BEGIN EXECUTE 'DEALLOCATE ' || 'ALL'; END $$"),
                    q("BEGIN"),
                    batch([bind("", "mine", &[]), execute("", 0)]).into_iter().take(0).collect(),
                    q("ROLLBACK"),
                ],
            ),
            talk(
                "DEALLOCATE by a named statement",
                [
                    batch([parse("mine", "SELECT 1"), parse("d", "DEALLOCATE mine")]),
                    batch([bind("", "d", &[]), execute("", 0)]),
                    batch([bind("", "mine", &[]), execute("", 0)]),
                    batch([bind("", "d", &[]), execute("", 0)]),
                ],
            ),
            talk(
                "DEALLOCATE in a transaction",
                [
                    batch([parse("mine", "SELECT 1")]),
                    q("BEGIN"),
                    q("DEALLOCATE mine"),
                    batch([parse("mine", "SELECT 2"), bind("", "mine", &[]), execute("", 0)]),
                    q("COMMIT"),
                    batch([bind("", "mine", &[]), execute("", 0)]),
                ],
            ),
        ])
        .await;
}

#[tokio::test]
async fn the_servers_log_shows_a_client_its_own_names() {
    let pool = Pooled::of(2).await;
    pool.server("ALTER ROLE app SET log_statement = 'all'").await;
    let mut client = pool.client().await;
    client.ask("SET client_min_messages = log").await.unwrap();
    client.ask("SET app.tenant = 'mine'").await.unwrap();
    // The second text is larger than any buffer.
    for text in ["SELECT 1".to_owned(), format!("SELECT 1 /* {} */", "x".repeat(40_000))] {
        let received =
            say(&mut client, &[parse("mine", &text), bind("", "mine", &[]), execute("", 0), sync()]).await;
        let codes: Vec<_> =
            received.iter().filter(|m| m.tag == b::NOTICE_RESPONSE).map(|m| m.field(b'M')).collect();
        assert_eq!(codes, [format!("execute mine: {text}")]);
        say(&mut client, &[close(b'S', "mine"), sync()]).await;
    }
}
