//! Settings follow their session, with the semantics of transactions and savepoints.

use gatekeeper::testing::wire::tag::backend as b;

use crate::harness::{
    conversation::Turn,
    frames::{bind, describe, execute, function_call, parse, query, statement, sync},
    shared::{Shared, answered, batch, q, talk, until_tag},
};

const SHOWN: &str = "SELECT current_setting('work_mem'), current_setting('TimeZone'), \
current_setting('application_name'), current_setting('search_path'), current_setting('DateStyle')";

#[tokio::test]
async fn settings_follow_their_session() {
    let shared = Shared::start().await;
    shared
        .agree([
            talk(
                "the beginning",
                [q(SHOWN), q("SHOW ALL").into_iter().take(0).collect(), q("SHOW work_mem")],
            ),
            talk(
                "SET and RESET",
                [
                    q("SET work_mem = '2MB'"),
                    q(SHOWN),
                    q("SET TimeZone TO 'Asia/Tokyo'"),
                    q(SHOWN),
                    q("SET SESSION work_mem TO 3333"),
                    q(SHOWN),
                    q("RESET work_mem"),
                    q(SHOWN),
                    q("SET TIME ZONE LOCAL"),
                    q(SHOWN),
                    q("SET TIME ZONE -3"),
                    q("SHOW TimeZone"),
                    q("SET TIME ZONE INTERVAL '-08:00' HOUR TO MINUTE"),
                    q("SHOW TimeZone"),
                    q("SET timezone TO DEFAULT"),
                    q("RESET ALL"),
                    q(SHOWN),
                ],
            ),
            talk(
                "SET that is rolled back",
                [
                    q("SET work_mem = '2MB'"),
                    q("BEGIN"),
                    q("SET work_mem = '4MB'"),
                    q("SET TimeZone = 'Asia/Tokyo'"),
                    q(SHOWN),
                    q("ROLLBACK"),
                    q(SHOWN),
                    q("BEGIN"),
                    q("SET work_mem = '4MB'"),
                    q("SELECT 1/0"),
                    q("COMMIT"),
                    q(SHOWN),
                    q("BEGIN"),
                    q("SET work_mem = '4MB'"),
                    q("COMMIT"),
                    q(SHOWN),
                ],
            ),
            talk(
                "SET and savepoints",
                [
                    q("BEGIN"),
                    q("SET work_mem = '4MB'"),
                    q("SAVEPOINT a"),
                    q("SET work_mem = '5MB'; SET application_name = 'inner'"),
                    q("ROLLBACK TO a"),
                    q("SHOW work_mem"),
                    q("SAVEPOINT b"),
                    q("SET TimeZone = 'Asia/Tokyo'"),
                    q("RELEASE b"),
                    q("COMMIT"),
                    q(SHOWN),
                ],
            ),
            talk(
                "SET LOCAL",
                [
                    q("SET LOCAL work_mem = '4MB'"),
                    q("BEGIN"),
                    q("SET LOCAL TimeZone = 'Asia/Tokyo'"),
                    q("SET LOCAL work_mem = '4MB'"),
                    q(SHOWN),
                    q("COMMIT"),
                    q(SHOWN),
                    q("BEGIN; SET work_mem = '6MB'; SET LOCAL work_mem = '4MB'; COMMIT"),
                    q(SHOWN),
                ],
            ),
            talk(
                "several statements, an error behind a SET",
                [
                    q("SET work_mem = '2MB'; SELECT 1/0"),
                    q(SHOWN),
                    q("SET work_mem = '2MB'; SELECT 1"),
                    q(SHOWN),
                ],
            ),
            talk(
                "a SET that is refused",
                [q("SET work_mem = 'nonsense'"), q("SET no_such_setting = 1"), q("SET port = 1"), q(SHOWN)],
            ),
            talk(
                "set_config",
                [
                    q("SELECT set_config('work_mem', '2MB', false)"),
                    q(SHOWN),
                    q("SELECT set_config('work_mem', '3MB', true)"),
                    q(SHOWN),
                    batch([statement("SELECT set_config($1, $2, false)", &[b"work_mem", b"4MB"])]),
                    q(SHOWN),
                    batch([statement("SELECT set_config($1, $2, $3)", &[b"WORK_MEM", b"5MB", b"true"])]),
                    q(SHOWN),
                    batch([parse("s", "SELECT set_config($1, $2, false)")]),
                    batch([bind("", "s", &[b"TimeZone", b"Asia/Tokyo"]), execute("", 0)]),
                    q(SHOWN),
                    q("SELECT set_config('work' || '_mem', '7MB', false)"),
                    q(SHOWN),
                ],
            ),
            talk(
                "set_config by FunctionCall",
                [answered(1, [function_call(SET_CONFIG, &[b"work_mem", b"9MB", b"false"])]), q(SHOWN)],
            ),
            talk(
                "in a batch",
                [
                    batch([statement("SET work_mem = '2MB'", &[]), statement("SHOW work_mem", &[])]),
                    q(SHOWN),
                    batch([statement("SET work_mem = '3MB'", &[]), statement("SELECT 1/0", &[])]),
                    q(SHOWN),
                    batch([parse("s", "SET work_mem = '4MB'")]),
                    batch([bind("", "s", &[]), execute("", 0)]),
                    q(SHOWN),
                ],
            ),
            talk(
                "in one write with what follows",
                [
                    answered(3, [query("SET work_mem = '2MB'"), query("SHOW work_mem"), query("BEGIN")]),
                    q("SHOW work_mem"),
                    answered(2, [query("COMMIT"), query("SHOW work_mem")]),
                ],
            ),
            talk(
                "settings of nobody's",
                [
                    q("SET my.setting = 'mine'"),
                    q("SHOW my.setting"),
                    q("SELECT current_setting('my.setting', true)"),
                    q("BEGIN; SET my.other = 'x'; ROLLBACK"),
                    q("SHOW my.other"),
                    q("RESET my.setting"),
                    q("SELECT current_setting('my.setting', true)"),
                ],
            ),
            talk(
                "lists and quotes",
                [
                    q("SET search_path = \"$user\", public, \"Odd, name\", pg_catalog"),
                    q("SHOW search_path"),
                    q("SET search_path = ''"),
                    q("SHOW search_path"),
                    q("SET search_path TO notes, 'two words'"),
                    q("SHOW search_path"),
                    q("SET SCHEMA 'elsewhere'"),
                    q("SHOW search_path"),
                    q("SET DateStyle = 'German, DMY'"),
                    q("SELECT date '2024-02-01'"),
                    q("SET IntervalStyle = 'iso_8601'"),
                    q("SELECT interval '1 day 2 hours'"),
                ],
            ),
        ])
        .await;
}

