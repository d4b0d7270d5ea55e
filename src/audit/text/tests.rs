mod planted;

use std::time::Duration;

use super::*;
use crate::audit::{AuditLevel, AuditOutput, OnFull, SyncPolicy};

fn settings(statements: StatementText) -> AuditSettings {
    AuditSettings {
        output: AuditOutput::Stdout,
        level: AuditLevel::Statements,
        statements,
        on_full: OnFull::Block,
        queue: 8,
        block_timeout: Duration::from_secs(1),
        rotate_bytes: None,
        max_text: 8 << 10,
        sync: SyncPolicy::Never,
        hash_chain: false,
    }
}

fn show(statements: StatementText, sent: impl AsRef<[u8]>) -> RenderedText {
    let settings = settings(statements);
    let text = QueryText::capture_text(&settings, sent.as_ref(), false).expect("these settings want text");
    (*TextRenderer::new(&settings).show(&text)).clone()
}

fn normalized(sent: &str) -> String {
    show(StatementText::Normalized, sent).text.expect("it can be normalized").into()
}

#[test]
fn literals_and_comments_do_not_reach_the_log_whatever_the_statement() {
    for (sent, expected) in [
        ("SELECT 1", "SELECT $1"),
        ("select *\n  from t where id = $2 and a='x'", "select * from t where id = $2 and a=$3"),
        ("SELECT 1 /* card 4111 */, 'x' -- ssn 12\n, 2", "SELECT $1 , $2 , $3"),
        ("SELECT/* a /* nested */ b */1", "SELECT $1"),
        (
            "SELECT E'it\\'s', U&'\\0061' UESCAPE '!', x'1F', b'01', 1.5e3, -1, $tag$a'b$tag$",
            "SELECT $1, $2 UESCAPE $3, $4, $5, $6, -$7, $8",
        ),
        ("SELECT 'a'\n'b'", "SELECT $1"),
        ("SELECT \"Column 1\" FROM \"a\"\"b\"", "SELECT \"Column 1\" FROM \"a\"\"b\""),
        ("DO $$ BEGIN PERFORM 'x'; END $$", "DO $1"),
        (
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $f$ SELECT 42 $f$",
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $1",
        ),
        ("EXECUTE p(4111111111111111, 'a')", "EXECUTE p($1, $2)"),
        ("COPY t FROM PROGRAM 'curl -u me:pw'", "COPY t FROM PROGRAM $1"),
        ("COMMENT ON TABLE t IS 'x'", "COMMENT ON TABLE t IS $1"),
        ("CREATE TABLE t (a text DEFAULT 'x')", "CREATE TABLE t (a text DEFAULT $1)"),
        ("BEGIN; INSERT INTO t VALUES (1); COMMIT", "BEGIN; INSERT INTO t VALUES ($1); COMMIT"),
        ("selec 'oops' frm 12", "selec $1 frm $2"),
        ("", ""),
        (" \t\n\r\u{b}\u{c}", ""),
        ("/* only */ -- comments", ""),
    ] {
        assert_eq!(normalized(sent), expected, "{sent}");
    }
}

/// The text sent, its secret, the normalized text, and the full text.
const SECRETS: [(&str, &str, &str, &str); 12] = [
    (
        "ALTER ROLE bob PASSWORD 'hunter2'",
        "hunter2",
        "ALTER ROLE bob PASSWORD $1",
        "ALTER ROLE bob PASSWORD $1",
    ),
    (
        "create user u with encrypted password 'hunter2' valid until '2030-01-01'",
        "hunter2",
        "create user u with encrypted password $1 valid until $2",
        "create user u with encrypted password $1 valid until $2",
    ),
    (
        "ALTER USER a PASSWORD $x$hunter2$x$; SELECT 'seen'",
        "hunter2",
        "ALTER USER a PASSWORD $1; SELECT $2",
        "ALTER USER a PASSWORD $1; SELECT $2",
    ),
    (
        "ALTER ROLE bob PASSWORD NULL",
        "hunter2",
        "ALTER ROLE bob PASSWORD NULL",
        "ALTER ROLE bob PASSWORD NULL",
    ),
    // Bare words, valid or not.
    (
        "ALTER ROLE bob PASSWORD hunter2 x; SELECT 1",
        "hunter2",
        "ALTER ROLE bob PASSWORD [redacted]; SELECT $1",
        "ALTER ROLE bob PASSWORD [redacted]; SELECT $1",
    ),
    ("SET app.password = hunter2", "hunter2", "SET app.password [redacted]", "SET app.password [redacted]"),
    (
        "SET app.db_password TO /* x */ hunter2",
        "hunter2",
        "SET app.db_password [redacted]",
        "SET app.db_password [redacted]",
    ),
    (
        "ALTER SYSTEM SET x.secret = hunter2",
        "hunter2",
        "ALTER SYSTEM SET x.secret [redacted]",
        "ALTER SYSTEM SET x.secret [redacted]",
    ),
    ("SET my.password = 'hunter2'", "hunter2", "SET my.password = $1", "SET my.password = $1"),
    (
        "CREATE USER MAPPING FOR a SERVER s OPTIONS (user 'a', password 'hunter2')",
        "hunter2",
        "CREATE USER MAPPING FOR a SERVER s OPTIONS (user $1, password $2)",
        "CREATE USER MAPPING FOR a SERVER s OPTIONS (user $1, password $2)",
    ),
    ("SELECT dblink('host=h password=hunter2')", "hunter2", "SELECT dblink($1)", "SELECT dblink($1)"),
    (
        "SELECT set_config('app.token', 'hunter2', false)",
        "hunter2",
        "SELECT set_config($1, $2, false)",
        "SELECT set_config($1, $2, false)",
    ),
];

