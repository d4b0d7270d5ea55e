//! The stack of every login to an endpoint, for sessions and probes. From outside in: observe → get a token, and a
//! fresh token if a cached token was rejected → limit time → limit concurrency → dial and log in.

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

/// Request for a login.
#[derive(Debug, Clone)]
pub struct ConnectRequest {
    /// Database user, in place of the user in `startup`.
    pub user: UserName,
    /// Message to send: protocol version and parameters of the client.
    pub startup: StartupMessage,
    /// Time limit of the wait for a token; `None` waits for the end of the mint.
    pub token_wait: Option<Duration>,
}

/// An attempt to log in.
#[derive(Clone)]
pub(super) struct Attempt {
    endpoint: Arc<Endpoint>,
    request: ConnectRequest,
    credential: LoginCredential,
    deadline: Instant,
    progress: Progress,
    /// Durations of the phases so far.
    durations: Durations,
}

/// Credential for the server.
#[derive(Clone)]
enum LoginCredential {
    /// None.
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

/// Builds the stack over `dialer`, for `permits` concurrent logins.
pub(super) fn stack<D>(
    settings: &EndpointSettings,
    permits: usize,
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
            .concurrency_limit(permits)
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
