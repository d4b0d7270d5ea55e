//! Conversations as scripts: what each side says, what is forwarded, what is reported.

mod comparing;
mod leasing;
mod leaving;
mod model;
mod sharing;
mod skipping;
mod split;
mod writer_reads;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{ConsumedInput, Session, SessionOptions, StatementReport, TrackedBackendState};
use crate::wire::TransactionStatus;

/// State of a new backend.
pub(super) fn fresh_backend() -> Box<TrackedBackendState> {
    Box::new(TrackedBackendState::new(Arc::default(), [0; 16]))
}

fn forwarded(bytes: usize) -> ConsumedInput {
    ConsumedInput { forward: bytes, discard: 0 }
}

fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    bytes.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    bytes.extend(body);
    bytes
}

#[derive(Clone, Debug)]
enum RouteSide {
    Client,
    Server,
}
use RouteSide::{Client, Server};

fn client(tag: u8, body: &[u8]) -> (RouteSide, Vec<u8>) {
    (Client, frame(tag, body))
}

fn server(tag: u8, body: &[u8]) -> (RouteSide, Vec<u8>) {
    (Server, frame(tag, body))
}

/// Ways to execute `text`, with the responses: a Query, and a batch with an unnamed and with a named statement.
fn executions(text: &str) -> [(Vec<u8>, Vec<u8>); 3] {
    let (complete, ready) = (frame(b'C', b"SELECT 1\0"), frame(b'Z', b"I"));
    let query = frame(b'Q', &[text.as_bytes(), b"\0"].concat());
    let batch = |name: &[u8]| {
        let parse = frame(b'P', &[name, b"\0", text.as_bytes(), b"\0\0\0"].concat());
        let bind = frame(b'B', &[b"\0", name, b"\0\0\0\0\0\0\0"].concat());
        let messages = [parse, bind, frame(b'E', b"\0\0\0\0\0"), frame(b'S', b"")].concat();
        (messages, [&frame(b'1', b""), &frame(b'2', b""), &*complete, &ready].concat())
    };
    [(query, [&*complete, &ready].concat()), batch(b""), batch(b"n")]
}

/// Plays a script, showing at most `step` further bytes at a time; everything must be forwarded as it came.
fn play(script: &[(RouteSide, Vec<u8>)], step: usize, texts: bool) -> (Session, Vec<String>) {
    let start = Instant::now();
    let options = SessionOptions { text_limit: texts.then_some(40), ..SessionOptions::default() };
    let mut session = Session::new(TransactionStatus::Idle, options);
    let mut reported = Vec::new();
    for (turn, (side, bytes)) in (0u32..).zip(script) {
        let now = start + Duration::from_millis(u64::from(turn));
        let (mut forwarded, mut shown) = (0, 0);
        while shown < bytes.len() {
            shown = (shown + step).min(bytes.len());
            let unread = &bytes[forwarded..shown];
            let count = match side {
                Client => session.on_client(now, unread, false),
                Server => session.on_backend(now, unread, false),
            };
            let taken = count.expect("the script is sound");
            assert_eq!(taken.discard, 0);
            forwarded += taken.forward;
        }
        assert_eq!(forwarded, bytes.len(), "turn {turn} was held back");
        reported.extend(std::iter::from_fn(|| session.poll_report()).map(|report| line(&report, start)));
    }
    (session, reported)
}

fn line(report: &StatementReport, start: Instant) -> String {
    let at = |moment: Instant| (moment - start).as_millis();
    let text = report.text.as_ref().map(|text| String::from_utf8_lossy(&text.bytes)).unwrap_or("-".into());
    let error = report.error.map_or("ok".to_owned(), |state| state.to_string());
    let kind = report.kind.as_str();
    format!("{kind} {}..{} {error} rows={} {text}", at(report.started), at(report.ended), report.rows)
}

fn reports(script: &[(RouteSide, Vec<u8>)], texts: bool) -> Vec<String> {
    let (session, whole) = play(script, usize::MAX >> 1, texts);
    for step in 1..40 {
        let (again, parts) = play(script, step, texts);
        assert_eq!(parts, whole, "shown {step} bytes at a time");
        assert_eq!(
            (again.is_idle(), again.statements_started()),
            (session.is_idle(), session.statements_started())
        );
    }
    whole
}

#[test]
fn a_query_lasts_from_its_request_to_ready_for_query() {
    let script = [
        client(b'Q', b"SELECT 1; SELECT 2\0"),
        server(b'T', b"\0\0"),
        server(b'D', b"\0\0"),
        server(b'C', b"SELECT 1\0"),
        server(b'C', b"SELECT 2\0"),
        server(b'Z', b"I"),
    ];
    assert_eq!(reports(&script, true), ["query 0..5 ok rows=3 SELECT 1; SELECT 2"]);
    assert_eq!(reports(&script, false), ["query 0..5 ok rows=3 -"]);
}