#[test]
fn passwords_never_reach_the_log() {
    for (sent, secret, as_normalized, in_full) in SECRETS {
        assert_eq!(normalized(sent), as_normalized, "{sent}");
        let full = show(StatementText::Full, sent);
        assert_eq!(full.text.as_deref(), Some(in_full), "{sent}");
        assert!(full.redacted, "{sent}");
        assert!(!in_full.contains(secret) && !as_normalized.contains(secret));
    }
}

/// All contain the secret `hunter2`, which no level may show.
const CARRIERS: [&str; 27] = [
    "ALTER ROLE bob PASSWORD 'hunter2'",
    "alter/**/role bob encrypted password 'hunter2'",
    "ALTER ROLE bob PASSWORD \"hunter2\"",
    "CREATE ROLE bob LOGIN PASSWORD 'hunter2' IN ROLE a",
    "CREATE USER bob PASSWORD E'hunter2'",
    "CREATE GROUP bob PASSWORD 'hunter2'",
    "CREATE USER MAPPING FOR a SERVER s OPTIONS (\"password\" 'hunter2')",
    "CREATE USER MAPPING FOR a SERVER s OPTIONS (U&\"\\0070assword\" 'hunter2')",
    "ALTER USER MAPPING FOR a SERVER s OPTIONS (SET key 'hunter2')",
    "CREATE SERVER s FOREIGN DATA WRAPPER w OPTIONS (password 'hunter2')",
    "ALTER SERVER s OPTIONS (ADD pw 'hunter2')",
    "CREATE FOREIGN TABLE t (a int) SERVER s OPTIONS (key 'hunter2')",
    "CREATE SUBSCRIPTION s CONNECTION 'postgresql://me:hunter2@host/db' PUBLICATION p",
    "CREATE SUBSCRIPTION s CONNECTION \"host=h password=hunter2\" PUBLICATION p",
    "ALTER SUBSCRIPTION s CONNECTION 'host=h pass'\n'word=hunter2'",
    "ALTER SYSTEM SET primary_conninfo = 'user=me pwd=hunter2'",
    "SET my.password = 'hunter2'",
    "SET LOCAL my.password TO hunter2",
    "SET SESSION \"my.secret\" = \"hunter2\"",
    "SELECT set_config('my.password', 'hunter2', false)",
    "SELECT * FROM dblink('postgres://me:hunter2@h/d', 'SELECT 1') AS t(a int)",
    "SELECT dblink_connect('c', 'host=h password=hunter2')",
    "SELECT public.connect('postgres://me:hunter2@h/d')",
    "SELECT connect(E'host=h p\\x61ssword=hunter2'), 'a'",
    "SELECT connect(U&'host=h p\\0061ssword=hunter2')",
    "SELECT pgp_sym_encrypt(body, 'hunter2') FROM t",
    "DO $$ BEGIN EXECUTE 'ALTER ROLE bob PASSWORD ''hunter2'''; END $$",
];

#[test]
fn statements_that_carry_passwords_are_redacted_at_every_level() {
    for sent in CARRIERS {
        // Also as the middle one of three statements, and with a truncated end.
        let among = format!("SELECT 1; {sent}; SELECT 2");
        let broken = format!("{sent} '");
        for sent in [sent, &among, &broken] {
            for level in [StatementText::Fingerprint, StatementText::Normalized, StatementText::Full] {
                let shown = show(level, sent);
                assert!(!format!("{shown:?}").contains("hunter2"), "{sent} at {level:?}: {shown:?}");
                let is_marked = shown.redacted || level != StatementText::Full;
                assert!(is_marked, "{sent} at {level:?} does not say that it was redacted: {shown:?}");
            }
        }
    }
}

#[test]
fn a_fingerprint_does_not_tell_a_password() {
    for sent in CARRIERS {
        // Names in the place of literals change the statement, so only the secret is checked.
        if !sent.contains("\"hunter2\"") && !sent.contains(" hunter2") {
            let of = |password: &str| show(StatementText::Fingerprint, sent.replace("hunter2", password));
            assert_eq!(of("hunter2"), of("secret7"), "{sent}");
        }
    }
}

