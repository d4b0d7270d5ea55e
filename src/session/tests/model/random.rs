//! Random scripts.

use std::ops::Range;

use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::{select, subsequence},
};

use super::{
    script::{Action, CopyEnd, Disturbance, End, Progress, ReplayMode, Request, Script, Setup, Step, Text},
    state::Startup,
};

/// Statements by kind; a script uses few kinds, so that related statements meet.
const KINDS: [&[&str]; 12] = [
    &[
        "SET work_mem = '1MB'",
        "SET work_mem = '64kB'",
        "SET LOCAL work_mem = '2MB'",
        "RESET work_mem",
        "SHOW work_mem",
        "RESET ALL",
        "SET nosuch = '1'",
    ],
    &[
        "SET search_path = 'path#'",
        "SET search_path = '{long}'",
        "SHOW search_path",
        "SET my.a = 'a#'",
        "SET my.a = '{long}'",
        "SET my.a = ''",
        "SELECT coalesce(current_setting('my.a', true), '')",
        "SELECT set_config('my.b', 'b#', false)",
        "SELECT set_config('my.a', 'local', true)",
        "SELECT set_config($1, $2, false)",
        "RESET my.a",
    ],
    &[
        "SET application_name = 'app#'",
        "SET LOCAL application_name = 'local#'",
        "RESET application_name",
        "SHOW application_name",
        "SET application_name = 'other'",
    ],
    &[
        "SET ROLE joe",
        "SET ROLE ann",
        "SET ROLE NONE",
        "RESET ROLE",
        "SET ROLE nobody",
        "SELECT current_user",
    ],
    &[
        "PREPARE s1 AS SELECT 'prepared#'",
        "PREPARE s2 AS SELECT set_config('my.a', 'executed#', false)",
        "EXECUTE s1",
        "EXECUTE s2",
        "DEALLOCATE s1",
        "DEALLOCATE s2",
        "DEALLOCATE ALL",
        "SELECT name FROM pg_prepared_statements ORDER BY name",
    ],
    &["LISTEN a", "LISTEN b", "UNLISTEN a", "UNLISTEN *", "SELECT pg_listening_channels()"],
    &[
        "SELECT pg_advisory_lock(#1)",
        "SELECT pg_advisory_lock(#2)",
        "SELECT pg_advisory_unlock(#1)",
        "SELECT pg_advisory_unlock_all()",
    ],
    &[
        "CREATE TEMP TABLE t (a int)",
        "CREATE TEMP TABLE t (a int) ON COMMIT DROP",
        "DROP TABLE t",
        "SELECT * FROM t",
    ],
    &[
        "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
        "DECLARE d CURSOR FOR SELECT 1",
        "FETCH 1 FROM c",
        "FETCH 1 FROM d",
        "CLOSE c",
        "CLOSE ALL",
    ],
    &["SELECT nextval('q#')", "SELECT lastval()", "SELECT nextval('r#')"],
    &["SAVEPOINT a", "SAVEPOINT a", "SAVEPOINT b", "ROLLBACK TO a", "ROLLBACK TO b", "RELEASE a"],
    &[
        "EXECUTE \"__gatekeeper_000000000000000000000000000000000000000000000007\"",
        "DEALLOCATE \"__gatekeeper_000000000000000000000000000000000000000000000007\"",
        "EXECUTE \"__gatekeeper_000000000000000000000000000000000000000000000008\"",
        "SELECT name FROM pg_prepared_statements ORDER BY name",
    ],
];

/// Start-up settings, of which none has its default value. `application_name` is missing: by design, a message right behind
/// a reset does not wait for the name.
const STARTUPS: [Startup; 5] = [
    &[],
    &[],
    &[("work_mem", "3MB")],
    &[("my.a", "start"), ("search_path", "start")],
    &[("my.a", "start"), ("search_path", "start"), ("work_mem", "3MB")],
];

/// Statements of every script.
const COMMON: &[&str] = &[
    "SELECT 'one'",
    "SELECT 'one'",
    "SELECT 'two'",
    "SELECT '{long}'",
    "SELECT $1",
    "VALUES (1), (2), (3)",
    "SELECT 1 / 0",
    "SELEC",
    "",
    "BEGIN",
    "BEGIN",
    "BEGIN",
    "COMMIT",
    "COMMIT",
    "ROLLBACK",
    "DISCARD ALL",
    "INSERT INTO rows_# VALUES (1)",
    "SELECT count(*) FROM rows_#",
];

const INTERNAL: &str = "__gatekeeper_000000000000000000000000000000000000000000000007";
const NAMES: [&str; 8] = ["", "", "", "s1", "s1", "s2", "s2", INTERNAL];
const PORTALS: [&str; 4] = ["", "", "", "p"];

