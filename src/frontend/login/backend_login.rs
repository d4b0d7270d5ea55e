//! Logs a client in to an endpoint: with the endpoint's configured credentials, or by relaying the client's own dialog.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    application_name::application_name, authenticate::AuthenticatedClient, backend_source::BackendSource,
    greet::GreetError, pooled_login, startup_options::StartupOptions,
    unauthenticated_client::UnauthenticatedClient,
};
use crate::{
    backend::{ConnectError, ConnectFailure, ConnectRequest, EndpointHandle, RoleReport},
    blame::Chain,
    client_error::ClientError,
    frontend::{
        Auth,
        acquire::{self, AcquireError, Connected, PooledAcquirer, catalog},
        context::{ClientServices, ListenerContext},
        registry::current_backend::{CurrentBackend, OwnBackend},
    },
    handshake::Negotiation,
    names::{DatabaseName, UserName},
    pool::{Lease, PoolMode},
    probe::{Evidence, EvidenceSink},
    route::{RoutePolicy, RouteReason},
    session::SessionTag,
    sql::ClassifierOptions,
    telemetry::BackendPresence,
    topology::ObservedRole,
    wire::{
        BackendKey, ProtocolVersion, SqlState, StartupMessage, TransactionStatus, authentication, backend,
    },
};

/// A login request of one client.
pub(crate) struct BackendLogin<'a> {
    pub(crate) startup: StartupMessage,
    pub(crate) negotiation: Negotiation,
    pub(crate) user: UserName,
    /// Identifies the session in `application_name`.
    pub(crate) tag: Option<SessionTag>,
    pub(crate) context: &'a Arc<ListenerContext>,
    pub(crate) services: &'a Arc<ClientServices>,
}

/// Result of a login: a session whose client has not received AuthenticationOk yet.
pub(crate) struct LoginResult {
    pub(crate) backend: BackendSource,
    /// Counts the backend as open.
    pub(crate) presence: Option<BackendPresence>,
    /// Messages to the client up to ReadyForQuery, to be sent once the session is registered under its cancel key.
    pub(crate) greeting: Vec<u8>,
    pub(crate) endpoint: EndpointHandle,
    pub(crate) reason: RouteReason,
    /// Database user of the backend.
    pub(crate) user: UserName,
    pub(crate) client_key: BackendKey,
    /// The backend of a dedicated session.
    pub(crate) current_backend: Option<CurrentBackend>,
    pub(crate) took: Duration,
}

/// Reason for a failed login.
pub(crate) enum Failed {
    /// The listener's login timeout.
    Late,
    /// The client left or violated the protocol.
    Greet(GreetError),
    /// Gatekeeper's error for the client.
    Refused(ClientError),
    /// The server's ErrorResponse for the client; empty if already forwarded.
    ByServer { words: Vec<u8>, sqlstate: Option<SqlState> },
}

