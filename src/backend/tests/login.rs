//! Authentication of Gatekeeper to a server.

use std::sync::{Arc, Mutex};

use super::script::{Guest, Server, handle, request, user, with_password, with_token};
use crate::{
    backend::{ConnectFailure, ConnectRequest, CredentialKind, EndpointSettings},
    blame::Blame,
    credentials::{Login, PasswordLogin, Secret},
    telemetry::labels::ConnectPhase,
    topology::ObservedRole,
    wire::{ProtocolVersion, StartupMessage},
};

fn logging_in(login: Login, mut settings: EndpointSettings) -> EndpointSettings {
    settings.login = login;
    settings
}

/// A command that prints `token-1`, `token-2`, and so on.
fn counting_command(folder: &tempfile::TempDir) -> String {
    let file = folder.path().join("mints").display().to_string();
    format!("echo >> {file}; printf 'token-%s\\n' $(wc -l < {file})")
}

fn mints(folder: &tempfile::TempDir) -> usize {
    std::fs::read_to_string(folder.path().join("mints")).map_or(0, |lines| lines.lines().count())
}

/// Credentials shown to a server, by connection.
type Seen = Arc<Mutex<Vec<String>>>;

/// A server that takes every password but `bad`.
async fn picky(bad: &'static str) -> (Server, Seen) {
    let seen = Seen::default();
    let shown = Arc::clone(&seen);
    let server = Server::start(move |mut guest: Guest| {
        let shown = Arc::clone(&shown);
        async move {
            guest.startup().await;
            let password = guest.password().await;
            shown.lock().unwrap().push(password.clone());
            match password == bad && guest.number > 0 {
                true => guest.refuse(b"28P01", "password authentication failed for user \"alice\"").await,
                false => guest.welcome().await,
            }
        }
    })
    .await;
    (server, seen)
}

#[tokio::test]
async fn the_startup_message_goes_out_as_the_client_gave_it() {
    let mut startup = StartupMessage::new(ProtocolVersion::V3_2);
    for (name, value) in [
        ("user", "alice"),
        ("database", "app"),
        ("application_name", "report"),
        ("options", "-c work_mem=64MB"),
        ("replication", "database"),
        ("_pq_.unknown", "1"),
    ] {
        startup.set(name, value);
    }
    let expected = startup.clone();
    let server = Server::start(move |mut guest| {
        let expected = expected.clone();
        async move {
            assert_eq!(guest.startup().await, expected);
            guest.welcome().await;
        }
    })
    .await;
    let endpoint = handle(server.settings(), &server.tasks);
    let backend =
        endpoint.connect(ConnectRequest { user: user("alice"), startup, token_wait: None }).await.unwrap();
    assert_eq!(backend.observed_role(), Some(ObservedRole::Standby));
    assert_eq!(backend.logged_in.parameters.as_bytes(), b"S\0\0\0\x16in_hot_standby\0on\0");
    assert_eq!(backend.logged_in.key.as_ref().unwrap().pid(), 7);
    assert_eq!(backend.peer, Some(server.address));
    assert!(backend.unread.is_empty());
}

#[tokio::test]
async fn the_user_of_a_configured_login_keeps_the_clients_database() {
    let server = Server::start(|mut guest| async move {
        let startup = guest.startup().await;
        assert_eq!(startup.get("user"), Some(&b"service"[..]));
        assert_eq!(startup.get("database"), Some(&b"alice"[..]));
        assert_eq!(guest.password().await, "secret");
        guest.welcome().await;
    })
    .await;
    let login = Login::Password(PasswordLogin {
        user: Some(user("service")),
        password: Secret::new("secret".to_owned()),
    });
    let endpoint = handle(logging_in(login, server.settings()), &server.tasks);
    assert!(endpoint.connect(request("alice")).await.is_ok());
}

#[tokio::test]
async fn a_wrong_password_is_told_in_the_servers_own_words() {
    let server = Server::start(|mut guest| async move {
        guest.startup().await;
        guest.password().await;
        guest.refuse(b"28P01", "password authentication failed for user \"alice\"").await;
    })
    .await;
    let endpoint = handle(logging_in(with_password("wrong"), server.settings()), &server.tasks);
    let error = endpoint.connect(request("alice")).await.err().unwrap();
    assert_eq!(
        error.to_string(),
        format!(
            "backend login failed: endpoint `primary` at {}: password authentication failed for user \"alice\" \
             (SQLSTATE 28P01)",
            server.address
        )
    );
    assert_eq!((error.phase(), error.blame()), (ConnectPhase::Login, Blame::Credentials));
    let refused = error.refused().unwrap();
    assert_eq!(refused.shown, CredentialKind::Password);
    assert_eq!(refused.response.as_bytes().first(), Some(&b'E'), "kept as it came, for the client");
    assert_eq!(server.connections(), 1, "a password does not get better by trying again");
}

#[tokio::test]
async fn a_kept_token_that_is_refused_is_replaced_once() {
    let folder = tempfile::tempdir().unwrap();
    let (server, seen) = picky("token-1").await;
    let endpoint =
        handle(logging_in(with_token(&counting_command(&folder)), server.settings()), &server.tasks);
    drop(endpoint.connect(request("alice")).await.unwrap());
    drop(endpoint.connect(request("alice")).await.unwrap());
    assert_eq!(*seen.lock().unwrap(), ["token-1", "token-1", "token-2"]);
    drop(endpoint.connect(request("alice")).await.unwrap());
    assert_eq!(seen.lock().unwrap().last().unwrap(), "token-2", "the new one is kept");
    assert_eq!(mints(&folder), 2);
}

