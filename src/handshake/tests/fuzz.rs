//! Peers that say anything at all, in any pieces.

use proptest::{collection::vec, prelude::*};

use super::*;

/// Feeds `octets` to every machine in each of its phases. They may fail, but they come back and never take more than there is.
fn fuzz_machines(octets: &[u8]) {
    for tls_offered in [true, false] {
        let mut accept = Accept::new(tls_offered);
        let mut left = octets;
        while let Ok(taken) = accept.on_octets(left) {
            left = &left[taken.octets..];
            if taken.octets == 0 {
                break;
            }
        }
    }
    let _ = challenge(None).on_octets(octets).map(|taken| assert!(taken.octets <= octets.len()));
    for prefix in prefixes() {
        let startup = startup(ProtocolVersion::V3_2);
        let mut login = Login::new(&startup, Credential::Password("x"), None, [1; NONCE_OCTETS]);
        if login.on_octets(&prefix).is_ok() {
            let _ = login.on_octets(octets).map(|taken| assert!(taken.octets <= octets.len()));
        }
        let packet = super::octets(|out| startup.write(out));
        let accepted = Accept::new(false).on_octets(&packet).unwrap().outcome;
        let Some(Accepted::Startup(startup, negotiation)) = accepted else { panic!() };
        let mut relay = Relay::new(&startup, negotiation, [0; 32]);
        if relay.on_server(&prefix).is_ok() {
            let _ = relay.on_client(octets).map(|taken| assert!(taken <= octets.len()));
            let _ = relay.on_server(octets).map(|taken| assert!(taken.octets <= octets.len()));
        }
    }
}

/// What brings a client into each of its phases.
fn prefixes() -> [Vec<u8>; 4] {
    [
        Vec::new(),
        octets(authentication::write_cleartext_password),
        octets(|out| authentication::write_sasl(out, [b"SCRAM-SHA-256-PLUS".as_slice(), b"SCRAM-SHA-256"])),
        octets(authentication::write_ok),
    ]
}

/// Messages of a handshake, most of them well-formed, in no order.
fn message() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::sample::select(prefixes().to_vec()),
        Just(octets(ready)),
        Just(refusal()),
        vec(any::<u8>(), 0..30)
            .prop_map(|data| octets(|out| authentication::write_sasl_continue(out, &data))),
        vec(any::<u8>(), 0..30).prop_map(|data| octets(|out| authentication::write_sasl_final(out, &data))),
        vec(any::<u8>(), 0..30)
            .prop_map(|data| octets(|out| authentication::write_sasl_response(out, &data))),
        (any::<u8>(), vec(any::<u8>(), 0..30)).prop_map(|(tag, body)| octets(|out| {
            crate::wire::frame(out, tag, |to| to.extend_from_slice(&body));
        })),
    ]
}

proptest! {
    #[test]
    fn no_octets_from_a_peer_panic(octets in vec(any::<u8>(), 0..120)) {
        fuzz_machines(&octets);
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
            let mut login = Login::new(&startup, Credential::Password("x"), None, [1; NONCE_OCTETS]);
            let mut inbox = Inbox::default();
            inbox.send(Some(stream.clone()));
            while inbox.arrive(step) {
                match login.on_octets(&inbox.unread) {
                    Ok(taken) => {
                        inbox.take(taken.octets);
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
