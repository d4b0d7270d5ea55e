//! Sends all metrics to an OpenTelemetry collector, in regular intervals.
//!
//! Promises: the same series with the same numbers as `/metrics`, under the same names. Refuses to know: the meaning of
//! metrics. The page is converted, as for OpenMetrics: the exporter that holds the numbers gives no other form.

mod encode;
mod page;

use std::time::{Duration, SystemTime};

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::{
    Metrics,
    otlp::{ExportTarget, OtlpSender},
};

/// Destination and interval of metrics.
#[derive(Clone, PartialEq, Eq)]
pub struct MetricExportSettings {
    /// Where metrics are sent to.
    pub target: ExportTarget,
    /// Time between two requests.
    pub interval: Duration,
}

/// Sends metrics forever.
pub struct MetricExporter {
    sender: OtlpSender,
    interval: Duration,
    metrics: Metrics,
}

// === impl MetricExporter ===

impl MetricExporter {
    /// An exporter of `metrics`.
    #[must_use]
    pub fn new(settings: &MetricExportSettings, metrics: Metrics) -> Self {
        let sender = OtlpSender::new(settings.target.clone(), "metrics");
        Self { sender, interval: settings.interval, metrics }
    }

    /// Sends forever. A rejected request is made up for by the next: numbers are cumulative.
    pub async fn run(mut self) {
        let started = SystemTime::now();
        let mut ticks = interval_at(Instant::now() + self.interval, self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let page = self.metrics.render();
            let families = page::read_page(&page);
            let body =
                encode::encode_request(&families, self.sender.resource(), (started, SystemTime::now()));
            self.sender.send(&body).await;
        }
    }
}