#[test]
fn executes_of_a_pipeline_are_told_apart_and_named_by_their_statements() {
    let script = [
        client(b'P', b"s\0INSERT INTO t VALUES ($1)\0\0\0"),
        client(b'B', b"\0s\0\0\0\0\0\0\0"),
        client(b'E', b"\0\0\0\0\0"),
        client(b'B', b"p\0s\0\0\0\0\0\0\0"),
        client(b'E', b"p\0\0\0\0\0"),
        client(b'S', b""),
        server(b'1', b""),
        server(b'2', b""),
        server(b'C', b"INSERT 0 1\0"),
        server(b'2', b""),
        server(b'C', b"INSERT 0 5\0"),
        server(b'Z', b"I"),
    ];
    let expected = [
        "execute 2..8 ok rows=1 INSERT INTO t VALUES ($1)",
        "execute 4..10 ok rows=5 INSERT INTO t VALUES ($1)",
    ];
    assert_eq!(reports(&script, true), expected);
}

#[test]
fn after_an_error_the_rest_of_the_pipeline_was_never_run() {
    let script = [
        client(b'E', b"\0\0\0\0\0"),
        client(b'E', b"\0\0\0\0\0"),
        client(b'S', b""),
        client(b'Q', b"SELECT 1\0"),
        server(b'E', b"SERROR\0VERROR\0C23505\0Mduplicate\0\0"),
        server(b'Z', b"I"),
        server(b'C', b"SELECT 1\0"),
        server(b'Z', b"I"),
    ];
    let (session, _) = play(&script, 1000, false);
    assert!(session.is_idle());
    assert_eq!(reports(&script, false), ["execute 0..4 23505 rows=0 -", "query 3..7 ok rows=1 -"]);
}

#[test]
fn what_comes_behind_an_error_is_skipped_up_to_a_sync_that_comes_later() {
    let error = server(b'E', b"SERROR\0VERROR\0C22012\0Mdivision\0\0");
    for failing in [client(b'E', b"\0\0\0\0\0"), client(b'D', b"Snobody\0")] {
        let script = [
            failing,
            client(b'H', b""),
            error.clone(),
            client(b'E', b"\0\0\0\0\0"),
            client(b'Q', b"SELECT 'skipped'\0"),
            client(b'S', b""),
            server(b'Z', b"I"),
            client(b'Q', b"SELECT 1\0"),
            server(b'C', b"SELECT 1\0"),
            server(b'Z', b"I"),
        ];
        let (session, reports) = play(&script, 1000, false);
        assert!(session.is_idle());
        assert_eq!(reports.last().unwrap(), "query 7..9 ok rows=1 -");
    }
}

#[test]
fn a_parse_that_fails_is_told_and_leaves_no_text_behind() {
    let script = [
        client(b'P', b"s\0SELEC 1\0\0\0"),
        client(b'S', b""),
        server(b'E', b"SERROR\0VERROR\0C42601\0Msyntax\0\0"),
        server(b'Z', b"I"),
        client(b'B', b"\0s\0\0\0\0\0\0\0"),
        client(b'E', b"\0\0\0\0\0"),
        client(b'S', b""),
        server(b'E', b"SERROR\0VERROR\0C26000\0Mno such statement\0\0"),
        server(b'Z', b"I"),
    ];
    assert_eq!(reports(&script, true), ["prepare 2..2 42601 rows=0 SELEC 1", "prepare 7..7 26000 rows=0 -"],);
}

#[test]
fn a_sync_sent_ahead_of_copy_data_is_ignored_as_the_server_does() {
    let script = [
        client(b'E', b"\0\0\0\0\0"),
        client(b'S', b""),
        server(b'G', b"\0\0\0"),
        client(b'd', b"1\n"),
        client(b'S', b""),
        client(b'd', b"2\n"),
        client(b'c', b""),
        client(b'S', b""),
        server(b'C', b"COPY 2\0"),
        server(b'Z', b"I"),
    ];
    let (session, _) = play(&script, 1000, false);
    assert!(session.is_idle(), "one ReadyForQuery settles all");
    assert_eq!(reports(&script, false), ["execute 0..8 ok rows=2 -"]);
}

#[test]
fn a_sync_behind_data_that_is_refused_may_count_and_is_waited_for() {
    let mut script = vec![
        client(b'E', b"\0\0\0\0\0"),
        server(b'G', b"\0\0\0"),
        client(b'd', b"bad\n"),
        client(b'S', b""),
        server(b'E', b"SERROR\0VERROR\0C22P02\0Mbad data\0\0"),
    ];
    assert!(
        !play(&script, 1000, false).0.is_idle(),
        "nobody knows whether the Sync was read before the data failed"
    );
    script.push(server(b'Z', b"I"));
    assert!(play(&script, 1000, false).0.is_idle());
}

#[test]
fn a_stray_copy_done_owes_nothing() {
    let script = [client(b'c', b""), client(b'Q', b"\0"), server(b'I', b""), server(b'Z', b"I")];
    let (session, reports) = play(&script, 1000, false);
    assert!(session.is_idle());
    assert_eq!(reports, ["query 1..3 ok rows=0 -"]);
}

