//! Text that is code once more (bodies), and text that can be read in two ways.

use super::{
    Effects,
    keyword::may_matter,
    lexer::{Lexer, begins_word, is_space, word_length},
    scan::{Before, Scan, ScannedStatement, TextOrigin},
};

/// How deep bodies within bodies are followed.
const DEEPEST: u8 = 4;

impl<F: FnMut(&[u8])> Scan<'_, F> {
    /// A text constant that will run.
    pub(super) fn scan_body(&mut self, content: &[u8], plain: bool) {
        if self.depth == DEEPEST {
            self.effects |= Effects::ALL;
            return;
        }
        self.depth += 1;
        if plain {
            self.text(content, TextOrigin::Body);
        } else {
            self.scan_raw(content);
        }
        self.depth -= 1;
    }

    /// Scans `text` with quotes and comments read as code, which covers every reading by the server: a statement may
    /// begin behind any quote, comment, dollar sign and semicolon.
    pub(super) fn scan_raw(&mut self, text: &[u8]) {
        // String ends are unknown, and so are the called functions.
        self.effects |= Effects::UNPROVED | Effects::UNKNOWN;
        let place = if self.depth > 0 || self.effects.contains(Effects::BLOCK) {
            TextOrigin::Body
        } else {
            TextOrigin::Client
        };
        let mut statement = ScannedStatement::default();
        let mut before = Before::Start;
        let mut line_comment = false;
        let mut at = 0;
        while let Some(&byte) = text.get(at) {
            if begins_word(byte) {
                let length = word_length(&text[at..]);
                let word = &text[at..at + length];
                at += length;
                let start = before;
                before = Before::Other;
                if may_matter(word) {
                    before = self.word(word, start, &mut statement, Lexer::from(text, at), place);
                }
                if word.eq_ignore_ascii_case(b"u") && text[at..].starts_with(b"&\"") {
                    self.effects |= Effects::ALL;
                }
                if self.catalogue.contains(word) {
                    self.effects |= Effects::FUNCTION;
                }
                continue;
            }
            let next = text.get(at + 1).copied();
            at += 1;
            match byte {
                b';' | b'\'' | b'"' | b'$' | b'>' => before = Before::Start,
                b'*' if next == Some(b'/') => before = Before::Start,
                b'-' if next == Some(b'-') => line_comment = true,
                b'\n' | b'\r' if line_comment => {
                    line_comment = false;
                    before = Before::Start;
                }
                b'-' | b'/' | b'*' => {}
                _ if is_space(byte) => {}
                _ => before = Before::Other,
            }
        }
        if self.catalogue.stateful.has_quoted_only() {
            self.effects |= Effects::FUNCTION;
        }
    }
}
