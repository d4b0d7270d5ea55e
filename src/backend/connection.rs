//! A server connection after startup.

use std::net::SocketAddr;

use super::{AcceptedPassword, Dialed, phase::Durations};
use crate::{
    handshake::{LoggedIn, Parameters},
    telemetry::BackendPresence,
    tls::Stream,
    topology::ObservedRole,
};

/// A server connection after startup: ReadyForQuery was received, and nothing was sent since.
pub struct Backend {
    /// The connection.
    pub stream: Stream,
    /// Messages of the server before ReadyForQuery.
    pub logged_in: LoggedIn,
    /// Bytes behind the first ReadyForQuery, to be processed before further reads: mostly none.
    pub unread: Vec<u8>,
    /// The address that answered; `None` for a Unix-domain socket. Cancel requests go there and nowhere else.
    pub peer: Option<SocketAddr>,
    /// How long each stage of the connect took.
    pub durations: Durations,
    /// Counts the connection as open while kept.
    pub presence: Option<BackendPresence>,
}

// === impl Backend ===

impl Backend {
    /// Role that the server reported at login; `None` before PostgreSQL 14.
    #[must_use]
    pub fn observed_role(&self) -> Option<ObservedRole> {
        reported_role(&self.logged_in.parameters)
    }
}

impl RoleReport for Backend {
    fn is_in_recovery(&self) -> bool {
        self.observed_role() == Some(ObservedRole::Standby)
    }
}

impl RoleReport for Dialed {}

impl RoleReport for AcceptedPassword {}

/// Result of a connect. Only a login shows the server's role.
pub(crate) trait RoleReport {
    /// True if the server has reported recovery.
    fn is_in_recovery(&self) -> bool {
        false
    }
}

/// Role of a server by the parameter `in_hot_standby`; `None` before PostgreSQL 14.
///
/// <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-ASYNC>
#[must_use]
pub fn reported_role(parameters: &Parameters) -> Option<ObservedRole> {
    match parameters.get("in_hot_standby")? {
        b"on" => Some(ObservedRole::Standby),
        b"off" => Some(ObservedRole::Primary),
        _ => None,
    }
}