/// `set_config`.
const SET_CONFIG: u32 = 2078;

#[tokio::test]
async fn roles_and_transaction_defaults_follow_their_session() {
    let shared = Shared::start().await;
    let who = "SELECT session_user, current_user, current_setting('role')";
    shared
        .agree([
            talk(
                "SET ROLE",
                [
                    q("SET ROLE app_md5"),
                    q(who),
                    q("SELECT 1"),
                    q(who),
                    q("BEGIN"),
                    q(who),
                    q("RESET ROLE"),
                    q(who),
                    q("ROLLBACK"),
                    q(who),
                    q("SET ROLE none"),
                    q(who),
                    q("SET ROLE postgres"),
                    q(who),
                    q("SELECT set_config('role', 'app_md5', false)"),
                    q(who),
                    q("RESET ALL"),
                    q(who),
                    q("SET SESSION AUTHORIZATION DEFAULT"),
                    q(who),
                ],
            ),
            talk(
                "SET SESSION AUTHORIZATION",
                [q("SET SESSION AUTHORIZATION app"), q(who), q("SET SESSION AUTHORIZATION postgres"), q(who)],
            ),
            talk(
                "a role in a batch, and a statement of a batch behind it",
                [
                    batch([parse("w", who)]),
                    batch([statement("SET ROLE app_md5", &[])]),
                    batch([bind("", "w", &[]), execute("", 0)]),
                    answered(2, [bind("", "w", &[]), execute("", 0), sync(), query(who)]),
                ],
            ),
            talk(
                "SESSION CHARACTERISTICS",
                [
                    q("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE \
                       READ, READ ONLY"),
                    q("SHOW transaction_isolation"),
                    q("SHOW transaction_read_only"),
                    q("BEGIN"),
                    q("SHOW transaction_isolation"),
                    q("INSERT INTO notes (word) VALUES ('x')"),
                    q("ROLLBACK"),
                    q("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE"),
                    q("SHOW default_transaction_read_only"),
                    q("RESET default_transaction_isolation"),
                    q("SHOW transaction_isolation"),
                ],
            ),
            talk(
                "a timeout",
                [
                    q("SET statement_timeout = '50ms'"),
                    q("SELECT pg_sleep(5)"),
                    q("SHOW statement_timeout"),
                    q("RESET statement_timeout"),
                    q("SELECT 1"),
                ],
            ),
        ])
        .await;
}

