//! The bounded queue between those who submit records and the one writer.
//!
//! Promises: what is in the queue is written in its order; what found no room is counted. Room is measured in records, and
//! a record with a long statement takes the room of several, so that memory is bounded too.

use std::{
    collections::VecDeque,
    io,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::sync::{Semaphore, oneshot};

use super::record::Record;

pub(super) struct Queue {
    state: Mutex<State>,
    work: Condvar,
    room: Semaphore,
    capacity: usize,
}

#[derive(Default)]
struct State {
    entries: VecDeque<Entry>,
    /// The room that `entries` take.
    taken: usize,
    lost: Option<Lost>,
    reopen: Vec<Reopen>,
    closing: bool,
    /// The writer waits for anything at all; otherwise it looks by itself before long, and need not be woken.
    idle: bool,
}

/// A record and when it happened.
pub(super) struct Entry {
    pub(super) time: Timestamp,
    pub(super) record: Record,
    /// The room it takes.
    room: usize,
}

/// Records that were not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) count: u64,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
}

/// Somebody waits to hear how reopening went.
pub(super) type Reopen = oneshot::Sender<io::Result<()>>;

/// What the writer is to do.
pub(super) struct Work {
    pub(super) entries: Vec<Entry>,
    pub(super) lost: Option<Lost>,
    pub(super) reopen: Vec<Reopen>,
    /// Nothing more will come.
    pub(super) last: bool,
}

/// Room that written entries give back.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Room(usize);

/// Octets of statement text that take the room of one record.
const TEXT_UNIT: usize = 1024;

// === for those who submit ===

impl Queue {
    pub(super) fn new(capacity: usize) -> Self {
        let capacity = capacity.clamp(1, u32::MAX as usize);
        Self { state: Mutex::default(), work: Condvar::new(), room: Semaphore::new(capacity), capacity }
    }

    /// Adds `record` if there is room now, and gives it back otherwise.
    pub(super) fn try_push(&self, record: Record) -> Result<(), Record> {
        let room = self.room_for(&record);
        match self.room.try_acquire_many(room) {
            Ok(permit) => {
                permit.forget();
                self.append(record, room);
                Ok(())
            }
            Err(_) => Err(record),
        }
    }

    /// Adds `record` when there is room. First come, first served. `Err` once the queue is closed.
    ///
    /// Cancel safety: when dropped before it is done, nothing was added.
    pub(super) async fn push(&self, record: Record) -> Result<(), Record> {
        let room = self.room_for(&record);
        match self.room.acquire_many(room).await {
            Ok(permit) => {
                permit.forget();
                self.append(record, room);
                Ok(())
            }
            Err(_) => Err(record),
        }
    }

    /// Counts a record that found no room.
    pub(super) fn lose(&self) {
        let now = Timestamp::now();
        let mut state = self.lock();
        let lost = state.lost.get_or_insert(Lost { count: 0, first: now, last: now });
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

    fn append(&self, record: Record, room: u32) {
        let room = room as usize;
        let mut state = self.lock();
        // Taken under the lock: the order of the lines is the order of their times.
        state.entries.push_back(Entry { time: Timestamp::now(), record, room });
        let was_pressing = self.presses(&state);
        state.taken += room;
        if !was_pressing && self.presses(&state) {
            self.work.notify_one();
        }
        self.wake(state);
    }

    /// Wakes the writer if it would not look by itself. To wake it costs a system call, so the usual record does not.
    fn wake(&self, mut state: MutexGuard<'_, State>) {
        let idle = std::mem::take(&mut state.idle);
        drop(state);
        if idle {
            self.work.notify_one();
        }
    }

    /// Half the room is taken: the writer must not wait for more.
    fn presses(&self, state: &State) -> bool {
        state.taken >= self.capacity.div_ceil(2)
    }

    fn room_for(&self, record: &Record) -> u32 {
        let room = (1 + record.weight() / TEXT_UNIT).min(self.capacity);
        u32::try_from(room).expect("no more than the capacity")
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === for the writer ===

impl Queue {
    /// Waits until there is something to do and takes it: at most `most` entries.
    pub(super) fn take(&self, most: usize) -> Work {
        let mut state = self.lock();
        while state.is_empty() && !state.closing {
            state.idle = true;
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.idle = false;
        let count = state.entries.len().min(most);
        let entries: Vec<_> = state.entries.drain(..count).collect();
        state.taken -= Room::of(&entries).0;
        let all = state.entries.is_empty();
        Work {
            entries,
            // What was lost came after what stands in the queue.
            lost: if all { state.lost.take() } else { None },
            reopen: std::mem::take(&mut state.reopen),
            last: all && state.closing,
        }
    }

    /// Lets entries gather, unless there are many or somebody waits for the writer: fewer writes, fewer wake-ups.
    pub(super) fn gather(&self, time: Duration) {
        let state = self.lock();
        let quiet = |state: &mut State| !self.presses(state) && state.reopen.is_empty() && !state.closing;
        drop(self.work.wait_timeout_while(state, time, quiet));
    }

    /// Waits before a failed write is tried again; ends early when a reopening is asked for, and says whether the queue is
    /// being closed.
    pub(super) fn pause(&self, time: Duration) -> (Vec<Reopen>, bool) {
        let state = self.lock();
        let (mut state, _) = self
            .work
            .wait_timeout_while(state, time, |state| state.reopen.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut state.reopen), state.closing)
    }

    /// Gives back the room of what was written.
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

impl State {
    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.lost.is_none() && self.reopen.is_empty()
    }
}

impl Room {
    pub(super) fn of(entries: &[Entry]) -> Self {
        Self(entries.iter().map(|entry| entry.room).sum())
    }
}
