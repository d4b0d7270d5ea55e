//! Settings of an endpoint.

use std::{sync::Arc, time::Duration};

use crate::{credentials::Login, tls::EndpointTls, topology::Endpoint};

/// Settings of an endpoint: address, trust, login.
#[derive(Clone, PartialEq, Eq)]
pub struct EndpointSettings {
    /// Name, role, cluster and address.
    pub endpoint: Arc<Endpoint>,
    /// TLS towards the endpoint.
    pub tls: EndpointTls,
    /// Login to the endpoint.
    pub login: Login,
    /// Plaintext to an address that is not loopback was asked for in so many words.
    pub insecure_plaintext: bool,
    /// Name resolution, TCP, TLS and login together. Default 10 s.
    pub connect_timeout: Duration,
    /// Maximum number of concurrent logins. Default 32.
    pub connect_concurrency: usize,
    /// Maximum number of backends of all pools, including `reserve`; `None` derives the limit from the server's
    /// `max_connections`. Read pools derive no limit: each node has a separate limit. Default none.
    pub max_backends: Option<usize>,
    /// Connections reserved for probes and cancel requests. Default 3.
    pub reserve: usize,
    /// User and database of the probe; without them a probe is a liveness check.
    pub probe_login: Option<ProbeLogin>,
}

// === impl EndpointSettings ===

impl EndpointSettings {
    /// Maximum number of backends of all pools; `None` leaves the limit to the server.
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

/// Login of the probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeLogin {
    /// The database user.
    pub user: crate::names::UserName,
    /// The database; `postgres` by default.
    pub database: crate::names::DatabaseName,
}
