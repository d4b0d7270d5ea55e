//! Handle of an endpoint.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{
    io::AsyncWriteExt,
    sync::Semaphore,
    time::{Instant, timeout, timeout_at},
};
use tower::ServiceExt;

use super::{
    AcceptedPassword, Backend, Columns, ConnectError, ConnectFailure, ConnectRequest, Dialed,
    EndpointSettings, QueryError, Questions, ServerProcesses,
    accepted::AcceptedPasswords,
    cancel,
    connector::{self, Connector, Dialer},
    dial::{self, Whereto},
    login::{Proof, log_in},
    login_method::{LoginMethod, PasswordMethod},
    phase::{Durations, Progress, Stages},
    query, query_state,
};
use crate::{
    credentials::{self, Secret, Token, TokenKeeper, TokenSource},
    handshake::{LoginError, Method},
    names::{EndpointName, UserName},
    telemetry::{
        EndpointMetrics,
        labels::{ConnectPhase, Outcome},
    },
    tls::{ClientTls, TlsFileError},
    topology::{Endpoint, NodeId, ObservedRole, ProbeAnswer},
    wire::{BackendKey, DecodeError, StartupMessage, frontend},
};

/// Handle of an endpoint. Clones share the limit on logins, the tokens and the certificates.
#[derive(Clone)]
pub struct EndpointHandle {
    shared: Arc<SharedEndpoint>,
}

struct SharedEndpoint {
    settings: Arc<EndpointSettings>,
    tls: ClientTls,
    login_method: Arc<LoginMethod>,
    accepted: Arc<AcceptedPasswords>,
    /// Permits for checks of clients' passwords: as many as for logins, and separate.
    judging: Semaphore,
    metrics: Arc<EndpointMetrics>,
    /// The endpoint refuses startup parameters of Gatekeeper.
    refuses_parameters: AtomicBool,
    /// `server_version` at the last login.
    server_version: Mutex<Option<Box<str>>>,
    connector: Connector,
    /// With permits of its own: logins of sessions to a silent server must not delay the probe.
    probe_connector: Connector,
}

/// Concurrent logins of probes: one a second, for as long as a probe may last.
const MAX_PROBE_LOGINS: usize = 16;

/// Reads a server's connection limit, and the connections reserved for superusers and for
/// `pg_use_reserved_connections`. Names are qualified: a client's `search_path` is in force already.
/// <https://www.postgresql.org/docs/current/runtime-config-connection.html>
const CONNECTION_LIMIT_SQL: &str = "SELECT pg_catalog.current_setting('max_connections'), \
     pg_catalog.current_setting('superuser_reserved_connections'), \
     pg_catalog.current_setting('reserved_connections', true)";

/// Decodes the connections for ordinary users from a row of [`CONNECTION_LIMIT_SQL`].
fn read_connection_limit(row: &[u8]) -> Result<usize, DecodeError> {
    let mut columns = Columns::of(row)?;
    let mut number = || -> Result<usize, DecodeError> {
        let text = columns.next()?.filter(|text| !text.is_empty());
        text.map_or(Ok(0), |text| text.parse().map_err(|_| DecodeError::Invalid("number of connections")))
    };
    let (all, superusers, reserved) = (number()?, number()?, number()?);
    Ok(all.saturating_sub(superusers).saturating_sub(reserved))
}

// === impl SharedEndpoint ===

impl SharedEndpoint {
    /// Notes the version that the server has reported.
    fn note_login(&self, backend: &Backend) {
        let Some(reported) = backend.logged_in.parameters.get("server_version") else { return };
        let reported = &reported[..reported.len().min(MAX_VERSION_BYTES)];
        let mut version = self.server_version.lock().unwrap_or_else(PoisonError::into_inner);
        if version.as_deref().map(str::as_bytes) != Some(reported) {
            *version = Some(String::from_utf8_lossy(reported).into());
        }
    }
}

/// Maximum length of a version that is kept.
const MAX_VERSION_BYTES: usize = 64;

// === impl EndpointHandle ===

