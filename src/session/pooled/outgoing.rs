//! Bytes that Gatekeeper itself sends, in both directions, and a server message kept back from the client.
//!
//! Promises: bytes leave in the order they were written, ahead of any bytes that the driver forwards afterwards. Refuses
//! to know: meanings of messages.

use super::partial_message::PartialMessage;

/// Bytes to send, in both directions.
#[derive(Default)]
pub(in crate::session) struct Outgoing {
    to_backend: Vec<u8>,
    to_client: Vec<u8>,
    /// Server message larger than any buffer, not forwarded to the client on arrival.
    kept_back: Option<PartialMessage>,
}

// === impl Outgoing ===

impl Outgoing {
    /// Buffer for bytes to the backend.
    pub(in crate::session) fn backend(&mut self) -> &mut Vec<u8> {
        &mut self.to_backend
    }

    /// Buffer for bytes to the client.
    pub(in crate::session) fn client(&mut self) -> &mut Vec<u8> {
        &mut self.to_client
    }

    /// True if bytes to the backend wait.
    pub(in crate::session) fn has_backend_bytes(&self) -> bool {
        !self.to_backend.is_empty()
    }

    /// Forgets bytes for a lost backend, and its incomplete message.
    pub(in crate::session) fn forget_backend(&mut self) {
        self.to_backend.clear();
        self.kept_back = None;
    }

    /// Keeps back a server message.
    pub(in crate::session) fn keep_back(&mut self, message: PartialMessage) {
        self.kept_back = Some(message);
    }

    /// True if the next bytes of the server belong to a message kept back.
    pub(in crate::session) const fn keeps_back(&self) -> bool {
        self.kept_back.is_some()
    }

    /// Appends the next bytes of the message kept back. Returns the message once complete.
    pub(in crate::session) fn keep_more(&mut self, bytes: &[u8]) -> Option<PartialMessage> {
        let kept = self.kept_back.as_mut()?;
        kept.append(bytes);
        self.kept_back.take_if(|kept| kept.is_complete())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_message_comes_back_complete() {
        let mut outgoing = Outgoing::default();
        outgoing.keep_back(PartialMessage::new(b'D', b"D", 3));
        assert!(outgoing.keep_more(b"ab").is_none() && outgoing.keeps_back());
        assert_eq!(outgoing.keep_more(b"c").unwrap().bytes(), b"Dabc");
        assert!(!outgoing.keeps_back());
    }

    #[test]
    fn a_skipped_message_has_no_bytes() {
        let mut outgoing = Outgoing::default();
        outgoing.keep_back(PartialMessage::skipped(b'D', 3));
        assert!(outgoing.keep_more(b"abc").unwrap().bytes().is_empty());
    }

    #[test]
    fn a_lost_backend_gets_nothing() {
        let mut outgoing = Outgoing::default();
        outgoing.backend().push(b'X');
        outgoing.client().push(b'Z');
        outgoing.keep_back(PartialMessage::new(b'D', b"D", 3));
        outgoing.forget_backend();
        assert!(!outgoing.has_backend_bytes() && !outgoing.keeps_back());
        assert_eq!(outgoing.client(), b"Z");
    }
}
