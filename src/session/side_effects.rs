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
    effects: Effects,
    /// Settings possibly changed.
    settings: Vec<Arc<[u8]>>,
    pins: Pins,
    /// Texts classified with a possibly outdated catalog.
    outdated: OutdatedTexts,
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

    /// True if the request may leave any state of `effects`.
    pub(super) fn may_leave(&self, effects: Effects) -> bool {
        self.effects.intersects(effects)
    }

    /// True if the request may pin the session.
    pub(super) const fn may_pin(&self, pin: Pin) -> bool {
        self.pins.contains(pin)
    }

    /// Adds possible state.
    pub(super) fn add_effects(&mut self, effects: Effects) {
        self.effects |= effects;
    }

    /// Adds a setting that may be changed.
    pub(super) fn add_setting(&mut self, name: Arc<[u8]>) {
        self.settings.push(name);
    }

    /// Adds a text classified with a possibly outdated catalog.
    pub(super) fn add_outdated(&mut self, text: &[u8]) {
        self.outdated.push(text);
    }

    /// Removes all pins.
    pub(super) fn remove_pins(&mut self) {
        self.pins = Pins::NONE;
    }

    /// The possible state, the settings possibly changed, the pins, and the texts to classify again.
    pub(super) fn into_parts(self) -> (Effects, Vec<Arc<[u8]>>, Pins, OutdatedTexts) {
        (self.effects, self.settings, self.pins, self.outdated)
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
        side_effects.add_effects(Effects::LISTEN);
        side_effects.add_setting((*b"work_mem").into());
        let taken = side_effects.take().expect("there are some");
        assert!(taken.may_pin(Pin::Load) && taken.may_leave(Effects::LISTEN));
        assert!(side_effects.take().is_none());
    }
}
