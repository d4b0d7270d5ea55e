//! Transactions go to the side chosen by their beginning.

use std::time::Duration;

use gatekeeper::testing::wire::{Frame, Speaker, tag::backend::READY_FOR_QUERY};

use crate::harness::{
    Frames, Split,
    frames::{bind, describe, execute, parse, query, statement, sync},
    split::last_route,
    until,
};

const PATIENCE: Duration = Duration::from_secs(30);

async fn items() -> Split {
    let split = Split::with("").await;
    split.primary("CREATE TABLE item (id int PRIMARY KEY, note text); GRANT ALL ON item TO PUBLIC").await;
    split.primary("INSERT INTO item VALUES (1, 'one'), (2, 'two')").await;
    split.settles().await;
    split
}

#[tokio::test]
async fn a_read_write_transaction_runs_on_the_primary() {
    let split = items().await;
    let mut client = split.client().await;
    client.ask("BEGIN").await.unwrap();
    assert_eq!(client.ask("SELECT note FROM item WHERE id = 1").await.unwrap(), "one");
    assert_eq!(last_route(&mut client).await, "primary (transaction)");
    client.ask("INSERT INTO item VALUES (3, 'three')").await.unwrap();
    assert_eq!(client.ask("SELECT note FROM item WHERE id = 3").await.unwrap(), "three");
    client.ask("COMMIT").await.unwrap();
}

#[tokio::test]
async fn a_read_only_transaction_runs_on_a_read_pool() {
    let split = items().await;
    let mut client = split.client().await;
    for begin in [
        &["BEGIN READ ONLY"][..],
        &["START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"],
        &["BEGIN", "SET TRANSACTION READ ONLY"],
        &["BEGIN ISOLATION LEVEL REPEATABLE READ", "SET TRANSACTION READ ONLY"],
    ] {
        for command in begin {
            client.ask(command).await.unwrap();
        }
        assert_eq!(client.ask("SELECT note FROM item WHERE id = 1").await.unwrap(), "one", "{begin:?}");
        assert_eq!(client.ask("SELECT note FROM item WHERE id = 2").await.unwrap(), "two");
        assert_eq!(client.ask("INSERT INTO item VALUES (9, 'nine')").await.unwrap_err(), "25006");
        client.ask("ROLLBACK").await.unwrap();
        assert_eq!(last_route(&mut client).await, "reads (read-only)", "{begin:?}");
    }
}

#[tokio::test]
async fn a_transaction_set_read_write_before_its_first_query_can_write() {
    let split = items().await;
    let mut client = split.client().await;
    client.ask("BEGIN READ ONLY").await.unwrap();
    client.ask("SET TRANSACTION READ WRITE").await.unwrap();
    client.ask("INSERT INTO item VALUES (4, 'four')").await.unwrap();
    client.ask("COMMIT").await.unwrap();
    assert_eq!(split.primary("SELECT note FROM item WHERE id = 4").await, "four");
}

/// A standby rejected READ WRITE, and the rejection ended the session.
#[tokio::test]
async fn a_transaction_declared_read_write_stays_on_the_primary() {
    let split = items().await;
    let mut client = split.client().await;
    client.ask("BEGIN READ WRITE").await.unwrap();
    client.ask("SET TRANSACTION READ ONLY").await.unwrap();
    assert_eq!(client.ask("SELECT note FROM item WHERE id = 1").await.as_deref(), Ok("one"));
    assert_eq!(client.ask("DELETE FROM item").await, Err("25006".to_owned()));
    client.ask("ROLLBACK").await.unwrap();
    assert!(last_route(&mut client).await.starts_with("primary "));
}

