//! Name resolution and TCP connect as separate steps, for diagnosis.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use tokio::{
    net::{TcpStream, UnixStream},
    time::{Instant, timeout},
};

use super::{
    ConnectError, ConnectFailure,
    dial::{connect_any, resolve_host},
};
use crate::{
    telemetry::labels::ConnectPhase,
    topology::{Address, Endpoint},
};

/// Current meaning of an endpoint's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved<'e> {
    /// Addresses; never empty.
    Tcp(Vec<SocketAddr>),
    /// A Unix-domain socket.
    Unix(&'e Path),
}

/// Resolves the endpoint's name within `limit`.
///
/// Cancel safe.
///
/// # Errors
/// [`ConnectError`] in phase `resolve`.
pub async fn resolve(endpoint: &Arc<Endpoint>, limit: Duration) -> Result<Resolved<'_>, ConnectError> {
    let (host, port) = match &endpoint.address {
        Address::Unix(path) => return Ok(Resolved::Unix(path)),
        Address::Tcp { host, port } => (host.as_str(), *port),
    };
    let late = ConnectFailure::Timeout { phase: Some(ConnectPhase::Resolve), limit };
    let found = timeout(limit, resolve_host(host, port)).await.unwrap_or(Err(late));
    found.map(Resolved::Tcp).map_err(|failure| ConnectError::new(Arc::clone(endpoint), failure))
}

/// Connects to an `address` of the endpoint within `limit` and disconnects; returns the local address.
///
/// Cancel safe.
///
/// # Errors
/// [`ConnectError`] in phase `tcp`.
pub async fn reach(
    endpoint: &Arc<Endpoint>,
    address: SocketAddr,
    limit: Duration,
) -> Result<SocketAddr, ConnectError> {
    let connected = connect_any(&[address], Instant::now() + limit).await;
    let local = connected.and_then(|(tcp, _)| local(&tcp, address));
    local.map_err(|failure| ConnectError::new(Arc::clone(endpoint), failure))
}

/// Connects to the Unix-domain socket of the endpoint at `path` and hangs up again.
///
/// Cancel safe.
///
/// # Errors
/// [`ConnectError`] in phase `tcp`.
pub async fn reach_unix(endpoint: &Arc<Endpoint>, path: &Path) -> Result<(), ConnectError> {
    let connected = UnixStream::connect(path).await;
    connected.map(drop).map_err(|error| ConnectError::new(Arc::clone(endpoint), ConnectFailure::Unix(error)))
}

fn local(tcp: &TcpStream, to: SocketAddr) -> Result<SocketAddr, ConnectFailure> {
    tcp.local_addr().map_err(|error| ConnectFailure::Unreachable { tried: vec![(to, error)] })
}
