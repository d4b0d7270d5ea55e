//! End of a session: reason, blame, and the ErrorResponse for the client.

use std::borrow::Cow;

use crate::{
    blame::Blame,
    client_error::ClientError,
    session::{Pin, Pins},
    wire::SqlState,
};

/// Reason for the end of a relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SessionEnd {
    /// The client sent Terminate, and the backend's responses were read to the end.
    Farewell,
    /// The client closed its socket between transactions, without Terminate.
    Left,
    /// The client disconnected within a transaction or statement.
    Vanished,
    /// The server ended the session with an error.
    ServerClosed(SqlState),
    /// The server closed the connection without an error.
    BackendLost {
        /// A statement was running, so its outcome is unknown.
        mid_statement: bool,
        /// Session state that is lost with the connection.
        pins: Pins,
    },
    /// The server violated the protocol.
    ServerNonsense(Cow<'static, str>),
    /// Gatekeeper ends the session with an error.
    Refused(ClientError),
}

impl SessionEnd {
    /// The party responsible; `None` for a regular end.
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

    /// Name in logs and the audit log.
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

    /// The last ErrorResponse for the client, if any.
    pub(crate) fn last_words(&self) -> Option<ClientError> {
        match self {
            Self::Refused(client_error) => Some(client_error.clone()),
            Self::BackendLost { mid_statement, pins } if pins.is_empty() => {
                Some(ClientError::backend_lost(*mid_statement))
            }
            Self::BackendLost { mid_statement, pins } => {
                let pins: Vec<_> = pins.iter().map(Pin::as_str).collect();
                Some(ClientError::session_lost(&pins.join(", "), *mid_statement))
            }
            Self::ServerNonsense(_) => Some(ClientError::backend_lost(true)),
            Self::Farewell | Self::Left | Self::Vanished | Self::ServerClosed(_) => None,
        }
    }
}
