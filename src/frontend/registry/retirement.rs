//! Ends the use of an endpoint that is not the writer any more: leases and dedicated sessions.

use std::{sync::Arc, time::Instant};

use super::{
    current_backend::Cancel,
    entry::{SessionCommand, SessionEntry},
    sessions::SessionRegistry,
};
use crate::{backend::ConnectError, names::EndpointName, wire::TransactionStatus};

/// Sessions that use an endpoint as the writer.
pub struct EndpointSessions {
    entries: Vec<Arc<SessionEntry>>,
    endpoint: EndpointName,
}

/// Number of sessions whose use of an endpoint has ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EndedUses {
    /// Pooled sessions that lost the leased backend.
    pub leases: usize,
    /// Sessions that were ended.
    pub sessions: usize,
    /// Those of both whose endpoint had not lost the role of writer before.
    pub newly_ended: usize,
}

/// Cancel requests for statements that may still run on the server although the sessions gave up the backends.
pub struct AbandonedStatements {
    cancels: Vec<Cancel>,
}

// === impl EndpointSessions ===

impl EndpointSessions {
    /// Sessions on `endpoint` at this time. Without `with_named`, sessions of a route that names the endpoint are left
    /// out.
    #[must_use]
    pub fn find(sessions: &SessionRegistry, endpoint: &EndpointName, with_named: bool) -> Self {
        let is_meant = |entry: &Arc<SessionEntry>| {
            let backend = entry.current_backend();
            let is_here = backend.is_some_and(|backend| backend.endpoint().name() == endpoint);
            is_here && (with_named || entry.reason().is_for_writer())
        };
        let entries = sessions.list().into_iter().filter(is_meant).collect();
        Self { entries, endpoint: endpoint.clone() }
    }

    /// Number of sessions.
    #[must_use]
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// Number of sessions with a statement or an open transaction.
    #[must_use]
    pub fn busy(&self) -> usize {
        let is_busy = |entry: &&Arc<SessionEntry>| {
            let activity = entry.activity();
            activity.busy || activity.status != TransactionStatus::Idle
        };
        self.entries.iter().filter(is_busy).count()
    }

    /// Sessions with a backend for life end after their transaction, with FATAL 57P01.
    pub fn retire(&self) {
        for entry in self.entries.iter().filter(|entry| entry.is_dedicated()) {
            entry.send_command(SessionCommand::Withdraw);
        }
    }

    /// Ends the use of the endpoint at once. Sessions with a backend for life end with FATAL 57P01; to all others the
    /// connection counts as broken.
    #[must_use]
    pub fn end_uses(&self) -> (EndedUses, AbandonedStatements) {
        let (mut ended, mut cancels) = (EndedUses::default(), Vec::new());
        let now = Instant::now();
        for entry in &self.entries {
            if entry.is_dedicated() {
                ended.newly_ended += usize::from(entry.expel(now));
                ended.sessions += 1;
                continue;
            }
            let is_busy = entry.activity().busy;
            let is_lost = entry.lose_backend(|backend| {
                let is_here = backend.endpoint().name() == &self.endpoint;
                cancels.extend((is_here && is_busy).then(|| backend.begin_cancel()));
                is_here
            });
            ended.leases += usize::from(is_lost);
            ended.newly_ended += usize::from(is_lost);
        }
        (ended, AbandonedStatements { cancels })
    }
}

// === impl AbandonedStatements ===

impl AbandonedStatements {
    /// Cancels the statements, one after another.
    ///
    /// Cancel safety: if dropped, the remaining statements run on.
    pub async fn cancel_all(self) {
        for cancel in self.cancels {
            let sent: Result<(), ConnectError> = cancel.send().await;
            if let Err(error) = sent {
                tracing::debug!(%error, "statement on the previous writer not canceled");
            }
        }
    }
}
