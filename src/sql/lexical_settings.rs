//! Session settings that affect the reading of a text.

/// Session settings that affect the reading of a text.
///
/// Without `search_path`: an unqualified name counts as the worst object of that name in any schema.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct LexicalSettings {
    /// `standard_conforming_strings` is on: a backslash in `'…'` is a backslash.
    pub standard_strings: bool,
    /// `client_encoding` is UTF-8. In other encodings only ASCII texts can be classified: the second byte of a
    /// character may equal a quote.
    pub utf8: bool,
}

impl Default for LexicalSettings {
    /// PostgreSQL's defaults.
    fn default() -> Self {
        Self { standard_strings: true, utf8: true }
    }
}