#[test]
fn the_end_of_data_that_was_refused_owes_nothing() {
    let refused =
        [server(b'G', b"\0\0\0"), server(b'E', b"SERROR\0VERROR\0C22P02\0Mbad data\0\0"), server(b'Z', b"I")];
    let mut ahead = vec![client(b'Q', b"COPY t FROM STDIN\0"), client(b'd', b"bad\n"), client(b'c', b"")];
    ahead.extend(refused.clone());
    assert!(play(&ahead, 1000, false).0.is_idle());
    let mut late = vec![client(b'Q', b"COPY t FROM STDIN\0"), client(b'd', b"bad\n")];
    late.extend(refused);
    late.push(client(b'c', b""));
    assert!(play(&late, 1000, false).0.is_idle());
}

#[test]
fn an_open_transaction_is_not_idle_and_a_settled_one_owes_nothing() {
    let mut script = vec![client(b'Q', b"BEGIN\0")];
    assert!(!play(&script, 1000, false).0.is_settled());
    script.extend([server(b'C', b"BEGIN\0"), server(b'Z', b"T")]);
    let (session, _) = play(&script, 1000, false);
    assert!(session.is_settled() && !session.is_idle());
    assert_eq!((session.status(), session.transactions()), (TransactionStatus::Open, 0));
    script.extend([client(b'Q', b"COMMIT\0"), server(b'C', b"COMMIT\0"), server(b'Z', b"I")]);
    let (session, _) = play(&script, 1000, false);
    assert!(session.is_idle());
    assert_eq!(session.transactions(), 1);
}

#[test]
fn a_batch_without_its_sync_is_not_idle() {
    let mut script = vec![
        client(b'P', b"\0INSERT INTO t VALUES (1)\0\0\0"),
        client(b'B', b"\0\0\0\0\0\0\0\0"),
        client(b'E', b"\0\0\0\0\0"),
        client(b'H', b""),
        server(b'1', b""),
        server(b'2', b""),
        server(b'C', b"INSERT 0 1\0"),
    ];
    let (session, _) = play(&script, 1000, false);
    assert!(session.is_settled() && !session.is_idle(), "what it inserted is not committed");
    script.extend([client(b'S', b""), server(b'Z', b"I")]);
    assert!(play(&script, 1000, false).0.is_idle());
}

#[test]
fn a_client_that_asks_too_much_waits_for_answers() {
    let mut session = Session::new(TransactionStatus::Idle, SessionOptions::default());
    let (now, sync, ready) = (Instant::now(), frame(b'S', b""), frame(b'Z', b"I"));
    while !session.is_backlogged() {
        session.on_client(now, &sync, false).unwrap();
    }
    session.on_backend(now, &ready, false).unwrap();
    assert!(!session.is_backlogged());
}

#[test]
fn what_breaks_off_is_told_as_cut_short() {
    let script = [client(b'Q', b"SELECT pg_sleep(9)\0"), server(b'D', b"\0\0")];
    let (mut session, reports) = play(&script, 1000, true);
    assert!(reports.is_empty());
    session.on_break(Instant::now());
    assert_eq!(session.poll_report().expect("a report").error.expect("an error").as_str(), "08006");
    assert!(session.is_settled());
}

#[test]
fn frames_beyond_any_buffer_pass_in_parts() {
    let mut session = Session::new(
        TransactionStatus::Idle,
        SessionOptions { text_limit: Some(10), ..SessionOptions::default() },
    );
    let now = Instant::now();
    let query = frame(b'Q', format!("SELECT '{}'\0", "x".repeat(5000)).as_bytes());
    assert_eq!(
        session.on_client(now, &query[..1000], false),
        Ok(forwarded(0)),
        "waited for while there is room"
    );
    assert_eq!(
        session.on_client(now, &query[..1000], true),
        Ok(forwarded(1000)),
        "then let go with its beginning known"
    );
    assert!(!session.may_speak_to_backend());
    assert_eq!(session.on_client(now, &query[1000..], false), Ok(forwarded(query.len() - 1000)));
    assert!(session.may_speak_to_backend());
    let answer = [frame(b'C', b"SELECT 1\0"), frame(b'Z', b"I")].concat();
    assert_eq!(session.on_backend(now, &answer, false), Ok(forwarded(answer.len())));
    let text = session.poll_report().unwrap().text.unwrap();
    assert_eq!((&*text.bytes, text.is_cut), (&b"SELECT 'xx"[..], true));
}

#[test]
fn a_fatal_error_is_remembered_as_the_servers_last_word() {
    let (session, _) = play(&[server(b'E', b"SFATAL\0VFATAL\0C57P01\0Mbye\0\0")], 1000, false);
    assert_eq!(session.fatal().expect("said").as_str(), "57P01");
}

#[test]
fn nonsense_from_either_side_is_an_error_and_never_a_panic() {
    proptest::proptest!(|(bytes: Vec<u8>, full: bool)| {
        let mut session = Session::new(TransactionStatus::Idle, SessionOptions { text_limit: Some(5), ..SessionOptions::default() });
        let now = Instant::now();
        if let Ok(count) = session.on_client(now, &bytes, full) {
            proptest::prop_assert!(count.byte_count() <= bytes.len());
        }
        if let Ok(count) = session.on_backend(now, &bytes, full) {
            proptest::prop_assert!(count.byte_count() <= bytes.len());
        }
    });
}
