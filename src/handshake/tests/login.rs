//! Logins to servers of every kind, and to Gatekeeper's own challenge.

use super::*;

const END_POINT: &[u8] = &[7; 32];

fn login(credential: Credential<'_>, end_point: Option<&[u8]>) -> ServerLogin<'static> {
    let credential = match credential {
        Credential::None => Credential::None,
        Credential::Password(text) => Credential::Password(text.to_owned().leak()),
        Credential::Token(text) => Credential::Token(text.to_owned().leak()),
    };
    let startup = startup(ProtocolVersion::V3_2);
    ServerLogin::new(&startup, credential, end_point.map(<[u8]>::to_vec), [1; NONCE_BYTES])
}

/// Plays `script` (messages of the server, with a client response between each two), `step` bytes at a time. Returns
/// the responses and the end.
fn play(
    mut login: ServerLogin<'_>,
    script: &[Vec<u8>],
    step: usize,
) -> (Vec<Vec<u8>>, Result<Option<LoggedIn>, LoginError>) {
    let mut answers = Vec::from_iter(login.poll_output());
    for bytes in script {
        let mut inbox = Inbox::default();
        inbox.send(Some(bytes.clone()));
        while inbox.arrive(step) {
            match login.on_bytes(&inbox.unread) {
                Err(error) => return (answers, Err(error)),
                Ok(taken) => {
                    inbox.take(taken.bytes);
                    if let Some(outcome) = taken.outcome {
                        assert!(inbox.coming.is_empty() && inbox.unread.is_empty());
                        return (answers, Ok(Some(outcome)));
                    }
                }
            }
        }
        answers.extend(login.poll_output());
    }
    (answers, Ok(None))
}

/// The end of a script that must not depend on where the bytes are cut.
fn end(
    credential: Credential<'_>,
    end_point: Option<&[u8]>,
    script: &[Vec<u8>],
) -> (Vec<Vec<u8>>, Result<LoggedIn, LoginError>) {
    let longest = script.iter().map(Vec::len).max().unwrap();
    let (answers, whole) = play(login(credential, end_point), script, longest);
    for step in 1..longest {
        let (same, end) = play(login(credential, end_point), script, step);
        assert_eq!(same, answers);
        assert_eq!(end.as_ref().err(), whole.as_ref().err());
        assert_eq!(end.is_ok_and(|end| end.is_some()), whole.as_ref().is_ok_and(Option::is_some));
    }
    (answers, whole.map(|end| end.expect("the script has an end")))
}

/// Login to Gatekeeper's own challenge: both machines, `step` bytes at a time.
fn against_challenge(
    login: &mut ServerLogin<'_>,
    challenge: &mut Challenge,
    step: usize,
) -> Result<LoggedIn, (Option<LoginError>, Option<ChallengeError>)> {
    let (mut ours, mut theirs) = (Inbox::default(), Inbox::default());
    login.poll_output().expect("the StartupMessage");
    loop {
        ours.send(challenge.poll_output());
        theirs.send(login.poll_output());
        let moved = ours.arrive(step) | theirs.arrive(step);
        let taken = challenge.on_bytes(&theirs.unread).map_err(|error| (None, Some(error)))?;
        theirs.take(taken.bytes);
        if taken.outcome.is_some() {
            ours.send(challenge.poll_output());
            ours.send(Some(written(ready)));
        }
        let taken = login.on_bytes(&ours.unread).map_err(|error| (Some(error), None))?;
        ours.take(taken.bytes);
        if let Some(logged_in) = taken.outcome {
            return Ok(logged_in);
        }
        assert!(moved, "both wait for each other");
    }
}

#[test]
fn a_server_that_trusts_us_is_believed() {
    let (answers, end) = end(Credential::Token("t"), None, &[written(ready)]);
    let end = end.unwrap();
    assert_eq!(answers, [written(|out| startup(ProtocolVersion::V3_2).write(out))]);
    assert_eq!(
        (end.method, end.version, end.status),
        (Method::Trust, ProtocolVersion::V3_2, TransactionStatus::Idle)
    );
    assert_eq!(end.key, Some(server_key()));
    assert_eq!(end.parameters.get("server_version"), Some(b"15.14".as_slice()));
    assert_eq!(end.parameters.get("nothing"), None);
    assert_eq!(end.parameters.iter().count(), 2);
    assert!(written(ready).windows(end.notices.len()).any(|part| part == end.notices));
    assert!(!end.notices.is_empty());
}

#[test]
fn a_token_answers_a_cleartext_request() {
    let token = "ya29.".repeat(400);
    let script = [written(authentication::write_cleartext_password), written(ready)];
    let (answers, end) = end(Credential::Token(&token), None, &script[..]);
    assert_eq!(end.unwrap().method, Method::CleartextPassword);
    assert_eq!(answers[1], written(|out| authentication::write_password(out, token.as_bytes())));
}

#[test]
fn an_md5_request_gets_the_answer_of_postgresql() {
    let script = [written(|out| authentication::write_md5_password(out, [1, 2, 3, 4])), written(ready)];
    let (answers, end) = end(Credential::Password("secret"), None, &script);
    assert_eq!(end.unwrap().method, Method::Md5Password);
    // md5(hex(md5("secretalice")) || salt), computed by Python's hashlib.
    assert_eq!(answers[1], b"p\0\0\0\x28md598a0412b9c31436fc53776e863350083\0");
}

#[test]
fn scram_is_bound_to_the_channel_where_both_sides_can() {
    for (ours, theirs, method) in [
        (None, None, Method::ScramSha256),
        (Some(END_POINT), None, Method::ScramSha256),
        (Some(END_POINT), Some(END_POINT), Method::ScramSha256Plus),
        (None, Some(END_POINT), Method::ScramSha256),
    ] {
        for step in [1, 2, 3, 7, 50, 1000] {
            let mut login = login(Credential::Password("pencil"), ours);
            let end = against_challenge(&mut login, &mut challenge(theirs), step);
            let end = end.unwrap_or_else(|error| panic!("{error:?}"));
            assert_eq!((end.method, login.method()), (method, None));
            assert!(end.keys.is_some(), "derived, to be kept");
        }
    }
    let mut login = login(Credential::Password("pencil"), Some(&[8; 32]));
    let Err((None, Some(error))) = against_challenge(&mut login, &mut challenge(Some(END_POINT)), 9) else {
        panic!("somebody is in between")
    };
    assert_eq!(error.sqlstate(), SqlState::INVALID_AUTHORIZATION);
}

#[test]
fn kept_keys_save_the_derivation() {
    let mut first = login(Credential::Password("pencil"), None);
    let kept = against_challenge(&mut first, &mut challenge(None), 99).ok().unwrap().keys.unwrap();
    let startup = startup(ProtocolVersion::V3_2);
    // With a wrong password the login can only succeed by the keys.
    let mut second =
        ServerLogin::new(&startup, Credential::Password("?"), None, [3; NONCE_BYTES]).with_keys(&kept);
    let end = against_challenge(&mut second, &mut challenge(None), 99);
    assert!(end.is_ok_and(|end| end.keys.is_none()));
}

#[test]
fn a_wrong_password_and_an_unknown_user_are_told_the_same() {
    let mut seen = Vec::new();
    for verifier in [verifier(), Verifier::mock_for(b"secret", b"nobody", 5)] {
        let mut challenge = Challenge::new(verifier, [2; NONCE_BYTES], None);
        let mut login = login(Credential::Password("wrong"), None);
        let Err((None, Some(error))) = against_challenge(&mut login, &mut challenge, 99) else { panic!() };
        seen.push((error.to_string(), error.sqlstate()));
    }
    assert_eq!(seen[0].1, SqlState::INVALID_PASSWORD);
    assert_eq!(seen[0], seen[1]);
}

#[test]
fn a_refusal_is_kept_as_it_came_with_what_was_asked() {
    let script = [written(authentication::write_cleartext_password), refusal()];
    let (_, end) = end(Credential::Token("t"), None, &script);
    let Err(LoginError::Refused(refused)) = end else { panic!() };
    assert_eq!(refused.as_bytes(), refusal());
    assert_eq!(refused.method(), Some(Method::CleartextPassword));
    assert_eq!(refused.fault().sqlstate(), Some(SqlState::INVALID_PASSWORD));
    assert_eq!(refused.to_string(), "password authentication failed for user \"alice\"");
    let (_, at_once) = self::end(Credential::None, None, &[refusal()]);
    assert!(matches!(at_once, Err(LoginError::Refused(refused)) if refused.method().is_none()));
}

#[test]
fn a_token_refused_by_scram_tells_that_scram_was_asked() {
    let mut server = challenge(None);
    let mut login = login(Credential::Token("ya29.a0"), None);
    assert!(matches!(against_challenge(&mut login, &mut server, 99), Err((None, Some(_)))));
    let Err(LoginError::Refused(refused)) = login.on_bytes(&refusal()) else { panic!() };
    assert_eq!(refused.method(), Some(Method::ScramSha256));
}

#[test]
fn what_cannot_be_answered_is_named() {
    let request = |code: u32| {
        written(|out| crate::wire::write_frame(out, b'R', |body| body.extend(code.to_be_bytes())))
    };
    for (code, method) in
        [(2, Method::KerberosV5), (7, Method::Gss), (9, Method::Sspi), (77, Method::Unknown(77))]
    {
        let (_, end) = end(Credential::Password("x"), None, &[request(code)]);
        assert_eq!(end.err(), Some(LoginError::Unanswerable(method)));
    }
    let offer =
        |names: &[&'static [u8]]| written(|out| authentication::write_sasl(out, names.iter().copied()));
    for offer in [offer(&[b"OAUTHBEARER"]), offer(&[b"SCRAM-SHA-256-PLUS"]), offer(&[])] {
        let (_, end) = end(Credential::Password("x"), None, &[offer]);
        assert_eq!(end.err(), Some(LoginError::Unanswerable(Method::OtherSasl)));
    }
    for (asked, method) in [
        (written(authentication::write_cleartext_password), Method::CleartextPassword),
        (offer(&[b"SCRAM-SHA-256"]), Method::ScramSha256),
    ] {
        let (answers, end) = end(Credential::None, None, &[asked]);
        assert_eq!(end.err(), Some(LoginError::NoCredential(method)));
        assert_eq!(answers.len(), 1, "nothing but the StartupMessage was said");
    }
}

#[test]
fn an_older_server_lowers_the_version_and_nothing_raises_it() {
    let negotiation =
        |version| written(|out| crate::wire::startup::write_negotiation(out, version, [].into_iter()));
    let script = [[negotiation(ProtocolVersion::V3_0), written(ready)].concat()];
    let (_, lowered) = end(Credential::None, None, &script);
    assert_eq!(lowered.unwrap().version, ProtocolVersion::V3_0);
    for wrong in [(3, 3), (2, 0), (4, 0)] {
        let version = ProtocolVersion { major: wrong.0, minor: wrong.1 };
        let (_, refused) = end(Credential::None, None, &[negotiation(version)]);
        assert_eq!(refused.err(), Some(LoginError::Violation(Violation::Version(version))));
    }
}

#[test]
fn a_server_out_of_turn_gets_no_second_answer() {
    let cleartext = || written(authentication::write_cleartext_password);
    let sasl = written(|out| authentication::write_sasl(out, [b"SCRAM-SHA-256".as_slice()]));
    let ok = written(authentication::write_ok);
    let out_of_turn: [&[Vec<u8>]; 7] = [
        &[cleartext(), cleartext()],
        // AuthenticationOk without proof: the server does not know the password.
        &[sasl.clone(), ok.clone()],
        &[sasl.clone(), cleartext()],
        &[written(|out| authentication::write_sasl_final(out, b"v="))],
        &[written(|out| write_ready_for_query(out, TransactionStatus::Idle))],
        &[written(|out| server_key().write_key_data(out))],
        &[ok.clone(), ok.clone()],
    ];
    for script in out_of_turn {
        let (answers, end) = end(Credential::Password("x"), None, script);
        assert!(matches!(end, Err(LoginError::Violation(Violation::OutOfTurn(_)))));
        assert!(answers.len() <= 2);
    }
}

#[test]
fn an_endless_handshake_is_cut_off() {
    let mut huge = b"N".to_vec();
    huge.extend(((MAX_FRAME_BYTES + 1) as u32).to_be_bytes());
    let mut login = login(Credential::None, None);
    assert!(matches!(login.on_bytes(&huge), Err(LoginError::Violation(Violation::TooMuch))));
    let notice = written(|out| {
        ErrorResponse::new(Severity::Notice, SqlState::SUCCESSFUL_COMPLETION, "x".repeat(1000)).write(out);
    });
    let mut login = self::login(Credential::None, None);
    let end = (0..200).find_map(|_| login.on_bytes(&notice).err());
    assert_eq!(end, Some(LoginError::Violation(Violation::TooMuch)));
}
