//! Pool settings of a listener.

use crate::closed_set::closed_set;
use std::{fmt, time::Duration};

/// Settings of all pools of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolSettings {
    /// Duration of leases.
    pub mode: PoolMode,
    /// Maximum number of backends of a pool, including logins under way. At least 1.
    pub size: usize,
    /// Backends kept idle in advance. Default 0.
    pub min_idle: usize,
    /// Maximum age of a backend for reuse, reduced by random jitter. Zero is no limit. Default 1 h.
    pub max_lifetime: Duration,
    /// Maximum idle time of a backend. Zero is no limit. Default 10 min.
    pub idle_timeout: Duration,
    /// Maximum wait of a session for a backend. Zero is no limit. Default 30 s: callers mostly give up at that time,
    /// and the application should learn the reason before.
    pub query_wait_timeout: Duration,
    /// Wait after which a client gets a notice. Zero is never. Default 5 s.
    pub wait_notice: Duration,
    /// Functions, in lower case, whose call pins the backend to the session.
    pub pin_on_functions: Vec<String>,
    /// A state check follows each transaction before the next session gets the backend. Default no: the check then
    /// skips transactions proved to leave no state.
    pub strict_isolation: bool,
    /// The listener splits reads: backends of endpoints that serve reads learn the node's identity, and a server that
    /// is not a standby gets no reads. Default no.
    pub splits: bool,
    /// The listener resolves commits in doubt: backends of an endpoint that accepts writes learn the server's timeline.
    /// Default no.
    pub resolves_commits: bool,
}

/// Idle time after which a replaced process closes a backend. A session in constant use keeps a backend, and a login
/// for each transaction would cost the server more than the backend.
const REPLACED_IDLE_TIMEOUT: Duration = Duration::from_secs(1);

closed_set! {
    /// Duration of leases.
    pub enum PoolMode {
        /// For life.
        Session = "session",
        /// A transaction, or until the end of a pin.
        Transaction = "transaction",
    }
}

impl fmt::Display for PoolMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PoolSettings {
    /// Default pool size in transaction mode.
    pub const DEFAULT_TRANSACTION_POOL_SIZE: usize = 20;

    /// Defaults of a mode. In session mode the size is the listener's limit on clients, `max_clients`: each client has
    /// a backend, as without a proxy.
    #[must_use]
    pub fn new(mode: PoolMode, max_clients: usize) -> Self {
        Self {
            mode,
            size: match mode {
                PoolMode::Session => max_clients.max(1),
                PoolMode::Transaction => Self::DEFAULT_TRANSACTION_POOL_SIZE,
            },
            min_idle: 0,
            max_lifetime: Duration::from_secs(3600),
            idle_timeout: Duration::from_secs(600),
            query_wait_timeout: Duration::from_secs(30),
            wait_notice: Duration::from_secs(5),
            pin_on_functions: Vec::new(),
            strict_isolation: false,
            splits: false,
            resolves_commits: false,
        }
    }

    /// The settings of a process that another one has replaced: unused backends leave their places on the server to the
    /// pools of the successor.
    #[must_use]
    pub(super) fn for_replaced_process(&self) -> Self {
        let shorter = match self.idle_timeout {
            Duration::ZERO => REPLACED_IDLE_TIMEOUT,
            limit => limit.min(REPLACED_IDLE_TIMEOUT),
        };
        Self { min_idle: 0, idle_timeout: shorter, ..self.clone() }
    }
}
