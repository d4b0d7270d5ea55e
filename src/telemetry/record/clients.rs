//! A listener's clients by what they are doing, which changes twice with each statement.

use std::{mem, sync::Arc};

use super::{Each, ListenerMetrics, Scope};
use crate::telemetry::{
    catalog::{self, Label},
    labels::ClientState,
    registry::Level,
    shards::{Shards, Tally},
};

/// How many clients are in each state.
pub(super) struct Clients {
    shards: Shards<ClientCounts>,
    shown: Each<ClientState, Level>,
}

/// A client that is counted under what it is doing, for as long as this lives.
pub struct ClientPresence {
    listener: Arc<ListenerMetrics>,
    /// Where its changes are counted: a client may leave a state on another worker than it entered it on.
    counts: Arc<ClientCounts>,
    state: ClientState,
}

/// The changes that one worker saw since they were last collected.
///
/// Both ways are counted apart and those who left are collected first, so that nobody is ever seen to leave who was not
/// seen to come: no level falls below zero.
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

    /// Moves what all workers counted to where it is shown.
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
    /// A client came, and is in `state`. Until it settles it is counted where no worker is known.
    pub(super) fn enter_first(listener: &Arc<ListenerMetrics>, state: ClientState) -> Self {
        let counts = listener.clients.shards.of(0);
        counts.entered[state.index()].increment();
        Self { listener: Arc::clone(listener), counts, state }
    }

    /// The client lives on worker `worker` from now on. Takes a short lock.
    pub fn settle(&mut self, worker: usize) {
        self.counts = self.listener.clients.shards.of(worker);
    }

    /// The client does something else now.
    pub fn enter(&mut self, state: ClientState) {
        if state != self.state {
            self.counts.entered[state.index()].increment();
            let before = mem::replace(&mut self.state, state);
            self.counts.left[before.index()].increment();
        }
    }

    /// The listener's handles.
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
