//! Start-up options belong to the session on any backend, and are the values restored by `RESET`.

use gatekeeper::testing::{
    sandbox::{APP, DATABASE},
    wire::tag::backend as b,
};

use crate::harness::{
    Frames, Pooled, Shape, connect,
    frames::{bind, execute, parse, query, statement, sync},
    refused,
    shared::{Shared, answered, batch, q, talk},
};

const OPTIONS: &str = r#"-c search_path="a\ b",notes -c app.tenant=5 --work-mem=7MB -c datestyle=german -cTimeZone=Europe/Oslo"#;
const SHOWN: &str = "SELECT current_setting('search_path'), current_setting('app.tenant'), \
current_setting('work_mem'), current_setting('DateStyle'), current_setting('TimeZone'), date '2020-02-01'";
const CHANGES: &str = "SET search_path = x; SET app.tenant = '6'; SET work_mem = '1MB'; SET DateStyle = ISO; SET TimeZone = 'UTC'";

/// Statements leading some options back, each alone in a message.
const LEADING_BACK: [&str; 12] = [
    "RESET search_path",
    "RESET app.tenant",
    "RESET ALL",
    "SET search_path TO DEFAULT",
    "SET SESSION app.tenant = DEFAULT",
    "SET TIME ZONE LOCAL",
    "SET TIME ZONE DEFAULT",
    "RESET work_mem; RESET search_path; RESET datestyle",
    "SELECT 1; RESET ALL",
    "SET app.tenant = ''",
    "RESET ROLE",
    "SET search_path = 'default'",
];

#[tokio::test]
async fn resets_lead_back_to_startup_options() {
    let shared = Shared::start().await;
    let mut talks = Vec::new();
    for back in LEADING_BACK {
        let mut outside = talk(
            back,
            [
                q(SHOWN),
                q(CHANGES),
                q(SHOWN),
                q(back),
                q(SHOWN),
                q(SHOWN),
                answered(3, [query(CHANGES), query(back), query(SHOWN)]),
                q(SHOWN),
                q("DISCARD ALL"),
                q(SHOWN),
                answered(3, [query(CHANGES), query("DISCARD ALL"), query(SHOWN)]),
            ],
        );
        let mut within = talk(
            back,
            [
                q(CHANGES),
                q("BEGIN"),
                q(back),
                q(SHOWN),
                q("ROLLBACK"),
                q(SHOWN),
                answered(5, [query("BEGIN"), query(back), query(SHOWN), query("COMMIT"), query(SHOWN)]),
                q(SHOWN),
                q(CHANGES),
                q("BEGIN; SAVEPOINT s"),
                q(back),
                q("ROLLBACK TO s"),
                q(SHOWN),
                q("SELECT 1/0"),
                q("COMMIT"),
                q(SHOWN),
            ],
        );
        for it in [&mut outside, &mut within] {
            it.startup = vec![("options", OPTIONS), ("application_name", "tenant")];
        }
        talks.extend([outside, within]);
        if back.contains(';') {
            continue;
        }
        let mut batches = talk(
            back,
            [
                q(CHANGES),
                batch([statement(back, &[])]),
                q(SHOWN),
                q(CHANGES),
                batch([statement(back, &[]), statement(SHOWN, &[])]),
                q(SHOWN),
                q(CHANGES),
                batch([statement(back, &[]), statement("SELECT 1/0", &[])]),
                q(SHOWN),
                batch([parse("back", back), parse("shown", SHOWN)]),
                q("BEGIN"),
                answered(
                    2,
                    [
                        [
                            bind("p", "back", &[]),
                            bind("", "shown", &[]),
                            execute("p", 0),
                            execute("", 0),
                            sync(),
                        ]
                        .concat(),
                        [bind("", "shown", &[]), execute("", 0), sync()].concat(),
                    ],
                ),
                q("ROLLBACK"),
                q(SHOWN),
            ],
        );
        batches.startup = vec![("options", OPTIONS)];
        talks.push(batches);
    }
    shared.agree(talks).await;
}

#[tokio::test]
async fn a_batch_behind_discard_all_has_startup_options() {
    let shared = Shared::start().await;
    let shown = "SELECT current_setting('search_path'), current_setting('app.tenant')";
    let mut it = talk(
        "one batch",
        [
            q("SET search_path = x; SET app.tenant = '6'"),
            batch([statement("DISCARD ALL", &[]), statement(shown, &[])]),
            q(shown),
            q("SET search_path = x; SET app.tenant = '6'"),
            batch([statement("DISCARD ALL", &[]), statement(shown, &[]), statement("SELECT 1/0", &[])]),
            q(shown),
            batch([
                statement("DISCARD ALL", &[]),
                statement("SET app.tenant = '7'", &[]),
                statement(shown, &[]),
            ]),
            q(shown),
        ],
    );
    it.startup = vec![("options", "-c search_path=notes -c app.tenant=5")];
    shared.agree([it]).await;
}

