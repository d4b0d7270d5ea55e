//! Client bytes of one call.
//!
//! Promises: each byte is taken once, in order, and reaches the backend behind all bytes written ahead of it. Refuses to
//! know: meanings of messages.

use super::client_message::ClientMessage;
use crate::{
    session::consumed_input::ConsumedInput,
    wire::{Frame, Speaker, frontend::DescribeTarget, tag::frontend as f},
};

/// Client bytes of one call. The bytes go to the backend in place, or, from the first addition on, through Gatekeeper's
/// own buffer.
pub(super) struct ClientInput<'a> {
    bytes: &'a [u8],
    /// Position of the first byte in all input of the client; `None` for messages that are sent again.
    start: Option<u64>,
    /// Count of bytes taken.
    at: usize,
    path: ForwardPath,
    /// The driver has no room for more bytes before some of these are consumed.
    is_full: bool,
    /// The message being processed was larger than any buffer, and is complete; the next messages are unknown.
    is_gathered: bool,
}

/// Way of forwarded bytes to the backend.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ForwardPath {
    /// The driver forwards the bytes in place.
    InPlace,
    /// Gatekeeper's buffer, behind an addition.
    Buffer,
}

/// First use of the unnamed portal by the client's next messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NextPortalUse {
    /// Another portal takes its place.
    Replaces,
    /// The portal, or a named one, is executed or described.
    Uses,
    /// The messages do not tell.
    Unknown,
}

// === impl ClientInput ===

impl<'a> ClientInput<'a> {
    /// Input read from the client; `is_full`: the driver has no room for more bytes. `is_staged`: bytes wait in
    /// Gatekeeper's buffer already.
    pub(super) const fn read(bytes: &'a [u8], is_full: bool, is_staged: bool) -> Self {
        let path = if is_staged { ForwardPath::Buffer } else { ForwardPath::InPlace };
        Self { bytes, start: None, at: 0, path, is_full, is_gathered: false }
    }

    /// The input, which begins at `start` in all input of the client.
    pub(super) const fn starting_at(self, start: u64) -> Self {
        Self { start: Some(start), ..self }
    }

    /// Position of the byte `ahead` of the next one. A message larger than any buffer has the position of its last byte.
    pub(super) fn position(&self, ahead: usize) -> Option<u64> {
        let before = self.start? + self.at as u64;
        Some(before + ahead as u64 - u64::from(self.is_gathered))
    }

    /// Input for a replay: no further bytes belong to the unit.
    pub(super) const fn replayed(bytes: &'a [u8]) -> Self {
        Self::read(bytes, true, true)
    }

    /// No input: Gatekeeper's own messages need no client message.
    pub(super) const fn none() -> Self {
        Self::read(&[], false, true)
    }

