//! Scripts of sessions with a split route whose reads run on the writer, and lose it.

use super::{
    RouteSide::{Client, Server},
    frame,
    sharing::{EXECUTE, Talk, description, shown},
};
use crate::{client_error::ClientError, route::RouteSide, session::Fate, wire::Speaker};

fn query(text: &str) -> Vec<u8> {
    frame(b'Q', format!("{text}\0").as_bytes())
}

/// Parse, Bind and Execute of `text`, without Sync.
fn batch(text: &str) -> Vec<u8> {
    [
        frame(b'P', format!("\0{text}\0\0\0").as_bytes()),
        frame(b'B', b"\0\0\0\0\0\0\0\0"),
        frame(b'E', EXECUTE),
    ]
    .concat()
}

fn synced(text: &str) -> Vec<u8> {
    [batch(text), frame(b'S', b"")].concat()
}

fn fatal(state: &str) -> Vec<u8> {
    frame(b'E', format!("SFATAL\0VFATAL\0C{state}\0Mm\0\0").as_bytes())
}

fn row() -> Vec<u8> {
    frame(b'D', b"\0\x01\0\0\0\x011")
}

/// CommandComplete with `tag`, and ReadyForQuery with `status`.
fn done(tag: &str, status: &[u8]) -> Vec<u8> {
    [frame(b'C', format!("{tag}\0").as_bytes()), frame(b'Z', status)].concat()
}

/// Session without a read pool.
fn on_writer() -> Talk {
    let mut talk = Talk::splitting();
    talk.has_no_reader = true;
    talk
}

fn leases(talk: &Talk) -> usize {
    talk.sides.as_ref().map_or(0, Vec::len)
}