impl EndpointHandle {
    /// Creates a handle for `settings`. With a token login the token minter is returned, too, and must run as long as
    /// the handle is in use; otherwise logins wait forever.
    ///
    /// # Errors
    /// [`TlsFileError`]: a certificate or key file that cannot be used.
    pub fn new(
        settings: EndpointSettings,
        metrics: Arc<EndpointMetrics>,
    ) -> Result<(Self, Option<TokenKeeper>), TlsFileError> {
        Self::replacing(None, settings, metrics)
    }

    /// As [`EndpointHandle::new`], as a replacement of `before`: keeps the tokens of `before` if minted in an equal
    /// way.
    ///
    /// # Errors
    /// As [`EndpointHandle::new`].
    pub fn replacing(
        before: Option<&Self>,
        settings: EndpointSettings,
        metrics: Arc<EndpointMetrics>,
    ) -> Result<(Self, Option<TokenKeeper>), TlsFileError> {
        let tls = ClientTls::new(&settings.tls, &settings.endpoint.address)?;
        let accepted = Arc::default();
        let same_tokens = before.filter(|before| before.settings().mints_same_tokens(&settings));
        let (login_method, keeper) =
            LoginMethod::new(&settings, &accepted, same_tokens.and_then(Self::tokens));
        let judging = Semaphore::new(settings.connect_concurrency.max(1));
        let (settings, login_method) = (Arc::new(settings), Arc::new(login_method));
        let stack = |permits| {
            connector::stack(
                &settings,
                permits,
                Arc::clone(&metrics),
                Arc::clone(&login_method),
                Dialer::new(Arc::clone(&settings), tls.clone()),
            )
        };
        let connector = stack(settings.connect_concurrency.max(1));
        let probe_connector = stack(MAX_PROBE_LOGINS);
        let shared = SharedEndpoint {
            settings,
            tls,
            login_method,
            accepted,
            judging,
            metrics,
            refuses_parameters: AtomicBool::new(false),
            server_version: Mutex::default(),
            connector,
            probe_connector,
        };
        Ok((Self { shared: Arc::new(shared) }, keeper))
    }

