//! Messages, written and read back.

use super::*;

#[test]
fn what_we_say_as_a_server_is_read_back() {
    use backend::BackendMessage as M;
    let bytes = everything_a_server_says();
    let messages = server_messages(&bytes);
    let mut messages = messages.iter();
    let mut next = || messages.next().unwrap();
    let M::Authentication(AuthenticationRequest::Sasl(offer)) = next() else { panic!() };
    assert_eq!(offer.iter().collect::<Vec<_>>(), [b"SCRAM-SHA-256-PLUS".as_slice(), b"SCRAM-SHA-256"]);
    assert!(offer.contains(b"SCRAM-SHA-256") && !offer.contains(b"SCRAM"));
    assert!(matches!(next(), M::Authentication(AuthenticationRequest::SaslContinue(b"r=abc"))));
    assert!(matches!(next(), M::Authentication(AuthenticationRequest::SaslFinal(b"v=abc"))));
    assert!(matches!(next(), M::Authentication(AuthenticationRequest::CleartextPassword)));
    assert!(matches!(
        next(),
        M::Authentication(AuthenticationRequest::Md5Password([b's', b'a', b'l', b't']))
    ));
    assert!(matches!(next(), M::Authentication(AuthenticationRequest::Ok)));
    assert!(matches!(next(), M::NegotiateProtocolVersion { version: ProtocolVersion::V3_2, unknown: 2 }));
    assert!(matches!(next(), M::ParameterStatus(p) if p.name == b"TimeZone" && p.value == b"UTC"));
    assert!(matches!(next(), M::BackendKeyData(key) if *key == BackendKey::new(7, &[9; 32]).unwrap()));
    assert!(matches!(next(), M::CommandComplete(tag) if tag.rows() == Some(5) && tag.command() == b"INSERT"));
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
        write_frame(&mut out, tag::backend::COMMAND_COMPLETE, |body| body.extend([text, b"\0"].concat()));
        let [backend::BackendMessage::CommandComplete(tag)] = server_messages(&out)[..] else { panic!() };
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
fn a_message_said_to_a_client_cannot_be_shifted_by_a_nul() {
    let mut bytes = Vec::new();
    ErrorResponse::new(Severity::Error, SqlState::INTERNAL_ERROR, "a\0Hinjected").write(&mut bytes);
    let [backend::BackendMessage::ErrorResponse(fault)] = server_messages(&bytes)[..] else { panic!() };
    assert_eq!(fault.message(), "aHinjected");
    assert_eq!(fault.hint(), None);
}

#[test]
fn views_of_client_messages_borrow_what_they_show() {
    use frontend::{DescribeTarget, FrontendMessage as M};
    let decode = |bytes: &'static [u8]| {
        M::decode(&Frame::read(Speaker::Client, bytes).unwrap().unwrap()).map_err(|error| error.to_string())
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
    assert!(matches!(decode(b"D\0\0\0\x07Sn\0"), Ok(M::Describe(DescribeTarget::Statement(b"n")))));
    assert!(matches!(decode(b"C\0\0\0\x06P\0"), Ok(M::Close(DescribeTarget::Portal(b"")))));
    assert!(matches!(decode(b"E\0\0\0\x09\0\0\0\0\x02"), Ok(M::Execute { portal: b"", rows: 2 })));
    assert!(matches!(decode(b"X\0\0\0\x04"), Ok(M::Terminate)));
    assert!(matches!(decode(b"f\0\0\0\x06x\0"), Ok(M::CopyFail { reason: b"x" })));
    assert!(decode(b"D\0\0\0\x07Zn\0").is_err());
    assert!(decode(b"S\0\0\0\x05\0").is_err());
    assert!(decode(b"Q\0\0\0\x0aselect").is_err());
}

#[test]
fn a_command_tag_is_a_command_and_perhaps_counts() {
    for (text, command) in [
        (&b"INSERT 0 5"[..], &b"INSERT"[..]),
        (b"SELECT 1", b"SELECT"),
        (b"CREATE TABLE", b"CREATE TABLE"),
        (b"ALTER TABLE 7 x", b"ALTER TABLE 7 x"),
        (b"7", b"7"),
        (b"", b""),
    ] {
        let mut out = Vec::new();
        write_frame(&mut out, tag::backend::COMMAND_COMPLETE, |body| body.extend([text, b"\0"].concat()));
        let [backend::BackendMessage::CommandComplete(tag)] = server_messages(&out)[..] else { panic!() };
        assert_eq!(tag.command(), command, "{}", String::from_utf8_lossy(text));
    }
}

#[test]
fn a_prefix_has_what_is_here() {
    use frontend::{DescribeTarget, FrontendMessage as M};
    let decode = M::decode_prefix;
    assert!(matches!(decode(tag::frontend::QUERY, b"SELECT"), Some(M::Query { text: b"SELECT" })));
    let parse = decode(tag::frontend::PARSE, b"s\0SELECT 1");
    assert!(matches!(parse, Some(M::Parse { name: b"s", text: b"SELECT 1", rest: b"" })));
    assert!(matches!(
        decode(tag::frontend::BIND, b"p\0s"),
        Some(M::Bind { portal: b"p", statement: b"s", rest: b"" })
    ));
    assert!(matches!(decode(tag::frontend::EXECUTE, b"p\0"), Some(M::Execute { portal: b"p", rows: 0 })));
    for (body, is_statement) in
        [(&b"Ss\0"[..], true), (b"Ss", false), (b"Ss\0s\0", false), (b"", false), (b"Xs\0", false)]
    {
        let close = decode(tag::frontend::CLOSE, body);
        assert_eq!(matches!(close, Some(M::Close(DescribeTarget::Statement(b"s")))), is_statement);
        assert!(is_statement || matches!(close, Some(M::Close(DescribeTarget::Portal(b"")))));
    }
    assert!(decode(b'?', b"").is_none());
}

#[test]
fn a_prefix_of_all_is_the_message() {
    let mut bytes = Vec::new();
    frontend::write_query(&mut bytes, "SELECT 1");
    frontend::write_parse(&mut bytes, b"s", b"SELECT $1\0\0\x01\0\0\0\x17");
    frontend::write_bind(&mut bytes, b"p", b"s", b"\0\0\0\0\0\0");
    frontend::write_describe_statement(&mut bytes, b"s");
    frontend::write_execute(&mut bytes, b"p");
    frontend::write_close_statement(&mut bytes, b"s");
    frontend::write_close_portal(&mut bytes, b"p");
    frontend::write_flush(&mut bytes);
    frontend::write_sync(&mut bytes);
    frontend::write_copy_fail(&mut bytes, "no");
    frontend::write_terminate(&mut bytes);
    for (tag, body) in
        [(tag::frontend::FUNCTION_CALL, &b"\0\0\x06\x27\0\0"[..]), (tag::frontend::COPY_DATA, b"1\n")]
    {
        write_frame(&mut bytes, tag, |out| out.extend_from_slice(body));
    }
    let mut rest = bytes.as_slice();
    while let Ok(Some(frame)) = Frame::read(Speaker::Client, rest) {
        rest = &rest[frame.as_bytes().len()..];
        let whole = frontend::FrontendMessage::decode(&frame).ok();
        assert!(
            whole.is_some() && whole == frontend::FrontendMessage::decode_prefix(frame.tag(), frame.body())
        );
    }
    assert!(rest.is_empty() && !bytes.is_empty());
}
