//! Peers that send arbitrary bytes in pieces of any size.

use proptest::{collection::vec, prelude::*};

use super::*;

/// Feeds `bytes` to every machine in each phase. Errors are allowed; calls must return and consume no more than
/// `bytes`.
fn fuzz_machines(bytes: &[u8]) {
    for tls_offered in [true, false] {
        let mut accept = Accept::new(tls_offered);
        let mut left = bytes;
        while let Ok(taken) = accept.on_bytes(left) {
            left = &left[taken.bytes..];
            if taken.bytes == 0 {
                break;
            }
        }
    }
    let _ = challenge(None).on_bytes(bytes).map(|taken| assert!(taken.bytes <= bytes.len()));
    for prefix in prefixes() {
        let startup = startup(ProtocolVersion::V3_2);
        let mut login = ServerLogin::new(&startup, Credential::Password("x"), None, [1; NONCE_BYTES]);
        if login.on_bytes(&prefix).is_ok() {
            let _ = login.on_bytes(bytes).map(|taken| assert!(taken.bytes <= bytes.len()));
        }
        let packet = written(|out| startup.write(out));
        let accepted = Accept::new(false).on_bytes(&packet).unwrap().outcome;
        let Some(Accepted::Startup(startup, negotiation)) = accepted else { panic!() };
        let mut relay = Relay::new(&startup, negotiation, [0; 32]);
        if relay.on_server(&prefix).is_ok() {
            let _ = relay.on_client(bytes).map(|taken| assert!(taken <= bytes.len()));
            let _ = relay.on_server(bytes).map(|taken| assert!(taken.bytes <= bytes.len()));
        }
    }
}

/// Messages that bring a client into each phase.
fn prefixes() -> [Vec<u8>; 4] {
    [
        Vec::new(),
        written(authentication::write_cleartext_password),
        written(|out| authentication::write_sasl(out, [b"SCRAM-SHA-256-PLUS".as_slice(), b"SCRAM-SHA-256"])),
        written(authentication::write_ok),
    ]
}

/// Messages of a handshake, mostly well-formed, in any order.
fn message() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::sample::select(prefixes().to_vec()),
        Just(written(ready)),
        Just(refusal()),
        vec(any::<u8>(), 0..30)
            .prop_map(|data| written(|out| authentication::write_sasl_continue(out, &data))),
        vec(any::<u8>(), 0..30).prop_map(|data| written(|out| authentication::write_sasl_final(out, &data))),
        vec(any::<u8>(), 0..30)
            .prop_map(|data| written(|out| authentication::write_sasl_response(out, &data))),
        (any::<u8>(), vec(any::<u8>(), 0..30)).prop_map(|(tag, body)| written(|out| {
            crate::wire::write_frame(out, tag, |to| to.extend_from_slice(&body));
        })),
    ]
}

proptest! {
    #[test]
    fn no_bytes_from_a_peer_panic(bytes in vec(any::<u8>(), 0..120)) {
        fuzz_machines(&bytes);
    }

    #[test]
    fn no_order_of_messages_panics(messages in vec(message(), 0..6)) {
        fuzz_machines(&messages.concat());
    }

    #[test]
    fn where_a_stream_is_cut_does_not_matter_to_a_login(
        messages in vec(message(), 0..6), step in 1_usize..40,
    ) {
        let stream = messages.concat();
        let run = |step: usize| {
            let startup = startup(ProtocolVersion::V3_2);
            let mut login = ServerLogin::new(&startup, Credential::Password("x"), None, [1; NONCE_BYTES]);
            let mut inbox = Inbox::default();
            inbox.send(Some(stream.clone()));
            while inbox.arrive(step) {
                match login.on_bytes(&inbox.unread) {
                    Ok(taken) => {
                        inbox.take(taken.bytes);
                        if taken.outcome.is_some() {
                            break;
                        }
                    }
                    Err(error) => return (login.poll_output(), Some(error)),
                }
            }
            (login.poll_output(), None)
        };
        prop_assert_eq!(run(step), run(stream.len().max(1)));
    }
}
