//! Access of a text to the database.

use crate::closed_set::closed_set;

closed_set! {
    /// Access of a text to the database, as far as text and catalogs show.
    #[derive(PartialOrd, Ord)]
    pub enum StatementAccess {
        /// Proven to write nothing.
        Read = "read",
        /// Not proven to be a read.
        Unproven = "doubt",
        /// Writes, locks, or changes definitions.
        Write = "write",
    }
}
