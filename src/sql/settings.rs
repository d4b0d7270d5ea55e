//! Names of settings in `SET`, `RESET` and `set_config`.
//!
//! <https://www.postgresql.org/docs/current/sql-set.html>, and the grammar's `VariableSetStmt`.

use super::{
    Effects,
    lexer::{Lexer, Token},
};

/// Maximum name length in bytes; a longer name counts as hidden.
const LONGEST: usize = 128;

/// Parses the text behind `SET`, up to the name.
pub(super) fn set(mut ahead: Lexer<'_>, found: &mut impl FnMut(&[u8])) -> Effects {
    let mut first = ahead.next();
    if is_keyword(first, "local", ahead) {
        return if to_default(ahead).is_empty() { Effects::NONE } else { Effects::SETTINGS_LOCAL };
    }
    if is_keyword(first, "constraints", ahead) {
        return Effects::NONE;
    }
    if is_keyword(first, "session", ahead) {
        let mut behind = ahead;
        let second = behind.next();
        if !is_keyword(second, "characteristics", behind) && !is_keyword(second, "authorization", behind) {
            first = second;
            ahead = behind;
        }
    }
    if is_keyword(first, "transaction", ahead) {
        return Effects::NONE;
    }
    if is_keyword(first, "session", ahead) {
        return if is(ahead.next(), "characteristics") {
            scan_characteristics(found)
        } else {
            report_authorization(found) | to_default(ahead)
        };
    }
    let special = match first {
        Some(Token::Word(word)) => [
            ("time", "timezone"),
            ("names", "client_encoding"),
            ("schema", "search_path"),
            ("role", "role"),
            ("xml", "xmloption"),
        ]
        .into_iter()
        .find(|(keyword, _)| word.eq_ignore_ascii_case(keyword.as_bytes())),
        _ => None,
    };
    if let Some((keyword, name)) = special
        && is_keyword(first, keyword, ahead)
    {
        found(name.as_bytes());
        let bare = keyword == "names" && matches!(peek(ahead), None | Some(Token::Symbol(_)));
        return Effects::SETTINGS
            | if bare { Effects::SETTINGS_ALL } else { Effects::NONE }
            | to_default(ahead);
    }
    scan_name(first, &mut ahead, found) | to_default(ahead)
}

/// Parses the text behind `RESET`.
pub(super) fn scan_reset(mut ahead: Lexer<'_>, found: &mut impl FnMut(&[u8])) -> Effects {
    let first = ahead.next();
    let named = match peek(ahead) {
        _ if is(first, "all") => Effects::SETTINGS,
        Some(Token::Word(second)) if is(first, "time") && second.eq_ignore_ascii_case(b"zone") => {
            found(b"timezone");
            Effects::SETTINGS
        }
        Some(Token::Word(second))
            if is(first, "session") && second.eq_ignore_ascii_case(b"authorization") =>
        {
            report_authorization(found)
        }
        Some(Token::Word(second))
            if is(first, "transaction") && second.eq_ignore_ascii_case(b"isolation") =>
        {
            found(b"transaction_isolation");
            Effects::SETTINGS
        }
        _ => scan_name(first, &mut ahead, found),
    };
    named | Effects::SETTINGS_ALL
}

/// Parses the text behind `set_config`.
pub(super) fn set_config(mut ahead: Lexer<'_>, found: &mut impl FnMut(&[u8])) -> Effects {
    if ahead.next() != Some(Token::Symbol(b'(')) {
        return Effects::SETTINGS_HIDDEN;
    }
    let name = ahead.next();
    let simple = end_of_argument(&mut ahead);
    let value = ahead.next();
    let back = if is(value, "null") { Effects::SETTINGS_ALL } else { Effects::NONE };
    if simple
        && matches!(value, Some(Token::Text { .. } | Token::Parameter | Token::Number))
        && end_of_argument(&mut ahead)
        && is(ahead.next(), "true")
        && ahead.next() == Some(Token::Symbol(b')'))
        && !ahead.has_doubt()
    {
        return Effects::NONE;
    }
    let named = match name {
        Some(Token::Text { content, plain: true }) if simple && !content.is_empty() && is_name(content) => {
            report_name(&[content], found)
        }
        Some(Token::Parameter) if simple => Effects::SETTINGS_BOUND,
        _ => Effects::SETTINGS_HIDDEN,
    };
    named | back
}

