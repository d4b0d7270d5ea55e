//! Scripts of sessions with reads on the read pools.

use super::{
    RouteSide::{Client, Server},
    executions, frame,
    sharing::{BIND_S, EXECUTE, Talk, description, shown},
};
use crate::{
    route::RouteSide,
    session::Session,
    sql::passes::{self, Passes},
    wire::Speaker,
};

/// Parse, Bind and Execute of a read, and Sync.
fn read() -> Vec<u8> {
    [
        frame(b'P', b"\0SELECT 1\0\0\0"),
        frame(b'B', b"\0\0\0\0\0\0\0\0"),
        frame(b'E', EXECUTE),
        frame(b'S', b""),
    ]
    .concat()
}

fn error(severity: &str, state: &str) -> Vec<u8> {
    frame(b'E', format!("S{severity}\0V{severity}\0C{state}\0Mm\0\0").as_bytes())
}

fn sides(talk: &Talk) -> &[RouteSide] {
    talk.sides.as_deref().unwrap_or_default()
}

#[test]
fn an_error_that_the_server_survives_is_the_answer() {
    for state in ["08P01", "08006", "57014", "57P01", "57P03", "22012"] {
        let mut talk = Talk::splitting();
        talk.say(&Client, &read(), 1000);
        talk.say(&Server, &[frame(b'1', b""), error("ERROR", state), frame(b'Z', b"I")].concat(), 1000);
        assert_eq!(sides(&talk), [RouteSide::Reader], "{state}");
        let to_client = shown(&talk.to_client, Speaker::Server);
        assert!(to_client.contains(state) && to_client.ends_with("ZI"), "{state}: {to_client}");
    }
}

#[test]
fn a_unit_that_loses_each_node_runs_thrice_at_most() {
    let fatal = error("FATAL", "57P01");
    for last_words in [&fatal[..], &[]] {
        let mut talk = Talk::splitting();
        for _ in 0..2 {
            talk.say(&Client, &read(), 1000);
            for expected in [RouteSide::Reader, RouteSide::Reader, RouteSide::Writer] {
                assert_eq!(sides(&talk).last(), Some(&expected));
                talk.say(&Server, last_words, 1000);
                if expected == RouteSide::Reader || !last_words.is_empty() {
                    assert!(talk.lose_backend());
                }
            }
            assert_eq!(sides(&talk).len(), 3, "{:?}", sides(&talk));
            talk.sides = Some(Vec::new());
            if !last_words.is_empty() {
                break;
            }
            // The writer's response is final, and the next unit's count begins anew.
            let answer = [frame(b'1', b""), frame(b'2', b""), frame(b'C', b"SELECT 1\0"), frame(b'Z', b"I")];
            talk.say(&Server, &answer.concat(), 1000);
            assert_eq!(shown(&talk.to_client, Speaker::Server), "1 | 2 | CSELECT 1 | ZI");
            talk.to_client.clear();
        }
        if !last_words.is_empty() {
            let answer = shown(&talk.to_client, Speaker::Server);
            assert!(answer.contains("40001") && answer.ends_with("ZI"), "the writer is lost, too: {answer}");
        }
    }
}

#[test]
fn an_overdue_read_runs_again_on_the_writer() {
    let mut talk = Talk::splitting();
    talk.say(&Client, &read(), 1000);
    talk.session.leave_readers();
    assert!(talk.lose_backend());
    assert_eq!(sides(&talk), [RouteSide::Reader, RouteSide::Writer]);
    talk.say(&Server, &read_answers(), 1000);
    assert_eq!(shown(&talk.to_client, Speaker::Server), "1 | 2 | CSELECT 1 | ZI");
    talk.say(&Client, &read(), 1000);
    assert_eq!(sides(&talk).last(), Some(&RouteSide::Reader), "the next read has a choice again");
}

#[test]
fn an_error_that_a_standby_explains_runs_again_once() {
    for state in ["25006", "40001", "42P01", "0A000", "55000", "58030", "XX000"] {
        let mut talk = Talk::splitting();
        talk.say(&Client, &read(), 1000);
        for _ in 0..2 {
            talk.say(&Server, &[error("ERROR", state), frame(b'Z', b"I")].concat(), 1000);
        }
        assert_eq!(sides(&talk), [RouteSide::Reader, RouteSide::Writer], "{state}");
        let to_client = shown(&talk.to_client, Speaker::Server);
        assert_eq!(to_client.matches(state).count(), 1, "{to_client}");
        assert!(to_client.ends_with("ZI"), "{to_client}");
    }
}