#[tokio::test]
async fn a_read_only_session_uses_a_read_pool_until_changed() {
    let split = items().await;
    let mut client = split.client().await;
    client.ask("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY").await.unwrap();
    // A statement right behind follows its predecessor until the state check is done.
    client.ask("SELECT 1").await.unwrap();
    client.ask("BEGIN").await.unwrap();
    assert_eq!(client.ask("SELECT note FROM item WHERE id = 1").await.unwrap(), "one");
    client.ask("COMMIT").await.unwrap();
    assert_eq!(last_route(&mut client).await, "reads (read-only)");
    client.ask("BEGIN READ WRITE").await.unwrap();
    client.ask("INSERT INTO item VALUES (5, 'five')").await.unwrap();
    client.ask("COMMIT").await.unwrap();
    assert_eq!(last_route(&mut client).await, "primary (transaction)");
    client.ask("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE").await.unwrap();
    client.ask("DELETE FROM item WHERE id = 5").await.unwrap();
}

#[tokio::test]
async fn a_serializable_read_only_transaction_runs_on_the_primary() {
    let split = items().await;
    let mut client = split.client().await;
    client.ask("BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY").await.unwrap();
    assert_eq!(client.ask("SELECT note FROM item WHERE id = 1").await.unwrap(), "one");
    client.ask("COMMIT").await.unwrap();
    assert_eq!(last_route(&mut client).await, "primary (serializable)");
}

/// Found by the checker of `chaos`: a BEGIN sent to a read pool stayed open when the transaction went on elsewhere, and
/// the backend's next session was inside the transaction.
#[tokio::test]
async fn a_moved_transaction_leaves_no_open_transaction_behind() {
    let split = items().await;
    for node in ["reads-1", "reads-2"] {
        split.sandbox.node(node).pause_replay().await.unwrap();
    }
    let mut client = split.client().await;
    let too_old = "gatekeeper_route_decisions_total{listener=\"app\",reason=\"answer-too-old\"}";
    // Beginnings sent to a read pool: the client's own messages, or the BEGIN deferred until the first statement.
    let begin = [parse("", "BEGIN READ ONLY"), bind("", "", &[]), execute("", 0), sync()].concat();
    for begin in [begin, query("BEGIN READ ONLY")] {
        let before = split.gatekeeper.metric(too_old).await.unwrap();
        client.ask("UPDATE item SET note = note WHERE id = 2").await.unwrap();
        until(PATIENCE, async || {
            client.send(&begin).await;
            let received = client.read_until(READY_FOR_QUERY).await;
            assert!(received.iter().all(|message| message.tag != b'E'), "{received:?}");
            assert_eq!(client.ask("SELECT note FROM item WHERE id = 1").await.unwrap(), "one");
            client.ask("COMMIT").await.unwrap();
            let now = split.gatekeeper.metric(too_old).await.unwrap();
            if now >= before + 3.0 { Ok(()) } else { Err(now) }
        })
        .await;
        for node in ["reads-1", "reads-2"] {
            until(PATIENCE, async || {
                let open = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'";
                match split.sandbox.node(node).sql("postgres", open).await.unwrap().as_str() {
                    "0" => Ok(()),
                    open => Err(format!("{open} open on {node}")),
                }
            })
            .await;
        }
    }
}

/// Answers of `client` to `units`, each sent after the previous answer: the commands' tags, or the state of an error.
async fn run_units(client: &mut Frames, units: &[Vec<u8>]) -> Vec<String> {
    let mut answers = Vec::new();
    for unit in units {
        client.send(unit).await;
        let mut received = Vec::new();
        let mut rest = &unit[..];
        while let Ok(Some(frame)) = Frame::read(Speaker::Client, rest) {
            if matches!(frame.tag(), b'Q' | b'S') {
                received.extend(client.read_until(READY_FOR_QUERY).await);
            }
            rest = &rest[frame.as_bytes().len()..];
        }
        answers.extend(received.iter().filter_map(|message| match message.tag {
            b'E' => Some(message.field(b'C')),
            b'C' | b'Z' => Some(String::from_utf8_lossy(&message.body).trim_end_matches('\0').to_owned()),
            _ => None,
        }));
    }
    answers
}

