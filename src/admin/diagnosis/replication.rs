//! Lag and replay of standbys.

use std::time::Duration;

use super::{
    fault::{Fault, FaultKind},
    words::describe_duration,
};
use crate::{
    admin::moment::Clock,
    topology::{EndpointStatus, Health, ReplayState, ReplicationLag},
};

/// A longer lag is a fault: reads of split listeners leave such a standby.
const MAX_LAG: Duration = Duration::from_secs(10);

/// The fault of a standby that is far behind the writer, or whose replay has stopped.
pub(super) fn diagnose_standby(status: &EndpointStatus, clock: Clock) -> Option<Fault> {
    let status = Some(status).filter(|status| status.health == Health::Up)?;
    let endpoint = &status.endpoint.name;
    if !status.replay.is_fault() {
        let lag = status.lag.filter(|lag| lag.time >= MAX_LAG)?;
        let text = format!("Endpoint {endpoint} is {}.", describe_lag(lag));
        let remedy = "See what delays its replay (a long query, a slow disk), and if the writer writes more than it can replay.";
        let since = Some(clock.before(lag.time));
        return Some(
            Fault::new(FaultKind::ReplicationLag, text, remedy.to_owned(), since).of_endpoint(endpoint),
        );
    }
    let (what, remedy) = match status.replay {
        ReplayState::Paused => (
            "is paused",
            "Resume it with SELECT pg_wal_replay_resume(), unless somebody has paused it on purpose.",
        ),
        ReplayState::Diverged => (
            "has ended: its WAL comes from another server than the writer",
            "Rebuild the standby from the writer, or declare the endpoint as what it is.",
        ),
        ReplayState::Stalled | ReplayState::Replaying | ReplayState::Unknown => (
            "stands still",
            "See what it waits for: a long query, a full disk, a lost connection to its source.",
        ),
    };
    let lag = status.lag.filter(|lag| !lag.time.is_zero()).map(describe_lag);
    let behind = lag.map(|lag| format!("; it is {lag}")).unwrap_or_default();
    let text = format!("WAL replay of endpoint {endpoint} {what}{behind}.");
    let since = status.replay_since.map(|since| clock.since(since));
    Some(Fault::new(FaultKind::ReplayStopped, text, remedy.to_owned(), since).of_endpoint(endpoint))
}

/// `at least 31 s behind its writer (12 MB of WAL)`
fn describe_lag(ReplicationLag { time, bytes, is_lower_bound, .. }: ReplicationLag) -> String {
    let at_least = if is_lower_bound { "at least " } else { "" };
    let wal = bytes.map(|bytes| format!(" ({} MB of WAL)", bytes.div_ceil(1_000_000))).unwrap_or_default();
    format!("{at_least}{} behind its writer{wal}", describe_duration(time))
}
