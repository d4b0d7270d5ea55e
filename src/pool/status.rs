//! What a pool looks like to people.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use super::{Pool, PoolSettings, Running, Target, slots::Occupancy};
use crate::{closed_set::closed_set, telemetry::labels::PoolBackendState};

/// What a pool looks like now.
pub struct PoolStatus {
    /// The pool key.
    pub target: Target,
    /// Its settings.
    pub settings: Arc<PoolSettings>,
    /// Whether it gives out backends.
    pub phase: PoolPhase,
    /// Its backends; those being dialed are only counted.
    pub backends: Vec<BackendStatus>,
    /// Logins under way.
    pub dialing: usize,
    /// Sessions that wait for a backend.
    pub waiting: usize,
    /// How long the one has waited that has waited longest.
    pub longest_wait: Duration,
    /// Leases since the pool was made.
    pub leases: u64,
    /// How many of them had to be waited for.
    pub waits: u64,
    /// How long they waited, all together.
    pub waited: Duration,
    /// Why the last login failed, if none has succeeded since.
    pub trouble: Option<Arc<crate::backend::ConnectError>>,
}

/// What a backend looks like now.
pub struct BackendStatus {
    /// Its number, process id, address.
    pub running: Arc<Running>,
    /// What is done with it.
    pub state: PoolBackendState,
    /// For how long, to a tenth of a second.
    pub state_for: Duration,
    /// It will be closed when it comes back: it is too old, or somebody asked for new ones.
    pub close_needed: bool,
}

closed_set! {
    /// Whether a pool gives out backends.
    pub enum PoolPhase {
        /// It does.
        Open = "open",
        /// Whoever asks waits; nothing is dialed.
        Paused = "paused",
        /// As paused, and its backends are closed as they come back.
        Draining = "draining",
        /// It is no longer in use.
        Withdrawn = "withdrawn",
        /// The process ends.
        Closed = "closed",
    }
}

impl Pool {
    /// What the pool looks like now.
    #[must_use]
    pub fn status(&self) -> PoolStatus {
        let now = Instant::now();
        let state = self.lock();
        let backends = state.slots.iter().map(|(occupancy, since, tenant)| BackendStatus {
            running: Arc::clone(&tenant.running),
            state: shown(occupancy),
            state_for: now.saturating_duration_since(since),
            close_needed: state.unfit(tenant).is_some(),
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
                .oldest()
                .map_or(Duration::ZERO, |oldest| now.saturating_duration_since(oldest)),
            leases: state.leases,
            waits: self.waits.load(Relaxed),
            waited: Duration::from_micros(self.waited.load(Relaxed)),
            trouble: state.trouble.as_ref().map(|trouble| Arc::clone(&trouble.error)),
        }
    }

    /// How many slots are in each state, and how many sessions wait.
    pub(super) fn levels(&self) -> Levels {
        let state = self.lock();
        let mut levels =
            Levels { limit: state.settings.size, waiting: state.queue.len(), ..Levels::default() };
        for occupancy in [
            Occupancy::Dialing,
            Occupancy::Idle,
            Occupancy::Leased,
            Occupancy::Resetting,
            Occupancy::Settling,
        ] {
            levels.backends[shown(occupancy).index()] += state.slots.count(occupancy);
        }
        levels
    }
}

/// The numbers of a pool that go up and down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Levels {
    pub(super) backends: [usize; PoolBackendState::ALL.len()],
    pub(super) waiting: usize,
    pub(super) limit: usize,
}

fn shown(occupancy: Occupancy) -> PoolBackendState {
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
    /// When it logged in.
    #[must_use]
    pub fn opened(&self) -> SystemTime {
        self.running.opened()
    }

    /// The address that answered; `None` for a Unix-domain socket.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.running.peer()
    }

    /// Cancel requests on their way to it.
    #[must_use]
    pub fn cancels(&self) -> usize {
        self.running.cancels()
    }
}
