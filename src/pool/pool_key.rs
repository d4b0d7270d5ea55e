//! The pool key: backends with equal keys are interchangeable.

use std::fmt;

use super::PoolMode;
use crate::{
    backend::ConnectRequest,
    names::{DatabaseName, EndpointName, ListenerName, UserName},
    wire::StartupMessage,
};

/// The pool key: two sessions with equal targets may use each other's backends.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PoolKey {
    /// Listener of the sessions: size and time limits belong to a listener.
    pub listener: ListenerName,
    /// Where the backends are.
    pub endpoint: EndpointName,
    /// The database.
    pub database: DatabaseName,
    /// Database user of the login.
    pub user: UserName,
    /// Protocol version and all startup parameters except `user` and `database`: `RESET` restores the values of the
    /// startup message. In transaction mode, without session-carried parameters (see `session::startup`).
    pub startup: StartupMessage,
    /// Duration of leases.
    pub mode: PoolMode,
}

/// Displays `database/user@endpoint`.
impl fmt::Display for PoolKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{}", self.database, self.user, self.endpoint)
    }
}

impl PoolKey {
    /// Login request for a backend of the pool.
    pub(super) fn request(&self) -> ConnectRequest {
        let mut startup = self.startup.clone();
        startup.set("user", self.user.as_str());
        startup.set("database", self.database.as_str());
        ConnectRequest { user: self.user.clone(), startup, token_wait: None }
    }
}
