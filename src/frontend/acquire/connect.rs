//! Provider of dedicated backends: each try is a connect.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};

use super::{
    AcquireRequest,
    provider::{AcquireContext, BackendProvider, TryProgress},
};
use crate::{
    backend::{ConnectError, EndpointHandle, RoleReport},
    pool::{Disposition, LeaseError, WaitTerms},
    probe::{Evidence, EvidenceSink},
    topology::NodeId,
};

/// Connects with a function of the caller. Like a pool's, a failed login that may be the endpoint's fault wakes the
/// probe.
pub(crate) struct ConnectProvider<C, F> {
    connect: C,
    evidence: EvidenceSink,
    attempt: Option<(EndpointHandle, Pin<Box<F>>)>,
}

/// A backend with its endpoint.
pub(crate) struct Connected<B> {
    pub(crate) backend: B,
    pub(crate) endpoint: EndpointHandle,
    /// Time that the client spent on hold.
    pub(crate) held: Duration,
}

// === impl ConnectProvider ===

impl<C, F> ConnectProvider<C, F> {
    pub(super) const fn new(connect: C, evidence: EvidenceSink) -> Self {
        Self { connect, evidence, attempt: None }
    }
}

impl<C, F, B> BackendProvider for ConnectProvider<C, F>
where
    C: Fn(EndpointHandle) -> F,
    F: Future<Output = Result<B, ConnectError>>,
    B: RoleReport,
{
    type Backend = Connected<B>;
    type Place = EndpointHandle;

    fn place(&self, _context: &AcquireContext, endpoint: &EndpointHandle) -> EndpointHandle {
        endpoint.clone()
    }

    fn endpoint(place: &EndpointHandle) -> &EndpointHandle {
        place
    }

    fn describe(place: &EndpointHandle) -> String {
        place.name().to_string()
    }

    fn is_trying(&self) -> bool {
        self.attempt.is_some()
    }

    fn begin(
        &mut self,
        place: &EndpointHandle,
        _request: &AcquireRequest,
        _terms: WaitTerms,
    ) -> Option<Self::Backend> {
        self.attempt = Some((place.clone(), Box::pin((self.connect)(place.clone()))));
        None
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<TryProgress<Self::Backend>> {
        let Some((_, attempt)) = &mut self.attempt else { return Poll::Pending };
        let connected = ready!(attempt.as_mut().poll(cx));
        let Some((endpoint, _)) = self.attempt.take() else { return Poll::Pending };
        Poll::Ready(match connected {
            Ok(backend) => TryProgress::Acquired(Connected { backend, endpoint, held: Duration::ZERO }),
            Err(error) => {
                if error.is_evidence() {
                    self.evidence.submit(endpoint.name(), Evidence::LoginFailed);
                }
                TryProgress::Failed(LeaseError::Down(Arc::new(error)))
            }
        })
    }

    fn leave(&mut self) {
        self.attempt = None;
    }

    fn has_endpoint(&self) -> bool {
        false
    }

    /// The client's own password may be in use: a refused password is not tried on the next server.
    fn is_final(error: &ConnectError) -> bool {
        error.refused().is_some_and(|refused| refused.is_authorization())
    }

    fn node(_backend: &Self::Backend) -> Option<NodeId> {
        None
    }

    fn in_recovery_at(connected: &Self::Backend) -> Option<SystemTime> {
        connected.backend.is_in_recovery().then(SystemTime::now)
    }

    fn put_back(_backend: Self::Backend, _disposition: Disposition) {}
}
