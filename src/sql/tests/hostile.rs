//! Texts made to crash the process, on a thread with a worker's stack.

use std::thread;

use super::super::{
    Classifier, ClassifierOptions, LexicalSettings, SchemaInfo, StatefulNames, StatementAccess,
    classifier::TEXT_MAX, effects, find_setting_names, find_stateful_names, session_statement,
};

/// Stack of a worker. Unoptimized, the tree decoder needs more than half for the permitted hundred levels.
const STACK: usize = 4 << 20;

/// Runs every analysis of the module on each text, as a worker would.
fn survives(texts: impl IntoIterator<Item = Vec<u8>> + Send + 'static) {
    let worker = thread::Builder::new().stack_size(STACK);
    let worker = worker.spawn(move || {
        let classifier = Classifier::new(&ClassifierOptions::default());
        let schema_info = SchemaInfo::assumed();
        for text in texts {
            let _ = classifier.classify(&text, &LexicalSettings::default(), &schema_info);
            let _ = effects(&text, &StatefulNames::default());
            if text.len() > 2 * TEXT_MAX {
                continue;
            }
            for standard_strings in [true, false] {
                for utf8 in [true, false] {
                    let lexical = LexicalSettings { standard_strings, utf8 };
                    let classification = classifier.classify(&text, &lexical, &schema_info);
                    let (explained, _) = classifier.explain(&text, &lexical, &schema_info);
                    assert!(
                        classification.access != StatementAccess::Read
                            || explained.access == StatementAccess::Read
                    );
                }
            }
            let _ = session_statement(&text);
            find_setting_names(&text, &mut |_| ());
            find_stateful_names(&text, &StatefulNames::default(), &mut |_| ());
        }
    });
    worker.expect("a thread").join().expect("it comes back");
}

/// `before`, so many times `part`, `after`.
fn chain(before: &str, part: &str, after: &str, times: usize) -> Vec<u8> {
    [before, &part.repeat(times), after].concat().into_bytes()
}

/// Around the limits of the parsers, and far beyond.
const TIMES: [usize; 6] = [48, 100, 1000, 5000, 16_000, 1_000_000];

#[test]
fn deep_nesting_stops_nothing() {
    for (before, part, middle, back) in [
        ("SELECT ", "(", "1", ")"),
        ("SELECT ", "(SELECT ", "1", ")"),
        ("SELECT ", "abs(", "1", ")"),
        ("SELECT ", "ARRAY[", "1", "]"),
        ("SELECT ", "CASE WHEN true THEN ", "1", " END"),
        ("SELECT * FROM ", "(SELECT * FROM ", "t", ") x"),
        ("SELECT ", "NOT ", "true", ""),
        ("SELECT ", "- ", "1", ""),
        ("WITH a AS ", "(WITH a AS ", "(SELECT 1) SELECT 1", ") SELECT 1"),
        ("", "EXPLAIN ", "SELECT 1", ""),
        ("", "/*", "", "*/"),
        ("", "(", "SELECT 1", ")"),
    ] {
        survives(TIMES.map(|times| {
            let front = chain(before, part, middle, times);
            [front, back.repeat(times).into_bytes()].concat()
        }));
    }
}

#[test]
fn long_flat_chains_stop_nothing() {
    for (before, part) in [
        ("SELECT 1", "+1"),
        ("SELECT 1", " OR 1"),
        ("SELECT a", " AND a"),
        ("SELECT 1", "::int"),
        ("SELECT 1", " UNION ALL SELECT 1"),
        ("SELECT 1", ",1"),
        ("SELECT a", ".a"),
        ("SELECT a", "[1]"),
        ("SELECT '1'", "||'1'"),
        ("SELECT * FROM t", ",t"),
        ("SELECT * FROM t", " JOIN t ON true"),
        ("SELECT * FROM t", " NATURAL JOIN t"),
        ("SELECT 1 WHERE a IN (1", ",1"),
        ("SELECT 1", ";SELECT 1"),
        ("SELECT 1", " IS NULL"),
        ("SELECT a", " COLLATE \"C\""),
        ("BEGIN", ";BEGIN"),
        ("SELECT 1", "\n'a'"),
        ("SELECT 1", " "),
        ("SELECT 1", "$a$"),
        ("INSERT INTO t VALUES (1)", ",(1)"),
        ("SET x = a", ",a"),
    ] {
        survives(TIMES.map(|times| chain(before, part, "", times)));
    }
}

#[test]
fn odd_bytes_stop_nothing() {
    survives([
        Vec::new(),
        vec![0; 100_000],
        vec![0xff; 100_000],
        b"SELECT '\xff\xfe'".to_vec(),
        b"SELECT 1\0; DELETE FROM t".to_vec(),
        b"SELECT E'\\xff', U&'\\D800', U&'\\+10FFFF', X'zz', B'2'".to_vec(),
        "SELECT 'ä€😀' AS \"ä€😀\", $ä$x$ä$".into(),
        b"SELECT '\\".to_vec(),
        b"SELECT $1$2".to_vec(),
        vec![b'\''; 1_000_001],
        vec![b'"'; 1_000_001],
        vec![b'$'; 1_000_001],
        vec![b'\\'; 1_000_001],
        chain("SELECT '", "x", "'", 5_000_000),
        chain("SELECT ", "a", " FROM t", 5_000_000),
        chain("SELECT ", "9", "", 100_000),
    ]);
}
