//! End of a session: reason, blame, and the ErrorResponse for the client.

use std::borrow::Cow;

use crate::{blame::Blame, client_error::ClientError, wire::SqlState};

/// Why a relay stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SessionEnd {
    /// The client said Terminate and the backend was heard out.
    Farewell,
    /// The client closed its socket between transactions, without a word.
    Left,
    /// The client went away in the middle of a transaction or statement.
    Vanished,
    /// The server ended the session and said why.
    ServerClosed(SqlState),
    /// The server went away without a word.
    BackendLost {
        /// A statement was under way: nobody knows whether it took effect.
        mid_statement: bool,
    },
    /// The server's bytes make no sense.
    ServerNonsense(Cow<'static, str>),
    /// We end it, and say so.
    Refused(ClientError),
}

impl SessionEnd {
    /// Whose doing it is; `None` for an end in good order.
    pub(crate) fn blame(&self) -> Option<Blame> {
        match self {
            Self::Farewell | Self::Left => None,
            Self::Vanished => Some(Blame::Client),
            Self::ServerClosed(_) | Self::BackendLost { .. } | Self::ServerNonsense(_) => {
                Some(Blame::Endpoint)
            }
            Self::Refused(client_error) => Some(client_error.blame),
        }
    }

    /// The word used in logs and the audit log.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::Farewell => "terminated",
            Self::Left => "client_closed",
            Self::Vanished => "client_vanished",
            Self::ServerClosed(_) => "server_closed",
            Self::BackendLost { .. } => "backend_lost",
            Self::ServerNonsense(_) => "backend_protocol",
            Self::Refused(client_error) => client_error.reason.as_str(),
        }
    }

    /// What the client is told, if there is anything to tell and a way to tell it.
    pub(crate) fn last_words(&self) -> Option<ClientError> {
        match self {
            Self::Refused(client_error) => Some(client_error.clone()),
            Self::BackendLost { mid_statement } => Some(ClientError::backend_lost(*mid_statement)),
            Self::ServerNonsense(_) => Some(ClientError::backend_lost(true)),
            Self::Farewell | Self::Left | Self::Vanished | Self::ServerClosed(_) => None,
        }
    }
}
