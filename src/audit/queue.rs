//! The bounded queue between those who submit records and the one writer.
//!
//! Promises: what is in the queue is written in its order; what found no room is counted. Room is measured in records, and
//! a record with a long statement takes the room of several, so that memory is bounded too. As much room again is spare: for
//! what has happened already and must not be lost, where waiting for room has come to nothing.

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
    /// The room that `entries` take.
    taken: usize,
    /// The spare room that they take.
    spare: usize,
    /// The number that the last entry taken by the writer has, at least.
    numbered: u64,
    lost: Option<Lost>,
    reopen: Vec<Reopen>,
    closing: bool,
    /// The writer has taken the last.
    ended: bool,
    /// The writer waits for anything at all; otherwise it looks by itself before long, and need not be woken.
    idle: bool,
}

/// A record and when it happened.
pub(super) struct QueuedRecord {
    pub(super) time: Timestamp,
    pub(super) record: Record,
    /// The room it takes.
    room: usize,
    /// It is spare room.
    spare: bool,
}

/// Records that were not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) count: u64,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    /// The number of the last line that came before all of them, or of one before it.
    pub(super) after: u64,
}

/// Somebody waits to hear how reopening went.
pub(super) type Reopen = oneshot::Sender<io::Result<()>>;

/// What the writer is to do.
pub(super) struct Work {
    pub(super) entries: Vec<QueuedRecord>,
    pub(super) lost: Option<Lost>,
    pub(super) reopen: Vec<Reopen>,
    /// Nothing more will come.
    pub(super) last: bool,
}

/// Room that is to be given back.
#[derive(Debug)]
pub(super) struct Room(usize);

/// Bytes of statement text that take the room of one record.
const TEXT_UNIT: usize = 1024;

// === for those who submit ===

impl Queue {
    pub(super) fn new(capacity: usize) -> Self {
        let capacity = capacity.clamp(1, u32::MAX as usize);
        Self { state: Mutex::default(), work: Condvar::new(), room: Semaphore::new(capacity), capacity }
    }

    /// Adds `record` if there is room now, and gives it back otherwise.
    pub(super) fn try_push(&self, record: Record) -> Result<(), Record> {
        let room = self.units(&record);
        match self.room.try_acquire_many(room) {
            Ok(permit) => {
                permit.forget();
                self.append(self.lock(), record, room, false);
                Ok(())
            }
            Err(_) => Err(record),
        }
    }

    /// Waits for the room that `record` takes; it is [`Queue::push`]'s then. First come, first served. `None` once the queue
    /// is closed.
    ///
    /// Cancel safety: when dropped, no room is taken.
    pub(super) async fn room_for(&self, record: &Record) -> Option<SemaphorePermit<'_>> {
        self.room.acquire_many(self.units(record)).await.ok()
    }

    /// Adds `record` in the room that was waited for.
    pub(super) fn push(&self, record: Record, room: SemaphorePermit<'_>) {
        let units = self.units(&record);
        room.forget();
        self.append(self.lock(), record, units, false);
    }

    /// Adds `record` if there is spare room, and gives it back otherwise.
    pub(super) fn push_spare(&self, record: Record) -> Result<(), Record> {
        let units = self.units(&record);
        let mut state = self.lock();
        if state.ended || state.spare + units as usize > self.capacity {
            return Err(record);
        }
        state.spare += units as usize;
        self.append(state, record, units, true);
        Ok(())
    }

    /// Whether not even the smallest record finds room.
    pub(super) fn is_full(&self) -> bool {
        self.room.available_permits() == 0
    }

    /// Waits until there is some room, and takes none. `None` once the queue is closed.
    ///
    /// Cancel safety: nothing to lose.
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
        self.wake(state);
    }

    /// Asks for the file to be opened again. Nobody answers once the queue is closed.
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

    /// Takes no more, and lets the writer end when it has written all.
    pub(super) fn close(&self) {
        self.room.close();
        self.lock().closing = true;
        self.work.notify_one();
    }

    fn append(&self, mut state: MutexGuard<'_, QueueState>, record: Record, room: u32, spare: bool) {
        let room = room as usize;
        // Taken under the lock: the order of the lines is the order of their times.
        state.entries.push_back(QueuedRecord { time: Timestamp::now(), record, room, spare });
        let was_pressing = self.presses(&state);
        state.taken += room;
        if !was_pressing && self.presses(&state) {
            self.work.notify_one();
        }
        self.wake(state);
    }

    /// Wakes the writer if it would not look by itself. To wake it costs a system call, so the usual record does not.
    fn wake(&self, mut state: MutexGuard<'_, QueueState>) {
        let idle = std::mem::take(&mut state.idle);
        drop(state);
        if idle {
            self.work.notify_one();
        }
    }

    /// Half the room is taken: the writer must not wait for more.
    fn presses(&self, state: &QueueState) -> bool {
        state.taken >= self.capacity.div_ceil(2)
    }

    fn units(&self, record: &Record) -> u32 {
        let room = (1 + record.weight() / TEXT_UNIT).min(self.capacity);
        u32::try_from(room).expect("no more than the capacity")
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === for the writer ===

impl Queue {
    /// Waits until there is something to do, or `until` is over, and takes it: at most `most` entries, which follow the line
    /// with the number `last`.
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
            // What was lost came after what stands in the queue.
            lost: if all { state.lost.take() } else { None },
            reopen: std::mem::take(&mut state.reopen),
            last: state.ended,
        }
    }

    /// Lets entries gather, unless there are many or somebody waits for the writer: fewer writes, fewer wake-ups.
    pub(super) fn gather(&self, time: Duration) {
        let state = self.lock();
        let quiet =
            |state: &mut QueueState| !self.presses(state) && state.reopen.is_empty() && !state.closing;
        drop(self.work.wait_timeout_while(state, time, quiet));
    }

    /// Waits before a failed write is tried again; ends early when a reopening is asked for, and says whether the queue is
    /// being closed. `last` is the number of the last line so far.
    pub(super) fn pause(&self, last: u64, time: Duration) -> (Vec<Reopen>, bool) {
        let mut state = self.lock();
        state.numbered = state.numbered.max(last);
        let (mut state, _) = self
            .work
            .wait_timeout_while(state, time, |state| state.reopen.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut state.reopen), state.closing)
    }

    /// Gives back the room of what was written.
    pub(super) fn written(&self, entries: &[QueuedRecord]) {
        let of =
            |spare: bool| entries.iter().filter(move |entry| entry.spare == spare).map(|entry| entry.room);
        let spare: usize = of(true).sum();
        if spare > 0 {
            self.lock().spare -= spare;
        }
        self.release(Room(of(false).sum()));
    }

    /// Gives back room.
    pub(super) fn release(&self, room: Room) {
        self.room.add_permits(room.0);
    }

    /// From now on the queue is full, whatever is in it. The returned room makes it what it was.
    pub(super) fn jam(&self) -> Room {
        Room(self.room.forget_permits(self.capacity))
    }

    /// Everything that was lost and not yet said.
    pub(super) fn take_lost(&self) -> Option<Lost> {
        self.lock().lost.take()
    }
}

impl QueueState {
    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.lost.is_none() && self.reopen.is_empty()
    }
}
