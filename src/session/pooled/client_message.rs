//! A message of the client, or its beginning.
//!
//! Promises: names and texts as far as they are here; a malformed message has empty ones, and the server rejects it.
//! Refuses to know: the session.

use crate::session::conversation::until_nul;
use crate::wire::Frame;

/// A message of the client, or the beginning of a message larger than any buffer.
#[derive(Clone, Copy)]
pub(super) struct ClientMessage<'a> {
    tag: u8,
    body: &'a [u8],
    /// Length of the frame, if only the beginning of the body is here.
    total: Option<usize>,
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
    pub(super) const fn whole(tag: u8, body: &'a [u8]) -> Self {
        Self { tag, body, total: None }
    }

    /// The beginning of a message with a frame of `total` bytes.
    pub(super) const fn beginning(tag: u8, body: &'a [u8], total: usize) -> Self {
        Self { tag, body, total: Some(total) }
    }

    /// A complete message.
    pub(super) fn of(frame: &Frame<'a>) -> Self {
        Self::whole(frame.tag(), frame.body())
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

    /// Text of a Query.
    pub(super) fn query(&self) -> &'a [u8] {
        until_nul(self.body).0
    }

    /// Name in a Parse, and the definition behind it.
    pub(super) fn parsed(&self) -> (&'a [u8], &'a [u8]) {
        until_nul(self.body)
    }

    /// Names in a Bind, as far as they are here.
    pub(super) fn bound(&self) -> BoundNames<'a> {
        let (portal, rest) = until_nul(self.body);
        let (statement, parameters) = until_nul(rest);
        BoundNames { portal, statement, parameters }
    }

    /// True if both names of a Bind are here.
    pub(super) fn has_bound_names(&self) -> bool {
        memchr::memchr_iter(0, self.body).nth(1).is_some()
    }

    /// Portal of an Execute, and the count of rows behind it.
    pub(super) fn executed(&self) -> (&'a [u8], &'a [u8]) {
        until_nul(self.body)
    }

    /// DescribeTarget of a Describe or Close, statement (`S`) or portal (`P`), and the object's name; `None` if malformed.
    pub(super) fn object(&self) -> Option<(u8, &'a [u8])> {
        let (&which, name) = self.body.split_first()?;
        let (&end, name) = name.split_last()?;
        (end == 0 && memchr::memchr(0, name).is_none()).then_some((which, name))
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
        let object = |body| ClientMessage::whole(f::DESCRIBE, body).object();
        assert_eq!(object(b"Ss\0"), Some((b'S', &b"s"[..])));
        for body in [&b""[..], b"S", b"Ss", b"Ss\0s\0"] {
            assert_eq!(object(body), None);
        }
    }
}
