//! Route decisions of a listener, by reason.

use super::{Each, Scope};
use crate::{
    closed_set::LabelValue,
    route::RouteReason,
    telemetry::{
        catalog::{self, Label},
        labels::Fallback,
        registry::Counter,
        shards::{Shards, Tally},
    },
};

/// Route decisions of one listener.
pub(super) struct Routes {
    pub(super) shards: Shards<RouteCounts>,
    decisions: Each<RouteReason, Counter>,
    fallbacks: Each<Fallback, Counter>,
}

/// Route decisions of one worker's sessions since the last collection.
///
/// Never allocates or waits. Any thread may count, but a thread other than the worker makes the worker wait for the
/// cache line.
#[repr(align(128))]
pub struct RouteCounts {
    decisions: [Tally; RouteReason::ALL.len()],
    fallbacks: [Tally; RouteReason::FALLBACKS.len()],
}

// === impl Routes ===

impl Routes {
    pub(super) fn new(scope: &Scope<'_>) -> Self {
        Self {
            shards: Shards::default(),
            decisions: scope.each(Label::Reason, |scope| scope.counter(&catalog::ROUTE_DECISIONS)),
            fallbacks: scope.each(Label::Reason, |scope| scope.counter(&catalog::READ_FALLBACKS)),
        }
    }

    /// Moves the counts of all workers to the exporter.
    pub(super) fn flush(&self) {
        for shard in self.shards.all() {
            self.decisions.add(&shard.decisions);
            self.fallbacks.add(&shard.fallbacks);
        }
    }
}

// === impl RouteCounts ===

impl RouteCounts {
    /// Records the route decision of a session or statement.
    pub fn record_decision(&self, reason: RouteReason) {
        self.decisions[reason.index()].increment();
    }

    /// Records a read sent to the writer, if `reason` is a fallback; a pin, for example, is not.
    pub fn fell_back(&self, reason: RouteReason) {
        if let Some(fallback) = Fallback::of(reason) {
            self.fallbacks[fallback.index()].increment();
        }
    }
}

impl Default for RouteCounts {
    fn default() -> Self {
        Self {
            decisions: std::array::from_fn(|_| Tally::default()),
            fallbacks: std::array::from_fn(|_| Tally::default()),
        }
    }
}
