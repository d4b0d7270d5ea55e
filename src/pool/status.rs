//! Status of a pool for operators.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use super::{BackendHandle, Pool, PoolKey, PoolSettings, slots::Occupancy};
use crate::{closed_set::closed_set, telemetry::labels::PoolBackendState};

/// Status of a pool.
pub struct PoolStatus {
    /// The pool key.
    pub target: PoolKey,
    /// Settings of the pool.
    pub settings: Arc<PoolSettings>,
    /// Phase of the pool.
    pub phase: PoolPhase,
    /// Backends of the pool, without logins under way.
    pub backends: Vec<BackendStatus>,
    /// Logins under way.
    pub dialing: usize,
    /// Sessions that wait for a backend.
    pub waiting: usize,
    /// Longest current wait.
    pub longest_wait: Duration,
    /// Leases since the pool was made.
    pub leases: u64,
    /// Number of leases after a wait.
    pub waits: u64,
    /// Total waiting time.
    pub waited: Duration,
    /// Error of the last login, if no login has succeeded since. An old one is left out unless a session waits.
    pub last_login_error: Option<Arc<crate::backend::ConnectError>>,
}

/// Status of a backend.
pub struct BackendStatus {
    /// Number, process ID, address.
    pub running: Arc<BackendHandle>,
    /// State of the backend.
    pub state: PoolBackendState,
    /// For how long, to a tenth of a second.
    pub state_for: Duration,
    /// Closed on return: too old, or replaced on request.
    pub close_needed: bool,
}

closed_set! {
    /// Phase of a pool.
    pub enum PoolPhase {
        /// Leases backends.
        Open = "open",
        /// Sessions wait; no logins.
        Paused = "paused",
        /// Paused, and returned backends are closed.
        Draining = "draining",
        /// No longer in use.
        Withdrawn = "withdrawn",
        /// The process ends.
        Closed = "closed",
    }
}

impl Pool {
    /// Status of the pool now.
    #[must_use]
    pub fn status(&self) -> PoolStatus {
        let now = Instant::now();
        let state = self.lock();
        let backends = state.slots.iter().map(|(occupancy, since, record)| BackendStatus {
            running: Arc::clone(&record.running),
            state: state_label(occupancy),
            state_for: now.saturating_duration_since(since),
            close_needed: state.close_reason(record).is_some(),
        });
        PoolStatus {
            target: self.target.clone(),
            settings: Arc::clone(&state.settings),
            phase: state.phase,
            backends: backends.collect(),
            dialing: state.slots.count(Occupancy::Dialing),
            waiting: state.queue.len(),
            longest_wait: state
                .queue
                .longest_wait_start()
                .map_or(Duration::ZERO, |oldest| now.saturating_duration_since(oldest)),
            leases: state.leases,
            waits: self.waits.load(Relaxed),
            waited: Duration::from_micros(self.waited.load(Relaxed)),
            last_login_error: state
                .login_backoff
                .as_ref()
                .filter(|login_backoff| !state.queue.is_empty() || !login_backoff.is_past(now))
                .map(|login_backoff| Arc::clone(&login_backoff.error)),
        }
    }

    /// Number of waiting sessions.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lock().queue.len()
    }

    /// How many slots are in each state, and how many sessions wait.
    pub(super) fn levels(&self) -> Levels {
        let state = self.lock();
        let mut levels = Levels {
            limit: state.settings.size,
            waiting: state.queue.len(),
            oldest_wait: state.queue.longest_wait_start(),
            ..Levels::default()
        };
        for occupancy in [
            Occupancy::Dialing,
            Occupancy::Idle,
            Occupancy::Leased,
            Occupancy::Resetting,
            Occupancy::Settling,
        ] {
            levels.backends[state_label(occupancy).index()] += state.slots.count(occupancy);
        }
        levels
    }
}

/// The numbers of a pool that go up and down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Levels {
    pub(super) backends: [usize; PoolBackendState::ALL.len()],
    pub(super) waiting: usize,
    /// Start of the longest current wait.
    pub(super) oldest_wait: Option<Instant>,
    pub(super) limit: usize,
}

fn state_label(occupancy: Occupancy) -> PoolBackendState {
    match occupancy {
        Occupancy::Free | Occupancy::Dialing => PoolBackendState::Dialing,
        Occupancy::Idle => PoolBackendState::Idle,
        Occupancy::Leased => PoolBackendState::Leased,
        Occupancy::Resetting => PoolBackendState::Resetting,
        Occupancy::Settling => PoolBackendState::Settling,
    }
}

// === impl PoolStatus ===

impl PoolStatus {
    /// How many backends are in that state.
    #[must_use]
    pub fn count(&self, state: PoolBackendState) -> usize {
        match state {
            PoolBackendState::Dialing => self.dialing,
            state => self.backends.iter().filter(|backend| backend.state == state).count(),
        }
    }
}

// === impl BackendStatus ===

impl BackendStatus {
    /// Time of the login.
    #[must_use]
    pub fn opened(&self) -> SystemTime {
        self.running.opened()
    }

    /// The address that answered; `None` for a Unix-domain socket.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.running.peer()
    }

    /// Number of pending cancel requests.
    #[must_use]
    pub fn cancels(&self) -> usize {
        self.running.cancels()
    }
}
