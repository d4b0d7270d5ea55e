//! Result of each mode with each kind of server.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    pki::{Ca, Folder, endpoint, for_clients_only, leaf, listener, named, towards},
    *,
};
use crate::{blame::Blame, topology::Address};

/// A server, and the results of a client that connects to `host` in modes `verify-ca` and `verify-full`: `ok`, or the
/// beginning of the error.
struct Case {
    what: &'static str,
    identity: (String, String),
    trusted: String,
    host: &'static str,
    verify_ca: &'static str,
    verify_full: &'static str,
}

fn cases() -> Vec<Case> {
    let ca = Ca::new("orders CA");
    let between = ca.intermediate("orders intermediate");
    let (leaf_below, key_below) = between.sign(&leaf());
    let self_signed = pki::self_signed(&leaf());
    let expired_self_signed = pki::self_signed(&pki::expired());
    let case = |what, identity, host, verify_ca, verify_full| Case {
        what,
        identity,
        trusted: ca.pem(),
        host,
        verify_ca,
        verify_full,
    };
    let good = || ca.sign(&leaf());
    let mismatch = "the certificate's chain is trusted, but it is for";
    let unknown = "the certificate is signed by CN=";
    vec![
        case("a good chain and name", good(), "db.internal", "ok", "ok"),
        case("a name with a trailing dot", good(), "db.internal.", "ok", "ok"),
        case("a name below a wildcard", good(), "r1.pool.internal", "ok", "ok"),
        case("a name two labels below a wildcard", good(), "a.b.pool.internal", "ok", mismatch),
        case("another name", good(), "other.internal", "ok", mismatch),
        case("an address that the certificate lacks", good(), "10.1.2.3", "ok", mismatch),
        case("an address in the certificate", ca.sign(&named("x", &["10.1.2.3"])), "10.1.2.3", "ok", "ok"),
        case("an IPv6 address in the certificate", ca.sign(&named("x", &["fd00::1"])), "fd00::1", "ok", "ok"),
        case("only a common name", ca.sign(&named("db.internal", &[])), "db.internal", "ok", "ok"),
        case(
            "only a wildcard common name",
            ca.sign(&named("*.db.internal", &[])),
            "a.db.internal",
            "ok",
            "ok",
        ),
        case("another common name", ca.sign(&named("x.internal", &[])), "db.internal", "ok", mismatch),
        case(
            "a common name beside alternative names",
            ca.sign(&named("db.internal", &["x.internal"])),
            "db.internal",
            "ok",
            mismatch,
        ),
        case("a leaf that says it is a CA", ca.sign(&pki::says_it_is_a_ca()), "db.internal", "ok", "ok"),
        case("such a leaf under another name", ca.sign(&pki::says_it_is_a_ca()), "10.1.2.3", "ok", mismatch),
        case(
            "a full chain",
            (format!("{leaf_below}{}", between.pem()), key_below),
            "db.internal",
            "ok",
            "ok",
        ),
        case(
            "a chain without its intermediate",
            between.sign(&leaf()),
            "db.internal",
            "the certificate is signed by CN=orders intermediate, which is not among the trusted CAs",
            unknown,
        ),
        case("another CA", Ca::new("dr CA").sign(&leaf()), "db.internal", unknown, unknown),
        case(
            "a leaf of another CA that says it is a CA",
            Ca::new("dr CA").sign(&pki::says_it_is_a_ca()),
            "db.internal",
            unknown,
            unknown,
        ),
        case(
            "another CA of the same name",
            Ca::new("orders CA").sign(&leaf()),
            "db.internal",
            "the certificate is signed by CN=orders CA, with another key than the trusted CA of that name",
            unknown,
        ),
        case(
            "a leaf of such a CA that says it is a CA",
            Ca::new("orders CA").sign(&pki::says_it_is_a_ca()),
            "db.internal",
            unknown,
            unknown,
        ),
        case(
            "an expired certificate",
            ca.sign(&pki::expired()),
            "db.internal",
            "the certificate expired at 2020-01-01T00:00:00Z",
            "the certificate expired",
        ),
        case(
            "a certificate of the future",
            ca.sign(&pki::not_yet_valid()),
            "db.internal",
            "the certificate is not valid before 2999-01-01T00:00:00Z",
            "the certificate is not valid",
        ),
        case(
            "a client's certificate",
            ca.sign(&for_clients_only(leaf())),
            "db.internal",
            "the certificate cannot be used",
            "the certificate cannot be used",
        ),
        case(
            "a client's certificate that says it is a CA",
            ca.sign(&for_clients_only(pki::says_it_is_a_ca())),
            "db.internal",
            "the certificate cannot be used",
            "the certificate cannot be used",
        ),
        case(
            "an unknown self-signed certificate",
            pki::self_signed(&leaf()),
            "db.internal",
            unknown,
            unknown,
        ),
        Case {
            what: "a self-signed certificate that is its own root",
            trusted: self_signed.0.clone(),
            identity: self_signed,
            host: "db.internal",
            verify_ca: "ok",
            verify_full: "ok",
        },
        Case {
            what: "an expired self-signed certificate that is its own root",
            trusted: expired_self_signed.0.clone(),
            identity: expired_self_signed,
            host: "db.internal",
            verify_ca: "the certificate expired",
            verify_full: "the certificate expired",
        },
        Case {
            what: "one of two trusted CAs",
            trusted: format!("{}{}", Ca::new("orders CA").pem(), ca.pem()),
            identity: good(),
            host: "db.internal",
            verify_ca: "ok",
            verify_full: "ok",
        },
        Case {
            what: "a certificate of version 1",
            trusted: include_str!("../../../tests/data/tls/v1-ca.pem").into(),
            identity: (
                include_str!("../../../tests/data/tls/v1.pem").into(),
                include_str!("../../../tests/data/tls/v1.key").into(),
            ),
            host: "db.internal",
            verify_ca: "ok",
            verify_full: "ok",
        },
    ]
}