/// `BEGIN READ ONLY` by messages is sent to a read pool at once, and does not bind the session there before the first
/// query.
#[tokio::test]
async fn a_read_only_transaction_may_turn_to_writing_before_its_first_query() {
    let split = items().await;
    let by_messages = |sql: &str| [statement(sql, &[]), sync()].concat();
    let insert = "INSERT INTO item VALUES (7, 'seven')";
    let isolation = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ";
    for (what, units) in [
        (
            "by messages",
            vec![
                by_messages("BEGIN READ ONLY"),
                by_messages("SET TRANSACTION READ WRITE"),
                by_messages(insert),
                by_messages("ROLLBACK"),
            ],
        ),
        (
            "by both",
            vec![
                by_messages("BEGIN READ ONLY"),
                query("SET TRANSACTION READ WRITE"),
                query(insert),
                query("ROLLBACK"),
            ],
        ),
        (
            "with other modes between",
            vec![
                query("BEGIN READ ONLY"),
                by_messages(isolation),
                by_messages("SET TRANSACTION READ WRITE"),
                query("SHOW transaction_isolation"),
                by_messages(insert),
                query("ROLLBACK"),
            ],
        ),
        (
            "in one write",
            vec![
                by_messages("BEGIN READ ONLY"),
                [by_messages("SET TRANSACTION READ WRITE"), by_messages(insert)].concat(),
                query("ROLLBACK"),
                query("SELECT 1"),
            ],
        ),
        (
            "too late",
            vec![
                by_messages("BEGIN READ ONLY"),
                by_messages("SELECT note FROM item"),
                by_messages("SET TRANSACTION READ WRITE"),
                query("ROLLBACK"),
            ],
        ),
        (
            "in one batch",
            vec![
                [
                    statement("BEGIN READ ONLY", &[]),
                    statement("SET TRANSACTION READ WRITE", &[]),
                    statement(insert, &[]),
                    sync(),
                ]
                .concat(),
                query("ROLLBACK"),
            ],
        ),
    ] {
        let mut direct = split.plain().await;
        let mut client = split.client().await;
        let expected = run_units(&mut direct, &units).await;
        let through = run_units(&mut client, &units).await;
        assert_eq!(through, expected, "{what}");
        assert_eq!(client.ask("SELECT count(*) FROM item").await.unwrap(), "2", "{what}");
    }
    until(PATIENCE, async || {
        for node in ["reads-1", "reads-2"] {
            let open = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'";
            let open = split.sandbox.node(node).sql("postgres", open).await.unwrap();
            if open != "0" {
                return Err(format!("{open} open on {node}"));
            }
        }
        Ok(())
    })
    .await;
}

/// Text behind the end of a READ ONLY transaction in the same Query was sent to the read pool, and leftovers there kept
/// the session from ever writing again.
#[tokio::test]
async fn statements_behind_a_read_only_transaction_are_outside() {
    let split = items().await;
    for end in ["COMMIT", "END", "ROLLBACK WORK", "abort"] {
        for behind in [
            "PREPARE p AS INSERT INTO item VALUES (8, 'eight')",
            "LISTEN news",
            "CREATE TEMP TABLE scratch (n int)",
            "SELECT pg_advisory_lock(1)",
            "SET work_mem = '9MB'",
            "DECLARE c CURSOR WITH HOLD FOR SELECT note FROM item",
            "INSERT INTO item VALUES (9, 'nine'); DELETE FROM item WHERE id = 9",
            "BEGIN; INSERT INTO item VALUES (9, 'nine'); ROLLBACK",
        ] {
            let units = [
                query("BEGIN READ ONLY"),
                query("SELECT note FROM item WHERE id = 1"),
                query(&format!("{end}; {behind}")),
                query("UPDATE item SET note = note WHERE id = 1"),
                query("DISCARD ALL"),
                query("UPDATE item SET note = note WHERE id = 1"),
            ];
            let mut direct = split.plain().await;
            let expected = run_units(&mut direct, &units).await;
            assert_eq!(run_units(&mut split.client().await, &units).await, expected, "{end}; {behind}");
        }
    }
    // A failed transaction ends in the same way.
    let units = [
        query("BEGIN READ ONLY"),
        query("SELECT note FROM item WHERE id = 1"),
        query("SELECT 1/0"),
        query("COMMIT; INSERT INTO item VALUES (9, 'nine'); DELETE FROM item WHERE id = 9"),
    ];
    // And by messages, where the write is in the same batch.
    let batch = [statement("COMMIT", &[]), statement("UPDATE item SET note = note", &[]), sync()].concat();
    let by_messages = [query("BEGIN READ ONLY"), query("SELECT note FROM item WHERE id = 1"), batch];
    for units in [&units[..], &by_messages] {
        let mut direct = split.plain().await;
        let expected = run_units(&mut direct, units).await;
        assert_eq!(run_units(&mut split.client().await, units).await, expected);
    }
}

