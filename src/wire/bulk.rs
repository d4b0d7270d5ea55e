//! Runs of frames that nobody needs to look at: rows and copied data.

use super::deframer::Speaker;
use super::frame::Header;

/// Whole frames of one tag, one behind the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FrameRun {
    /// Bytes of all of them.
    pub bytes: usize,
    /// How many they are.
    pub frames: u64,
}

/// The run of whole frames tagged `tag` at the start of `unread`, which begins at the boundary of a frame.
///
/// It ends in front of the first frame that has another tag, is not whole, or is wrong: the walker says which.
#[inline]
#[must_use]
pub fn leading_run(speaker: Speaker, tag: u8, unread: &[u8]) -> FrameRun {
    let mut run = FrameRun::default();
    let mut left = unread;
    while left.first() == Some(&tag)
        && let Ok(Some(header)) = Header::read(speaker, left)
        && let Some(behind) = left.get(header.total()..)
    {
        run.bytes += header.total();
        run.frames += 1;
        left = behind;
    }
    run
}
