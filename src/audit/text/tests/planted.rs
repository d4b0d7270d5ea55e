//! Markers planted in the literals and comments of random statements: no marker may be shown.

use std::fmt::Write;

use proptest::prelude::*;

use super::*;

/// Marker in every literal.
const MARKER: &str = "zq7Marker";
/// Marker in every number.
const NUMBER: &str = "739155739155";

/// Statements; each `?` stands for an expression that may contain a literal, each `¿` for a string.
const SHAPES: &[&str] = &[
    "SELECT ?, ? FROM t WHERE a = ? AND b IN (?, ?)",
    "INSERT INTO t VALUES (?, ?), (?, ?) ON CONFLICT (a) DO UPDATE SET b = ?",
    "UPDATE t SET a = ?, b = ? WHERE c LIKE ? RETURNING ?",
    "WITH x AS (DELETE FROM t WHERE a = ? RETURNING *) SELECT * FROM x LIMIT 10 OFFSET 2",
    "DO ¿",
    "DO LANGUAGE plpgsql ¿",
    "CREATE FUNCTION f(a text DEFAULT ?) RETURNS text LANGUAGE sql AS ¿",
    "COMMENT ON COLUMN t.a IS ¿",
    "COPY t FROM STDIN WITH (DELIMITER ¿, NULL ¿)",
    "COPY (SELECT ?) TO PROGRAM ¿",
    "NOTIFY c, ¿",
    "EXECUTE p(?, ?)",
    "PREPARE p AS SELECT ?",
    "SET a.b = ¿",
    "SET TIME ZONE ¿",
    "CREATE TABLE t (a text DEFAULT ?, CHECK (a <> ?))",
    "ALTER TABLE t ALTER a SET DEFAULT ?",
    "CREATE TABLE p PARTITION OF t FOR VALUES IN (?)",
    "CREATE TYPE e AS ENUM (¿, ¿)",
    "ALTER TYPE e ADD VALUE ¿ BEFORE ¿",
    "SECURITY LABEL ON TABLE t IS ¿",
    "PREPARE TRANSACTION ¿",
    "LISTEN c; SELECT ?; COMMIT PREPARED ¿",
    "SELECT date ¿, interval ¿ DAY, ¿::json -> ¿",
    "DECLARE c CURSOR FOR SELECT ?",
    "EXPLAIN (COSTS off) SELECT ?",
    "CALL p(?)",
    "select selec frm ? wher ?",
];

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(format!("'{MARKER}'")),
        Just(format!("'it''s {MARKER} \"x\" -- no comment /* nor this'")),
        Just(format!("E'a\\'{MARKER}\\\\'")),
        Just(format!("e'\\x41\\u0041{MARKER}'")),
        Just(format!("'one'\n  '{MARKER}'")),
        Just(format!("$${MARKER} 'x' $1$$")),
        Just(format!("$q${MARKER} $$ '$q$")),
        Just(format!("$été$BEGIN; -- '{MARKER}'\n$été$")),
        Just(format!("'日本 {MARKER} ​'")),
    ]
}

fn expression() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => text(),
        1 => Just(format!("U&'\\0041{MARKER}'")),
        1 => Just(format!("U&'!0041{MARKER}' UESCAPE '!'")),
        1 => Just(format!("N'{MARKER}'")),
        1 => Just(format!("lower('{MARKER}' || '{MARKER}')")),
        1 => Just(NUMBER.to_owned()),
        1 => Just(format!("-{NUMBER}.{NUMBER}")),
        1 => Just(format!("{NUMBER}e10")),
        1 => Just(format!("ARRAY[{NUMBER}, {NUMBER}]")),
        1 => Just(format!("x'{NUMBER}'")),
        1 => Just(format!("'{NUMBER}'::bigint")),
        1 => Just("$1".to_owned()),
        1 => Just("NULL".to_owned()),
    ]
}

fn space() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => Just(" ".to_owned()),
        1 => Just("\r\n\t".to_owned()),
        1 => Just(format!(" /* {MARKER} /* nested '{NUMBER} */ $$ */ ")),
        1 => Just(format!(" -- {MARKER} ' /*\n")),
    ]
}

