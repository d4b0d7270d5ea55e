//! What everybody else holds of the audit log.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use tokio::sync::oneshot;

use super::{
    AuditLevel, AuditOutput, AuditSettings, OnFull, queue::Queue, reads::Reads, record::Record,
    text::QueryText, writer::Writer,
};
use crate::{tasks::Thread, telemetry::AuditMetrics};

/// The audit log, or the absence of one. Cheap to clone.
#[derive(Clone)]
pub struct Audit {
    log: Option<Arc<Log>>,
}

struct Log {
    settings: AuditSettings,
    queue: Arc<Queue>,
    metrics: AuditMetrics,
    /// At the level `writes`.
    reads: Option<Reads>,
    running: Mutex<Option<WriterThread>>,
}

struct WriterThread {
    thread: Thread,
    ended: oneshot::Receiver<()>,
}

/// A record being submitted. It is ready at once, unless the queue is full and clients are to wait.
///
/// Cancel safety: dropped while it waits, the record takes spare room; without any it is counted as lost, and the log will
/// say so.
#[must_use = "a record may have to wait for room"]
pub struct Submit {
    waiting: Option<Waiting>,
}

type Waiting = Pin<Box<dyn Future<Output = Result<(), AuditUnavailable>> + Send>>;

/// The audit log takes no records, and nothing may happen that it does not record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the audit log accepts no records")]
pub struct AuditUnavailable;

/// Why the audit log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The output cannot be opened or written.
    #[error("opening the audit log {}", describe(.output))]
    Open {
        /// Which output.
        output: AuditOutput,
        /// The system's word.
        #[source]
        source: io::Error,
    },
    /// There is no thread to write it.
    #[error("starting the writer of the audit log")]
    Thread(#[source] io::Error),
}

fn describe(output: &AuditOutput) -> String {
    match output {
        AuditOutput::File(path) => format!("`{}`", path.display()),
        AuditOutput::Stdout => "on standard output".to_owned(),
    }
}

// === impl Audit ===

impl Audit {
    /// No audit log: every record is taken and forgotten.
    #[must_use]
    pub const fn off() -> Self {
        Self { log: None }
    }

    /// Opens the log, writes `audit.started`, and starts its writer.
    ///
    /// # Errors
    /// The output cannot be opened or written, or there is no thread to be had.
    pub fn open(settings: AuditSettings, metrics: AuditMetrics) -> Result<Self, AuditError> {
        let queue = Arc::new(Queue::new(settings.queue));
        metrics.limit(settings.queue);
        let writer = Writer::open(&settings, Arc::clone(&queue), metrics.clone())?;
        let (ending, ended) = oneshot::channel::<()>();
        let thread = Thread::start("audit", move || {
            let _ending = ending;
            writer.run();
        })
        .map_err(AuditError::Thread)?;
        let running = Mutex::new(Some(WriterThread { thread, ended }));
        let reads = (settings.level == AuditLevel::Writes).then(Reads::new);
        Ok(Self { log: Some(Arc::new(Log { settings, queue, metrics, reads, running })) })
    }

    /// Which records are written; `None` when there is no log.
    #[must_use]
    pub fn level(&self) -> Option<AuditLevel> {
        self.log.as_ref().map(|log| log.settings.level)
    }

    /// Whether records of statements are written: if not, nobody need make them.
    #[must_use]
    pub fn wants_statements(&self) -> bool {
        self.level() >= Some(AuditLevel::Writes)
    }

    /// Whether a record is written of a statement with this text, of which `cut` says that there was more; without a text
    /// nobody can tell what it does. To be asked on a thread with 2 MiB of stack.
    #[must_use]
    pub fn wants_statement(&self, text: Option<(&[u8], bool)>) -> bool {
        let Some(log) = self.log.as_ref().filter(|_| self.wants_statements()) else { return false };
        match (&log.reads, text) {
            (Some(reads), Some((text, cut))) => !reads.only_reads(text, cut),
            _ => true,
        }
    }

    /// Bytes of a statement's text that are worth keeping for [`Audit::text`].
    #[must_use]
    pub fn text_limit(&self) -> usize {
        self.log.as_ref().map_or(0, |log| log.settings.max_text.max(super::text::PARSER_LIMIT))
    }

    /// What a record needs of a statement's text; `None` when it needs nothing. Copies at most 32 KiB (or
    /// `max_text`). `cut` says that `statement` is only the beginning of it.
    #[must_use]
    pub fn text(&self, statement: &[u8], cut: bool) -> Option<QueryText> {
        let log = self.log.as_ref().filter(|_| self.wants_statements())?;
        QueryText::capture(&log.settings, statement, cut)
    }

    /// Whether what is asked next has to wait until the log has room again: with `on_full = "block"`, at the levels
    /// `writes` and `statements`, while there is none. What comes back waits for room, at most `block_timeout`.
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

    /// Submits a record. With `on_full = "shed"`, or while there is room, the result is ready at once. Otherwise it waits
    /// for room, at most `block_timeout`, and then takes spare room: what it tells has happened.
    ///
    /// # Errors
    /// [`AuditUnavailable`] when there was no room in time: what comes next must be refused.
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

    /// Submits a record where nobody can wait, as in a destructor: without room it takes spare room with
    /// `on_full = "block"`, and is lost otherwise.
    pub fn submit_now(&self, record: Record) {
        let Some(log) = self.log.as_ref().filter(|log| log.wants(&record)) else { return };
        log.metrics.queued.increment();
        if let Err(record) = log.queue.try_push(record) {
            log.keep(record);
        }
    }

    /// Opens the file by its name again, after somebody moved it; what was submitted before may land in either file.
    ///
    /// # Errors
    /// The system's; the old file goes on.
    ///
    /// Cancel safety: when dropped, the file is opened again all the same.
    pub async fn reopen(&self) -> io::Result<()> {
        match &self.log {
            None => Ok(()),
            Some(log) => log.queue.reopen().await.unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    /// Takes no more records, writes what is queued and `audit.stopped`, and waits for it. If the disk takes nothing,
    /// it gives up after a second.
    ///
    /// Cancel safety: when dropped half-way, the writer ends all the same; nobody has waited for it.
    pub async fn close(&self) {
        let Some(log) = &self.log else { return };
        log.queue.close();
        let running = log.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(WriterThread { thread, ended }) = running {
            // The sender is dropped as the thread's last act, so the join below does not block for long.
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

    /// Keeps what found no room, if clients are to wait rather than that anything is lost.
    fn keep(&self, record: Record) {
        // A client that is not let in has done nothing yet, and there is no end of them: they may not take up the room of
        // those who have.
        let keeps = self.settings.on_full == OnFull::Block && !record.is_arrival();
        if !keeps || self.queue.push_spare(record).is_err() {
            self.lose();
        }
    }
}

/// A record that waits for room. Nobody gives up in silence: dropped, it is kept in spare room or counted as lost.
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
            self.log.keep(record);
        }
    }
}

// === impl Submit ===

impl Submit {
    /// Whether there is nothing to wait for.
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
