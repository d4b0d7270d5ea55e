//! The handle through which the rest of the program uses the audit log.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use jiff::Timestamp;
use tokio::sync::oneshot;

use super::{
    AuditLevel, AuditOutput, AuditSettings, OnFull, log_writer::LogWriter, queue::Queue, reads::Reads,
    record::Record, text::QueryText,
};
use crate::{tasks::Thread, telemetry::AuditMetrics};

/// The audit log, or the absence of one. Cheap to clone.
#[derive(Clone)]
pub struct Audit {
    boot_id: Arc<str>,
    log: Option<Arc<Log>>,
}

struct Log {
    settings: AuditSettings,
    queue: Arc<Queue>,
    metrics: AuditMetrics,
    /// Set at the level `writes` only.
    reads: Option<Reads>,
    running: Mutex<Option<WriterThread>>,
}

struct WriterThread {
    thread: Thread,
    ended: oneshot::Receiver<()>,
}

/// A record being submitted. Ready at once unless the queue is full and `on_full = "block"`.
///
/// Cancel safety: a record dropped while waiting takes spare room. Without spare room, the record is counted as lost
/// and reported in the log.
#[must_use = "a record may have to wait for room"]
pub struct Submit {
    waiting: Option<Waiting>,
}

type Waiting = Pin<Box<dyn Future<Output = Result<(), AuditUnavailable>> + Send>>;

/// The audit log accepts no record, so the operation to be recorded must not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the audit log accepts no records")]
pub struct AuditUnavailable;

/// Condition of the audit log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditCondition {
    /// Error of the last write, with the time of the first failure; `None` after a success.
    pub write_error: Option<(Timestamp, String)>,
    /// True with `on_full = "block"`: clients wait for a full log, and are refused.
    pub blocks: bool,
    /// Number of records lost since the start, and the time of the last loss.
    pub losses: Option<(u64, Timestamp)>,
}

