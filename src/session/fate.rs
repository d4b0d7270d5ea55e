//! Fate of a transaction whose backend was lost.

use crate::{closed_set::closed_set, wire::SqlState};

closed_set! {
    /// Outcome of a transaction whose backend was lost, as far as known; a label value of metrics.
    pub enum Fate(
        /// SQLSTATE of the ErrorResponse; `None` if the client gets no error.
        sqlstate: Option<SqlState>,
    ) {
        /// Nothing was executed for the client: Gatekeeper runs the reads again.
        NotStarted = "not_started" { sqlstate: None },
        /// Nothing took effect: the client may run the transaction again.
        RolledBack = "rolled_back" { sqlstate: Some(SqlState::SERIALIZATION_FAILURE) },
        /// The transaction may have taken effect.
        Unknown = "unknown" { sqlstate: Some(SqlState::TRANSACTION_RESOLUTION_UNKNOWN) },
        /// The client gets the success response that the server would have sent.
        Committed = "committed" { sqlstate: None },
        /// A read whose rows have arrived in part: nothing took effect.
        ReadInterrupted = "read_interrupted" { sqlstate: Some(SqlState::CONNECTION_FAILURE) },
        /// Session state is gone that only the client can make again: the session ends.
        SessionLost = "session_lost" { sqlstate: Some(SqlState::CONNECTION_FAILURE) },
    }
}
