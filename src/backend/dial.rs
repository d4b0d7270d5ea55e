//! Dialing: from an address to a connection, encrypted as configured.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream, lookup_host},
    time::{Instant, timeout_at},
};

use super::{
    ConnectFailure, EndpointSettings,
    phase::{Durations, Stages},
    refusal_before_tls::read_refusal,
    socket,
};
use crate::{
    telemetry::{BackendPresence, labels::ConnectPhase},
    tls::{ClientTls, Negotiation, Stream, TlsMode, VerifiedTls},
    topology::Address,
    wire::FirstPacket,
};

/// A connection to an endpoint on which no StartupMessage was sent yet.
pub struct Dialed {
    /// The connection.
    pub stream: Stream,
    /// Proof of a verified chain, if the mode verifies.
    pub verified: Option<VerifiedTls>,
    /// The address that answered; `None` for a Unix-domain socket.
    pub peer: Option<SocketAddr>,
    /// How long each stage took.
    pub durations: Durations,
    /// Counts the connection as an open backend while kept.
    pub presence: Option<BackendPresence>,
}

/// Result of dialing.
pub(super) struct Connected {
    pub(super) stream: Stream,
    pub(super) verified: Option<VerifiedTls>,
    pub(super) peer: Option<SocketAddr>,
}

/// Where to dial.
#[derive(Debug, Clone, Copy)]
pub(super) enum Whereto {
    /// The endpoint's address, with the name resolved now.
    Endpoint,
    /// The very address that a connection has: a name may stand for several servers.
    Exactly(SocketAddr),
}

/// Dials and negotiates TLS before `deadline`.
///
/// Tries each address of a name in turn, with an equal share of the remaining time: an address that drops packets does
/// not block the others.
///
/// Cancel safety: a dropped call closes the opened connections.
pub(super) async fn dial(
    settings: &EndpointSettings,
    tls: &ClientTls,
    whereto: Whereto,
    deadline: Instant,
    stages: &mut Stages,
) -> Result<Connected, ConnectFailure> {
    let (host, port) = match &settings.endpoint.address {
        Address::Unix(path) => {
            stages.enter(ConnectPhase::Tcp);
            let unix = UnixStream::connect(path).await.map_err(ConnectFailure::Unix)?;
            return Ok(Connected { stream: unix.into(), verified: None, peer: None });
        }
        Address::Tcp { host, port } => (host.as_str(), *port),
    };
    let addresses = match whereto {
        Whereto::Exactly(address) => vec![address],
        Whereto::Endpoint => resolve_host(host, port).await?,
    };
    stages.enter(ConnectPhase::Tcp);
    let (tcp, peer) = connect_any(&addresses, deadline).await?;
    stages.enter(ConnectPhase::Tls);
    let (stream, verified) = negotiate_tls(tcp, settings, tls).await?;
    Ok(Connected { stream, verified, peer: Some(peer) })
}

pub(super) async fn resolve_host(host: &str, port: u16) -> Result<Vec<SocketAddr>, ConnectFailure> {
    let failed = |source| ConnectFailure::Resolve { host: host.to_owned(), source };
    let mut distinct = Vec::new();
    for address in lookup_host((host, port)).await.map_err(failed)? {
        if !distinct.contains(&address) {
            distinct.push(address);
        }
    }
    match distinct.is_empty() {
        true => Err(failed(io::Error::new(io::ErrorKind::NotFound, "the name has no address"))),
        false => Ok(distinct),
    }
}

pub(super) async fn connect_any(
    addresses: &[SocketAddr],
    deadline: Instant,
) -> Result<(TcpStream, SocketAddr), ConnectFailure> {
    let mut tried = Vec::new();
    for (at, &address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = share_of_time(left, addresses.len() - at);
        let connected = async {
            let tcp = TcpStream::connect(address).await?;
            socket::prepare(&tcp)?;
            io::Result::Ok(tcp)
        };
        match timeout_at(Instant::now() + share, connected).await {
            Ok(Ok(tcp)) => return Ok((tcp, address)),
            Ok(Err(error)) => tried.push((address, error)),
            Err(_elapsed) => tried.push((address, io::ErrorKind::TimedOut.into())),
        }
    }
    Err(ConnectFailure::Unreachable { tried })
}

/// The time for the next of `addresses` addresses.
fn share_of_time(left: Duration, addresses: usize) -> Duration {
    left / u32::try_from(addresses.max(1)).unwrap_or(u32::MAX)
}

/// Negotiates TLS as configured.
async fn negotiate_tls(
    mut tcp: TcpStream,
    settings: &EndpointSettings,
    tls: &ClientTls,
) -> Result<(Stream, Option<VerifiedTls>), ConnectFailure> {
    let wanted = &settings.tls;
    if wanted.mode == TlsMode::Disable {
        return Ok((tcp.into(), None));
    }
    if wanted.negotiation == Negotiation::Postgres && !ask_for_tls(&mut tcp).await? {
        return match wanted.mode {
            TlsMode::Prefer => Ok((tcp.into(), None)),
            _ => Err(ConnectFailure::TlsRefused),
        };
    }
    tls.handshake(tcp).await.map_err(ConnectFailure::Tls)
}

/// Sends an SSLRequest; returns true if the server accepts.
///
/// <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL>
async fn ask_for_tls(tcp: &mut TcpStream) -> Result<bool, ConnectFailure> {
    let broken = |source| ConnectFailure::Broken { phase: ConnectPhase::Tls, source };
    let mut request = Vec::new();
    FirstPacket::SslRequest.write(&mut request);
    tcp.write_all(&request).await.map_err(broken)?;
    match tcp.read_u8().await.map_err(broken)? {
        b'S' => {
            // The server now awaits a ClientHello. Earlier bytes were injected by an attacker, to be read as TLS
            // content (CVE-2021-23222).
            let mut byte = [0];
            match tcp.try_read(&mut byte) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
                Ok(0) => Err(broken(io::ErrorKind::UnexpectedEof.into())),
                Ok(_) => Err(ConnectFailure::Injected),
                Err(error) => Err(broken(error)),
            }
        }
        b'N' => Ok(false),
        b'E' => Err(ConnectFailure::RefusedBeforeTls { words: read_refusal(tcp).await }),
        byte => Err(ConnectFailure::NotPostgres { byte }),
    }
}
