//! Tests requests over loopback sockets: limits, TLS and encoding.

use std::{sync::Arc, time::Duration};

use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::{
    sandbox::{FakeGoogle, GoogleFault},
    tasks::Tasks,
};

const LIMIT: Duration = Duration::from_secs(20);

fn url(text: &str) -> WebUrl {
    WebUrl::parse(text).unwrap()
}

async fn get(google: &FakeGoogle, limit: Duration) -> Result<HttpResponse, HttpError> {
    HttpClient::new().send(&HttpRequest::get(url(&google.url("/x"))), limit).await
}

#[tokio::test]
async fn a_body_beyond_two_mebibytes_is_refused() {
    let google = FakeGoogle::start().await.unwrap();
    google.fail_times("/x", 1, GoogleFault::Flood(MAX_BODY_BYTES));
    assert_eq!(get(&google, LIMIT).await.ok().unwrap().body().len(), MAX_BODY_BYTES);
    google.fail("/x", GoogleFault::Flood(MAX_BODY_BYTES + 1));
    assert!(matches!(get(&google, LIMIT).await, Err(HttpError::TooLong)));
}

#[tokio::test]
async fn slow_bytes_do_not_extend_the_limit() {
    let google = FakeGoogle::start().await.unwrap();
    let limit = Duration::from_millis(400);
    for fault in [GoogleFault::Trickle, GoogleFault::Hang] {
        google.heal();
        google.fail("/x", fault);
        assert!(matches!(get(&google, limit).await, Err(HttpError::TimedOut(after)) if after == limit));
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let google = FakeGoogle::start().await.unwrap();
    google.fail("/x", GoogleFault::Redirect(google.url("/elsewhere")));
    assert_eq!(get(&google, LIMIT).await.ok().unwrap().status, 302);
    assert_eq!(google.requests().len(), 1);
}

#[tokio::test]
async fn a_refused_connection_names_its_cause() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = HttpClient::new().send(&HttpRequest::get(url(&format!("http://{address}/"))), LIMIT).await;
    assert!(matches!(error, Err(HttpError::Connect(_))));
}

#[tokio::test]
async fn a_server_that_does_not_speak_http_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tasks = Tasks::new();
    tasks.spawn("garbage", async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n\r\n").await.unwrap();
    });
    let error = HttpClient::new().send(&HttpRequest::get(url(&format!("http://{address}/"))), LIMIT).await;
    assert!(matches!(error, Err(HttpError::Exchange(_))));
}

#[tokio::test]
async fn a_request_says_its_host_and_its_form() {
    let google = FakeGoogle::start().await.unwrap();
    let request = HttpRequest::post_form(url(&google.url("/x?q=1")), &[("a", "1 +&="), ("b", "ü~")])
        .with_bearer(&Secret::new("t".into()));
    HttpClient::new().send(&request, LIMIT).await.ok().unwrap();
    let seen = google.requests().remove(0);
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/x?q=1"));
    assert_eq!(seen.body, "a=1%20%2B%26%3D&b=%C3%BC~");
    assert_eq!(seen.header("host"), Some(google.host().as_str()));
    assert_eq!(seen.header("authorization"), Some("Bearer t"));
    assert_eq!(seen.header("content-type"), Some("application/x-www-form-urlencoded"));
}

/// Starts a TLS server for one request; returns the roots that trust the server.
async fn tls_server(name: &str, tasks: &Tasks) -> (u16, RootCertStore) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tasks.spawn("tls server", async move {
        let (stream, _) = listener.accept().await.unwrap();
        let Ok(mut stream) = TlsAcceptor::from(Arc::new(config)).accept(stream).await else { return };
        let mut request = [0; 1024];
        _ = stream.read(&mut request).await;
        _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await;
        _ = stream.shutdown().await;
    });
    (port, roots)
}

#[tokio::test]
async fn a_server_over_https_has_to_be_trusted_and_named() {
    for (name, trusted, expected) in
        [("localhost", true, true), ("localhost", false, false), ("other.example", true, false)]
    {
        let tasks = Tasks::new();
        let (port, mut roots) = tls_server(name, &tasks).await;
        if !trusted {
            roots = tls_server(name, &tasks).await.1;
        }
        let client = HttpClient::with_roots(roots);
        let result = client.send(&HttpRequest::get(url(&format!("https://localhost:{port}/"))), LIMIT).await;
        match expected {
            true => assert_eq!(result.ok().unwrap().body(), b"hi"),
            false => assert!(matches!(result, Err(HttpError::Tls(_))), "{name} {trusted}"),
        }
    }
}

#[test]
fn keys_travel_encrypted_or_on_this_machine() {
    for (text, secure) in [
        ("https://oauth2.googleapis.com/token", true),
        ("http://127.0.0.1:8080/token", true),
        ("http://[::1]:8080/token", true),
        ("http://localhost/token", true),
        ("http://oauth2.googleapis.com/token", false),
        ("http://169.254.169.254/token", false),
        ("ftp://oauth2.googleapis.com/token", false),
        ("https://user@oauth2.googleapis.com/token", false),
        ("/token", false),
        ("https://", false),
    ] {
        assert_eq!(WebUrl::parse_secure(text).is_some(), secure, "{text}");
    }
}

#[test]
fn a_url_knows_its_server() {
    let plain = url("https://a.example:443/x?y");
    assert_eq!((plain.host(), plain.authority().as_str()), ("a.example", "a.example"));
    let other = url("http://[::1]:81/x");
    assert_eq!((other.host(), other.authority().as_str()), ("::1", "[::1]:81"));
    assert_eq!(plain.with_path("/tokeninfo").unwrap().to_text(), "https://a.example/tokeninfo");
}
