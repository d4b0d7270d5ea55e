//! Logs a client in to an endpoint: with credentials of ours, or by relaying its own dialog.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant as Deadline, timeout_at},
};

use super::{
    application_name::application_name, asked::asked, authenticate::AuthenticatedClient,
    backend_source::BackendSource, greet::GreetError, startup_options::StartupOptions,
    unauthenticated_client::UnauthenticatedClient,
};
use crate::{
    backend::{ConnectError, ConnectFailure, ConnectRequest, Dialed, EndpointHandle, reported_role},
    blame::Chain,
    frontend::{
        Auth,
        acquire::{self, AcquireError, Connected, PooledAcquirer},
        context::{ClientServices, ListenerContext},
        registry::current_backend::{CurrentBackend, OwnBackend},
    },
    handshake::{Negotiation, Relay, RelayError, Relayed},
    names::{DatabaseName, UserName},
    pool::{Disposition, Lease, PoolMode, Welcome},
    probe::{Evidence, EvidenceSink},
    route::{Reason, RoutePolicy},
    session::Refusal,
    sql::ClassifierOptions,
    telemetry::BackendPresence,
    tls::Stream,
    topology::ObservedRole,
    wire::{
        BackendKey, ProtocolVersion, SqlState, StartupMessage, TransactionStatus, authentication, backend,
    },
};

/// One client's wish to log in.
pub(crate) struct Login<'a> {
    pub(crate) startup: StartupMessage,
    pub(crate) negotiation: Negotiation,
    pub(crate) user: UserName,
    pub(crate) context: &'a Arc<ListenerContext>,
    pub(crate) services: &'a Arc<ClientServices>,
}

/// Result of a login: a session whose client has not received AuthenticationOk yet.
pub(crate) struct LoginResult {
    pub(crate) backend: BackendSource,
    /// Counts the backend as open.
    pub(crate) presence: Option<BackendPresence>,
    /// What the client is to hear, up to ReadyForQuery, once its session can be found by its cancel key.
    pub(crate) greeting: Vec<u8>,
    pub(crate) endpoint: EndpointHandle,
    pub(crate) reason: Reason,
    /// The database user it is logged in as.
    pub(crate) user: UserName,
    pub(crate) client_key: BackendKey,
    /// The backend that serves it, if it has one of its own.
    pub(crate) current_backend: Option<CurrentBackend>,
    pub(crate) took: Duration,
}

/// Why there is none.
pub(crate) enum Failed {
    /// The listener's time limit for logins.
    Late,
    /// The client left or spoke nonsense.
    Greet(GreetError),
    /// To be told in our own name.
    Refused(Refusal),
    /// To be told in the server's own words, which are an ErrorResponse; empty if they were forwarded already.
    ByServer { words: Vec<u8>, sqlstate: Option<SqlState> },
}