/// Responses to [`read`].
fn read_answers() -> Vec<u8> {
    [frame(b'1', b""), frame(b'2', b""), frame(b'C', b"SELECT 1\0"), frame(b'Z', b"I")].concat()
}

#[test]
fn a_result_that_a_standby_lacks_is_the_writers() {
    let mut talk = Talk::splitting();
    let preparation = [frame(b'P', b"s\0SELECT 1\0\0\0"), frame(b'D', b"Ss\0"), frame(b'S', b"")].concat();
    talk.say(&Client, &preparation, 1000);
    talk.say(&Server, &[frame(b'1', b""), description(23), frame(b'Z', b"I")].concat(), 1000);
    talk.to_client.clear();
    talk.say(&Client, &[frame(b'B', BIND_S), frame(b'E', EXECUTE), frame(b'S', b"")].concat(), 1000);
    talk.say(&Server, &[frame(b'1', b""), description(25)].concat(), 7);
    assert_eq!(sides(&talk), [RouteSide::Reader, RouteSide::Reader]);
    talk.to_backend.clear();
    talk.say(&Server, &frame(b'Z', b"I"), 7);
    assert_eq!(sides(&talk), [RouteSide::Reader, RouteSide::Reader, RouteSide::Writer]);
    talk.say(&Server, &[frame(b'1', b""), description(23)].concat(), 7);
    let to_backend = shown(&talk.to_backend, Speaker::Client);
    let asked = "P__gatekeeper_a.SELECT 1 | DS__gatekeeper_a | H";
    assert_eq!(to_backend, format!("{asked} | B.__gatekeeper_a | E | S"));
    assert!(talk.to_client.is_empty());
}

#[test]
fn a_sync_without_a_batch_does_not_stand_for_the_batch_behind_it() {
    let mut talk = Talk::splitting();
    talk.say(&Client, &[read(), frame(b'S', b""), read(), read()].concat(), 1000);
    talk.say(&Server, &[read_answers(), frame(b'Z', b"I")].concat(), 1000);
    talk.to_backend.clear();
    assert!(talk.lose_backend());
    let again = shown(&talk.to_backend, Speaker::Client);
    assert_eq!(again, "P.SELECT 1 | B | E | S | P.SELECT 1 | B | E | S", "both that were not answered");
}

#[test]
fn a_bind_that_comes_in_parts_runs_again_as_a_whole() {
    let mut talk = Talk::splitting();
    // After any cut, the rest may look like a Sync, or like a Query.
    let bind = frame(b'B', b"\0\0\0\0\0\x01\0\0\0\x08SSSSQQQQ\0\0");
    let batch =
        [frame(b'P', b"\0SELECT $1::text\0\0\0"), bind, frame(b'E', EXECUTE), frame(b'S', b"")].concat();
    talk.say(&Client, &batch, 1000);
    let first = std::mem::take(&mut talk.to_backend);
    for step in 1..30 {
        let mut talk = Talk::splitting();
        talk.session.on_batch_timeout();
        talk.say(&Client, &batch, step);
        let to_backend = std::mem::take(&mut talk.to_backend);
        assert_eq!(to_backend, first, "shown {step} bytes at a time");
        if sides(&talk) == [RouteSide::Reader] {
            assert!(talk.lose_backend());
            assert_eq!(talk.to_backend, first, "shown {step} bytes at a time");
        }
    }
}

#[test]
fn a_portal_that_is_bound_before_a_flush_is_the_writers() {
    for (frames, side) in [
        (&[(b'P', &b"\0SELECT 1\0\0\0"[..]), (b'D', b"S\0")][..], RouteSide::Reader),
        (&[(b'P', b"\0SELECT 1\0\0\0"), (b'B', b"\0\0\0\0\0\0\0\0")], RouteSide::Writer),
        (&[(b'B', b"\0\0\0\0\0\0\0\0"), (b'E', EXECUTE)], RouteSide::Writer),
        (&[(b'C', b"Snobody\0")], RouteSide::Reader),
    ] {
        let mut talk = Talk::splitting();
        let batch: Vec<u8> = frames.iter().flat_map(|(tag, body)| frame(*tag, body)).collect();
        talk.say(&Client, &[batch, frame(b'H', b"")].concat(), 1000);
        assert_eq!(sides(&talk), [side], "{frames:?}");
    }
}

