//! A query's text without its literals: clients that write values into their texts share one judgement.

use super::lexer::{Lexer, Token, is_space};

/// A longer template is not worth to be kept.
const LONGEST: usize = 4096;

/// All tokens of one query but the values of its literals. Two texts with the same template have the same tree, but for the
/// values in it.
pub(super) struct Template {
    octets: [u8; LONGEST],
    length: usize,
    /// No literal was left out: the text says no more than its template.
    pub(super) literal: bool,
}

/// Marks that stand for themselves: no token is written with one of these octets.
const GAP: u8 = 1;
const TEXT: u8 = 2;
const NUMBER: u8 = 3;
const PARAMETER: u8 = 4;
const QUOTED: u8 = 5;
const END: u8 = 6;

impl Template {
    /// The template of `text`; `None` if it is not one query, if it can be read in two ways, if the value of a literal may
    /// matter, or if it is too long.
    pub(super) fn of(text: &[u8]) -> Option<Self> {
        let mut lexer = Lexer::new(text);
        let mut template = Self { octets: [0; LONGEST], length: 0, literal: false };
        let mut first = true;
        loop {
            if is_gap(lexer.rest()) {
                template.push(GAP)?;
            }
            let Some(token) = lexer.next() else { break };
            if first && !begins_query(token) {
                return None;
            }
            first = false;
            match token {
                Token::Word(word) => {
                    if value_matters(word) {
                        return None;
                    }
                    template.extend(word)?;
                    // A word that touches what follows is another one than a word that is longer.
                    template.push(END)?;
                }
                Token::Quoted(name) => {
                    if value_matters(name) || name.iter().any(|octet| *octet < b' ') {
                        return None;
                    }
                    template.push(QUOTED)?;
                    template.extend(name)?;
                    template.push(END)?;
                }
                Token::Text { .. } => {
                    template.literal = true;
                    template.push(TEXT)?;
                }
                Token::Number => {
                    template.literal = true;
                    template.push(NUMBER)?;
                }
                Token::Parameter => template.push(PARAMETER)?,
                Token::Symbol(b';') => {
                    return (lexer.next().is_none() && !lexer.doubt()).then_some(template);
                }
                Token::Symbol(octet) if octet < b' ' => return None,
                Token::Symbol(octet) => template.push(octet)?,
            }
        }
        (!lexer.doubt() && !first).then_some(template)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.octets[..self.length]
    }

    #[inline]
    fn push(&mut self, octet: u8) -> Option<()> {
        *self.octets.get_mut(self.length)? = octet;
        self.length += 1;
        Some(())
    }

    #[inline]
    fn extend(&mut self, octets: &[u8]) -> Option<()> {
        let room = self.octets.get_mut(self.length..self.length + octets.len())?;
        room.copy_from_slice(octets);
        self.length += octets.len();
        Some(())
    }
}

/// Whether white space or a comment follows.
#[inline]
fn is_gap(rest: &[u8]) -> bool {
    match rest {
        [b'-', b'-', ..] | [b'/', b'*', ..] => true,
        [octet, ..] => is_space(*octet),
        [] => false,
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

/// Whether the literals behind `name` may decide: see [`super::arguments`].
fn value_matters(name: &[u8]) -> bool {
    matches!(name.len(), 10 | 15)
        && (name.eq_ignore_ascii_case(b"set_config") || name.eq_ignore_ascii_case(b"current_setting"))
}
