//! Reaching a server and agreeing on TLS.

use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, UnixListener},
};

use super::script::{Server, handle, request, settings};
use crate::{
    backend::{ConnectError, ConnectFailure, EndpointSettings},
    blame::{Blame, Chain},
    tasks::Tasks,
    telemetry::labels::ConnectPhase,
    tls::TlsMode,
    wire::{BackendKey, ErrorResponse, FirstPacket, Severity, SqlState},
};

async fn error(settings: EndpointSettings) -> ConnectError {
    let connecting = handle(settings, &Tasks::new()).connect(request("alice")).await;
    connecting.err().expect("there is nobody to connect to")
}

fn wants(mode: TlsMode, mut settings: EndpointSettings) -> EndpointSettings {
    settings.tls.mode = mode;
    settings
}

#[tokio::test]
async fn a_refused_port_is_a_failed_dial_with_a_remedy() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = error(settings(&closed.to_string())).await;
    assert_eq!(
        Chain(&error).to_string(),
        format!("backend dial failed: endpoint `primary` at {closed}: Connection refused (os error 111)")
    );
    assert_eq!((error.phase(), error.blame()), (ConnectPhase::Tcp, Blame::Endpoint));
    assert!(error.remedy().unwrap().contains(&format!("nothing listens on port {}", closed.port())));
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_a_failed_dial() {
    let error = error(settings("no-such-host.invalid:5432")).await;
    let words = Chain(&error).to_string();
    assert!(
        words.starts_with("backend dial failed: endpoint `primary` at no-such-host.invalid:5432"),
        "{words}"
    );
    assert!(words.contains("`no-such-host.invalid` does not resolve"), "{words}");
    assert_eq!(error.phase(), ConnectPhase::Resolve);
}

#[tokio::test]
async fn every_address_of_a_name_is_tried() {
    let server = Server::start(|guest| guest.welcome()).await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let soon = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    let addresses = [closed, server.address];
    let (_tcp, peer) = crate::backend::dial::connect_any(&addresses, soon).await.unwrap();
    assert_eq!(peer, server.address);
    let failure = crate::backend::dial::connect_any(&[closed, closed], soon).await.err().unwrap();
    let ConnectFailure::Unreachable { tried } = failure else { panic!("{failure:?}") };
    assert_eq!(tried.len(), 2);
}

#[tokio::test]
async fn a_server_without_tls_is_refused_unless_plaintext_would_do() {
    let server = Server::start(|mut guest| async move {
        assert_eq!(guest.first_packet().await, FirstPacket::SslRequest);
        guest.say(b"N").await;
        let mut next = [0; 8];
        if guest.tcp.peek(&mut next).await.is_ok_and(|bytes| bytes > 0) {
            guest.startup().await;
            guest.welcome().await;
        }
    })
    .await;
    let error = error(wants(TlsMode::Require, server.settings())).await;
    assert_eq!(
        error.to_string(),
        format!(
            "backend TLS negotiation failed: endpoint `primary` at {}: the server does not offer TLS",
            server.address
        )
    );
    let prefer = handle(wants(TlsMode::Prefer, server.settings()), &Tasks::new());
    let backend = prefer.connect(request("alice")).await.unwrap();
    assert!(!backend.stream.is_tls());
}

#[tokio::test]
async fn an_error_instead_of_an_answer_about_tls_is_reported_in_the_servers_words() {
    for mode in [TlsMode::Prefer, TlsMode::VerifyCa] {
        let server = Server::start(|mut guest| async move {
            guest.first_packet().await;
            let mut words = Vec::new();
            ErrorResponse::new(
                Severity::Fatal,
                SqlState::TOO_MANY_CONNECTIONS,
                "sorry, too\x1b[31m many clients",
            )
            .write(&mut words);
            guest.say(&words).await;
        })
        .await;
        let error = error(wants(mode, server.settings())).await;
        let words = error.to_string();
        assert!(
            words.ends_with("the server reports: sorry, too [31m many clients (SQLSTATE 53300)"),
            "{words}"
        );
        assert!(error.refused().is_none(), "nobody has proved to be the server: no client is told");
    }
}

#[tokio::test]
async fn bytes_between_consent_and_handshake_are_an_attack() {
    let server = Server::start(|mut guest| async move {
        guest.first_packet().await;
        // In a single write: both messages arrive together.
        guest.say(b"SE\0\0\0\x05\0").await;
        guest.wait_for_the_end().await;
    })
    .await;
    let error = error(wants(TlsMode::Require, server.settings())).await;
    assert!(matches!(error.failure(), ConnectFailure::Injected), "{error}");
}

#[tokio::test]
async fn something_else_than_postgresql_is_recognized() {
    let server = Server::start(|mut guest| async move {
        guest.first_packet().await;
        guest.say(b"HTTP/1.1 400 Bad Request\r\n").await;
    })
    .await;
    let error = error(wants(TlsMode::Require, server.settings())).await;
    assert!(error.to_string().contains("the server answered `H` to the SSLRequest"), "{error}");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_and_the_stage_is_named() {
    let server = Server::start(|guest| guest.wait_for_the_end()).await;
    let mut settings = wants(TlsMode::Require, server.settings());
    settings.connect_timeout = std::time::Duration::from_millis(50);
    let error = error(settings).await;
    assert!(error.to_string().ends_with("not done within 50ms (tls)"), "{error}");
    assert_eq!(error.phase(), ConnectPhase::Tls);
}

#[tokio::test]
async fn a_unix_domain_socket_is_dialed_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".s.PGSQL.5432");
    let listener = UnixListener::bind(&path).unwrap();
    let endpoint = handle(wants(TlsMode::Prefer, settings(path.to_str().unwrap())), &Tasks::new());
    let (dialed, accepted) = tokio::join!(endpoint.dial(), listener.accept());
    assert_eq!(dialed.unwrap().peer, None);
    drop(accepted);
    drop(listener);
    std::fs::remove_file(&path).unwrap();
    let error = endpoint.dial().await.err().unwrap();
    assert!(Chain(&error).to_string().contains("No such file"), "{}", Chain(&error));
}

#[tokio::test]
async fn a_cancel_request_goes_to_the_backends_own_address_and_ends_with_the_connection() {
    let server = Server::start(|mut guest| async move {
        let FirstPacket::CancelRequest(key) = guest.first_packet().await else { panic!("no cancel request") };
        assert_eq!((key.pid(), key.secret()), (7, &[1_u8, 2, 3, 4][..]));
    })
    .await;
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let endpoint = handle(settings(&elsewhere.to_string()), &Tasks::new());
    let key = BackendKey::new(7, &[1, 2, 3, 4]).unwrap();
    endpoint.cancel(&key, Some(server.address)).await.unwrap();
    assert_eq!(server.connections(), 1);
    assert!(endpoint.cancel(&key, None).await.is_err(), "nobody listens at the endpoint's own address");
}

#[tokio::test]
async fn a_dialed_connection_is_silent_until_it_is_used() {
    let server = Server::start(|mut guest| async move {
        let mut byte = [0];
        assert_eq!(guest.tcp.read(&mut byte).await.unwrap(), 0);
    })
    .await;
    let dialed = handle(server.settings(), &Tasks::new()).dial().await.unwrap();
    assert_eq!(dialed.peer, Some(server.address));
    assert!(dialed.verified.is_none() && dialed.presence.is_some());
    drop(dialed);
}
