//! Open transactions by listener and endpoint: the oldest, and the one that has been idle for longest.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::entry::SessionEntry;
use crate::{names::ListenerName, topology::Endpoint, wire::TransactionStatus};

/// Open transactions of a listener's sessions on one endpoint.
#[derive(Debug, Clone)]
pub struct OpenTransactions {
    /// The listener.
    pub listener: ListenerName,
    /// The endpoint.
    pub endpoint: Arc<Endpoint>,
    /// The oldest transaction.
    pub oldest: TransactionAge,
    /// The transaction whose client has sent nothing for longest; `None` if all are at work.
    pub longest_idle: Option<TransactionAge>,
}

/// A transaction with an age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionAge {
    /// Number of the session.
    pub session: u64,
    /// Age of the transaction, or of the idle time in a transaction.
    pub age: Duration,
}

/// Age of a session's open transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionTimes {
    /// Time since the begin.
    pub open_for: Duration,
    /// Time without a statement; `None` while a statement runs.
    pub idle_for: Option<Duration>,
}

// === impl TransactionTimes ===

impl TransactionTimes {
    /// The transaction of `entry` at `now`, if one is open on a backend.
    #[must_use]
    pub fn of(entry: &SessionEntry, now: Instant) -> Option<Self> {
        let open_for = now.saturating_duration_since(entry.transaction_start()?);
        let activity = entry.activity();
        let is_idle = !activity.busy && activity.status != TransactionStatus::Idle;
        let idle_for = is_idle.then(|| now.saturating_duration_since(entry.state_start()));
        Some(Self { open_for, idle_for })
    }
}

// === impl OpenTransactions ===

impl OpenTransactions {
    /// Adds the transaction of `entry` at `now`, if one is open on a backend, to `all`. The list has few elements and is
    /// searched linearly.
    pub(crate) fn add(all: &mut Vec<Self>, entry: &SessionEntry, now: Instant) {
        let Some(TransactionTimes { open_for, idle_for }) = TransactionTimes::of(entry, now) else { return };
        let Some(backend) = entry.current_backend() else { return };
        let of = |age| TransactionAge { session: entry.id, age };
        let (oldest, idle) = (of(open_for), idle_for.map(of));
        let (listener, endpoint) = (&entry.facts.listener, backend.endpoint().endpoint());
        let known = all.iter_mut().find(|known| known.is_of(listener, endpoint));
        match known {
            Some(known) => known.merge(oldest, idle),
            None => all.push(Self {
                listener: listener.clone(),
                endpoint: Arc::clone(endpoint),
                oldest,
                longest_idle: idle,
            }),
        }
    }

    /// True for the transactions of the same listener on the same endpoint.
    pub(crate) fn is_of(&self, listener: &ListenerName, endpoint: &Endpoint) -> bool {
        self.listener == *listener
            && (&self.endpoint.name, self.endpoint.role) == (&endpoint.name, endpoint.role)
    }

    fn merge(&mut self, oldest: TransactionAge, idle: Option<TransactionAge>) {
        if oldest.age > self.oldest.age {
            self.oldest = oldest;
        }
        let is_longer = |known: TransactionAge| idle.is_some_and(|idle| idle.age > known.age);
        if self.longest_idle.is_none_or(is_longer) {
            self.longest_idle = idle;
        }
    }
}
