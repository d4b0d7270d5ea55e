//! Tests of the wire as a whole: every split point, every octet.

use proptest::{collection::vec, prelude::*};

use super::{authentication::*, backend, frontend, startup::write_negotiation, tag, *};

/// Walks over `stream`, shown in pieces that end at `cuts`, passing what is incomplete at once if `in_parts`.
/// Answers the octets passed and the boundaries seen, as positions in the stream.
fn walk(
    speaker: Speaker,
    stream: &[u8],
    cuts: &[usize],
    in_parts: bool,
) -> Result<(Vec<u8>, Vec<usize>), FrameError> {
    let mut walker = Walker::new(speaker);
    let (mut passed, mut boundaries, mut at) = (Vec::new(), Vec::new(), 0);
    for &end in cuts.iter().chain([&stream.len()]) {
        while let Some(piece) = walker.next(&stream[at..end])? {
            if matches!(piece, Piece::Part(_)) && !in_parts {
                break;
            }
            let octets = walker.pass(&piece);
            assert!(octets > 0 && at + octets <= end);
            passed.extend_from_slice(&stream[at..at + octets]);
            at += octets;
            if walker.at_boundary() {
                boundaries.push(at);
            }
        }
    }
    Ok((passed, boundaries))
}

/// Everything in `wire` that looks at a peer's octets. Nothing to assert: it must come back.
fn fuzz_decoders(octets: &[u8]) {
    for speaker in [Speaker::StrangeClient, Speaker::Client, Speaker::Server] {
        let mut walker = Walker::new(speaker);
        let mut at = 0;
        while let Ok(Some(piece)) = walker.next(&octets[at..]) {
            if let Piece::Whole(frame) = &piece {
                let _ = frontend::Message::decode(frame);
                let _ = backend::Message::decode(frame);
                let _ = format!("{frame:?}");
            }
            let passed = walker.pass(&piece);
            assert!(passed > 0, "a walk always gets on");
            at += passed;
        }
        for tag in [tag::backend::DATA_ROW, tag::backend::COPY_DATA] {
            assert!(run(speaker, tag, octets).octets <= octets.len());
        }
    }
    let fault = Fault::new(octets);
    let _ = (fault.message(), fault.detail(), fault.hint(), fault.sqlstate(), fault.severity());
    assert!(fault.fields().count() <= octets.len());
    if let Ok(Request::Sasl(mechanisms)) = Request::decode(octets) {
        assert!(mechanisms.iter().count() <= octets.len());
    }
    let _ = (SaslInitialResponse::decode(octets).is_ok(), decode_password(octets).is_ok());
    if let Ok(Some((packet, taken))) = FirstPacket::read(octets) {
        assert!(taken <= octets.len());
        let mut again = Vec::new();
        packet.write(&mut again);
        if !matches!(&packet, FirstPacket::Startup(startup) if startup.version().major != 3) {
            assert_eq!(again, &octets[..taken], "a first packet is written as it was read");
        }
    }
}

fn server_frame() -> impl Strategy<Value = Vec<u8>> {
    (any::<u8>(), vec(any::<u8>(), 0..40)).prop_map(|(tag, body)| {
        let mut out = Vec::new();
        frame(&mut out, tag, |to| to.extend_from_slice(&body));
        out
    })
}

fn client_frame() -> impl Strategy<Value = Vec<u8>> {
    (proptest::sample::select(b"BCdcfDEHFPQSX".to_vec()), vec(any::<u8>(), 0..40)).prop_map(|(tag, body)| {
        let mut out = Vec::new();
        frame(&mut out, tag, |to| to.extend_from_slice(&body));
        out
    })
}

