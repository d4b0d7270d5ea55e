//! The one writer: numbers the records, makes lines of them, and keeps at it when the disk does not take them.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use super::{
    AuditError, AuditLevel, AuditSettings, OnFull, StatementText,
    line::{Line, Severity},
    queue::{Entry, Lost, Queue, Reopen, Room},
    sink::Sink,
    text::Shower,
};
use crate::telemetry::AuditMetrics;

pub(super) struct Writer {
    queue: Arc<Queue>,
    sink: Sink,
    shower: Shower,
    metrics: AuditMetrics,
    boot_id: String,
    /// The number of the next line, from 1. Lines are numbered as they are made, so that there is no gap.
    seq: u64,
    /// Lines that are not in the file yet.
    pending: Vec<u8>,
    pending_records: u64,
}

/// Entries that are written at a time.
const BATCH: usize = 256;
/// How long entries may gather before they are written.
const GATHER: Duration = Duration::from_millis(5);
/// Between two attempts to write.
const RETRY: Duration = Duration::from_millis(200);
/// Failed attempts after which a closing writer gives up.
const LAST_ATTEMPTS: u32 = 5;

impl Writer {
    /// Opens the output and writes `audit.started`: a log that cannot be written is found out before anything begins.
    pub(super) fn open(
        settings: &AuditSettings,
        queue: Arc<Queue>,
        metrics: AuditMetrics,
    ) -> Result<Self, AuditError> {
        let sink = Sink::open(&settings.output, settings.rotate_bytes)
            .map_err(|source| AuditError::Open { output: settings.output.clone(), source })?;
        let mut writer = Self {
            queue,
            sink,
            shower: Shower::new(settings),
            metrics,
            boot_id: boot_id(),
            seq: 1,
            pending: Vec::new(),
            pending_records: 0,
        };
        writer.started(settings);
        match writer.sink.write(&writer.pending, Timestamp::now()) {
            Ok(()) => {
                writer.wrote();
                Ok(writer)
            }
            Err(failed) => Err(AuditError::Open { output: settings.output.clone(), source: failed.error }),
        }
    }

    /// Writes until the queue is closed and empty.
    pub(super) fn run(mut self) {
        loop {
            let work = self.queue.take(BATCH);
            self.reopen(work.reopen);
            for entry in &work.entries {
                self.entry(entry);
            }
            if let Some(lost) = work.lost {
                self.lost(lost);
            }
            if work.last {
                self.own("audit.stopped", Severity::Info).end();
            }
            if !self.flush() {
                return;
            }
            self.queue.release(Room::of(&work.entries));
            self.metrics.queued.lower(work.entries.len() as u64);
            if work.last {
                return;
            }
            self.queue.gather(GATHER);
        }
    }

    /// Writes what is pending, for as long as it takes. While it fails the queue counts as full. `false`: the process
    /// ends, and the disk still takes nothing.
    fn flush(&mut self) -> bool {
        let mut jam: Option<Room> = None;
        let mut last_attempts = LAST_ATTEMPTS;
        while !self.pending.is_empty() {
            let Err(failed) = self.sink.write(&self.pending, Timestamp::now()) else {
                self.wrote();
                break;
            };
            self.pending.drain(..failed.written);
            self.metrics.errors.increment();
            if jam.is_none() {
                jam = Some(self.queue.jam());
                tracing::error!(error = %failed.error, "the audit log cannot be written; trying again");
            }
            let (reopen, closing) = self.queue.pause(RETRY);
            self.reopen(reopen);
            if closing {
                last_attempts -= 1;
                if last_attempts == 0 {
                    let lost = self.pending_records + self.queue.take_lost().map_or(0, |lost| lost.count);
                    tracing::error!(records = lost, "the audit log could not be written to its end");
                    return false;
                }
            }
        }
        if let Some(room) = jam {
            self.queue.release(room);
            tracing::info!("the audit log is written again");
        }
        true
    }

    fn wrote(&mut self) {
        self.pending.clear();
        self.metrics.wrote(std::mem::take(&mut self.pending_records), std::time::SystemTime::now());
    }

    fn reopen(&mut self, askers: Vec<Reopen>) {
        for asker in askers {
            let outcome = self.sink.reopen();
            if let Err(error) = &outcome {
                tracing::error!(%error, "the audit log could not be opened again; the old file goes on");
            }
            // Whoever asked may have gone.
            asker.send(outcome).ok();
        }
    }

    fn entry(&mut self, entry: &Entry) {
        let (seq, severity) = (self.number(), Severity::of(&entry.record));
        let action = entry.record.action();
        let mut line = Line::begin(&mut self.pending, seq, entry.time, &self.boot_id, action, severity);
        line.record(&entry.record, &mut self.shower);
        line.end();
    }

    fn started(&mut self, settings: &AuditSettings) {
        let mut line = self.own("audit.started", Severity::Info);
        line.put("service.name", "gatekeeper");
        line.put("service.version", env!("CARGO_PKG_VERSION"));
        line.put("host.name", rustix::system::uname().nodename().to_string_lossy());
        line.put("process.pid", std::process::id());
        line.put("audit.level", level(settings.level));
        line.put("audit.statements", statements(settings.statements));
        line.put("audit.on_full", on_full(settings.on_full));
        line.end();
    }

    fn lost(&mut self, lost: Lost) {
        let mut line = self.own("audit.lost", Severity::Error);
        line.put("audit.lost.count", lost.count);
        line.put("audit.lost.first_time", format_args!("{:.6}", lost.first));
        line.put("audit.lost.last_time", format_args!("{:.6}", lost.last));
        line.end();
    }

    /// A line of the writer's own.
    fn own(&mut self, action: &str, severity: Severity) -> Line<'_> {
        let seq = self.number();
        Line::begin(&mut self.pending, seq, Timestamp::now(), &self.boot_id, action, severity)
    }

    fn number(&mut self) -> u64 {
        let seq = self.seq;
        self.seq += 1;
        self.pending_records += 1;
        seq
    }
}

/// Sixteen random hexadecimal digits: with `seq` they name a record for all time.
fn boot_id() -> String {
    let mut random = [0; 8];
    aws_lc_rs::rand::fill(&mut random).expect("the system has randomness");
    format!("{:016x}", u64::from_be_bytes(random))
}

const fn level(level: AuditLevel) -> &'static str {
    match level {
        AuditLevel::Sessions => "sessions",
        AuditLevel::Statements => "statements",
    }
}

const fn statements(text: StatementText) -> &'static str {
    match text {
        StatementText::None => "none",
        StatementText::Fingerprint => "fingerprint",
        StatementText::Normalized => "normalized",
        StatementText::Full => "full",
    }
}

const fn on_full(on_full: OnFull) -> &'static str {
    match on_full {
        OnFull::Block => "block",
        OnFull::Shed => "shed",
    }
}