/// Skips the comma behind a literal argument, with or without a cast to a text type; `false` for any other token.
fn end_of_argument(ahead: &mut Lexer<'_>) -> bool {
    match ahead.next() {
        Some(Token::Symbol(b',')) => true,
        Some(Token::Symbol(b':')) => {
            ahead.next() == Some(Token::Symbol(b':'))
                && ["text", "varchar", "name", "unknown"].iter().any(|kind| is(peek(*ahead), kind))
                && {
                    ahead.next();
                    ahead.next() == Some(Token::Symbol(b','))
                }
        }
        _ => false,
    }
}

/// Parses a setting name of one or more parts.
fn scan_name(first: Option<Token<'_>>, ahead: &mut Lexer<'_>, found: &mut impl FnMut(&[u8])) -> Effects {
    let mut parts: [&[u8]; 4] = [b""; 4];
    let mut count = 0;
    let mut part = first;
    loop {
        let (Some(Token::Word(name) | Token::Quoted(name)), Some(slot)) = (part, parts.get_mut(count)) else {
            return Effects::SETTINGS_HIDDEN;
        };
        if !is_name(name) {
            return Effects::SETTINGS_HIDDEN;
        }
        *slot = name;
        count += 1;
        if peek(*ahead) != Some(Token::Symbol(b'.')) {
            return report_name(&parts[..count], found);
        }
        ahead.next();
        part = ahead.next();
    }
}

/// Reports the name made of `parts`, in lower case.
fn report_name(parts: &[&[u8]], found: &mut impl FnMut(&[u8])) -> Effects {
    let mut name = [0; LONGEST];
    let mut length = 0;
    for part in parts {
        if length > 0 {
            name[length] = b'.';
            length += 1;
        }
        // The dot behind the part must fit, too.
        let Some(room) = name[..LONGEST - 1].get_mut(length..length + part.len()) else {
            return Effects::SETTINGS_HIDDEN;
        };
        room.copy_from_slice(part);
        room.make_ascii_lowercase();
        length += part.len();
    }
    match &name[..length] {
        // Sets the random generator: no query shows the state, and DISCARD ALL keeps the state.
        b"seed" => Effects::FUNCTION,
        b"session_authorization" => report_authorization(found),
        name => {
            found(name);
            Effects::SETTINGS
        }
    }
}

fn scan_characteristics(found: &mut impl FnMut(&[u8])) -> Effects {
    for name in
        ["default_transaction_isolation", "default_transaction_read_only", "default_transaction_deferrable"]
    {
        found(name.as_bytes());
    }
    Effects::SETTINGS
}

/// A change of the session user also resets the role.
fn report_authorization(found: &mut impl FnMut(&[u8])) -> Effects {
    found(b"session_authorization");
    found(b"role");
    Effects::SETTINGS
}

/// `SETTINGS_ALL` if the statement leads back to a default.
fn to_default(mut ahead: Lexer<'_>) -> Effects {
    loop {
        match ahead.next() {
            Some(Token::Word(word))
                if [&b"default"[..], b"local", b"none"].iter().any(|end| word.eq_ignore_ascii_case(end)) =>
            {
                return Effects::SETTINGS_ALL;
            }
            None | Some(Token::Symbol(b';')) => return Effects::NONE,
            _ => {}
        }
    }
}

/// True if `name` has no special characters and may name a setting.
fn is_name(name: &[u8]) -> bool {
    name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_.$".contains(byte))
}

fn is(token: Option<Token<'_>>, word: &str) -> bool {
    matches!(token, Some(Token::Word(found)) if found.eq_ignore_ascii_case(word.as_bytes()))
}

/// True if `token` is the keyword `word` and not a setting name; `ahead` is behind the token.
fn is_keyword(token: Option<Token<'_>>, word: &str, ahead: Lexer<'_>) -> bool {
    is(token, word) && !matches!(peek(ahead), Some(Token::Symbol(b'.' | b'='))) && !is(peek(ahead), "to")
}

fn peek<'a>(mut ahead: Lexer<'a>) -> Option<Token<'a>> {
    ahead.next()
}
