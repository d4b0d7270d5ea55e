//! The classifier against tables of texts.

use proptest::{prelude::*, sample::select};

use super::{
    super::{
        Access, Classification, Classifier, ClassifierOptions, Control, Ground, Hint, Knowledge,
        KnowledgeBuilder, Meaning, Modes, classifier::TEXT_MAX,
    },
    case,
};

const STANDARD: Meaning = Meaning { standard_strings: true, utf8: true };
const NONSTANDARD: Meaning = Meaning { standard_strings: false, utf8: true };

/// The database of the tables.
fn knowledge() -> Knowledge {
    let mut builder = KnowledgeBuilder::new();
    for line in include_str!("../../../tests/data/classifier/knowledge.txt").lines() {
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

fn judge(table: &str, meaning: Meaning) {
    let (classifier, knowledge) = (classifier(), knowledge());
    let mut wrong = Vec::new();
    for (wanted, text) in table.lines().filter_map(case) {
        // Cold, by template or text, and remembered.
        for time in ["first", "second"] {
            let said = classifier.classify(text.as_bytes(), &meaning, &knowledge);
            if said.ground.as_str() != wanted {
                wrong.push(format!("{time}: {} instead of {wanted}: {text}", said.ground.as_str()));
            }
        }
        let (explained, _) = classifier.explain(text.as_bytes(), &meaning, &knowledge);
        let said = classifier.classify(text.as_bytes(), &meaning, &knowledge);
        if (explained.access, explained.ground) != (said.access, said.ground) {
            wrong.push(format!("explained as {}: {text}", explained.ground.as_str()));
        }
        if said.may_leave_primary() != (said.ground == Ground::Read) {
            wrong.push(format!("{:?}: {text}", said.access));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn texts_are_judged_on_exactly_these_grounds() {
    judge(include_str!("../../../tests/data/classifier/grounds.txt"), STANDARD);
}

#[test]
fn texts_that_look_like_reads_are_seen_through() {
    judge(include_str!("../../../tests/data/classifier/attacks.txt"), STANDARD);
}

#[test]
fn strings_are_read_as_the_session_has_them() {
    judge(include_str!("../../../tests/data/classifier/nonstandard.txt"), NONSTANDARD);
}

fn said(text: &[u8], meaning: Meaning) -> Classification {
    classifier().classify(text, &meaning, &knowledge())
}

#[test]
fn nothing_is_taken_for_known_before_the_database_was_read() {
    let classifier = classifier();
    let ground = |text: &str| classifier.classify(text.as_bytes(), &STANDARD, &Knowledge::empty()).ground;
    assert_eq!(ground("SELECT * FROM t"), Ground::UnknownRelation);
    assert_eq!(ground("SELECT harmless()"), Ground::UnknownFunction);
    assert_eq!(ground("SELECT 1::mood"), Ground::UnknownRelation);
    assert_eq!(ground("SELECT count(*) FROM pg_class"), Ground::Read);
}

#[test]
fn another_edition_of_the_catalogues_is_asked_anew() {
    let classifier = classifier();
    let text = b"SELECT nobody_knows(1)";
    assert_eq!(classifier.classify(text, &STANDARD, &knowledge()).ground, Ground::UnknownFunction);
    let mut builder = KnowledgeBuilder::new();
    builder.row(&[b"f", b"public", b"nobody_knows", b"", b"1", b"1", b""]).unwrap();
    assert_eq!(classifier.classify(text, &STANDARD, &builder.build(2)).ground, Ground::Read);
}

#[test]
fn what_a_standby_refused_stays_on_the_primary_whatever_its_literals_are() {
    let (classifier, knowledge) = (classifier(), knowledge());
    let says = |text: &str| classifier.classify(text.as_bytes(), &STANDARD, &knowledge);
    assert!(says("SELECT a FROM t WHERE b = 1").may_leave_primary());
    classifier.learn_write(b"SELECT a FROM t WHERE b = 1", &STANDARD);
    classifier.learn_write(b"SELECT a FROM t WHERE b = $1", &STANDARD);
    for text in
        ["SELECT a FROM t WHERE b = 1", "SELECT a FROM t WHERE b = 22", "SELECT a FROM t WHERE b = $1"]
    {
        assert_eq!((says(text).access, says(text).ground), (Access::Doubt, Ground::LearnedWrite), "{text}");
    }
    assert!(says("SELECT a FROM t WHERE c = 1").may_leave_primary());
    assert_eq!(classifier.learned(), 2);
    for number in 0..5000 {
        classifier.learn_write(format!("SELECT c{number} FROM t").as_bytes(), &STANDARD);
    }
    assert_eq!(classifier.learned(), 1024);
}

#[test]
fn bytes_that_cannot_be_judged_are_doubt() {
    let sjis = Meaning { utf8: false, ..STANDARD };
    assert_eq!(said(b"SELECT '\x83\x27; DELETE FROM t --'", sjis).ground, Ground::Encoding);
    assert_eq!(said("SELECT 'ä'".as_bytes(), sjis).ground, Ground::Encoding);
    assert_eq!(said(b"SELECT 1", sjis).ground, Ground::Read);
    assert_eq!(
        said("SELECT 'ä', \"ö\" FROM (SELECT 1 AS \"ö\") x".as_bytes(), STANDARD).ground,
        Ground::Read
    );
    assert_eq!(said(b"SELECT '\xff'", STANDARD).ground, Ground::Encoding);
    assert_eq!(said(b"SELECT 1\0; DELETE FROM t", STANDARD).access, Access::Doubt);
}

#[test]
fn a_text_that_is_too_long_is_doubt_unless_its_template_is_known() {
    let (classifier, knowledge) = (classifier(), knowledge());
    let long = format!("SELECT '{}' FROM t", "x".repeat(TEXT_MAX));
    assert_eq!(classifier.classify(long.as_bytes(), &STANDARD, &knowledge).ground, Ground::TooLong);
    assert!(classifier.classify(b"SELECT 'x' FROM t", &STANDARD, &knowledge).may_leave_primary());
    assert!(classifier.classify(long.as_bytes(), &STANDARD, &knowledge).may_leave_primary());
}

#[test]
fn what_a_text_says_about_transactions_is_told() {
    let modes = |read_only, serializable| Modes { read_only, serializable };
    for (text, wanted) in [
        ("SELECT 1", Control::None),
        ("BEGIN", Control::Begin(modes(None, None))),
        ("BEGIN READ ONLY", Control::Begin(modes(Some(true), None))),
        (
            "START TRANSACTION READ WRITE, ISOLATION LEVEL SERIALIZABLE",
            Control::Begin(modes(Some(false), Some(true))),
        ),
        ("BEGIN ISOLATION LEVEL READ COMMITTED", Control::Begin(modes(None, Some(false)))),
        ("SET TRANSACTION READ ONLY", Control::SetTransaction(modes(Some(true), None))),
        (
            "SET TRANSACTION READ ONLY; SET TRANSACTION READ WRITE",
            Control::SetTransaction(modes(Some(false), None)),
        ),
        ("COMMIT", Control::Commit { chain: false }),
        ("END AND CHAIN", Control::Commit { chain: true }),
        ("ABORT", Control::Rollback { chain: false }),
        ("SAVEPOINT a; RELEASE a", Control::Savepoint),
        ("BEGIN READ ONLY; SAVEPOINT a; SELECT 1; COMMIT", Control::Whole(modes(Some(true), None))),
        ("BEGIN; SELECT 1; ROLLBACK", Control::Whole(modes(None, None))),
        ("BEGIN; SELECT 1", Control::Mixed),
        ("COMMIT; SELECT 1", Control::Mixed),
        ("INSERT INTO t VALUES (1); COMMIT", Control::Mixed),
        ("SELEC", Control::Mixed),
    ] {
        assert_eq!(said(text.as_bytes(), STANDARD).control, wanted, "{text}");
    }
}

#[test]
fn control_that_might_write_is_no_read() {
    for (text, access) in [
        ("BEGIN", Access::Read),
        ("BEGIN READ ONLY", Access::Read),
        ("COMMIT", Access::Read),
        ("BEGIN READ WRITE", Access::Doubt),
        ("BEGIN; SELECT 1; COMMIT", Access::Doubt),
        ("SELECT 1; COMMIT", Access::Doubt),
    ] {
        assert_eq!(said(text.as_bytes(), STANDARD).access, access, "{text}");
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
        assert_eq!(said(text.as_bytes(), STANDARD).hint, wanted, "{text}");
    }
}

#[test]
fn every_ground_has_a_name_of_its_own_and_stands_in_order() {
    assert!(Ground::ALL.windows(2).all(|pair| pair[0] < pair[1] && pair[0].access() <= pair[1].access()));
    let names: std::collections::BTreeSet<_> = Ground::ALL.iter().map(|ground| ground.as_str()).collect();
    assert_eq!(names.len(), Ground::ALL.len());
}

#[test]
fn what_is_decided_of_functions_is_asked_of_servers_too() {
    let sql = super::super::knowledge_sql(&[]);
    for name in super::super::decided::names() {
        assert!(
            sql.contains(&format!("{name},"))
                || sql.contains(&format!("{name}}}"))
                || sql.contains(&format!("{name}|")),
            "`{name}` is missing in knowledge.sql"
        );
    }
}

#[test]
fn what_is_remembered_is_bounded() {
    let (classifier, knowledge) =
        (Classifier::new(&ClassifierOptions { memory: 256 << 10, ..Default::default() }), knowledge());
    for number in 0..20_000 {
        let _ =
            classifier.classify(format!("SELECT a AS c{number} FROM t").as_bytes(), &STANDARD, &knowledge);
        let _ = classifier.classify(
            format!("SELECT a AS c{number} FROM t WHERE a = 1").as_bytes(),
            &STANDARD,
            &knowledge,
        );
    }
    assert!(classifier.cached_bytes() <= 256 << 10, "{}", classifier.cached_bytes());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// A template that is known must not say more than the text itself does.
    #[test]
    fn a_template_never_lets_a_text_leave_that_would_not_leave_by_itself(
        parts in prop::collection::vec((select(PIECES), select(BETWEEN)), 1..7),
        others in prop::collection::vec((select(PIECES), select(BETWEEN)), 1..7),
    ) {
        let text = |parts: &[(&str, &str)]| -> String { parts.iter().flat_map(|(piece, gap)| [*piece, *gap]).collect() };
        let (known, knowledge) = (classifier(), knowledge());
        for other in [text(&others), text(&parts).replace('1', "'x'"), text(&parts).replace("'x'", "1")] {
            let _ = known.classify(other.as_bytes(), &STANDARD, &knowledge);
        }
        let text = text(&parts);
        let warm = known.classify(text.as_bytes(), &STANDARD, &knowledge);
        let cold = classifier().classify(text.as_bytes(), &STANDARD, &knowledge);
        prop_assert!(!warm.may_leave_primary() || cold.may_leave_primary() || cold.ground == Ground::Unparsable, "{text}");
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