#[tokio::test]
async fn a_token_that_was_minted_for_this_login_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(|mut guest| async move {
        guest.startup().await;
        guest.password().await;
        guest.refuse(b"28P01", "AlloyDB IAM user authentication failed for user \"alice\"").await;
    })
    .await;
    let endpoint =
        handle(logging_in(with_token(&counting_command(&folder)), server.settings()), &server.tasks);
    let error = endpoint.connect(request("alice")).await.err().unwrap();
    assert_eq!((server.connections(), mints(&folder)), (1, 1));
    assert!(error.remedy().unwrap().contains("too small a scope"), "{:?}", error.remedy());
}

#[tokio::test]
async fn a_refusal_that_is_not_about_the_token_does_not_cost_another_one() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(|mut guest| async move {
        guest.startup().await;
        guest.password().await;
        match guest.number {
            0 => guest.welcome().await,
            _ => guest.refuse(b"53300", "sorry, too many clients already").await,
        }
    })
    .await;
    let endpoint =
        handle(logging_in(with_token(&counting_command(&folder)), server.settings()), &server.tasks);
    drop(endpoint.connect(request("alice")).await.unwrap());
    let error = endpoint.connect(request("alice")).await.err().unwrap();
    assert_eq!(error.blame(), Blame::Endpoint);
    assert_eq!((server.connections(), mints(&folder)), (2, 1));
}

#[tokio::test]
async fn an_unlisted_user_costs_neither_a_token_nor_a_connection() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = picky("").await;
    let endpoint =
        handle(logging_in(with_token(&counting_command(&folder)), server.settings()), &server.tasks);
    let error = endpoint.connect(request("mallory")).await.err().unwrap();
    assert!(error.to_string().contains("user `mallory` is not among those"), "{error}");
    assert_eq!(error.blame(), Blame::Policy);
    assert_eq!((server.connections(), mints(&folder)), (0, 0));
}

#[tokio::test]
async fn a_token_stays_here_when_the_server_was_not_verified() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(|guest| guest.wait_for_the_end()).await;
    let mut login = with_token(&counting_command(&folder));
    let Login::Token(settings) = &mut login else { unreachable!() };
    settings.insecure_without_verification = false;
    let endpoint = handle(logging_in(login, server.settings()), &server.tasks);
    let error = endpoint.connect(request("alice")).await.err().unwrap();
    assert!(matches!(error.failure(), ConnectFailure::Unverified), "{error}");
    assert_eq!((error.blame(), mints(&folder)), (Blame::Policy, 0));
}

#[tokio::test]
async fn a_failing_token_command_is_told_with_its_own_words() {
    let server = Server::start(|guest| guest.wait_for_the_end()).await;
    let login = with_token("echo 'no such principal' >&2; exit 3");
    let endpoint = handle(logging_in(login, server.settings()), &server.tasks);
    let error = endpoint.connect(request("alice")).await.err().unwrap();
    let words = crate::blame::Chain(&error).to_string();
    assert!(words.starts_with("backend token command failed: endpoint `primary` at "), "{words}");
    assert!(words.ends_with("exited with status 3: no such principal"), "{words}");
    assert_eq!((error.phase(), error.blame()), (ConnectPhase::Token, Blame::Credentials));
}

#[tokio::test]
async fn a_hanging_token_command_is_told_as_that_and_holds_no_connection() {
    let server = Server::start(|guest| guest.wait_for_the_end()).await;
    let mut login = with_token("echo 'waiting for the metadata server' >&2; sleep 600");
    let Login::Token(settings) = &mut login else { unreachable!() };
    settings.timeout = std::time::Duration::from_millis(200);
    let mut settings = logging_in(login, server.settings());
    // Shorter than the command's limit: the limits are independent.
    settings.connect_timeout = std::time::Duration::from_millis(50);
    let error = handle(settings, &server.tasks).connect(request("alice")).await.err().unwrap();
    let words = crate::blame::Chain(&error).to_string();
    assert!(words.starts_with("backend token command failed: "), "{words}");
    assert!(words.ends_with("not finished within 0.2 s: waiting for the metadata server"), "{words}");
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn scram_asked_of_a_token_user_is_answered_and_explained() {
    let server = Server::start(|mut guest| async move {
        guest.startup().await;
        guest.say(b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0").await;
        let first = guest.hear(b'p').await;
        assert!(first.starts_with(b"SCRAM-SHA-256\0"));
        guest.refuse(b"28P01", "password authentication failed for user \"alice\"").await;
    })
    .await;
    let endpoint = handle(logging_in(with_token("echo t"), server.settings()), &server.tasks);
    let error = endpoint.connect(request("alice")).await.err().unwrap();
    assert!(error.to_string().ends_with("asked for SCRAM-SHA-256, which a token cannot answer"), "{error}");
    let remedy = error.remedy().unwrap();
    assert!(remedy.contains("IAM user") && remedy.contains("alloydb.iam_authentication=on"), "{remedy}");
}

#[tokio::test]
async fn a_server_that_wants_a_password_nobody_has_says_so_in_the_error() {
    let server = Server::start(|mut guest| async move {
        guest.startup().await;
        guest.say(b"R\0\0\0\x08\0\0\0\x03").await;
        guest.wait_for_the_end().await;
    })
    .await;
    let endpoint = handle(server.settings(), &server.tasks);
    let error = endpoint.connect(request("alice")).await.err().unwrap();
    let words = crate::blame::Chain(&error).to_string();
    assert!(words.contains("requests a password (cleartext password), and none is configured"), "{words}");
}
