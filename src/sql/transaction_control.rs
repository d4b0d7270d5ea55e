//! Transaction control statements of a whole text.

/// Transaction control statements of a whole text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TransactionControl {
    /// None.
    None,
    /// A single `BEGIN` or `START TRANSACTION`.
    Begin(TransactionModes),
    /// One or more `SET TRANSACTION`.
    SetTransaction(TransactionModes),
    /// A single `COMMIT` or `END`.
    Commit {
        /// `AND CHAIN`: another transaction with the same modes begins.
        chain: bool,
    },
    /// A single `ROLLBACK` or `ABORT`.
    Rollback {
        /// `AND CHAIN`: another transaction with the same modes begins.
        chain: bool,
    },
    /// One or more `SAVEPOINT`, `RELEASE` or `ROLLBACK TO`.
    Savepoint,
    /// A whole transaction: begins with the first statement and ends with the last.
    Whole(TransactionModes),
    /// Any other mixture: only ReadyForQuery shows the resulting status.
    Mixed,
}

/// The modes of a transaction that a text names.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash, Debug)]
pub struct TransactionModes {
    /// `READ ONLY` or `READ WRITE`; `None` means `default_transaction_read_only`.
    pub read_only: Option<bool>,
    /// `ISOLATION LEVEL SERIALIZABLE`, or another level; `None` means `default_transaction_isolation`.
    pub serializable: Option<bool>,
}

impl TransactionModes {
    /// Combines the modes with earlier modes `before`. READ WRITE is kept in any case: a standby rejects the READ WRITE
    /// command.
    #[must_use]
    pub fn over(self, before: Self) -> Self {
        let read_only = if before.read_only == Some(false) { before.read_only } else { self.read_only };
        Self {
            read_only: read_only.or(before.read_only),
            serializable: self.serializable.or(before.serializable),
        }
    }
}
