//! Where a listener's statements go, and why: counted with each decision.

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

/// The decisions of one listener.
pub(super) struct Routes {
    pub(super) shards: Shards<RouteCounts>,
    decisions: Each<RouteReason, Counter>,
    fallbacks: Each<Fallback, Counter>,
}

/// The decisions that the sessions of one worker took since they were last collected.
///
/// Nothing here allocates or waits. Any thread may count, but one that is not its worker makes the worker wait for the
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

    /// Moves what all workers counted to where it is shown.
    pub(super) fn flush(&self) {
        for shard in self.shards.all() {
            self.decisions.add(&shard.decisions);
            self.fallbacks.add(&shard.fallbacks);
        }
    }
}

// === impl RouteCounts ===

impl RouteCounts {
    /// A session or statement goes somewhere, for this reason.
    pub fn decided(&self, reason: RouteReason) {
        self.decisions[reason.index()].increment();
    }

    /// A read went to the writer, for this reason; one that is no fallback (a pin, say) counts nothing.
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