impl Login<'_> {
    /// With the endpoint's own credentials, for a client that has proved who it is. `session` is the session's number.
    ///
    /// Cancel safety: dropped half-way, a backend that was leased is closed or goes back.
    pub(crate) async fn ours(
        self,
        client: &mut UnauthenticatedClient,
        proved: AuthenticatedClient,
        database: DatabaseName,
        session: u64,
    ) -> Result<LoginResult, Failed> {
        // What is seldom, or followed by a login at a server, does not make every client's future larger.
        match self.context.settings.pool.mode {
            // The pools' backends do not replicate.
            _ if self.replicates() => Box::pin(self.alone(client, proved)).await,
            // Where each session can have a login of its own, the server judges each client's password.
            PoolMode::Session if matches!(self.context.settings.auth, Auth::Password { .. }) => {
                Box::pin(self.alone(client, proved)).await
            }
            PoolMode::Session => Box::pin(self.leased(client, proved, database)).await,
            PoolMode::Transaction => self.shared(client, proved, database, session).await,
        }
    }

    fn replicates(&self) -> bool {
        let wish = self.startup.get("replication").unwrap_or_default();
        !matches!(wish, b"" | b"false" | b"off" | b"no" | b"0")
    }

    /// A session with a backend that belongs to no pool.
    async fn alone(
        self,
        client: &mut UnauthenticatedClient,
        proved: AuthenticatedClient,
    ) -> Result<LoginResult, Failed> {
        let began = Instant::now();
        let version = self.startup.version();
        let connect = |endpoint: EndpointHandle| {
            let request = ConnectRequest {
                user: endpoint.database_user(&self.user),
                startup: self.startup.clone(),
                token_wait: None,
            };
            async move { endpoint.connect(request).await }
        };
        let (Connected { backend, endpoint }, reason) = self.connect(client, connect).await?;
        report_role(&self.services.observers.evidence, &endpoint, backend.observed_role());
        let user = endpoint.database_user(&self.user);
        let client_key = client_key(backend.logged_in.key.as_ref(), version)?;
        let mut output = proved.output;
        authentication::write_ok(&mut output);
        output.extend_from_slice(backend.logged_in.parameters.octets());
        client_key.write_key_data(&mut output);
        output.extend_from_slice(&backend.logged_in.notices);
        backend::write_ready_for_query(&mut output, backend.logged_in.status);
        let own = OwnBackend {
            endpoint: endpoint.clone(),
            server_key: backend.logged_in.key.clone(),
            peer: backend.peer,
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

    /// A session that keeps the backend it leases for life.
    async fn leased(
        self,
        client: &mut UnauthenticatedClient,
        proved: AuthenticatedClient,
        database: DatabaseName,
    ) -> Result<LoginResult, Failed> {
        let began = Instant::now();
        let Self { mut startup, user, context, services, .. } = self;
        let version = startup.version();
        for own in ["user", "database", "replication"] {
            startup.remove(own);
        }
        let client_user = user.clone();
        let mut acquirer = PooledAcquirer::pooled(services, context, user, database, startup);
        let lease = lease(&mut acquirer, client, context).await?;
        let running = Arc::clone(lease.running());
        let client_key = client_key(running.server_key(), version)?;
        let mut output = proved.output;
        authentication::write_ok(&mut output);
        output.extend_from_slice(lease.login().parameters.octets());
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

    /// A session without a backend: the client is greeted with what the newest login of its pool was told.
    async fn shared(
        self,
        client: &mut UnauthenticatedClient,
        proved: AuthenticatedClient,
        database: DatabaseName,
        session: u64,
    ) -> Result<LoginResult, Failed> {
        let began = Instant::now();
        let Self { mut startup, user, context, services, .. } = self;
        let version = startup.version();
        let said = startup.get("application_name").map(<[u8]>::to_vec);
        let asked = asked(&startup);
        for own in ["user", "database", "application_name", "replication"] {
            startup.remove(own);
        }
        let startup_options = StartupOptions::read(&startup);
        let mut shared_startup = startup.clone();
        if startup_options.is_some() {
            StartupOptions::remove_from(&mut shared_startup);
        }
        let mut acquirer = PooledAcquirer::pooled(services, context, user, database.clone(), shared_startup);
        acquirer.may_move_apart(startup);
        let Ok(pool) = acquirer.pool() else {
            return Err(Failed::Refused(Refusal::no_endpoint("the endpoint went away")));
        };
        let settings = &context.settings;
        let functions = &settings.pool.pin_on_functions;
        let options = classifier_options(&settings.route);
        let user = &pool.target().user;
        let shared = services.shared_states.get(&settings.name, &database, user, functions, options.as_ref());
        shared.common.set_strict_isolation(settings.pool.strict_isolation);
        if !shared.common.knows_database() {
            Box::pin(shared.introduce(lease(&mut acquirer, client, context))).await?;
        }
        let mut welcome = welcome(&mut acquirer, client, context).await?;
        let mut said = said;
        let mut values = None;
        if let Some(StartupOptions { settings, application }) = startup_options {
            if !settings.is_empty() {
                let lease = lease(&mut acquirer, client, context);
                values = Box::pin(shared.startup_values(&settings, &welcome, lease)).await?;
            }
            if values.is_some() || settings.is_empty() {
                said = said.or(application);
            } else {
                acquirer.move_apart();
                welcome = self::welcome(&mut acquirer, client, context).await?;
            }
        }
        let Ok(pool) = acquirer.pool() else {
            return Err(Failed::Refused(Refusal::no_endpoint("the endpoint went away")));
        };
        let application = said.map(|said| application_name(&said, welcome.parameters.get("server_version")));
        let initial_status = shared.initial_status(&welcome, application.as_deref(), values.as_ref());
        let client_key = session_key(session, version)?;
        let mut output = proved.output;
        // AuthenticationOk, a key with a secret of up to 32 octets, and ReadyForQuery are shorter than this.
        output.reserve_exact(initial_status.octets.len() + welcome.notices.len() + 64);
        authentication::write_ok(&mut output);
        output.extend_from_slice(&initial_status.octets);
        client_key.write_key_data(&mut output);
        output.extend_from_slice(&welcome.notices);
        backend::write_ready_for_query(&mut output, TransactionStatus::Idle);
        let database_user = pool.target().user.clone();
        let common = Arc::clone(&shared.common);
        acquirer.share(shared);
        Ok(LoginResult {
            greeting: output,
            endpoint: pool.endpoint().clone(),
            reason: acquirer.reason(),
            user: database_user,
            client_key,
            current_backend: None,
            took: began.elapsed(),
            presence: None,
            backend: BackendSource::Shared { acquirer: Box::new(acquirer), common, initial_status, asked },
        })
    }

    /// By the client's own dialog with the server, until `deadline`.
    ///
    /// Cancel safety: dropped half-way, the connections break off.
    pub(crate) async fn relayed(
        self,
        client: &mut UnauthenticatedClient,
        deadline: Deadline,
    ) -> Result<LoginResult, Failed> {
        let began = Instant::now();
        let connect = |endpoint: EndpointHandle| async move { endpoint.dial().await };
        let (Connected { backend: dialed, endpoint }, reason) = self.connect(client, connect).await?;
        let Dialed { mut stream, peer, .. } = dialed;
        let mut entropy = [0; 32];
        aws_lc_rs::rand::fill(&mut entropy).map_err(|_| Failed::no_entropy())?;
        let relay = Relay::new(&self.startup, self.negotiation, entropy);
        let dialog = relay_login(relay, client, &mut stream);
        let (relayed, backend_unread, greeting) =
            timeout_at(deadline, dialog).await.map_err(|_| Failed::Late)??;
        match relayed {
            Relayed::Refused(refused) => {
                Err(Failed::ByServer { words: Vec::new(), sqlstate: refused.fault().sqlstate() })
            }
            Relayed::LoggedIn { version, method, parameters, server_key, client_key: given, status } => {
                tracing::debug!(endpoint = %endpoint.name(), ?method, "login relayed");
                report_role(&self.services.observers.evidence, &endpoint, reported_role(&parameters));
                Ok(LoginResult {
                    greeting,
                    presence: Some(endpoint.metrics().connected()),
                    backend: BackendSource::Own { stream, unread: backend_unread, status },
                    current_backend: Some(CurrentBackend::Own(Arc::new(OwnBackend {
                        endpoint: endpoint.clone(),
                        server_key,
                        peer,
                    }))),
                    endpoint,
                    reason,
                    user: self.user,
                    client_key: match given {
                        Some(key) => key,
                        None => client_key(None, version)?,
                    },
                    took: began.elapsed(),
                })
            }
        }
    }

    /// A dedicated backend, unless the client leaves while it waits for one.
    async fn connect<B, F>(
        &self,
        client: &mut UnauthenticatedClient,
        connect: impl Fn(EndpointHandle) -> F,
    ) -> Result<(Connected<B>, Reason), Failed>
    where
        F: Future<Output = Result<B, ConnectError>>,
    {
        tokio::select! {
            connected = acquire::connect(self.services, self.context, connect) => {
                connected.map_err(|error| Failed::without_backend(self.context, &error))
            }
            gone = client.gone() => Err(Failed::Greet(GreetError::Gone(gone))),
        }
    }
}

/// Reports the role that the server gave at the login, as evidence for the probe.
fn report_role(evidence: &EvidenceSink, endpoint: &EndpointHandle, role: Option<ObservedRole>) {
    if let Some(role) = role {
        evidence.submit(endpoint.name(), Evidence::RoleReported(role));
    }
}

/// Moves the dialog's messages both ways until it ends. Back come what was read from the server behind it, and what a client
/// that is let in has not been told yet.
async fn relay_login(
    mut relay: Relay,
    client: &mut UnauthenticatedClient,
    server: &mut Stream,
) -> Result<(Relayed, Vec<u8>, Vec<u8>), Failed> {
    let gone = |error| Failed::Greet(GreetError::Gone(error));
    let mut unread: Vec<u8> = Vec::with_capacity(1024);
    loop {
        let taken = relay.on_server(&unread).map_err(dialog_broke)?;
        unread.drain(..taken.octets);
        let count = relay.on_client(client.unread()).map_err(dialog_broke)?;
        client.take(count);
        let to_client = relay.poll_client_output().unwrap_or_default();
        if let Some(ready @ Relayed::LoggedIn { .. }) = taken.outcome {
            return Ok((ready, unread, to_client));
        }
        client.say(&to_client).await.map_err(gone)?;
        if let Some(octets) = relay.poll_server_output() {
            server.write_all(&octets).await.map_err(server_gone)?;
            server.flush().await.map_err(server_gone)?;
        }
        if let Some(refused) = taken.outcome {
            return Ok((refused, unread, Vec::new()));
        }
        tokio::select! {
            read = server.read_buf(&mut unread) => if read.map_err(server_gone)? == 0 {
                return Err(server_gone(io::ErrorKind::UnexpectedEof.into()));
            },
            read = client.read_more(), if relay.listens_to_client() => read.map_err(gone)?,
        }
    }
}

fn server_gone(error: io::Error) -> Failed {
    tracing::warn!(%error, "the server went away during a relayed login");
    Failed::Refused(Refusal::backend_lost(false))
}

fn dialog_broke(error: RelayError) -> Failed {
    match error {
        RelayError::Client(violation) => Failed::Refused(Refusal::protocol(violation.to_string())),
        RelayError::Server(_) | RelayError::OnlyChannelBinding => {
            tracing::warn!(error = %Chain(&error), "a relayed login failed");
            Failed::Refused(Refusal::endpoint(crate::blame::Blame::Endpoint, error.to_string()))
        }
        RelayError::ChannelBinding => Failed::Refused(Refusal::channel_binding(error.to_string())),
    }
}

/// What the client cancels with: the server's process id, so that it means the same to people, and a secret of ours.
fn client_key(server: Option<&BackendKey>, version: ProtocolVersion) -> Result<BackendKey, Failed> {
    let mut secret = [0; 32];
    aws_lc_rs::rand::fill(&mut secret).map_err(|_| Failed::no_entropy())?;
    let pid = server.map_or(0, BackendKey::pid);
    BackendKey::new(pid, &secret[..version.secret_octets()]).map_err(|_| Failed::no_entropy())
}

/// Returns the `Welcome` of the newest login in the client's pool.
async fn welcome(
    acquirer: &mut PooledAcquirer,
    client: &mut UnauthenticatedClient,
    context: &ListenerContext,
) -> Result<Arc<Welcome>, Failed> {
    if let Some(welcome) = acquirer.pool().ok().and_then(|pool| pool.welcome()) {
        return Ok(welcome);
    }
    let lease = Box::pin(lease(acquirer, client, context)).await?;
    let welcome = Arc::clone(lease.login());
    lease.release(Disposition::Clean);
    Ok(welcome)
}

/// A leased backend, unless the client leaves while it waits for one.
async fn lease(
    acquirer: &mut PooledAcquirer,
    client: &mut UnauthenticatedClient,
    context: &ListenerContext,
) -> Result<Lease, Failed> {
    tokio::select! {
        leased = acquirer.lease() => leased.map_err(|error| Failed::without_backend(context, &error)),
        gone = client.gone() => Err(Failed::Greet(GreetError::Gone(gone))),
    }
}

/// How the statements of a listener that splits are judged.
pub(crate) fn classifier_options(route: &RoutePolicy) -> Option<ClassifierOptions> {
    let RoutePolicy::Split(split) = route else { return None };
    let primary_only =
        split.primary_only.iter().map(|relation| (relation.schema.clone(), relation.name.clone()));
    Some(ClassifierOptions { primary_only: primary_only.collect(), ..ClassifierOptions::default() })
}

/// Process ids of sessions that have no process of their own lie beyond those of any server's: whoever takes one for a
/// backend's, in `pg_terminate_backend` say, hits nobody.
const FIRST_PID: u64 = 1 << 30;

/// What a client cancels with that shares backends: a number of its own, for no process is its.
fn session_key(session: u64, version: ProtocolVersion) -> Result<BackendKey, Failed> {
    let mut secret = [0; 32];
    aws_lc_rs::rand::fill(&mut secret).map_err(|_| Failed::no_entropy())?;
    let pid = i32::try_from(FIRST_PID + session % FIRST_PID).unwrap_or(i32::MAX);
    BackendKey::new(pid, &secret[..version.secret_octets()]).map_err(|_| Failed::no_entropy())
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
                "no backend for a client"
            );
            if let Some(refused) = error.refused() {
                let (words, sqlstate) = (refused.said.octets().to_vec(), refused.sqlstate());
                return Self::ByServer { words, sqlstate };
            }
            if let ConnectFailure::UnlistedUser { user } = error.failure() {
                return Self::Refused(Refusal::user_not_listed(user.as_str()));
            }
        }
        Self::Refused(failure.refusal())
    }

    fn no_entropy() -> Self {
        Self::Refused(Refusal::internal("no random numbers to be had"))
    }
}
