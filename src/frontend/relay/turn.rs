//! One turn of a relay: a limited number of steps at one time.

use std::{task::Context, time::Instant};

/// Steps of a turn, each with a possible buffer move. Then the worker's remaining sessions run, even with work left
/// here.
const MAX_TURN_STEPS: u8 = 200;

/// Remaining steps and the time of a turn.
#[derive(Default)]
pub(super) struct Turn {
    /// Time of the turn, after the first use of the clock.
    now: Option<Instant>,
    remaining_steps: u8,
}

// === impl Turn ===

impl Turn {
    /// Begins a turn.
    pub(super) const fn begin(&mut self) {
        (self.now, self.remaining_steps) = (None, MAX_TURN_STEPS);
    }

    /// Grants a new set of steps within the turn: the other direction gets steps of the turn, too.
    pub(super) const fn refill_steps(&mut self) {
        self.remaining_steps = MAX_TURN_STEPS;
    }

    /// True if no steps are left.
    pub(super) const fn is_over(&self) -> bool {
        self.remaining_steps == 0
    }

    /// Counts a step. True if no steps are left; the task is then woken at once for the next turn.
    pub(super) fn count_step(&mut self, cx: &Context<'_>) -> bool {
        self.remaining_steps = self.remaining_steps.saturating_sub(1);
        if self.is_over() {
            cx.waker().wake_by_ref();
        }
        self.is_over()
    }

    /// Time of the turn, read once: all events of a turn have one time.
    pub(super) fn now(&mut self) -> Instant {
        *self.now.get_or_insert_with(Instant::now)
    }

    /// Reads the clock again.
    pub(super) fn read_clock(&mut self) -> Instant {
        *self.now.insert(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn a_turn_ends_after_its_steps() {
        let cx = Context::from_waker(Waker::noop());
        let mut turn = Turn::default();
        turn.begin();
        let steps = (1..=u16::MAX).find(|_| turn.count_step(&cx));
        assert_eq!(steps, Some(u16::from(MAX_TURN_STEPS)));
        assert!(turn.is_over());
        turn.refill_steps();
        assert!(!turn.is_over());
    }

    #[test]
    fn a_turn_has_one_time() {
        let mut turn = Turn::default();
        turn.begin();
        let now = turn.now();
        assert_eq!(turn.now(), now);
        let later = turn.read_clock();
        assert!(later >= now);
        assert_eq!(turn.now(), later);
    }
}
