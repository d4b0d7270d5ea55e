//! Asks the writer where it stands, when somebody wants to know.
//!
//! The probe asks every other second. A session that has written may leave the writer once somebody has asked it since: with
//! a question as soon as it is wanted that takes milliseconds instead, and while nobody wants it nobody asks.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

use super::{keeper::Message, line::LineError, wanted::Wanted};
use crate::{
    names::EndpointName,
    telemetry::{EndpointMetrics, labels::Outcome as Counted},
    topology::{Observation, ProbeAnswer, ProbeOutcome},
};

/// The writer, as far as a sampler speaks with it.
pub(super) trait Line: Send {
    /// Sees to it that there is a connection.
    fn open(&mut self) -> impl Future<Output = Result<(), LineError>> + Send;
    /// Asks.
    fn ask(&mut self) -> impl Future<Output = Result<ProbeAnswer, LineError>> + Send;
    /// Gives the connection up, if there is one.
    fn close(&mut self) -> impl Future<Output = ()> + Send;
}

/// Asks the writer where it stands, when somebody wants to know.
pub(super) struct Sampler<L> {
    pub(super) id: u64,
    pub(super) endpoint: EndpointName,
    pub(super) line: L,
    pub(super) metrics: Arc<EndpointMetrics>,
    /// For one sample, a login included.
    pub(super) limit: Duration,
    pub(super) wanted: Arc<Wanted>,
    pub(super) inbox: mpsc::WeakSender<Message>,
}

/// Between two questions at least. Two hundred in a second cost the writer about a hundredth of one core (60 µs each); asked
/// less often a session would wait longer for its reads than for the round trip of its write, asked more often it would gain
/// less than standbys need to replay.
const GAP: Duration = Duration::from_millis(5);

/// Between two tries after the first failure, and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// For how long a connection is kept that nobody wants anything of.
const IDLE: Duration = Duration::from_secs(60);

// === impl Sampler ===

impl<L: Line> Sampler<L> {
    /// Asks until nobody listens any more; after `patience`, at first.
    pub(super) async fn run(mut self, patience: Duration) {
        let mut pause = patience;
        let mut backoff = BACKOFF.0;
        loop {
            sleep(pause).await;
            if timeout(IDLE, self.wanted.wait()).await.is_err() {
                self.line.close().await;
                self.wanted.wait().await;
            }
            let seen = timeout(self.limit, self.sample()).await.unwrap_or(Err(LineError::Late(self.limit)));
            let Some(inbox) = self.inbox.upgrade() else { return };
            match seen {
                Ok(observation) => {
                    self.metrics.writer_sampled(Counted::Ok);
                    (pause, backoff) = (GAP, BACKOFF.0);
                    if inbox.send(Message::Sampled { sampler: self.id, observation }).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    self.metrics.writer_sampled(Counted::Error);
                    tracing::debug!(
                        endpoint = %self.endpoint, error = %crate::blame::Chain(&error),
                        "the writer was not asked where it stands"
                    );
                    self.line.close().await;
                    (pause, backoff) = (backoff, (backoff * 2).min(BACKOFF.1));
                }
            }
        }
    }

    /// Cancel safety: a connection on which it was dropped is of no further use.
    async fn sample(&mut self) -> Result<Observation, LineError> {
        self.line.open().await?;
        // In this order: who wants one from now on gets another.
        self.wanted.take();
        let asked_at = Instant::now();
        let answer = self.line.ask().await?;
        let outcome = ProbeOutcome::Sampled(answer);
        Ok(Observation { endpoint: self.endpoint.clone(), asked_at, ended_at: Instant::now(), outcome })
    }
}

#[cfg(test)]
mod tests;
