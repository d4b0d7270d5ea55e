//! Waiters in the order of their first unserved wait.
//!
//! Promises: first come, first served on each worker; a session that timed out or was refused keeps its place for the
//! next wait; the first waiters of all workers wait about equally long. Refuses to know: the resource. Plain data: no
//! clock, no wakers.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use super::WaitTerms;

/// Waiting lines, one for each worker.
pub(super) struct Queue<W> {
    lines: Box<[WaitLine<W>]>,
    waiting: usize,
    tickets: u64,
}

struct WaitLine<W> {
    /// By rank, then by ticket.
    entries: VecDeque<QueueEntry<W>>,
}

/// A waiter.
pub(super) struct QueueEntry<W> {
    pub(super) ticket: u64,
    pub(super) times: WaitTimes,
    /// The waiter stays while the endpoint is absent.
    pub(super) holds: bool,
    /// The waiter was notified about its long wait.
    is_notified: bool,
    pub(super) who: W,
}

/// Times of a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WaitTimes {
    /// Start of the session's first unserved wait: the place in the queue.
    pub(super) rank: Instant,
    /// Start of this wait: `query_wait_timeout` counts from here.
    pub(super) since: Instant,
}

/// The first waiter of another worker is served before the own only if its wait is longer by the constant and a quarter
/// of the own wait: moving a backend between workers costs a few system calls and a wake across threads.
const OTHER_WORKER_HEAD_START: Duration = Duration::from_millis(1);

/// Limit of that quarter: in a long queue a session of another worker must not wait a quarter longer.
const MAX_OTHER_WORKER_DELAY: Duration = Duration::from_millis(250);

impl WaitTimes {
    /// Times of a wait on `terms` that begins at `now`, unless the session has waited before.
    pub(super) fn of(terms: &WaitTerms, now: Instant) -> Self {
        let since = terms.since.unwrap_or(now);
        Self { rank: terms.unserved_since.map_or(since, |unserved| unserved.min(since)), since }
    }
}

impl<W> Queue<W> {
    /// Empty lines for `workers` workers.
    pub(super) fn new(workers: usize) -> Self {
        let line = |_| WaitLine { entries: VecDeque::new() };
        Self { lines: (0..workers.max(1)).map(line).collect(), waiting: 0, tickets: 0 }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting
    }

    /// True without waiters.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Adds a waiter, behind all of its rank; returns the waiter's ticket.
    pub(super) fn join(&mut self, worker: usize, times: WaitTimes, holds: bool, who: W) -> u64 {
        self.tickets += 1;
        self.waiting += 1;
        let ticket = self.tickets;
        let entries = &mut self.line_of(worker).entries;
        let at = entries.partition_point(|entry| entry.times.rank <= times.rank);
        entries.insert(at, QueueEntry { ticket, times, holds, is_notified: false, who });
        ticket
    }

    /// Number of waiters that are served before a new one of `rank`.
    pub(super) fn count_ahead(&self, rank: Instant) -> usize {
        self.lines.iter().map(|line| line.entries.partition_point(|entry| entry.times.rank <= rank)).sum()
    }

    /// Removes a waiter of `rank`; `None` if already removed.
    pub(super) fn leave(&mut self, worker: usize, rank: Instant, ticket: u64) -> Option<W> {
        let entries = &mut self.line_of(worker).entries;
        let at =
            entries.binary_search_by_key(&(rank, ticket), |entry| (entry.times.rank, entry.ticket)).ok()?;
        let left = entries.remove(at)?;
        self.waiting -= 1;
        Some(left.who)
    }

    /// Removes the next waiter for a backend of `worker`. Reads the clock only if several waiters compete.
    pub(super) fn next(&mut self, worker: usize, now: impl FnOnce() -> Instant) -> Option<QueueEntry<W>> {
        let own = worker % self.lines.len();
        let first = |line: &WaitLine<W>| line.entries.front().map(|entry| entry.times);
        let others = (0..self.lines.len()).filter(|other| *other != own);
        let other = others.filter_map(|other| Some((first(&self.lines[other])?.rank, other))).min();
        let chosen = match (first(&self.lines[own]), other) {
            (Some(own_times), Some((other_rank, other)))
                if other_rank + OTHER_WORKER_HEAD_START < own_times.rank =>
            {
                let waited = now().saturating_duration_since(own_times.since);
                let delay = (waited / 4).min(MAX_OTHER_WORKER_DELAY);
                if other_rank + OTHER_WORKER_HEAD_START + delay < own_times.rank { other } else { own }
            }
            (Some(_), _) => own,
            (None, Some((_, other))) => other,
            (None, None) => return None,
        };
        let next = self.lines[chosen].entries.pop_front();
        self.waiting -= usize::from(next.is_some());
        next
    }

    /// Removes the waiters of `worker` that have waited since `then` or longer, by rank.
    pub(super) fn take_expired(&mut self, worker: usize, then: Instant) -> Vec<QueueEntry<W>> {
        let entries = &mut self.line_of(worker).entries;
        if entries.iter().all(|entry| entry.times.since > then) {
            return Vec::new();
        }
        let (expired, stay): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(entries).into_iter().partition(|entry| entry.times.since <= then);
        *entries = stay;
        self.waiting -= expired.len();
        expired.into()
    }

    /// Notifies, once each, the waiters of `worker` that have waited since `then` or longer.
    pub(super) fn notify_long_waits(
        &mut self,
        worker: usize,
        then: Instant,
        mut tell: impl FnMut(&QueueEntry<W>),
    ) {
        let entries = self.line_of(worker).entries.iter_mut();
        for entry in entries.filter(|entry| !entry.is_notified && entry.times.since <= then) {
            entry.is_notified = true;
            tell(entry);
        }
    }

    /// Removes the waiters that do not stay while the endpoint is absent, in no particular order.
    pub(super) fn drain_impatient(&mut self) -> Vec<QueueEntry<W>> {
        let mut left = Vec::new();
        for line in &mut self.lines {
            if line.entries.iter().all(|entry| entry.holds) {
                continue;
            }
            let (stay, go): (VecDeque<_>, VecDeque<_>) =
                std::mem::take(&mut line.entries).into_iter().partition(|entry| entry.holds);
            line.entries = stay;
            left.extend(go);
        }
        self.waiting -= left.len();
        left
    }

    /// All waiters, in no particular order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &QueueEntry<W>> {
        self.lines.iter().flat_map(|line| &line.entries)
    }

    /// Removes all waiters, in no particular order.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = QueueEntry<W>> {
        self.waiting = 0;
        self.lines.iter_mut().flat_map(|line| line.entries.drain(..))
    }

    /// Start of the longest wait.
    pub(super) fn longest_wait_start(&self) -> Option<Instant> {
        self.iter().map(|entry| entry.times.since).min()
    }

    fn line_of(&mut self, worker: usize) -> &mut WaitLine<W> {
        let own = worker % self.lines.len();
        &mut self.lines[own]
    }
}
