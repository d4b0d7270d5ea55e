//! What a text may do to the database.

use crate::closed_set::closed_set;

closed_set! {
    /// What a text may do to the database, as far as its text and the catalogues tell.
    #[derive(PartialOrd, Ord)]
    pub enum StatementAccess {
        /// It is proved to write nothing.
        Read = "read",
        /// Nothing proves that it only reads.
        Unproven = "doubt",
        /// It writes, locks, or changes definitions.
        Write = "write",
    }
}
