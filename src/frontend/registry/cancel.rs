//! Cancel requests: found by our own key, forwarded to the server that runs the statement.
//!
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-CANCELING-REQUESTS>

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};

use super::{current_backend::CurrentBackend, entry::SessionEntry};
use crate::{
    audit::{Record, record},
    blame::Chain,
    frontend::{
        acquire::random,
        context::{ClientServices, ListenerContext},
    },
    telemetry::labels::Outcome,
    topology::DeclaredRole,
    wire::BackendKey,
};

/// Behind a read pool's address stand several nodes, and each new connection may reach another one than the backend's:
/// so many tries, as long as the same statement runs. One of twenty nodes is found in nine cases of ten.
const TRIES: u32 = 50;
/// Before the second try and before each from the fifth on, on average; in between it doubles. A node that was reached acts
/// at once, and of two nodes the second is tried before anybody has lost patience.
const PAUSE_MS: (u64, u64) = (10, 100);
/// A server answers what goes ahead of a statement within that, or does not listen to cancel requests either.
const SHELTER: Duration = Duration::from_secs(5);

/// Forwards a cancel request. There is no answer to the client, which only waits for its connection to close.
///
/// Cancel safety: dropped half-way, the statement may or may not have been cancelled.
pub(crate) async fn forward(
    key: &BackendKey,
    client: Option<SocketAddr>,
    context: &ListenerContext,
    services: &ClientServices,
) {
    if let Some(entry) = services.sessions.find_console_session(key) {
        context.metrics.cancel_request(Outcome::Ok);
        entry.cancel();
        return;
    }
    let found = services.sessions.find(key);
    context.metrics.cancel_request(if found.is_some() { Outcome::Ok } else { Outcome::Error });
    let Some(entry) = found else {
        // As PostgreSQL: whoever guesses keys learns nothing.
        tracing::debug!(listener = %context.settings.name, "cancel request with an unknown key");
        return;
    };
    let current_backend = entry.current_backend();
    let delivered = deliver(&entry, current_backend.as_ref()).await;
    services.observers.audit.submit_now(Record::StatementCancelled(Box::new(record::Cancelled {
        session: Arc::clone(&entry.facts),
        server: current_backend.as_ref().map(CurrentBackend::record),
        delivered,
        client,
    })));
}

/// Sends cancel requests for the statement that runs now, until it ends; true if at least one was delivered.
async fn deliver(entry: &SessionEntry, current_backend: Option<&CurrentBackend>) -> bool {
    let asked = entry.activity();
    let mut delivered = false;
    for attempt in 0..current_backend.map_or(1, tries) {
        // The first request is forwarded whatever we believe: the server knows better.
        if attempt > 0 {
            sleep(pause(attempt)).await;
            let now = entry.activity();
            if !(now.busy && now.begun == asked.begun) {
                break;
            }
        }
        let cancel = match timeout(SHELTER, entry.begin_cancel_of_statement()).await {
            Ok(Some(cancel)) => cancel,
            // A session without a backend waits for one: it does no longer.
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

/// How many cancel requests the statement of a session with this backend may need.
pub(crate) fn tries(current_backend: &CurrentBackend) -> u32 {
    match current_backend.endpoint().endpoint().role {
        DeclaredRole::ReadPool => TRIES,
        DeclaredRole::Primary | DeclaredRole::Replica | DeclaredRole::Secondary => 1,
    }
}

/// How long to wait before the try `attempt`, the second one being 1. Uneven, since requests in step with one another meet a
/// balancer that takes turns in step, too, and go the same wrong way each time.
pub(crate) fn pause(attempt: u32) -> Duration {
    let (first, last) = PAUSE_MS;
    let average = (first << attempt.saturating_sub(1).min(16)).min(last);
    Duration::from_millis(average / 2 + random() % average)
}