fn length() -> impl Strategy<Value = usize> + Clone {
    prop_oneof![8 => 1..200usize, 3 => 200..3000usize, 1 => select(vec![9000usize, 17_000, 70_000])].boxed()
}

fn step(texts: Vec<&'static str>) -> impl Strategy<Value = Step> {
    let text = || (select(texts.clone()), length()).prop_map(|(text, size)| Text(text, size));
    let name = || select(NAMES.to_vec());
    // A client that makes a statement of an internal name is told that the name exists.
    let new_name = || select(NAMES[..7].to_vec());
    let portal = || select(PORTALS.to_vec());
    let limit = || select(vec![0u32, 0, 0, 1, 2, 3]);
    let value = (select(vec!["my.a", "work_mem", "1MB", "{long}", "v#"]), length());
    let value = value.prop_map(|(text, size)| Text(text, size)).boxed();
    let kind = || select(vec![b'S', b'S', b'P']);
    prop_oneof![
        8 => (new_name(), text(), portal(), any::<bool>(), limit())
            .prop_map(|(name, text, portal, describes, limit)| Step::Run { name, text, portal, describes, limit }),
        4 => (new_name(), text()).prop_map(|(name, text)| Step::Parse { name, text }),
        6 => (portal(), name(), prop_oneof![4 => vec(value.clone(), 0), 2 => vec(value, 1..3)])
            .prop_map(|(portal, name, values)| Step::Bind { portal, name, values }),
        2 => (kind(), name()).prop_map(|(kind, name)| Step::Describe { kind, name }),
        6 => (portal(), limit()).prop_map(|(portal, limit)| Step::Execute { portal, limit }),
        3 => (kind(), name()).prop_map(|(kind, name)| Step::Close { kind, name }),
        1 => Just(Step::Flush),
        3 => Just(Step::Sync),
        1 => text().prop_map(Step::Query),
    ]
}

fn request(texts: Vec<&'static str>) -> impl Strategy<Value = Request> {
    let text = (select(texts.clone()), length()).prop_map(|(text, size)| Text(text, size)).boxed();
    let queries = prop_oneof![6 => vec(text.clone(), 1), 1 => vec(text, 2..4)];
    let batch = (vec(step(texts), 1..6), 0..8u8).prop_map(|(mut steps, end)| {
        match end {
            0 => {}
            1 => steps.push(Step::Flush),
            _ => steps.push(Step::Sync),
        }
        Request::Batch(steps)
    });
    let end = select(vec![CopyEnd::Done, CopyEnd::Done, CopyEnd::Fail, CopyEnd::BadRow]);
    let copy = (any::<bool>(), any::<bool>(), vec(length(), 0..3), end).prop_map(
        |(is_extended, has_early_sync, rows, end)| Request::Copy { is_extended, has_early_sync, rows, end },
    );
    prop_oneof![10 => queries.prop_map(Request::Query), 8 => batch, 1 => copy]
}

fn action(texts: Vec<&'static str>, clients: usize) -> impl Strategy<Value = Action> {
    let held = prop_oneof![3 => Just(0usize), 2 => 0..80usize];
    let end = prop_oneof![
        Just(End::Terminate),
        prop_oneof![Just(0usize), 1..60usize].prop_map(|unsent| End::Close { unsent })
    ];
    prop_oneof![
        12 => (0..clients, request(texts.clone()), held, any::<bool>())
            .prop_map(|(client, request, held, is_impatient)| Action::Say { client, request, held, is_impatient }),
        2 => (0..clients, option::of(request(texts)), end)
            .prop_map(|(client, request, end)| Action::Leave { client, request, end }),
        1 => Just(Action::Expire),
    ]
}

/// Scripts of any kind.
pub(super) fn script() -> impl Strategy<Value = Script> {
    let sizes = || select(vec![300usize, 600, 2000, 16_384]);
    let client_buffer = select(vec![128usize, 300, 1000, 16_384]);
    let setup = (1..3usize, 2..4usize, client_buffer, sizes(), sizes(), 0..6u8, select(STARTUPS.to_vec()));
    let setup =
        setup.prop_map(|(backends, clients, client_buffer, server_buffer, step, strict, startup)| Setup {
            backends,
            clients,
            client_buffer,
            server_buffer,
            step,
            is_strict: strict == 0,
            startup,
            ..Setup::default()
        });
    (setup, subsequence(KINDS.to_vec(), 1..4)).prop_flat_map(|(setup, kinds)| {
        let mut texts = kinds.concat();
        texts.extend_from_slice(&texts.clone());
        texts.extend_from_slice(COMMON);
        vec(action(texts, setup.clients), 1..16).prop_map(move |mut actions| {
            if !setup.startup.is_empty() {
                actions.iter_mut().for_each(isolate_reset);
            }
            Script { setup, actions }
        })
    })
}

