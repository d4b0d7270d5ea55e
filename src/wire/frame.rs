//! A frame: a tag, a length that includes the length field, and a body.

use super::deframer::Speaker;

/// The first five bytes of a frame, checked against the limits of the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    tag: u8,
    /// As on the wire: size of the frame without the tag. At least 4, at most `i32::MAX`.
    length: u32,
}

/// A whole frame, borrowed from the read buffer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    tag: u8,
    bytes: &'a [u8],
    body: &'a [u8],
}

/// Framing error of a peer. The next frame cannot be found: the connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A length below the size of the length field.
    #[error("a message of type {} claims a length of {length}, below the minimum of 4", Tag(*tag))]
    TooShort {
        /// Tag of the message.
        tag: u8,
        /// The length as sent.
        length: u32,
    },
    /// A length above the limit for the tag.
    #[error("a message of type {} claims {length} bytes, more than the {limit} allowed", Tag(*tag))]
    TooLong {
        /// Tag of the message.
        tag: u8,
        /// The length as sent.
        length: u32,
        /// Maximum length.
        limit: u32,
    },
    /// A tag that the sender may not use, or not now.
    #[error("a message of unexpected type {}", Tag(*tag))]
    UnexpectedTag {
        /// The tag.
        tag: u8,
    },
}

/// Displays a tag as a letter where possible.
struct Tag(u8);

// === impl Header ===

impl Header {
    /// Bytes of a header: tag and length.
    pub const BYTES: usize = 5;

    /// Reads the header at the start of `unread`; `None` while fewer than five bytes are there.
    ///
    /// # Errors
    /// [`FrameError`] for a tag or length that `speaker` may not send.
    #[inline]
    pub fn read(speaker: Speaker, unread: &[u8]) -> Result<Option<Self>, FrameError> {
        let Some(&[tag, a, b, c, d]) = unread.first_chunk() else {
            // An invalid tag is rejected at once: the length may never arrive.
            if let Some(&tag) = unread.first()
                && speaker.limit(tag).is_none()
            {
                return Err(FrameError::UnexpectedTag { tag });
            }
            return Ok(None);
        };
        let length = u32::from_be_bytes([a, b, c, d]);
        let Some(limit) = speaker.limit(tag) else {
            return Err(FrameError::UnexpectedTag { tag });
        };
        if length < 4 {
            return Err(FrameError::TooShort { tag, length });
        }
        if length > limit {
            return Err(FrameError::TooLong { tag, length, limit });
        }
        Ok(Some(Self { tag, length }))
    }

    /// The tag; [`super::tag`] names them.
    #[inline]
    #[must_use]
    pub const fn tag(self) -> u8 {
        self.tag
    }

    /// Size of the whole frame, with the header.
    #[inline]
    #[must_use]
    pub const fn total(self) -> usize {
        self.length as usize + 1
    }
}

// === impl Frame ===

impl<'a> Frame<'a> {
    /// Reads a whole frame; `None` if bytes are missing.
    ///
    /// # Errors
    /// [`FrameError`] as for [`Header::read`].
    #[inline]
    pub fn read(speaker: Speaker, unread: &'a [u8]) -> Result<Option<Self>, FrameError> {
        let Some(header) = Header::read(speaker, unread)? else { return Ok(None) };
        Ok(Self::after_header(header, unread))
    }

    /// The frame of `header`, which was read at the start of `unread`; `None` if bytes are missing.
    #[inline]
    pub(super) fn after_header(header: Header, unread: &'a [u8]) -> Option<Self> {
        let bytes = unread.get(..header.total())?;
        let body = bytes.get(Header::BYTES..)?;
        Some(Self { tag: header.tag, bytes, body })
    }

    /// The tag; [`super::tag`] names them.
    #[inline]
    #[must_use]
    pub const fn tag(&self) -> u8 {
        self.tag
    }

    /// The whole frame as read, for forwarding.
    #[inline]
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The bytes behind the header.
    #[inline]
    #[must_use]
    pub const fn body(&self) -> &'a [u8] {
        self.body
    }
}

impl std::fmt::Debug for Frame<'_> {
    /// Without the body, which may hold a password or a row.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Frame({}, {} bytes)", Tag(self.tag), self.bytes.len())
    }
}

// === impl Tag ===

impl std::fmt::Display for Tag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_ascii_graphic() {
            write!(f, "`{}`", char::from(self.0))
        } else {
            write!(f, "0x{:02x}", self.0)
        }
    }
}
