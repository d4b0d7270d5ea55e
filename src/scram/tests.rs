//! The vectors of RFC 7677 and PostgreSQL's habits.

use proptest::{collection::vec, prelude::*};

use super::{password::prepare_password, verifier::VerifierError, *};

/// Example of RFC 7677, section 3, with an empty user name, as sent by PostgreSQL clients.
const CLIENT_NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
const SERVER_FIRST: &[u8] =
    b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

/// Runs both sides against each other.
fn exchange(
    password: &[u8],
    verifier: &Verifier,
    binding: ChannelBinding,
    end_point: Option<&[u8]>,
) -> Result<(), ScramError> {
    let client = AwaitServerFirst::new(binding, [1; NONCE_BYTES]);
    let server = AwaitClientFirst::new(verifier.clone(), [2; NONCE_BYTES], end_point.map(<[u8]>::to_vec));
    let (answer, server) =
        server.on_client_first(client.mechanism().as_bytes(), client.first_message().as_bytes())?;
    let (proof, client, _) = client.on_server_first(answer.as_bytes(), password, None)?;
    let answer = server.on_client_final(proof.as_bytes())?;
    client.on_server_final(answer.as_bytes())
}

fn pencil() -> Verifier {
    Verifier::derive(b"pencil", b"0123456789abcdef", 3).unwrap()
}