#[tokio::test]
async fn each_mode_checks_what_it_says_and_nothing_less() {
    for case in cases() {
        let folder = Folder::new();
        let server = folder.server(&case.identity);
        let ca_file = folder.write("ca.pem", &case.trusted);
        for (mode, expected) in [
            (TlsMode::Prefer, "ok"),
            (TlsMode::Require, "ok"),
            (TlsMode::VerifyCa, case.verify_ca),
            (TlsMode::VerifyFull, case.verify_full),
        ] {
            let client = towards(case.host, &endpoint(mode, &ca_file));
            let (outcome, _) = shake(&client, &server).await;
            let result = match &outcome {
                Ok((stream, verified)) => {
                    assert!(stream.is_tls());
                    assert_eq!(
                        verified.is_some(),
                        mode.verifies(),
                        "{} in mode {}",
                        case.what,
                        mode.as_str()
                    );
                    "ok".to_owned()
                }
                Err(error) => error.to_string(),
            };
            assert!(result.starts_with(expected), "{} in mode {}: {result}", case.what, mode.as_str());
        }
    }
}

#[tokio::test]
async fn a_name_mismatch_prints_the_names_and_the_setting_to_change() {
    let (ca, folder) = (Ca::new("orders CA"), Folder::new());
    let server = folder.server(&ca.sign(&named("orders", &["db.internal", "10.9.9.9"])));
    let settings = endpoint(TlsMode::VerifyFull, &folder.write("ca.pem", &ca.pem()));
    let error = shake(&towards("10.1.2.3", &settings), &server).await.0.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the certificate's chain is trusted, but it is for db.internal, 10.9.9.9, not for 10.1.2.3: set \
         `tls.server_name` to a name of the certificate, or `tls.mode = \"verify-ca\"` to check the chain alone"
    );
    let named = EndpointTls { server_name: Some("db.internal".into()), ..settings };
    let (mut one, mut other) = shaken(&towards("10.1.2.3", &named), &server).await;
    talk(&mut one, &mut other).await;
    let facts = other.facts().unwrap();
    assert_eq!(
        (facts.version, facts.server_name.as_deref(), facts.alpn),
        ("TLSv1.3", Some("db.internal"), true)
    );
}

#[test]
fn a_name_that_no_certificate_could_carry_fails_closed() {
    let folder = Folder::new();
    let ca_file = folder.write("ca.pem", &Ca::new("CA").pem());
    let address = Address::Tcp { host: "not a name".into(), port: 5432 };
    for (mode, server_name, good) in [
        (TlsMode::VerifyFull, None, false),
        (TlsMode::VerifyFull, Some("db.internal"), true),
        (TlsMode::VerifyCa, None, true),
        (TlsMode::VerifyCa, Some("also no name"), false),
        (TlsMode::Require, None, true),
    ] {
        let server_name = server_name.map(str::to_owned);
        let settings = EndpointTls { server_name, ..endpoint(mode, &ca_file) };
        let outcome = ClientTls::new(&settings, &address);
        assert_eq!(outcome.is_ok(), good, "{}: {:?}", mode.as_str(), outcome.err());
    }
}

#[tokio::test]
async fn mode_disable_leaves_the_connection_as_it_is_and_reads_no_file() {
    let client = towards("db.internal", &endpoint(TlsMode::Disable, "/does/not/exist".as_ref()));
    let (dialed, accepted) = connected().await;
    let (mut stream, verified) = client.handshake(dialed).await.unwrap();
    assert!(!stream.is_tls() && verified.is_none() && stream.facts().is_none());
    talk(&mut stream, &mut Stream::from(accepted)).await;
}

