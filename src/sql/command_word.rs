//! Statements routed to the primary by the first word, without a parse.

use super::{
    ClassifyReason,
    lexer::{Lexer, Token},
};

/// Reason to stay on the primary, if the first word of `text` suffices and only semicolons and white space follow the
/// first semicolon.
pub(super) fn sole_write(text: &[u8]) -> Option<ClassifyReason> {
    let mut lexer = Lexer::new(text);
    let Some(Token::Word(word)) = lexer.next() else { return None };
    let reason = WORDS
        .iter()
        .find(|(known, _)| word.eq_ignore_ascii_case(known.as_bytes()))
        .map(|(_, reason)| *reason)?;
    // In every reading a text without semicolon is a single statement.
    let rest = lexer.rest();
    let alone = match memchr::memchr(b';', rest) {
        None => true,
        Some(end) => rest[end..].iter().all(|byte| *byte == b';' || byte.is_ascii_whitespace()),
    };
    alone.then_some(reason)
}

/// True if `text` begins with a statement to create, alter or drop a database, or to grant or revoke database
/// privileges.
#[must_use]
pub fn names_database(text: &[u8]) -> bool {
    let mut lexer = Lexer::new(text);
    let is = |token: Option<Token<'_>>, known: &str| matches!(token, Some(Token::Word(word)) if word.eq_ignore_ascii_case(known.as_bytes()));
    let first = lexer.next();
    if ["alter", "create", "drop"].iter().any(|word| is(first, word)) {
        return is(lexer.next(), "database");
    }
    ["grant", "revoke"].iter().any(|word| is(first, word))
        && std::iter::from_fn(|| lexer.next()).any(|token| is(Some(token), "database"))
}

/// True if `text` is empty, or begins with a statement that may end a transaction: PostgreSQL parses no other text in a failed
/// transaction. <https://www.postgresql.org/docs/current/tutorial-transactions.html>
#[must_use]
pub fn may_run_in_failed_transaction(text: &[u8]) -> bool {
    let mut lexer = Lexer::new(text);
    let first = std::iter::from_fn(|| lexer.next()).find(|token| *token != Token::Symbol(b';'));
    match first {
        None => true,
        Some(Token::Word(word)) => {
            let ends = ["commit", "end", "rollback", "abort", "prepare"];
            ends.iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes()))
        }
        Some(_) => false,
    }
}

/// True if `text` begins with a command that may change rows: INSERT, UPDATE, DELETE, MERGE, or WITH. A text that changes
/// rows by a function is not recognized.
#[must_use]
pub fn begins_with_row_change(text: &[u8]) -> bool {
    let Some(Token::Word(word)) = Lexer::new(text).next() else { return false };
    let changes = ["insert", "update", "delete", "merge", "with"];
    changes.iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes()))
}

const WORDS: &[(&str, ClassifyReason)] = &[
    ("insert", ClassifyReason::Writes),
    ("update", ClassifyReason::Writes),
    ("delete", ClassifyReason::Writes),
    ("merge", ClassifyReason::Writes),
    ("truncate", ClassifyReason::Ddl),
    ("create", ClassifyReason::Ddl),
    ("alter", ClassifyReason::Ddl),
    ("drop", ClassifyReason::Ddl),
    ("grant", ClassifyReason::Ddl),
    ("revoke", ClassifyReason::Ddl),
    ("comment", ClassifyReason::Ddl),
    ("vacuum", ClassifyReason::Utility),
    ("analyze", ClassifyReason::Utility),
    ("call", ClassifyReason::Utility),
    ("do", ClassifyReason::Utility),
    ("notify", ClassifyReason::Utility),
    ("listen", ClassifyReason::Utility),
    ("lock", ClassifyReason::Locks),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_about_databases_are_known() {
        for text in [
            "DROP DATABASE shop",
            "  /* why */ create\n-- a copy\ndatabase shop TEMPLATE other",
            "ALTER DATABASE shop RENAME TO store",
            "REVOKE CONNECT, TEMP ON DATABASE shop FROM PUBLIC",
            "grant all on database shop to bob",
        ] {
            assert!(names_database(text.as_bytes()), "{text}");
        }
        for text in [
            "",
            "SELECT datname FROM pg_database",
            "CREATE TABLE database (a int)",
            "DROP TABLE database",
            "GRANT SELECT ON \"database\" TO bob",
            "INSERT INTO notes VALUES ('drop database shop')",
            "COMMENT ON DATABASE shop IS 'ours'",
        ] {
            assert!(!names_database(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn the_first_word_tells_a_change_of_rows() {
        for text in
            ["INSERT INTO t VALUES (1)", "/* a */ with x AS (SELECT 1) SELECT 1", "\n-- b\nDelete FROM t"]
        {
            assert!(begins_with_row_change(text.as_bytes()), "{text}");
        }
        for text in ["SELECT 1", "COPY t FROM stdin", "", "(SELECT 1)", "\"insert\"", "VALUES (1)"] {
            assert!(!begins_with_row_change(text.as_bytes()), "{text}");
        }
    }
}
