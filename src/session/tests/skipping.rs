//! Messages discarded by the server after an error, up to a Sync.

use std::sync::Arc;

use super::{
    super::{CatalogInstant, DatabaseState},
    RouteSide::{Client, Server},
    frame, server,
    sharing::{BIND_S, ERROR, EXECUTE, Talk, one_batch, played, shown},
};
use crate::{
    sql::{StatefulNames, StatefulNamesBuilder},
    wire::Speaker,
};

const LIST: &[u8] = b"SELECT name FROM pg_prepared_statements\0";
const PARSE_LIST: &[u8] = b"\0SELECT name FROM pg_prepared_statements\0\0\0";
const BIND: &[u8] = b"\0\0\0\0\0\0\0\0";

/// Messages that precede internal messages outside a failed batch.
const DISCARDED: [&[(u8, &[u8])]; 7] = [
    &[(b'Q', LIST)],
    &[(b'Q', b"DEALLOCATE ALL\0"), (b'Q', LIST)],
    &[(b'Q', b"DEALLOCATE s\0")],
    &[(b'Q', b"EXECUTE s\0")],
    &[(b'P', PARSE_LIST), (b'B', BIND), (b'E', EXECUTE)],
    &[(b'B', BIND_S), (b'E', EXECUTE), (b'D', b"Ss\0")],
    &[(b'C', b"Ss\0"), (b'P', b"s\0SELECT 2\0\0\0"), (b'F', b"\0\0\x09\xff\0\0\0\0\0\0")],
];

#[test]
fn nothing_precedes_a_discarded_message() {
    for discarded in DISCARDED {
        for first in [&[][..], &[(b'Q', &b"SELECT 1\0"[..])]] {
            let before = [
                one_batch(&[(b'P', b"s\0SELECT 1\0\0\0"), (b'S', b"")]),
                (Server, [frame(b'1', b""), frame(b'Z', b"I")].concat()),
                one_batch(&[&[(b'E', EXECUTE)], first].concat()),
                server(b'E', ERROR),
            ];
            let sent = one_batch(&[discarded, &[(b'S', b"")]].concat());
            let script = [&before[..], &[sent.clone(), server(b'Z', b"I")]].concat();
            let (all, to_client, talk) = played(&script);
            let behind = all.strip_prefix(&played(&before).0).unwrap();
            assert_eq!(behind, format!(" | {}", shown(&sent.1, Speaker::Client)));
            assert!(to_client.ends_with("Mdivision | ZI"), "{to_client}");
            assert!(talk.session.is_idle() && talk.session.pins().is_empty());
            let bind = one_batch(&[(b'B', BIND_S), (b'S', b"")]);
            let used = played(&[&script[..], &[bind]].concat()).0;
            assert_eq!(&used[all.len()..], " | B.__gatekeeper_a | S", "the statement is there as before");
        }
    }
}

/// Session of a database where another session has called lastval().
fn among_sequence_readers() -> Talk {
    let database = Arc::new(DatabaseState::new(StatefulNames::default()));
    database.set_catalogue(StatefulNamesBuilder::new(), b"1", CatalogInstant::default());
    database.sequences_are_read();
    Talk::knowing(database, None)
}

const LASTVAL: [(u8, &[u8]); 3] = [(b'P', b"\0SELECT lastval()\0\0\0"), (b'B', BIND), (b'E', EXECUTE)];

/// Session in a transaction begun by a Query.
fn in_transaction() -> Talk {
    let mut talk = among_sequence_readers();
    talk.say(&Client, &frame(b'Q', b"BEGIN; ROLLBACK AND CHAIN\0"), 1000);
    assert_eq!(shown(&talk.to_backend, Speaker::Client), "QBEGIN; ROLLBACK AND CHAIN");
    talk.say(&Server, &[frame(b'C', b"ROLLBACK\0"), frame(b'Z', b"T")].concat(), 1000);
    talk.to_backend.clear();
    talk.to_client.clear();
    talk
}

