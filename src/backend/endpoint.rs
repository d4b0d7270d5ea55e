//! The way to one endpoint.

use std::{io, net::SocketAddr, sync::Arc};

use tokio::{
    io::AsyncWriteExt,
    sync::Semaphore,
    time::{Instant, timeout, timeout_at},
};
use tower::ServiceExt;

use super::{
    AcceptedPassword, Backend, Columns, ConnectError, ConnectFailure, ConnectRequest, Dialed,
    EndpointSettings, QueryError, Questions,
    accepted::AcceptedPasswords,
    ask, cancel,
    connector::{self, Connector, Dialer},
    dial::{self, Whereto},
    login::{Proof, log_in},
    login_method::{LoginMethod, PasswordMethod},
    phase::{Durations, Progress, Stages},
    query,
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
    topology::{Endpoint, NodeId, ObservedRole},
    wire::{BackendKey, DecodeError, StartupMessage, frontend},
};

/// The way to one endpoint. Clones share it: the limit on logins under way, the tokens, the certificates.
#[derive(Clone)]
pub struct EndpointHandle {
    shared: Arc<Shared>,
}

struct Shared {
    settings: Arc<EndpointSettings>,
    tls: ClientTls,
    login_method: Arc<LoginMethod>,
    accepted: Arc<AcceptedPasswords>,
    /// Turns for putting clients' passwords to the server: as many as for logins, and apart from them.
    judging: Semaphore,
    metrics: Arc<EndpointMetrics>,
    connector: Connector,
}

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

// === impl EndpointHandle ===

