//! Renders a statement's text for the log: no text, a fingerprint, the text without literals, or the full text.
//!
//! Promises: without `full`, no literal (including a function's quoted body) and no comment reaches the log, for any
//! text, valid or not; passwords never reach the log, even with `full`. A text that allows no such promise (not
//! scannable, ambiguous quoting, too long) is withheld with a reason.
//!
//! Literals are found by the server's own scanner. `pg_query::normalize` is not enough: it leaves the literals of
//! utility statements (`EXECUTE p(4111…)`, `COPY … FROM PROGRAM '…'`, `COMMENT … IS '…'`, defaults) and all comments,
//! needs text that parses, and costs five times as much.

mod literals;
mod secrets;

use std::{collections::HashMap, sync::Arc};

use aws_lc_rs::digest;

use self::literals::{scan_text, without_literals};
use super::{AuditSettings, StatementText};
use crate::closed_set::closed_set;

/// A statement's text before rendering. Cheap to clone: all executions of a prepared statement share one.
#[derive(Clone)]
pub struct QueryText {
    /// The part that may be needed; see [`QueryText::capture_text`].
    bytes: Arc<[u8]>,
    /// `bytes` is truncated.
    cut: bool,
}

/// The rendered text of a statement.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct RenderedText {
    /// `db.query.text`
    pub(super) text: Option<Box<str>>,
    /// `db.query.fingerprint`
    pub(super) fingerprint: Option<Box<str>>,
    /// `db.query.truncated`: the end of the text is missing.
    pub(super) truncated: bool,
    /// `db.query.redacted`: a part was hidden that the settings would otherwise show.
    pub(super) redacted: bool,
    /// `db.query.withheld`: reason for a missing text.
    pub(super) withheld: Option<Withheld>,
}

closed_set! {
    /// Reason for withholding a text.
    pub(super) enum Withheld {
        /// Not scannable or not UTF-8, so literals cannot be identified.
        Unreadable = "unreadable",
        /// A backslash before a quote, whose meaning depends on `standard_conforming_strings`.
        Ambiguous = "ambiguous_quoting",
        /// Longer than the limit of the parser.
        TooLong = "too_long",
    }
}

/// Maximum length of a text for the parser or scanner, in bytes.
pub(super) const MAX_PARSED_BYTES: usize = 32 << 10;
/// Replaces a hidden rest.
const REDACTED: &str = "[redacted]";
/// Maximum number of cached results.
const MAX_CACHED_RESULTS: usize = 1024;
/// Maximum length of a text whose result is cached, in bytes.
const MAX_CACHED_TEXT_BYTES: usize = 4 << 10;

// === impl QueryText ===

impl QueryText {
    /// Copies the part of `text` that `settings` may need: at most 32 KiB, or `max_text` if larger and the text is
    /// written in full.
    pub(super) fn capture_text(settings: &AuditSettings, text: &[u8], cut: bool) -> Option<Self> {
        let limit = match settings.statements {
            StatementText::None => return None,
            // A text beyond the parser's limit is withheld entirely, so no copy is needed.
            StatementText::Fingerprint | StatementText::Normalized
                if cut || text.len() > MAX_PARSED_BYTES =>
            {
                0
            }
            StatementText::Fingerprint | StatementText::Normalized => MAX_PARSED_BYTES,
            StatementText::Full => MAX_PARSED_BYTES.max(settings.max_text),
        };
        let kept = &text[..text.len().min(limit)];
        Some(Self { bytes: kept.into(), cut: cut || kept.len() < text.len() })
    }

    /// Bytes of memory in use.
    pub(super) fn weight(&self) -> usize {
        self.bytes.len()
    }
}

/// Renders texts and caches the results of short ones. Used on the writer's thread only, because the parser keeps
/// memory for every thread that has used it.
pub(super) struct TextRenderer {
    mode: StatementText,
    max_text: usize,
    remembered: HashMap<Arc<[u8]>, Arc<RenderedText>, foldhash::fast::RandomState>,
}

