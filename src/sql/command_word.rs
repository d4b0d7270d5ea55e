//! Statements that their first word sends to the primary, without a parse.

use super::{
    Ground,
    lexer::{Lexer, Token},
};

/// The ground on which `text` stays on the primary, if its first word alone says so and nothing but semicolons and white
/// space stands behind a semicolon in it.
pub(super) fn sole_write(text: &[u8]) -> Option<Ground> {
    let mut lexer = Lexer::new(text);
    let Some(Token::Word(word)) = lexer.next() else { return None };
    let ground = WORDS
        .iter()
        .find(|(known, _)| word.eq_ignore_ascii_case(known.as_bytes()))
        .map(|(_, ground)| *ground)?;
    // In whatever way the text is read: what has no semicolon is one statement.
    let rest = lexer.rest();
    let alone = match memchr::memchr(b';', rest) {
        None => true,
        Some(end) => rest[end..].iter().all(|octet| *octet == b';' || octet.is_ascii_whitespace()),
    };
    alone.then_some(ground)
}

const WORDS: &[(&str, Ground)] = &[
    ("insert", Ground::Writes),
    ("update", Ground::Writes),
    ("delete", Ground::Writes),
    ("merge", Ground::Writes),
    ("truncate", Ground::Ddl),
    ("create", Ground::Ddl),
    ("alter", Ground::Ddl),
    ("drop", Ground::Ddl),
    ("grant", Ground::Ddl),
    ("revoke", Ground::Ddl),
    ("comment", Ground::Ddl),
    ("vacuum", Ground::Utility),
    ("analyze", Ground::Utility),
    ("call", Ground::Utility),
    ("do", Ground::Utility),
    ("notify", Ground::Utility),
    ("listen", Ground::Utility),
    ("lock", Ground::Locks),
];
