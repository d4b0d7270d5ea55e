//! Metrics without endpoint and listener: topology, reloads, panics, audit log.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{Each, Scope, unix_seconds};
use crate::telemetry::{
    catalog::{self, Label},
    labels::{AdminOutcome, ChangeKind, Outcome},
    panic_log::PanicLog,
    registry::{Counter, Gauge, Histogram, Level},
};

/// Metrics of the topology as a whole.
pub struct TopologyMetrics {
    writable: Gauge,
    refresh: Gauge,
    changes: Each<ChangeKind, Counter>,
    writer_absence: Histogram,
}

/// Metrics of the program itself.
pub struct ProgramMetrics {
    reloads: Each<Outcome, Counter>,
    reload_success: Gauge,
    reload_failed: Gauge,
    files: Each<Outcome, Counter>,
    panics: Counter,
    panic_log: Arc<PanicLog>,
}

/// Metrics of the traces.
#[derive(Clone)]
pub struct TraceMetrics {
    spans: Arc<Each<Outcome, Counter>>,
}

/// Metrics of the admin API.
pub struct AdminMetrics {
    requests: Each<AdminOutcome, Counter>,
    certificate: Gauge,
}

/// Metrics of the audit log.
#[derive(Clone)]
pub struct AuditMetrics {
    /// Records written.
    pub written: Counter,
    /// Records dropped.
    pub dropped: Counter,
    /// Failed writes.
    pub errors: Counter,
    /// Records waiting.
    pub queued: Level,
    limit: Gauge,
    success: Gauge,
}

// === impl TopologyMetrics ===

impl TopologyMetrics {
    pub(super) fn new(scope: &Scope<'_>) -> Self {
        Self {
            writable: scope.gauge(&catalog::WRITABLE_ENDPOINTS),
            refresh: scope.unknown(&catalog::TOPOLOGY_REFRESH),
            changes: scope.each(Label::Kind, |scope| scope.counter(&catalog::TOPOLOGY_CHANGES)),
            writer_absence: scope.histogram(&catalog::WRITER_ABSENCE_DURATION),
        }
    }

    /// Records a refresh of the topology snapshot, with the number of writable endpoints.
    #[expect(clippy::cast_precision_loss, reason = "a count of endpoints")]
    pub fn record_refresh(&self, writable: usize, now: SystemTime) {
        self.writable.set(writable as f64);
        self.refresh.set(unix_seconds(now));
    }

    /// Records the time between two responses of the writer, with failed probes in between.
    pub fn record_writer_absence(&self, absent: Duration) {
        self.writer_absence.record(absent);
    }

    /// Records a topology change.
    pub fn record_change(&self, kind: ChangeKind) {
        self.changes.of(kind).increment();
    }
}

// === impl ProgramMetrics ===

impl ProgramMetrics {
    pub(super) fn new(scope: &Scope<'_>, panic_log: Arc<PanicLog>) -> Self {
        scope.and(Label::Version, env!("CARGO_PKG_VERSION")).gauge(&catalog::BUILD_INFO).set(1.0);
        Self {
            reloads: scope.each(Label::Outcome, |scope| scope.counter(&catalog::CONFIG_RELOADS)),
            reload_success: scope.unknown(&catalog::CONFIG_RELOAD_SUCCESS),
            reload_failed: scope.gauge(&catalog::CONFIG_RELOAD_FAILED),
            files: scope.each(Label::Outcome, |scope| scope.counter(&catalog::FILE_RELOADS)),
            panics: scope.counter(&catalog::PANICS),
            panic_log,
        }
    }

    /// Records the first read of the configuration.
    pub fn record_load(&self, now: SystemTime) {
        self.reload_success.set(unix_seconds(now));
    }

    /// Records a configuration reload.
    pub fn record_reload(&self, outcome: Outcome, now: SystemTime) {
        self.reloads.of(outcome).increment();
        self.reload_failed.set(if outcome == Outcome::Error { 1.0 } else { 0.0 });
        if outcome == Outcome::Ok {
            self.reload_success.set(unix_seconds(now));
        }
    }

    /// Records a reload of a changed file.
    pub fn file_reloaded(&self, outcome: Outcome) {
        self.files.of(outcome).increment();
    }

    /// Counts and logs all panics from now on, with their position.
    pub fn watch_panics(&self) {
        let (panics, panic_log) = (self.panics.clone(), Arc::clone(&self.panic_log));
        std::panic::set_hook(Box::new(move |panic| {
            panics.increment();
            panic_log.record(SystemTime::now());
            let thread = std::thread::current();
            tracing::error!(
                thread = thread.name().unwrap_or_default(),
                at = panic.location().map(tracing::field::display),
                panic = panic.payload_as_str().unwrap_or("(no message)"),
                "panic: this is a bug in Gatekeeper"
            );
        }));
    }
}

// === impl TraceMetrics ===

impl TraceMetrics {
    pub(super) fn new(scope: &Scope<'_>) -> Self {
        let spans = scope.each(Label::Outcome, |scope| scope.counter(&catalog::TRACE_SPANS));
        Self { spans: Arc::new(spans) }
    }

    /// Records spans accepted by the collector, or dropped.
    pub fn count_spans(&self, outcome: Outcome, count: u64) {
        self.spans.of(outcome).add(count);
    }
}

// === impl AdminMetrics ===

impl AdminMetrics {
    pub(super) fn new(scope: &Scope<'_>) -> Self {
        Self {
            requests: scope.each(Label::Outcome, |scope| scope.counter(&catalog::ADMIN_REQUESTS)),
            certificate: scope.unknown(&catalog::ADMIN_CERTIFICATE_EXPIRY),
        }
    }

    /// Sets the expiry of the certificate.
    pub fn certificate_ends(&self, moment: SystemTime) {
        self.certificate.set(unix_seconds(moment));
    }

    /// Records a request.
    pub fn record_request(&self, outcome: AdminOutcome) {
        self.requests.of(outcome).increment();
    }
}

// === impl AuditMetrics ===

impl AuditMetrics {
    pub(super) fn new(scope: &Scope<'_>) -> Self {
        Self {
            written: scope.counter(&catalog::AUDIT_RECORDS),
            dropped: scope.counter(&catalog::AUDIT_DROPPED),
            errors: scope.counter(&catalog::AUDIT_WRITE_ERRORS),
            queued: scope.level(&catalog::AUDIT_QUEUE),
            limit: scope.gauge(&catalog::AUDIT_QUEUE_LIMIT),
            success: scope.unknown(&catalog::AUDIT_WRITE_SUCCESS),
        }
    }

    /// Sets the capacity of the queue in records.
    #[expect(clippy::cast_precision_loss, reason = "a count of records")]
    pub fn limit(&self, records: usize) {
        self.limit.set(records as f64);
    }

    /// Records written audit records.
    pub fn record_written(&self, records: u64, now: SystemTime) {
        self.written.add(records);
        self.success.set(unix_seconds(now));
    }
}
