//! The walk over a buffer of bytes, frame by frame.
//!
//! Promises: no copy, no allocation; a frame may be larger than any buffer; each byte is walked over once. Refuses to
//! know: the owner of the buffer, and the meaning of frames.
//!
//! The caller owns the buffer. [`Deframer::next`] describes the beginning of the unread bytes. The caller decides, and
//! reports the decision with [`Deframer::pass`], which returns the number of bytes to skip:
//!
//! ```
//! # use gatekeeper::testing::wire::{Deframer, FrameError, FramePiece, Speaker, tag};
//! /// How many bytes of `unread` may be forwarded now; the rest waits for more bytes.
//! fn forward(deframer: &mut Deframer, unread: &[u8], buffer: usize) -> Result<usize, FrameError> {
//!     let mut at = 0;
//!     while let Some(piece) = deframer.next(&unread[at..])? {
//!         match piece {
//!             // A whole frame: process or forward.
//!             FramePiece::Whole(frame) if frame.tag() == tag::backend::READY_FOR_QUERY => { /* … */ }
//!             FramePiece::Whole(_) => {}
//!             // The beginning of a frame. Wait for the rest if the message has a meaning and fits the buffer;
//!             // otherwise forward the frame in parts.
//!             FramePiece::Partial(part) if part.tag() == tag::backend::ERROR_RESPONSE && part.total() <= buffer => break,
//!             FramePiece::Partial(_) => {}
//!             // More of a frame whose beginning was forwarded.
//!             FramePiece::Rest(_) => {}
//!         }
//!         at += deframer.pass(&piece);
//!     }
//!     Ok(at)
//! }
//! # let (mut deframer, ready) = (Deframer::new(Speaker::Server), b"Z\0\0\0\x05I");
//! # assert_eq!(forward(&mut deframer, b"D\0\0\0\x0aabc", 8), Ok(8));
//! # assert!(!deframer.at_boundary());
//! # assert_eq!(forward(&mut deframer, b"defZ\0\0\0\x05IZ\0", 8), Ok(9));
//! # assert_eq!(forward(&mut deframer, b"E\0\0\0\x06a", 8), Ok(0));
//! # assert!(deframer.at_boundary());
//! ```

use super::{
    frame::{Frame, FrameError, Header},
    tag::frontend as f,
};

/// Sender of the bytes. The sender determines the valid tags and lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaker {
    /// A client before authentication: sends only responses to authentication requests.
    StrangeClient,
    /// A client after its login.
    Client,
    /// A server.
    Server,
}

/// Finds the frames in one direction of a connection.
#[derive(Debug)]
pub struct Deframer {
    speaker: Speaker,
    /// Bytes still to come of a frame passed in part.
    rest: usize,
}

/// Beginning of the unread bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FramePiece<'a> {
    /// A whole frame.
    Whole(Frame<'a>),
    /// Beginning of a frame, with at least the header.
    Partial(PartialFrame),
    /// Number of bytes (at least one) that continue a frame passed in part.
    Rest(usize),
}

/// Beginning of a frame; the end is not read yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartialFrame {
    header: Header,
    here: usize,
}

// === impl Deframer ===

impl Deframer {
    /// A walker at the boundary of a frame.
    #[must_use]
    pub const fn new(speaker: Speaker) -> Self {
        Self { speaker, rest: 0 }
    }

    /// Describes the beginning of `unread`; `None` before a whole header is there.
    ///
    /// `unread` begins where the last [`Deframer::pass`] ended. Without a `pass` the next call returns the same piece,
    /// extended by new bytes.
    ///
    /// # Errors
    /// [`FrameError`]: the sender is out of step or malicious, and the connection is over.
    #[inline]
    pub fn next<'a>(&self, unread: &'a [u8]) -> Result<Option<FramePiece<'a>>, FrameError> {
        if self.rest > 0 {
            let here = self.rest.min(unread.len());
            return Ok((here > 0).then_some(FramePiece::Rest(here)));
        }
        let Some(header) = Header::read(self.speaker, unread)? else { return Ok(None) };
        Ok(Some(match Frame::after_header(header, unread) {
            Some(frame) => FramePiece::Whole(frame),
            None => FramePiece::Partial(PartialFrame { header, here: unread.len() }),
        }))
    }

    /// Passes `piece`, the last result of [`Deframer::next`]; returns the number of bytes.
    #[inline]
    pub fn pass(&mut self, piece: &FramePiece<'_>) -> usize {
        match piece {
            FramePiece::Whole(frame) => frame.as_bytes().len(),
            FramePiece::Partial(part) => {
                self.rest = part.missing();
                part.here
            }
            FramePiece::Rest(here) => {
                self.rest = self.rest.saturating_sub(*here);
                *here
            }
        }
    }

    /// True if the passed bytes end with a whole frame, so that Gatekeeper may insert a message.
    #[inline]
    #[must_use]
    pub const fn at_boundary(&self) -> bool {
        self.rest == 0
    }
}

// === impl PartialFrame ===

impl PartialFrame {
    /// The tag; [`super::tag`] names them.
    #[inline]
    #[must_use]
    pub const fn tag(&self) -> u8 {
        self.header.tag()
    }

    /// Size of the whole frame, with the header.
    #[inline]
    #[must_use]
    pub const fn total(&self) -> usize {
        self.header.total()
    }

    /// Number of bytes read.
    #[inline]
    #[must_use]
    pub const fn here(&self) -> usize {
        self.here
    }

    /// Number of bytes still to come: at least one.
    #[inline]
    #[must_use]
    pub const fn missing(&self) -> usize {
        self.header.total() - self.here
    }
}

// === impl Speaker ===

impl Speaker {
    /// Maximum length of a message with the tag; `None` if the sender has no such message.
    ///
    /// The limits are PostgreSQL's (`SocketBackend` in `src/backend/tcop/postgres.c`). Tags of a server are not
    /// checked: a newer server may send messages unknown to Gatekeeper that a newer client understands.
    #[inline]
    pub(super) const fn limit(self, tag: u8) -> Option<u32> {
        match self {
            Self::Server => Some(i32::MAX.cast_unsigned()),
            Self::Client => match tag {
                f::QUERY | f::PARSE | f::BIND | f::FUNCTION_CALL | f::COPY_DATA => {
                    Some(MAX_LARGE_MESSAGE_BYTES)
                }
                f::DESCRIBE | f::EXECUTE | f::CLOSE | f::SYNC | f::FLUSH => Some(MAX_SMALL_MESSAGE_BYTES),
                f::COPY_DONE | f::COPY_FAIL | f::TERMINATE => Some(MAX_SMALL_MESSAGE_BYTES),
                _ => None,
            },
            Self::StrangeClient => match tag {
                f::PASSWORD => Some(MAX_AUTHENTICATION_BYTES),
                _ => None,
            },
        }
    }
}

/// `PQ_LARGE_MESSAGE_LIMIT`.
const MAX_LARGE_MESSAGE_BYTES: u32 = 0x3fff_ffff - 1;
/// `PQ_SMALL_MESSAGE_LIMIT`.
const MAX_SMALL_MESSAGE_BYTES: u32 = 10_000;
/// `PG_MAX_AUTH_TOKEN_LENGTH`: Kerberos tickets and access tokens fit.
const MAX_AUTHENTICATION_BYTES: u32 = 65_535;
