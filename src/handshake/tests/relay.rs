//! A client, the relay and a server: login and challenge at its two ends.

use super::*;

/// Two legs with the relay in between: messages received by each side, in order.
struct Legs {
    relay: Relay,
    client: Inbox,
    server: Inbox,
    /// Bytes that went to the client, and to the server.
    to_client: Vec<u8>,
    to_server: Vec<u8>,
}

impl Legs {
    fn new(startup: StartupMessage) -> Self {
        let packet = written(|out| startup.write(out));
        let accepted = Accept::new(false).on_bytes(&packet).unwrap().outcome.unwrap();
        let Accepted::Startup(startup, negotiation) = accepted else { panic!() };
        Self {
            relay: Relay::new(&startup, negotiation, [6; 32]),
            client: Inbox::default(),
            server: Inbox::default(),
            to_client: Vec::new(),
            to_server: Vec::new(),
        }
    }

    /// The server sends `bytes`, `step` at a time.
    fn server_says(&mut self, bytes: Vec<u8>, step: usize) -> Result<Option<Relayed>, RelayError> {
        self.server.send(Some(bytes));
        let mut outcome = None;
        while self.server.arrive(step) {
            let taken = self.relay.on_server(&self.server.unread)?;
            self.server.take(taken.bytes);
            outcome = outcome.or(taken.outcome);
        }
        self.to_client.extend(self.relay.poll_client_output().unwrap_or_default());
        Ok(outcome)
    }

    fn client_says(&mut self, bytes: Vec<u8>, step: usize) -> Result<(), RelayError> {
        self.client.send(Some(bytes));
        while self.client.arrive(step) {
            let taken = self.relay.on_client(&self.client.unread)?;
            self.client.take(taken);
        }
        self.to_server.extend(self.relay.poll_server_output().unwrap_or_default());
        Ok(())
    }
}

/// A whole SCRAM login through the relay.
fn scram(password: &'static str, step: usize) -> (Result<LoggedIn, LoginError>, Option<Relayed>) {
    let mut legs = Legs::new(startup(ProtocolVersion::V3_0));
    let mut client = ServerLogin::new(
        &startup(ProtocolVersion::V3_0),
        Credential::Password(password),
        None,
        [1; NONCE_BYTES],
    );
    client.poll_output().unwrap();
    assert!(legs.relay.poll_server_output().is_some(), "the StartupMessage");
    let mut server = challenge(Some(&[7; 32]));
    let mut to_client = Vec::new();
    let mut outcome = None;
    for _ in 0..4 {
        let sent_bytes = server.poll_output().unwrap_or_default();
        outcome = legs.server_says(sent_bytes, step).unwrap().or(outcome);
        to_client.append(&mut legs.to_client);
        let taken = match client.on_bytes(&to_client) {
            Ok(taken) => taken,
            Err(error) => return (Err(error), outcome),
        };
        to_client.drain(..taken.bytes);
        if let Some(end) = taken.outcome {
            return (Ok(end), outcome);
        }
        legs.client_says(client.poll_output().unwrap_or_default(), step).unwrap();
        match server.on_bytes(&std::mem::take(&mut legs.to_server)) {
            Ok(Taken { outcome: None, .. }) => {}
            Ok(_) => {
                let sent_bytes = [server.poll_output().unwrap(), written(ready)].concat();
                outcome = legs.server_says(sent_bytes, step).unwrap().or(outcome);
            }
            Err(_) => outcome = legs.server_says(refusal(), step).unwrap().or(outcome),
        }
    }
    panic!("no end")
}

#[test]
fn scram_without_channel_binding_goes_through() {
    for step in [1, 2, 5, 33, 10_000] {
        let (end, outcome) = scram("pencil", step);
        let Some(Relayed::LoggedIn { version, method, parameters, server_key: key, client_key, status }) =
            outcome
        else {
            panic!()
        };
        let end = end.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((version, method), (ProtocolVersion::V3_0, Method::ScramSha256));
        assert_eq!(status, TransactionStatus::Idle);
        assert_eq!(parameters.as_bytes(), end.parameters.as_bytes());
        assert_eq!(key, Some(server_key()));
        assert_eq!(client_key, Some(BackendKey::new(4711, &[6; 4]).unwrap()));
        assert_eq!(end.key, client_key, "the client got ours");
    }
}

#[test]
fn a_refusal_goes_to_the_client_as_it_came() {
    let (end, outcome) = scram("wrong", 3);
    assert!(matches!(end, Err(LoginError::Refused(refused)) if refused.as_bytes() == refusal()));
    let Some(Relayed::Refused(refused)) = outcome else { panic!() };
    assert_eq!((refused.as_bytes(), refused.method()), (refusal().as_slice(), Some(Method::ScramSha256)));
}

