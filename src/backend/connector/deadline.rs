//! Time limit of an attempt, including the wait for a permit.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, timeout_at};
use tower::{Service, ServiceExt};

use super::Attempt;
use crate::backend::{ConnectError, ConnectFailure};

/// Ends an attempt that takes longer than `limit`, and reports the phase.
///
/// `tower::timeout` counts from the call, so the wait for readiness would be unlimited; the error also lacks the phase.
#[derive(Clone)]
pub(super) struct Deadline<S> {
    inner: S,
    limit: Duration,
}

// === impl Deadline ===

impl<S> Deadline<S> {
    pub(super) const fn new(inner: S, limit: Duration) -> Self {
        Self { inner, limit }
    }
}

impl<S> Service<Attempt> for Deadline<S>
where
    S: Service<Attempt, Error = ConnectError> + Clone + Send + 'static,
    S::Future: Send,
    S::Response: Send,
{
    type Response = S::Response;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut attempt: Attempt) -> Self::Future {
        let inner = self.inner.clone();
        let limit = self.limit;
        Box::pin(async move {
            let deadline = Instant::now() + limit;
            attempt.deadline = deadline;
            let progress = attempt.progress.clone();
            let endpoint = Arc::clone(&attempt.endpoint);
            timeout_at(deadline, inner.oneshot(attempt)).await.unwrap_or_else(|_elapsed| {
                Err(ConnectError::new(endpoint, ConnectFailure::Timeout { phase: progress.phase(), limit }))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tower::{limit::ConcurrencyLimit, service_fn};

    use super::*;
    use crate::{
        backend::{connector::ConnectRequest, phase::Stages},
        names::{ClusterName, EndpointName, UserName},
        telemetry::labels::ConnectPhase,
        topology::{DeclaredRole, Endpoint},
        wire::{ProtocolVersion, StartupMessage},
    };

    fn attempt() -> Attempt {
        let endpoint = Endpoint {
            name: EndpointName::new("primary").unwrap(),
            cluster: ClusterName::new("orders").unwrap(),
            region: None,
            role: DeclaredRole::Primary,
            address: "127.0.0.1:5432".parse().unwrap(),
        };
        let startup = StartupMessage::new(ProtocolVersion::V3_0);
        Attempt::new(
            Arc::new(endpoint),
            ConnectRequest { user: UserName::new("alice").unwrap(), startup, token_wait: None },
        )
    }

    /// Dials for ever.
    async fn dial_for_ever(attempt: Attempt) -> Result<(), ConnectError> {
        let mut stages = Stages::start(&attempt.progress, attempt.durations);
        stages.enter(ConnectPhase::Tcp);
        pending().await
    }

    fn stood_at(outcome: Result<(), ConnectError>) -> Option<ConnectPhase> {
        match outcome.unwrap_err().failure() {
            ConnectFailure::Timeout { phase, limit } => {
                assert_eq!(*limit, Duration::from_secs(5));
                *phase
            }
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_ends_in_time_and_says_where_it_stood() {
        let limited = Deadline::new(service_fn(dial_for_ever), Duration::from_secs(5));
        assert_eq!(stood_at(limited.oneshot(attempt()).await), Some(ConnectPhase::Tcp));
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_for_a_turn_counts_too() {
        let one_at_a_time = ConcurrencyLimit::new(service_fn(dial_for_ever), 1);
        let mut first = one_at_a_time.clone();
        let _under_way = first.ready().await.unwrap().call(attempt());
        let limited = Deadline::new(one_at_a_time, Duration::from_secs(5));
        assert_eq!(stood_at(limited.oneshot(attempt()).await), None);
    }
}
