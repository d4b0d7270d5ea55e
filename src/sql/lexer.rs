//! Tokens of a statement text, by the rules of PostgreSQL's scanner that determine the position of words.
//!
//! <https://www.postgresql.org/docs/current/sql-syntax-lexical.html>. Where the rules depend on unknown settings
//! (`standard_conforming_strings`, the client's encoding), the lexer chooses a reading and sets [`Lexer::has_doubt`].
//! Refuses to know: keywords, numbers, operators, which are words and symbols.

use super::name_set::NAME_LENGTH;

/// A token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Token<'a> {
    /// A keyword or an identifier without quotes, as written.
    Word(&'a [u8]),
    /// Text between double quotes, with inner quotes still doubled.
    Quoted(&'a [u8]),
    /// A string constant of any kind, without quotes.
    Text {
        /// Text between the quotes.
        content: &'a [u8],
        /// True without escapes: the content is literal.
        plain: bool,
    },
    /// `$1`.
    Parameter,
    /// Digits: a number, or the start of a number.
    Number,
    /// Any other byte.
    Symbol(u8),
}

/// Reads tokens from the front of a text. Copy the lexer to look ahead.
#[derive(Clone, Copy)]
pub(super) struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    /// Start of the last token; the end of the text behind the last token.
    began: usize,
    /// Comments that were passed over.
    comments: usize,
    doubt: bool,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self::from(text, 0)
    }

    /// Starts at `at` bytes into `text`.
    pub(super) fn from(text: &'a [u8], at: usize) -> Self {
        Self { text, at, began: at, comments: 0, doubt: false }
    }

    /// True if the text read so far has another possible reading.
    pub(super) fn has_doubt(&self) -> bool {
        self.doubt
    }

    /// The unread text.
    pub(super) fn rest(&self) -> &'a [u8] {
        &self.text[self.at..]
    }

    /// Bytes read so far.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Start of the last token; the end of the text behind the last token.
    pub(super) fn began(&self) -> usize {
        self.began
    }

    /// How many comments were passed over.
    pub(super) fn comment_count(&self) -> usize {
        self.comments
    }

    /// The next token, over white space and comments.
    #[inline]
    pub(super) fn next(&mut self) -> Option<Token<'a>> {
        loop {
            self.began = self.at;
            let byte = *self.text.get(self.at)?;
            match CLASS[usize::from(byte)] {
                Class::Space => self.at += 1,
                Class::Letter => return Some(self.word()),
                Class::Digit => {
                    self.skip_while(|class| class == Class::Digit);
                    return Some(Token::Number);
                }
                Class::Other => {
                    if let Some(token) = self.read_symbol(byte) {
                        return Some(token);
                    }
                }
            }
        }
    }

    #[inline]
    fn skip_while(&mut self, wanted: impl Fn(Class) -> bool) {
        while self.text.get(self.at).is_some_and(|byte| wanted(CLASS[usize::from(*byte)])) {
            self.at += 1;
        }
    }

    #[inline]
    fn word(&mut self) -> Token<'a> {
        let rest = &self.text[self.at..];
        let word = &rest[..word_length(rest)];
        self.at += word.len();
        if word.len() == 1 && self.text.get(self.at) == Some(&b'\'') && matches!(word, b"e" | b"E") {
            self.at += 1;
            return self.read_string(true);
        }
        Token::Word(word)
    }

    /// Reads a token that begins with neither letter, digit nor space; `None` after a comment.
    #[inline]
    fn read_symbol(&mut self, byte: u8) -> Option<Token<'a>> {
        let next = self.text.get(self.at + 1).copied();
        match (byte, next) {
            (b'\'', _) => {
                self.at += 1;
                Some(self.read_string(false))
            }
            (b'"', _) => {
                self.at += 1;
                Some(self.read_quoted())
            }
            (b'$', _) => Some(self.read_dollar_quoted()),
            (b'-', Some(b'-')) => {
                self.comments += 1;
                // PostgreSQL ends the comment at a carriage return, too.
                let length = memchr::memchr2(b'\n', b'\r', self.rest());
                self.at = length.map_or(self.text.len(), |length| self.at + length);
                None
            }
            (b'/', Some(b'*')) => {
                self.comments += 1;
                self.skip_comment();
                None
            }
            _ => {
                self.at += 1;
                Some(Token::Symbol(byte))
            }
        }
    }

    /// Over a comment; comments nest.
    fn skip_comment(&mut self) {
        self.at += 2;
        let mut depth = 1;
        while depth > 0 {
            let Some(found) = memchr::memchr2(b'/', b'*', self.rest()) else {
                self.at = self.text.len();
                self.doubt = true;
                return;
            };
            self.at += found;
            match self.rest() {
                [b'/', b'*', ..] => depth += 1,
                [b'*', b'/', ..] => depth -= 1,
                _ => {
                    self.at += 1;
                    continue;
                }
            }
            self.at += 2;
        }
    }

    /// Reads a string behind the opening quote. With `escapes`, a backslash escapes the next byte.
    fn read_string(&mut self, escapes: bool) -> Token<'a> {
        let from = self.at;
        let mut plain = true;
        while let Some(found) = memchr::memchr(b'\'', self.rest()) {
            let quote = self.at + found;
            let backslashes = self.text[from..quote].iter().rev().take_while(|byte| **byte == b'\\').count();
            self.at = quote + 1;
            // The backslash may be the second byte of a character, or `standard_conforming_strings` may be off.
            self.doubt |= backslashes > 0;
            if escapes && backslashes % 2 == 1 {
                plain = false;
            } else if self.text.get(self.at) == Some(&b'\'') {
                plain = false;
                self.at += 1;
            } else {
                let content = &self.text[from..quote];
                return Token::Text { content, plain: plain && !content.contains(&b'\\') };
            }
        }
        self.end_unfinished(from)
    }

    /// Reads an identifier behind the opening quote.
    fn read_quoted(&mut self) -> Token<'a> {
        let from = self.at;
        // Mostly a few bytes: `memchr` would take longer to begin.
        while let Some(found) = self.rest().iter().position(|byte| *byte == b'"') {
            let quote = self.at + found;
            self.at = quote + 1;
            if self.text.get(self.at) != Some(&b'"') {
                return Token::Quoted(&self.text[from..quote]);
            }
            self.at += 1;
        }
        self.end_unfinished(from)
    }

    /// `$1`, `$$…$$`, `$tag$…$tag$`, or a dollar sign.
    fn read_dollar_quoted(&mut self) -> Token<'a> {
        let from = self.at;
        // Behind the second byte of a multibyte character, the `$` would continue an identifier.
        self.doubt |= from > 1 && self.text[from - 2] >= 0x80;
        self.at += 1;
        if self.text.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.skip_while(|class| class == Class::Digit);
            return Token::Parameter;
        }
        self.skip_while(|class| matches!(class, Class::Letter | Class::Digit));
        let tag = &self.text[from..self.at];
        self.doubt |= !tag.is_ascii();
        if self.text.get(self.at) != Some(&b'$') {
            self.at = from + 1;
            return Token::Symbol(b'$');
        }
        self.at += 1;
        let tag = &self.text[from..self.at];
        let inside = self.at;
        match memchr::memmem::find(self.rest(), tag) {
            Some(length) => {
                self.at += length + tag.len();
                Token::Text { content: &self.text[inside..inside + length], plain: true }
            }
            None => self.end_unfinished(inside),
        }
    }

    /// Unterminated: PostgreSQL rejects the text in the same reading.
    fn end_unfinished(&mut self, from: usize) -> Token<'a> {
        self.doubt = true;
        self.at = self.text.len();
        Token::Text { content: &self.text[from..], plain: false }
    }
}

