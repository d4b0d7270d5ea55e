//! Fate of the bytes that a machine was given.

/// Count of bytes consumed by a session: the first `forward` bytes go to the other side unchanged, the `discard` bytes
/// behind them are finished. The driver gives the bytes behind those to the session again: at once if any byte was
/// consumed, with more input behind them if none was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConsumedInput {
    /// Bytes to forward, from the start.
    pub forward: usize,
    /// Bytes to drop, behind those.
    pub discard: usize,
}

impl ConsumedInput {
    /// Count of consumed bytes.
    #[must_use]
    pub const fn byte_count(self) -> usize {
        self.forward + self.discard
    }
}