    /// Bytes not taken yet.
    pub(super) fn unread(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Count of bytes taken.
    pub(super) const fn taken(&self) -> usize {
        self.at
    }

    /// Treatment of the bytes taken, for the driver.
    pub(super) fn into_consumed(self) -> ConsumedInput {
        match self.path {
            ForwardPath::InPlace => ConsumedInput { forward: self.at, discard: 0 },
            ForwardPath::Buffer => ConsumedInput { forward: 0, discard: self.at },
        }
    }

    /// True if the first message cannot become more complete: the driver has no room for more bytes.
    pub(super) const fn is_stuck(&self) -> bool {
        self.is_full && self.at == 0
    }

    /// True if the message being processed was larger than any buffer: the next messages are unknown.
    pub(super) const fn is_gathered(&self) -> bool {
        self.is_gathered
    }

    /// Notes whether the message being processed was larger than any buffer.
    pub(super) fn set_gathered(&mut self, is_gathered: bool) {
        self.is_gathered = is_gathered;
    }

    /// Takes `count` bytes, forwarded by [`Self::copy_forwarded`] or consumed.
    pub(super) fn take(&mut self, count: usize) {
        self.at += count;
    }

    /// Copies `bytes`, about to be forwarded, to Gatekeeper's buffer, if the bytes take that path.
    pub(super) fn copy_forwarded(&self, bytes: &[u8], to_backend: &mut Vec<u8>) {
        if self.path == ForwardPath::Buffer {
            to_backend.extend_from_slice(bytes);
        }
    }

    /// Begins an addition: forwarded bytes go through Gatekeeper's buffer from now on, with the bytes taken before.
    pub(super) fn stage(&mut self, to_backend: &mut Vec<u8>) {
        if self.path == ForwardPath::InPlace {
            to_backend.extend_from_slice(&self.bytes[..self.at]);
            self.path = ForwardPath::Buffer;
        }
    }

    /// True if the client describes the result of `portal` right after the next Bind, and does not rely on the earlier
    /// description.
    pub(super) fn is_described_next(&self, portal: &[u8]) -> bool {
        let next = |bytes| Frame::read(Speaker::Client, bytes).ok().flatten();
        let unread = self.unread();
        let behind = next(unread).and_then(|bind| unread.get(bind.as_bytes().len()..));
        let describe = behind.and_then(next).filter(|frame| frame.tag() == f::DESCRIBE);
        let object = describe.and_then(|frame| ClientMessage::of(&frame).object());
        matches!(object, Some(DescribeTarget::Portal(name)) if name == portal)
    }

    /// First use of the unnamed portal by the next messages. `tag` is the first message's.
    pub(super) fn next_portal_use(&self, tag: u8) -> NextPortalUse {
        if tag == f::QUERY {
            return NextPortalUse::Replaces;
        }
        let mut rest = if self.is_gathered { &[] } else { self.unread() };
        while let Ok(Some(frame)) = Frame::read(Speaker::Client, rest) {
            let message = ClientMessage::of(&frame);
            match message.tag() {
                f::BIND if message.bound().portal().is_empty() => return NextPortalUse::Replaces,
                f::EXECUTE => return NextPortalUse::Uses,
                f::DESCRIBE if message.statement_object().is_none() => return NextPortalUse::Uses,
                f::PARSE => {}
                f::DESCRIBE | f::CLOSE if message.statement_object().is_some() => {}
                _ => break,
            }
            rest = rest.get(frame.as_bytes().len()..).unwrap_or_default();
        }
        NextPortalUse::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire;

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let mut message = Vec::new();
        wire::write_frame(&mut message, tag, |out| out.extend_from_slice(body));
        message
    }

    #[test]
    fn bytes_before_an_addition_go_first() {
        let mut to_backend = Vec::new();
        let mut input = ClientInput::read(b"abc", false, false);
        input.copy_forwarded(b"a", &mut to_backend);
        input.take(1);
        assert!(to_backend.is_empty(), "the driver forwards the first byte");
        input.stage(&mut to_backend);
        to_backend.push(b'+');
        input.stage(&mut to_backend);
        input.copy_forwarded(b"b", &mut to_backend);
        input.take(1);
        assert_eq!((&*to_backend, input.unread()), (&b"a+b"[..], &b"c"[..]));
        assert_eq!(input.into_consumed(), ConsumedInput { forward: 0, discard: 2 });
    }

    #[test]
    fn input_without_an_addition_is_forwarded_in_place() {
        let mut input = ClientInput::read(b"abc", true, false);
        assert!(input.is_stuck());
        input.take(2);
        assert!(!input.is_stuck());
        assert_eq!(input.into_consumed(), ConsumedInput { forward: 2, discard: 0 });
    }

    #[test]
    fn a_description_follows_at_once_or_not() {
        let bind = message(f::BIND, b"p\0s\0");
        for (describe, is_described) in [(&b"Pp\0"[..], true), (b"Pq\0", false), (b"Sp\0", false)] {
            let bytes = [&*bind, &message(f::DESCRIBE, describe)].concat();
            assert_eq!(ClientInput::read(&bytes, false, false).is_described_next(b"p"), is_described);
        }
        assert!(!ClientInput::read(&bind, false, false).is_described_next(b"p"));
    }

    #[test]
    fn the_next_messages_replace_the_unnamed_portal_or_use_it() {
        let parse = message(f::PARSE, b"\0SELECT 1\0\0\0");
        for (tag, body, expected) in [
            (f::QUERY, &b"SELECT 1\0"[..], NextPortalUse::Replaces),
            (f::BIND, b"\0s\0", NextPortalUse::Replaces),
            (f::BIND, b"p\0s\0", NextPortalUse::Unknown),
            (f::EXECUTE, b"\0\0\0\0\0", NextPortalUse::Uses),
            (f::DESCRIBE, b"P\0", NextPortalUse::Uses),
            (f::DESCRIBE, b"S\0", NextPortalUse::Unknown),
            (f::SYNC, b"", NextPortalUse::Unknown),
        ] {
            let first = message(tag, body);
            assert_eq!(ClientInput::read(&first, false, false).next_portal_use(tag), expected);
            let behind = [&*parse, &first].concat();
            let input = ClientInput::read(&behind, false, false);
            let expected = if tag == f::QUERY { NextPortalUse::Unknown } else { expected };
            assert_eq!(input.next_portal_use(f::PARSE), expected, "behind a Parse");
        }
    }
}