#[test]
fn a_query_within_a_batch_is_the_writers() {
    for first in [(b'P', &b"\0SELECT 1\0\0\0"[..]), (b'C', b"Snobody\0"), (b'D', b"Snobody\0")] {
        let mut talk = Talk::splitting();
        let batch = [frame(first.0, first.1), frame(b'Q', b"SELECT 1\0")].concat();
        talk.say(&Client, &batch, 1000);
        assert_eq!(sides(&talk), [RouteSide::Writer], "{first:?}");
    }
}

#[test]
fn a_close_is_sent_only_where_what_follows_may_go() {
    let mut talk = Talk::splitting();
    let insert = [
        frame(b'C', b"Snobody\0"),
        frame(b'P', b"\0INSERT INTO t VALUES (1)\0\0\0"),
        frame(b'B', b"\0\0\0\0\0\0\0\0"),
        frame(b'E', EXECUTE),
        frame(b'S', b""),
    ];
    talk.say(&Client, &[read(), insert.concat()].concat(), 1000);
    assert_eq!(shown(&talk.to_backend, Speaker::Client), "P.SELECT 1 | B | E | S");
    talk.to_backend.clear();
    talk.say(&Server, &read_answers(), 1000);
    assert_eq!(sides(&talk), [RouteSide::Reader, RouteSide::Writer]);
    let to_backend = shown(&talk.to_backend, Speaker::Client);
    assert_eq!(to_backend, "CSnobody | P.INSERT INTO t VALUES (1) | B | E | S");
}

/// Parse, Bind and Execute of `text`.
fn extended(text: &str) -> Vec<u8> {
    [
        frame(b'P', format!("\0{text}\0\0\0").as_bytes()),
        frame(b'B', b"\0\0\0\0\0\0\0\0"),
        frame(b'E', EXECUTE),
    ]
    .concat()
}

fn query(text: &str) -> Vec<u8> {
    frame(b'Q', format!("{text}\0").as_bytes())
}

/// ParseComplete, BindComplete, `done` and ReadyForQuery.
fn extended_answers(done: &str, status: &[u8]) -> Vec<u8> {
    let done = frame(b'C', format!("{done}\0").as_bytes());
    [frame(b'1', b""), frame(b'2', b""), done, frame(b'Z', status)].concat()
}

fn query_answers(done: &str, status: &[u8]) -> Vec<u8> {
    [frame(b'C', format!("{done}\0").as_bytes()), frame(b'Z', status)].concat()
}

/// Session in a READ ONLY transaction on a read pool, failed by an error.
fn failed_on_reader() -> Talk {
    let sync = frame(b'S', b"");
    let mut talk = Talk::splitting();
    talk.say(&Client, &[extended("BEGIN READ ONLY"), sync.clone()].concat(), 1000);
    talk.say(&Server, &extended_answers("BEGIN", b"T"), 1000);
    talk.say(&Client, &[extended("SELECT 1 / 0"), sync].concat(), 1000);
    talk.say(&Server, &[error("ERROR", "22012"), frame(b'Z', b"E")].concat(), 1000);
    assert_eq!(sides(&talk), [RouteSide::Reader]);
    talk
}

#[test]
fn unexecuted_statements_pin_no_read_pool() {
    const SEED: &str = "SELECT setseed(0.5)";
    let refused = [error("ERROR", "25P02"), frame(b'Z', b"E")].concat();
    let skipped = [extended("SELEC"), extended(SEED), frame(b'S', b"")].concat();
    for seed in [query(SEED), [extended(SEED), frame(b'S', b"")].concat(), skipped] {
        let mut talk = failed_on_reader();
        talk.say(&Client, &seed, 1000);
        talk.say(&Server, &refused, 1000);
        talk.say(&Client, &query("ROLLBACK"), 1000);
        talk.say(&Server, &query_answers("ROLLBACK", b"I"), 1000);
        talk.say(&Client, &query("INSERT INTO t VALUES (1)"), 1000);
        assert_eq!(sides(&talk), [RouteSide::Reader, RouteSide::Writer], "{}", shown(&seed, Speaker::Client));
    }
}