#[test]
fn keys_are_those_of_rfc_7677() {
    use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
    let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
    let keys = Keys::derive(b"pencil", &salt, 4096).unwrap();
    let dialog = b"n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
        s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    let signature = keys::hmac_sha256(&keys::hash(keys.client()), &[dialog]);
    let proof = keys::xor_bytes(keys.client(), &signature);
    assert_eq!(BASE64.encode(proof), "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
    let signature = keys::hmac_sha256(keys.server(), &[dialog]);
    assert_eq!(BASE64.encode(signature), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
}

#[test]
fn our_server_accepts_the_client_of_rfc_7677() {
    let verifier = Verifier::derive(
        b"pencil",
        &[0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e, 0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36, 0xfa, 0x81],
        4096,
    )
    .unwrap();
    let server = AwaitClientFirst::with_nonce(verifier, "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0".into(), None);
    let (answer, server) =
        server.on_client_first(b"SCRAM-SHA-256", b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO").unwrap();
    assert_eq!(answer.as_bytes(), SERVER_FIRST);
    let last = server.on_client_final(
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
    );
    assert_eq!(last.unwrap(), "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
}

#[test]
fn a_verifier_is_written_as_it_was_read() {
    // `select rolpassword from pg_authid` after `create user … password 'pencil'`, with the salt of RFC 7677.
    let text = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
    let verifier: Verifier = text.parse().unwrap();
    assert_eq!(verifier.to_string(), text);
    let salt = verifier.salt.clone();
    assert!(verifier == Verifier::derive(b"pencil", &salt, 4096).unwrap());
    for wrong in [
        "",
        "md5d41d8cd98f00b204e9800998ecf8427e",
        &text[..text.len() - 1],
        &text.replace("4096", "0"),
        &text.replace("4096", "+4096"),
        &text.replace("4096", "1000001"),
        &text.replace("256", "1"),
        &text.replace(":w", ":"),
    ] {
        assert_eq!(wrong.parse::<Verifier>().err(), Some(VerifierError), "{wrong}");
    }
}

#[test]
fn both_sides_agree_with_and_without_channel_binding() {
    let hash = [7; 32];
    let bound = ChannelBinding::EndPoint(hash.to_vec());
    assert_eq!(exchange(b"pencil", &pencil(), ChannelBinding::Unavailable, None), Ok(()));
    assert_eq!(exchange(b"pencil", &pencil(), ChannelBinding::NotOffered, None), Ok(()));
    assert_eq!(exchange(b"pencil", &pencil(), ChannelBinding::Unavailable, Some(&hash)), Ok(()));
    assert_eq!(exchange(b"pencil", &pencil(), bound.clone(), Some(&hash)), Ok(()));
    let elsewhere = ChannelBinding::EndPoint(vec![8; 32]);
    assert_eq!(exchange(b"pencil", &pencil(), elsewhere, Some(&hash)), Err(ScramError::Binding));
    let stripped = exchange(b"pencil", &pencil(), ChannelBinding::NotOffered, Some(&hash));
    assert_eq!(stripped, Err(ScramError::Downgrade));
    let unasked = exchange(b"pencil", &pencil(), bound, None);
    assert_eq!(unasked, Err(ScramError::Unsupported("mechanism")));
}

#[test]
fn a_wrong_password_and_an_unknown_user_fail_alike() {
    let wrong = exchange(b"pencils", &pencil(), ChannelBinding::Unavailable, None);
    let mock = Verifier::mock_for(b"secret", b"nobody", 3);
    let unknown = exchange(b"pencil", &mock, ChannelBinding::Unavailable, None);
    assert_eq!(wrong, Err(ScramError::WrongProof));
    assert_eq!(unknown, wrong);
    assert!(mock == Verifier::mock_for(b"secret", b"nobody", 3), "asked again, the same salt");
    assert!(mock.salt != Verifier::mock_for(b"secret", b"nobodi", 3).salt);
    assert!(mock.salt != Verifier::mock_for(b"secrey", b"nobody", 3).salt);
    assert_eq!(mock.salt.len(), pencil().salt.len());
}

#[test]
fn a_server_that_does_not_know_the_password_is_noticed() {
    let client = || AwaitServerFirst::with_nonce(ChannelBinding::Unavailable, CLIENT_NONCE.into());
    assert_eq!(client().first_message(), "n,,n=,r=rOprNGfwEbeRWgbNEkqO");
    let (_, last, _) = client().on_server_first(SERVER_FIRST, b"pencil", None).unwrap();
    let wrong = last.on_server_final(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    assert_eq!(wrong, Err(ScramError::WrongServer));
    let (_, last, _) = client().on_server_first(SERVER_FIRST, b"pencil", None).unwrap();
    assert_eq!(last.on_server_final(b"e=invalid-proof"), Err(ScramError::Server("invalid-proof".into())));
    let (_, last, _) = client().on_server_first(SERVER_FIRST, b"pencil", None).unwrap();
    assert_eq!(last.on_server_final(b"e=<script>"), Err(ScramError::Server("other-error".into())));
}

#[test]
fn a_client_believes_no_foreign_nonce_and_no_absurd_iterations() {
    let say = |message: &str| {
        AwaitServerFirst::with_nonce(ChannelBinding::Unavailable, "abc".into())
            .on_server_first(message.as_bytes(), b"x", None)
            .map(|_| ())
    };
    assert_eq!(say("r=abcd,s=AAAA,i=1"), Ok(()));
    assert_eq!(say("r=abc,s=AAAA,i=1"), Err(ScramError::Nonce));
    assert_eq!(say("r=xabcd,s=AAAA,i=1"), Err(ScramError::Nonce));
    assert_eq!(say("r=abcd,s=AAAA,i=0"), Err(ScramError::Iterations(0)));
    assert_eq!(say("r=abcd,s=AAAA,i=1000001"), Err(ScramError::Iterations(1_000_001)));
    assert_eq!(say("r=abcd,s=AAAA,i=4294967297"), Err(ScramError::Iterations(4_294_967_297)));
    assert_eq!(say("r=abcd,s=AAAA,i=-1"), Err(ScramError::Malformed("iterations")));
    assert_eq!(say("r=abcd,s=?,i=1"), Err(ScramError::Malformed("salt")));
    assert_eq!(say("m=x,r=abcd,s=AAAA,i=1"), Err(ScramError::Unsupported("mandatory extension")));
    assert_eq!(say("r=abcd,s=AAAA,i=1,x=1"), Ok(()));
    assert_eq!(say("r=abcd,s=AAAA,i=1,"), Err(ScramError::Malformed("extension")));
}

#[test]
fn keys_are_kept_while_salt_and_iterations_stay() {
    let log_in = |kept: Option<&Keys>| {
        let client = AwaitServerFirst::with_nonce(ChannelBinding::Unavailable, CLIENT_NONCE.into());
        let (proof, _, keys) = client.on_server_first(SERVER_FIRST, b"pencil", kept).unwrap();
        (proof, matches!(keys, std::borrow::Cow::Borrowed(_)), keys.into_owned())
    };
    let (first, reused, keys) = log_in(None);
    assert!(!reused);
    let (second, reused, _) = log_in(Some(&keys));
    assert!(reused && first == second);
    let other = Keys::derive(b"pencil", b"salt", 4096).unwrap();
    let (third, reused, _) = log_in(Some(&other));
    assert!(!reused && first == third);
}

#[test]
fn a_server_refuses_what_it_cannot_honour() {
    let say = |mechanism: &[u8], message: &[u8]| {
        AwaitClientFirst::new(pencil(), [0; NONCE_BYTES], None).on_client_first(mechanism, message).err()
    };
    let scram = SCRAM_SHA_256.as_bytes();
    assert_eq!(say(scram, b"n,,n=,r=abc"), None);
    assert_eq!(say(scram, b"n,,n=,r=abc,x=1"), None);
    assert_eq!(say(b"OAUTHBEARER", b"n,,n=,r=abc"), Some(ScramError::Unsupported("mechanism")));
    assert_eq!(say(scram, b"n,a=bob,n=,r=abc"), Some(ScramError::Unsupported("authorization identity")));
    assert_eq!(say(scram, b"p=tls-unique,,n=,r=a"), Some(ScramError::Unsupported("channel binding type")));
    assert_eq!(say(scram, b"n,,m=1,n=,r=abc"), Some(ScramError::Unsupported("mandatory extension")));
    assert_eq!(say(scram, b"n,,n=,r="), Some(ScramError::Malformed("nonce")));
    assert_eq!(say(scram, "n,,n=,r=ä".as_bytes()), Some(ScramError::Malformed("nonce")));
    assert_eq!(say(scram, b"n,,n=,r=a\0"), Some(ScramError::Malformed("encoding")));
    assert_eq!(say(scram, b"\xff"), Some(ScramError::Malformed("encoding")));
    assert_eq!(
        say(scram, b"p=tls-server-end-point,,n=,r=a"),
        Some(ScramError::Malformed("channel binding flag"))
    );
}

#[test]
fn passwords_are_prepared_as_postgresql_prepares_them() {
    // RFC 4013, section 3.
    assert_eq!(&*prepare_password("I\u{ad}X".as_bytes()), b"IX");
    assert_eq!(&*prepare_password("\u{aa}".as_bytes()), b"a");
    assert_eq!(&*prepare_password("\u{2168}".as_bytes()), b"IX");
    assert_eq!(&*prepare_password("a\u{a0}b".as_bytes()), b"a b");
    // Passwords that SASLprep rejects are used raw.
    for raw in ["", "plain", "\u{7}", "\u{627}1", "\u{ad}", "🔑", "\u{1f130}"] {
        assert_eq!(&*prepare_password(raw.as_bytes()), raw.as_bytes(), "{raw:?}");
    }
    assert_eq!(&*prepare_password(b"\xff\xfe"), b"\xff\xfe");
}

/// A peer that sends arbitrary bytes in each state.
fn fuzz_exchange(message: &[u8]) {
    let client = AwaitServerFirst::new(ChannelBinding::NotOffered, [1; NONCE_BYTES]);
    // A hostile message with valid iterations must not make the test slow: kept keys avoid the derivation in the common
    // case.
    let expensive = message.windows(2).any(|pair| pair == b"i=");
    if !expensive {
        let _ = client.on_server_first(message, b"x", None).map(|_| ());
    }
    for mechanism in [SCRAM_SHA_256, SCRAM_SHA_256_PLUS] {
        let server = AwaitClientFirst::new(pencil(), [2; NONCE_BYTES], Some(vec![7; 32]));
        let _ = server.on_client_first(mechanism.as_bytes(), message).map(|_| ());
    }
    let server = AwaitClientFirst::new(pencil(), [2; NONCE_BYTES], None);
    let (_, server) = server.on_client_first(SCRAM_SHA_256.as_bytes(), b"n,,n=,r=abc").unwrap();
    assert!(server.on_client_final(message).is_err(), "nobody guesses a proof");
    let client = AwaitServerFirst::with_nonce(ChannelBinding::Unavailable, "abc".into());
    let (_, client, _) = client.on_server_first(b"r=abcd,s=AAAA,i=1", b"x", None).unwrap();
    assert!(client.on_server_final(message).is_err(), "nobody guesses a signature");
    let _ = std::str::from_utf8(message).map(str::parse::<Verifier>);
    let _ = prepare_password(message);
}

proptest! {
    #[test]
    fn no_message_of_a_peer_panics(bytes in vec(any::<u8>(), 0..80)) {
        fuzz_exchange(&bytes);
    }

    #[test]
    fn no_message_that_looks_right_panics(parts in vec(prop_oneof![
        Just("n,,"), Just("y,,"), Just("p=tls-server-end-point,,"), Just("n="), Just("r=abc"), Just(","), Just("c=biws"),
        Just("p="), Just("v="), Just("e="), Just("s=AAAA"), Just("="), Just("AAAA"), Just("\u{e4}"), Just("m="),
    ], 0..12)) {
        fuzz_exchange(parts.concat().as_bytes());
    }

    #[test]
    fn any_password_is_known_to_its_own_verifier(password in any::<String>(), salt in vec(any::<u8>(), 0..20)) {
        let verifier = Verifier::derive(password.as_bytes(), &salt, 1).unwrap();
        prop_assert!(verifier.to_string().parse::<Verifier>().unwrap() == verifier);
        prop_assert_eq!(exchange(password.as_bytes(), &verifier, ChannelBinding::Unavailable, None), Ok(()));
    }
}
