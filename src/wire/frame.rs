//! A frame: a tag, a length that counts itself, a body.

use super::deframer::Speaker;

/// The first five bytes of a frame, already checked against the limits of whoever sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    tag: u8,
    /// As on the wire: without the tag, with these four bytes. At least 4, at most `i32::MAX`.
    length: u32,
}

/// A whole frame, where it was read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    tag: u8,
    bytes: &'a [u8],
    body: &'a [u8],
}

/// Why a peer's bytes are no frame. There is no way to find the next one: the connection is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A length that does not even count itself.
    #[error("a message of type {} claims a length of {length}, below the minimum of 4", Tag(*tag))]
    TooShort {
        /// The tag it came with.
        tag: u8,
        /// The length as sent.
        length: u32,
    },
    /// A length beyond what this kind of message may have.
    #[error("a message of type {} claims {length} bytes, more than the {limit} allowed", Tag(*tag))]
    TooLong {
        /// The tag it came with.
        tag: u8,
        /// The length as sent.
        length: u32,
        /// The most it may be.
        limit: u32,
    },
    /// A tag that this speaker never sends now.
    #[error("a message of unexpected type {}", Tag(*tag))]
    UnexpectedTag {
        /// The tag.
        tag: u8,
    },
}

/// Shows a tag as the letter it mostly is.
struct Tag(u8);

// === impl Header ===

impl Header {
    /// Bytes of a header: tag and length.
    pub const BYTES: usize = 5;

    /// Reads the header at the start of `unread`; `None` while fewer than five bytes are there.
    ///
    /// # Errors
    /// [`FrameError`] when no message of that `speaker` looks like this.
    #[inline]
    pub fn read(speaker: Speaker, unread: &[u8]) -> Result<Option<Self>, FrameError> {
        let Some(&[tag, a, b, c, d]) = unread.first_chunk() else {
            // A tag that cannot be is refused at once: its length may never come.
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

    /// Bytes of the whole frame, its header included.
    #[inline]
    #[must_use]
    pub const fn total(self) -> usize {
        self.length as usize + 1
    }
}

// === impl Frame ===

impl<'a> Frame<'a> {
    /// Reads a frame that must be whole; `None` while it is not.
    ///
    /// # Errors
    /// [`FrameError`] as for [`Header::read`].
    #[inline]
    pub fn read(speaker: Speaker, unread: &'a [u8]) -> Result<Option<Self>, FrameError> {
        let Some(header) = Header::read(speaker, unread)? else { return Ok(None) };
        Ok(Self::behind(header, unread))
    }

    /// The frame whose `header` was just read at the start of `unread`, if all of it is there.
    #[inline]
    pub(super) fn behind(header: Header, unread: &'a [u8]) -> Option<Self> {
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

    /// All bytes, to be forwarded as they are.
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