proptest! {
    #[test]
    fn any_cut_of_a_stream_gives_the_same_frames(
        frames in vec(server_frame(), 1..12),
        cuts in vec(any::<prop::sample::Index>(), 0..20),
        in_parts in any::<bool>(),
    ) {
        let stream = frames.concat();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
        cuts.sort_unstable();
        let expected: Vec<usize> = frames.iter().scan(0, |at, frame| { *at += frame.len(); Some(*at) }).collect();
        let (passed, boundaries) = walk(Speaker::Server, &stream, &cuts, in_parts).unwrap();
        prop_assert_eq!(passed, stream);
        prop_assert_eq!(boundaries, expected);
    }

    #[test]
    fn a_client_stream_survives_a_cut_at_every_point(frames in vec(client_frame(), 1..5)) {
        let stream = frames.concat();
        for cut in 0..=stream.len() {
            for in_parts in [false, true] {
                let (passed, _) = walk(Speaker::Client, &stream, &[cut], in_parts).unwrap();
                prop_assert_eq!(&passed, &stream);
            }
        }
        let all: Vec<usize> = (0..stream.len()).collect();
        prop_assert_eq!(walk(Speaker::Client, &stream, &all, true).unwrap().0, stream);
    }

    #[test]
    fn no_octets_from_a_peer_panic(octets in vec(any::<u8>(), 0..200)) {
        fuzz_decoders(&octets);
    }

    #[test]
    fn no_body_under_a_true_header_panics(tag in any::<u8>(), body in vec(prop_oneof![Just(0_u8), any::<u8>()], 0..60)) {
        let mut octets = Vec::new();
        frame(&mut octets, tag, |to| to.extend_from_slice(&body));
        fuzz_decoders(&octets);
        fuzz_decoders(&body);
    }

    #[test]
    fn no_startup_packet_panics(code in prop_oneof![
            Just(196_608_u32), Just(196_610), Just(80_877_102), Just(80_877_103), Just(80_877_104), any::<u32>()],
        body in vec(prop_oneof![Just(0_u8), any::<u8>()], 0..60),
    ) {
        let mut octets = Vec::new();
        packet(&mut octets, |to| { to.extend(code.to_be_bytes()); to.extend_from_slice(&body); });
        fuzz_decoders(&octets);
    }

    #[test]
    fn a_changed_octet_in_a_good_stream_never_panics(
        at in any::<prop::sample::Index>(), octet in any::<u8>(),
    ) {
        let mut stream = everything_a_server_says();
        let at = at.index(stream.len());
        stream[at] = octet;
        fuzz_decoders(&stream);
    }
}

fn everything_a_server_says() -> Vec<u8> {
    let mut out = Vec::new();
    write_sasl(&mut out, [b"SCRAM-SHA-256-PLUS".as_slice(), b"SCRAM-SHA-256"]);
    write_sasl_continue(&mut out, b"r=abc");
    write_sasl_final(&mut out, b"v=abc");
    write_cleartext_password(&mut out);
    write_md5_password(&mut out, *b"salt");
    write_ok(&mut out);
    write_negotiation(&mut out, ProtocolVersion::V3_2, [b"_pq_.a".as_slice(), b"_pq_.b"].into_iter());
    backend::ParameterStatus { name: b"TimeZone", value: b"UTC" }.write(&mut out);
    BackendKey::new(7, &[9; 32]).unwrap().write_key_data(&mut out);
    frame(&mut out, tag::backend::COMMAND_COMPLETE, |body| body.extend_from_slice(b"INSERT 0 5\0"));
    frame(&mut out, tag::backend::NOTIFICATION_RESPONSE, |body| body.extend_from_slice(b"\0\0\0\x07c\0p\0"));
    Report {
        detail: Some("d".into()),
        hint: Some("h".into()),
        ..Report::new(Severity::Fatal, SqlState::TOO_MANY_CONNECTIONS, "m")
    }
    .write(&mut out);
    backend::write_ready_for_query(&mut out, TransactionStatus::Open);
    out
}

fn server_messages(mut octets: &[u8]) -> Vec<backend::Message<'_>> {
    let mut messages = Vec::new();
    while let Some(frame) = Frame::read(Speaker::Server, octets).unwrap() {
        messages.push(backend::Message::decode(&frame).unwrap());
        octets = &octets[frame.octets().len()..];
    }
    assert!(octets.is_empty());
    messages
}