#[test]
fn a_column_named_like_a_secret_is_no_secret() {
    for sent in
        ["SELECT password FROM users", "CREATE TABLE users (password text)", "UPDATE t SET token = other"]
    {
        assert_eq!(normalized(sent), sent);
    }
}

#[test]
fn full_shows_the_text_as_it_was_sent() {
    let sent = "SELECT  'x' -- why\n, 12";
    assert_eq!(
        show(StatementText::Full, sent),
        RenderedText { text: Some(sent.into()), ..RenderedText::default() }
    );
    let shown = show(StatementText::Full, b"SELECT '\xff'");
    assert_eq!(shown.text.as_deref(), Some("SELECT '\u{fffd}'"));
}

#[test]
fn a_password_in_text_that_cannot_be_read_is_cut_off_even_in_full() {
    for sent in ["ALTER ROLE bob PASSWORD 'hunter2", "SELECT 'a\\', 'PASSWORD ', hunter2"] {
        let shown = show(StatementText::Full, sent);
        assert!(shown.redacted);
        let text = shown.text.unwrap();
        assert!(text.ends_with("[redacted]") && !text.contains("hunter2"), "{text}");
    }
}

#[test]
fn what_cannot_be_normalized_safely_is_withheld_with_the_reason() {
    let long = format!("SELECT '{}'", "x".repeat(MAX_PARSED_BYTES));
    for (sent, withheld) in [
        ("SELECT 'unterminated", Withheld::Unreadable),
        // With standard_conforming_strings off, `secret` stands inside the second string.
        ("SELECT 'a\\'', ' secret ', 'x', '\\''", Withheld::Ambiguous),
        (&*long, Withheld::TooLong),
    ] {
        let shown = show(StatementText::Normalized, sent);
        assert_eq!(shown, RenderedText { withheld: Some(withheld), ..RenderedText::default() }, "{sent:.40}");
    }
    assert_eq!(show(StatementText::Normalized, b"SELECT '\xff'").withheld, Some(Withheld::Unreadable));
    assert_eq!(show(StatementText::Normalized, "SELECT 1\0").withheld, Some(Withheld::Unreadable));
}

#[test]
fn a_fingerprint_is_the_same_for_statements_that_differ_in_literals_only() {
    let fingerprint = |sent: &str| show(StatementText::Fingerprint, sent).fingerprint;
    assert!(fingerprint("SELECT a FROM t WHERE b = 1").is_some());
    assert_eq!(fingerprint("SELECT a FROM t WHERE b = 1"), fingerprint("select a from t where b = 2"));
    assert_ne!(fingerprint("SELECT a FROM t WHERE b = 1"), fingerprint("SELECT a FROM t WHERE c = 1"));
    assert_eq!(show(StatementText::Fingerprint, "SELECT FROM WHERE").withheld, Some(Withheld::Unreadable));
    for utility in
        ["DO '{}'", "COMMENT ON TABLE t IS '{}'", "SET a.b = '{}'", "NOTIFY c, '{}'", "EXECUTE p('{}')"]
    {
        let of = |literal: &str| fingerprint(&utility.replace("{}", literal));
        assert_eq!(of("one"), of("two"), "{utility}");
    }
}

#[test]
fn text_is_cut_between_characters_and_says_so() {
    let mut settings = settings(StatementText::Full);
    settings.max_text = 10;
    let show = |sent: &str| {
        TextRenderer::new(&settings)
            .show(&QueryText::capture_text(&settings, sent.as_bytes(), false).unwrap())
    };
    let shown = show("SELECT aéb");
    assert_eq!((shown.text.as_deref(), shown.truncated), (Some("SELECT aé"), true), "é is two bytes");
    let shown = show("SELECT abc");
    assert_eq!((shown.text.as_deref(), shown.truncated), (Some("SELECT abc"), false));
}

#[test]
fn no_more_is_kept_of_a_long_statement_than_may_be_written() {
    for (statements, kept) in [(StatementText::Normalized, 0), (StatementText::Full, MAX_PARSED_BYTES)] {
        let text = QueryText::capture_text(&settings(statements), &vec![b'x'; 10 << 20], false).unwrap();
        assert_eq!((text.weight(), text.cut), (kept, true));
    }
    assert!(QueryText::capture_text(&settings(StatementText::None), b"SELECT 1", false).is_none());
}

#[test]
fn hostile_texts_neither_crash_the_scanner_nor_show_a_literal() {
    for part in ["(", "1+", "SELECT(", "::int", "NOT ", "/*", "$$", "'", "\"", "\\", "U&", "\u{1F512}"] {
        let sent = part.repeat(MAX_PARSED_BYTES / part.len());
        let shown = show(StatementText::Normalized, &sent);
        assert!(shown.text.is_some() != shown.withheld.is_some(), "{part}");
    }
}
