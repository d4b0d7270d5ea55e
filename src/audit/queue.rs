//! The bounded queue between the submitters of records and the writer thread.
//!
//! Promises: queued records are written in order; records without room are counted. Room is measured in records. A
//! record with a long statement takes the room of several, which bounds memory. Spare room of equal size stores records
//! of past events whose wait for room timed out.

use std::{
    collections::VecDeque,
    io,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};

use super::record::Record;

pub(super) struct Queue {
    state: Mutex<QueueState>,
    work: Condvar,
    room: Semaphore,
    capacity: usize,
}

#[derive(Default)]
struct QueueState {
    entries: VecDeque<QueuedRecord>,
    /// Room taken by `entries`.
    taken: usize,
    /// Spare room taken by `entries`.
    spare: usize,
    /// Lower bound of the number of the last entry taken by the writer.
    numbered: u64,
    lost: Option<Lost>,
    /// Error of the last write, with the time of the first failure, until a write succeeds.
    write_error: Option<(Timestamp, String)>,
    /// Number of records lost since the start, and the time of the last loss.
    losses: Option<(u64, Timestamp)>,
    reopen: Vec<Reopen>,
    closing: bool,
    /// The writer has taken the last entry.
    ended: bool,
    /// The writer sleeps until woken. Otherwise the writer polls soon and needs no wake-up.
    idle: bool,
}

/// A record with its time.
pub(super) struct QueuedRecord {
    pub(super) time: Timestamp,
    pub(super) record: Record,
    /// Room taken by the record.
    room: usize,
    /// The record takes spare room.
    spare: bool,
}

/// Records that were not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) count: u64,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    /// Number of the last line before all lost records, or of an earlier line.
    pub(super) after: u64,
}

/// Receives the result of a reopening.
pub(super) type Reopen = oneshot::Sender<io::Result<()>>;

/// Work for the writer.
pub(super) struct Work {
    pub(super) entries: Vec<QueuedRecord>,
    pub(super) lost: Option<Lost>,
    pub(super) reopen: Vec<Reopen>,
    /// No further work follows.
    pub(super) last: bool,
}

/// Room to be released.
#[derive(Debug)]
pub(super) struct Room(usize);

/// Bytes of statement text that take the room of one record.
const TEXT_BYTES_PER_RECORD: usize = 1024;

// === impl Queue: submitters ===

impl Queue {
    /// Error of the last write, with the time of the first failure, until a write succeeds.
    pub(super) fn write_error(&self) -> Option<(Timestamp, String)> {
        self.lock().write_error.clone()
    }

    /// Notes the failure or success of writes.
    pub(super) fn set_write_error(&self, error: Option<String>) {
        let mut state = self.lock();
        let since = state.write_error.as_ref().map_or_else(Timestamp::now, |(since, _)| *since);
        state.write_error = error.map(|error| (since, error));
    }

    /// Number of records lost since the start, and the time of the last loss.
    pub(super) fn losses(&self) -> Option<(u64, Timestamp)> {
        self.lock().losses
    }

    pub(super) fn new(capacity: usize) -> Self {
        let capacity = capacity.clamp(1, u32::MAX as usize);
        Self { state: Mutex::default(), work: Condvar::new(), room: Semaphore::new(capacity), capacity }
    }

    /// Adds `record` if the queue has room, otherwise returns the record.
    pub(super) fn try_push(&self, record: Record) -> Result<(), Record> {
        let room = self.room_units(&record);
        match self.room.try_acquire_many(room) {
            Ok(permit) => {
                permit.forget();
                self.append(self.lock(), record, room, false);
                Ok(())
            }
            Err(_) => Err(record),
        }
    }