#[tokio::test]
async fn local_defaults_are_startup_options() {
    let shared = Shared::start().await;
    let mut talks = Vec::new();
    for back in
        ["SET LOCAL app.tenant TO DEFAULT", "SET LOCAL search_path = DEFAULT", "SET LOCAL TIME ZONE LOCAL"]
    {
        let mut it =
            talk(back, [q(CHANGES), q("BEGIN"), q(back), q(SHOWN), q("COMMIT"), q(SHOWN), q(back), q(SHOWN)]);
        it.startup = vec![("options", OPTIONS)];
        talks.push(it);
    }
    shared.agree(talks).await;
}

#[tokio::test]
async fn statements_behind_a_reset_see_startup_options() {
    let shared = Shared::start().await;
    let mut talks = Vec::new();
    for text in [
        format!("RESET ALL; {SHOWN}"),
        format!("RESET app.tenant; {SHOWN}"),
        "SELECT set_config('app.tenant', NULL, false)".to_owned(),
        "DO $$ BEGIN RESET app.tenant; PERFORM 1 / (current_setting('app.tenant')::int - 5); END $$"
            .to_owned(),
    ] {
        let mut it =
            talk("more behind it", [q(CHANGES), q(&text), q(SHOWN), q("RESET ALL"), q(SHOWN), q(&text)]);
        it.startup = vec![("options", OPTIONS), ("application_name", "tenant")];
        talks.push(it);
        if text.contains("; SELECT") {
            continue;
        }
        let mut it = talk("in a batch", [q(CHANGES), batch([statement(&text, &[])]), q(SHOWN)]);
        it.startup = vec![("options", OPTIONS)];
        talks.push(it);
    }
    shared.agree(talks).await;
}

#[tokio::test]
async fn a_reset_midway_fails_its_transaction() {
    let pool = Pooled::of(1).await;
    let parameters = [("database", DATABASE), ("options", OPTIONS)];
    let mut client = Frames::log_in(pool.listener(), APP, &parameters).await;
    for text in ["RESET app.tenant; SELECT 1", "DO $$ BEGIN RESET ALL; END $$"] {
        client.ask("BEGIN").await.unwrap();
        client.ask("SELECT 1").await.unwrap();
        assert_eq!(client.ask(text).await, Err("0A000".to_owned()), "{text}");
        assert_eq!(client.ask("SELECT 1").await, Err("25P02".to_owned()), "{text}");
        client.ask("ROLLBACK").await.unwrap();
        client.ask("BEGIN").await.unwrap();
        client.ask("SELECT 1").await.unwrap();
        client.send(&[statement(text.split(';').next().unwrap(), &[]), sync()].concat()).await;
        client.hear_until(b::READY_FOR_QUERY).await;
        client.ask("ROLLBACK").await.unwrap();
        assert_eq!(client.ask("SHOW app.tenant").await.as_deref(), Ok("5"), "{text}");
    }
}

#[tokio::test]
async fn a_do_block_runs_on_one_backend() {
    let pool = Pooled::of(1).await;
    let parameters = [("database", DATABASE), ("options", OPTIONS)];
    let mut client = Frames::log_in(pool.listener(), APP, &parameters).await;
    client.ask("CREATE TEMP TABLE kept (a int)").await.unwrap();
    for text in ["DO $$ BEGIN PERFORM 1; END $$", "DO $$ BEGIN EXECUTE 'RES' || 'ET ALL'; END $$"] {
        for begin in ["BEGIN", "SELECT 1"] {
            client.ask(begin).await.unwrap();
            client.ask("SELECT 1").await.unwrap();
            client.ask(text).await.unwrap();
            client.ask("COMMIT").await.unwrap();
            assert_eq!(client.ask("SHOW work_mem").await.as_deref(), Ok("7MB"), "{begin}; {text}");
        }
    }
}

#[tokio::test]
async fn tenants_with_options_share_few_backends() {
    let pool = Pooled::start(Shape { size: 3, plain: true, ..Shape::default() }).await;
    let mut clients = Vec::new();
    for tenant in 0..198 {
        let options = format!("-c search_path=tenant{tenant} -c app.tenant={tenant}");
        let parameters = [("database", DATABASE), ("options", options.as_str())];
        clients.push(Frames::log_in(pool.listener(), APP, &parameters).await);
    }
    let mut bare = pool.client().await;
    let shown = "SELECT current_setting('search_path') || ' ' || current_setting('app.tenant', true)";
    for round in 0..3 {
        for (tenant, client) in clients.iter_mut().enumerate() {
            if (tenant + round) % 3 == 0 {
                client.ask("SET search_path = changed; SET app.tenant = 'changed'").await.unwrap();
                assert_eq!(client.ask(shown).await.as_deref(), Ok("changed changed"));
                client.ask("RESET ALL").await.unwrap();
            }
            assert_eq!(client.ask(shown).await.unwrap(), format!("tenant{tenant} {tenant}"));
        }
        // A placeholder set by another session stays, without a value.
        assert_eq!(bare.ask(shown).await.as_deref(), Ok("\"$user\", public "));
    }
    let backends = pool.backends().await;
    assert!(backends.len() <= 3, "{backends:?}");
    let page = pool.stand.gatekeeper.get("/v1/pools").await.unwrap().body;
    let pools: serde_json::Value = serde_json::from_str(&page).unwrap();
    assert_eq!(pools["pools"].as_array().unwrap().len(), 1, "{page}");
}