/// Statements of scripts with read pools.
const READS: &[&str] = &[
    "BEGIN READ ONLY",
    "BEGIN READ ONLY",
    "SET TRANSACTION READ ONLY",
    "SELECT count(*) FROM rows_#",
    "SELECT count(*) FROM rows_#",
    "INSERT INTO rows_# VALUES (1)",
    "SELECT 'one'",
    "SELECT '{long}'",
    "SHOW work_mem",
    "VALUES (1), (2), (3)",
    "COMMIT",
];

/// Kinds of statements of disturbed scripts: settings, roles, sequences, savepoints, cursors and prepared statements.
const DISTURBED_KINDS: [usize; 7] = [0, 1, 3, 9, 10, 8, 4];
/// Count of these kinds in scripts with read pools.
const SPLIT_KINDS: usize = 5;

fn progress() -> impl Strategy<Value = Progress> {
    let bytes = prop_oneof![2 => Just(usize::MAX), 1 => 0..60usize, 1 => 0..2000usize];
    (0..10usize, bytes).prop_map(|(messages, bytes)| Progress { messages, bytes })
}

/// Disturbances of a script.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Disturbances {
    /// Cancel requests, and errors of standbys.
    Errors,
    /// Lost backends.
    Losses,
}

fn disturbance(kind: Disturbances) -> BoxedStrategy<Disturbance> {
    match kind {
        Disturbances::Errors => prop_oneof![
            3 => Just(Disturbance::Cancel),
            2 => select(vec!["40001", "25006", "42P01"]).prop_map(Disturbance::Refuse),
        ]
        .boxed(),
        Disturbances::Losses => prop_oneof![
            3 => any::<bool>().prop_map(|goes_on| Disturbance::Lose { goes_on }),
            1 => Just(Disturbance::Shutdown),
        ]
        .boxed(),
    }
}

fn disturbed_action(
    kind: Disturbances,
    texts: Vec<&'static str>,
    clients: usize,
) -> impl Strategy<Value = Action> {
    let held = prop_oneof![5 => Just(0usize), 1 => 0..80usize];
    let disturbed = (0..clients, request(texts.clone()), held, progress(), disturbance(kind)).prop_map(
        |(client, request, held, progress, disturbance)| {
            let isolated = matches!(disturbance, Disturbance::Lose { .. } | Disturbance::Shutdown);
            let held = if isolated { 0 } else { held };
            Action::Disturb { client, request, held, progress, disturbance }
        },
    );
    prop_oneof![8 => action(texts, clients), 6 => disturbed, 1 => Just(Action::Replay), 1 => Just(Action::Probe)]
}

/// Scripts with read pools, or with disturbances, or with both.
pub(super) fn disturbed_script(kind: Disturbances, readers: Range<usize>) -> impl Strategy<Value = Script> {
    let kinds = if readers.start == 0 { &DISTURBED_KINDS[..] } else { &DISTURBED_KINDS[..SPLIT_KINDS] };
    let sizes = || select(vec![300usize, 600, 2000, 16_384]);
    let client_buffer = select(vec![128usize, 300, 1000, 16_384]);
    let replay = select(vec![ReplayMode::AtOnce, ReplayMode::Asked, ReplayMode::Probed]);
    let pools = (1..3usize, readers, 2..4usize, replay);
    let setup = (pools, client_buffer, sizes(), sizes(), 0..6u8);
    let setup = setup.prop_map(
        |((backends, readers, clients, replay), client_buffer, server_buffer, step, strict)| {
            let is_strict = strict == 0;
            Setup {
                backends,
                clients,
                client_buffer,
                server_buffer,
                step,
                is_strict,
                startup: &[],
                readers,
                replay,
            }
        },
    );
    (setup, subsequence(kinds.to_vec(), 1..4)).prop_flat_map(move |(setup, kinds)| {
        let kinds: Vec<_> = kinds.into_iter().map(|kind| KINDS[kind]).collect();
        let mut texts = kinds.concat();
        texts.extend_from_slice(COMMON);
        texts.extend_from_slice(READS);
        vec(disturbed_action(kind, texts, setup.clients), 1..14)
            .prop_map(move |actions| Script { setup, actions })
    })
}

/// Reduces a Query to the first reset: with start-up settings, Gatekeeper may refuse a reset among other statements.
fn isolate_reset(action: &mut Action) {
    isolate(action, |text| text.starts_with("RESET"));
}

/// Reduces a Query to its first text that is `apart`.
fn isolate(action: &mut Action, apart: impl Fn(&str) -> bool) {
    let (Action::Say { request, .. } | Action::Leave { request: Some(request), .. }) = action else { return };
    if let Request::Query(texts) = request
        && let Some(at) = texts.iter().position(|text| apart(text.0))
    {
        *texts = vec![texts[at]];
    }
}