#[test]
fn what_we_say_as_a_server_is_read_back() {
    use backend::Message as M;
    let octets = everything_a_server_says();
    let messages = server_messages(&octets);
    let mut messages = messages.iter();
    let mut next = || messages.next().unwrap();
    let M::Authentication(Request::Sasl(offer)) = next() else { panic!() };
    assert_eq!(offer.iter().collect::<Vec<_>>(), [b"SCRAM-SHA-256-PLUS".as_slice(), b"SCRAM-SHA-256"]);
    assert!(offer.contains(b"SCRAM-SHA-256") && !offer.contains(b"SCRAM"));
    assert!(matches!(next(), M::Authentication(Request::SaslContinue(b"r=abc"))));
    assert!(matches!(next(), M::Authentication(Request::SaslFinal(b"v=abc"))));
    assert!(matches!(next(), M::Authentication(Request::CleartextPassword)));
    assert!(matches!(next(), M::Authentication(Request::Md5Password([b's', b'a', b'l', b't']))));
    assert!(matches!(next(), M::Authentication(Request::Ok)));
    assert!(matches!(next(), M::NegotiateProtocolVersion { version: ProtocolVersion::V3_2, unknown: 2 }));
    assert!(matches!(next(), M::ParameterStatus(p) if p.name == b"TimeZone" && p.value == b"UTC"));
    assert!(matches!(next(), M::BackendKeyData(key) if *key == BackendKey::new(7, &[9; 32]).unwrap()));
    assert!(matches!(next(), M::CommandComplete(tag) if tag.rows() == Some(5)));
    assert!(matches!(next(), M::NotificationResponse { pid: 7, channel: b"c", payload: b"p" }));
    let M::ErrorResponse(fault) = next() else { panic!() };
    assert_eq!(fault.sqlstate(), Some(SqlState::TOO_MANY_CONNECTIONS));
    assert_eq!(fault.sqlstate().unwrap().class(), "53");
    assert!(fault.is_fatal());
    assert_eq!(
        (fault.message(), fault.detail(), fault.hint()),
        ("m".into(), Some("d".into()), Some("h".into()))
    );
    assert!(matches!(next(), M::ReadyForQuery(TransactionStatus::Open)));
    assert!(messages.next().is_none());
}

#[test]
fn the_rows_of_a_command_come_from_its_tag() {
    let rows = |text: &[u8]| {
        let mut out = Vec::new();
        frame(&mut out, tag::backend::COMMAND_COMPLETE, |body| body.extend([text, b"\0"].concat()));
        let [backend::Message::CommandComplete(tag)] = server_messages(&out)[..] else { panic!() };
        tag.rows()
    };
    assert_eq!(rows(b"INSERT 0 5"), Some(5));
    assert_eq!(rows(b"SELECT 18446744073709551615"), Some(u64::MAX));
    assert_eq!(rows(b"COPY 3"), Some(3));
    for none in [
        b"BEGIN".as_slice(),
        b"",
        b"SELECT ",
        b"7",
        b"CREATE TABLE",
        b"SELECT 18446744073709551616",
        b"SELECT -1",
    ] {
        assert_eq!(rows(none), None);
    }
}

