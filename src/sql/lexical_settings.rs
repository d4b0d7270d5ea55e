//! What changes a text's meaning besides the text.

/// What changes a text's meaning besides the text and the database: settings of the session that sends it.
///
/// `search_path` is not among them: an unqualified name is judged as the worst that any `search_path` could lead it to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct LexicalSettings {
    /// `standard_conforming_strings` is on: a backslash in `'…'` is a backslash.
    pub standard_strings: bool,
    /// `client_encoding` is UTF-8. Of other encodings only texts in ASCII can be judged: the second byte of a character may
    /// look like a quote.
    pub utf8: bool,
}

impl Default for LexicalSettings {
    /// What servers do that were not told otherwise.
    fn default() -> Self {
        Self { standard_strings: true, utf8: true }
    }
}
