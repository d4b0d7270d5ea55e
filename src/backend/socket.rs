//! Options of the sockets towards endpoints.

use std::{io, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// Keepalive of all connections, towards endpoints and towards clients. A firewall or balancer between the two may drop
/// connections that are idle for minutes, and a machine can vanish silently: keepalive prevents the former, and detects
/// the latter within a minute.
///
/// `TCP_USER_TIMEOUT` must not be set beside it: it replaces the number of probes (`tcp(7)`), and it ends connections whose
/// peer is alive with a closed window. Linux sends no keepalive probes while data is unacknowledged; then the watchdog
/// detects a silent peer.
pub const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(30))
    .with_interval(Duration::from_secs(10))
    .with_retries(3);

/// Sets the options of a connected socket.
pub(super) fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_keepalive(&KEEPALIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_silent_endpoint_is_detected_within_a_minute() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        prepare(&stream).unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap() && socket.tcp_nodelay().unwrap());
        let detected = socket.tcp_keepalive_time().unwrap()
            + socket.tcp_keepalive_interval().unwrap() * socket.tcp_keepalive_retries().unwrap();
        assert_eq!(detected, Duration::from_secs(60));
        assert_eq!(socket.tcp_user_timeout().unwrap(), None, "it would replace the number of probes");
    }
}
