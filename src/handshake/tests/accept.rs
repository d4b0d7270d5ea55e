//! First packets.

use super::*;
use crate::wire::{FirstPacket, StartupError};

const SSL: &[u8] = &[0, 0, 0, 8, 4, 210, 22, 47];
const GSS: &[u8] = &[0, 0, 0, 8, 4, 210, 22, 48];

fn startup_bytes(version: ProtocolVersion) -> Vec<u8> {
    written(|out| startup(version).write(out))
}

/// Outcome and output for `bytes` that arrive one at a time.
fn take(accept: &mut Accept, bytes: &[u8]) -> (Result<Option<Accepted>, AcceptError>, Option<u8>) {
    for end in 1..bytes.len() {
        match accept.on_bytes(&bytes[..end]) {
            Ok(Taken { bytes: 0, outcome: None }) => {}
            Ok(taken) => return (Ok(taken.outcome), accept.poll_output()),
            Err(error) => return (Err(error), accept.poll_output()),
        }
    }
    (accept.on_bytes(bytes).map(|taken| taken.outcome), accept.poll_output())
}

#[test]
fn tls_is_accepted_where_it_is_offered_and_once() {
    let mut accept = Accept::new(true);
    assert_eq!(take(&mut accept, SSL), (Ok(Some(Accepted::Tls { direct: false })), Some(b'S')));
    let version = ProtocolVersion { major: 1234, minor: 5679 };
    assert_eq!(take(&mut accept, SSL), (Err(AcceptError::Version(version)), None));
    let (outcome, _) = take(&mut accept, &startup_bytes(ProtocolVersion::V3_0));
    assert!(matches!(outcome, Ok(Some(Accepted::Startup(..)))));
}

#[test]
fn encryption_refused_lets_the_client_go_on_in_plaintext() {
    let mut accept = Accept::new(false);
    assert_eq!(take(&mut accept, GSS), (Ok(None), Some(b'N')));
    assert_eq!(take(&mut accept, SSL), (Ok(None), Some(b'N')));
    assert!(matches!(take(&mut accept, GSS), (Err(AcceptError::Version(_)), None)));
    let (outcome, _) = take(&mut accept, &startup_bytes(ProtocolVersion::V3_0));
    assert!(matches!(outcome, Ok(Some(Accepted::Startup(..)))));
    // GSSAPI refused, TLS accepted: what libpq does by default.
    let mut accept = Accept::new(true);
    assert_eq!(take(&mut accept, GSS), (Ok(None), Some(b'N')));
    assert_eq!(take(&mut accept, SSL), (Ok(Some(Accepted::Tls { direct: false })), Some(b'S')));
    assert!(matches!(take(&mut accept, GSS), (Err(AcceptError::Version(_)), None)), "not within TLS");
}

#[test]
fn bytes_smuggled_in_before_the_encryption_are_refused() {
    for request in [SSL, GSS] {
        for tls_offered in [true, false] {
            let smuggled = [request, &startup_bytes(ProtocolVersion::V3_0)].concat();
            let outcome = Accept::new(tls_offered).on_bytes(&smuggled);
            assert_eq!(outcome, Err(AcceptError::UnencryptedData));
        }
    }
}

#[test]
fn tls_at_once_is_recognised_only_as_the_very_first_thing() {
    assert_eq!(take(&mut Accept::new(true), &[0x16, 3, 1]), (Ok(Some(Accepted::Tls { direct: true })), None));
    assert_eq!(take(&mut Accept::new(false), &[0x16, 3, 1]), (Err(AcceptError::TlsNotOffered), None));
    let mut accept = Accept::new(true);
    assert!(take(&mut accept, GSS).0.is_ok());
    assert!(matches!(take(&mut accept, &[0x16, 3, 1, 2]), (Err(AcceptError::Startup(_)), None)));
    let mut within = Accept::new(true);
    assert!(take(&mut within, &[0x16]).0.is_ok());
    assert!(matches!(take(&mut within, &[0x16, 3, 1, 2]), (Err(AcceptError::Startup(_)), None)));
}

#[test]
fn a_client_from_the_future_is_brought_down_to_what_is_spoken_here() {
    let settled = |version, option: bool| {
        let mut startup = startup(version);
        if option {
            startup.set("_pq_.compress", "1");
        }
        let bytes = written(|out| startup.write(out));
        match take(&mut Accept::new(false), &bytes).0 {
            Ok(Some(Accepted::Startup(startup, negotiation))) => (startup, negotiation),
            other => panic!("{other:?}"),
        }
    };
    for version in [ProtocolVersion::V3_0, ProtocolVersion::V3_2] {
        let (settled, negotiation) = settled(version, false);
        assert_eq!(settled, startup(version));
        assert!(!negotiation.is_needed());
        assert!(written(|out| negotiation.write(out)).is_empty());
    }
    let future = ProtocolVersion { major: 3, minor: 9999 };
    let (lowered, negotiation) = settled(future, true);
    assert_eq!(lowered, startup(ProtocolVersion::V3_2));
    let message = written(|out| negotiation.write(out));
    assert_eq!(message, b"v\0\0\0\x1a\0\x03\0\x02\0\0\0\x01_pq_.compress\0");
    let (_, negotiation) = settled(ProtocolVersion::V3_0, true);
    assert!(negotiation.is_needed());
    let message = written(|out| negotiation.write(out));
    assert_eq!(message, b"v\0\0\0\x1a\0\x03\0\0\0\0\0\x01_pq_.compress\0", "version 3.0 is kept");
}

#[test]
fn what_is_no_login_is_refused_with_the_state_postgresql_uses() {
    let refuse = |bytes: &[u8]| match take(&mut Accept::new(true), bytes).0 {
        Err(error) => (error, error.sqlstate()),
        other => panic!("{other:?}"),
    };
    let nobody = written(|out| StartupMessage::new(ProtocolVersion::V3_0).write(out));
    assert_eq!(refuse(&nobody), (AcceptError::NoUser, Some(SqlState::INVALID_AUTHORIZATION)));
    let old = ProtocolVersion { major: 2, minor: 0 };
    let (error, state) = refuse(&startup_bytes(old));
    assert_eq!((error, state), (AcceptError::Version(old), Some(SqlState::FEATURE_NOT_SUPPORTED)));
    assert_eq!(error.to_string(), "unsupported frontend protocol 2.0: 3.0 to 3.2 are supported");
    let (error, state) = refuse(b"GET / HTTP/1.1\r\n\r\n");
    assert!(matches!(error, AcceptError::Startup(StartupError::Length(_))) && state.is_none());
    let (_, state) = refuse(b"\0\0\0\x0d\0\x03\0\0user\0");
    assert_eq!(state, Some(SqlState::PROTOCOL_VIOLATION));
}

#[test]
fn a_cancel_request_carries_keys_of_both_protocols() {
    for length in [4, 32, 256] {
        let key = BackendKey::new(7, &vec![5; length]).unwrap();
        let bytes = written(|out| FirstPacket::CancelRequest(key.clone()).write(out));
        assert_eq!(take(&mut Accept::new(true), &bytes), (Ok(Some(Accepted::Cancel(key))), None));
    }
}
