//! What becomes of bytes that a machine was shown.

/// What becomes of bytes that a session was shown: the first `pass` go on to the other side as they are, the `drop` behind
/// them are done with. What is behind those is to be shown again: at once if anything was taken, with more behind it if
/// not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Take {
    /// Bytes to forward, from the start.
    pub pass: usize,
    /// Bytes to forget, behind those.
    pub drop: usize,
}

impl Take {
    /// How many bytes are taken.
    #[must_use]
    pub const fn byte_count(self) -> usize {
        self.pass + self.drop
    }
}
