//! What about a statement sends it to the writer.

/// What about a statement sends it to the writer.
//
// It belongs to the classifier, which is being written: `sql::Ground` takes this one's place, word for word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ground {
    /// It writes, locks, or needs this server.
    Write,
    /// Nobody can be sure what it does.
    Doubt,
}

// === impl Ground ===

impl Ground {
    /// Every value: label values exist from the start.
    pub const ALL: [Self; 2] = [Self::Write, Self::Doubt];

    /// The word used in metrics, logs and the audit log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Doubt => "doubt",
        }
    }
}
