//! Samples the writer's WAL position on demand.
//!
//! The probe queries every other second. A session with a recent write may leave the writer only after a later sample:
//! on-demand samples take milliseconds, and without demand there are no samples.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

use super::{publisher::ProbeMessage, sample_connection::SampleError, sample_request::SampleRequest};
use crate::{
    names::EndpointName,
    telemetry::{EndpointMetrics, labels::Outcome as CountedOutcome},
    topology::{Observation, ProbeAnswer, ProbeOutcome},
};

/// Connection of a sampler to the writer.
pub(super) trait SampleConnection: Send {
    /// Opens a connection, unless there is one.
    fn open(&mut self) -> impl Future<Output = Result<(), SampleError>> + Send;
    /// Asks.
    fn ask(&mut self) -> impl Future<Output = Result<ProbeAnswer, SampleError>> + Send;
    /// Closes the connection, if any.
    fn close(&mut self) -> impl Future<Output = ()> + Send;
}

/// Samples the writer's WAL position on demand.
pub(super) struct Sampler<L> {
    pub(super) id: u64,
    pub(super) endpoint: EndpointName,
    pub(super) line: L,
    pub(super) metrics: Arc<EndpointMetrics>,
    /// Time limit of a sample, with the login.
    pub(super) limit: Duration,
    pub(super) wanted: Arc<SampleRequest>,
    pub(super) inbox: mpsc::WeakSender<ProbeMessage>,
}

/// Minimum interval of samples. Two hundred samples per second cost the writer about a hundredth of a core (60 µs
/// each). At longer intervals a session's reads would wait longer than the round trip of a write; shorter intervals
/// gain less than the replay time of standbys.
const MIN_SAMPLE_INTERVAL: Duration = Duration::from_millis(5);

/// Between two tries after the first failure, and at most.
const RECONNECT_PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// Maximum idle time of a connection.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

// === impl Sampler ===

impl<L: SampleConnection> Sampler<L> {
    /// Samples until the publisher has ended; waits `patience` first.
    pub(super) async fn run(mut self, patience: Duration) {
        let mut pause = patience;
        let mut backoff = RECONNECT_PAUSES.0;
        loop {
            sleep(pause).await;
            if timeout(IDLE_TIMEOUT, self.wanted.wait_for_request()).await.is_err() {
                self.line.close().await;
                self.wanted.wait_for_request().await;
            }
            let seen = timeout(self.limit, self.sample()).await.unwrap_or(Err(SampleError::Late(self.limit)));
            let Some(inbox) = self.inbox.upgrade() else { return };
            match seen {
                Ok(observation) => {
                    self.metrics.writer_sampled(CountedOutcome::Ok);
                    (pause, backoff) = (MIN_SAMPLE_INTERVAL, RECONNECT_PAUSES.0);
                    if inbox.send(ProbeMessage::Sampled { sampler: self.id, observation }).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    self.metrics.writer_sampled(CountedOutcome::Error);
                    tracing::debug!(
                        endpoint = %self.endpoint, error = %crate::blame::Chain(&error),
                        "WAL sample of the writer failed"
                    );
                    self.line.close().await;
                    (pause, backoff) = (backoff, (backoff * 2).min(RECONNECT_PAUSES.1));
                }
            }
        }
    }

    /// Cancel safety: a connection with a dropped call must be discarded.
    async fn sample(&mut self) -> Result<Observation, SampleError> {
        self.line.open().await?;
        // In this order: later requests get another sample.
        self.wanted.take_request();
        let asked_at = Instant::now();
        let answer = self.line.ask().await?;
        let outcome = ProbeOutcome::Sampled(answer);
        Ok(Observation { endpoint: self.endpoint.clone(), asked_at, ended_at: Instant::now(), outcome })
    }
}

#[cfg(test)]
mod tests;
