//! What clients and servers have in common in PgBouncer's tables.

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use super::moment;
use crate::console::table::{Row, Value};

/// A connection, of a client or to a server.
pub(super) struct Socket {
    /// `C` for a client, `S` for a server.
    pub(super) kind: &'static str,
    pub(super) user: String,
    pub(super) database: String,
    pub(super) state: &'static str,
    /// The other end; `None` on a Unix-domain socket.
    pub(super) remote: Option<SocketAddr>,
    /// Our end, where it is known.
    pub(super) local: Option<SocketAddr>,
    pub(super) connected: SystemTime,
    /// When it was last given something to do, where that is known.
    pub(super) requested: SystemTime,
    /// For how long a client has waited for a server.
    pub(super) wait: Duration,
    pub(super) close_needed: bool,
    /// What other rows call it by in `link`.
    pub(super) ptr: String,
    /// The server that serves a client, and the other way round.
    pub(super) link: Option<String>,
    /// The process at the other end.
    pub(super) pid: Option<u32>,
    pub(super) tls: &'static str,
    pub(super) application: String,
}

impl Socket {
    /// PgBouncer's eighteen columns.
    pub(super) fn row(self) -> Row {
        let unix = || "unix".to_owned();
        vec![
            self.kind.into(),
            self.user.into(),
            self.database.into(),
            self.state.into(),
            self.remote.map_or_else(unix, |address| address.ip().to_string()).into(),
            self.remote.map_or(0, |address| address.port()).into(),
            self.local.map_or_else(unix, |address| address.ip().to_string()).into(),
            self.local.map_or(0, |address| address.port()).into(),
            moment(self.connected).into(),
            moment(self.requested).into(),
            self.wait.as_secs().into(),
            self.wait.subsec_micros().into(),
            self.close_needed.into(),
            self.ptr.into(),
            self.link.unwrap_or_default().into(),
            self.pid.unwrap_or_default().into(),
            self.tls.into(),
            self.application.into(),
        ]
    }

    /// The same with the seven positions in buffers that `SHOW SOCKETS` has besides: ours are not kept.
    pub(super) fn row_with_positions(self) -> Row {
        let mut row = self.row();
        row.resize(row.len() + 7, Value::Number(0));
        row
    }
}
