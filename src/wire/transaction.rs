//! Where the server stands, as it says itself in each ReadyForQuery.

/// The server's transaction status: the only truth about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransactionStatus {
    /// Not in a transaction block.
    Idle,
    /// In a transaction block.
    Open,
    /// In a transaction block that failed: everything is refused until it is rolled back.
    Failed,
}

impl TransactionStatus {
    /// From the octet in ReadyForQuery.
    #[inline]
    #[must_use]
    pub const fn from_octet(octet: u8) -> Option<Self> {
        match octet {
            b'I' => Some(Self::Idle),
            b'T' => Some(Self::Open),
            b'E' => Some(Self::Failed),
            _ => None,
        }
    }

    /// As the octet in ReadyForQuery.
    #[must_use]
    pub const fn octet(self) -> u8 {
        match self {
            Self::Idle => b'I',
            Self::Open => b'T',
            Self::Failed => b'E',
        }
    }
}