#[tokio::test]
async fn a_start_up_packets_settings_are_the_sessions_defaults() {
    let shared = Shared::start().await;
    let with = |what, startup: &[(&'static str, &'static str)]| {
        let mut talk = talk(
            what,
            [
                q(SHOWN),
                q("SHOW client_encoding"),
                q("SET application_name = 'changed'; SET TimeZone = 'Asia/Tokyo'; SET work_mem = '1MB'"),
                q(SHOWN),
                q("RESET application_name"),
                q(SHOWN),
                q("RESET ALL"),
                q(SHOWN),
                q("SET application_name = 'changed again'"),
                q("SET application_name TO DEFAULT"),
                q(SHOWN),
                q("BEGIN; SET application_name = 'rolled back'; ROLLBACK"),
                q(SHOWN),
                q("DISCARD ALL"),
                q(SHOWN),
            ],
        );
        talk.startup = startup.to_vec();
        talk
    };
    shared
        .agree([
            with("none", &[]),
            with("an application name", &[("application_name", "mine")]),
            with("an application name of odd bytes", &[("application_name", "n\u{e4}me 'x' \\ %")]),
            with("a time zone", &[("TimeZone", "Europe/Oslo")]),
            with(
                "options",
                &[("options", "-c work_mem=7MB -c search_path=notes,public -cTimeZone=Europe/Oslo")],
            ),
            with("options with a name", &[("options", "-c application_name=by\\ options")]),
            with(
                "a name twice",
                &[("options", "-c application_name=by_options"), ("application_name", "by itself")],
            ),
            with("an encoding", &[("client_encoding", "LATIN1")]),
            with("a date style", &[("DateStyle", "German")]),
            with("a parameter by another case", &[("datestyle", "German"), ("timezone", "UTC")]),
        ])
        .await;
}

#[tokio::test]
async fn clients_get_parameter_status_for_changes_only() {
    let shared = Shared::start().await;
    shared
        .agree([
            talk(
                "ParameterStatus",
                [
                    q("SET application_name = 'a'"),
                    q("SET application_name = 'a'"),
                    q("SET TimeZone = 'Asia/Tokyo'"),
                    q("SELECT 1"),
                    q("SET DateStyle = 'German'"),
                    q("SET IntervalStyle = 'iso_8601'"),
                    q("SET standard_conforming_strings = off"),
                    q("SELECT 'a\\'b'"),
                    q("SET standard_conforming_strings = on"),
                    q("SET default_transaction_read_only = on"),
                    q("RESET ALL"),
                    q("SELECT 1"),
                ],
            ),
            talk(
                "ParameterStatus and rollback",
                [
                    q("BEGIN"),
                    q("SET TimeZone = 'Asia/Tokyo'"),
                    q("ROLLBACK"),
                    q("BEGIN; SET LOCAL TimeZone = 'Asia/Tokyo'; SELECT 1; COMMIT; SELECT 2"),
                    q("BEGIN; SET TimeZone = 'Asia/Tokyo'; SELECT 1/0"),
                    q("ROLLBACK"),
                ],
            ),
            talk(
                "ParameterStatus in a batch",
                [
                    batch([
                        statement("SET TimeZone = 'Asia/Tokyo'", &[]),
                        statement("SET TimeZone = 'UTC'", &[]),
                    ]),
                    batch([statement("SET TimeZone = 'Asia/Tokyo'", &[]), statement("SELECT 1/0", &[])]),
                    until_tag(
                        b::COMMAND_COMPLETE,
                        [statement("SET TimeZone = 'Asia/Tokyo'", &[]), crate::harness::frames::flush()],
                    ),
                    vec![Turn::Say(sync()), Turn::Hear(b::READY_FOR_QUERY)],
                ],
            ),
            talk(
                "encodings",
                [
                    q("SET client_encoding = 'LATIN1'"),
                    q("SELECT chr(228), U&'\\00e9'"),
                    batch([statement("SELECT $1::text, length($1)", &[b"\xe4\xf6"])]),
                    batch([parse("s", "SELECT chr(228)"), describe(b'S', "s")]),
                    q("SET NAMES 'UTF8'"),
                    batch([bind("", "s", &[]), execute("", 0)]),
                    q("SELECT chr(228)"),
                    q("SET client_encoding = 'SQL_ASCII'"),
                    q("SELECT chr(228)"),
                    q("SET client_encoding = 'SJIS'"),
                    q("SELECT chr(34920), U&'\\8868' AS t"),
                    batch([statement("SELECT $1::text, length($1)", &[b"\x95\x5c\x82\xa0"])]),
                    q("SET work_mem = '2MB'"),
                    q("SELECT U&'\\8868' || current_setting('work_mem')"),
                    q("SET application_name = 'x'"),
                    q("RESET client_encoding"),
                    q("SELECT chr(34920)"),
                    q("SELECT chr(1234567)"),
                ],
            ),
        ])
        .await;
}
