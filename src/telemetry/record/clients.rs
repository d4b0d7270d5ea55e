//! A listener's clients by state, which changes twice with each statement.

use std::{mem, sync::Arc};

use super::{Each, ListenerMetrics, Scope};
use crate::telemetry::{
    catalog::{self, Label},
    labels::ClientState,
    registry::Level,
    shards::{Shards, Tally},
};

/// Number of clients in each state.
pub(super) struct Clients {
    shards: Shards<ClientCounts>,
    shown: Each<ClientState, Level>,
}

/// Counts a client under its state until dropped.
pub struct ClientPresence {
    listener: Arc<ListenerMetrics>,
    /// Shard for the next change; a client may leave a state on another worker than the one that entered it.
    counts: Arc<ClientCounts>,
    state: ClientState,
}

/// Changes on one worker since the last collection.
///
/// Arrivals and departures are counted separately and departures are collected first. A departure is then never
/// collected before its arrival, so no level falls below zero.
#[derive(Default)]
#[repr(align(128))]
struct ClientCounts {
    entered: [Tally; ClientState::ALL.len()],
    left: [Tally; ClientState::ALL.len()],
}

// === impl Clients ===

impl Clients {
    pub(super) fn new(scope: &Scope<'_>) -> Self {
        Self {
            shards: Shards::default(),
            shown: scope.each(Label::State, |scope| scope.level(&catalog::CLIENTS)),
        }
    }

    /// Moves the counts of all workers to the gauges.
    pub(super) fn flush(&self) {
        let shards = self.shards.all();
        for state in ClientState::ALL {
            let sum = |of: fn(&ClientCounts) -> &[Tally]| -> u64 {
                shards.iter().map(|shard| of(shard)[state.index()].take()).sum()
            };
            let left = sum(|shard| &shard.left);
            let entered = sum(|shard| &shard.entered);
            let shown = self.shown.of(state);
            if entered >= left {
                shown.raise(entered - left);
            } else {
                shown.lower(left - entered);
            }
        }
    }
}

// === impl ClientPresence ===

impl ClientPresence {
    /// Counts a new client in `state`, in the shard for unknown workers until [`Self::settle`].
    pub(super) fn enter_first(listener: &Arc<ListenerMetrics>, state: ClientState) -> Self {
        let counts = listener.clients.shards.of(0);
        counts.entered[state.index()].increment();
        Self { listener: Arc::clone(listener), counts, state }
    }

    /// Sets the client's worker. Takes a short lock.
    pub fn settle(&mut self, worker: usize) {
        self.counts = self.listener.clients.shards.of(worker);
    }

    /// Changes the client's state.
    pub fn enter(&mut self, state: ClientState) {
        if state != self.state {
            self.counts.entered[state.index()].increment();
            let before = mem::replace(&mut self.state, state);
            self.counts.left[before.index()].increment();
        }
    }

    /// Metrics of the listener.
    #[must_use]
    pub fn listener(&self) -> &Arc<ListenerMetrics> {
        &self.listener
    }
}

impl Drop for ClientPresence {
    fn drop(&mut self) {
        self.counts.left[self.state.index()].increment();
    }
}