/// Leftovers of a READ ONLY transaction on a read pool kept the session from ever writing again, and a lock was held
/// where no second session looked.
#[tokio::test]
async fn state_of_the_writer_moves_a_read_only_transaction_there() {
    let split = items().await;
    let read = || query("SELECT note FROM item WHERE id = 1");
    let by_messages = |sql: &str| [statement(sql, &[]), sync()].concat();
    for kept in [
        "PREPARE p AS INSERT INTO item VALUES (8, 'eight')",
        "LISTEN news",
        "SELECT pg_advisory_lock(1)",
        "DECLARE c CURSOR WITH HOLD FOR SELECT note FROM item",
        "SET work_mem = '9MB'",
        "SELECT count(*) FROM pg_locks WHERE false",
        "INSERT INTO item SELECT 9, 'nine' WHERE false",
        "SET TRANSACTION READ WRITE",
    ] {
        let rest =
            [query("COMMIT"), query("UPDATE item SET note = note WHERE id = 1"), query("SHOW work_mem")];
        for units in [
            vec![query("BEGIN READ ONLY"), read(), query(kept), read()],
            vec![by_messages("BEGIN READ ONLY"), by_messages("SELECT 1"), by_messages(kept), read()],
            vec![query("BEGIN READ ONLY"), read(), query(&format!("SELECT 1; COMMIT; {kept}"))],
        ] {
            let units = [&units[..], &rest].concat();
            let mut direct = split.plain().await;
            let expected = run_units(&mut direct, &units).await;
            drop(direct);
            assert_eq!(run_units(&mut split.client().await, &units).await, expected, "{kept}");
        }
    }
}

/// Has the same conversation with the primary and through the listener.
async fn compare(split: &Split, units: &[Vec<u8>]) {
    let mut direct = split.plain().await;
    let expected = run_units(&mut direct, units).await;
    drop(direct);
    let what: Vec<_> = units.iter().map(|unit| String::from_utf8_lossy(unit)).collect();
    assert_eq!(run_units(&mut split.client().await, units).await, expected, "{what:?}");
}