    /// The endpoint: name, role, cluster, address.
    #[must_use]
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.shared.settings.endpoint
    }

    /// Name of the endpoint.
    #[must_use]
    pub fn name(&self) -> &EndpointName {
        &self.endpoint().name
    }

    /// Settings of the endpoint.
    #[must_use]
    pub fn settings(&self) -> &EndpointSettings {
        &self.shared.settings
    }

    /// Database user of a client: the client's own user, unless the endpoint has one user for all clients.
    #[must_use]
    pub fn database_user(&self, client: &UserName) -> UserName {
        match &self.settings().login {
            credentials::Login::Password(login) => login.user.clone().unwrap_or_else(|| client.clone()),
            credentials::Login::Passthrough | credentials::Login::Token(_) => client.clone(),
        }
    }

    /// TLS towards the endpoint.
    #[must_use]
    pub fn tls(&self) -> &ClientTls {
        &self.shared.tls
    }

    /// Token source, for a token login.
    #[must_use]
    pub fn tokens(&self) -> Option<&TokenSource> {
        self.shared.login_method.tokens()
    }

    /// Version of the server, as reported at the last login.
    #[must_use]
    pub fn server_version(&self) -> Option<Box<str>> {
        self.shared.server_version.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Metrics of the endpoint.
    #[must_use]
    pub fn metrics(&self) -> &Arc<EndpointMetrics> {
        &self.shared.metrics
    }

    /// Logs in. The connection belongs to the current runtime.
    ///
    /// With a token at hand the call takes at most `connect_timeout`, or twice as long if a cached token had to be
    /// replaced.
    ///
    /// Cancel safety: a dropped call closes the new connection.
    ///
    /// # Errors
    /// [`ConnectError`] with place and cause.
    pub async fn connect(&self, request: ConnectRequest) -> Result<Backend, ConnectError> {
        let backend = self.shared.connector.clone().oneshot(request).await?;
        self.shared.note_login(&backend);
        Ok(backend)
    }

    /// True after [`Self::note_refused_parameters`].
    pub(crate) fn refuses_parameters(&self) -> bool {
        self.shared.refuses_parameters.load(Ordering::Relaxed)
    }

    /// The endpoint refuses startup parameters of Gatekeeper, and admits logins without them: a pooler, for instance.
    pub(crate) fn note_refused_parameters(&self) {
        self.shared.refuses_parameters.store(true, Ordering::Relaxed);
    }

    /// As [`EndpointHandle::connect`], with permits apart from those of sessions and pools.
    ///
    /// Cancel safety: as [`EndpointHandle::connect`].
    ///
    /// # Errors
    /// As [`EndpointHandle::connect`].
    pub(crate) async fn connect_for_probe(&self, request: ConnectRequest) -> Result<Backend, ConnectError> {
        let backend = self.shared.probe_connector.clone().oneshot(request).await?;
        self.shared.note_login(&backend);
        Ok(backend)
    }

    /// Queries the node identity of a new backend. `None` without permission.
    ///
    /// Cancel safety: the backend is of no further use.
    ///
    /// # Errors
    /// [`ConnectError`] if the connection broke, or if the server is not a standby, as after an accidental promotion:
    /// such a backend must not serve reads.
    pub async fn identify_standby(&self, backend: &mut Backend) -> Result<Option<NodeId>, ConnectError> {
        if backend.observed_role() == Some(ObservedRole::Primary) {
            return Err(self.error(ConnectFailure::NoStandby));
        }
        // Unread messages behind ReadyForQuery belong to the session.
        if !backend.unread.is_empty() {
            return Ok(None);
        }
        let limit = self.settings().connect_timeout;
        let broken = |source| ConnectFailure::Broken { phase: ConnectPhase::Login, source };
        let failure = match timeout(limit, query_state(&mut backend.stream, Questions::Node)).await {
            Ok(Ok(answer)) if answer.role == ObservedRole::Standby => return Ok(answer.node),
            Ok(Ok(_primary)) => ConnectFailure::NoStandby,
            Ok(Err(QueryError::Refused { .. })) => return Ok(None),
            Ok(Err(QueryError::Broken(source))) => broken(source),
            Ok(Err(error)) => broken(io::Error::new(io::ErrorKind::InvalidData, error)),
            Err(_elapsed) => ConnectFailure::Timeout { phase: Some(ConnectPhase::Login), limit },
        };
        Err(self.error(failure))
    }

    /// Reads the state of a new backend's server. `None` without permission.
    ///
    /// Cancel safety: the backend is of no further use.
    ///
    /// # Errors
    /// [`ConnectError`]: the query broke the connection.
    pub async fn read_state(&self, backend: &mut Backend) -> Result<Option<ProbeAnswer>, ConnectError> {
        let state = query_state(&mut backend.stream, Questions::All);
        self.query_before_session(&backend.unread, state).await
    }

    /// Reads the number of connections for ordinary users. `None` without permission.
    ///
    /// Cancel safety: the backend is of no further use.
    ///
    /// # Errors
    /// [`ConnectError`]: the query broke the connection.
    pub async fn read_connection_limit(&self, backend: &mut Backend) -> Result<Option<usize>, ConnectError> {
        let asked = query(&mut backend.stream, CONNECTION_LIMIT_SQL, read_connection_limit);
        self.query_before_session(&backend.unread, asked).await
    }

    /// Asks the server of a new backend for the processes `pids`. `None` without permission, or from a pooler that gives ids of
    /// its own.
    ///
    /// Cancel safety: the backend is of no further use.
    ///
    /// # Errors
    /// [`ConnectError`]: the query broke the connection.
    pub async fn find_processes(
        &self,
        backend: &mut Backend,
        pids: &[i32],
    ) -> Result<Option<ServerProcesses>, ConnectError> {
        let sql = ServerProcesses::sql(pids);
        let asked = query(&mut backend.stream, &sql, ServerProcesses::read);
        let processes = self.query_before_session(&backend.unread, asked).await?;
        let own_pid = backend.logged_in.key.as_ref().map(BackendKey::pid);
        Ok(processes.filter(|processes| own_pid.is_some_and(|pid| processes.is_answer_of(pid))))
    }

    /// Answer to a query on a new backend; `None` if the server refuses the query. The `unread` messages behind ReadyForQuery
    /// belong to the session: with any, nothing is asked.
    async fn query_before_session<T>(
        &self,
        unread: &[u8],
        asked: impl Future<Output = Result<T, QueryError>>,
    ) -> Result<Option<T>, ConnectError> {
        if !unread.is_empty() {
            return Ok(None);
        }
        let limit = self.settings().connect_timeout;
        let broken = |source| ConnectFailure::Broken { phase: ConnectPhase::Login, source };
        let failure = match timeout(limit, asked).await {
            Ok(Ok(answer)) => return Ok(Some(answer)),
            Ok(Err(QueryError::Refused { .. } | QueryError::Nothing)) => return Ok(None),
            Ok(Err(QueryError::Broken(source))) => broken(source),
            Ok(Err(error)) => broken(io::Error::new(io::ErrorKind::InvalidData, error)),
            Err(_elapsed) => ConnectFailure::Timeout { phase: Some(ConnectPhase::Login), limit },
        };
        Err(self.error(failure))
    }

    /// Token for a login of `user`; `None` for logins without token.
    ///
    /// Cancel safe: a mint that others wait for goes on.
    ///
    /// # Errors
    /// [`ConnectError`] in phase `token`: `user` is not listed, or no token is available.
    pub async fn token(&self, user: &UserName) -> Result<Option<Token>, ConnectError> {
        let LoginMethod::Token(login_method) = &*self.shared.login_method else { return Ok(None) };
        login_method.check_permitted(user).map_err(|failure| self.error(failure))?;
        let token = login_method.source.token(user).await;
        token.map(Some).map_err(|error| self.error(ConnectFailure::Token(error)))
    }

    /// Authentication method of the server for the user in `startup`. Sends no credentials: a server that trusts the
    /// user completes the login, which is dropped.
    ///
    /// Cancel safety: as [`EndpointHandle::connect`].
    ///
    /// # Errors
    /// [`ConnectError`], also for a server that rejects the user before a request.
    pub async fn method(&self, startup: &StartupMessage) -> Result<Method, ConnectError> {
        let mut dialed = self.dial_to(Whereto::Endpoint).await?;
        let limit = self.settings().connect_timeout;
        let failure = match timeout(limit, log_in(&mut dialed.stream, startup, &Proof::Nothing)).await {
            Ok(Ok((logged_in, _unread))) => return Ok(logged_in.method),
            Ok(Err(ConnectFailure::Login(
                LoginError::NoCredential(method) | LoginError::Unanswerable(method),
            ))) => return Ok(method),
            Ok(Err(failure)) => failure,
            Err(_elapsed) => ConnectFailure::Timeout { phase: Some(ConnectPhase::Login), limit },
        };
        Err(self.error(failure))
    }

    /// Verifies a client's password with the server: logs in as the user in `startup` with the password, for any login
    /// of the endpoint, and closes the connection. [`EndpointHandle::keep_accepted`] remembers the password.
    ///
    /// A server that requests no password proves nothing, which is an error. A missing database is not: PostgreSQL
    /// checks the database after authentication.
    ///
    /// Cancel safety: as [`EndpointHandle::connect`].
    ///
    /// # Errors
    /// [`ConnectError`]; [`ConnectError::refused`] has the server's rejection.
    pub async fn verify_password(
        &self,
        startup: &StartupMessage,
        password: Secret,
    ) -> Result<AcceptedPassword, ConnectError> {
        let _turn = self.shared.judging.acquire().await;
        let mut dialed = self.dial_to(Whereto::Endpoint).await?;
        let login_method = PasswordMethod::of_client(password);
        let limit = self.settings().connect_timeout;
        let method = match timeout(
            limit,
            log_in(&mut dialed.stream, startup, &Proof::Password(&login_method)),
        )
        .await
        {
            Ok(Ok((logged_in, _unread))) => {
                let mut farewell = Vec::new();
                frontend::write_terminate(&mut farewell);
                // A server that is gone needs no Terminate.
                dialed.stream.write_all(&farewell).await.ok();
                dialed.stream.flush().await.ok();
                logged_in.method
            }
            Ok(Err(ConnectFailure::Refused(refused))) if refused.is_unknown_database() => {
                refused.response.method().unwrap_or(Method::Trust)
            }
            Ok(Err(failure)) => return Err(self.error(failure)),
            Err(_elapsed) => {
                return Err(self.error(ConnectFailure::Timeout { phase: Some(ConnectPhase::Login), limit }));
            }
        };
        match method {
            Method::Trust => Err(self.error(ConnectFailure::NeverAsked)),
            _ => Ok(AcceptedPassword::new(login_method)),
        }
    }

    /// Returns the last accepted password of `user`, unless [`EndpointHandle::judge_passwords_again`] was called since.
    #[must_use]
    pub fn accepted(&self, user: &UserName) -> Option<Arc<AcceptedPassword>> {
        self.shared.accepted.get_current(user)
    }

    /// Makes the server verify clients' accepted passwords again: passwords may have been changed.
    pub fn judge_passwords_again(&self) {
        self.shared.accepted.judge_again();
    }

    /// Remembers an accepted password in place of an older password. An endpoint without a login of its own uses the
    /// password for logins until the server rejects the password, or the handle is dropped.
    pub fn keep_accepted(&self, user: &UserName, password: &Arc<AcceptedPassword>) {
        self.shared.accepted.keep(user, Arc::clone(password));
    }

    /// Dials and negotiates TLS only: for authentication dialogs of clients.
    ///
    /// Cancel safety: as [`EndpointHandle::connect`].
    ///
    /// # Errors
    /// [`ConnectError`] with place and cause.
    pub async fn dial(&self) -> Result<Dialed, ConnectError> {
        let metrics = &self.shared.metrics;
        match self.dial_to(Whereto::Endpoint).await {
            Ok(mut dialed) => {
                for (phase, took) in dialed.durations.iter() {
                    metrics.record_phase(phase, took);
                }
                dialed.presence = Some(metrics.connected());
                Ok(dialed)
            }
            Err(error) => {
                metrics.connect_failed(error.phase());
                Err(error)
            }
        }
    }

    /// Like [`EndpointHandle::dial`], without a count in the session metrics: the probe has separate metrics.
    pub(crate) async fn dial_for_probe(&self) -> Result<Dialed, ConnectError> {
        self.dial_to(Whereto::Endpoint).await
    }

    /// True for clones of the same handle; false for different handles of an endpoint.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Cancels the current statement of the backend with the key, and waits until the server has processed the request.
    ///
    /// `peer` is the address of the backend's connection: a name may stand for several servers. Behind a balancer the
    /// request may reach another node; then nothing is canceled, without an error.
    ///
    /// Cancel safety: after a drop the statement may or may not be canceled.
    ///
    /// # Errors
    /// [`ConnectError`] when the request could not be delivered.
    pub async fn cancel(&self, key: &BackendKey, peer: Option<SocketAddr>) -> Result<(), ConnectError> {
        let sent = async {
            let dialed = self.dial_to(peer.map_or(Whereto::Endpoint, Whereto::Exactly)).await?;
            cancel::send(dialed.stream, key).await.map_err(|failure| self.error(failure))
        };
        let sent = sent.await;
        self.shared.metrics.record_cancel(if sent.is_ok() { Outcome::Ok } else { Outcome::Error });
        sent
    }

    async fn dial_to(&self, whereto: Whereto) -> Result<Dialed, ConnectError> {
        let SharedEndpoint { settings, tls, .. } = &*self.shared;
        let limit = settings.connect_timeout;
        let deadline = Instant::now() + limit;
        let progress = Progress::default();
        let mut stages = Stages::start(&progress, Durations::default());
        match timeout_at(deadline, dial::dial(settings, tls, whereto, deadline, &mut stages)).await {
            Ok(Ok(connected)) => Ok(Dialed {
                stream: connected.stream,
                verified: connected.verified,
                peer: connected.peer,
                durations: stages.end(),
                presence: None,
            }),
            Ok(Err(failure)) => Err(self.error(failure)),
            Err(_elapsed) => Err(self.error(ConnectFailure::Timeout { phase: progress.phase(), limit })),
        }
    }

    fn error(&self, failure: ConnectFailure) -> ConnectError {
        ConnectError::new(Arc::clone(self.endpoint()), failure)
    }
}