#[test]
fn a_transaction_keeps_its_snapshot_and_portal() {
    let mut talk = in_transaction();
    let level = b"\0SET TRANSACTION ISOLATION LEVEL REPEATABLE READ\0\0\0";
    let batch = [(b'P', &level[..]), (b'B', BIND), (b'E', EXECUTE), (b'S', b"")];
    talk.say(&Client, &one_batch(&batch).1, 1000);
    let sent = shown(&talk.to_backend, Speaker::Client);
    assert_eq!(sent, "P.SET TRANSACTION ISOLATION LEVEL REPEATABLE READ | B | E | S");
    talk.answer_in(b"T");
    talk.to_client.clear();
    // A Query would destroy the unnamed portal.
    talk.say(&Client, &one_batch(&[&LASTVAL[..], &[(b'S', b"")]].concat()).1, 1000);
    let sent = shown(&talk.to_backend, Speaker::Client);
    let clear = "CS__gatekeeper_0 | P__gatekeeper_0.DISCARD SEQUENCES | B__gatekeeper.__gatekeeper_0 | E__gatekeeper \
                 | CP__gatekeeper | CS__gatekeeper_0";
    assert_eq!(sent, format!("P.SELECT lastval() | {clear} | B | E | S"));
    talk.answer_in(b"T");
    assert_eq!(shown(&talk.to_client, Speaker::Server), "1 | 2 | CSELECT 1 | ZT");
    talk.say(&Client, &one_batch(&[&LASTVAL[..], &[(b'S', b"")]].concat()).1, 1000);
    let sent = shown(&talk.to_backend, Speaker::Client);
    assert_eq!(sent, "P.SELECT lastval() | B | E | S", "the sequences are the session's own");
}

#[test]
fn a_function_call_keeps_the_unnamed_portal() {
    let mut talk = in_transaction();
    talk.say(&Client, &frame(b'F', b"\0\0\x09\xff\0\0\0\0\0\0"), 1000);
    let sent = shown(&talk.to_backend, Speaker::Client);
    assert!(
        sent.starts_with("CS__gatekeeper_0 | P__gatekeeper_0.DISCARD SEQUENCES | B__gatekeeper"),
        "{sent}"
    );
    assert!(sent.contains(" | CP__gatekeeper | CS__gatekeeper_0 | S | F"), "{sent}");
}

#[test]
fn a_skipped_clear_is_repeated() {
    for failed in [true, false] {
        let mut talk = in_transaction();
        talk.say(&Client, &one_batch(&LASTVAL).1, 1000);
        talk.to_backend.clear();
        // The error of the client's Parse, or of the internal messages: a cancellation.
        let before =
            if failed { Vec::new() } else { [frame(b'1', b""), frame(b'3', b""), frame(b'1', b"")].concat() };
        talk.say(&Server, &[before, frame(b'E', ERROR)].concat(), 1000);
        talk.say(&Client, &frame(b'S', b""), 1000);
        talk.say(&Server, &frame(b'Z', b"E"), 1000);
        let to_client = shown(&talk.to_client, Speaker::Server);
        let parsed = if failed { "" } else { "1 | " };
        assert!(
            to_client.starts_with(&format!("{parsed}ESERROR")) && to_client.ends_with("Mdivision | ZE"),
            "{to_client}"
        );
        talk.say(&Client, &frame(b'Q', b"ROLLBACK\0"), 1000);
        talk.say(&Server, &[frame(b'C', b"ROLLBACK\0"), frame(b'Z', b"I")].concat(), 1000);
        talk.to_backend.clear();
        talk.say(&Client, &frame(b'Q', b"SELECT lastval()\0"), 1000);
        assert_eq!(shown(&talk.to_backend, Speaker::Client), "QDISCARD SEQUENCES | QSELECT lastval()");
    }
}

