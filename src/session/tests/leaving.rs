//! Handling of Terminate in a session: permission to end, and forwarding to the backend.

use std::time::Instant;

use super::{
    super::{ConsumedInput, Session, SessionOptions},
    RouteSide::Client,
    client, frame, server,
    sharing::{ERROR, EXECUTE, one_batch, played},
};

const PARSE: (u8, &[u8]) = (b'P', b"\0INSERT INTO t VALUES (1)\0\0\0");
const BIND: (u8, &[u8]) = (b'B', b"\0\0\0\0\0\0\0\0");
const FLUSH: (u8, &[u8]) = (b'H', b"");
const SYNC: (u8, &[u8]) = (b'S', b"");
const TERMINATE: (u8, &[u8]) = (b'X', b"");
const COPY: (u8, &[u8]) = (b'Q', b"COPY t FROM STDIN\0");

/// Sends Terminate in a dedicated session, after messages of both sides. Returns three flags: the backend received
/// Terminate; the session may end at once; the session may end after the server's next messages.
fn kept(
    script: &[(u8, &[u8])],
    response: &[(u8, &[u8])],
    response_next: &[(u8, &[u8])],
) -> (bool, bool, bool) {
    let (mut session, now) = (Session::returning(None, SessionOptions::default()), Instant::now());
    let frames = |of: &[(u8, &[u8])]| of.iter().flat_map(|(tag, body)| frame(*tag, body)).collect::<Vec<_>>();
    session.on_client(now, &frames(script), false).unwrap();
    session.on_backend(now, &frames(response), false).unwrap();
    let ConsumedInput { forward, discard } =
        session.on_client(now, &frames(&[TERMINATE, SYNC]), false).unwrap();
    assert_eq!(forward + discard, 5, "nothing behind Terminate is read");
    assert_eq!(session.on_client(now, &frames(&[SYNC]), false), Ok(ConsumedInput::default()));
    let at_once = session.may_leave();
    session.on_backend(now, &frames(response_next), false).unwrap();
    (forward == 5, at_once, session.may_leave())
}

#[test]
fn a_batch_without_sync_ends_with_terminate() {
    let (begun, done) = ([(b'1', &b""[..]), (b'2', b"")], [(b'C', &b"INSERT 0 1\0"[..])]);
    let batch = [PARSE, BIND, (b'E', EXECUTE), FLUSH];
    assert_eq!(kept(&batch, &begun, &done), (true, false, false), "the backend's closing ends it");
    assert_eq!(kept(&batch[..3], &[], &[]), (true, false, false));
    assert_eq!(kept(&[(b'D', b"Pnosuch\0"), FLUSH], &[(b'E', ERROR)], &[]), (true, false, false));
    let messages: Vec<_> = batch.into_iter().chain([TERMINATE, (b'Q', b"SELECT 1\0")]).collect();
    let (to_backend, _, talk) = played(&[one_batch(&messages)]);
    assert!(to_backend.ends_with(" | H | X"), "{to_backend}");
    assert!(talk.session.terminate_received() && !talk.session.may_leave());
}

#[test]
fn terminate_behind_whole_requests_waits_for_answers() {
    let ready = [(b'C', &b"SELECT 1\0"[..]), (b'Z', b"T")];
    assert_eq!(kept(&[(b'Q', b"SELECT 1\0")], &[], &ready), (false, false, true));
    assert_eq!(kept(&[(b'Q', b"SELECT 1\0")], &ready, &[]), (false, true, true));
    assert_eq!(kept(&[], &[], &[]), (false, true, true));
}

#[test]
fn copied_data_ends_with_terminate_at_once() {
    let (copies, failed) = ([(b'G', &b"\0\0\0"[..])], [(b'E', ERROR)]);
    assert_eq!(kept(&[COPY], &copies, &[]), (false, true, true));
    assert_eq!(kept(&[COPY], &[], &copies), (false, false, true));
    let batch = [(b'P', &b"\0COPY t FROM STDIN\0\0\0"[..]), BIND, (b'E', EXECUTE)];
    assert_eq!(kept(&batch, &copies, &[]), (false, true, true));
    // The server has treated Terminate as an error in the data, and waits for a Sync.
    let swallowed = [copies, failed].concat();
    assert_eq!(kept(&batch, &[], &swallowed), (true, false, true));
}

#[test]
fn nothing_behind_terminate_is_executed() {
    let script =
        [(Client, [frame(b'Q', b"SELECT 1\0"), frame(b'X', b""), frame(b'Q', b"DROP TABLE t\0")].concat())];
    let (to_backend, _, talk) = played(&script);
    assert_eq!(to_backend, "QSELECT 1");
    assert!(!talk.session.may_leave());
    let answered =
        [&script[..], &[server(b'C', b"SELECT 1\0"), server(b'Z', b"I"), client(b'Q', b"DROP TABLE t\0")]];
    let (to_backend, _, talk) = played(&answered.concat());
    assert_eq!(to_backend, "QSELECT 1");
    assert!(talk.session.may_leave());
}

#[test]
fn a_query_behind_an_error_is_skipped() {
    let failing: [&[(u8, &[u8])]; 3] = [&[BIND], &[(b'D', b"Snosuch\0")], &[(b'P', b"\0SELEC\0\0\0")]];
    for failing in failing {
        let script = [failing, &[(b'Q', b"SELECT 1\0"), SYNC]].concat();
        assert_eq!(kept(&script, &[], &[(b'E', ERROR), (b'Z', b"I")]), (false, false, true), "{failing:?}");
        let unsynced = &script[..2];
        assert_eq!(
            kept(unsynced, &[(b'E', ERROR)], &[]),
            (true, false, false),
            "the backend skips all but Terminate"
        );
        assert_eq!(kept(unsynced, &[], &[(b'E', ERROR)]), (false, false, true));
        let shared = [one_batch(&script), server(b'E', ERROR), server(b'Z', b"I"), client(b'X', b"")];
        assert!(played(&shared).2.session.may_leave(), "{failing:?}");
    }
}