impl EndpointHandle {
    /// The way to the endpoint of `settings`. With a token login the keeper of its tokens comes along: it must be run for
    /// as long as the handle is in use, or logins wait in vain.
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
        let connector = connector::stack(
            &settings,
            Arc::clone(&metrics),
            Arc::clone(&login_method),
            Dialer::new(Arc::clone(&settings), tls.clone()),
        );
        let shared = Shared { settings, tls, login_method, accepted, judging, metrics, connector };
        Ok((Self { shared: Arc::new(shared) }, keeper))
    }

    /// The endpoint itself: name, role, cluster, address.
    #[must_use]
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.shared.settings.endpoint
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &EndpointName {
        &self.endpoint().name
    }

    /// Its settings.
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

    /// TLS towards it.
    #[must_use]
    pub fn tls(&self) -> &ClientTls {
        &self.shared.tls
    }

    /// The source of its tokens, if it is logged in to with tokens.
    #[must_use]
    pub fn tokens(&self) -> Option<&TokenSource> {
        self.shared.login_method.tokens()
    }

    /// Its metrics.
    #[must_use]
    pub fn metrics(&self) -> &Arc<EndpointMetrics> {
        &self.shared.metrics
    }

    /// Logs in. The connection belongs to the runtime that this is called on.
    ///
    /// It takes `connect_timeout` at most once there is a token, or twice that when a kept token had to be replaced.
    ///
    /// Cancel safety: dropping it closes the connection that was being made.
    ///
    /// # Errors
    /// [`ConnectError`] says where and why.
    pub async fn connect(&self, request: ConnectRequest) -> Result<Backend, ConnectError> {
        self.shared.connector.clone().oneshot(request).await
    }

    /// Asks a backend that has just logged in which node it leads to. A server that will not say is `None`.
    ///
    /// Cancel safety: the backend is of no further use.
    ///
    /// # Errors
    /// [`ConnectError`]: the connection broke over it, or the server is no standby, as after a promotion by mistake; then the
    /// backend is not to be given to readers.
    pub async fn identify_standby(&self, backend: &mut Backend) -> Result<Option<NodeId>, ConnectError> {
        if backend.observed_role() == Some(ObservedRole::Primary) {
            return Err(self.error(ConnectFailure::NoStandby));
        }
        // What it has said beyond its greeting is to be heard first, by somebody who understands it.
        if !backend.unread.is_empty() {
            return Ok(None);
        }
        let limit = self.settings().connect_timeout;
        let broken = |source| ConnectFailure::Broken { phase: ConnectPhase::Login, source };
        let failure = match timeout(limit, ask(&mut backend.stream, Questions::Node)).await {
            Ok(Ok(answer)) if answer.role == ObservedRole::Standby => return Ok(answer.node),
            Ok(Ok(_primary)) => ConnectFailure::NoStandby,
            Ok(Err(QueryError::Refused { .. })) => return Ok(None),
            Ok(Err(QueryError::Broken(source))) => broken(source),
            Ok(Err(error)) => broken(io::Error::new(io::ErrorKind::InvalidData, error)),
            Err(_elapsed) => ConnectFailure::Timeout { phase: Some(ConnectPhase::Login), limit },
        };
        Err(self.error(failure))
    }

    /// Reads how many connections the server has for ordinary users. `None` where the server will not say.
    ///
    /// Cancel safety: the backend is of no further use.
    ///
    /// # Errors
    /// [`ConnectError`]: the query broke the connection.
    pub async fn read_connection_limit(&self, backend: &mut Backend) -> Result<Option<usize>, ConnectError> {
        if !backend.unread.is_empty() {
            return Ok(None);
        }
        let limit = self.settings().connect_timeout;
        let asked = query(&mut backend.stream, CONNECTION_LIMIT_SQL, read_connection_limit);
        let broken = |source| ConnectFailure::Broken { phase: ConnectPhase::Login, source };
        let failure = match timeout(limit, asked).await {
            Ok(Ok(connections)) => return Ok(Some(connections)),
            Ok(Err(QueryError::Refused { .. } | QueryError::Nothing)) => return Ok(None),
            Ok(Err(QueryError::Broken(source))) => broken(source),
            Ok(Err(error)) => broken(io::Error::new(io::ErrorKind::InvalidData, error)),
            Err(_elapsed) => ConnectFailure::Timeout { phase: Some(ConnectPhase::Login), limit },
        };
        Err(self.error(failure))
    }

    /// A token as a login of `user` would show it; `None` where logins take none.
    ///
    /// Cancel safe: a mint that others wait for goes on.
    ///
    /// # Errors
    /// [`ConnectError`] in phase `token`: nobody may spend one for `user`, or there is none to be had.
    pub async fn token(&self, user: &UserName) -> Result<Option<Token>, ConnectError> {
        let LoginMethod::Token(login_method) = &*self.shared.login_method else { return Ok(None) };
        login_method.permit(user).map_err(|failure| self.error(failure))?;
        let token = login_method.source.token(user).await;
        token.map(Some).map_err(|error| self.error(ConnectFailure::Token(error)))
    }

    /// How the server wants the user in `startup` to prove who it is. It is shown nothing: a server that trusts that user
    /// lets it in for a moment.
    ///
    /// Cancel safety: as [`EndpointHandle::connect`].
    ///
    /// # Errors
    /// [`ConnectError`]; a server that refuses the user before it asks is one too.
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

    /// Has the server judge a client's own password: logs in as the user in `startup` with it, whatever the endpoint's own
    /// login is, and leaves again. Call [`EndpointHandle::keep_accepted`] to have it remembered.
    ///
    /// A server that lets this user in without asking proves nothing, and is an error. A database that does not exist is
    /// none: PostgreSQL looks for it only behind the proof.
    ///
    /// Cancel safety: as [`EndpointHandle::connect`].
    ///
    /// # Errors
    /// [`ConnectError`]; its [`ConnectError::refused`] is the server's verdict.
    pub async fn judge(
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
                // A server that is gone already needs none.
                dialed.stream.write_all(&farewell).await.ok();
                dialed.stream.flush().await.ok();
                logged_in.method
            }
            Ok(Err(ConnectFailure::Refused(refused))) if refused.is_unknown_database() => {
                refused.said.method().unwrap_or(Method::Trust)
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

    /// Remembers an accepted password, in place of an older one. An endpoint without a login of its own is logged in to
    /// with it from now on, until the server refuses it; it is kept as long as the handle lives.
    pub fn keep_accepted(&self, user: &UserName, password: &Arc<AcceptedPassword>) {
        self.shared.accepted.keep(user, Arc::clone(password));
    }

    /// Dials and negotiates TLS, nothing more: for dialogs that are the client's own.
    ///
    /// Cancel safety: as [`EndpointHandle::connect`].
    ///
    /// # Errors
    /// [`ConnectError`] says where and why.
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

    /// As [`EndpointHandle::dial`], without being counted as a session's connection: the probe counts its looks itself.
    pub(crate) async fn dial_for_probe(&self) -> Result<Dialed, ConnectError> {
        self.dial_to(Whereto::Endpoint).await
    }

    /// Whether both are the same way, not just ways to the same endpoint.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Has the statement cancelled that runs on the backend with this key, and waits until the server has acted on it.
    ///
    /// `peer` is the address that the backend was reached at: a name may stand for several servers. Behind a balancer
    /// the request can still end up at another node than the backend; then nothing is cancelled, and nobody can tell.
    ///
    /// Cancel safety: dropping it may or may not have cancelled the statement.
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
        let Shared { settings, tls, .. } = &*self.shared;
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
