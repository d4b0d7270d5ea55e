//! Removes the literals from a text with the server's own scanner.

use pg_query::protobuf::{ScanToken, Token};

use super::{QueryText, REDACTED, Withheld, secrets, utf8_within_limit};

pub(super) fn scan_text(text: &QueryText) -> Result<(&str, Vec<ScanToken>), Withheld> {
    let source = utf8_within_limit(text)?;
    // `scan_tokens` of pg_query 18.1 makes a slice from a null pointer for a text without tokens: undefined behavior,
    // or an abort in checked builds. Only white space has no tokens; comments are tokens.
    if source.bytes().all(|byte| matches!(byte, b' ' | b'\t'..=b'\r')) {
        return Ok((source, Vec::new()));
    }
    let tokens = pg_query::scan_tokens(source).map_err(|_| Withheld::Unreadable)?;
    let ambiguous = tokens.iter().any(|token| is_ambiguous(source, token));
    if ambiguous { Err(Withheld::Ambiguous) } else { Ok((source, tokens)) }
}

/// True if string boundaries depend on settings that only the server knows.
///
/// The scanner reads strings as the SQL standard does. A server with `standard_conforming_strings` off reads the first
/// plain string with a backslash before a quote differently. The scanner also assumes UTF-8: in some client encodings
/// (SJIS, BIG5, GBK, GB18030, UHC) an ASCII byte such as the backslash may be the second half of a character. Such a
/// byte is not an escape, and does not end a name before a dollar quote.
fn is_ambiguous(source: &str, token: &ScanToken) -> bool {
    let word = token_text(source, token);
    let bytes = word.as_bytes();
    let (plain, escaped) =
        (word.starts_with('\''), bytes.len() > 1 && matches!(bytes[0], b'E' | b'e') && bytes[1] == b'\'');
    if plain || escaped {
        let halves = bytes.windows(2).any(|pair| !pair[0].is_ascii() && pair[1] == b'\\');
        return halves || (plain && word.contains("\\'"));
    }
    let before =
        usize::try_from(token.start).ok().and_then(|start| source.as_bytes().get(start.checked_sub(1)?));
    let sign =
        bytes.first().is_some_and(|first| (0x40..0x7f).contains(first) && !first.is_ascii_alphabetic());
    sign && before.is_some_and(|before| !before.is_ascii())
}

pub(super) fn token_text<'a>(source: &'a str, token: &ScanToken) -> &'a str {
    let at = |byte: i32| usize::try_from(byte).unwrap_or(0);
    source.get(at(token.start)..at(token.end)).unwrap_or_default()
}

pub(super) fn token_kind(token: &ScanToken) -> Token {
    Token::try_from(token.token).unwrap_or(Token::Nul)
}

pub(super) const fn is_comment(kind: Token) -> bool {
    matches!(kind, Token::SqlComment | Token::CComment)
}

pub(super) const fn is_literal(kind: Token) -> bool {
    matches!(
        kind,
        Token::Sconst | Token::Usconst | Token::Bconst | Token::Xconst | Token::Iconst | Token::Fconst
    )
}

/// True if every statement reads or writes rows and none is a utility statement.
pub(super) fn are_queries(source: &str, tokens: &[ScanToken]) -> bool {
    let mut begins = true;
    tokens.iter().filter(|token| !is_comment(token_kind(token))).all(|token| {
        let word = token_text(source, token);
        let first = std::mem::replace(&mut begins, word == ";");
        let queries = ["SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "WITH", "VALUES", "TABLE", "(", ";"];
        !first || queries.iter().any(|query| word.eq_ignore_ascii_case(query))
    })
}

/// The text with literals replaced by `$n`, without comments, with single blanks; and true if a secret that is not a
/// literal (`SET app.password = hunter2`) was hidden.
pub(super) fn without_literals(source: &str, tokens: &[ScanToken]) -> (String, bool) {
    let parameters = tokens.iter().filter(|token| token_kind(token) == Token::Param);
    let mut number =
        parameters.filter_map(|token| token_text(source, token)[1..].parse::<u64>().ok()).max().unwrap_or(0);
    let mut shown = String::with_capacity(source.len());
    let (mut last_end, mut redacted, mut hiding) = (0, false, false);
    let mut beginning = Vec::new();
    for token in tokens {
        let word = token_text(source, token);
        let kind = token_kind(token);
        if is_comment(kind) {
            continue;
        }
        if kind == Token::Ascii59 {
            beginning.clear();
            hiding = false;
        } else if hiding {
            last_end = token.end;
            continue;
        }
        if token.start > last_end && !shown.is_empty() {
            shown.push(' ');
        }
        last_end = token.end;
        if beginning.len() < 2 && kind != Token::Ascii59 {
            beginning.push(word.to_ascii_uppercase());
        }
        let may_be_bare = secrets::may_be_bare(&beginning);
        if is_literal(kind) {
            number = number.saturating_add(1);
            shown.push('$');
            shown.push_str(&number.to_string());
        } else if may_be_bare && secrets::is_misquoted(word) {
            shown.push_str(REDACTED);
            redacted = true;
        } else {
            shown.push_str(word);
        }
        if may_be_bare
            && !is_literal(kind)
            && secrets::find_word(word).is_some()
            && secrets::is_bare(source, tokens, token)
        {
            shown.push(' ');
            shown.push_str(REDACTED);
            (hiding, redacted) = (true, true);
        }
    }
    (shown, redacted)
}
