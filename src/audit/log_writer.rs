//! The writer thread: numbers records, writes lines, and retries while the disk fails.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{
    AuditError, AuditLevel, AuditSettings, OnFull, StatementText, SyncPolicy,
    chain::LineHash,
    line::{Head, LineWriter, RecordSeverity},
    queue::{Lost, Queue, QueuedRecord, Reopen, Room},
    sink::Sink,
    text::TextRenderer,
};
use crate::{closed_set::closed_set, telemetry::AuditMetrics};

pub(super) struct LogWriter {
    queue: Arc<Queue>,
    sink: Sink,
    shower: TextRenderer,
    metrics: AuditMetrics,
    boot_id: Arc<str>,
    /// Number of the next line, from 1. Lines are numbered when built, so numbers have no gap.
    seq: u64,
    /// Hash of the last line, if lines carry hashes.
    last_hash: Option<LineHash>,
    /// Lines not yet written.
    pending: Vec<u8>,
    pending_records: u64,
    rotation: Option<Rotation>,
    sync: SyncPolicy,
    /// Time of the first write since the last sync.
    unsynced: Option<Instant>,
}

/// When the file is rotated.
struct Rotation {
    /// Maximum size of a file.
    limit: u64,
    /// Size that triggers the next rotation: the limit, or more after a failure.
    at: u64,
}

/// Writes still fail at shutdown.
struct GaveUp;

closed_set! {
    /// The two records of a rotation.
    enum Side {
        /// Last line of the old file.
        End = "end",
        /// First line of the new file.
        Begin = "begin",
    }
}

/// Maximum number of entries per write.
const MAX_BATCH_ENTRIES: usize = 256;
/// Time for entries to accumulate before a write.
const GATHER_TIME: Duration = Duration::from_millis(5);
/// Pause between two attempts to write.
const WRITE_RETRY_PAUSE: Duration = Duration::from_millis(200);
/// Failed attempts after which a closing writer gives up.
const MAX_CLOSING_ATTEMPTS: u32 = 5;
/// Room reserved for the last line of a file, in bytes.
const LAST_LINE_BYTES: u64 = 512;

impl LogWriter {
    /// Opens the output and writes `audit.started`, so that an unwritable log is detected at the start.
    pub(super) fn open(
        settings: &AuditSettings,
        boot_id: &Arc<str>,
        queue: Arc<Queue>,
        metrics: AuditMetrics,
    ) -> Result<Self, AuditError> {
        let failed = |source| AuditError::Open { output: settings.output.clone(), source };
        let mut writer = Self {
            queue,
            sink: Sink::open(&settings.output).map_err(failed)?,
            shower: TextRenderer::new(settings),
            metrics,
            boot_id: Arc::clone(boot_id),
            seq: 1,
            last_hash: settings.hash_chain.then_some(LineHash::NONE),
            pending: Vec::new(),
            pending_records: 0,
            rotation: settings.rotate_bytes.map(|limit| Rotation { limit, at: limit }),
            sync: settings.sync,
            unsynced: None,
        };
        writer.write_started(settings);
        writer.try_write().map_err(failed)?;
        Ok(writer)
    }

    /// Writes until the queue is closed and empty.
    pub(super) fn run(mut self) {
        // Failures are already reported.
        self.serve().unwrap_or(());
    }

    fn serve(&mut self) -> Result<(), GaveUp> {
        loop {
            let work = self.queue.take(self.seq - 1, MAX_BATCH_ENTRIES, self.until_sync());
            self.reopen(work.reopen);
            for entry in &work.entries {
                self.write_entry(entry)?;
            }
            if let Some(lost) = work.lost {
                self.write_lost(lost);
            }
            if work.last {
                self.write_line(Timestamp::now(), "audit.stopped", RecordSeverity::Info, |_, _| ());
            }
            self.flush()?;
            self.queue.written(&work.entries);
            self.metrics.queued.lower(work.entries.len() as u64);
            if work.last {
                if self.sync != SyncPolicy::Never {
                    self.sync_now();
                }
                return Ok(());
            }
            if self.until_sync() == Some(Duration::ZERO) {
                self.sync_now();
            }
            self.queue.gather(GATHER_TIME);
        }
    }

    /// Writes pending lines, with retries.
    fn flush(&mut self) -> Result<(), GaveUp> {
        if self.pending.is_empty() { Ok(()) } else { self.retry_until_done(Self::try_write) }
    }

