//! Provides a backend of a chosen endpoint: by a connection of its own, or by a lease from a pool.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use super::AcquireRequest;
use crate::{
    backend::{ConnectError, EndpointHandle},
    frontend::{
        context::{ListenerContext, Observers, Routing},
        registry::sessions::SessionRegistry,
    },
    pool::{Disposition, LeaseError, WaitTerms},
    topology::NodeId,
};

/// Parts of the process that an acquisition uses.
pub(crate) struct AcquireContext {
    pub(crate) routing: Arc<Routing>,
    pub(crate) observers: Arc<Observers>,
    pub(crate) sessions: Arc<SessionRegistry>,
    pub(crate) listener: Arc<ListenerContext>,
}

/// Progress of a try.
pub(crate) enum TryProgress<B> {
    /// A backend; the try is over.
    Acquired(B),
    /// The try takes long and goes on.
    Notice(Duration),
    /// The endpoint is absent, for the given reason, and the try goes on.
    Held(LeaseError),
    /// No backend; the try is over.
    Failed(LeaseError),
}

/// Provides backends of one kind. One try at a time; dropping the provider ends the try.
pub(crate) trait BackendProvider {
    type Backend;
    /// The provider's handle of one endpoint.
    type Place;

    /// The handle of `endpoint`.
    fn place(&self, context: &AcquireContext, endpoint: &EndpointHandle) -> Self::Place;

    fn endpoint(place: &Self::Place) -> &EndpointHandle;

    /// The place in an error message.
    fn describe(place: &Self::Place) -> String;

    /// True during a try.
    fn is_trying(&self) -> bool;

    /// Begins a try at `place`. Returns a backend that is available at once; no try has begun then.
    fn begin(
        &mut self,
        place: &Self::Place,
        request: &AcquireRequest,
        terms: WaitTerms,
    ) -> Option<Self::Backend>;

    /// Progress of the try. Pending forever without a try.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<TryProgress<Self::Backend>>;

    /// Ends the try.
    fn leave(&mut self);

    /// True during a try if the endpoint is known to be present, so that a backend may still become free.
    fn has_endpoint(&self) -> bool;

    /// True if `error` concerns the client itself, so that no other endpoint is tried.
    fn is_final(error: &ConnectError) -> bool;

    /// The node behind the backend, if known.
    fn node(backend: &Self::Backend) -> Option<NodeId>;

    /// Time of the login, if the server reported recovery then.
    fn in_recovery_at(backend: &Self::Backend) -> Option<SystemTime>;

    /// Returns an unused backend.
    fn put_back(backend: Self::Backend, disposition: Disposition);
}
