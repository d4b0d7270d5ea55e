//! The walk over streams of frames.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::wire::bulk::FrameRun;

/// Walks over `stream` in parts that end at `cuts`; with `in_parts` incomplete frames pass at once. Returns the bytes
/// passed and the positions of frame boundaries.
fn walk(
    speaker: Speaker,
    stream: &[u8],
    cuts: &[usize],
    in_parts: bool,
) -> Result<(Vec<u8>, Vec<usize>), FrameError> {
    let mut walker = Deframer::new(speaker);
    let (mut passed, mut boundaries, mut at) = (Vec::new(), Vec::new(), 0);
    for &end in cuts.iter().chain([&stream.len()]) {
        while let Some(piece) = walker.next(&stream[at..end])? {
            if matches!(piece, FramePiece::Partial(_)) && !in_parts {
                break;
            }
            let bytes = walker.pass(&piece);
            assert!(bytes > 0 && at + bytes <= end);
            passed.extend_from_slice(&stream[at..at + bytes]);
            at += bytes;
            if walker.at_boundary() {
                boundaries.push(at);
            }
        }
    }
    Ok((passed, boundaries))
}

fn server_frame() -> impl Strategy<Value = Vec<u8>> {
    (any::<u8>(), vec(any::<u8>(), 0..40)).prop_map(|(tag, body)| {
        let mut out = Vec::new();
        write_frame(&mut out, tag, |to| to.extend_from_slice(&body));
        out
    })
}

fn client_frame() -> impl Strategy<Value = Vec<u8>> {
    (proptest::sample::select(b"BCdcfDEHFPQSX".to_vec()), vec(any::<u8>(), 0..40)).prop_map(|(tag, body)| {
        let mut out = Vec::new();
        write_frame(&mut out, tag, |to| to.extend_from_slice(&body));
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
}

#[test]
fn a_client_frame_is_refused_by_the_limits_of_postgresql() {
    let header = |speaker, tag: u8, length: u32| {
        let mut bytes = vec![tag];
        bytes.extend(length.to_be_bytes());
        Header::read(speaker, &bytes)
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
    // A wrong tag is found before the length has arrived.
    assert_eq!(Header::read(Speaker::Client, b"z"), Err(FrameError::UnexpectedTag { tag: b'z' }));
    assert_eq!(FrameError::UnexpectedTag { tag: 0x16 }.to_string(), "a message of unexpected type 0x16");
}

#[test]
fn a_frame_larger_than_any_buffer_passes_in_parts() {
    let mut walker = Deframer::new(Speaker::Server);
    let total = 0x7fff_ffff_usize + 1;
    let piece = walker.next(b"D\x7f\xff\xff\xffabc").unwrap().unwrap();
    assert!(matches!(piece, FramePiece::Partial(part) if part.total() == total && part.here() == 8));
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
    let all = FrameRun { bytes: 21, frames: 3 };
    assert_eq!(leading_run(Speaker::Server, b'D', &rows), all);
    assert_eq!(leading_run(Speaker::Server, b'D', &[&rows, b"C\0\0\0\x04".as_slice()].concat()), all);
    for cut in 0..row.len() {
        assert_eq!(leading_run(Speaker::Server, b'D', &[&rows, &row[..cut]].concat()), all);
    }
    assert_eq!(leading_run(Speaker::Server, b'D', b"D\0\0\0\x03ab"), FrameRun::default());
}