impl TextRenderer {
    pub(super) fn new(settings: &AuditSettings) -> Self {
        Self { mode: settings.statements, max_text: settings.max_text, remembered: HashMap::default() }
    }

    pub(super) fn show(&mut self, text: &QueryText) -> Arc<RenderedText> {
        if let Some(shown) = self.remembered.get(&text.bytes).filter(|_| !text.cut) {
            return Arc::clone(shown);
        }
        let shown = Arc::new(self.work_out(text));
        if !text.cut && text.bytes.len() <= MAX_CACHED_TEXT_BYTES {
            if self.remembered.len() >= MAX_CACHED_RESULTS {
                self.remembered.clear();
            }
            self.remembered.insert(Arc::clone(&text.bytes), Arc::clone(&shown));
        }
        shown
    }

    fn work_out(&self, text: &QueryText) -> RenderedText {
        let mut shown = match self.mode {
            StatementText::None => RenderedText::default(),
            StatementText::Fingerprint => render_fingerprint(text),
            StatementText::Normalized => match scan_text(text) {
                Ok((source, tokens)) => {
                    let (text, redacted) = without_literals(source, &tokens);
                    RenderedText { text: Some(text.into()), redacted, ..RenderedText::default() }
                }
                Err(withheld) => RenderedText { withheld: Some(withheld), ..RenderedText::default() },
            },
            StatementText::Full => render_full(text),
        };
        if let Some(text) = shown.text.as_mut().filter(|text| text.len() > self.max_text) {
            *text = text[..text.floor_char_boundary(self.max_text)].into();
            shown.truncated = true;
        }
        shown
    }
}

fn render_fingerprint(text: &QueryText) -> RenderedText {
    match scan_text(text).and_then(|(source, tokens)| {
        // The parser's fingerprint of a utility statement includes some literals, so a password could be guessed from
        // it.
        if !literals::are_queries(source, &tokens) {
            return Ok(hash_text(&without_literals(source, &tokens).0));
        }
        pg_query::fingerprint(
            source,
            pg_query::ParserOptions::default(),
            pg_query::FingerprintOptions::default(),
        )
        .map(|fingerprint| fingerprint.hex)
        .map_err(|_| Withheld::Unreadable)
    }) {
        Ok(fingerprint) => RenderedText { fingerprint: Some(fingerprint.into()), ..RenderedText::default() },
        Err(withheld) => RenderedText { withheld: Some(withheld), ..RenderedText::default() },
    }
}

/// Sixteen hexadecimal digits, the form of a fingerprint.
fn hash_text(text: &str) -> String {
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    hash.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The text as sent. If a secret is likely: the text without literals, or, if literals cannot be identified, the text
/// up to the word that announces the secret.
fn render_full(text: &QueryText) -> RenderedText {
    let sent = String::from_utf8_lossy(&text.bytes);
    let announced = secrets::find_word(&sent).into_iter().chain(secrets::find_spelling(&sent)).min();
    let safe = match scan_text(text) {
        Ok((source, tokens)) => (announced.is_some() || secrets::is_carried(source, &tokens))
            .then(|| without_literals(source, &tokens).0),
        Err(_) => announced
            .into_iter()
            .chain(secrets::find_statement(&sent))
            .min()
            .map(|at| format!("{} {REDACTED}", &sent[..at]).trim_start().to_owned()),
    };
    match safe {
        Some(safe) => RenderedText {
            text: Some(safe.into()),
            redacted: true,
            truncated: text.cut,
            ..RenderedText::default()
        },
        None => RenderedText { text: Some((&*sent).into()), truncated: text.cut, ..RenderedText::default() },
    }
}

fn utf8_within_limit(text: &QueryText) -> Result<&str, Withheld> {
    if text.cut || text.bytes.len() > MAX_PARSED_BYTES {
        return Err(Withheld::TooLong);
    }
    std::str::from_utf8(&text.bytes).map_err(|_| Withheld::Unreadable)
}

#[cfg(test)]
mod tests;
