//! Beginning of a message larger than any buffer.

/// Beginning of a message larger than any buffer.
pub(in crate::session) struct PartialMessage {
    tag: u8,
    /// The bytes so far, from the tag on; empty if the message is too large to be kept.
    bytes: Vec<u8>,
    /// Count of bytes still to come.
    missing: usize,
}

// === impl PartialMessage ===

impl PartialMessage {
    /// Keeps the `beginning` of a message, from the tag on; `missing` bytes are still to come.
    pub(super) fn new(tag: u8, beginning: &[u8], missing: usize) -> Self {
        let mut bytes = Vec::with_capacity(beginning.len() + missing);
        bytes.extend_from_slice(beginning);
        Self { tag, bytes, missing }
    }

    /// Counts a message of which no byte is kept.
    pub(super) const fn skipped(tag: u8, missing: usize) -> Self {
        Self { tag, bytes: Vec::new(), missing }
    }

    /// Appends the next bytes of the message.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.missing = self.missing.saturating_sub(bytes.len());
        if !self.bytes.is_empty() {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// True if no byte is missing.
    pub(super) const fn is_complete(&self) -> bool {
        self.missing == 0
    }

    /// Tag of the message.
    pub(super) const fn tag(&self) -> u8 {
        self.tag
    }

    /// The bytes so far, from the tag on; empty if the message is too large to be kept.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_complete_with_its_last_byte() {
        let mut message = PartialMessage::new(b'Q', b"Q", 3);
        message.append(b"ab");
        assert!(!message.is_complete());
        message.append(b"c");
        assert!(message.is_complete());
        assert_eq!((message.tag(), message.bytes()), (b'Q', &b"Qabc"[..]));
    }

    #[test]
    fn a_skipped_message_has_no_bytes() {
        let mut message = PartialMessage::skipped(b'D', 3);
        message.append(b"abc");
        assert!(message.is_complete() && message.bytes().is_empty());
    }
}
