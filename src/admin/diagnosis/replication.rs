//! Lag of standbys.

use std::time::{Duration, Instant};

use super::{
    fault::{Fault, FaultKind},
    words::describe_duration,
};
use crate::{
    admin::moment::Clock,
    topology::{EndpointStatus, Health, ObservedRole, TopologySnapshot},
};

/// Distance of a standby to its writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::admin) struct StandbyLag {
    /// Time since the standby was last known to be level with the writer.
    pub(in crate::admin) time: Duration,
    /// WAL that the standby has yet to replay.
    pub(in crate::admin) bytes: u64,
    /// The true time may be longer: the standby is behind everything that is known of the writer.
    pub(in crate::admin) is_lower_bound: bool,
}

/// A longer lag is a fault: reads of split listeners leave such a standby.
const MAX_LAG: Duration = Duration::from_secs(10);

impl StandbyLag {
    /// Lag of an endpoint; `None` for a writer, and while unknown.
    pub(in crate::admin) fn of(
        snapshot: &TopologySnapshot,
        status: &EndpointStatus,
        now: Instant,
    ) -> Option<Self> {
        let is_standby = status.health == Health::Up && status.observed == Some(ObservedRole::Standby);
        if !is_standby || !snapshot.follows_writer(&status.endpoint.cluster) {
            return None;
        }
        let replayed = status.position?.lsn;
        let samples = &snapshot.writer_samples;
        let bytes = samples.bytes_behind(replayed)?;
        if bytes == 0 {
            return Some(Self { time: Duration::ZERO, bytes, is_lower_bound: false });
        }
        let level = samples.fresh_as_of(replayed);
        let known = level.or_else(|| samples.first_sample_beyond(replayed).map(|sample| sample.asked_at))?;
        let time = now.saturating_duration_since(known);
        Some(Self { time, bytes, is_lower_bound: level.is_none() })
    }

    /// The fault of a standby with this lag, if it is long.
    pub(super) fn diagnose(&self, endpoint: &str, clock: Clock) -> Option<Fault> {
        (self.time >= MAX_LAG).then(|| {
            let at_least = if self.is_lower_bound { "at least " } else { "" };
            let time = describe_duration(self.time);
            let megabytes = self.bytes.div_ceil(1_000_000);
            let text =
                format!("Endpoint {endpoint} is {at_least}{time} behind its writer ({megabytes} MB of WAL).");
            let remedy = "See if its replay stands still (a long query, a recovery pause, a full disk), and if the \
                          writer writes more than it can replay.";
            let since = clock.before(self.time);
            Fault::new(FaultKind::ReplicationLag, text, remedy.to_owned(), Some(since)).of_endpoint(endpoint)
        })
    }
}
