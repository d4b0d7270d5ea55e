//! Errors of Gatekeeper itself: the session ends, and its backend is closed.

use super::backend_state::IllegalTransition;

/// Error of Gatekeeper itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::session) enum InternalError {
    /// A message needs a backend, and the session holds none.
    NoBackend,
    /// Backend state without a transition for an event.
    Transition(IllegalTransition),
}

// === impl InternalError ===

impl From<IllegalTransition> for InternalError {
    fn from(illegal: IllegalTransition) -> Self {
        Self::Transition(illegal)
    }
}

impl std::fmt::Display for InternalError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoBackend => f.write_str("a message needs a backend, and the session holds none"),
            Self::Transition(illegal) => illegal.fmt(f),
        }
    }
}