/// Savepoints and local settings held a READ ONLY transaction on the read pool, where statements allowed by the primary
/// fail.
#[tokio::test]
async fn a_read_only_transaction_moves_with_its_savepoints() {
    let split = items().await;
    let by_messages = |sql: &str| [statement(sql, &[]), sync()].concat();
    let prepared = |sql: &str| {
        [parse("", sql), describe(b'S', ""), sync(), bind("", "", &[]), execute("", 0), sync()].concat()
    };
    let nested = [
        "SELECT note FROM item WHERE id = 1",
        "SAVEPOINT a",
        "SET LOCAL work_mem = '9MB'",
        "SAVEPOINT b",
        "SET LOCAL work_mem = '8MB'",
        "SELECT 1/0",
        "ROLLBACK TO b",
        "SHOW work_mem",
        "SELECT note FROM item WHERE id = 2",
    ];
    let local = ["SHOW work_mem", "SET LOCAL work_mem = '9MB'", "SET LOCAL statement_timeout = '1h'"];
    let failed = ["SAVEPOINT a", "ROLLBACK TO nowhere", "ROLLBACK TO a"];
    for kept in ["LISTEN news", "SELECT pg_advisory_lock(1)", "NOTIFY news", "SET TRANSACTION READ WRITE"] {
        let rest =
            ["SHOW work_mem", "ROLLBACK TO a", "SHOW work_mem", "COMMIT", "UPDATE item SET note = note"];
        for before in [&nested[..], &local[..], &failed[..]] {
            let texts = [&["BEGIN READ ONLY"], before, &[kept], &rest[..]].concat();
            compare(&split, &texts.iter().map(|text| query(text)).collect::<Vec<_>>()).await;
            let mut units: Vec<_> = texts.iter().map(|text| prepared(text)).collect();
            compare(&split, &units).await;
            units[0] = query(texts[0]);
            compare(&split, &units).await;
            compare(&split, &texts.iter().map(|text| by_messages(text)).collect::<Vec<_>>()).await;
        }
    }
    let mut client = split.client().await;
    for text in ["BEGIN READ ONLY", "SELECT note FROM item", "SAVEPOINT a", "SET LOCAL work_mem = '9MB'"] {
        client.ask(text).await.unwrap();
    }
    client.ask("LISTEN news").await.unwrap();
    client.ask("ROLLBACK").await.unwrap();
    assert_eq!(last_route(&mut client).await, "primary (utility)");
}

/// After `AND CHAIN`, the beginning of the transaction was forgotten, and the transaction could not leave the read
/// pool.
#[tokio::test]
async fn a_chained_transaction_begins_anew_where_it_may_write() {
    let split = items().await;
    let by_messages = |sql: &str| [statement(sql, &[]), sync()].concat();
    let write = [
        "SET TRANSACTION READ WRITE",
        "SHOW transaction_isolation",
        "SHOW transaction_deferrable",
        "UPDATE item SET note = note",
        "ROLLBACK",
        "UPDATE item SET note = note",
    ];
    for before in [
        &["COMMIT AND CHAIN"][..],
        &["SELECT note FROM item", "ROLLBACK AND CHAIN"],
        &["SELECT note FROM item", "COMMIT AND CHAIN", "SELECT 1", "COMMIT AND CHAIN"],
        &["SELECT 1/0", "ROLLBACK AND CHAIN"],
        &["SELECT 1/0", "COMMIT AND CHAIN"],
        &["SELEC", "ROLLBACK AND CHAIN"],
        &["SAVEPOINT a", "SET LOCAL work_mem = '9MB'", "COMMIT AND CHAIN", "SHOW work_mem"],
        &["DECLARE c CURSOR FOR SELECT 7", "FETCH c", "COMMIT AND CHAIN"],
        &["SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, DEFERRABLE", "SELECT 1", "COMMIT AND CHAIN"],
    ] {
        for begin in ["BEGIN READ ONLY", "START TRANSACTION READ ONLY, ISOLATION LEVEL REPEATABLE READ"] {
            for rest in [&write[..], &["SELECT 1", "LISTEN news", "COMMIT", "UPDATE item SET note = note"]] {
                let snapshot = begin.contains("REPEATABLE") || before[0].contains("REPEATABLE");
                if snapshot && rest[0] == "SELECT 1" {
                    // A single snapshot serves the whole transaction.
                    continue;
                }
                let texts = [&[begin], before, rest].concat();
                compare(&split, &texts.iter().map(|text| query(text)).collect::<Vec<_>>()).await;
                compare(&split, &texts.iter().map(|text| by_messages(text)).collect::<Vec<_>>()).await;
            }
        }
    }
}

