//! What an operator may say about one endpoint.

use std::{sync::Arc, time::Duration};

use crate::{credentials::Login, tls::EndpointTls, topology::Endpoint};

/// One endpoint: where it is, how it is trusted, how it is logged in to.
#[derive(Clone, PartialEq, Eq)]
pub struct EndpointSettings {
    /// Its name, role, cluster and address.
    pub endpoint: Arc<Endpoint>,
    /// TLS towards it.
    pub tls: EndpointTls,
    /// Login to it.
    pub login: Login,
    /// Plaintext to an address that is not loopback was asked for in so many words.
    pub insecure_plaintext: bool,
    /// Name resolution, TCP, TLS and login together. Default 10 s.
    pub connect_timeout: Duration,
    /// Logins under way at one time. Default 32.
    pub connect_concurrency: usize,
    /// Maximum number of backends of all pools, including `reserve`; `None` derives the limit from the server's
    /// `max_connections`. Read pools derive no limit: each node has a separate limit. Default none.
    pub max_backends: Option<usize>,
    /// How many of them are left to probes and cancel requests. Default 3.
    pub reserve: usize,
    /// The user and database the probe logs in with; without them a probe stops after TLS.
    pub probe_login: Option<ProbeLogin>,
}

// === impl EndpointSettings ===

impl EndpointSettings {
    /// Backends that all pools may hold together; `None` leaves it to the server.
    #[must_use]
    pub fn pooled_backends(&self) -> Option<usize> {
        self.max_backends.map(|all| all.saturating_sub(self.reserve).max(1))
    }

    /// True if a token minted under `self` is valid under `other`: the command and its parameters of the endpoint are
    /// equal.
    #[must_use]
    pub fn mints_same_tokens(&self, other: &Self) -> bool {
        let (Login::Token(before), Login::Token(after)) = (&self.login, &other.login) else { return false };
        let (one, two) = (&self.endpoint, &other.endpoint);
        before.origin == after.origin && one.name == two.name && one.address == two.address
    }
}

/// Whom the probe logs in as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeLogin {
    /// The database user.
    pub user: crate::names::UserName,
    /// The database; `postgres` by default.
    pub database: crate::names::DatabaseName,
}
