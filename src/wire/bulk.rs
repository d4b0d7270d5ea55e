//! Runs of frames that pass undecoded: rows and COPY data.

use super::deframer::Speaker;
use super::frame::Header;

/// Consecutive whole frames with the same tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FrameRun {
    /// Total size of the frames.
    pub bytes: usize,
    /// Number of frames.
    pub frames: u64,
}

/// The run of whole frames tagged `tag` at the start of `unread`, which begins at the boundary of a frame.
///
/// The run ends before the first frame that is incomplete, invalid or has another tag: the deframer reports the cause.
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
