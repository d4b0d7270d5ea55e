//! A reset removes earlier state, and no later state, in a single write or not.

use crate::harness::{
    Frames, Pooled,
    frames::{bind, describe, execute, parse, query, statement, sync},
    shared::{Shared, answered, batch, q, talk},
};

/// All possible leftovers of a session.
const LOOK: &str = "SELECT coalesce(current_setting('app.tenant', true), '') || ' ' || current_user || ' ' || \
current_setting('work_mem') || ' ' || coalesce(to_regclass('pg_temp.t')::text, '') || ' ' || \
(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()) || ' ' || \
(SELECT count(*) FROM pg_listening_channels()) || ' ' || (SELECT count(*) FROM pg_cursors) || ' ' || \
(SELECT count(*) FROM pg_prepared_statements)";

/// Resets, and following statements with leftover state.
const RESETS: [&str; 12] = [
    "DISCARD ALL",
    "DISCARD TEMP",
    "DISCARD PLANS",
    "DISCARD SEQUENCES",
    "DEALLOCATE ALL",
    "RESET ALL",
    "UNLISTEN *",
    "CLOSE ALL",
    "SELECT pg_advisory_unlock_all()",
    "RESET SESSION AUTHORIZATION",
    "SET ROLE NONE",
    "SET SESSION AUTHORIZATION DEFAULT",
];
const LEFT: [&str; 9] = [
    "SELECT set_config('app.tenant', 'theirs', false)",
    "SET ROLE app_md5",
    "SET work_mem = '7MB'",
    "CREATE TEMP TABLE t (a int)",
    "SELECT pg_advisory_lock(7)",
    "LISTEN news",
    "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
    "PREPARE p AS SELECT 1",
    "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE",
];

#[tokio::test]
async fn statements_behind_a_reset_stay_with_their_session() {
    let shared = Shared::start().await;
    let mut talks = Vec::new();
    for reset in RESETS {
        for left in LEFT {
            talks.push(talk(
                "queries in one write",
                [answered(2, [query(reset), query(left)]), q(LOOK), q(LOOK)],
            ));
        }
        let all: Vec<u8> = LEFT.iter().flat_map(|left| [statement(left, &[]), sync()].concat()).collect();
        talks.push(talk(
            "batches in one write",
            [answered(1 + LEFT.len(), [statement(reset, &[]), sync(), all]), q(LOOK), q(LOOK)],
        ));
        talks.push(talk(
            "one batch",
            [
                batch([statement(reset, &[]), statement(LEFT[0], &[]), statement(LEFT[2], &[])]),
                q(LOOK),
                q(LOOK),
            ],
        ));
        talks.push(talk(
            "statements made behind it, in one batch",
            [
                batch([parse("s", "SELECT 'before'"), parse("kept", "SELECT 'kept'")]),
                batch([
                    statement(reset, &[]),
                    parse("new", "SELECT 'behind'"),
                    bind("", "new", &[]),
                    execute("", 0),
                ]),
                batch([bind("", "new", &[]), describe(b'S', "new"), execute("", 0)]),
                batch([bind("", "s", &[]), execute("", 0)]),
                batch([parse("kept", "SELECT 'again'")]),
                batch([bind("", "kept", &[]), execute("", 0)]),
            ],
        ));
        talks.push(talk(
            "statements made behind it, in several",
            [
                answered(
                    4,
                    [
                        parse("s", "SELECT 'before'"),
                        sync(),
                        query(reset),
                        parse("s", "SELECT 'behind'"),
                        sync(),
                        bind("", "s", &[]),
                        execute("", 0),
                        sync(),
                    ],
                ),
                batch([bind("", "s", &[]), execute("", 0)]),
            ],
        ));
        talks.push(talk(
            "an error behind it",
            [answered(3, [query(reset), query("SELECT 1/0"), query(LEFT[0])]), q(LOOK), q(LOOK)],
        ));
        talks.push(talk(
            "in a transaction that is rolled back",
            [
                q(LEFT[0]),
                batch([parse("s", "SELECT 'before'")]),
                answered(
                    5,
                    [query("BEGIN"), query(reset), query(LEFT[2]), query("ROLLBACK"), query(LEFT[5])],
                ),
                q(LOOK),
                batch([bind("", "s", &[]), execute("", 0)]),
                q(LOOK),
            ],
        ));
    }
    shared.agree(talks).await;
}

#[tokio::test]
async fn a_leading_reset_keeps_later_state_of_its_query() {
    let shared = Shared::start().await;
    let mut talks = Vec::new();
    for reset in &RESETS[1..] {
        for left in LEFT {
            let one = format!("{reset}; {left}");
            talks.push(talk("in one Query", [q(&one), q(LOOK), q(LOOK)]));
        }
        let fails = format!("{reset}; {}; SELECT 1/0", LEFT[0]);
        talks.push(talk("in one Query that fails", [q(LEFT[2]), q(&fails), q(LOOK), q(LOOK)]));
    }
    talks.push(talk(
        "a sequence moved behind DISCARD SEQUENCES",
        [
            q("SELECT nextval('numbers')"),
            q("SELECT lastval()"),
            q("DISCARD SEQUENCES; SELECT nextval('numbers')"),
            q("SELECT lastval()"),
        ],
    ));
    shared.agree(talks).await;
}

#[tokio::test]
async fn the_unnamed_statement_outlives_a_reset() {
    let shared = Shared::start().await;
    shared
        .agree([
            talk(
                "DISCARD ALL as the unnamed statement",
                [
                    batch([parse("", "DISCARD ALL"), bind("", "", &[]), execute("", 0)]),
                    batch([bind("", "", &[]), execute("", 0)]),
                    q(LOOK),
                ],
            ),
            talk(
                "one that leaves a setting",
                [
                    batch([parse("d", "DISCARD ALL"), parse("", LEFT[0])]),
                    batch([bind("", "d", &[]), execute("", 0)]),
                    batch([bind("", "", &[]), execute("", 0)]),
                    q(LOOK),
                    q(LOOK),
                ],
            ),
        ])
        .await;
}

#[tokio::test]
async fn the_next_tenant_sees_nothing_sent_behind_a_reset() {
    let pool = Pooled::of(1).await;
    pool.server("GRANT app_md5 TO app").await;
    let clean = ask(&mut pool.client().await, LOOK).await;
    let mut one = pool.client().await;
    let mut other = pool.client().await;
    for reset in RESETS {
        for left in [LEFT[0], LEFT[1], LEFT[2]] {
            one.send(&[query(reset), query(left)].concat()).await;
            for _ in 0..2 {
                one.hear_until(gatekeeper::testing::wire::tag::backend::READY_FOR_QUERY).await;
            }
            assert_eq!(ask(&mut other, LOOK).await, clean, "{reset}, then {left}");
            ask(&mut one, "DISCARD ALL").await;
        }
    }
}

async fn ask(client: &mut Frames, sql: &str) -> String {
    client.ask(sql).await.unwrap()
}
