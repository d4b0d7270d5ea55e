//! Sessions that wait for a backend of a pool.

use std::{sync::Arc, time::Duration};

use super::{
    fault::{Fault, FaultKind},
    transactions::describe_session,
    words::{describe_count, describe_duration},
};
use crate::{
    admin::moment::Clock,
    blame::Chain,
    frontend::{CurrentBackend, SessionEntry},
    pool::{PoolPhase, PoolStatus},
    telemetry::labels::PoolBackendState,
};

/// A pool with waiting sessions.
pub(super) struct PoolWaits {
    pub(super) listener: String,
    pub(super) endpoint: String,
    /// As `database/user@endpoint`.
    pub(super) pool: String,
    pub(super) phase: PoolPhase,
    pub(super) size: usize,
    pub(super) leased: usize,
    pub(super) waiting: usize,
    pub(super) longest_wait: Duration,
    pub(super) login_error: Option<String>,
    pub(super) holder: Option<LeaseHolder>,
}

/// The session with the longest lease of a pool.
pub(super) struct LeaseHolder {
    pub(super) session: u64,
    /// Session with its state, as part of a sentence.
    pub(super) described: String,
}

/// A shorter wait is usual under load.
const MIN_WAIT: Duration = Duration::from_secs(2);

impl PoolWaits {
    /// The waits of a pool; `None` without waiting sessions.
    pub(super) fn of(status: &PoolStatus, sessions: &[Arc<SessionEntry>]) -> Option<Self> {
        if status.waiting == 0 {
            return None;
        }
        let leased = status.backends.iter().filter(|backend| backend.state == PoolBackendState::Leased);
        let holder = leased.max_by_key(|backend| backend.state_for).and_then(|backend| {
            let holds = |entry: &&Arc<SessionEntry>| match entry.current_backend() {
                Some(CurrentBackend::Leased(running)) => Arc::ptr_eq(&running, &backend.running),
                _ => false,
            };
            let entry = sessions.iter().find(holds)?;
            Some(LeaseHolder { session: entry.id, described: describe_session(entry) })
        });
        Some(Self {
            listener: status.target.listener.to_string(),
            endpoint: status.target.endpoint.to_string(),
            pool: status.target.to_string(),
            phase: status.phase,
            size: status.settings.size,
            leased: status.count(PoolBackendState::Leased),
            waiting: status.waiting,
            longest_wait: status.longest_wait,
            login_error: status.last_login_error.as_ref().map(|error| Chain(&**error).to_string()),
            holder,
        })
    }

    /// The fault, if the longest wait is long.
    pub(super) fn diagnose(&self, clock: Clock) -> Option<Fault> {
        if self.longest_wait < MIN_WAIT {
            return None;
        }
        let Self { listener, pool, size, leased, .. } = self;
        let waiting = describe_count(self.waiting as u64, "session");
        let longest = describe_duration(self.longest_wait);
        let begin = format!("Pool {pool} of listener {listener}: {waiting} waiting, longest {longest}");
        let (kind, text, remedy) = match (self.phase, &self.login_error, &self.holder) {
            (PoolPhase::Paused | PoolPhase::Draining, ..) => (
                FaultKind::PoolPaused,
                format!("{begin}; the pool is {}.", self.phase.as_str()),
                "Resume it: RESUME on the console, or POST /v1/pools/resume.".to_owned(),
            ),
            (_, Some(error), _) => (
                FaultKind::PoolWaits,
                format!("{begin}; logins fail: {error}."),
                "`gatekeeper doctor` tries the login, and shows the remedy.".to_owned(),
            ),
            (_, None, Some(holder)) => (
                FaultKind::PoolWaits,
                format!(
                    "{begin}; {leased} of {size} backends in use, the oldest lease by {}.",
                    holder.described
                ),
                format!(
                    "Make its transactions shorter or end it (DELETE /v1/sessions/{}), or raise `size` in [listener.pool].",
                    holder.session
                ),
            ),
            (_, None, None) => (
                FaultKind::PoolWaits,
                format!("{begin}; {leased} of {size} backends in use."),
                "Raise `size` in [listener.pool] or `max_backends` of the endpoint, or shorten the transactions."
                    .to_owned(),
            ),
        };
        let since = clock.before(self.longest_wait);
        let session = self.holder.as_ref().map(|holder| holder.session);
        let fault = Fault::new(kind, text, remedy, Some(since)).of_session(session);
        Some(fault.of_listener(listener).of_endpoint(&self.endpoint))
    }
}
