//! Columns common to clients and servers in PgBouncer's tables.

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use super::format_time;
use crate::console::table::{Row, Value};

/// A connection, of a client or to a server.
pub(super) struct Socket {
    /// `C` for a client, `S` for a server.
    pub(super) kind: &'static str,
    pub(super) user: String,
    pub(super) database: String,
    pub(super) state: &'static str,
    /// Remote address; `None` on a Unix-domain socket.
    pub(super) remote: Option<SocketAddr>,
    /// Local address, if known.
    pub(super) local: Option<SocketAddr>,
    pub(super) connected: SystemTime,
    /// Time of the last request, if known.
    pub(super) requested: SystemTime,
    /// Time that a client has waited for a server.
    pub(super) wait: Duration,
    pub(super) close_needed: bool,
    /// Name of the connection in `link` of other rows.
    pub(super) ptr: String,
    /// The server of a client, or the client of a server.
    pub(super) link: Option<String>,
    /// Process id of the remote process.
    pub(super) pid: Option<u32>,
    pub(super) tls: &'static str,
    pub(super) application: String,
}

impl Socket {
    /// PgBouncer's 18 columns.
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
            format_time(self.connected).into(),
            format_time(self.requested).into(),
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

    /// Also the seven buffer positions of `SHOW SOCKETS`, always zero.
    pub(super) fn row_with_positions(self) -> Row {
        let mut row = self.row();
        row.resize(row.len() + 7, Value::Number(0));
        row
    }
}
