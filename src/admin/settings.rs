//! What an operator may say about the admin API.

use std::net::SocketAddr;

use crate::{credentials::Secret, tls::ListenerTls};

/// The admin API's socket and key.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminSettings {
    /// Where it listens. Default `127.0.0.1:8080`.
    pub bind: SocketAddr,
    /// The bearer key; required when the address is not loopback.
    pub api_key: Option<Secret>,
    /// True if health paths need no key where remote machines can connect. Default false.
    pub open_health: bool,
    /// TLS towards its callers.
    pub tls: Option<ListenerTls>,
}