/// Class of a token's first byte.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Space,
    Letter,
    Digit,
    Other,
}

const CLASS: [Class; 256] = {
    let mut classes = [Class::Other; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => Class::Space,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => Class::Letter,
            b'0'..=b'9' => Class::Digit,
            _ => Class::Other,
        };
        byte += 1;
    }
    classes
};

/// How many bytes of a word stand at the front of `text`.
#[inline]
pub(super) fn word_length(text: &[u8]) -> usize {
    text.iter().position(|byte| !IN_WORD[usize::from(*byte)]).unwrap_or(text.len())
}

static IN_WORD: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = matches!(CLASS[byte], Class::Letter | Class::Digit) || byte == b'$' as usize;
        byte += 1;
    }
    table
};

/// True if `byte` may begin a word.
#[inline]
pub(super) fn begins_word(byte: u8) -> bool {
    CLASS[usize::from(byte)] == Class::Letter
}

/// True for white space.
#[inline]
pub(super) fn is_space(byte: u8) -> bool {
    CLASS[usize::from(byte)] == Class::Space
}

/// The name that an identifier without quotes means: folded and cut as PostgreSQL does; `None` where the server's
/// encoding decides how.
pub(super) fn folded(word: &[u8]) -> Option<Vec<u8>> {
    (word.is_ascii() || word.len() <= NAME_LENGTH)
        .then(|| word[..word.len().min(NAME_LENGTH)].to_ascii_lowercase())
}
