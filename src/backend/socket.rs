//! Options of the sockets towards endpoints.

use std::{io, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// Balancers in front of AlloyDB drop idle connections after minutes, and a node can vanish silently: keepalive
/// prevents the former and detects the latter within a minute.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(30))
    .with_interval(Duration::from_secs(10))
    .with_retries(3);

/// How long bytes may stay unacknowledged before a connection is given up: the system's own limit is a quarter of an
/// hour.
///
/// The limit must be long. Linux also counts the time of a closed peer window (`tcp(7)`, `TCP_USER_TIMEOUT`), and a
/// healthy server reads nothing while a statement waits for a lock and a pipeline queues up behind.
const UNACKNOWLEDGED_DATA_TIMEOUT: Duration = Duration::from_secs(300);

/// Sets the options of a connected socket.
pub(super) fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&KEEPALIVE)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_DATA_TIMEOUT))
}
