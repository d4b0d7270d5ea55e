//! Load of a pool at the time of a refused statement: who waits, and who holds the backends.

use std::{sync::Arc, time::Duration};

use crate::{
    frontend::registry::{current_backend::CurrentBackend, sessions::SessionRegistry},
    pool::Pool,
    telemetry::labels::PoolBackendState,
};

/// Load of a pool.
#[derive(Debug)]
pub(crate) struct PoolLoad {
    /// Sessions that wait for a backend.
    pub(crate) waiting: usize,
    /// The longest current wait.
    pub(crate) longest_wait: Duration,
    /// Leased backends.
    pub(crate) held: usize,
    /// The session with the longest lease.
    pub(crate) oldest: Option<OldestLease>,
}

/// The longest lease of a pool.
#[derive(Debug)]
pub(crate) struct OldestLease {
    /// Number of the session.
    pub(crate) session: u64,
    /// User name of the client.
    pub(crate) user: Option<Box<str>>,
    /// The client's `application_name`.
    pub(crate) application: Option<Box<str>>,
    /// Activity of the session, as in the admin API.
    pub(crate) state: &'static str,
    /// Time since the lease.
    pub(crate) held_for: Duration,
}

// === impl PoolLoad ===

impl PoolLoad {
    /// Current load of `pool`.
    pub(crate) fn of(pool: &Pool, sessions: &SessionRegistry) -> Self {
        let status = pool.status();
        let leased = status.backends.iter().filter(|backend| backend.state == PoolBackendState::Leased);
        let oldest = leased.max_by_key(|backend| backend.state_for).and_then(|backend| {
            let entries = sessions.list();
            let holder = entries.iter().find(|entry| match entry.current_backend() {
                Some(CurrentBackend::Leased(running)) => Arc::ptr_eq(&running, &backend.running),
                _ => false,
            })?;
            Some(OldestLease {
                session: holder.id,
                user: holder.facts.user.as_ref().map(|user| user.as_str().into()),
                application: holder.facts.application.clone(),
                state: holder.activity().as_str(),
                held_for: backend.state_for,
            })
        });
        Self {
            waiting: status.waiting,
            longest_wait: status.longest_wait,
            held: status.count(PoolBackendState::Leased),
            oldest,
        }
    }
}
