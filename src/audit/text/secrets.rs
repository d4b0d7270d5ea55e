//! Signs of a secret: a word, a kind of statement, an escaped spelling.
//!
//! A heuristic that prefers to hide. A word assembled at run time inside a quoted body is not detected.

use pg_query::protobuf::ScanToken;

use super::literals::{is_comment, is_literal, token_kind, token_text};

/// Words that announce a secret, in lower case.
const WORDS: [&str; 13] = [
    "passw",
    "passphrase",
    "secret",
    "credential",
    "token",
    "scram-sha-256$",
    "conninfo",
    "dblink",
    "crypt(",
    "pgp_sym",
    "hmac(",
    "apikey",
    "api_key",
];
/// Spellings that can encode any word with character numbers.
const SPELLINGS: [&str; 2] = ["u&'", "u&\""];

/// Position of the first word that announces a secret.
pub(super) fn find_word(text: &str) -> Option<usize> {
    let lower = text.to_ascii_lowercase();
    WORDS.iter().filter_map(|word| lower.find(word)).chain(find_address(&lower)).min()
}

/// Position of a URI with a user, and so possibly a password: `postgresql://user:…@host`.
fn find_address(text: &str) -> Option<usize> {
    let found = text.find("://")?;
    text[found..]
        .contains('@')
        .then(|| text[..found].rfind(|c: char| !c.is_ascii_alphanumeric()).map_or(0, |at| at + 1))
}

/// Position of an escaped spelling that may hide a word.
pub(super) fn find_spelling(text: &str) -> Option<usize> {
    let lower = text.to_ascii_lowercase();
    let by_number = |at: &usize| {
        lower.as_bytes().get(at + 1).is_some_and(|next| matches!(next, b'x' | b'u' | b'0'..=b'7'))
    };
    let escapes = memchr::memchr_iter(b'\\', lower.as_bytes()).find(by_number);
    SPELLINGS.iter().filter_map(|spelling| lower.find(spelling)).chain(escapes).min()
}

/// Position of a statement in an unscannable text that may carry a secret.
pub(super) fn find_statement(text: &str) -> Option<usize> {
    let upper = text.to_ascii_uppercase();
    let carrier = CARRIERS.iter().any(|word| upper.contains(word));
    ["ALTER", "CREATE"].iter().filter(|_| carrier).filter_map(|word| upper.find(word)).min()
}

/// Objects whose CREATE or ALTER statements carry secrets.
const CARRIERS: [&str; 8] =
    ["ROLE", "USER", "GROUP", "SYSTEM", "DATABASE", "SERVER", "SUBSCRIPTION", "FOREIGN"];

/// True if one of the statements carries secrets in its literals, such as `ALTER ROLE … PASSWORD '…'` or
/// `CREATE SUBSCRIPTION … CONNECTION '…'`.
pub(super) fn is_carried(source: &str, tokens: &[ScanToken]) -> bool {
    let mut beginning = Vec::new();
    tokens.iter().filter(|token| !is_comment(token_kind(token))).any(|token| {
        match token_text(source, token) {
            ";" => beginning.clear(),
            word if beginning.len() < 2 => beginning.push(word.to_ascii_uppercase()),
            _ => {}
        }
        beginning.len() == 2 && may_be_bare(&beginning) && beginning[0] != "SET"
    })
}

/// True if a statement with this beginning may contain a secret as a bare word, as in `SET app.password = hunter2` or
/// in the invalid `ALTER ROLE bob PASSWORD hunter2`.
pub(super) fn may_be_bare(beginning: &[String]) -> bool {
    match beginning.first().map(String::as_str) {
        Some("SET") => true,
        Some("ALTER" | "CREATE") => beginning.get(1).is_some_and(|word| CARRIERS.contains(&word.as_str())),
        _ => false,
    }
}

/// True if the first token after `secret`, other than `=`, `TO` or `.`, is neither a literal nor the end.
pub(super) fn is_bare(source: &str, tokens: &[ScanToken], secret: &ScanToken) -> bool {
    let after = tokens.iter().filter(|token| token.start >= secret.end).find(|token| {
        let word = token_text(source, token);
        let joins = matches!(word, "=" | ".") || word.eq_ignore_ascii_case("to");
        !joins && !is_comment(token_kind(token))
    });
    after.is_some_and(|token| {
        let word = token_text(source, token);
        let harmless =
            matches!(word, ";" | ")" | ",") || word.starts_with('$') || word.eq_ignore_ascii_case("null");
        !harmless && !is_literal(token_kind(token))
    })
}

/// True if a quoted name should probably be a literal: `CONNECTION "host=h password=…"`.
pub(super) fn is_misquoted(word: &str) -> bool {
    word.starts_with('"') && (word.contains('=') || word.contains("://"))
}
