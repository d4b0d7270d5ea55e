//! Text of a query without literals: texts that differ only in literals share a classification.

use arrayvec::ArrayVec;

use super::lexer::{Lexer, Token};

/// A longer template is not worth to be kept.
const LONGEST: usize = 4096;

/// Text of a single query without literal values and comments. Two texts with equal templates have equal trees, except
/// for the values.
pub(super) struct Template {
    bytes: ArrayVec<u8, LONGEST>,
    /// True if a literal was removed.
    pub(super) literal: bool,
}

/// Placeholders for removed parts: neither tokens nor white space contain the bytes.
const COMMENT: u8 = 1;
const TEXT: u8 = 2;
const NUMBER: u8 = 3;

impl Template {
    /// The template of `text`; `None` unless the text is a single query with one reading, a short template, and
    /// literals that do not matter.
    pub(super) fn from_text(text: &[u8]) -> Option<Self> {
        let mut lexer = Lexer::new(text);
        let mut template = Self { bytes: ArrayVec::new(), literal: false };
        // Start of the text still to copy.
        let mut copied = 0;
        let mut first = true;
        loop {
            let (before, comments) = (lexer.at(), lexer.comment_count());
            let token = lexer.next();
            if lexer.comment_count() != comments {
                template.extend(&text[copied..before])?;
                template.push(COMMENT)?;
                copied = lexer.began();
            }
            let Some(token) = token else { break };
            if first && !begins_query(token) {
                return None;
            }
            first = false;
            let mark = match token {
                Token::Word(word) if value_matters(word) => return None,
                Token::Quoted(name) if value_matters(name) || name.iter().any(|byte| *byte < b' ') => {
                    return None;
                }
                Token::Symbol(b';') => {
                    template.extend(&text[copied..lexer.began()])?;
                    return (lexer.next().is_none() && !lexer.has_doubt()).then_some(template);
                }
                Token::Symbol(byte) if byte < b' ' => return None,
                Token::Word(_) | Token::Quoted(_) | Token::Parameter | Token::Symbol(_) => continue,
                Token::Text { .. } => TEXT,
                Token::Number => NUMBER,
            };
            template.literal = true;
            template.extend(&text[copied..lexer.began()])?;
            template.push(mark)?;
            copied = lexer.at();
        }
        template.extend(&text[copied..])?;
        (!lexer.has_doubt() && !first).then_some(template)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    #[inline]
    fn push(&mut self, byte: u8) -> Option<()> {
        self.bytes.try_push(byte).ok()
    }

    #[inline]
    fn extend(&mut self, bytes: &[u8]) -> Option<()> {
        self.bytes.try_extend_from_slice(bytes).ok()
    }
}

fn begins_query(token: Token<'_>) -> bool {
    match token {
        Token::Word(word) => ["select", "with", "values", "table"]
            .iter()
            .any(|known| word.eq_ignore_ascii_case(known.as_bytes())),
        token => token == Token::Symbol(b'('),
    }
}

/// True if literals behind `name` may matter: see [`super::arguments`].
fn value_matters(name: &[u8]) -> bool {
    matches!(name.len(), 10 | 15)
        && (name.eq_ignore_ascii_case(b"set_config") || name.eq_ignore_ascii_case(b"current_setting"))
}