#[tokio::test]
async fn startup_options_are_refused_as_by_the_server() {
    let pool = Pooled::start(Shape { plain: true, ..Shape::default() }).await;
    for options in [
        "-c work_mem=lots",
        "-c datestyle=martian",
        "-c client_encoding=martian",
        "-c no_such_setting=1",
        "-c timezone=Nowhere/Else",
        "-c shared_buffers=1GB",
        "-c log_statement=all",
        "-c server_version=1",
        "-c search_path=a -c statement_timeout=-5",
        "-c default_text_search_config=no_such_config",
        "-c role=nobody_known",
        "-c geqo",
        "-Z",
        "word",
        "-c app.=1",
    ] {
        let parameters =
            format!("user={} password={} dbname={DATABASE} options='{options}'", APP.name, APP.password);
        let direct = refused(connect(pool.stand.server.address(), &parameters).await);
        for _ in 0..2 {
            assert_eq!(refused(connect(pool.listener(), &parameters).await), direct, "{options}");
        }
        assert!(pool.client().await.ask("SELECT 1").await.is_ok());
    }
}

#[tokio::test]
async fn options_that_only_a_login_can_set_have_a_pool_of_their_own() {
    let pool = Pooled::start(Shape { size: 2, plain: true, ..Shape::default() }).await;
    for (name, value) in [("ignore_system_indexes", "on"), ("temp_buffers", "1MB"), ("post_auth_delay", "0")]
    {
        let options = format!("-c {name}={value} -c application_name=by_options -c search_path=mine");
        let parameters = [("database", DATABASE), ("options", options.as_str())];
        for _ in 0..2 {
            let mut client = Frames::log_in(pool.listener(), APP, &parameters).await;
            for reset in ["SELECT 1", "RESET ALL", "DISCARD ALL"] {
                client.ask(reset).await.unwrap();
                assert_eq!(client.ask(&format!("SHOW {name}")).await.unwrap(), value);
                assert_eq!(client.ask("SHOW search_path").await.as_deref(), Ok("mine"));
                assert_eq!(client.ask("SHOW application_name").await.as_deref(), Ok("by_options"));
            }
        }
    }
    let mut bare = pool.client().await;
    assert_eq!(
        bare.ask("SELECT current_user || current_setting('search_path')").await.as_deref(),
        Ok("app\"$user\", public")
    );
}

#[tokio::test]
async fn logins_report_startup_options_as_the_server_does() {
    let shared = Shared::start().await;
    let mut talks = Vec::new();
    for startup in [
        vec![("options", OPTIONS)],
        vec![("DateStyle", "german")],
        vec![("DateStyle", "DMY"), ("options", "-c datestyle=sql")],
        vec![("client_encoding", "'latin1'")],
        vec![("client_encoding", "latin1"), ("TimeZone", "utc")],
        vec![
            ("options", "-c intervalstyle=ISO_8601 -c extra_float_digits=3"),
            ("application_name", "n\u{e4}me"),
        ],
        vec![("options", "-c application_name=x -c app.x=\u{e4}\\ \\\\")],
        vec![("statement_timeout", "1min"), ("default_transaction_read_only", "1")],
        vec![("standard_conforming_strings", "off")],
        vec![("gatekeeper.route", "primary"), ("app.empty", "")],
    ] {
        let shown = "SELECT name, setting FROM pg_settings WHERE name IN ('DateStyle', 'client_encoding', 'TimeZone', \
                     'IntervalStyle', 'extra_float_digits', 'application_name', 'statement_timeout', 'search_path', \
                     'default_transaction_read_only', 'standard_conforming_strings') ORDER BY 1";
        let mut it = talk(
            "a login",
            [
                q(shown),
                // A placeholder set by another session stays, empty.
                q("SELECT coalesce(current_setting('app.x', true), '')"),
                q("SELECT coalesce(current_setting('app.empty', true), '')"),
                q("SET DateStyle = ISO; SET TimeZone = 'Asia/Tokyo'; SET client_encoding = 'UTF8'"),
                q(shown),
                q("RESET DateStyle"),
                q("SET TIME ZONE DEFAULT"),
                q("RESET client_encoding"),
                q(shown),
                q("RESET ALL"),
                q(shown),
                batch([statement("SELECT $1::date", &[b"2020-02-01"])]),
            ],
        );
        it.startup = startup;
        talks.push(it);
    }
    shared.agree(talks).await;
}
