//! State surviving `DISCARD ALL` on a backend never reaches another session.

use std::net::SocketAddr;

use gatekeeper::testing::sandbox::{APP, DATABASE, SandboxOptions, ServerTls, Single};

use crate::harness::{Frames, Stand, stand};

/// A server, and a listener in each pool mode with single-backend pools.
async fn modes() -> (Stand, [SocketAddr; 2]) {
    let options = SandboxOptions { tls: ServerTls::Off, ..SandboxOptions::default() };
    let server = Single::start(options).await.unwrap();
    server.node().sql(DATABASE, "ALTER ROLE app SUPERUSER").await.unwrap();
    std::fs::write(server.folder().join("password"), APP.password).unwrap();
    let transaction = stand::listener(&server);
    let session = SocketAddr::new(transaction.ip(), transaction.port() + 1);
    let pool = |mode| {
        format!(
            "auth = {{ method = \"trust\" }}\n\
             pool = {{ mode = \"{mode}\", size = 1, pin_on_functions = [\"keep\"] }}"
        )
    };
    let more = format!(
        "[[listener]]\nname = \"session\"\nbind = \"{session}\"\nroute = \"primary\"\n{}",
        pool("session")
    );
    let config = stand::config_with_tls(
        &server,
        "tls = { mode = \"disable\" }",
        "login = { password = { file = \"password\" } }",
        &pool("transaction"),
        &more,
    );
    (Stand::start(server, &config).await, [session, transaction])
}

async fn client(at: SocketAddr) -> Frames {
    Frames::log_in(at, APP, &[("database", DATABASE)]).await
}

/// Server process of the client's backend.
async fn process(client: &mut Frames) -> String {
    client.ask("SELECT pg_backend_pid()").await.unwrap()
}

#[tokio::test]
async fn no_session_can_predict_the_next_sessions_random_numbers() {
    let (_stand, listeners) = modes().await;
    for at in listeners {
        for discards in [false, true] {
            let mut first = client(at).await;
            first.ask("SELECT setseed(0.5)").await.unwrap();
            let foretold = first.ask("SELECT random()").await.unwrap();
            first.ask("SELECT setseed(0.5)").await.unwrap();
            if discards {
                first.ask("DISCARD ALL").await.unwrap();
            }
            drop(first);
            let mut second = client(at).await;
            assert_ne!(second.ask("SELECT random()").await.unwrap(), foretold, "{at} {discards}");
        }
    }
}

#[tokio::test]
async fn a_backend_with_a_loaded_library_is_closed() {
    let (_stand, listeners) = modes().await;
    for at in listeners {
        for statement in ["LOAD 'auto_explain'", "SELECT keep()"] {
            for discards in [false, true] {
                let mut first = client(at).await;
                first
                    .ask("CREATE OR REPLACE FUNCTION keep() RETURNS int LANGUAGE sql AS 'SELECT 1'")
                    .await
                    .unwrap();
                let before = process(&mut first).await;
                first.ask(statement).await.unwrap();
                if discards {
                    first.ask("DISCARD ALL").await.unwrap();
                }
                drop(first);
                let mut second = client(at).await;
                assert_ne!(process(&mut second).await, before, "{at} {statement} {discards}");
            }
        }
    }
}

#[tokio::test]
async fn a_clean_session_leaves_its_backend_to_the_next() {
    let (_stand, listeners) = modes().await;
    for at in listeners {
        let mut first = client(at).await;
        let before = process(&mut first).await;
        drop(first);
        assert_eq!(process(&mut client(at).await).await, before, "{at}");
    }
}

#[tokio::test]
async fn session_mode_closes_backends_after_stateful_languages() {
    let (_stand, [session, _]) = modes().await;
    let mut first = client(session).await;
    // Stand-in for `plperl` and similar languages, possibly not installed.
    first.ask("CREATE LANGUAGE keeps HANDLER plpgsql_call_handler").await.unwrap();
    let before = process(&mut first).await;
    drop(first);
    assert_ne!(process(&mut client(session).await).await, before);
}