#[test]
fn a_client_frame_is_refused_by_the_limits_of_postgresql() {
    let header = |speaker, tag: u8, length: u32| {
        let mut octets = vec![tag];
        octets.extend(length.to_be_bytes());
        Header::read(speaker, &octets)
    };
    assert_eq!(header(Speaker::Client, b'Q', 3), Err(FrameError::TooShort { tag: b'Q', length: 3 }));
    assert!(header(Speaker::Client, b'Q', 0x3fff_fffe).is_ok());
    assert!(matches!(header(Speaker::Client, b'Q', 0x3fff_ffff), Err(FrameError::TooLong { .. })));
    assert!(header(Speaker::Client, b'E', 10_000).is_ok());
    assert!(matches!(header(Speaker::Client, b'E', 10_001), Err(FrameError::TooLong { limit: 10_000, .. })));
    assert_eq!(header(Speaker::Client, b'p', 8), Err(FrameError::UnexpectedTag { tag: b'p' }));
    assert!(header(Speaker::StrangeClient, b'p', 65_535).is_ok());
    assert!(matches!(header(Speaker::StrangeClient, b'p', 65_536), Err(FrameError::TooLong { .. })));
    assert_eq!(header(Speaker::StrangeClient, b'Q', 8), Err(FrameError::UnexpectedTag { tag: b'Q' }));
    assert!(header(Speaker::Server, 0xff, 0x7fff_ffff).is_ok());
    assert!(matches!(header(Speaker::Server, b'D', 0x8000_0000), Err(FrameError::TooLong { .. })));
    // A wrong tag is seen before its length came.
    assert_eq!(Header::read(Speaker::Client, b"z"), Err(FrameError::UnexpectedTag { tag: b'z' }));
    assert_eq!(FrameError::UnexpectedTag { tag: 0x16 }.to_string(), "a message of unexpected type 0x16");
}

#[test]
fn a_frame_larger_than_any_buffer_passes_in_parts() {
    let mut walker = Walker::new(Speaker::Server);
    let total = 0x7fff_ffff_usize + 1;
    let piece = walker.next(b"D\x7f\xff\xff\xffabc").unwrap().unwrap();
    assert!(matches!(piece, Piece::Part(part) if part.total() == total && part.here() == 8));
    assert_eq!(walker.pass(&piece), 8);
    let buffer = [0; 8192];
    let mut passed = 8;
    while !walker.at_boundary() {
        let piece = walker.next(&buffer).unwrap().unwrap();
        passed += walker.pass(&piece);
    }
    assert_eq!(passed, total);
}

#[test]
fn a_run_ends_before_the_first_other_or_incomplete_frame() {
    let row = b"D\0\0\0\x06ab";
    let rows = [row.as_slice(); 3].concat();
    let all = Run { octets: 21, frames: 3 };
    assert_eq!(run(Speaker::Server, b'D', &rows), all);
    assert_eq!(run(Speaker::Server, b'D', &[&rows, b"C\0\0\0\x04".as_slice()].concat()), all);
    for cut in 0..row.len() {
        assert_eq!(run(Speaker::Server, b'D', &[&rows, &row[..cut]].concat()), all);
    }
    assert_eq!(run(Speaker::Server, b'D', b"D\0\0\0\x03ab"), Run::default());
}

#[test]
fn a_startup_message_keeps_order_and_unknown_options() {
    let mut octets = Vec::new();
    packet(&mut octets, |body| {
        body.extend_from_slice(b"\0\x03\0\x02user\0alice\0_pq_.x\x001\0database\0db\0user\0bob\0\0");
    });
    octets.extend_from_slice(b"behind");
    let taken = octets.len() - 6;
    let (first, length) = FirstPacket::read(&octets).unwrap().unwrap();
    let FirstPacket::Startup(mut startup) = first.clone() else { panic!("{first:?}") };
    assert_eq!((length, startup.version()), (taken, ProtocolVersion::V3_2));
    assert_eq!(startup.get("user"), Some(b"bob".as_slice()), "the last one counts");
    let mut again = Vec::new();
    first.write(&mut again);
    assert_eq!(again, octets[..taken]);
    for cut in 0..taken {
        assert_eq!(FirstPacket::read(&octets[..cut]), Ok(None));
    }
    assert_eq!(startup.protocol_options().collect::<Vec<_>>(), [b"_pq_.x"]);
    startup.set("user", "carol");
    startup.set("options", "-c a=b");
    startup.remove("_pq_.x");
    let all: Vec<_> = startup.parameters().map(|(name, _)| name).collect();
    assert_eq!(all, [b"user".as_slice(), b"database", b"options"]);
    assert_eq!(startup.text("user"), Ok(Some("carol")));
}