#[test]
fn a_later_statement_keeps_its_pin() {
    const SEED: &str = "SELECT setseed(0.5)";
    let refused = [error("ERROR", "25P02"), frame(b'Z', b"E")].concat();
    let both = query("ROLLBACK; SELECT setseed(0.5)");
    let done = [frame(b'C', b"ROLLBACK\0"), query_answers("SELECT 1", b"I")].concat();
    // A function may report the same error, after `ROLLBACK`.
    let raised = [frame(b'C', b"ROLLBACK\0"), error("ERROR", "25P02"), frame(b'Z', b"I")].concat();
    for (to_backend, answers, is_pinned) in [
        (query(SEED), refused.clone(), false),
        ([query(SEED), both.clone()].concat(), [refused, done].concat(), true),
        (both, raised, true),
    ] {
        let mut talk = Talk::new(None);
        talk.say(&Client, &[query("BEGIN"), query("SELEC")].concat(), 1000);
        let failed = [query_answers("BEGIN", b"T"), error("ERROR", "42601"), frame(b'Z', b"E")].concat();
        talk.say(&Server, &failed, 1000);
        talk.say(&Client, &to_backend, 1000);
        talk.say(&Server, &answers, 1000);
        assert_eq!(!talk.session.pins().is_empty(), is_pinned, "{}", shown(&to_backend, Speaker::Client));
    }
}

#[test]
fn a_standby_keeps_no_sequence_of_a_session() {
    let mut talk = Talk::splitting();
    // Another session has called lastval().
    let Session::Pooled(pooled) = &talk.session else { unreachable!() };
    pooled.database().sequences_are_read();
    talk.say(&Client, &[extended("BEGIN READ ONLY"), frame(b'S', b"")].concat(), 1000);
    assert_eq!(sides(&talk), [RouteSide::Reader]);
    let cleared = query_answers("DISCARD SEQUENCES", b"I");
    talk.say(&Server, &cleared, 1000);
    talk.say(&Server, &extended_answers("BEGIN", b"T"), 1000);
    talk.say(&Client, &query("SELECT 1"), 1000);
    talk.say(&Server, &query_answers("SELECT 1", b"T"), 1000);
    talk.say(&Client, &query("SELECT setval('s', 7)"), 1000);
    talk.say(&Server, &[error("ERROR", "25006"), frame(b'Z', b"E")].concat(), 1000);
    talk.say(&Client, &query("ROLLBACK"), 1000);
    talk.say(&Server, &query_answers("ROLLBACK", b"I"), 1000);
    talk.say(&Client, &query("SELECT nextval('s')"), 1000);
    assert_eq!(sides(&talk).last(), Some(&RouteSide::Writer));
}

#[test]
fn definitions_bound_on_a_read_pool_pin_nothing() {
    let bind = |text: &str| {
        let parse = frame(b'P', format!("\0{text}\0\0\0").as_bytes());
        [parse, frame(b'B', b"\0\0\0\0\0\0\0\0"), frame(b'S', b"")].concat()
    };
    for (text, is_pinned) in [
        ("CREATE TABLE u AS SELECT setseed(0.5)", false),
        ("SELECT setseed(0.5)", true),
        // Several statements in a simple query: the first is executed.
        ("SELECT setseed(0.5); CREATE TABLE u (a int)", true),
    ] {
        let mut talk = Talk::splitting();
        talk.say(&Client, &[extended("BEGIN READ ONLY"), frame(b'S', b"")].concat(), 1000);
        talk.say(&Server, &extended_answers("BEGIN", b"T"), 1000);
        // A transaction with a cursor stays on the read pool.
        talk.say(&Client, &query("DECLARE c CURSOR FOR SELECT 1"), 1000);
        talk.say(&Server, &query_answers("DECLARE CURSOR", b"T"), 1000);
        talk.say(&Client, &if text.contains(';') { query(text) } else { bind(text) }, 1000);
        assert_eq!(sides(&talk), [RouteSide::Reader], "{text}");
        let executed = match text.contains(';') {
            true => frame(b'C', b"SELECT 1\0"),
            false => [frame(b'1', b""), frame(b'2', b"")].concat(),
        };
        talk.say(&Server, &executed, 1000);
        assert_eq!(!talk.session.pins().is_empty(), is_pinned, "{text}");
    }
}

