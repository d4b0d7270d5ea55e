//! What a text may do to the database.

/// What a text may do to the database, as far as its text and the catalogues tell.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Access {
    /// It is proved to write nothing.
    Read,
    /// Nothing proves that it only reads.
    Doubt,
    /// It writes, locks, or changes definitions.
    Write,
}

impl Access {
    /// As it is written in answers and records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Doubt => "doubt",
            Self::Write => "write",
        }
    }
}