impl BackendLogin<'_> {
    /// Logs an authenticated client in with the endpoint's configured credentials. `session` is the session's number.
    ///
    /// Cancel safety: if dropped, a leased backend is closed or returned.
    pub(crate) async fn ours(
        self,
        client: &mut UnauthenticatedClient,
        proved: AuthenticatedClient,
        database: DatabaseName,
        session: u64,
    ) -> Result<LoginResult, Failed> {
        // Boxed, so that rare or long logins do not enlarge the future of every client.
        match self.context.settings.pool.mode {
            // Pooled backends do not support replication.
            _ if self.is_replication() => Box::pin(self.alone(client, proved)).await,
            // With a login for each session, the server verifies each client's password.
            PoolMode::Session if matches!(self.context.settings.auth, Auth::Password { .. }) => {
                Box::pin(self.alone(client, proved)).await
            }
            PoolMode::Session => Box::pin(self.leased(client, proved, database)).await,
            PoolMode::Transaction => pooled_login::log_in(self, client, proved, database, session).await,
        }
    }

    fn is_replication(&self) -> bool {
        let wish = self.startup.get("replication").unwrap_or_default();
        !matches!(wish, b"" | b"false" | b"off" | b"no" | b"0")
    }

    /// Puts the tag into `application_name` of the startup message. Not for replication: a primary identifies its
    /// standbys by that name.
    pub(super) fn tag_startup(&mut self) {
        if let Some(tag) = self.tag.as_ref().filter(|_| !self.is_replication()) {
            let name = tagged_name(tag, requested_application_name(&self.startup).as_deref(), None);
            self.startup.set("application_name", name);
        }
    }

    /// A session with a dedicated backend outside of the pools.
    async fn alone(
        mut self,
        client: &mut UnauthenticatedClient,
        proved: AuthenticatedClient,
    ) -> Result<LoginResult, Failed> {
        let began = Instant::now();
        self.tag_startup();
        let version = self.startup.version();
        let connect = |endpoint: EndpointHandle| {
            let request = ConnectRequest {
                user: endpoint.database_user(&self.user),
                startup: self.startup.clone(),
                token_wait: None,
            };
            async move { endpoint.connect(request).await }
        };
        let (Connected { backend, endpoint, .. }, reason) = self.connect(client, connect).await?;
        report_role(&self.services.observers.evidence, &endpoint, backend.observed_role());
        let user = endpoint.database_user(&self.user);
        let client_key = client_key(backend.logged_in.key.as_ref(), version)?;
        let mut output = proved.output;
        authentication::write_ok(&mut output);
        output.extend_from_slice(backend.logged_in.parameters.as_bytes());
        client_key.write_key_data(&mut output);
        output.extend_from_slice(&backend.logged_in.notices);
        backend::write_ready_for_query(&mut output, backend.logged_in.status);
        let own = OwnBackend {
            endpoint: endpoint.clone(),
            server_key: backend.logged_in.key.clone(),
            peer: backend.peer,
            local: backend.stream.tcp().and_then(|tcp| tcp.local_addr().ok()),
        };
        Ok(LoginResult {
            greeting: output,
            endpoint,
            reason,
            user,
            client_key,
            current_backend: Some(CurrentBackend::Own(Arc::new(own))),
            took: began.elapsed(),
            presence: backend.presence,
            backend: BackendSource::Own {
                stream: backend.stream,
                unread: backend.unread,
                status: backend.logged_in.status,
            },
        })
    }

    /// A session that keeps its leased backend until the end.
    async fn leased(
        self,
        client: &mut UnauthenticatedClient,
        proved: AuthenticatedClient,
        database: DatabaseName,
    ) -> Result<LoginResult, Failed> {
        let began = Instant::now();
        let Self { mut startup, user, tag, context, services, .. } = self;
        let version = startup.version();
        let application = requested_application_name(&startup);
        for own in ["user", "database", "replication"] {
            startup.remove(own);
        }
        if tag.is_some() {
            // Set below, so that sessions with other names share the backends.
            startup.remove("application_name");
        }
        let client_user = user.clone();
        let mut acquirer = PooledAcquirer::pooled(services, context, user, database, startup);
        let mut lease = lease_while_connected(&mut acquirer, client, context).await?;
        let mut reports = Vec::new();
        if let Some(tag) = tag {
            let version = lease.login().parameters.get("server_version");
            let name = tagged_name(&tag, application.as_deref(), version);
            let set = catalog::set_application_name(&mut lease, &name, &mut reports);
            set.await.map_err(|_| Failed::Refused(ClientError::backend_lost(false)))?;
        }
        let running = Arc::clone(lease.running());
        let client_key = client_key(running.server_key(), version)?;
        let mut output = proved.output;
        authentication::write_ok(&mut output);
        output.extend_from_slice(lease.login().parameters.as_bytes());
        output.extend_from_slice(&reports);
        client_key.write_key_data(&mut output);
        output.extend_from_slice(&lease.login().notices);
        backend::write_ready_for_query(&mut output, TransactionStatus::Idle);
        Ok(LoginResult {
            greeting: output,
            endpoint: running.endpoint().clone(),
            reason: acquirer.reason(),
            user: running.endpoint().database_user(&client_user),
            client_key,
            current_backend: Some(CurrentBackend::Leased(running)),
            took: began.elapsed(),
            presence: None,
            backend: BackendSource::Leased(lease),
        })
    }

    /// A dedicated backend, unless the client leaves during the wait.
    pub(super) async fn connect<B, F>(
        &self,
        client: &mut UnauthenticatedClient,
        connect: impl Fn(EndpointHandle) -> F,
    ) -> Result<(Connected<B>, RouteReason), Failed>
    where
        F: Future<Output = Result<B, ConnectError>>,
        B: RoleReport,
    {
        tokio::select! {
            connected = acquire::acquire_dedicated(self.services, self.context, connect) => {
                connected.map_err(|error| Failed::without_backend(self.context, &error))
            }
            gone = client.gone() => Err(Failed::Greet(GreetError::Gone(gone))),
        }
    }
}

