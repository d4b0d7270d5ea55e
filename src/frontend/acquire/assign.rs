//! Finds a session its backend: decide, connect, and decide again when that fails.

use std::{
    future::Future,
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use tokio::time::{Instant, timeout_at};

use crate::{
    backend::{ConnectError, ConnectFailure, EndpointHandle},
    blame::Blame,
    frontend::context::ClientServices,
    names::EndpointName,
    probe::Evidence,
    route::{NoEndpoint, Reason, RoutePolicy, decide},
    session::Refusal,
    telemetry::labels::ConnectPhase,
    topology::{DeclaredRole, Snapshot},
};

/// A backend, and how it was found.
pub(crate) struct Assigned<B> {
    pub(crate) backend: B,
    pub(crate) endpoint: EndpointHandle,
    pub(crate) reason: Reason,
}

/// Why there is none.
pub(crate) enum Unassigned {
    /// No endpoint may serve now.
    None(NoEndpoint),
    /// The last endpoint that was tried failed like this.
    Failed(EndpointHandle, ConnectError),
}

/// Decides and connects until one endpoint takes the session.
///
/// A failing endpoint is left for another one of the same route if there is one. While the writer is away that was there
/// before, as in a failover, the session waits up to `hold` for it.
///
/// Cancel safety: dropped half-way, the connection being made is closed.
///
/// # Errors
/// [`Unassigned`] with the last failure.
pub(crate) async fn assign<B, F: Future<Output = Result<B, ConnectError>>>(
    services: &ClientServices,
    policy: &RoutePolicy,
    hold: Duration,
    connect: impl Fn(EndpointHandle) -> F,
) -> Result<Assigned<B>, Unassigned> {
    let deadline = Instant::now() + hold;
    let mut tried: Vec<EndpointName> = Vec::new();
    let mut failure = None;
    loop {
        // Before the decision, so that no change between the two is missed.
        let mut changes = services.routing.topology.changes();
        let snapshot = services.routing.topology.load();
        let load = |name: &EndpointName| services.sessions.on_endpoint(name);
        let none = match decide(policy, &snapshot, load, random(), &tried) {
            Ok(decision) => {
                let Some(endpoint) = services.routing.endpoints.load().get(&decision.endpoint.name).cloned()
                else {
                    tried.push(decision.endpoint.name.clone());
                    continue;
                };
                match connect(endpoint.clone()).await {
                    Ok(backend) => return Ok(Assigned { backend, endpoint, reason: decision.reason }),
                    // A failed reader is followed by the next reader, and finally by the writer.
                    Err(error)
                        if is_retryable_elsewhere(&error)
                            || (decision.reason == Reason::ReadPool && !refuses_the_user(&error)) =>
                    {
                        if is_about_the_endpoint(&error) {
                            services.observers.evidence.submit(endpoint.name(), Evidence::LoginFailed);
                        }
                        tried.push(decision.endpoint.name.clone());
                        failure = Some((endpoint, error));
                        continue;
                    }
                    Err(error) => return Err(Unassigned::Failed(endpoint, error)),
                }
            }
            Err(none) => none,
        };
        if !matches!(policy, RoutePolicy::Primary | RoutePolicy::Split(_))
            || !writer_seen_up(&snapshot)
            || Instant::now() >= deadline
        {
            return Err(failure
                .map_or(Unassigned::None(none), |(endpoint, error)| Unassigned::Failed(endpoint, error)));
        }
        let again = deadline.min(Instant::now() + RETRY);
        timeout_at(again, changes.changed()).await.ok();
        tried.clear();
    }
}

/// Between two tries to reach a writer that is away, unless the topology changes first.
const RETRY: Duration = Duration::from_millis(500);

/// Whether an endpoint declared primary has worked in this process's life: otherwise its absence is a mistake to be told
/// at once, not a failover to be waited out.
pub(crate) fn writer_seen_up(snapshot: &Snapshot) -> bool {
    snapshot
        .endpoints
        .iter()
        .any(|status| status.endpoint.role == DeclaredRole::Primary && status.last_success.is_some())
}

/// Whether another endpoint, or the same a little later, may do better: the network failed, or the server said that it
/// is starting, stopping or full. Wrong passwords and missing databases are wrong everywhere.
pub(crate) fn is_retryable_elsewhere(error: &ConnectError) -> bool {
    match error.refused() {
        Some(refused) => refused.sqlstate().is_some_and(|state| matches!(state.class(), "53" | "57")),
        None => error.blame() == Blame::Endpoint,
    }
}

/// True if the server refused the user; a refused password is not tried on the next server.
fn refuses_the_user(error: &ConnectError) -> bool {
    error.refused().is_some_and(|refused| refused.is_authorization())
}

/// True if a failure is evidence about the endpoint or the path to the endpoint. A refused user or token is no
/// evidence.
pub(crate) fn is_about_the_endpoint(error: &ConnectError) -> bool {
    is_retryable_elsewhere(error) || matches!(error.failure(), ConnectFailure::Tls(_))
}

/// What the client is told when no backend was found, and who is to blame.
pub(crate) fn refusal(why: &Unassigned) -> Refusal {
    match why {
        Unassigned::None(none) => Refusal::no_endpoint(none.to_string()),
        Unassigned::Failed(endpoint, error) => {
            let what = trouble(error);
            Refusal::endpoint(error.blame(), format!("endpoint \"{}\" {what}", endpoint.name()))
        }
    }
}

/// What is wrong with an endpoint, in words that end a sentence and give nothing away.
pub(crate) fn trouble(error: &ConnectError) -> &'static str {
    match (error.failure(), error.phase()) {
        (ConnectFailure::Timeout { .. }, _) => "did not answer in time",
        (ConnectFailure::Broken { .. }, _) => "broke the connection off",
        (ConnectFailure::TlsRefused, _) => "does not offer TLS",
        (ConnectFailure::Tls(error), _) if !error.is_about_the_certificate() => {
            "could not be spoken to over TLS"
        }
        (_, ConnectPhase::Resolve | ConnectPhase::Tcp) => "cannot be reached",
        (_, ConnectPhase::Tls) => "could not be verified",
        (_, ConnectPhase::Token) => "could not be logged in to: no token",
        (_, ConnectPhase::Login) => "refused the login",
    }
}

/// Any number, for choosing between equals and for not acting in step.
pub(crate) fn random() -> u64 {
    // Nobody gains from foreseeing it: each new state has keys of its own, which cost no system call.
    RandomState::new().hash_one(())
}
