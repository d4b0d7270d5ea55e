//! RouteSide effects of a request, recorded with the request until its response arrives.

use std::sync::Arc;

use super::{
    pin::{Pin, Pins},
    pooled::OutdatedTexts,
};
use crate::sql::Effects;

/// State that a request may leave on the backend.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SideEffects {
    pub(super) effects: Effects,
    /// Settings possibly changed.
    pub(super) settings: Vec<Arc<[u8]>>,
    pub(super) pins: Pins,
    /// Texts classified with a possibly outdated catalog.
    pub(super) outdated: OutdatedTexts,
}

// === impl SideEffects ===

impl SideEffects {
    /// True if the request leaves nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.effects.is_empty()
            && self.settings.is_empty()
            && self.pins.is_empty()
            && self.outdated.is_empty()
    }

    /// Adds a pin.
    pub(super) fn pin(&mut self, pin: Pin) {
        self.pins = self.pins.with(pin);
    }

    /// Takes the side effects; `None` without any.
    pub(super) fn take(&mut self) -> Option<Box<Self>> {
        (!self.is_empty()).then(|| Box::new(std::mem::take(self)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn side_effects_are_taken_once() {
        let mut side_effects = SideEffects::default();
        assert!(side_effects.take().is_none());
        side_effects.pin(Pin::Load);
        side_effects.effects |= Effects::LISTEN;
        side_effects.settings.push((*b"work_mem").into());
        let taken = side_effects.take().expect("there are some");
        assert!(taken.pins.contains(Pin::Load) && taken.effects.contains(Effects::LISTEN));
        assert!(side_effects.take().is_none());
    }
}