#[test]
fn a_pipelined_move_of_a_sequence_is_not_cleared() {
    let database = Arc::new(DatabaseState::new(StatefulNames::default()));
    database.set_catalogue(StatefulNamesBuilder::new(), b"1", CatalogInstant::default());
    database.sequences_are_read();
    let mut talk = Talk::knowing(database, None);
    let requests: [(u8, &[u8]); 6] = [
        (b'Q', b"SELECT 1\0"),
        (b'Q', b"SELECT nextval('r')\0"),
        (b'P', b"\0SELECT lastval()\0\0\0"),
        (b'B', BIND),
        (b'E', EXECUTE),
        (b'S', b""),
    ];
    talk.say(&Client, &one_batch(&requests).1, 1000);
    let sent = shown(&talk.to_backend, Speaker::Client);
    let moved = sent.split("nextval").nth(1).expect("the sequence is moved");
    assert!(moved.contains("lastval") && !moved.contains("DISCARD SEQUENCES"), "{sent}");
}

#[test]
fn sequences_are_cleared_behind_a_failed_batch() {
    let mut talk = among_sequence_readers();
    talk.say(&Client, &one_batch(&[(b'Q', b"SELECT 1\0"), (b'E', EXECUTE), (b'Q', b"SELECT 2\0")]).1, 1000);
    let answers = [frame(b'C', b"SELECT 1\0"), frame(b'Z', b"I"), frame(b'E', ERROR)];
    talk.say(&Server, &answers.concat(), 1000);
    talk.to_backend.clear();
    let batch = [(b'P', &b"s\0SELECT lastval()\0\0\0"[..]), (b'B', BIND_S), (b'E', EXECUTE), (b'S', b"")];
    talk.say(&Client, &one_batch(&batch).1, 1000);
    assert_eq!(shown(&talk.to_backend, Speaker::Client), "Ps.SELECT lastval() | B.s | E | S");
    talk.say(&Server, &frame(b'Z', b"I"), 1000);
    assert!(talk.session.pins().is_empty(), "no sequence was read");
    talk.to_backend.clear();
    talk.say(&Client, &one_batch(&batch).1, 1000);
    let sent = shown(&talk.to_backend, Speaker::Client);
    assert!(sent.starts_with("QDISCARD SEQUENCES | "), "{sent}");
}

/// Session in a transaction, with the client's statements `s` and `l`. The backend has lost both since `lists`.
fn opened(lists: bool) -> Talk {
    let mut talk = Talk::new(None);
    let parses: [(u8, &[u8]); 2] = [(b'P', b"s\0SELECT $1\0\0\0"), (b'P', b"l\0LISTEN a\0\0\0")];
    talk.say(&Client, &one_batch(&[&parses[..], &[(b'S', b"")]].concat()).1, 1000);
    talk.answer();
    if lists {
        talk.say(&Client, &one_batch(&[(b'P', PARSE_LIST), (b'B', BIND), (b'S', b"")]).1, 1000);
        while !talk.to_backend.is_empty() {
            talk.answer();
        }
    }
    talk.say(&Client, &one_batch(&[(b'Q', b"BEGIN ISOLATION LEVEL SERIALIZABLE\0")]).1, 1000);
    talk.say(&Server, &[frame(b'C', b"BEGIN\0"), frame(b'Z', b"T")].concat(), 1000);
    talk.to_backend.clear();
    talk.to_client.clear();
    talk
}

/// As [`opened`], and the transaction has failed in a batch that closes `s`.
fn failed(lists: bool) -> Talk {
    let mut talk = opened(lists);
    talk.say(&Client, &one_batch(&[(b'E', EXECUTE), (b'C', b"Ss\0"), (b'S', b"")]).1, 1000);
    talk.say(&Server, &[frame(b'E', ERROR), frame(b'Z', b"E")].concat(), 1000);
    talk.to_backend.clear();
    talk.to_client.clear();
    talk
}

