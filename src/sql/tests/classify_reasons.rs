//! The classifier against tables of texts.

use proptest::{prelude::*, sample::select};

use super::{
    super::{
        Classification, Classifier, ClassifierOptions, ClassifyReason, Hint, LexicalSettings, SchemaInfo,
        SchemaInfoBuilder, StatementAccess, TransactionControl, TransactionModes, classifier::TEXT_MAX,
    },
    case,
};

const STANDARD: LexicalSettings = LexicalSettings { standard_strings: true, utf8: true };
const NONSTANDARD: LexicalSettings = LexicalSettings { standard_strings: false, utf8: true };

/// The database of the tables.
fn schema_info() -> SchemaInfo {
    let mut builder = SchemaInfoBuilder::new();
    for line in include_str!("../../../tests/data/classifier/schema.txt").lines() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let columns: Vec<&[u8]> = line
            .split("  ")
            .filter(|column| !column.is_empty())
            .map(|column| if column.trim() == "-" { &b""[..] } else { column.trim().as_bytes() })
            .collect();
        builder.row(&columns).unwrap_or_else(|_| panic!("`{line}` is no row"));
    }
    builder.build(1)
}

fn classifier() -> Classifier {
    Classifier::new(&ClassifierOptions {
        primary_only: vec![(Some("public".to_owned()), "ledger".to_owned())],
        ..Default::default()
    })
}

