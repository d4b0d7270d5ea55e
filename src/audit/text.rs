//! How much of a statement's text is written: nothing, a fingerprint, the text without its literals, or all of it.
//!
//! Promises: without `full`, no literal (a function's quoted body is one) and no comment reaches the log, whatever the
//! statement is and whether or not it parses; passwords never do, not even with `full`; where that cannot be promised
//! (the text cannot be scanned, its quoting is ambiguous, it is too long) a word says so and nothing is written.
//!
//! Literals are found by the server's own scanner. `pg_query::normalize` is not enough: it leaves the literals of
//! utility statements (`EXECUTE p(4111…)`, `COPY … FROM PROGRAM '…'`, `COMMENT … IS '…'`, defaults) and all comments,
//! needs text that parses, and costs five times as much.

use std::{collections::HashMap, sync::Arc};

use pg_query::protobuf::{ScanToken, Token};

use super::{AuditSettings, StatementText};

/// A statement's text on its way to the log. Cheap to clone: a prepared statement keeps one for all its executions.
#[derive(Clone)]
pub struct QueryText {
    /// As much as may be needed: see [`QueryText::capture`].
    octets: Arc<[u8]>,
    /// Something is missing at the end of `octets`.
    cut: bool,
}

/// What is written of a statement's text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Shown {
    /// `db.query.text`
    pub(super) text: Option<Box<str>>,
    /// `db.query.fingerprint`
    pub(super) fingerprint: Option<Box<str>>,
    /// `db.query.truncated`: the end of the text is missing.
    pub(super) truncated: bool,
    /// `db.query.redacted`: something was hidden that these settings would otherwise show.
    pub(super) redacted: bool,
    /// `db.query.withheld`: why there is no text.
    pub(super) withheld: Option<Withheld>,
}

/// Why a text was not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Withheld {
    /// The server's scanner refuses it, or it is not UTF-8: what is a literal cannot be told.
    Unreadable,
    /// A backslash before a quote, whose meaning hangs on `standard_conforming_strings`.
    Ambiguous,
    /// Longer than is given to a parser.
    TooLong,
}

/// Longest text that is given to the parser or scanner, in octets.
pub(super) const PARSER_LIMIT: usize = 32 << 10;
/// Words that announce a secret: statements with them are redacted even where literals are shown.
const SECRET_WORDS: [&str; 6] = ["passw", "passphrase", "secret", "credential", "token", "scram-sha-256$"];
/// What stands for a hidden rest.
const REDACTED: &str = "[redacted]";
/// Texts whose outcome is remembered.
const REMEMBERED: usize = 1024;
/// Longest text whose outcome is remembered, in octets.
const REMEMBERED_LENGTH: usize = 4 << 10;

// === impl QueryText ===

impl QueryText {
    /// Copies what `settings` may need of `text`, and never more than that: at most 32 KiB, or `max_text` if that is
    /// more and the text is written in full.
    pub(super) fn capture(settings: &AuditSettings, text: &[u8], cut: bool) -> Option<Self> {
        let limit = match settings.statements {
            StatementText::None => return None,
            // What is too long to be parsed is not written at all: nothing of it is needed.
            StatementText::Fingerprint | StatementText::Normalized if cut || text.len() > PARSER_LIMIT => 0,
            StatementText::Fingerprint | StatementText::Normalized => PARSER_LIMIT,
            StatementText::Full => PARSER_LIMIT.max(settings.max_text),
        };
        let kept = &text[..text.len().min(limit)];
        Some(Self { octets: kept.into(), cut: cut || kept.len() < text.len() })
    }

    /// Octets of memory it holds.
    pub(super) fn weight(&self) -> usize {
        self.octets.len()
    }
}

// === impl Withheld ===

impl Withheld {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Ambiguous => "ambiguous_quoting",
            Self::TooLong => "too_long",
        }
    }
}

/// Turns texts into what is written of them, and remembers the short ones. It lives on the writer's thread, since the
/// parser keeps memory for every thread that it was ever used on.
pub(super) struct Shower {
    mode: StatementText,
    max_text: usize,
    remembered: HashMap<Arc<[u8]>, Arc<Shown>, foldhash::fast::RandomState>,
}

