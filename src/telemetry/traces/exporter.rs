//! Sends spans to the collector in batches.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
    time::{sleep, timeout},
};
use zeroize::Zeroizing;

use super::{
    Span, TraceSettings,
    connection::Connector,
    encode::{Clocks, encode_request},
};
use crate::telemetry::{TraceMetrics, labels::Outcome};

/// Sends spans until all senders are dropped.
pub struct Exporter {
    settings: TraceSettings,
    connector: Connector,
    queue: mpsc::Receiver<Span>,
    metrics: TraceMetrics,
    /// The collector accepted the last batch; the next failure is logged.
    well: bool,
}

/// Maximum number of spans in a request.
const MAX_BATCH_SPANS: usize = 512;
/// Time for spans to accumulate before a request.
const GATHER_TIME: Duration = Duration::from_secs(1);
/// Size limit of a response in bytes: only the first line is used.
const MAX_RESPONSE_BYTES: usize = 512;

impl Exporter {
    pub(super) fn new(settings: TraceSettings, queue: mpsc::Receiver<Span>, metrics: TraceMetrics) -> Self {
        let connector = Connector::new(settings.ca_file.clone());
        Self { settings, connector, queue, metrics, well: true }
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
            let body = encode_request(&spans, &self.settings.resource, Clocks::now());
            let limit = self.settings.timeout;
            let sent =
                timeout(limit, self.send(&body)).await.unwrap_or_else(|late| Err(late.into()));
            let outcome = if sent.is_ok() { Outcome::Ok } else { Outcome::Error };
            self.metrics.count_spans(outcome, spans.len() as u64);
            match sent {
                Ok(()) if !self.well => {
                    tracing::info!(collector = %self.settings.collector, "trace collector accepts spans again")
                }
                Err(error) if self.well => {
                    tracing::warn!(collector = %self.settings.collector, %error, "trace collector does not accept spans; spans are dropped");
                }
                _ => {}
            }
            self.well = outcome == Outcome::Ok;
            spans.clear();
        }
    }

    /// <https://opentelemetry.io/docs/specs/otlp/#otlphttp-request>
    async fn send(&mut self, body: &[u8]) -> io::Result<()> {
        let TraceSettings { collector, headers, .. } = &self.settings;
        let mut stream = self.connector.connect(collector).await?;
        let head = Zeroizing::new(format!(
            "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/x-protobuf\r\n\
             content-length: {}\r\nconnection: close\r\n{}\r\n",
            collector.path,
            collector.authority,
            body.len(),
            headers.lines(),
        ));
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body).await?;
        stream.flush().await?;
        let mut answer = Vec::new();
        stream.take(MAX_RESPONSE_BYTES as u64).read_to_end(&mut answer).await?;
        let line = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
        match line.split(|byte| *byte == b' ').nth(1) {
            Some([b'2', _, _]) => Ok(()),
            _ => Err(io::Error::other(format!("it answered `{}`", line.escape_ascii()))),
        }
    }
}
