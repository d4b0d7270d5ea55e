//! Cancel requests: looked up by Gatekeeper's key, forwarded to the server that runs the statement.
//!
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-CANCELING-REQUESTS>

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};

use super::{console_session::ConsoleSessionEntry, current_backend::CurrentBackend, entry::SessionEntry};
use crate::{
    audit::{Record, record},
    blame::Chain,
    frontend::{
        acquire::random_number,
        context::{ClientServices, ListenerContext},
    },
    telemetry::labels::Outcome,
    topology::DeclaredRole,
    wire::BackendKey,
};

/// The session whose statement a request cancels.
enum CancelTarget {
    Console(Arc<ConsoleSessionEntry>),
    Session(Arc<SessionEntry>),
}

/// Maximum number of tries while one statement runs. A read pool's address leads to several nodes, and each new
/// connection may reach another node than the backend's. With 20 nodes, nine of ten requests reach the right one.
const MAX_CANCEL_TRIES: u32 = 50;
/// Average pause before the second try, and before the fifth and later tries; doubled in between. Short, because a
/// reached node acts at once, and with two nodes the second try usually succeeds.
const PAUSE_MS: (u64, u64) = (10, 100);
/// Limit on the wait for internal statements ahead of the client's statement; a server that takes longer does not
/// handle cancel requests either.
const INTERNAL_STATEMENT_WAIT_LIMIT: Duration = Duration::from_secs(5);

/// Forwards a cancel request. The client gets no response and waits for the end of its connection.
///
/// Cancel safety: dropped half-way, the statement may or may not have been cancelled.
pub(crate) async fn forward_request(
    key: &BackendKey,
    client: Option<SocketAddr>,
    context: &ListenerContext,
    services: &ClientServices,
) {
    let count = |found: bool| {
        context.metrics.cancel_request(if found { Outcome::Ok } else { Outcome::Error });
    };
    if let Some(target) = CancelTarget::find(key, services) {
        count(true);
        target.cancel(client, services).await;
        return;
    }
    let found = services.predecessor.cancel(key, client).await;
    count(found);
    if !found {
        // As in PostgreSQL, an unknown key gets no error.
        tracing::debug!(listener = %context.settings.name, "cancel request with an unknown key");
    }
}

/// Carries out a cancel request that another process has received; false if the key is unknown here, and to the process
/// that this one has replaced.
///
/// Cancel safety: dropped half-way, the statement may or may not have been cancelled.
pub async fn cancel_for_successor(
    key: &BackendKey,
    client: Option<SocketAddr>,
    services: &ClientServices,
) -> bool {
    match CancelTarget::find(key, services) {
        Some(target) => {
            target.cancel(client, services).await;
            true
        }
        None => services.predecessor.cancel(key, client).await,
    }
}

// === impl CancelTarget ===

impl CancelTarget {
    /// The session of this process with the key.
    fn find(key: &BackendKey, services: &ClientServices) -> Option<Self> {
        let console = services.sessions.find_console_session(key).map(Self::Console);
        console.or_else(|| services.sessions.find(key).map(Self::Session))
    }

    async fn cancel(self, client: Option<SocketAddr>, services: &ClientServices) {
        let entry = match self {
            Self::Console(entry) => return entry.cancel(),
            Self::Session(entry) => entry,
        };
        let current_backend = entry.current_backend();
        let delivered = deliver_requests(&entry, current_backend.as_ref()).await;
        services.observers.audit.submit_now(Record::StatementCancelled(Box::new(record::Cancelled {
            session: Arc::clone(&entry.facts),
            server: current_backend.as_ref().map(CurrentBackend::record),
            delivered,
            client,
        })));
    }
}

/// Sends cancel requests for the current statement until it ends; true if a request was delivered.
async fn deliver_requests(entry: &SessionEntry, current_backend: Option<&CurrentBackend>) -> bool {
    let asked = entry.activity();
    let mut delivered = false;
    for attempt in 0..current_backend.map_or(1, max_tries) {
        // The first request is always forwarded, because only the server knows the current state.
        if attempt > 0 {
            sleep(retry_pause(attempt)).await;
            let now = entry.activity();
            if !(now.busy && now.begun == asked.begun) {
                break;
            }
        }
        let cancel = match timeout(INTERNAL_STATEMENT_WAIT_LIMIT, entry.begin_cancel_of_statement()).await {
            Ok(Some(cancel)) => cancel,
            // The session waits for a backend; the request ends the wait.
            Ok(None) => {
                delivered = asked.busy;
                break;
            }
            Err(_) => {
                tracing::warn!(
                    session = entry.id,
                    "cancel request not forwarded: no response from the server"
                );
                break;
            }
        };
        match cancel.send().await {
            Ok(()) => delivered = true,
            Err(error) => {
                tracing::warn!(
                    session = entry.id,
                    error = %Chain(&error),
                    "cancel request could not be delivered"
                );
                break;
            }
        }
    }
    delivered
}

/// Maximum number of cancel requests for a statement on this backend.
pub(crate) fn max_tries(current_backend: &CurrentBackend) -> u32 {
    match current_backend.endpoint().endpoint().role {
        DeclaredRole::ReadPool => MAX_CANCEL_TRIES,
        DeclaredRole::Primary | DeclaredRole::Replica | DeclaredRole::Secondary => 1,
    }
}

/// Pause before the try `attempt`, counted from 0. Random, because requests in step with a round-robin balancer would
/// reach the same wrong node each time.
pub(crate) fn retry_pause(attempt: u32) -> Duration {
    let (first, last) = PAUSE_MS;
    let average = (first << attempt.saturating_sub(1).min(16)).min(last);
    Duration::from_millis(average / 2 + random_number() % average)
}