#[test]
fn each_text_is_analyzed_once() {
    let unnamed = [frame(b'P', b"\0SELECT 2\0\0\0"), frame(b'B', b"\0\0\0\0\0\0\0\0")].concat();
    let named = [frame(b'P', b"s\0SELECT 3\0\0\0"), frame(b'B', BIND_S)].concat();
    let end = [frame(b'E', EXECUTE), frame(b'S', b"")].concat();
    let batch = |of: &[u8]| [of, &end].concat();
    let select = frame(b'Q', b"SELECT 1\0");
    for (what, messages, expected) in [
        ("a Query that reads", select.clone(), 1),
        ("a Query that writes", frame(b'Q', b"INSERT INTO t VALUES (1)\0"), 1),
        ("two Queries", [&*select, &select].concat(), 2),
        ("a batch", batch(&unnamed), 1),
        ("a batch with a named statement", batch(&named), 1),
        ("a batch of two statements", batch(&[&*unnamed, &named].concat()), 2),
    ] {
        for (splits, step) in [(false, 1000), (false, 3), (true, 1000), (true, 3)] {
            let mut talk = if splits { Talk::splitting() } else { Talk::new(None) };
            passes::take();
            talk.say(&Client, &messages, step);
            let classifications = if splits { expected } else { 0 };
            let expected = Passes { effects: expected, transaction_commands: expected, classifications };
            assert_eq!(passes::take(), expected, "{what}, split: {splits}, {step} bytes at a time");
        }
    }
}

#[test]
fn a_snapshot_ends_with_its_read_pool() {
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    for (way, (begin, answer)) in executions(begin).into_iter().enumerate() {
        let complete = frame(b'C', b"SELECT 1\0");
        let answer = replaced(&answer, &complete, &frame(b'C', b"BEGIN\0"));
        for lost_in in 0..5 {
            let mut talk = Talk::splitting();
            talk.say(&Client, &begin, 1000);
            if !talk.to_backend.is_empty() {
                talk.say(&Server, &in_transaction(&answer), 1000);
            }
            talk.say(&Client, &read(), 1000);
            if way == 0 {
                talk.say(&Server, &[frame(b'C', b"BEGIN\0"), frame(b'Z', b"T")].concat(), 1000);
            }
            talk.say(&Server, &in_transaction(&read_answers()), 1000);
            assert_eq!(sides(&talk), [RouteSide::Reader], "{way}");
            talk.to_backend.clear();
            talk.to_client.clear();
            let opening = [frame(b'1', b""), frame(b'2', b""), frame(b'T', b"\0\0"), frame(b'D', b"\0\0")];
            if lost_in > 0 {
                talk.say(&Client, &read(), 1000);
                talk.say(&Server, &opening[..lost_in - 1].concat(), 1000);
            }
            talk.to_backend.clear();
            assert!(talk.lose_backend(), "{way}, {lost_in}");
            talk.say(&Client, &read(), 1000);
            talk.say(&Client, &frame(b'Q', b"ROLLBACK\0"), 1000);
            let (to_backend, to_client) =
                (shown(&talk.to_backend, Speaker::Client), shown(&talk.to_client, Speaker::Server));
            let reopened = "QBEGIN | QROLLBACK TO __gatekeeper_failed | ";
            assert!(
                to_backend.is_empty() || to_backend.starts_with(reopened),
                "{way}, {lost_in}: {to_backend}"
            );
            assert_eq!(to_client.matches("40001").count(), 1, "{way}, {lost_in}: {to_client}");
            // A statement before the end reaches a failed transaction.
            assert_eq!(to_backend.is_empty(), lost_in == 0, "{way}, {lost_in}: {to_backend}");
        }
    }
}

/// `bytes` with `new` in place of `old`.
fn replaced(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let at = memchr::memmem::find(bytes, old).unwrap();
    [&bytes[..at], new, &bytes[at + old.len()..]].concat()
}

/// The responses, with the status of an open transaction at their end.
fn in_transaction(answers: &[u8]) -> Vec<u8> {
    let mut answers = answers.to_vec();
    *answers.last_mut().unwrap() = b'T';
    answers
}