    /// Waits for the room of `record`, to be passed to [`Queue::push`]. First come, first served. `None` once the queue
    /// is closed.
    ///
    /// Cancel safety: takes no room if dropped.
    pub(super) async fn room_for(&self, record: &Record) -> Option<SemaphorePermit<'_>> {
        self.room.acquire_many(self.room_units(record)).await.ok()
    }

    /// Adds `record` in the reserved room.
    pub(super) fn push(&self, record: Record, room: SemaphorePermit<'_>) {
        let units = self.room_units(&record);
        room.forget();
        self.append(self.lock(), record, units, false);
    }

    /// Adds `record` if spare room is left, otherwise returns the record.
    pub(super) fn push_spare(&self, record: Record) -> Result<(), Record> {
        let units = self.room_units(&record);
        let mut state = self.lock();
        if state.ended || state.spare + units as usize > self.capacity {
            return Err(record);
        }
        state.spare += units as usize;
        self.append(state, record, units, true);
        Ok(())
    }

    /// True if even the smallest record finds no room.
    pub(super) fn is_full(&self) -> bool {
        self.room.available_permits() == 0
    }

    /// Waits until the queue has room, without taking any. `None` once the queue is closed.
    ///
    /// Cancel safety: safe.
    pub(super) async fn some_room(&self) -> Option<()> {
        self.room.acquire().await.ok().map(drop)
    }

    /// Counts a record that found no room.
    pub(super) fn lose(&self) {
        let now = Timestamp::now();
        let mut state = self.lock();
        let after = state.numbered + state.entries.len() as u64;
        let lost = state.lost.get_or_insert(Lost { count: 0, first: now, last: now, after });
        lost.count += 1;
        lost.last = now;
        state.losses = Some((state.losses.map_or(0, |(count, _)| count) + 1, now));
        self.wake(state);
    }

    /// Requests a reopening of the file. The sender is dropped once the queue is closed.
    pub(super) fn reopen(&self) -> oneshot::Receiver<io::Result<()>> {
        let (answer, answered) = oneshot::channel();
        let mut state = self.lock();
        if !state.closing {
            state.reopen.push(answer);
        }
        drop(state);
        self.work.notify_one();
        answered
    }

    /// Stops accepting records and lets the writer end after the last record.
    pub(super) fn close(&self) {
        self.room.close();
        self.lock().closing = true;
        self.work.notify_one();
    }

    fn append(&self, mut state: MutexGuard<'_, QueueState>, record: Record, room: u32, spare: bool) {
        let room = room as usize;
        // Timestamp taken under the lock: lines are ordered by time.
        state.entries.push_back(QueuedRecord { time: Timestamp::now(), record, room, spare });
        let was_pressing = self.is_half_full(&state);
        state.taken += room;
        if !was_pressing && self.is_half_full(&state) {
            self.work.notify_one();
        }
        self.wake(state);
    }

    /// Wakes the writer if idle. A wake-up costs a system call; most records need none.
    fn wake(&self, mut state: MutexGuard<'_, QueueState>) {
        let idle = std::mem::take(&mut state.idle);
        drop(state);
        if idle {
            self.work.notify_one();
        }
    }

    /// True if at least half of the room is taken: the writer must not wait for more records.
    fn is_half_full(&self, state: &QueueState) -> bool {
        state.taken >= self.capacity.div_ceil(2)
    }

    fn room_units(&self, record: &Record) -> u32 {
        let room = (1 + record.weight() / TEXT_BYTES_PER_RECORD).min(self.capacity);
        u32::try_from(room).expect("no more than the capacity")
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Queue: writer ===

impl Queue {
    /// Waits for work, at most until `until`, and takes at most `most` entries. `last` is the number of the last
    /// written line.
    pub(super) fn take(&self, last: u64, most: usize, until: Option<Duration>) -> Work {
        let mut state = self.lock();
        if state.is_empty() && !state.closing {
            state.idle = true;
            let nothing = |state: &mut QueueState| state.is_empty() && !state.closing;
            state = match until {
                None => self.work.wait_while(state, nothing).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    self.work
                        .wait_timeout_while(state, until, nothing)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
        state.idle = false;
        let count = state.entries.len().min(most);
        let entries: Vec<_> = state.entries.drain(..count).collect();
        state.taken -= entries.iter().map(|entry| entry.room).sum::<usize>();
        let all = state.entries.is_empty();
        state.ended = all && state.closing;
        state.numbered = last + count as u64;
        Work {
            entries,
            // Losses happened after the queued records.
            lost: if all { state.lost.take() } else { None },
            reopen: std::mem::take(&mut state.reopen),
            last: state.ended,
        }
    }

    /// Lets records accumulate unless many are queued or a submitter waits: fewer writes and wake-ups.
    pub(super) fn gather(&self, time: Duration) {
        let state = self.lock();
        let quiet =
            |state: &mut QueueState| !self.is_half_full(state) && state.reopen.is_empty() && !state.closing;
        drop(self.work.wait_timeout_while(state, time, quiet));
    }

    /// Pauses before a failed write is retried. Ends early on a reopen request. Returns the requests, and true if the
    /// queue is being closed. `last` is the number of the last written line.
    pub(super) fn pause(&self, last: u64, time: Duration) -> (Vec<Reopen>, bool) {
        let mut state = self.lock();
        state.numbered = state.numbered.max(last);
        let (mut state, _) = self
            .work
            .wait_timeout_while(state, time, |state| state.reopen.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut state.reopen), state.closing)
    }

    /// Releases the room of written records.
    pub(super) fn written(&self, entries: &[QueuedRecord]) {
        let of =
            |spare: bool| entries.iter().filter(move |entry| entry.spare == spare).map(|entry| entry.room);
        let spare: usize = of(true).sum();
        if spare > 0 {
            self.lock().spare -= spare;
        }
        self.release(Room(of(false).sum()));
    }

    /// Releases room.
    pub(super) fn release(&self, room: Room) {
        self.room.add_permits(room.0);
    }

    /// Takes all room, so that the queue counts as full until the returned room is released.
    pub(super) fn take_all_room(&self) -> Room {
        Room(self.room.forget_permits(self.capacity))
    }

    /// Takes the losses that are not reported yet.
    pub(super) fn take_lost(&self) -> Option<Lost> {
        self.lock().lost.take()
    }
}

impl QueueState {
    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.lost.is_none() && self.reopen.is_empty()
    }
}
