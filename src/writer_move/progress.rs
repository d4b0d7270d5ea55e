//! Progress of a move.

use std::time::Instant;

use crate::{closed_set::closed_set, names::EndpointName};

/// Progress of the current move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoveProgress {
    /// The previous writer, if known.
    pub from: Option<EndpointName>,
    /// The new writer.
    pub to: EndpointName,
    /// Current phase.
    pub phase: MovePhase,
    /// Local clock at the begin of the move.
    pub since: Instant,
}

closed_set! {
    /// Phase of a move. The values are those of the audit record `writer.move`.
    pub enum MovePhase {
        /// The new endpoint is checked; nothing is held yet.
        Check = "check",
        /// New transactions wait; transactions on the previous writer have time to end.
        Hold = "hold",
        /// No session uses the previous writer; the new endpoint need not accept writes yet.
        Quiet = "quiet",
        /// The new endpoint is the writer, and the previous writer is fenced.
        Moved = "moved",
        /// The move ended without effect.
        Failed = "failed",
    }
}
