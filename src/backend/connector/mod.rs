//! The stack that every login to an endpoint goes through, sessions and probes alike: from outside in, observe → get hold
//! of a token, and of a fresh one when a kept one was refused → limit the time → limit how many at one time → dial and log
//! in.

mod deadline;
mod dialer;
mod observe;
mod prove;

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tower::{Service, ServiceBuilder, util::BoxCloneSyncService};

use super::{
    Backend, ConnectError, EndpointSettings,
    login_method::{LoginMethod, PasswordMethod},
    phase::{Durations, Progress},
};
use crate::{
    credentials::Token, names::UserName, telemetry::EndpointMetrics, topology::Endpoint, wire::StartupMessage,
};

use deadline::Deadline;
pub(super) use dialer::Dialer;
use observe::Observe;
use prove::Prove;

/// A login that somebody wants.
#[derive(Debug, Clone)]
pub struct ConnectRequest {
    /// The database user; it takes the place of the one in `startup`.
    pub user: UserName,
    /// What is sent: protocol version and parameters as the client gave them.
    pub startup: StartupMessage,
    /// Time limit of the wait for a token; `None` waits for the end of the mint.
    pub token_wait: Option<Duration>,
}

/// One try at it.
#[derive(Clone)]
pub(super) struct Attempt {
    endpoint: Arc<Endpoint>,
    request: ConnectRequest,
    credential: LoginCredential,
    deadline: Instant,
    progress: Progress,
    /// How long it took to get so far.
    durations: Durations,
}

/// What can be shown to the server.
#[derive(Clone)]
enum LoginCredential {
    /// Nothing.
    Nothing,
    /// A configured password.
    Password(Arc<PasswordMethod>),
    /// A token, to a server that was verified.
    Token {
        token: Token,
        /// Or to any.
        insecure_without_verification: bool,
    },
}

/// The whole stack.
pub(super) type Connector = BoxCloneSyncService<ConnectRequest, Backend, ConnectError>;

/// Builds the stack over `dialer`.
pub(super) fn stack<D>(
    settings: &EndpointSettings,
    metrics: Arc<EndpointMetrics>,
    login_method: Arc<LoginMethod>,
    dialer: D,
) -> Connector
where
    D: Service<Attempt, Response = Backend, Error = ConnectError> + Clone + Send + Sync + 'static,
    D::Future: Send,
{
    let endpoint = Arc::clone(&settings.endpoint);
    let limit = settings.connect_timeout;
    BoxCloneSyncService::new(
        ServiceBuilder::new()
            .layer_fn(move |inner| Observe::new(inner, Arc::clone(&metrics)))
            .map_request(move |request| Attempt::new(Arc::clone(&endpoint), request))
            .layer_fn(move |inner| Prove::new(inner, Arc::clone(&login_method)))
            .layer_fn(move |inner| Deadline::new(inner, limit))
            .concurrency_limit(settings.connect_concurrency.max(1))
            .service(dialer),
    )
}

// === impl Attempt ===

impl Attempt {
    fn new(endpoint: Arc<Endpoint>, request: ConnectRequest) -> Self {
        Self {
            endpoint,
            request,
            credential: LoginCredential::Nothing,
            deadline: Instant::now(),
            progress: Progress::default(),
            durations: Durations::default(),
        }
    }
}
