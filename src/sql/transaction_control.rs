//! What a text as a whole says about transactions.

/// What a text as a whole says about transactions.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TransactionControl {
    /// Nothing.
    None,
    /// It is `BEGIN` or `START TRANSACTION`, and nothing else.
    Begin(TransactionModes),
    /// It is `SET TRANSACTION`, or several of them, and nothing else.
    SetTransaction(TransactionModes),
    /// It is `COMMIT` or `END`, and nothing else.
    Commit {
        /// `AND CHAIN`: another transaction with the same modes begins.
        chain: bool,
    },
    /// It is `ROLLBACK` or `ABORT`, and nothing else.
    Rollback {
        /// `AND CHAIN`: another transaction with the same modes begins.
        chain: bool,
    },
    /// It is `SAVEPOINT`, `RELEASE` or `ROLLBACK TO`, or several of them, and nothing else.
    Savepoint,
    /// It begins a transaction with its first statement and ends it with its last.
    Whole(TransactionModes),
    /// Anything else with such a statement in it: what it leaves behind only ReadyForQuery tells.
    Mixed,
}

/// The modes of a transaction that a text names.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash, Debug)]
pub struct TransactionModes {
    /// `READ ONLY` or `READ WRITE`; `None` leaves it to `default_transaction_read_only`.
    pub read_only: Option<bool>,
    /// `ISOLATION LEVEL SERIALIZABLE`, or another level; `None` leaves it to `default_transaction_isolation`.
    pub serializable: Option<bool>,
}

impl TransactionModes {
    /// These modes, where they say something, laid over `before`. READ WRITE stays, whatever follows: a standby refuses the
    /// command that says READ WRITE.
    #[must_use]
    pub fn over(self, before: Self) -> Self {
        let read_only = if before.read_only == Some(false) { before.read_only } else { self.read_only };
        Self {
            read_only: read_only.or(before.read_only),
            serializable: self.serializable.or(before.serializable),
        }
    }
}