#[test]
fn first_packets_have_the_codes_and_limits_of_postgresql() {
    let first = |octets: &[u8]| FirstPacket::read(octets);
    assert_eq!(first(&[0, 0, 0, 8, 4, 210, 22, 47]), Ok(Some((FirstPacket::SslRequest, 8))));
    assert_eq!(first(&[0, 0, 0, 8, 4, 210, 22, 48]), Ok(Some((FirstPacket::GssEncRequest, 8))));
    let cancel = [0, 0, 0, 16, 4, 210, 22, 46, 0, 0, 0, 1, 9, 9, 9, 9];
    let key = BackendKey::new(1, &[9; 4]).unwrap();
    assert_eq!(first(&cancel), Ok(Some((FirstPacket::CancelRequest(key.clone()), 16))));
    let mut written = Vec::new();
    key.write_cancel_request(&mut written);
    assert_eq!(written, cancel);
    assert_eq!(first(b"GET / HTTP/1.1\r\n"), Err(StartupError::Length(0x4745_5420)));
    assert_eq!(first(&[0, 0, 0, 7]), Err(StartupError::Length(7)));
    assert_eq!(first(&10_005_u32.to_be_bytes()), Err(StartupError::Length(10_005)));
    assert_eq!(first(&10_004_u32.to_be_bytes()), Ok(None));
    // The terminator is the last octet, neither missing nor followed by anything.
    for body in [b"user\0a\0".as_slice(), b"user\0a\0\0x", b"user\0a", b"user\0"] {
        let mut octets = Vec::new();
        packet(&mut octets, |to| to.extend([&[0, 3, 0, 0], body].concat()));
        assert!(matches!(first(&octets), Err(StartupError::Layout(_))), "{body:?}");
    }
    assert!(BackendKey::new(1, &[0; 3]).is_err());
    assert!(BackendKey::new(1, &[0; 256]).is_ok());
    assert!(BackendKey::new(1, &[0; 257]).is_err());
}

#[test]
fn a_message_said_to_a_client_cannot_be_shifted_by_a_nul() {
    let mut octets = Vec::new();
    Report::new(Severity::Error, SqlState::INTERNAL_ERROR, "a\0Hinjected").write(&mut octets);
    let [backend::Message::ErrorResponse(fault)] = server_messages(&octets)[..] else { panic!() };
    assert_eq!(fault.message(), "aHinjected");
    assert_eq!(fault.hint(), None);
}

#[test]
fn views_of_client_messages_borrow_what_they_show() {
    use frontend::{Message as M, Object};
    let decode = |octets: &'static [u8]| {
        M::decode(&Frame::read(Speaker::Client, octets).unwrap().unwrap()).map_err(|error| error.to_string())
    };
    assert!(matches!(decode(b"Q\0\0\0\x0bselect\0"), Ok(M::Query { text: b"select" })));
    assert!(matches!(
        decode(b"P\0\0\0\x0an\0t\0\0\0"),
        Ok(M::Parse { name: b"n", text: b"t", rest: [0, 0] })
    ));
    assert!(matches!(
        decode(b"B\0\0\0\x09p\0s\0\x01"),
        Ok(M::Bind { portal: b"p", statement: b"s", rest: [1] })
    ));
    assert!(matches!(decode(b"D\0\0\0\x07Sn\0"), Ok(M::Describe(Object::Statement(b"n")))));
    assert!(matches!(decode(b"C\0\0\0\x06P\0"), Ok(M::Close(Object::Portal(b"")))));
    assert!(matches!(decode(b"E\0\0\0\x09\0\0\0\0\x02"), Ok(M::Execute { portal: b"", rows: 2 })));
    assert!(matches!(decode(b"X\0\0\0\x04"), Ok(M::Terminate)));
    assert!(matches!(decode(b"f\0\0\0\x06x\0"), Ok(M::CopyFail { reason: b"x" })));
    assert!(decode(b"D\0\0\0\x07Zn\0").is_err());
    assert!(decode(b"S\0\0\0\x05\0").is_err());
    assert!(decode(b"Q\0\0\0\x0aselect").is_err());
}