/// SQLSTATE of each error sent to the client, and the status of each ReadyForQuery.
fn outcome(talk: &Talk) -> String {
    let to_client = shown(&talk.to_client, Speaker::Server);
    let words = to_client.split(" | ").filter_map(|message| match message.as_bytes().first()? {
        b'E' => message.split('.').find_map(|field| field.strip_prefix('C')).map(str::to_owned),
        b'Z' => Some(message[1..].to_owned()),
        _ => None,
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_read_without_a_row_runs_again() {
    let complete = [frame(b'1', b""), frame(b'2', b"")].concat();
    for (unit, last_words) in [
        (query("SELECT 1"), Vec::new()),
        (query("SELECT 1"), fatal("57P01")),
        (query("SELECT 1"), [description(23), fatal("57P02")].concat()),
        (query("SELECT 1; SELECT 2"), description(23)),
        (synced("SELECT 1"), Vec::new()),
        (synced("SELECT 1"), complete.clone()),
        (synced("SELECT 1"), [complete, fatal("57P01")].concat()),
        (query("COPY (SELECT 1) TO STDOUT"), Vec::new()),
        (batch("SELECT 1"), Vec::new()),
    ] {
        let mut talk = on_writer();
        talk.say(&Client, &unit, 1000);
        // The end of a batch may not come.
        talk.session.on_batch_timeout();
        talk.settle();
        let sent = std::mem::take(&mut talk.to_backend);
        talk.say(&Server, &last_words, 3);
        assert!(talk.lose_backend());
        let name = shown(&unit, Speaker::Client);
        assert_eq!(shown(&talk.to_backend, Speaker::Client), shown(&sent, Speaker::Client), "{name}");
        assert!(talk.to_client.is_empty(), "{name}");
        assert_eq!(leases(&talk), 2, "{name}");
        talk.answer();
        let complete = shown(&talk.to_client, Speaker::Server);
        assert!(complete.ends_with("CSELECT 1 | ZI") || unit.last() != Some(&4), "{name}: {complete}");
    }
}

#[test]
fn a_unit_that_may_write_never_runs_again() {
    for text in [
        "INSERT INTO t VALUES (1)",
        "SELECT nextval('s')",
        "SELECT unknown_function()",
        "SELECT 1 FOR UPDATE",
        "SELECT 1; INSERT INTO t VALUES (1)",
        "WITH w AS (DELETE FROM t RETURNING 1) SELECT 1",
        "CALL p()",
        "DO 'BEGIN END'",
        "EXECUTE s",
        "SELECT pg_advisory_lock(1)",
        "BEGIN; SELECT 1; COMMIT",
    ] {
        let mut units = vec![query(text)];
        if !text.contains(';') {
            let behind_read = [batch("SELECT 1"), synced(text)].concat();
            let described = [frame(b'D', b"S\0"), frame(b'H', b""), synced(text)].concat();
            units.extend([synced(text), behind_read, described]);
        }
        for unit in units {
            let mut talk = on_writer();
            talk.say(&Client, &unit, 1000);
            talk.to_backend.clear();
            talk.lose_backend();
            let name = shown(&unit, Speaker::Client);
            assert!(talk.to_backend.is_empty() && leases(&talk) == 1, "{name}");
            assert!(outcome(&talk).starts_with("08007") || !talk.session.pins().is_empty(), "{name}");
        }
    }
}

#[test]
fn a_statement_of_a_transaction_never_runs_again() {
    let mut talk = on_writer();
    talk.say(&Client, &[query("BEGIN"), query("SELECT 1")].concat(), 1000);
    talk.to_client.clear();
    assert!(talk.lose_backend());
    assert_eq!(outcome(&talk), "40001 E");
    // BEGIN follows a read in a pipeline.
    let mut talk = on_writer();
    talk.say(&Client, &[query("SELECT 1"), query("BEGIN"), query("SELECT 2")].concat(), 1000);
    talk.say(&Server, &[done("SELECT 1", b"I"), done("BEGIN", b"T")].concat(), 1000);
    talk.to_client.clear();
    talk.to_backend.clear();
    assert!(talk.lose_backend());
    assert_eq!((outcome(&talk).as_str(), leases(&talk)), ("40001 E", 1));
    assert!(talk.to_backend.is_empty());
}

#[test]
fn pipelined_reads_run_again_together() {
    let mut talk = on_writer();
    let reads = [query("SELECT 1"), synced("SELECT 2"), query("SELECT 3")];
    talk.say(&Client, &reads.concat(), 1000);
    talk.say(&Server, &done("SELECT 1", b"I"), 1000);
    talk.to_backend.clear();
    assert!(talk.lose_backend());
    assert_eq!(
        shown(&talk.to_backend, Speaker::Client),
        "PSELECT 2 | B | E | S | QSELECT 3".replace('P', "P.")
    );
    assert_eq!(shown(&talk.to_client, Speaker::Server), "CSELECT 1 | ZI");
    talk.to_client.clear();
    talk.answer();
    assert_eq!(shown(&talk.to_client, Speaker::Server), "1 | 2 | CSELECT 1 | ZI | CSELECT 1 | ZI");
}

#[test]
fn a_write_behind_a_read_keeps_both_from_running_again() {
    for units in [
        [query("SELECT 1"), query("INSERT INTO t VALUES (1)")],
        [query("INSERT INTO t VALUES (1)"), query("SELECT 1")],
        [query("SELECT 1"), synced("INSERT INTO t VALUES (1)")],
        [synced("INSERT INTO t VALUES (1)"), synced("SELECT 1")],
    ] {
        let mut talk = on_writer();
        talk.say(&Client, &units.concat(), 1000);
        talk.to_backend.clear();
        assert!(talk.lose_backend());
        let name = shown(&units.concat(), Speaker::Client);
        assert_eq!((outcome(&talk).as_str(), leases(&talk)), ("08007 I 08007 I", 1), "{name}");
        assert!(talk.to_backend.is_empty(), "{name}");
        // The next unit is kept again.
        talk.say(&Client, &query("SELECT 1"), 1000);
        assert!(talk.lose_backend());
        assert_eq!(leases(&talk), 3, "{name}");
    }
}

#[test]
fn a_read_runs_thrice_at_most() {
    let mut talk = on_writer();
    for _ in 0..2 {
        talk.say(&Client, &query("SELECT 1"), 1000);
        for _ in 0..2 {
            assert!(talk.lose_backend());
            assert!(talk.to_client.is_empty());
        }
        talk.to_backend.clear();
        assert!(talk.lose_backend());
        assert_eq!(outcome(&talk), "40001 I");
        assert!(talk.to_backend.is_empty());
        talk.to_client.clear();
        // An answer ends the count.
        talk.say(&Client, &query("SELECT 1"), 1000);
        assert!(talk.lose_backend());
        talk.answer();
        talk.to_client.clear();
    }
    // The answer to the first of two units says nothing about the second.
    talk.say(&Client, &[query("SELECT 1"), query("SELECT 2")].concat(), 1000);
    assert!(talk.lose_backend());
    talk.say(&Server, &done("SELECT 1", b"I"), 1000);
    talk.to_client.clear();
    assert!(talk.lose_backend());
    assert!(talk.to_client.is_empty());
    assert!(talk.lose_backend());
    assert_eq!(outcome(&talk), "40001 I");
}

#[test]
fn a_long_read_does_not_run_again() {
    let mut talk = on_writer();
    let text = "x".repeat(70_000);
    let parameter = [&b"\0\0\0\0\0\x01"[..], &70_000_u32.to_be_bytes(), text.as_bytes(), b"\0\0"].concat();
    let unit = [
        frame(b'P', b"\0SELECT $1::text\0\0\0"),
        frame(b'B', &parameter),
        frame(b'E', EXECUTE),
        frame(b'S', b""),
    ];
    talk.say(&Client, &unit.concat(), usize::MAX);
    talk.to_backend.clear();
    assert!(talk.lose_backend());
    assert_eq!((outcome(&talk).as_str(), leases(&talk)), ("40001 I", 1));
    assert!(talk.to_backend.is_empty());
}

#[test]
fn an_error_of_the_writer_is_not_asked_for_again() {
    for state in ["25006", "40001", "42P01", "57014", "57P01"] {
        let mut talk = on_writer();
        talk.say(&Client, &query("SELECT 1"), 1000);
        let error = frame(b'E', format!("SERROR\0VERROR\0C{state}\0Mm\0\0").as_bytes());
        talk.say(&Server, &[error, frame(b'Z', b"I")].concat(), 1000);
        assert_eq!(outcome(&talk), format!("{state} I"));
        assert_eq!(leases(&talk), 1, "{state}");
    }
}

#[test]
fn a_read_that_finds_no_server_gets_the_error() {
    for unit in [query("SELECT 1"), synced("SELECT 1"), [query("SELECT 1"), synced("SELECT 1")].concat()] {
        let mut talk = on_writer();
        talk.say(&Client, &unit, 1000);
        talk.to_backend.clear();
        talk.has_no_backend = true;
        assert!(talk.lose_backend());
        assert!(talk.session.wants_backend() && talk.to_client.is_empty());
        let count = shown(&unit, Speaker::Client).matches("SELECT").count();
        for _ in 0..count {
            talk.session.fail(ClientError::shutdown());
            talk.say(&Server, b"", 1);
            talk.settle();
        }
        assert_eq!(outcome(&talk), vec!["57P01 I"; count].join(" "));
        talk.has_no_backend = false;
        talk.say(&Client, &query("SELECT 2"), 1000);
        assert_eq!(shown(&talk.to_backend, Speaker::Client), "QSELECT 2");
    }
}

#[test]
fn a_read_pool_may_serve_what_the_writer_lost() {
    let mut talk = on_writer();
    talk.say(&Client, &query("SELECT 1"), 1000);
    talk.has_no_reader = false;
    talk.to_backend.clear();
    assert!(talk.lose_backend());
    assert_eq!(talk.sides.as_deref(), Some(&[RouteSide::Writer, RouteSide::Reader][..]));
    talk.answer();
    assert_eq!(outcome(&talk), "I");
}

#[test]
fn a_read_with_rows_is_interrupted() {
    for side in [RouteSide::Writer, RouteSide::Reader] {
        for (unit, begun) in [
            (query("SELECT 1"), [description(23), row()].concat()),
            (synced("SELECT 1"), [frame(b'1', b""), frame(b'2', b""), row()].concat()),
            (batch("SELECT 1"), [frame(b'1', b""), frame(b'2', b""), row()].concat()),
            (query("COPY (SELECT 1) TO STDOUT"), [frame(b'H', b"\0\0\0"), frame(b'd', b"1\n")].concat()),
            (query("SELECT 1; SELECT 2"), [description(23), row(), frame(b'C', b"SELECT 1\0")].concat()),
        ] {
            for last_words in [Vec::new(), fatal("57P01"), row()[..5].to_vec()] {
                let name = shown(&unit, Speaker::Client);
                let mut talk = Talk::splitting();
                talk.has_no_reader = side == RouteSide::Writer;
                talk.say(&Client, &unit, 1000);
                if unit == batch("SELECT 1") {
                    if side == RouteSide::Reader {
                        continue;
                    }
                    talk.say(&Client, &frame(b'H', b""), 1000);
                }
                assert_eq!(talk.sides.as_deref(), Some(&[side][..]), "{name}");
                talk.to_backend.clear();
                talk.say(&Server, &[begun.clone(), last_words].concat(), 1000);
                talk.to_client.clear();
                assert!(talk.lose_backend(), "{name}");
                let is_open = unit == batch("SELECT 1");
                assert_eq!(outcome(&talk), if is_open { "08006" } else { "08006 I" }, "{name}");
                assert_eq!(talk.session.poll_fate(), Some(Fate::ReadInterrupted));
                assert!(talk.to_backend.is_empty() && leases(&talk) == 1, "{name}");
                if is_open {
                    talk.say(&Client, &frame(b'S', b""), 1000);
                    assert_eq!(outcome(&talk), "08006 I");
                }
                talk.say(&Client, &query("SELECT 2"), 1000);
                assert_eq!(shown(&talk.to_backend, Speaker::Client), "QSELECT 2");
            }
        }
    }
}

#[test]
fn rows_of_an_earlier_unit_do_not_count() {
    let mut talk = on_writer();
    talk.say(&Client, &[query("SELECT 1"), query("SELECT 2")].concat(), 1000);
    talk.to_backend.clear();
    talk.say(&Server, &[description(23), row(), done("SELECT 1", b"I")].concat(), 1000);
    talk.to_client.clear();
    assert!(talk.lose_backend());
    assert_eq!(talk.session.poll_fate(), Some(Fate::NotStarted));
    assert_eq!(shown(&talk.to_backend, Speaker::Client), "QSELECT 2");
    // Behind a unit with rows the next one gets its own fate.
    talk.say(&Client, &query("SELECT 3"), 1000);
    talk.say(&Server, &[description(23), row()].concat(), 1000);
    talk.to_client.clear();
    assert!(talk.lose_backend());
    assert_eq!(outcome(&talk), "08006 I 40001 I");
}

#[test]
fn a_read_only_transaction_fails_with_its_read_pool() {
    let begin = [batch("BEGIN READ ONLY"), frame(b'S', b"")].concat();
    let began = [frame(b'1', b""), frame(b'2', b""), done("BEGIN", b"T")].concat();
    for statement in [None, Some(query("SELECT 1"))] {
        let mut talk = Talk::splitting();
        talk.say(&Client, &begin, 1000);
        talk.say(&Server, &began, 1000);
        if let Some(statement) = &statement {
            talk.say(&Client, statement, 1000);
            talk.say(&Server, &[description(23), row()].concat(), 1000);
        }
        talk.to_client.clear();
        assert!(talk.lose_backend());
        if statement.is_none() {
            assert!(talk.to_client.is_empty());
            talk.say(&Client, &query("SELECT 1"), 1000);
        }
        assert_eq!(outcome(&talk), "40001 E");
        talk.say(&Client, &query("ROLLBACK"), 1000);
        assert_eq!(outcome(&talk), "40001 E I");
        assert_eq!(talk.sides.as_deref(), Some(&[RouteSide::Reader][..]));
    }
}

#[test]
fn state_whose_check_is_lost_is_reported() {
    for mut talk in [Talk::new(None), on_writer()] {
        talk.say(&Client, &query("CREATE TEMP TABLE t (a int)"), 1000);
        talk.to_backend.clear();
        talk.say(&Server, &done("CREATE TABLE", b"I"), 1000);
        assert!(!talk.to_backend.is_empty(), "the state check");
        talk.to_client.clear();
        assert!(talk.lose_backend());
        assert!(talk.to_client.is_empty());
        talk.say(&Client, &query("SELECT 1"), 1000);
        assert_eq!(outcome(&talk), "08006 I");
        // A read behind the check does not hide the loss.
        talk.say(&Client, &query("CREATE TEMP TABLE t (a int)"), 1000);
        talk.say(&Server, &done("CREATE TABLE", b"I"), 1000);
        talk.say(&Client, &query("SELECT 1"), 1000);
        talk.to_client.clear();
        talk.to_backend.clear();
        assert!(talk.lose_backend());
        assert!(!talk.to_client.is_empty() && talk.to_backend.is_empty());
    }
}