impl Shower {
    pub(super) fn new(settings: &AuditSettings) -> Self {
        Self { mode: settings.statements, max_text: settings.max_text, remembered: HashMap::default() }
    }

    pub(super) fn show(&mut self, text: &QueryText) -> Arc<Shown> {
        if let Some(shown) = self.remembered.get(&text.octets).filter(|_| !text.cut) {
            return Arc::clone(shown);
        }
        let shown = Arc::new(self.work_out(text));
        if !text.cut && text.octets.len() <= REMEMBERED_LENGTH {
            if self.remembered.len() >= REMEMBERED {
                self.remembered.clear();
            }
            self.remembered.insert(Arc::clone(&text.octets), Arc::clone(&shown));
        }
        shown
    }

    fn work_out(&self, text: &QueryText) -> Shown {
        let mut shown = match self.mode {
            StatementText::None => Shown::default(),
            StatementText::Fingerprint => fingerprint(text),
            StatementText::Normalized => match scan(text) {
                Ok((source, tokens)) => {
                    let (text, redacted) = without_literals(source, &tokens);
                    Shown { text: Some(text.into()), redacted, ..Shown::default() }
                }
                Err(withheld) => Shown { withheld: Some(withheld), ..Shown::default() },
            },
            StatementText::Full => full(text),
        };
        if let Some(text) = shown.text.as_mut().filter(|text| text.len() > self.max_text) {
            *text = text[..text.floor_char_boundary(self.max_text)].into();
            shown.truncated = true;
        }
        shown
    }
}

fn fingerprint(text: &QueryText) -> Shown {
    let outcome = readable(text).and_then(|source| {
        pg_query::fingerprint(
            source,
            pg_query::ParserOptions::default(),
            pg_query::FingerprintOptions::default(),
        )
        .map_err(|_| Withheld::Unreadable)
    });
    match outcome {
        Ok(fingerprint) => Shown { fingerprint: Some(fingerprint.hex.into()), ..Shown::default() },
        Err(withheld) => Shown { withheld: Some(withheld), ..Shown::default() },
    }
}

/// The text as sent, unless it looks as if it held a secret: then without its literals, and where those cannot be told,
/// only up to the first word that announces a secret.
fn full(text: &QueryText) -> Shown {
    let sent = String::from_utf8_lossy(&text.octets);
    let Some(secret) = secret_word(&sent) else {
        return Shown { text: Some((&*sent).into()), truncated: text.cut, ..Shown::default() };
    };
    let safe = match scan(text) {
        Ok((source, tokens)) => without_literals(source, &tokens).0,
        Err(_) => format!("{} {REDACTED}", &sent[..secret]),
    };
    Shown { text: Some(safe.into()), redacted: true, truncated: text.cut, ..Shown::default() }
}

/// Where the first word that announces a secret begins.
fn secret_word(text: &str) -> Option<usize> {
    let lower = text.to_ascii_lowercase();
    SECRET_WORDS.iter().filter_map(|word| lower.find(word)).min()
}

fn readable(text: &QueryText) -> Result<&str, Withheld> {
    if text.cut || text.octets.len() > PARSER_LIMIT {
        return Err(Withheld::TooLong);
    }
    std::str::from_utf8(&text.octets).map_err(|_| Withheld::Unreadable)
}

fn scan(text: &QueryText) -> Result<(&str, Vec<ScanToken>), Withheld> {
    let source = readable(text)?;
    // `scan_tokens` of pg_query 18.1 makes a slice of a null pointer when there is no token at all: undefined behaviour,
    // and an abort where it is checked. Only white space has no tokens; a comment is one.
    if source.bytes().all(|octet| matches!(octet, b' ' | b'\t'..=b'\r')) {
        return Ok((source, Vec::new()));
    }
    let tokens = pg_query::scan_tokens(source).map_err(|_| Withheld::Unreadable)?;
    // The scanner takes strings as the standard does. With `standard_conforming_strings` off the server does not, and
    // the two part ways at the first plain string that has a backslash before a quote.
    let ambiguous = tokens.iter().any(|token| {
        let word = slice(source, token);
        word.starts_with('\'') && word.contains("\\'")
    });
    if ambiguous { Err(Withheld::Ambiguous) } else { Ok((source, tokens)) }
}