prop_compose! {
    fn statement()(
        shape in prop::sample::select(SHAPES),
        expressions in prop::collection::vec(expression(), 8),
        texts in prop::collection::vec(text(), 4),
        spaces in prop::collection::vec(space(), 40),
        lower in any::<bool>(),
    ) -> String {
        let (mut expressions, mut texts, mut spaces) =
            (expressions.iter().cycle(), texts.iter().cycle(), spaces.iter().cycle());
        let mut sent = String::new();
        for c in shape.chars() {
            match c {
                '?' => sent.push_str(expressions.next().unwrap()),
                '¿' => sent.push_str(texts.next().unwrap()),
                ' ' => sent.push_str(spaces.next().unwrap()),
                c if lower => sent.extend(c.to_lowercase()),
                c => sent.push(c),
            }
        }
        sent
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_planted_literal_is_never_shown(statements in prop::collection::vec(statement(), 1..4)) {
        let sent = statements.join(";");
        for level in [StatementText::None, StatementText::Fingerprint, StatementText::Normalized] {
            let Some(text) = QueryText::capture_text(&settings(level), sent.as_bytes(), false) else { continue };
            let shown = format!("{:?}", TextRenderer::new(&settings(level)).show(&text));
            prop_assert!(!shown.contains(MARKER) && !shown.contains(NUMBER), "{sent}\n{shown}");
        }
        // A fingerprint is a hash of the shown part, so it must not depend on literals.
        let other = sent.replace(MARKER, "another").replace(NUMBER, "846266846266");
        let fingerprint = |sent: &str| show(StatementText::Fingerprint, sent);
        prop_assert_eq!(fingerprint(&sent), fingerprint(&other), "{}", sent);
        let shown = show(StatementText::Normalized, &sent);
        prop_assert!(shown.text.is_some(), "nothing here is ambiguous: {sent}\n{shown:?}");
    }

    /// Random texts of quotes, escapes and markers: a literal of any server, for any `standard_conforming_strings` and
    /// client encoding, is not shown.
    #[test]
    fn what_some_server_takes_for_a_literal_is_never_shown(
        parts in prop::collection::vec(prop::sample::select(PARTS), 1..24),
    ) {
        let mut sent = String::new();
        for (number, part) in parts.iter().enumerate() {
            match *part {
                "M" => write!(sent, " m{number}z ").unwrap(),
                part => sent.push_str(part),
            }
        }
        let shown = format!("{:?}", show(StatementText::Normalized, &sent));
        for reading in READINGS {
            for hidden in reading.literals(sent.as_bytes()) {
                let hidden = String::from_utf8_lossy(hidden);
                for marker in hidden.split_whitespace().filter(|word| word.starts_with('m') && word.ends_with('z')) {
                    prop_assert!(!shown.contains(marker), "{marker} of {sent}\n{shown}\n{reading:?}");
                }
            }
        }
    }
}

const PARTS: &[&str] = &[
    "M", "M", "M", "'", "'", "'", "\\", "\\", "E'", "e'", "\"", "$$", "$a$", "/*", "*/", "--", "\n", ",",
    ";", "あ", "é", "''", "U&'",
];

/// A server's way of reading quotes.
#[derive(Debug, Clone, Copy)]
struct Reading {
    /// `standard_conforming_strings` is off: a backslash also escapes in plain strings.
    backslashes: bool,
    /// A byte beyond ASCII is the first half of a character, as in GBK.
    pairs: bool,
}

const READINGS: [Reading; 4] = [
    Reading { backslashes: false, pairs: false },
    Reading { backslashes: true, pairs: false },
    Reading { backslashes: false, pairs: true },
    Reading { backslashes: true, pairs: true },
];

impl Reading {
    /// The strings and comments of a text, by <https://www.postgresql.org/docs/current/sql-syntax-lexical.html>.
    fn literals(self, text: &[u8]) -> Vec<&[u8]> {
        let (mut at, mut found) = (0, Vec::new());
        while at < text.len() {
            let rest = &text[at..];
            let length = if rest.starts_with(b"--") {
                rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len())
            } else if rest.starts_with(b"/*") {
                comment(rest)
            } else if rest[0] == b'"' {
                // A quoted name is not a literal.
                at +=
                    1 + rest[1..].iter().position(|byte| *byte == b'"').map_or(rest.len() - 1, |end| end + 1);
                continue;
            } else if rest[0] == b'\'' {
                self.string(rest, self.backslashes)
            } else if let Some(tag) = dollar_tag(rest) {
                let end = rest[tag.len()..].windows(tag.len()).position(|bytes| bytes == tag);
                end.map_or(rest.len(), |end| end + 2 * tag.len())
            } else {
                let word = self.word(rest);
                at += word;
                match (&rest[..word], &rest[word..]) {
                    (b"E" | b"e", after @ [b'\'', ..]) => self.string(after, true),
                    (b"U", [b'&', after @ ..]) if after.starts_with(b"'") => {
                        at += 1;
                        self.string(after, false)
                    }
                    _ => continue,
                }
            };
            let rest = &text[at..];
            found.push(&rest[..length]);
            at += length;
        }
        found
    }

    fn width(self, rest: &[u8]) -> usize {
        let pair = self.pairs
            && !rest[0].is_ascii()
            && rest.get(1).is_some_and(|next| *next >= 0x40 && *next != 0x7f);
        if pair { 2 } else { 1 }
    }

    /// Length of a name or of another character.
    fn word(self, rest: &[u8]) -> usize {
        let mut at = self.width(rest);
        if rest[0] != b'$' && is_name(rest[0]) && !rest[0].is_ascii_digit() {
            while at < rest.len() && is_name(rest[at]) {
                at += self.width(&rest[at..]);
            }
        }
        at
    }

    fn string(self, rest: &[u8], backslashes: bool) -> usize {
        let mut at = 1;
        while at < rest.len() {
            match rest[at] {
                b'\\' if backslashes => at += 2,
                b'\'' if rest.get(at + 1) == Some(&b'\'') => at += 2,
                b'\'' => match continued(&rest[at + 1..]) {
                    Some(gap) => at += gap + 2,
                    None => return at + 1,
                },
                _ => at += self.width(&rest[at..]),
            }
        }
        rest.len()
    }
}

/// Length of the white space before a string's continuation on another line.
fn continued(rest: &[u8]) -> Option<usize> {
    let (mut at, mut lines) = (0, 0);
    loop {
        match &rest[at..] {
            [b'\'', ..] if lines > 0 => return Some(at),
            [b'\n', ..] => (at, lines) = (at + 1, lines + 1),
            [b' ', ..] => at += 1,
            [b'-', b'-', comment @ ..] if lines > 0 => {
                at += 2 + comment.iter().position(|byte| *byte == b'\n')?
            }
            _ => return None,
        }
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || !byte.is_ascii()
}

fn comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] if depth == 1 => return at + 2,
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    rest.len()
}

fn dollar_tag(rest: &[u8]) -> Option<&[u8]> {
    [&b"$$"[..], b"$a$"].into_iter().find(|tag| rest.starts_with(tag))
}
