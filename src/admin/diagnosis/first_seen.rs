//! The begin of faults that no event tells: the first diagnosis with the fault.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use super::fault::{Fault, FaultKey, FaultKind};
use crate::admin::moment::Clock;

/// Time of the first diagnosis with each current fault.
#[derive(Default)]
pub(in crate::admin) struct FirstSeen {
    times: Mutex<BTreeMap<FaultKey, Instant>>,
}

/// Kinds that compare a number with its limit, or a state without a time. The fault log looks every two seconds.
const DATED: [FaultKind; 4] = [
    FaultKind::Errors,
    FaultKind::ClientsNearLimit,
    FaultKind::DescriptorsNearLimit,
    FaultKind::ListenerUnready,
];

// === impl FirstSeen ===

impl FirstSeen {
    /// Dates the faults of a diagnosis at `now`. A fault that has ended begins anew.
    pub(super) fn date(&self, faults: &mut [Fault], now: Instant, clock: Clock) {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut *times);
        for fault in faults {
            if fault.since.is_none() && DATED.iter().any(|kind| kind.as_str() == fault.kind) {
                let first = before.get(&fault.key()).copied().unwrap_or(now);
                fault.since = Some(clock.since(first));
                times.insert(fault.key(), first);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn fault(kind: FaultKind, endpoint: &str) -> Fault {
        Fault::new(kind, "A fault.".to_owned(), String::new(), None).of_endpoint(endpoint)
    }

    #[test]
    fn a_fault_keeps_its_begin_until_the_end() {
        let (seen, clock) = (FirstSeen::default(), Clock::now());
        let ages = |ago: u64, endpoints: &[&str]| -> Vec<f64> {
            let mut faults: Vec<_> =
                endpoints.iter().map(|endpoint| fault(FaultKind::Errors, endpoint)).collect();
            let now = Instant::now().checked_sub(Duration::from_secs(ago)).unwrap();
            seen.date(&mut faults, now, clock);
            faults.iter().map(|fault| fault.since.as_ref().unwrap().age_seconds().round()).collect()
        };
        assert_eq!(ages(40, &["primary"]), [40.0]);
        assert_eq!(ages(30, &["reads", "primary"]), [30.0, 40.0]);
        assert_eq!(ages(20, &["reads"]), [30.0]);
        assert_eq!(ages(10, &["reads", "primary"]), [30.0, 10.0], "the fault of the primary has begun again");
    }

    #[test]
    fn a_begin_that_only_an_event_tells_stays_unknown() {
        let mut faults = [fault(FaultKind::RoleMismatch, "dr")];
        FirstSeen::default().date(&mut faults, Instant::now(), Clock::now());
        assert!(faults[0].since.is_none());
    }
}