fn slice<'a>(source: &'a str, token: &ScanToken) -> &'a str {
    let at = |octet: i32| usize::try_from(octet).unwrap_or(0);
    source.get(at(token.start)..at(token.end)).unwrap_or_default()
}

/// The text with its literals replaced by `$n`, its comments dropped and its white space made single blanks; and
/// whether a secret that is no literal (`SET app.password = hunter2`) was hidden.
fn without_literals(source: &str, tokens: &[ScanToken]) -> (String, bool) {
    let kind = |token: &ScanToken| Token::try_from(token.token).unwrap_or(Token::Nul);
    let parameters = tokens.iter().filter(|token| kind(token) == Token::Param);
    let mut number =
        parameters.filter_map(|token| slice(source, token)[1..].parse::<u64>().ok()).max().unwrap_or(0);
    let mut shown = String::with_capacity(source.len());
    let (mut last_end, mut redacted, mut hiding) = (0, false, false);
    let mut statement = Vec::new();
    for token in tokens {
        let word = slice(source, token);
        let kind = kind(token);
        if matches!(kind, Token::SqlComment | Token::CComment) {
            continue;
        }
        if kind == Token::Ascii59 {
            statement.clear();
            hiding = false;
        } else if hiding {
            last_end = token.end;
            continue;
        }
        if token.start > last_end && !shown.is_empty() {
            shown.push(' ');
        }
        last_end = token.end;
        match kind {
            Token::Sconst
            | Token::Usconst
            | Token::Bconst
            | Token::Xconst
            | Token::Iconst
            | Token::Fconst => {
                number = number.saturating_add(1);
                shown.push('$');
                shown.push_str(&number.to_string());
            }
            _ => shown.push_str(word),
        }
        if statement.len() < 2 {
            statement.push(word.to_ascii_uppercase());
        }
        if carries_settings(&statement)
            && secret_word(word).is_some()
            && rest_has_bare_word(source, tokens, token)
        {
            shown.push(' ');
            shown.push_str(REDACTED);
            (hiding, redacted) = (true, true);
        }
    }
    (shown, redacted)
}

/// Whether a statement that begins so may give a secret as a bare word, as in `SET app.password = hunter2`, or (wrongly,
/// but it was sent) in `ALTER ROLE bob PASSWORD hunter2`.
fn carries_settings(beginning: &[String]) -> bool {
    match beginning.first().map(String::as_str) {
        Some("SET") => true,
        Some("ALTER" | "CREATE") => matches!(
            beginning.get(1).map(String::as_str),
            Some("ROLE" | "USER" | "GROUP" | "SYSTEM" | "DATABASE" | "SERVER" | "SUBSCRIPTION" | "FOREIGN")
        ),
        _ => false,
    }
}

/// Whether the first token after `secret` that is no `=`, `TO` or `.` is something else than a literal or an end.
fn rest_has_bare_word(source: &str, tokens: &[ScanToken], secret: &ScanToken) -> bool {
    let after = tokens.iter().filter(|token| token.start >= secret.end).find(|token| {
        let joins =
            matches!(slice(source, token), "=" | ".") || slice(source, token).eq_ignore_ascii_case("to");
        let comment = matches!(Token::try_from(token.token), Ok(Token::SqlComment | Token::CComment));
        !joins && !comment
    });
    after.is_some_and(|token| {
        !matches!(
            Token::try_from(token.token),
            Ok(Token::Sconst
                | Token::Usconst
                | Token::Param
                | Token::Ascii59
                | Token::Ascii41
                | Token::Ascii44)
        ) && !slice(source, token).eq_ignore_ascii_case("null")
    })
}

#[cfg(test)]
mod tests;
