//! Options of the sockets towards endpoints.

use std::{io, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// Balancers in front of AlloyDB forget idle connections after minutes, and a node can vanish without a word: this keeps
/// the former busy and notices the latter within a minute.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(30))
    .with_interval(Duration::from_secs(10))
    .with_retries(3);

/// How long bytes may stay unacknowledged before a connection is given up: the system's own limit is a quarter of an
/// hour.
///
/// It must stay long. Linux counts the time that a peer's window is closed as well (`tcp(7)`, `TCP_USER_TIMEOUT`), and
/// a healthy server reads nothing for as long as a statement waits for a lock while a pipeline queues up behind it.
const UNACKNOWLEDGED: Duration = Duration::from_secs(300);

/// Sets the options of a connected socket.
pub(super) fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&KEEPALIVE)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))
}
