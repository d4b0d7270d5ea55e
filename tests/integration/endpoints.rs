//! Logging in to endpoints, as sessions and the probe do.

use gatekeeper::testing::{
    backend::{Backend, ConnectError, ConnectFailure, EndpointSettings},
    blame::{Blame, Chain},
    credentials::Login,
    handshake::Method,
    sandbox::{ALICE, APP, APP_MD5, DATABASE, NativeUser, SandboxOptions, Single},
    tasks::Tasks,
    tls::{TlsError, TlsMode},
    topology::{DeclaredRole, ObservedRole},
    wire::{self, ProtocolVersion, tag},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::endpoint::{handle, iam, native, request, settings};

async fn single() -> Single {
    Single::start(SandboxOptions::default()).await.unwrap()
}

fn endpoint(single: &Single, login: Login) -> EndpointSettings {
    let ca = single.authority().ca_file();
    EndpointSettings { login, ..settings("primary", DeclaredRole::Primary, single.address(), ca) }
}

/// Result of a login as `user`.
async fn login(settings: EndpointSettings, user: &str) -> Result<Backend, ConnectError> {
    handle(settings, &Tasks::new()).connect(request(user, DATABASE)).await
}

#[tokio::test]
async fn passwords_follow_the_servers_method_and_scram_binds_the_channel() {
    let single = single().await;
    for (user, method) in [(APP, Method::ScramSha256Plus), (APP_MD5, Method::Md5Password)] {
        let mut settings = endpoint(&single, native(user));
        settings.tls.mode = TlsMode::VerifyFull;
        settings.tls.server_name = Some(single.dns_name().to_owned());
        let backend = login(settings, user.name).await.unwrap();
        assert_eq!(backend.logged_in.method, method);
        assert_eq!(backend.observed_role(), Some(ObservedRole::Primary));
        assert!(backend.stream.is_tls() && backend.logged_in.key.is_some());
    }
}

#[tokio::test]
async fn a_newer_protocol_is_requested_and_an_older_one_accepted() {
    let single = single().await;
    let endpoint = handle(endpoint(&single, native(APP)), &Tasks::new());
    let mut request = request(APP.name, DATABASE);
    request.startup.set_version(ProtocolVersion::V3_2);
    let backend = endpoint.connect(request).await.unwrap();
    let newest =
        if single.installation().major() >= 18 { ProtocolVersion::V3_2 } else { ProtocolVersion::V3_0 };
    assert_eq!(backend.logged_in.version, newest);
}

#[tokio::test]
async fn a_token_is_cached_until_the_server_rejects_it() {
    let (single, tasks) = (single().await, Tasks::new());
    let endpoint = handle(endpoint(&single, iam(single.tokens(), &[ALICE])), &tasks);
    for _ in 0..3 {
        let backend = endpoint.connect(request(ALICE, DATABASE)).await.unwrap();
        assert_eq!(backend.logged_in.method, Method::CleartextPassword);
    }
    assert_eq!(single.tokens().mint_count(), 1);
    single.tokens().expire_all(single.node()).await.unwrap();
    endpoint.connect(request(ALICE, DATABASE)).await.unwrap();
    assert_eq!(single.tokens().mint_count(), 2);
}

#[tokio::test]
async fn a_token_for_a_native_user_fails_with_the_likely_reason() {
    let (single, tasks) = (single().await, Tasks::new());
    let endpoint = handle(endpoint(&single, iam(single.tokens(), &[APP.name])), &tasks);
    let error = endpoint.connect(request(APP.name, DATABASE)).await.err().unwrap();
    let words = error.to_string();
    assert!(words.contains("password authentication failed for user \"app\" (SQLSTATE 28P01)"), "{words}");
    assert!(
        words.ends_with("the server asked for SCRAM-SHA-256-PLUS, which a token cannot answer"),
        "{words}"
    );
    assert!(error.remedy().unwrap().contains("alloydb.iam_authentication=on"), "{:?}", error.remedy());
}

#[tokio::test]
async fn a_wrong_password_has_the_servers_message() {
    let single = single().await;
    let wrong = NativeUser { password: "wrong", ..APP };
    let error = login(endpoint(&single, native(wrong)), APP.name).await.err().unwrap();
    assert!(error.to_string().contains("password authentication failed for user \"app\""), "{error}");
    assert_eq!(error.blame(), Blame::Credentials);
}

#[tokio::test]
async fn a_foreign_ca_differs_from_a_foreign_name() {
    let single = single().await;
    let mut foreign = endpoint(&single, native(APP));
    foreign.tls.ca_file = Some(single.authority().foreign_ca_file().to_owned());
    let error = login(foreign, APP.name).await.err().unwrap();
    assert!(matches!(error.failure(), ConnectFailure::Tls(TlsError::UnknownCa { .. })), "{error:?}");
    assert!(
        error.to_string().starts_with("backend TLS negotiation failed: endpoint `primary` at "),
        "{error}"
    );

    let mut raw = endpoint(&single, native(APP));
    raw.tls.mode = TlsMode::VerifyFull;
    let error = login(raw, APP.name).await.err().unwrap();
    assert!(Chain(&error).to_string().contains(single.dns_name()), "{}", Chain(&error));
    assert!(error.remedy().unwrap().contains("server_name"), "{:?}", error.remedy());
}

#[tokio::test]
async fn plaintext_fails_with_the_servers_message() {
    let single = single().await;
    let mut plain = endpoint(&single, native(APP));
    plain.tls.mode = TlsMode::Disable;
    let error = login(plain, APP.name).await.err().unwrap();
    assert!(error.to_string().contains("no pg_hba.conf entry"), "{error}");
}

#[tokio::test]
async fn a_statement_is_canceled_over_tls() {
    let (single, tasks) = (single().await, Tasks::new());
    let endpoint = handle(endpoint(&single, native(APP)), &tasks);
    let mut backend = endpoint.connect(request(APP.name, DATABASE)).await.unwrap();
    let mut query = Vec::new();
    wire::write_frame(&mut query, tag::frontend::QUERY, |body| {
        body.extend_from_slice(b"SELECT pg_sleep(600)\0")
    });
    backend.stream.write_all(&query).await.unwrap();
    backend.stream.flush().await.unwrap();
    let active =
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(600)'";
    crate::harness::until(std::time::Duration::from_secs(10), async || {
        match single.node().sql(DATABASE, active).await.unwrap().as_str() {
            "1" => Ok(()),
            seen => Err(seen.to_owned()),
        }
    })
    .await;
    endpoint.cancel(backend.logged_in.key.as_ref().unwrap(), backend.peer).await.unwrap();
    let mut answer = vec![0; 4096];
    let mut read = 0;
    while !answer[..read].ends_with(b"Z\0\0\0\x05I") {
        read += backend.stream.read(&mut answer[read..]).await.unwrap();
    }
    assert!(String::from_utf8_lossy(&answer[..read]).contains("57014"));
}
