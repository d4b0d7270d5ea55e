//! Sessions that were refused a moment ago, and whose next try counts from their first.
//!
//! Promises: a free place in the queue is kept for the refused sessions that have waited longest, for a few seconds.
//! Without it, a place would go to the session that happens to try first, and older ones would then overtake it. Plain
//! data: no clock.

use tokio::time::Instant;

/// Refused sessions that are likely to try again.
pub(super) struct RefusedSessions {
    /// By rank; one session for each.
    sessions: Vec<RefusedSession>,
}

struct RefusedSession {
    rank: Instant,
    refused_at: Instant,
}

impl RefusedSessions {
    pub(super) const fn new() -> Self {
        Self { sessions: Vec::new() }
    }

    /// A session of `rank` is refused at `now`, perhaps again.
    pub(super) fn note(&mut self, rank: Instant, now: Instant) {
        match self.sessions.binary_search_by_key(&rank, |session| session.rank) {
            Ok(at) => self.sessions[at].refused_at = now,
            Err(at) => self.sessions.insert(at, RefusedSession { rank, refused_at: now }),
        }
    }

    /// A session of `rank` is admitted.
    pub(super) fn remove(&mut self, rank: Instant) {
        if let Ok(at) = self.sessions.binary_search_by_key(&rank, |session| session.rank) {
            self.sessions.remove(at);
        }
    }

    /// Number of sessions that have waited longer than one of `rank`.
    pub(super) fn count_ahead(&self, rank: Instant) -> usize {
        self.sessions.partition_point(|session| session.rank < rank)
    }

    /// Forgets the sessions that have not tried again since `then`.
    pub(super) fn expire(&mut self, then: Instant) {
        self.sessions.retain(|session| session.refused_at > then);
    }
}