#[tokio::test]
async fn a_server_that_speaks_something_else_or_nothing_is_told_apart() {
    let (ca, folder) = (Ca::new("CA"), Folder::new());
    let client = towards("db.internal", &endpoint(TlsMode::VerifyCa, &folder.write("ca.pem", &ca.pem())));
    let (dialed, mut accepted) = connected().await;
    accepted.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    let error = client.handshake(dialed).await.unwrap_err();
    assert!(matches!(error, TlsError::NotTls), "{error:?}");
    let (dialed, mut accepted) = connected().await;
    let hang_up = async {
        let mut hello = [0; 5];
        accepted.read_exact(&mut hello).await.unwrap();
        // Orderly, not by a reset: the hello is read before the connection is closed.
        let length = usize::from(u16::from_be_bytes([hello[3], hello[4]]));
        accepted.read_exact(&mut vec![0; length]).await.unwrap();
        drop(accepted);
    };
    let (outcome, ()) = tokio::join!(client.handshake(dialed), hang_up);
    let error = outcome.unwrap_err();
    assert!(matches!(error, TlsError::Closed), "{error:?}");
    assert_eq!(error.blame(), Blame::Endpoint);
}

#[tokio::test]
async fn an_older_server_with_tls_1_2_is_fine() {
    let (ca, folder) = (Ca::new("CA"), Folder::new());
    let files = listener(folder.write_identity(&ca.sign(&leaf())));
    let client = towards("db.internal", &endpoint(TlsMode::VerifyFull, &folder.write("ca.pem", &ca.pem())));
    let config = clients::raw_server(&files.identity, &[&rustls::version::TLS12], &[]);
    let (dialed, accepted) = connected().await;
    let acceptor = tokio_rustls::TlsAcceptor::from(config);
    let (dialed, accepted) = tokio::join!(client.handshake(dialed), acceptor.accept(accepted));
    let (stream, verified) = dialed.unwrap();
    accepted.unwrap();
    assert!(verified.is_some());
    let facts = stream.facts().unwrap();
    assert_eq!((facts.version, facts.alpn), ("TLSv1.2", false), "no ALPN is needed behind an SSLRequest");
}

#[tokio::test]
async fn a_server_that_knows_p_256_alone_costs_no_further_round_trip() {
    let (ca, folder) = (Ca::new("CA"), Folder::new());
    let identity = folder.write_identity(&ca.sign(&leaf()));
    let client = towards("db.internal", &endpoint(TlsMode::VerifyFull, &folder.write("ca.pem", &ca.pem())));
    let mut provider = (*provider::towards_clients()).clone();
    provider.kx_groups.retain(|group| group.name() == rustls::NamedGroup::secp256r1);
    let config = clients::raw_server_with(provider, &identity, &[&rustls::version::TLS13], &[]);
    let (dialed, accepted) = connected().await;
    let acceptor = tokio_rustls::TlsAcceptor::from(config);
    let (dialed, accepted) = tokio::join!(client.handshake(dialed), acceptor.accept(accepted));
    dialed.unwrap();
    assert_eq!(accepted.unwrap().get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Full));
}

#[tokio::test]
async fn direct_tls_needs_alpn() {
    let (ca, folder) = (Ca::new("CA"), Folder::new());
    let identity = folder.write_identity(&ca.sign(&leaf()));
    let settings = endpoint(TlsMode::VerifyFull, &folder.write("ca.pem", &ca.pem()));
    let direct = towards("db.internal", &EndpointTls { negotiation: Negotiation::Direct, ..settings });
    let server = ServerTls::new(&listener(identity.clone())).unwrap();
    assert!(shaken(&direct, &server).await.0.facts().unwrap().alpn);
    for protocols in [&[][..], &[b"h2".to_vec()]] {
        let config = clients::raw_server(&identity, rustls::ALL_VERSIONS, protocols);
        let (dialed, accepted) = connected().await;
        let acceptor = tokio_rustls::TlsAcceptor::from(config);
        let (outcome, _) = tokio::join!(direct.handshake(dialed), acceptor.accept(accepted));
        let error = outcome.unwrap_err();
        assert!(matches!(error, TlsError::NoAlpn), "{error:?}");
    }
}

#[tokio::test]
async fn a_second_connection_resumes_the_first_and_is_verified_all_the_same() {
    let (ca, folder) = (Ca::new("CA"), Folder::new());
    let server = folder.server(&ca.sign(&leaf()));
    let client = towards("db.internal", &endpoint(TlsMode::VerifyFull, &folder.write("ca.pem", &ca.pem())));
    let (mut one, mut other) = shaken(&client, &server).await;
    assert!(!one.facts().unwrap().resumed);
    talk(&mut one, &mut other).await;
    let (outcome, accepted) = shake(&client, &server).await;
    let (stream, verified) = outcome.unwrap();
    assert!(stream.facts().unwrap().resumed && accepted.unwrap().facts().unwrap().resumed);
    assert!(verified.is_some());
    assert_eq!(stream.server_end_point(), one.server_end_point());
}
