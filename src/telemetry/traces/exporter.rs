//! Sends spans to the collector in batches.

use std::time::Duration;

use tokio::{sync::mpsc, time::sleep};

use super::{
    Span,
    encode::{Clocks, encode_request},
};
use crate::telemetry::{
    TraceMetrics,
    labels::Outcome,
    otlp::{ExportTarget, OtlpSender},
};

/// Sends spans until all senders are dropped.
pub struct Exporter {
    sender: OtlpSender,
    queue: mpsc::Receiver<Span>,
    metrics: TraceMetrics,
}

/// Maximum number of spans in a request.
const MAX_BATCH_SPANS: usize = 512;
/// Time for spans to accumulate before a request.
const GATHER_TIME: Duration = Duration::from_secs(1);

impl Exporter {
    pub(super) fn new(target: ExportTarget, queue: mpsc::Receiver<Span>, metrics: TraceMetrics) -> Self {
        Self { sender: OtlpSender::new(target, "spans"), queue, metrics }
    }

    /// Sends forever. Rejected spans are dropped, counted and not sent again.
    pub async fn run(mut self) {
        let mut spans = Vec::with_capacity(MAX_BATCH_SPANS);
        loop {
            if self.queue.recv_many(&mut spans, MAX_BATCH_SPANS).await == 0 {
                return;
            }
            if spans.len() < MAX_BATCH_SPANS {
                sleep(GATHER_TIME).await;
                while spans.len() < MAX_BATCH_SPANS
                    && let Ok(span) = self.queue.try_recv()
                {
                    spans.push(span);
                }
            }
            let body = encode_request(&spans, self.sender.resource(), Clocks::now());
            let outcome = if self.sender.send(&body).await { Outcome::Ok } else { Outcome::Error };
            self.metrics.count_spans(outcome, spans.len() as u64);
            spans.clear();
        }
    }
}
