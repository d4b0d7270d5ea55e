//! Settings of the admin API.

use std::net::SocketAddr;

use crate::{credentials::Secret, tls::ListenerTls};

/// The admin API's socket and key.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminSettings {
    /// Address to listen on. Default `127.0.0.1:8080`.
    pub bind: SocketAddr,
    /// The bearer key; required when the address is not loopback.
    pub api_key: Option<Secret>,
    /// A second key, which permits reading only: for scrapers and viewers.
    pub viewer_key: Option<Secret>,
    /// True if health paths need no key where remote machines can connect. Default false.
    pub open_health: bool,
    /// First part of the names of all metrics of Gatekeeper, without the underscore. Default `gatekeeper`.
    pub metrics_prefix: Box<str>,
    /// TLS for clients of the API.
    pub tls: Option<ListenerTls>,
}
