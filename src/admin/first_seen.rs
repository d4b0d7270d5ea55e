//! The begin of states that no event tells: the first look that found them.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;

/// Time of the first look that found each of the current states.
#[derive(Default)]
pub(super) struct FirstSeen {
    times: Mutex<BTreeMap<StateKey, Timestamp>>,
}

/// Kind, listener and endpoint.
type StateKey = (&'static str, Option<String>, Option<String>);

// === impl FirstSeen ===

impl FirstSeen {
    /// Replaces the known states by `current`, which a look at `now` has found; returns their times in the same order. A
    /// state that has ended begins anew.
    pub(super) fn update(&self, current: Vec<StateKey>, now: Timestamp) -> Vec<Timestamp> {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut *times);
        let first_of = |key| {
            let first = before.get(&key).copied().unwrap_or(now);
            times.insert(key, first);
            first
        };
        current.into_iter().map(first_of).collect()
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn a_state_keeps_its_begin_until_the_end() {
        let (seen, start) = (FirstSeen::default(), Timestamp::UNIX_EPOCH);
        let at = |seconds| start + SignedDuration::from_secs(seconds);
        let look = |second, endpoints: &[&str]| {
            let key = |endpoint: &&str| ("errors", None, Some((*endpoint).to_owned()));
            seen.update(endpoints.iter().map(key).collect(), at(second))
        };
        assert_eq!(look(10, &["primary"]), [at(10)]);
        assert_eq!(look(20, &["reads", "primary"]), [at(20), at(10)]);
        assert_eq!(look(30, &["reads"]), [at(20)]);
        assert_eq!(look(40, &["reads", "primary"]), [at(20), at(40)], "the second has begun anew");
    }
}