#[test]
fn mechanisms_bound_to_the_channel_are_taken_out_of_the_offer() {
    let offer =
        |names: &[&'static [u8]]| written(|out| authentication::write_sasl(out, names.iter().copied()));
    let mut legs = Legs::new(startup(ProtocolVersion::V3_0));
    let whole = offer(&[b"SCRAM-SHA-256-PLUS", b"SCRAM-SHA-256", b"OAUTHBEARER"]);
    legs.server_says(whole, 1).unwrap();
    assert_eq!(legs.to_client, offer(&[b"SCRAM-SHA-256", b"OAUTHBEARER"]));
    let mut legs = Legs::new(startup(ProtocolVersion::V3_0));
    let only = legs.server_says(offer(&[b"SCRAM-SHA-256-PLUS"]), 1);
    assert_eq!(only.err(), Some(RelayError::OnlyChannelBinding));
}

#[test]
fn a_client_that_noticed_the_missing_binding_is_told_rather_than_refused_by_the_server() {
    let response = |data: &'static [u8]| {
        let response = authentication::SaslInitialResponse { mechanism: b"SCRAM-SHA-256", data: Some(data) };
        written(|out| response.write(out))
    };
    for (offer, data, end) in [
        (b"SCRAM-SHA-256-PLUS".as_slice(), b"y,,n=,r=a".as_slice(), Err(RelayError::ChannelBinding)),
        (b"SCRAM-SHA-256-PLUS", b"n,,n=,r=a", Ok(())),
        (b"OAUTHBEARER", b"y,,n=,r=a", Ok(())),
    ] {
        let mut legs = Legs::new(startup(ProtocolVersion::V3_0));
        let offer = written(|out| authentication::write_sasl(out, [offer, b"SCRAM-SHA-256"]));
        legs.server_says(offer, 99).unwrap();
        assert_eq!(legs.client_says(response(data), 1), end);
    }
}

#[test]
fn gssapi_tickets_pass_untouched() {
    let mut legs = Legs::new(startup(ProtocolVersion::V3_0));
    legs.relay.poll_server_output();
    let asks = |code: u32, data: &[u8]| {
        written(|out| {
            crate::wire::write_frame(out, b'R', |body| body.extend([&code.to_be_bytes(), data].concat()))
        })
    };
    let ticket = written(|out| authentication::write_sasl_response(out, &[0xa5; 40_000]));
    let sent_bytes = [asks(7, b""), asks(8, &[1; 5000])];
    legs.server_says(sent_bytes[0].clone(), 2).unwrap();
    legs.client_says(ticket.clone(), 4096).unwrap();
    legs.server_says(sent_bytes[1].clone(), 700).unwrap();
    legs.client_says(ticket.clone(), 4096).unwrap();
    let outcome = legs.server_says(written(ready), 3).unwrap();
    assert!(matches!(outcome, Some(Relayed::LoggedIn { method: Method::Gss, .. })));
    assert_eq!(legs.to_server, [ticket.clone(), ticket].concat());
    assert!(legs.to_client.starts_with(&sent_bytes.concat()));
}

#[test]
fn what_the_client_says_too_early_is_left_for_the_session() {
    let query = written(|out| crate::wire::frontend::write_query(out, "select 1"));
    let mut legs = Legs::new(startup(ProtocolVersion::V3_0));
    legs.relay.poll_server_output();
    legs.client_says(query.clone(), 99).unwrap();
    legs.server_says(written(ready), 99).unwrap();
    assert_eq!(legs.relay.on_client(&query), Ok(0));
    assert_eq!((legs.client.unread, legs.to_server), (query.clone(), Vec::new()));
    let mut legs = Legs::new(startup(ProtocolVersion::V3_0));
    legs.server_says(written(authentication::write_cleartext_password), 99).unwrap();
    assert!(matches!(legs.client_says(query, 99), Err(RelayError::Client(_))), "an answer is awaited");
}

#[test]
fn one_version_is_negotiated_for_all_three() {
    use crate::wire::startup::write_negotiation;
    let negotiation = |version, names: &[&'static [u8]]| {
        written(|out| write_negotiation(out, version, names.iter().copied()))
    };
    let option: &[u8] = b"_pq_.x";
    let cases = [
        // Client version and option, server response, messages for the client, bytes of the client's key.
        (ProtocolVersion::V3_2, false, None, vec![], 32),
        (
            ProtocolVersion::V3_2,
            false,
            Some(ProtocolVersion::V3_0),
            negotiation(ProtocolVersion::V3_0, &[]),
            4,
        ),
        (ProtocolVersion::V3_0, true, None, negotiation(ProtocolVersion::V3_0, &[option]), 4),
        (
            ProtocolVersion { major: 3, minor: 9 },
            true,
            Some(ProtocolVersion::V3_0),
            negotiation(ProtocolVersion::V3_0, &[option]),
            4,
        ),
        (ProtocolVersion { major: 3, minor: 9 }, false, None, negotiation(ProtocolVersion::V3_2, &[]), 32),
    ];
    for (asked, with_option, answer, forwarded, key) in cases {
        let mut startup = startup(asked);
        if with_option {
            startup.set("_pq_.x", "1");
        }
        let mut legs = Legs::new(startup);
        let to_server = legs.relay.poll_server_output().unwrap();
        assert!(!to_server.windows(option.len()).any(|part| part == option), "not for the server to honour");
        let answer = answer.map(|version| negotiation(version, &[])).unwrap_or_default();
        let outcome = legs.server_says([answer, written(ready)].concat(), 5).unwrap();
        let Some(Relayed::LoggedIn { client_key, .. }) = outcome else { panic!() };
        assert_eq!(client_key.unwrap().secret().len(), key);
        assert!(legs.to_client.starts_with(&forwarded));
        assert!(
            legs.to_client[forwarded.len()..].starts_with(&written(authentication::write_ok)),
            "and no more"
        );
    }
}
