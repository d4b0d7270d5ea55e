//! Routing hints in leading comments.

use crate::closed_set::closed_set;

closed_set! {
    /// Hint in a leading comment: `/* gatekeeper: route=primary */` or `/* gatekeeper: route=read */`.
    pub enum Hint {
        /// Route to the primary.
        Primary = "primary",
        /// Treat as a read.
        Read = "read",
    }
}

impl Hint {
    /// The hint spelled by `word`, in any case.
    #[must_use]
    pub fn named(word: &[u8]) -> Option<Self> {
        [Self::Primary, Self::Read]
            .into_iter()
            .find(|hint| word.eq_ignore_ascii_case(hint.as_str().as_bytes()))
    }
}

/// The first hint in the comments before the first statement of `text`. Nested comments and unknown words are ignored.
#[must_use]
pub(super) fn hint(text: &[u8]) -> Option<Hint> {
    let mut rest = text;
    loop {
        rest = rest.trim_ascii_start();
        if let Some(comment) = rest.strip_prefix(b"/*") {
            let end = memchr::memmem::find(comment, b"*/")?;
            let inside = &comment[..end];
            if memchr::memmem::find(inside, b"/*").is_some() {
                return None;
            }
            if let Some(hint) = parse_comment(inside) {
                return Some(hint);
            }
            rest = &comment[end + 2..];
        } else if let Some(comment) = rest.strip_prefix(b"--") {
            rest = &comment[memchr::memchr2(b'\n', b'\r', comment)?..];
        } else {
            return None;
        }
    }
}

/// Parses a comment: `gatekeeper:`, then words with a `route=…`.
fn parse_comment(comment: &[u8]) -> Option<Hint> {
    let comment = comment.trim_ascii();
    let (name, words) = comment.split_at_checked(NAME.len())?;
    if !name.eq_ignore_ascii_case(NAME) {
        return None;
    }
    words.split(|byte| byte.is_ascii_whitespace() || *byte == b',').find_map(|word| {
        let (key, value) = word.split_at_checked(ROUTE.len())?;
        key.eq_ignore_ascii_case(ROUTE).then(|| Hint::named(value)).flatten()
    })
}

const NAME: &[u8] = b"gatekeeper:";
const ROUTE: &[u8] = b"route=";