/// `application_name` in a startup message: by name, or within `options`.
fn requested_application_name(startup: &StartupMessage) -> Option<Vec<u8>> {
    let by_name = startup.get("application_name").map(<[u8]>::to_vec);
    by_name.or_else(|| StartupOptions::read(startup)?.application)
}

/// `application_name` with the session's id, as a server of this version stores it.
pub(super) fn tagged_name(
    tag: &SessionTag,
    requested: Option<&[u8]>,
    server_version: Option<&[u8]>,
) -> Vec<u8> {
    tag.apply_to(&application_name(requested.unwrap_or_default(), server_version))
}

/// Reports the role that the server gave at the login, as evidence for the probe.
pub(super) fn report_role(evidence: &EvidenceSink, endpoint: &EndpointHandle, role: Option<ObservedRole>) {
    if let Some(role) = role {
        evidence.submit(endpoint.name(), Evidence::RoleReported(role));
    }
}

/// Cancel key for the client: the server's process id, which is meaningful in `pg_stat_activity`, and a secret of
/// Gatekeeper.
pub(super) fn client_key(
    server: Option<&BackendKey>,
    version: ProtocolVersion,
) -> Result<BackendKey, Failed> {
    let mut secret = [0; 32];
    aws_lc_rs::rand::fill(&mut secret).map_err(|_| Failed::no_entropy())?;
    let pid = server.map_or(0, BackendKey::pid);
    BackendKey::new(pid, &secret[..version.secret_bytes()]).map_err(|_| Failed::no_entropy())
}

/// A leased backend, unless the client leaves during the wait.
pub(super) async fn lease_while_connected(
    acquirer: &mut PooledAcquirer,
    client: &mut UnauthenticatedClient,
    context: &ListenerContext,
) -> Result<Lease, Failed> {
    tokio::select! {
        leased = acquirer.lease() => leased.map_err(|error| Failed::without_backend(context, &error)),
        gone = client.gone() => Err(Failed::Greet(GreetError::Gone(gone))),
    }
}

/// Classifier options of a split route.
pub(crate) fn classifier_options(route: &RoutePolicy) -> Option<ClassifierOptions> {
    let RoutePolicy::Split(split) = route else { return None };
    let primary_only =
        split.primary_only.iter().map(|relation| (relation.schema.clone(), relation.name.clone()));
    Some(ClassifierOptions { primary_only: primary_only.collect(), ..ClassifierOptions::default() })
}

// === impl Failed ===

impl Failed {
    /// Logs the failed acquisition, and chooses the ErrorResponse: the server's own, if the server refused the login.
    pub(crate) fn without_backend(context: &ListenerContext, failure: &AcquireError) -> Self {
        if let AcquireError::Down(endpoint, error) = failure {
            tracing::warn!(
                listener = %context.settings.name,
                %endpoint,
                error = %Chain(&**error),
                remedy = error.remedy().as_deref(),
                "no backend connection for a client"
            );
            if let Some(refused) = error.refused() {
                let (words, sqlstate) = (refused.response.as_bytes().to_vec(), refused.sqlstate());
                return Self::ByServer { words, sqlstate };
            }
            if let ConnectFailure::UnlistedUser { user } = error.failure() {
                return Self::Refused(ClientError::user_not_listed(user.as_str()));
            }
        }
        Self::Refused(failure.client_error())
    }

    pub(super) fn no_entropy() -> Self {
        Self::Refused(ClientError::internal("the system provides no random numbers"))
    }
}