fn judge(table: &str, lexical: LexicalSettings) {
    let (classifier, schema_info) = (classifier(), schema_info());
    let mut wrong = Vec::new();
    for (wanted, text) in table.lines().filter_map(case) {
        // Cold, by template or text, and remembered.
        for time in ["first", "second"] {
            let classification = classifier.classify(text.as_bytes(), &lexical, &schema_info);
            if classification.reason.as_str() != wanted {
                wrong.push(format!("{time}: {} instead of {wanted}: {text}", classification.reason.as_str()));
            }
        }
        let (explained, _) = classifier.explain(text.as_bytes(), &lexical, &schema_info);
        let classification = classifier.classify(text.as_bytes(), &lexical, &schema_info);
        if (explained.access, explained.reason) != (classification.access, classification.reason) {
            wrong.push(format!("explained as {}: {text}", explained.reason.as_str()));
        }
        if classification.may_leave_primary() != (classification.reason == ClassifyReason::Read) {
            wrong.push(format!("{:?}: {text}", classification.access));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_text_has_exactly_its_reason() {
    judge(include_str!("../../../tests/data/classifier/reasons.txt"), STANDARD);
}

#[test]
fn texts_that_look_like_reads_are_seen_through() {
    judge(include_str!("../../../tests/data/classifier/attacks.txt"), STANDARD);
}

#[test]
fn strings_are_read_as_the_session_has_them() {
    judge(include_str!("../../../tests/data/classifier/nonstandard.txt"), NONSTANDARD);
}

fn classify_bytes(text: &[u8], lexical: LexicalSettings) -> Classification {
    classifier().classify(text, &lexical, &schema_info())
}

#[test]
fn nothing_is_taken_for_known_before_the_database_was_read() {
    let classifier = classifier();
    let reason = |text: &str| classifier.classify(text.as_bytes(), &STANDARD, &SchemaInfo::empty()).reason;
    assert_eq!(reason("SELECT * FROM t"), ClassifyReason::UnknownRelation);
    assert_eq!(reason("SELECT harmless()"), ClassifyReason::UnknownFunction);
    assert_eq!(reason("SELECT 1::mood"), ClassifyReason::UnknownRelation);
    assert_eq!(reason("SELECT count(*) FROM pg_class"), ClassifyReason::Read);
}

#[test]
fn another_edition_of_the_catalogues_is_asked_anew() {
    let classifier = classifier();
    let text = b"SELECT nobody_knows(1)";
    assert_eq!(classifier.classify(text, &STANDARD, &schema_info()).reason, ClassifyReason::UnknownFunction);
    let mut builder = SchemaInfoBuilder::new();
    builder.row(&[b"f", b"public", b"nobody_knows", b"", b"1", b"1", b""]).unwrap();
    assert_eq!(classifier.classify(text, &STANDARD, &builder.build(2)).reason, ClassifyReason::Read);
}

#[test]
fn what_a_standby_refused_stays_on_the_primary_whatever_its_literals_are() {
    let (classifier, schema_info) = (classifier(), schema_info());
    let classify_text = |text: &str| classifier.classify(text.as_bytes(), &STANDARD, &schema_info);
    assert!(classify_text("SELECT a FROM t WHERE b = 1").may_leave_primary());
    classifier.learn_write(b"SELECT a FROM t WHERE b = 1", &STANDARD);
    classifier.learn_write(b"SELECT a FROM t WHERE b = $1", &STANDARD);
    for text in
        ["SELECT a FROM t WHERE b = 1", "SELECT a FROM t WHERE b = 22", "SELECT a FROM t WHERE b = $1"]
    {
        assert_eq!(
            (classify_text(text).access, classify_text(text).reason),
            (StatementAccess::Unproven, ClassifyReason::LearnedWrite),
            "{text}"
        );
    }
    assert!(classify_text("SELECT a FROM t WHERE c = 1").may_leave_primary());
    assert_eq!(classifier.learned(), 2);
    for number in 0..5000 {
        classifier.learn_write(format!("SELECT c{number} FROM t").as_bytes(), &STANDARD);
    }
    assert_eq!(classifier.learned(), 1024);
}

#[test]
fn bytes_that_cannot_be_judged_are_doubt() {
    let sjis = LexicalSettings { utf8: false, ..STANDARD };
    assert_eq!(classify_bytes(b"SELECT '\x83\x27; DELETE FROM t --'", sjis).reason, ClassifyReason::Encoding);
    assert_eq!(classify_bytes("SELECT 'ä'".as_bytes(), sjis).reason, ClassifyReason::Encoding);
    assert_eq!(classify_bytes(b"SELECT 1", sjis).reason, ClassifyReason::Read);
    assert_eq!(
        classify_bytes("SELECT 'ä', \"ö\" FROM (SELECT 1 AS \"ö\") x".as_bytes(), STANDARD).reason,
        ClassifyReason::Read
    );
    assert_eq!(classify_bytes(b"SELECT '\xff'", STANDARD).reason, ClassifyReason::Encoding);
    assert_eq!(classify_bytes(b"SELECT 1\0; DELETE FROM t", STANDARD).access, StatementAccess::Unproven);
}

#[test]
fn a_text_that_is_too_long_is_doubt_unless_its_template_is_known() {
    let (classifier, schema_info) = (classifier(), schema_info());
    let long = format!("SELECT '{}' FROM t", "x".repeat(TEXT_MAX));
    assert_eq!(classifier.classify(long.as_bytes(), &STANDARD, &schema_info).reason, ClassifyReason::TooLong);
    assert!(classifier.classify(b"SELECT 'x' FROM t", &STANDARD, &schema_info).may_leave_primary());
    assert!(classifier.classify(long.as_bytes(), &STANDARD, &schema_info).may_leave_primary());
}

#[test]
fn what_a_text_says_about_transactions_is_told() {
    let modes = |read_only, serializable| TransactionModes { read_only, serializable };
    for (text, wanted) in [
        ("SELECT 1", TransactionControl::None),
        ("BEGIN", TransactionControl::Begin(modes(None, None))),
        ("BEGIN READ ONLY", TransactionControl::Begin(modes(Some(true), None))),
        (
            "START TRANSACTION READ WRITE, ISOLATION LEVEL SERIALIZABLE",
            TransactionControl::Begin(modes(Some(false), Some(true))),
        ),
        ("BEGIN ISOLATION LEVEL READ COMMITTED", TransactionControl::Begin(modes(None, Some(false)))),
        ("SET TRANSACTION READ ONLY", TransactionControl::SetTransaction(modes(Some(true), None))),
        (
            "SET TRANSACTION READ ONLY; SET TRANSACTION READ WRITE",
            TransactionControl::SetTransaction(modes(Some(false), None)),
        ),
        ("COMMIT", TransactionControl::Commit { chain: false }),
        ("END AND CHAIN", TransactionControl::Commit { chain: true }),
        ("ABORT", TransactionControl::Rollback { chain: false }),
        ("SAVEPOINT a; RELEASE a", TransactionControl::Savepoint),
        (
            "BEGIN READ ONLY; SAVEPOINT a; SELECT 1; COMMIT",
            TransactionControl::Whole(modes(Some(true), None)),
        ),
        ("BEGIN; SELECT 1; ROLLBACK", TransactionControl::Whole(modes(None, None))),
        ("BEGIN; SELECT 1", TransactionControl::Mixed),
        ("COMMIT; SELECT 1", TransactionControl::Mixed),
        ("INSERT INTO t VALUES (1); COMMIT", TransactionControl::Mixed),
        ("SELEC", TransactionControl::Mixed),
    ] {
        assert_eq!(classify_bytes(text.as_bytes(), STANDARD).control, wanted, "{text}");
    }
}

#[test]
fn control_that_might_write_is_no_read() {
    for (text, access) in [
        ("BEGIN", StatementAccess::Read),
        ("BEGIN READ ONLY", StatementAccess::Read),
        ("COMMIT", StatementAccess::Read),
        ("BEGIN READ WRITE", StatementAccess::Unproven),
        ("BEGIN; SELECT 1; COMMIT", StatementAccess::Unproven),
        ("SELECT 1; COMMIT", StatementAccess::Unproven),
    ] {
        assert_eq!(classify_bytes(text.as_bytes(), STANDARD).access, access, "{text}");
    }
}

#[test]
fn hints_are_read_from_the_comments_in_front() {
    for (text, wanted) in [
        ("/* gatekeeper: route=primary */ SELECT 1", Some(Hint::Primary)),
        (" -- x\n /*GATEKEEPER: Route=Read*/SELECT 1", Some(Hint::Read)),
        ("-- gatekeeper: route=read\nSELECT 1", None),
        ("SELECT 1 /* gatekeeper: route=primary */", None),
        ("/* x /* gatekeeper: route=primary */ */ SELECT 1", None),
        ("/* gatekeeper: route=nowhere */ SELECT 1", None),
        ("/* gatekeeper: route=primary", None),
    ] {
        assert_eq!(classify_bytes(text.as_bytes(), STANDARD).hint, wanted, "{text}");
    }
}

#[test]
fn every_ground_has_a_name_of_its_own_and_stands_in_order() {
    assert!(
        ClassifyReason::ALL.windows(2).all(|pair| pair[0] < pair[1] && pair[0].access() <= pair[1].access())
    );
    let names: std::collections::BTreeSet<_> =
        ClassifyReason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(names.len(), ClassifyReason::ALL.len());
}

#[test]
fn what_is_decided_of_functions_is_asked_of_servers_too() {
    let sql = super::super::schema_info_sql(&[]);
    for name in super::super::builtin::override_names() {
        assert!(
            sql.contains(&format!("{name},"))
                || sql.contains(&format!("{name}}}"))
                || sql.contains(&format!("{name}|")),
            "`{name}` is missing in schema_info.sql"
        );
    }
}

#[test]
fn what_is_remembered_is_bounded() {
    let (classifier, schema_info) =
        (Classifier::new(&ClassifierOptions { memory: 256 << 10, ..Default::default() }), schema_info());
    for number in 0..20_000 {
        let _ =
            classifier.classify(format!("SELECT a AS c{number} FROM t").as_bytes(), &STANDARD, &schema_info);
        let _ = classifier.classify(
            format!("SELECT a AS c{number} FROM t WHERE a = 1").as_bytes(),
            &STANDARD,
            &schema_info,
        );
    }
    assert!(classifier.cached_bytes() <= 256 << 10, "{}", classifier.cached_bytes());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// A cached template must not permit more than the text.
    #[test]
    fn a_template_never_lets_a_text_leave_that_would_not_leave_by_itself(
        parts in prop::collection::vec((select(PIECES), select(BETWEEN)), 1..7),
        others in prop::collection::vec((select(PIECES), select(BETWEEN)), 1..7),
    ) {
        let text = |parts: &[(&str, &str)]| -> String { parts.iter().flat_map(|(piece, gap)| [*piece, *gap]).collect() };
        let (known, schema_info) = (classifier(), schema_info());
        for other in [text(&others), text(&parts).replace('1', "'x'"), text(&parts).replace("'x'", "1")] {
            let _ = known.classify(other.as_bytes(), &STANDARD, &schema_info);
        }
        let text = text(&parts);
        let warm = known.classify(text.as_bytes(), &STANDARD, &schema_info);
        let cold = classifier().classify(text.as_bytes(), &STANDARD, &schema_info);
        prop_assert!(!warm.may_leave_primary() || cold.may_leave_primary() || cold.reason == ClassifyReason::Unparsable, "{text}");
        prop_assert_eq!(warm.hint, cold.hint);
    }
}

const PIECES: &[&str] = &[
    "SELECT",
    "1",
    "'x'",
    "E'y'",
    "a",
    "FROM t",
    "WHERE a = 1",
    "nextval('x')",
    "INTO",
    ";",
    "DELETE FROM t",
    "(",
    ")",
    ",",
    "$1",
    "\"b\"",
    "FOR UPDATE",
    "UNION",
    "set_config('a', 'b', true)",
    "WITH",
    "x AS (SELECT 1)",
    "::",
    "text",
    "U&'x'",
    "$$z$$",
    "-1",
    "<",
    "=",
    "1.5",
    "1e5",
    "0x1F",
    "/* gatekeeper: route=primary */",
    "current_setting('a.b')",
];

const BETWEEN: &[&str] = &["", " ", "\n", "\r", "--\r", "/* */", "-- x\n", "/* ' */"];