/// Why the audit log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The output cannot be opened or written.
    #[error("opening the audit log {}", describe_output(.output))]
    Open {
        /// Which output.
        output: AuditOutput,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// The writer thread could not be started.
    #[error("starting the writer of the audit log")]
    Thread(#[source] io::Error),
}

fn describe_output(output: &AuditOutput) -> String {
    match output {
        AuditOutput::File(path) => format!("`{}`", path.display()),
        AuditOutput::Stdout => "on standard output".to_owned(),
    }
}

/// Sixteen random hexadecimal digits. With `seq`, they identify a record forever.
fn new_boot_id() -> Arc<str> {
    let mut random = [0; 8];
    aws_lc_rs::rand::fill(&mut random).expect("the system has randomness");
    format!("{:016x}", u64::from_be_bytes(random)).into()
}

// === impl Audit ===

impl Audit {
    /// No audit log: every record is accepted and discarded.
    #[must_use]
    pub fn off() -> Self {
        Self { boot_id: new_boot_id(), log: None }
    }

    /// Opens the log, writes `audit.started` and starts the writer thread.
    ///
    /// # Errors
    /// The output cannot be opened or written, or the thread cannot be started.
    pub fn open(settings: AuditSettings, metrics: AuditMetrics) -> Result<Self, AuditError> {
        let queue = Arc::new(Queue::new(settings.queue));
        metrics.limit(settings.queue);
        let boot_id = new_boot_id();
        let writer = LogWriter::open(&settings, &boot_id, Arc::clone(&queue), metrics.clone())?;
        let (ending, ended) = oneshot::channel::<()>();
        let thread = Thread::start("audit", move || {
            let _ending = ending;
            writer.run();
        })
        .map_err(AuditError::Thread)?;
        let running = Mutex::new(Some(WriterThread { thread, ended }));
        let reads = (settings.level == AuditLevel::Writes).then(Reads::new);
        Ok(Self { boot_id, log: Some(Arc::new(Log { settings, queue, metrics, reads, running })) })
    }

    /// Identifies the run of the process in each record: ids of sessions are unique within it.
    #[must_use]
    pub fn boot_id(&self) -> &str {
        &self.boot_id
    }

    /// The configured level; `None` without an audit log.
    #[must_use]
    pub fn level(&self) -> Option<AuditLevel> {
        self.log.as_ref().map(|log| log.settings.level)
    }

    /// True if statements are recorded; otherwise statement records need not be built.
    #[must_use]
    pub fn wants_statements(&self) -> bool {
        self.level() >= Some(AuditLevel::Writes)
    }

    /// True if a statement with this text is recorded. `cut` marks a truncated text. A statement without a text is
    /// always recorded, because its effects are unknown. Call on a thread with at least 2 MiB of stack.
    #[must_use]
    pub fn wants_statement(&self, text: Option<(&[u8], bool)>) -> bool {
        let Some(log) = self.log.as_ref().filter(|_| self.wants_statements()) else { return false };
        match (&log.reads, text) {
            (Some(reads), Some((text, cut))) => !reads.only_reads(text, cut),
            _ => true,
        }
    }

    /// Error of the last write, if clients wait for the log because of it: with `on_full = "block"`, while writes fail.
    #[must_use]
    pub fn blocking_error(&self) -> Option<String> {
        let log = self.log.as_ref().filter(|log| log.settings.on_full == OnFull::Block)?;
        log.queue.write_error().map(|(_, error)| error)
    }

    /// Condition of the log for operators.
    #[must_use]
    pub fn condition(&self) -> AuditCondition {
        let Some(log) = &self.log else { return AuditCondition::default() };
        AuditCondition {
            write_error: log.queue.write_error(),
            blocks: log.settings.on_full == OnFull::Block,
            losses: log.queue.losses(),
        }
    }

    /// Maximum number of bytes of a statement's text that [`Audit::text`] uses.
    #[must_use]
    pub fn text_limit(&self) -> usize {
        self.log.as_ref().map_or(0, |log| log.settings.max_text.max(super::text::MAX_PARSED_BYTES))
    }

    /// The part of a statement's text that a record needs; `None` if no text is recorded. Copies at most 32 KiB or
    /// `max_text`. `cut` marks a truncated text.
    #[must_use]
    pub fn text(&self, statement: &[u8], cut: bool) -> Option<QueryText> {
        let log = self.log.as_ref().filter(|_| self.wants_statements())?;
        QueryText::capture_text(&log.settings, statement, cut)
    }

    /// `Some` if the next request must wait for room: with `on_full = "block"` at the levels `writes` and `statements`,
    /// while the queue is full. The future waits for room, at most `block_timeout`.
    #[must_use]
    pub fn holds_statements(&self) -> Option<Submit> {
        let log = self.log.as_ref().filter(|_| self.wants_statements())?;
        if log.settings.on_full == OnFull::Shed || !log.queue.is_full() {
            return None;
        }
        let log = Arc::clone(log);
        Some(Submit {
            waiting: Some(Box::pin(async move {
                let room = tokio::time::timeout(log.settings.block_timeout, log.queue.some_room());
                room.await.ok().flatten().ok_or(AuditUnavailable)
            })),
        })
    }

    /// Submits a record. The result is ready at once with `on_full = "shed"` or if the queue has room. Otherwise the
    /// future waits for room, at most `block_timeout`, and then takes spare room, because the recorded event has
    /// already happened.
    ///
    /// # Errors
    /// [`AuditUnavailable`] if no room became free in time; the next request must be refused.
    pub fn submit(&self, record: Record) -> Submit {
        let Some(log) = self.log.as_ref().filter(|log| log.wants(&record)) else {
            return Submit { waiting: None };
        };
        log.metrics.queued.increment();
        let waiting = log.queue.try_push(record).err().and_then(|record| match log.settings.on_full {
            OnFull::Shed => {
                log.lose();
                None
            }
            OnFull::Block => {
                Some(Box::pin(Pending { log: Arc::clone(log), record: Some(record) }.wait()) as _)
            }
        });
        Submit { waiting }
    }

    /// Submits a record from a context that cannot wait, such as a destructor. Without room, the record takes spare
    /// room with `on_full = "block"` and is lost otherwise.
    pub fn submit_now(&self, record: Record) {
        let Some(log) = self.log.as_ref().filter(|log| log.wants(&record)) else { return };
        log.metrics.queued.increment();
        if let Err(record) = log.queue.try_push(record) {
            log.keep_in_spare_room(record);
        }
    }

    /// Reopens the file by name after a rotation. Records submitted before may land in either file.
    ///
    /// # Errors
    /// The error of the operating system; the old file stays in use.
    ///
    /// Cancel safety: the file is reopened even if the future is dropped.
    pub async fn reopen(&self) -> io::Result<()> {
        match &self.log {
            None => Ok(()),
            Some(log) => log.queue.reopen().await.unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    /// Stops accepting records, writes the queue and `audit.stopped`, and waits for the writer. Gives up after one
    /// second if writes fail.
    ///
    /// Cancel safety: if dropped, the writer ends without being waited for.
    pub async fn close(&self) {
        let Some(log) = &self.log else { return };
        log.queue.close();
        let running = log.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(WriterThread { thread, ended }) = running {
            // The thread drops the sender last, so the join below does not block for long.
            ended.await.ok();
            thread.join();
        }
    }
}

// === impl Log ===

impl Log {
    fn wants(&self, record: &Record) -> bool {
        !record.is_statement() || self.settings.level >= AuditLevel::Writes
    }

    fn lose(&self) {
        self.metrics.queued.lower(1);
        self.metrics.dropped.increment();
        self.queue.lose();
    }

    /// Stores a record that found no room in spare room, with `on_full = "block"`.
    fn keep_in_spare_room(&self, record: Record) {
        // Records of rejected clients are unlimited in number and describe no effect. They must not take the spare room
        // of records of clients that were admitted.
        let keeps = self.settings.on_full == OnFull::Block && !record.is_arrival();
        if !keeps || self.queue.push_spare(record).is_err() {
            self.lose();
        }
    }
}

/// A record waiting for room. Dropping stores the record in spare room or counts the loss.
struct Pending {
    log: Arc<Log>,
    record: Option<Record>,
}

impl Pending {
    async fn wait(mut self) -> Result<(), AuditUnavailable> {
        let log = Arc::clone(&self.log);
        let Some(record) = &self.record else { return Ok(()) };
        let room = tokio::time::timeout(log.settings.block_timeout, log.queue.room_for(record));
        let room = room.await.ok().flatten().ok_or(AuditUnavailable)?;
        if let Some(record) = self.record.take() {
            log.queue.push(record, room);
        }
        Ok(())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(record) = self.record.take() {
            self.log.keep_in_spare_room(record);
        }
    }
}

// === impl Submit ===

impl Submit {
    /// True if the record needs no wait.
    #[must_use]
    pub fn taken_at_once(&self) -> bool {
        self.waiting.is_none()
    }
}

impl Future for Submit {
    type Output = Result<(), AuditUnavailable>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.waiting {
            None => Poll::Ready(Ok(())),
            Some(waiting) => waiting.as_mut().poll(context),
        }
    }
}
