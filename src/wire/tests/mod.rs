//! Tests of the wire as a whole: every message, every split point, every byte.

mod frames;
mod fuzz;
mod messages;
mod startup;

use super::{authentication::*, startup::write_negotiation, *};

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
    write_frame(&mut out, tag::backend::COMMAND_COMPLETE, |body| body.extend_from_slice(b"INSERT 0 5\0"));
    write_frame(&mut out, tag::backend::NOTIFICATION_RESPONSE, |body| {
        body.extend_from_slice(b"\0\0\0\x07c\0p\0")
    });
    ErrorResponse {
        detail: Some("d".into()),
        hint: Some("h".into()),
        ..ErrorResponse::new(Severity::Fatal, SqlState::TOO_MANY_CONNECTIONS, "m")
    }
    .write(&mut out);
    backend::write_ready_for_query(&mut out, TransactionStatus::Open);
    out
}

fn server_messages(mut bytes: &[u8]) -> Vec<backend::BackendMessage<'_>> {
    let mut messages = Vec::new();
    while let Some(frame) = Frame::read(Speaker::Server, bytes).unwrap() {
        messages.push(backend::BackendMessage::decode(&frame).unwrap());
        bytes = &bytes[frame.as_bytes().len()..];
    }
    assert!(bytes.is_empty());
    messages
}