#[test]
fn a_discarded_close_changes_nothing() {
    let mut talk = failed(false);
    talk.say(&Client, &one_batch(&[(b'D', b"Sl\0"), (b'B', BIND_S), (b'S', b"")]).1, 1000);
    assert_eq!(shown(&talk.to_backend, Speaker::Client), "DS__gatekeeper_b | B.__gatekeeper_a | S");
}

#[test]
fn a_failed_transaction_refuses_wrong_parameters_first() {
    let one: &[u8] = b"\0\0\0\x01\0\0\0\x011\0\0";
    let two: &[u8] = b"\0\0\0\x02\0\0\0\x011\0\0\0\x011\0\0";
    let formats: &[u8] = b"\0\x02\0\0\0\0\0\x01\0\0\0\x011\0\0";
    for (name, parameters, refused) in [
        ("s", &b"\0\0\0\0\0\0"[..], "supplies 0 parameters, but prepared statement \"s\" requires 1"),
        ("s", two, "supplies 2 parameters, but prepared statement \"s\" requires 1"),
        ("l", one, "supplies 1 parameters, but prepared statement \"l\" requires 0"),
        ("s", formats, "has 2 parameter formats but 1 parameters"),
    ] {
        let mut talk = failed(true);
        let bind = [b"\0", name.as_bytes(), b"\0", parameters].concat();
        talk.say(&Client, &one_batch(&[(b'B', &bind), (b'S', b"")]).1, 1000);
        let sent = shown(&talk.to_backend, Speaker::Client);
        assert_eq!(sent, "B | S", "a malformed Bind fails in place of the client's");
        talk.say(&Server, &[frame(b'E', ERROR), frame(b'Z', b"E")].concat(), 1000);
        let to_client = shown(&talk.to_client, Speaker::Server);
        assert!(to_client.contains(&format!("C08P01.Mbind message {refused}")), "{to_client}");
        assert!(to_client.ends_with(" | ZE"), "{to_client}");
    }
    let mut talk = failed(true);
    let bind = [b"\0s\0", one].concat();
    talk.say(&Client, &one_batch(&[(b'B', &bind), (b'S', b"")]).1, 1000);
    let sent = shown(&talk.to_backend, Speaker::Client);
    assert!(sent.starts_with("P__gatekeeper_a.SELECT $1 | B.__gatekeeper_a"), "{sent}");
}

#[test]
fn wrong_parameters_wait_for_a_batch_that_may_fail_the_transaction() {
    let two: &[u8] = b"\0\0\0\x02\0\0\0\x011\0\0\0\x011\0\0";
    // The unnamed statement lists prepared statements, and is parsed again each time.
    for name in ["s", ""] {
        let mut talk = opened(true);
        if name.is_empty() {
            talk.say(&Client, &one_batch(&[(b'P', PARSE_LIST), (b'S', b"")]).1, 1000);
            while !talk.to_backend.is_empty() {
                talk.answer();
            }
        }
        let bind = [b"\0", name.as_bytes(), b"\0", two].concat();
        talk.say(&Client, &one_batch(&[(b'E', EXECUTE), (b'S', b""), (b'B', &bind), (b'S', b"")]).1, 1000);
        assert_eq!(shown(&talk.to_backend, Speaker::Client), "E | S", "{name:?}: the Bind waits");
        talk.to_backend.clear();
        talk.say(&Server, &[frame(b'E', ERROR), frame(b'Z', b"E")].concat(), 1000);
        assert_eq!(shown(&talk.to_backend, Speaker::Client), "B | S", "{name:?}: a malformed Bind");
        talk.say(&Server, &[frame(b'E', ERROR), frame(b'Z', b"E")].concat(), 1000);
        let to_client = shown(&talk.to_client, Speaker::Server);
        assert!(to_client.contains("C08P01.Mbind message supplies 2 parameters"), "{to_client}");
    }
}

