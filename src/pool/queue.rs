//! Waiters in order of arrival.
//!
//! Promises: first come, first served on each worker; the first waiters of all workers wait about equally long. Refuses
//! to know: the resource. Plain data: no clock, no wakers.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// Waiting lines, one for each worker.
pub(super) struct Queue<W> {
    lines: Box<[WaitLine<W>]>,
    waiting: usize,
    tickets: u64,
}

struct WaitLine<W> {
    /// By start of the wait, then by ticket.
    entries: VecDeque<QueueEntry<W>>,
    /// Waiters since then or longer were notified about the long wait.
    notified_until: Option<Instant>,
}

/// A waiter.
pub(super) struct QueueEntry<W> {
    pub(super) ticket: u64,
    pub(super) since: Instant,
    /// The waiter stays while the endpoint is absent.
    pub(super) holds: bool,
    pub(super) who: W,
}

/// The first waiter of another worker is served before the own only if its wait is longer by the constant and a quarter
/// of the own wait: moving a backend between workers costs a few system calls and a wake across threads.
const OTHER_WORKER_HEAD_START: Duration = Duration::from_millis(1);

impl<W> Queue<W> {
    /// Empty lines for `workers` workers.
    pub(super) fn new(workers: usize) -> Self {
        let line = |_| WaitLine { entries: VecDeque::new(), notified_until: None };
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

    /// Adds a waiter that has waited since `since`, behind all that have waited as long; returns the waiter's ticket.
    pub(super) fn join(&mut self, worker: usize, since: Instant, holds: bool, who: W) -> u64 {
        self.tickets += 1;
        self.waiting += 1;
        let ticket = self.tickets;
        let entries = &mut self.line_of(worker).entries;
        let at = entries.partition_point(|entry| entry.since <= since);
        entries.insert(at, QueueEntry { ticket, since, holds, who });
        ticket
    }

    /// Removes a waiter since `since`; `None` if already removed.
    pub(super) fn leave(&mut self, worker: usize, since: Instant, ticket: u64) -> Option<W> {
        let entries = &mut self.line_of(worker).entries;
        let at = entries.binary_search_by_key(&(since, ticket), |entry| (entry.since, entry.ticket)).ok()?;
        let left = entries.remove(at)?;
        self.waiting -= 1;
        Some(left.who)
    }

    /// Removes the next waiter for a backend of `worker`. Reads the clock only if several waiters compete.
    pub(super) fn next(&mut self, worker: usize, now: impl FnOnce() -> Instant) -> Option<QueueEntry<W>> {
        let own = worker % self.lines.len();
        let since = |line: &WaitLine<W>| line.entries.front().map(|entry| entry.since);
        let others = (0..self.lines.len()).filter(|other| *other != own);
        let other = others.filter_map(|other| Some((since(&self.lines[other])?, other))).min();
        let chosen = match (since(&self.lines[own]), other) {
            (Some(own_since), Some((other_since, other)))
                if other_since + OTHER_WORKER_HEAD_START < own_since =>
            {
                let waited = now().saturating_duration_since(own_since);
                if other_since + OTHER_WORKER_HEAD_START + waited / 4 < own_since { other } else { own }
            }
            (Some(_), _) => own,
            (None, Some((_, other))) => other,
            (None, None) => return None,
        };
        let next = self.lines[chosen].entries.pop_front();
        self.waiting -= usize::from(next.is_some());
        next
    }

    /// Removes the first waiter of `worker` if it has waited since `then` or longer.
    pub(super) fn take_expired(&mut self, worker: usize, then: Instant) -> Option<QueueEntry<W>> {
        let entries = &mut self.line_of(worker).entries;
        entries.front().filter(|entry| entry.since <= then)?;
        let expired = entries.pop_front();
        self.waiting -= 1;
        expired
    }

    /// Notifies, once each, the waiters of `worker` that have waited since `then` or longer.
    pub(super) fn notify_long_waits(
        &mut self,
        worker: usize,
        then: Instant,
        mut tell: impl FnMut(&QueueEntry<W>),
    ) {
        let line = self.line_of(worker);
        let notified_until = line.notified_until;
        let first = line.entries.partition_point(|entry| {
            notified_until.is_some_and(|notified_until| entry.since <= notified_until)
        });
        for entry in line.entries.range(first..).take_while(|entry| entry.since <= then) {
            tell(entry);
            line.notified_until = Some(entry.since);
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
        self.lines.iter().filter_map(|line| line.entries.front()).map(|entry| entry.since).min()
    }

    fn line_of(&mut self, worker: usize) -> &mut WaitLine<W> {
        let own = worker % self.lines.len();
        &mut self.lines[own]
    }
}