    /// Retries until success. The queue counts as full between attempts.
    fn retry_until_done(&mut self, mut what: impl FnMut(&mut Self) -> io::Result<()>) -> Result<(), GaveUp> {
        let mut jam: Option<Room> = None;
        let mut last_attempts = MAX_CLOSING_ATTEMPTS;
        while let Err(error) = what(self) {
            if jam.is_none() {
                jam = Some(self.queue.take_all_room());
                self.queue.set_write_error(Some(error.to_string()));
                tracing::error!(%error, "audit log write failed; retrying");
            }
            self.metrics.errors.increment();
            let (reopen, closing) = self.queue.pause(self.seq - 1, WRITE_RETRY_PAUSE);
            self.reopen(reopen);
            if closing {
                last_attempts -= 1;
                if last_attempts == 0 {
                    let lost = self.pending_records + self.queue.take_lost().map_or(0, |lost| lost.count);
                    tracing::error!(
                        records = lost,
                        "audit log incomplete: the last records could not be written"
                    );
                    return Err(GaveUp);
                }
            }
        }
        if let Some(room) = jam {
            self.queue.set_write_error(None);
            self.queue.release(room);
            tracing::info!("audit log writes resumed");
        }
        Ok(())
    }

    /// Writes pending lines, possibly only some.
    fn try_write(&mut self) -> io::Result<()> {
        if let Err(failed) = self.sink.write(&self.pending) {
            self.pending.drain(..failed.written);
            return Err(failed.error);
        }
        self.pending.clear();
        self.metrics.record_written(std::mem::take(&mut self.pending_records), std::time::SystemTime::now());
        if self.sync == SyncPolicy::Batch {
            self.sync_now();
        } else {
            self.unsynced.get_or_insert_with(Instant::now);
        }
        Ok(())
    }

    /// Time until the next sync; `None` without unsynced lines.
    fn until_sync(&self) -> Option<Duration> {
        match (self.sync, self.unsynced) {
            (SyncPolicy::Interval(interval), Some(since)) => Some(interval.saturating_sub(since.elapsed())),
            _ => None,
        }
    }

    /// Syncs the file. A failure is logged and counted, and not retried: the kernel forgets data that failed to be
    /// written.
    fn sync_now(&mut self) {
        self.unsynced = None;
        if let Err(error) = self.sink.sync() {
            self.metrics.errors.increment();
            tracing::error!(%error, "audit log sync failed; written records may not be on disk");
        }
    }

    /// Reopens the file by name. No effect if the path still refers to the open file.
    fn reopen(&mut self, askers: Vec<Reopen>) {
        for asker in askers {
            let outcome = if self.sink.is_moved() { self.change_files() } else { Ok(()) };
            if let Err(error) = &outcome {
                tracing::error!(%error, "cannot reopen the audit log; the old file stays in use");
            }
            // The requester may be gone.
            asker.send(outcome).ok();
        }
    }

    fn change_files(&mut self) -> io::Result<()> {
        let Some(next) = self.sink.open_again()? else { return Ok(()) };
        // An unwritable file gets no last line; pending lines go to the next file.
        if self.pending.is_empty() {
            let before = (self.seq, self.last_hash);
            self.write_rotated(Side::End, "reopened", None);
            if self.try_write().is_err() {
                self.pending.clear();
                (self.pending_records, (self.seq, self.last_hash)) = (0, before);
            } else if self.sync != SyncPolicy::Never {
                self.sync_now();
            }
        }
        self.sink.adopt(next);
        if let Some(rotation) = &mut self.rotation {
            rotation.at = rotation.limit;
        }
        self.write_rotated(Side::Begin, "reopened", None);
        Ok(())
    }

    fn write_entry(&mut self, entry: &QueuedRecord) -> Result<(), GaveUp> {
        let before = (self.pending.len(), self.seq, self.last_hash);
        self.write_record(entry);
        if self.is_past_limit() && self.sink.size() + before.0 as u64 > 0 {
            // The record becomes the first of the next file, with another number.
            self.pending.truncate(before.0);
            (self.seq, self.last_hash) = (before.1, before.2);
            self.pending_records -= 1;
            self.rotate_file()?;
            self.write_record(entry);
        }
        Ok(())
    }