#[test]
fn an_unnamed_statement_is_made_again_behind_a_batch_that_may_fail() {
    let mut talk = Talk::new(None);
    talk.say(&Client, &one_batch(&[(b'P', b"\0SELECT 1\0\0\0"), (b'S', b"")]).1, 1000);
    talk.answer();
    assert!(talk.session.detach().is_some());
    let missing = (b'B', &b"\0nobody\0\0\0\0\0\0\0"[..]);
    let describe = (b'D', &b"S\0"[..]);
    let sync = (b'S', &b""[..]);
    talk.say(&Client, &one_batch(&[missing, (b'B', BIND), sync, describe, describe, sync]).1, 1000);
    let sent = shown(&talk.to_backend, Speaker::Client);
    assert_eq!(sent, "B.nobody | P.SELECT 1 | B | S | P.SELECT 1 | DS | DS | S");
    talk.to_client.clear();
    let failed = [frame(b'E', ERROR), frame(b'Z', b"I"), frame(b'1', b"")].concat();
    let described = [frame(b't', b"\0\0"), frame(b'n', b"")].concat();
    talk.say(&Server, &[failed, described.clone(), described, frame(b'Z', b"I")].concat(), 1000);
    let to_client = shown(&talk.to_client, Speaker::Server);
    assert!(to_client.ends_with("Mdivision | ZI | t | n | t | n | ZI"), "{to_client}");
}

#[test]
fn statements_under_own_names_are_closed_once_sequences_are_released() {
    let mut talk = among_sequence_readers();
    let parse = (b'P', &b"s\0SELECT 1\0\0\0"[..]);
    let insert = (b'Q', &b"INSERT INTO t VALUES (1)\0"[..]);
    talk.say(&Client, &one_batch(&[parse, (b'S', b"")]).1, 1000);
    talk.answer();
    talk.say(&Client, &one_batch(&[insert]).1, 1000);
    while !talk.to_backend.is_empty() {
        talk.answer();
    }
    assert!(talk.session.pins().contains(crate::session::Pin::Sequence));
    // The server must report the duplicate.
    talk.say(&Client, &one_batch(&[parse, (b'S', b"")]).1, 1000);
    talk.to_backend.clear();
    talk.say(
        &Server,
        &[frame(b'3', b""), frame(b'1', b""), frame(b'E', ERROR), frame(b'Z', b"I")].concat(),
        1000,
    );
    assert!(talk.session.poll_sequence_moved());
    talk.session.release_sequences();
    assert!(talk.session.detach().is_none(), "the statement is still there");
    let own = std::mem::take(talk.session.to_backend().expect("a Close"));
    assert_eq!(shown(&own, Speaker::Client), "CSs | S");
    talk.say(&Server, &[frame(b'3', b""), frame(b'Z', b"I")].concat(), 1000);
    assert!(talk.session.detach().is_some());
}

#[test]
fn a_failed_transaction_refuses_a_text_before_a_duplicate_name() {
    for (text, sent) in [
        ("SELEC", "Pl.SELEC | S"),
        ("ROLLBACK", "CSl | Pl.LISTEN a | Pl.ROLLBACK | S"),
        // Nothing to execute.
        ("--", "CSl | Pl.LISTEN a | Pl.-- | S"),
    ] {
        let parse = format!("l\0{text}\0\0\0");
        let batch = one_batch(&[(b'P', parse.as_bytes()), (b'S', b"")]).1;
        let mut talk = failed(false);
        talk.say(&Client, &batch, 1000);
        assert!(shown(&talk.to_backend, Speaker::Client).ends_with(sent), "{text}");
        // The pending responses tell whether the transaction has failed.
        let mut talk = opened(false);
        talk.say(&Client, &[one_batch(&[(b'E', EXECUTE), (b'S', b"")]).1, batch].concat(), 1000);
        assert_eq!(shown(&talk.to_backend, Speaker::Client), "E | S", "{text}");
        talk.say(&Server, &[frame(b'E', ERROR), frame(b'Z', b"E")].concat(), 1000);
        assert!(shown(&talk.to_backend, Speaker::Client).ends_with(sent), "{text}");
    }
}
