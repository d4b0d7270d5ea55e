//! What an operator may say about a listener's pools.

use crate::closed_set::closed_set;
use std::{fmt, time::Duration};

/// One listener's pools: each of its pools goes by these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolSettings {
    /// For how long a session keeps its backend.
    pub mode: PoolMode,
    /// Backends of one pool, those being dialed included. At least 1.
    pub size: usize,
    /// Backends that are kept idle for whoever comes next. Default 0.
    pub min_idle: usize,
    /// A backend this old is closed instead of being used again; each a little earlier by chance, so that they do not all go
    /// at one time. Zero is no limit. Default 1 h.
    pub max_lifetime: Duration,
    /// A backend that nobody used for so long is closed. Zero is no limit. Default 10 min.
    pub idle_timeout: Duration,
    /// How long a session waits for a backend. Zero is no limit. Default 30 s: whoever waits that long for a backend has mostly
    /// been given up by its own caller, and an application should hear of it while somebody is still looking.
    pub query_wait_timeout: Duration,
    /// After how long a waiting client is told so. Zero is never. Default 5 s.
    pub wait_notice: Duration,
    /// Functions, in lower case, whose call pins the backend to the session.
    pub pin_on_functions: Vec<String>,
    /// A state check follows each transaction before the next session gets the backend. Default no: the check then
    /// skips transactions proved to leave no state.
    pub strict_isolation: bool,
    /// Whether the listener splits: backends of endpoints that serve reads learn which node they lead to, and a server that is
    /// no standby gets no reads. Default no.
    pub splits: bool,
}

closed_set! {
    /// For how long a session keeps its backend.
    pub enum PoolMode {
        /// For life.
        Session = "session",
        /// For a transaction, unless it is pinned.
        Transaction = "transaction",
    }
}

impl fmt::Display for PoolMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PoolSettings {
    /// The size of a pool in transaction mode, unless somebody says otherwise.
    pub const TRANSACTION_SIZE: usize = 20;

    /// The defaults for a mode. In session mode the size is what the listener's own limit on clients leaves, `max_clients`: each
    /// client has a backend of its own, as it would have without a proxy.
    #[must_use]
    pub fn new(mode: PoolMode, max_clients: usize) -> Self {
        Self {
            mode,
            size: match mode {
                PoolMode::Session => max_clients.max(1),
                PoolMode::Transaction => Self::TRANSACTION_SIZE,
            },
            min_idle: 0,
            max_lifetime: Duration::from_secs(3600),
            idle_timeout: Duration::from_secs(600),
            query_wait_timeout: Duration::from_secs(30),
            wait_notice: Duration::from_secs(5),
            pin_on_functions: Vec::new(),
            strict_isolation: false,
            splits: false,
        }
    }
}