/// A transaction left open by a text does not belong to a read pool, regardless of preceding statements.
#[tokio::test]
async fn a_write_may_follow_a_text_ending_in_begin() {
    let split = items().await;
    for text in [
        "SELECT 1; BEGIN",
        "SELECT 1; START TRANSACTION",
        "BEGIN READ ONLY; SELECT 1; COMMIT; BEGIN",
        "BEGIN READ ONLY; SELECT 1; COMMIT AND CHAIN; SET TRANSACTION READ WRITE",
        "COMMIT; BEGIN",
        "ROLLBACK; SELECT 1; BEGIN",
        "BEGIN; SELECT 1; COMMIT AND CHAIN",
    ] {
        let batch: Vec<u8> = text.split("; ").flat_map(|one| statement(one, &[])).collect();
        for before in
            [&["SELECT 1"][..], &["BEGIN READ ONLY", "SELECT 1"], &["BEGIN READ ONLY", "SAVEPOINT a"]]
        {
            for unit in [query(text), [&batch[..], &sync()].concat()] {
                let mut units: Vec<_> = before.iter().map(|text| query(text)).collect();
                units.extend([
                    unit,
                    query("UPDATE item SET note = note"),
                    query("ROLLBACK"),
                    query("SELECT 1"),
                ]);
                compare(&split, &units).await;
            }
        }
    }
}

/// An unnamed portal holds a READ ONLY transaction on the read pool until replaced by another portal.
#[tokio::test]
async fn a_replaced_portal_does_not_hold_its_transaction() {
    let split = items().await;
    let begin = parse("", "BEGIN READ ONLY");
    let begin = [begin, bind("", "", &[]), execute("", 2), sync()].concat();
    for next in [
        [statement("SET TRANSACTION READ WRITE", &[]), sync()].concat(),
        query("SET TRANSACTION READ WRITE"),
        [execute("", 0), sync()].concat(),
    ] {
        let units = [begin.clone(), next, query("UPDATE item SET note = note"), query("ROLLBACK")];
        compare(&split, &units).await;
    }
}

/// The end of a READ ONLY transaction stood in a batch with a later end, and all of the batch went to a read pool.
#[tokio::test]
async fn a_batch_with_commit_may_arrive_in_parts() {
    let split = items().await;
    let write = || statement("UPDATE item SET note = note", &[]);
    for end in ["COMMIT", "ROLLBACK"] {
        for before in [&["SELECT 1"][..], &[]] {
            let mut units = vec![query("BEGIN READ ONLY")];
            units.extend(before.iter().map(|text| query(text)));
            units.extend([statement(end, &[]), write(), sync()]);
            compare(&split, &units).await;
        }
    }
}

/// State of the transaction itself, kept by a server, keeps the transaction there.
#[tokio::test]
async fn a_read_only_transaction_with_state_stays_on_its_node() {
    let split = items().await;
    let lock = || query("SELECT pg_advisory_xact_lock(1)");
    for units in [
        vec![query("SELECT 1"), query("DECLARE c CURSOR FOR SELECT 7"), lock(), query("FETCH c")],
        vec![
            [parse("", "SELECT generate_series(1, 5)"), bind("named", "", &[]), execute("named", 2), sync()]
                .concat(),
            [statement("SELECT pg_advisory_xact_lock(1)", &[]), sync()].concat(),
            [execute("named", 2), sync()].concat(),
        ],
        vec![
            [parse("", "SELECT generate_series(1, 5)"), bind("", "", &[]), execute("", 2), sync()].concat(),
            [execute("", 2), sync()].concat(),
        ],
    ] {
        let units = [&[query("BEGIN READ ONLY")], &units[..], &[query("COMMIT")]].concat();
        let mut direct = split.plain().await;
        let expected = run_units(&mut direct, &units).await;
        assert_eq!(run_units(&mut split.client().await, &units).await, expected);
    }
    // A snapshot, too.
    let mut client = split.client().await;
    client.ask("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await.unwrap();
    assert_eq!(client.ask("SELECT count(*) FROM item").await.unwrap(), "2");
    split.primary("INSERT INTO item VALUES (3, 'three')").await;
    client.ask("SELECT pg_advisory_xact_lock(1)").await.unwrap();
    assert_eq!(client.ask("SELECT count(*) FROM item").await.unwrap(), "2");
    client.ask("COMMIT").await.unwrap();
}
