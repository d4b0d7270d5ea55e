//! Reads that fell back to the writer, as a label.

use crate::{closed_set::LabelValue, route::RouteReason};

/// Reason for sending a read to the writer instead of a read pool: one of [`RouteReason::FALLBACKS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fallback(usize);

// === impl Fallback ===

impl Fallback {
    const EVERY: [Self; RouteReason::FALLBACKS.len()] = {
        let mut every = [Self(0); RouteReason::FALLBACKS.len()];
        let mut at = 0;
        while at < every.len() {
            every[at] = Self(at);
            at += 1;
        }
        every
    };

    /// The fallback label of `reason`, if `reason` is a fallback.
    #[must_use]
    pub fn of(reason: RouteReason) -> Option<Self> {
        RouteReason::FALLBACKS.iter().position(|fallback| *fallback == reason).map(Self)
    }
}

impl LabelValue for Fallback {
    const ALL: &'static [Self] = &Self::EVERY;

    fn as_str(self) -> &'static str {
        RouteReason::FALLBACKS[self.0].as_str()
    }

    fn index(self) -> usize {
        self.0
    }
}
