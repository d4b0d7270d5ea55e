//! Logs the beginning and the end of those faults that no other part of the program logs.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use super::{
    Diagnosis,
    fault::{Fault, FaultKey, FaultKind},
};
use crate::admin::monitor::ServiceMonitor;

/// Faults as last logged, by kind, listener and endpoint.
#[derive(Default)]
struct FaultLog {
    known: BTreeMap<FaultKey, Fault>,
}

/// Kinds that are events nowhere else.
const LOGGED: [FaultKind; 10] = [
    FaultKind::PoolWaits,
    FaultKind::ClientsNearLimit,
    FaultKind::Errors,
    FaultKind::ReplicationLag,
    FaultKind::StuckTransaction,
    FaultKind::CertificateEnds,
    FaultKind::CertificateEnded,
    FaultKind::TokenNotRenewed,
    FaultKind::TokenMissing,
    FaultKind::DescriptorsNearLimit,
];

/// Interval of the diagnoses. A fault in between is not logged.
const INTERVAL: Duration = Duration::from_secs(2);

/// Diagnoses and logs forever.
///
/// Cancel safe.
pub(in crate::admin) async fn log_faults(monitor: Arc<ServiceMonitor>) {
    let mut log = FaultLog::default();
    let mut due = interval(INTERVAL);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        let (begun, ended) = log.update(Diagnosis::of(&monitor).faults);
        for fault in begun {
            tracing::warn!(
                kind = fault.kind,
                listener = fault.listener,
                endpoint = fault.endpoint,
                session = fault.session,
                remedy = fault.remedy,
                "{}",
                fault.text
            );
        }
        for fault in ended {
            let Fault { kind, listener, endpoint, .. } = fault;
            tracing::info!(kind, listener, endpoint, "fault ended");
        }
    }
}

// === impl FaultLog ===

impl FaultLog {
    /// Replaces the known faults by `faults`; returns those that have begun, and those that have ended.
    fn update(&mut self, faults: Vec<Fault>) -> (Vec<Fault>, Vec<Fault>) {
        let is_logged = |fault: &Fault| LOGGED.iter().any(|kind| kind.as_str() == fault.kind);
        let mut before = std::mem::take(&mut self.known);
        let mut begun = Vec::new();
        for fault in faults.into_iter().filter(is_logged) {
            let key = fault.key();
            if before.remove(&key).is_none() && !self.known.contains_key(&key) {
                begun.push(fault.clone());
            }
            self.known.insert(key, fault);
        }
        (begun, before.into_values().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(kind: FaultKind, endpoint: &str, text: &str) -> Fault {
        Fault::new(kind, text.to_owned(), String::new(), None).of_endpoint(endpoint)
    }

    fn texts(faults: &[Fault]) -> Vec<&str> {
        faults.iter().map(|fault| fault.text.as_str()).collect()
    }

    #[test]
    fn a_fault_is_logged_when_it_begins_and_when_it_ends() {
        let mut log = FaultLog::default();
        let lag = |text| fault(FaultKind::ReplicationLag, "reads", text);
        let (begun, ended) = log.update(vec![lag("11 s"), fault(FaultKind::EndpointDown, "reads", "down")]);
        assert_eq!((texts(&begun), texts(&ended)), (vec!["11 s"], vec![]), "events log what is down");
        let other = fault(FaultKind::ReplicationLag, "dr", "10 s");
        let (begun, ended) = log.update(vec![lag("16 s"), other]);
        assert_eq!((texts(&begun), texts(&ended)), (vec!["10 s"], vec![]), "other words are no other fault");
        let (begun, ended) = log.update(vec![lag("21 s")]);
        assert_eq!((texts(&begun), texts(&ended)), (vec![], vec!["10 s"]));
        assert_eq!(texts(&log.update(Vec::new()).1), ["21 s"]);
        assert_eq!(texts(&log.update(vec![lag("12 s"), lag("13 s")]).0), ["12 s"], "it begins again, once");
    }
}
