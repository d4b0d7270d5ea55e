//! A message of the client, or its beginning.
//!
//! Promises: a message is decoded once; names and texts are known as far as they are here. A malformed message has empty
//! names, and the server rejects the message. Refuses to know: the session.

use crate::wire::{
    Frame,
    frontend::{DescribeTarget, FrontendMessage},
};

/// A message of the client, or the beginning of a message larger than any buffer.
#[derive(Clone, Copy)]
pub(super) struct ClientMessage<'a> {
    tag: u8,
    body: &'a [u8],
    /// Length of the frame, if only the beginning of the body is here.
    total: Option<usize>,
    /// Position in the client's input; `None` for a message that is sent again.
    position: Option<u64>,
    /// `None` for a tag that no client sends after its login.
    decoded: Option<FrontendMessage<'a>>,
}

/// Names in a Bind.
pub(super) struct BoundNames<'a> {
    portal: &'a [u8],
    statement: &'a [u8],
    /// Parameters, from their formats on.
    parameters: &'a [u8],
}

// === impl ClientMessage ===

impl<'a> ClientMessage<'a> {
    /// A complete message.
    #[inline]
    pub(super) fn whole(tag: u8, body: &'a [u8]) -> Self {
        Self { tag, body, total: None, position: None, decoded: FrontendMessage::decode_prefix(tag, body) }
    }

    /// The beginning of a message with a frame of `total` bytes.
    pub(super) fn beginning(tag: u8, body: &'a [u8], total: usize) -> Self {
        Self { total: Some(total), ..Self::whole(tag, body) }
    }

    /// A complete message.
    #[inline]
    pub(super) fn of(frame: &Frame<'a>) -> Self {
        Self::whole(frame.tag(), frame.body())
    }

    /// The message, at `position` in the client's input.
    #[inline]
    pub(super) fn at(self, position: Option<u64>) -> Self {
        Self { position, ..self }
    }

    /// Position in the client's input; `None` for a message that is sent again.
    pub(super) const fn position(&self) -> Option<u64> {
        self.position
    }

    /// Tag of the message.
    pub(super) const fn tag(&self) -> u8 {
        self.tag
    }

    /// Body of the message, or the beginning of the body.
    pub(super) const fn body(&self) -> &'a [u8] {
        self.body
    }

    /// True if only the beginning of the body is here.
    pub(super) const fn is_cut(&self) -> bool {
        self.total.is_some()
    }

    /// Length of the frame, if only the beginning of the body is here.
    pub(super) const fn total(&self) -> Option<usize> {
        self.total
    }

    /// Name in a Parse, and the definition behind it.
    pub(super) fn parsed(&self) -> (&'a [u8], &'a [u8]) {
        match self.decoded {
            Some(FrontendMessage::Parse { name, .. }) => {
                (name, self.body.get(name.len() + 1..).unwrap_or_default())
            }
            _ => (&[], &[]),
        }
    }

    /// Text of a Query or Parse.
    pub(super) const fn text(&self) -> &'a [u8] {
        match self.decoded {
            Some(FrontendMessage::Query { text } | FrontendMessage::Parse { text, .. }) => text,
            _ => &[],
        }
    }

    /// Names in a Bind, as far as they are here.
    pub(super) const fn bound(&self) -> BoundNames<'a> {
        match self.decoded {
            Some(FrontendMessage::Bind { portal, statement, rest }) => {
                BoundNames { portal, statement, parameters: rest }
            }
            _ => BoundNames { portal: &[], statement: &[], parameters: &[] },
        }
    }

    /// True if both names of a Bind are here.
    pub(super) const fn has_bound_names(&self) -> bool {
        let BoundNames { portal, statement, .. } = self.bound();
        portal.len() + 1 + statement.len() < self.body.len()
    }

    /// Portal of an Execute, and the maximum count of rows; 0 for all rows.
    pub(super) const fn executed(&self) -> (&'a [u8], i32) {
        match self.decoded {
            Some(FrontendMessage::Execute { portal, rows }) => (portal, rows),
            _ => (&[], 0),
        }
    }

    /// Object of a Describe or Close.
    pub(super) const fn object(&self) -> Option<DescribeTarget<'a>> {
        match self.decoded {
            Some(FrontendMessage::Describe(object) | FrontendMessage::Close(object)) => Some(object),
            _ => None,
        }
    }

    /// Name of the statement in a Describe or Close.
    pub(super) const fn statement_object(&self) -> Option<&'a [u8]> {
        match self.object() {
            Some(DescribeTarget::Statement(name)) => Some(name),
            _ => None,
        }
    }
}

// === impl BoundNames ===

impl<'a> BoundNames<'a> {
    /// Name of the portal.
    pub(super) const fn portal(&self) -> &'a [u8] {
        self.portal
    }

    /// Name of the statement.
    pub(super) const fn statement(&self) -> &'a [u8] {
        self.statement
    }

    /// Parameters, from their formats on.
    pub(super) const fn parameters(&self) -> &'a [u8] {
        self.parameters
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tag::frontend as f;

    #[test]
    fn a_bind_has_two_names_and_parameters() {
        let bind = ClientMessage::whole(f::BIND, b"p\0s\0\0\0");
        let bound = bind.bound();
        assert_eq!(
            (bound.portal(), bound.statement(), bound.parameters()),
            (&b"p"[..], &b"s"[..], &b"\0\0"[..])
        );
        assert!(bind.has_bound_names());
        assert!(!ClientMessage::beginning(f::BIND, b"p\0s", 9).has_bound_names());
    }

    #[test]
    fn a_malformed_object_has_no_name() {
        let name = |body| ClientMessage::whole(f::DESCRIBE, body).statement_object();
        assert_eq!(name(b"Ss\0"), Some(&b"s"[..]));
        for body in [&b""[..], b"S", b"Ss", b"Ss\0s\0"] {
            assert_eq!(name(body), None);
        }
    }

    #[test]
    fn a_parse_without_an_end_has_the_text_so_far() {
        let parse = ClientMessage::beginning(f::PARSE, b"s\0SELECT", 99);
        assert_eq!((parse.parsed(), parse.text()), ((&b"s"[..], &b"SELECT"[..]), &b"SELECT"[..]));
        let parse = ClientMessage::beginning(f::PARSE, b"s", 99);
        assert_eq!((parse.parsed(), parse.text()), ((&b"s"[..], &b""[..]), &b""[..]));
        let parse = ClientMessage::whole(f::PARSE, b"s\0SELECT 1\0\0\x01\0\0\0\x17");
        assert_eq!(parse.parsed(), (&b"s"[..], &b"SELECT 1\0\0\x01\0\0\0\x17"[..]));
        assert_eq!(parse.text(), b"SELECT 1");
    }
}
