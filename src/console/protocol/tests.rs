//! Scripts of frames with the expected responses.

use super::*;
use crate::{
    console::table::Value,
    wire::{Deframer, FramePiece, Header, Speaker, frontend},
};

/// A client's message.
fn request(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_frame(&mut out, tag, |bytes| bytes.extend_from_slice(body));
    out
}

fn query(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    frontend::write_query(&mut out, text);
    out
}

/// Sends `messages` in order, responds to each command with `rows` rows of zeros, and returns the tags of the output.
fn talk(protocol: &mut ConsoleProtocol, rows: usize, messages: &[Vec<u8>]) -> String {
    let mut responses = Vec::new();
    for message in messages {
        let Some(FramePiece::Whole(frame)) = Deframer::new(Speaker::Client).next(message).unwrap() else {
            panic!("not one whole message: {message:?}");
        };
        if let Ask::Run(command) = protocol.on_frame(&frame).unwrap() {
            let width = command.columns().map_or(0, <[Column]>::len);
            let count = if width == 0 { 0 } else { rows };
            protocol.on_answer(Ok(CommandResponse::rows(vec![vec![Value::Number(0); width]; count])));
        }
        while let Some(output) = protocol.poll_output() {
            responses.extend(output);
        }
    }
    tags(&responses)
}

fn tags(mut bytes: &[u8]) -> String {
    let mut tags = String::new();
    while let Some(header) = Header::read(Speaker::Server, bytes).unwrap() {
        tags.push(header.tag().into());
        bytes = &bytes[header.total()..];
    }
    tags
}

#[test]
fn a_query_is_answered_with_a_table() {
    let talk = |text| talk(&mut ConsoleProtocol::default(), 2, &[query(text)]);
    assert_eq!(talk("SHOW LISTS"), "TDDCZ");
    assert_eq!(talk("RELOAD"), "CZ");
    assert_eq!(talk("-- ping"), "IZ");
    assert_eq!(talk("SELECT 1"), "EZ");
}

#[test]
fn a_long_table_comes_in_parts_and_whole() {
    let responses = talk(&mut ConsoleProtocol::default(), 250, &[query("SHOW LISTS")]);
    assert_eq!(responses, format!("T{}CZ", "D".repeat(250)));
}

#[test]
fn the_extended_protocol_describes_and_executes() {
    let mut protocol = ConsoleProtocol::default();
    let responses = talk(
        &mut protocol,
        1,
        &[
            request(b'P', b"s\0SHOW VERSION;\0\0\0"),
            request(b'D', b"Ss\0"),
            request(b'S', b""),
            request(b'B', b"\0s\0\0\0\0\0\0\0"),
            request(b'D', b"P\0"),
            request(b'E', b"\0\0\0\0\0"),
            request(b'C', b"Ss\0"),
            request(b'S', b""),
        ],
    );
    assert_eq!(responses, "1tTZ2TDC3Z");
    let gone = [request(b'B', b"\0s\0\0\0\0\0\0\0"), request(b'E', b"\0\0\0\0\0"), request(b'S', b"")];
    assert_eq!(talk(&mut protocol, 1, &gone), "EZ", "behind an error all is skipped up to Sync");
}

#[test]
fn a_portal_can_be_read_in_parts_until_sync() {
    let mut protocol = ConsoleProtocol::default();
    let execute = || request(b'E', b"c\0\0\0\0\x02");
    let script = [
        request(b'P', b"\0SHOW LISTS\0\0\0"),
        request(b'B', b"c\0\0\0\0\0\0\0\x01\0\x01"),
        execute(),
        execute(),
        execute(),
        request(b'S', b""),
        execute(),
        request(b'S', b""),
    ];
    assert_eq!(talk(&mut protocol, 3, &script), "12DDsDCCZEZ");
}

#[test]
fn commands_without_rows_are_described_as_such_and_run_once() {
    let script = [
        request(b'P', b"\0RELOAD\0\0\0"),
        request(b'D', b"S\0"),
        request(b'B', b"\0\0\0\0\0\0\0\0"),
        request(b'E', b"\0\0\0\0\0"),
        request(b'E', b"\0\0\0\0\0"),
        request(b'S', b""),
        request(b'P', b"\0\0\0\0"),
        request(b'B', b"\0\0\0\0\0\0\0\0"),
        request(b'E', b"\0\0\0\0\0"),
        request(b'S', b""),
    ];
    assert_eq!(talk(&mut ConsoleProtocol::default(), 0, &script), "1tn2CEZ12IZ");
}

#[test]
fn mistakes_are_found_before_anything_is_run() {
    for (text, script) in [
        ("no such thing", vec![request(b'P', b"\0SHOW THINGS\0\0\0")]),
        ("no such portal", vec![request(b'D', b"Px\0")]),
        (
            "formats",
            vec![request(b'P', b"\0SHOW LISTS\0\0\0"), request(b'B', b"\0\0\0\0\0\0\0\x03\0\0\0\0\0\0")],
        ),
        ("a format", vec![request(b'P', b"\0SHOW LISTS\0\0\0"), request(b'B', b"\0\0\0\0\0\0\0\x01\0\x07")]),
        ("a short Bind", vec![request(b'P', b"\0SHOW LISTS\0\0\0"), request(b'B', b"\0\0\0\x05")]),
    ] {
        let responses = talk(&mut ConsoleProtocol::default(), 1, &script);
        assert!(responses.ends_with('E'), "{text}: {responses}");
    }
    assert_eq!(talk(&mut ConsoleProtocol::default(), 1, &[request(b'F', b"\0\0\0\x01\0\0\0\0\0\0")]), "EZ");
}

#[test]
fn statements_are_bounded() {
    let mut protocol = ConsoleProtocol::default();
    let parses: Vec<_> = (0..=MAX_HELD_STATEMENTS)
        .map(|at| request(b'P', format!("s{at}\0SHOW LISTS\0\0\0").as_bytes()))
        .collect();
    assert_eq!(talk(&mut protocol, 0, &parses), format!("{}E", "1".repeat(MAX_HELD_STATEMENTS)));
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic_and_each_sync_is_answered_once(
        messages in proptest::collection::vec((0..10_usize, proptest::collection::vec(proptest::num::u8::ANY, 0..24)), 0..40)
    ) {
        let mut protocol = ConsoleProtocol::default();
        for (tag, body) in messages {
            let message = request(b"QPBDECSHdc"[tag], &body);
            let Some(FramePiece::Whole(frame)) = Deframer::new(Speaker::Client).next(&message).unwrap() else { continue };
            // A protocol violation ends the connection.
            if let Ok(Ask::Run(command)) = protocol.on_frame(&frame) {
                let width = command.columns().map_or(0, <[Column]>::len);
                protocol.on_answer(Ok(CommandResponse::rows([vec![Value::Null; width]])));
            }
            while protocol.poll_output().is_some() {}
        }
        proptest::prop_assert_eq!(talk(&mut protocol, 0, &[request(b'S', b"")]), "Z");
    }
}