    fn is_past_limit(&self) -> bool {
        let size = self.sink.size() + self.pending.len() as u64 + LAST_LINE_BYTES;
        self.rotation.as_ref().is_some_and(|rotation| size > rotation.at)
    }

    /// Rotates the file.
    fn rotate_file(&mut self) -> Result<(), GaveUp> {
        self.flush()?;
        let Some(rotation) = &mut self.rotation else { return Ok(()) };
        let aside = match self.sink.move_aside(Timestamp::now()) {
            Ok(aside) => aside,
            Err(error) => {
                rotation.at = self.sink.size() + rotation.limit / 16;
                self.metrics.errors.increment();
                tracing::error!(%error, "audit log rotation failed; the file grows beyond its limit");
                return Ok(());
            }
        };
        rotation.at = rotation.limit;
        let aside = aside.as_deref();
        self.write_rotated(Side::End, "size", aside);
        self.flush()?;
        if self.sync != SyncPolicy::Never {
            self.sync_now();
        }
        self.retry_until_done(|writer| {
            // A reopen request may have opened the file in the meantime.
            if let Some(next) = writer.sink.open_again()? {
                writer.sink.adopt(next);
            }
            Ok(())
        })?;
        self.write_rotated(Side::Begin, "size", aside);
        Ok(())
    }

    fn write_record(&mut self, entry: &QueuedRecord) {
        let (action, severity) = (entry.record.action(), RecordSeverity::of(&entry.record));
        self.write_line(entry.time, action, severity, |line, shower| line.record(&entry.record, shower));
    }

    fn write_started(&mut self, settings: &AuditSettings) {
        self.write_line(Timestamp::now(), "audit.started", RecordSeverity::Info, |line, _| {
            line.put_field("service.name", "gatekeeper");
            line.put_field("service.version", env!("CARGO_PKG_VERSION"));
            line.put_field("host.name", rustix::system::uname().nodename().to_string_lossy());
            line.put_field("process.pid", std::process::id());
            line.put_field("audit.level", level_name(settings.level));
            line.put_field("audit.statements", text_form_name(settings.statements));
            line.put_field("audit.on_full", on_full(settings.on_full));
            line.put_field("audit.sync", sync_name(settings.sync));
        });
    }

    fn write_lost(&mut self, lost: Lost) {
        self.write_line(Timestamp::now(), "audit.lost", RecordSeverity::Error, |line, _| {
            line.put_field("audit.lost.count", lost.count);
            line.put_field("audit.lost.after_seq", lost.after);
            line.put_field("audit.lost.first_time", format_args!("{:.6}", lost.first));
            line.put_field("audit.lost.last_time", format_args!("{:.6}", lost.last));
        });
    }

    fn write_rotated(&mut self, side: Side, reason: &str, aside: Option<&str>) {
        self.write_line(Timestamp::now(), "audit.rotated", RecordSeverity::Info, |line, _| {
            line.put_field("event.reason", reason);
            line.put_field("audit.rotated.side", side.as_str());
            if let Some(aside) = aside {
                line.put_field("audit.rotated.file", aside);
            }
        });
    }

    /// Adds a line to the pending lines.
    fn write_line(
        &mut self,
        time: Timestamp,
        action: &str,
        severity: RecordSeverity,
        fill: impl FnOnce(&mut LineWriter<'_>, &mut TextRenderer),
    ) {
        let begins = self.pending.len();
        let (seq, boot_id, prev_hash) = (self.seq, &*self.boot_id, self.last_hash.as_ref());
        let head = Head { seq, time, boot_id, prev_hash, action, severity };
        let mut line = LineWriter::begin(&mut self.pending, &head);
        fill(&mut line, &mut self.shower);
        line.end();
        self.seq += 1;
        self.pending_records += 1;
        if let Some(last) = &mut self.last_hash {
            *last = LineHash::of(self.pending[begins..].trim_ascii_end());
        }
    }
}

const fn level_name(level: AuditLevel) -> &'static str {
    match level {
        AuditLevel::Sessions => "sessions",
        AuditLevel::Writes => "writes",
        AuditLevel::Statements => "statements",
    }
}

const fn text_form_name(text: StatementText) -> &'static str {
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

const fn sync_name(policy: SyncPolicy) -> &'static str {
    match policy {
        SyncPolicy::Never => "never",
        SyncPolicy::Interval(_) => "interval",
        SyncPolicy::Batch => "batch",
    }
}
