//! Texts of a transaction that were classified with a possibly outdated catalog.

/// Texts classified with a possibly outdated catalog.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::session) struct OutdatedTexts {
    texts: Vec<Box<[u8]>>,
    bytes: usize,
    /// More texts existed than are kept.
    incomplete: bool,
}

/// Maximum bytes of outdated texts in a session. A transaction seldom has more; the backend is closed after a larger
/// transaction.
const OUTDATED_TEXTS_BYTES: usize = 64 * 1024;

// === impl OutdatedTexts ===

impl OutdatedTexts {
    /// Keeps `text`, unless kept already.
    pub(in crate::session) fn push(&mut self, text: &[u8]) {
        if self.texts.iter().any(|known| **known == *text) {
            return;
        }
        if self.bytes + text.len() > OUTDATED_TEXTS_BYTES {
            self.incomplete = true;
            return;
        }
        self.bytes += text.len();
        self.texts.push(text.into());
    }

    /// Keeps the texts of `other`, too.
    pub(super) fn append(&mut self, other: Self) {
        for text in &other.texts {
            self.push(text);
        }
        self.incomplete |= other.incomplete;
    }

    /// True if no text was kept or left out.
    pub(in crate::session) fn is_empty(&self) -> bool {
        self.texts.is_empty() && !self.incomplete
    }

    /// Forgets all texts.
    pub(super) fn clear(&mut self) {
        if !self.is_empty() {
            *self = Self::default();
        }
    }

    /// Takes the texts; the flag is true if the list is complete.
    pub(super) fn take(&mut self) -> (Vec<Box<[u8]>>, bool) {
        let Self { texts, incomplete, .. } = std::mem::take(self);
        (texts, !incomplete)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_kept_once() {
        let mut texts = OutdatedTexts::default();
        for text in [&b"SELECT f()"[..], b"SELECT g()", b"SELECT f()"] {
            texts.push(text);
        }
        let (kept, is_complete) = texts.take();
        assert_eq!((kept.len(), is_complete), (2, true));
        assert_eq!(texts.take(), (Vec::new(), true));
    }

    #[test]
    fn appended_texts_are_complete_only_together() {
        let (mut texts, mut more) = (OutdatedTexts::default(), OutdatedTexts::default());
        texts.push(b"SELECT f()");
        more.push(b"SELECT g()");
        more.push(&vec![b' '; OUTDATED_TEXTS_BYTES]);
        texts.append(more);
        let (kept, is_complete) = texts.take();
        assert_eq!((kept.len(), is_complete), (2, false));
    }

    #[test]
    fn a_list_without_room_is_incomplete() {
        let mut texts = OutdatedTexts::default();
        texts.push(&[b'x'; OUTDATED_TEXTS_BYTES]);
        texts.push(b"SELECT f()");
        assert!(!texts.take().1);
        texts.push(&[b'x'; OUTDATED_TEXTS_BYTES + 1]);
        texts.clear();
        assert!(texts.take().1);
    }
}
