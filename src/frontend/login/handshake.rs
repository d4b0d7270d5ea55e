//! Handshake of one client: startup packet, authentication, and a backend, or a rejection with an ErrorResponse.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use tokio::time::{Instant as Deadline, timeout_at};

use super::{
    authenticate::{AuthenticateError, AuthenticatedClient, authenticate},
    backend_login::{BackendLogin, Failed, LoginResult},
    backend_source::SessionStart,
    greet::{GreetError, StartupRequest, read_first_packets},
    relayed_login,
    unauthenticated_client::UnauthenticatedClient,
};
use crate::{
    audit::{
        Record,
        record::{self, Route, SessionRejected, Sqlstate},
    },
    blame::Chain,
    client_error::{ClientError, ClientErrorReason},
    events::EventKind,
    frontend::{
        Auth, ListenerLimits,
        accept::admission::Permit,
        context::{ClientServices, ListenerContext, Observers},
        observe::{
            recorder::{Recorder, RecorderConfig},
            session_tracer::{self, Traced},
        },
        registry::{
            cancel,
            current_backend::CurrentBackend,
            entry::{SessionCommand, SessionEntry},
            sessions::Registered,
        },
        relay::{Relay, teardown::last_words},
    },
    handshake::Negotiation,
    names::{DatabaseName, UserName},
    session::{SessionOptions, SessionTag},
    telemetry::{
        ClientPresence,
        labels::{AuthFailure, RefusalReason},
    },
    tls::Stream,
    wire::{SqlState, StartupMessage},
};

/// Handshake of one client, up to its session, with the facts known so far.
pub(crate) struct ClientHandshake {
    /// `None` during and after a TLS handshake.
    pub(crate) client: Option<UnauthenticatedClient>,
    pub(crate) facts: Arc<record::Session>,
    arrived: Instant,
    deadline: Deadline,
    context: Arc<ListenerContext>,
    pub(crate) services: Arc<ClientServices>,
}

impl ClientHandshake {
    /// Begins the handshake; `None` if a required audit record cannot be written.
    pub(crate) async fn enter(
        stream: Stream,
        address: Option<SocketAddr>,
        context: Arc<ListenerContext>,
        services: Arc<ClientServices>,
    ) -> Option<Self> {
        let mut handshake = Self {
            client: Some(UnauthenticatedClient::new(stream)),
            facts: Arc::new(record::Session {
                id: services.sessions.next_id(),
                listener: context.settings.name.clone(),
                client: address,
                tls: None,
                user: None,
                database_user: None,
                database: None,
                method: None,
                application: None,
            }),
            arrived: Instant::now(),
            deadline: Deadline::now() + context.settings.limits.login_timeout,
            context,
            services,
        };
        if handshake
            .services
            .observers
            .audit
            .submit(Record::SessionOpened(Arc::clone(&handshake.facts)))
            .await
            .is_err()
        {
            // Without a record of the start, no record of the end is written.
            handshake.turn_down(&ClientError::audit()).await;
            return None;
        }
        Some(handshake)
    }

    /// First packets and TLS; cancel requests end here.
    pub(crate) async fn greet(&mut self) -> Option<(StartupMessage, Negotiation)> {
        match timeout_at(self.deadline, read_first_packets(&mut self.client, &self.context)).await {
            Err(_) => self.too_late().await,
            Ok(Err(error)) => self.turn_away(error).await,
            Ok(Ok(StartupRequest::Cancel(key))) => {
                Box::pin(cancel::forward_request(&key, self.facts.client, &self.context, &self.services))
                    .await;
                None
            }
            Ok(Ok(StartupRequest::Login(startup, negotiation))) => {
                let stream = &self.client.as_ref()?.stream;
                let tls = stream.facts();
                if let Some(facts) = &tls {
                    tracing::debug!(
                        session = self.facts.id,
                        version = facts.version,
                        cipher = facts.cipher,
                        resumed = facts.resumed,
                        server_name = facts.server_name,
                        "client TLS"
                    );
                }
                let required = self.context.tls.as_ref().is_some_and(crate::tls::ServerTls::required);
                if required && tls.is_none() && stream.tcp().is_some() {
                    self.refuse(ClientError::tls_required()).await;
                    return None;
                }
                match self.note_client(&startup, tls.map(|facts| facts.version)) {
                    Ok(()) => Some((startup, negotiation)),
                    Err(client_error) => {
                        self.refuse(client_error).await;
                        None
                    }
                }
            }
        }
    }

    /// Records the client's names from the startup packet.
    fn note_client(
        &mut self,
        startup: &StartupMessage,
        tls: Option<&'static str>,
    ) -> Result<(), ClientError> {
        let text = |name| {
            startup
                .text(name)
                .map_err(|_| ClientError::protocol(format!("the {name} in the startup packet is not UTF-8")))
        };
        let user = text("user")?.unwrap_or_default();
        let user = UserName::new(user).map_err(|error| ClientError::protocol(format!("user: {error}")))?;
        // As in PostgreSQL: the database defaults to the user name.
        let database = text("database")?.filter(|name| !name.is_empty()).unwrap_or(user.as_str());
        let database = DatabaseName::new(database)
            .map_err(|error| ClientError::protocol(format!("database: {error}")))?;
        let application = startup.get("application_name").map(|name| String::from_utf8_lossy(name).into());
        // Modified in place, unless the audit log holds the earlier facts.
        let facts = Arc::make_mut(&mut self.facts);
        facts.tls = tls;
        facts.user = Some(user);
        facts.database = Some(database);
        facts.method = Some(self.context.settings.auth.as_str());
        facts.application = application;
        Ok(())
    }

    /// True if clients are admitted without authentication.
    pub(crate) fn asks_for_no_proof(&self) -> bool {
        self.context.settings.auth == Auth::Trust
    }

    /// True if the client authenticates only by its own dialog with the server.
    pub(crate) fn is_relayed(&self) -> bool {
        self.context.settings.auth == Auth::Passthrough
    }

    /// Authentication by Gatekeeper, if the method requires one. Returns the login request.
    pub(crate) async fn authenticate_client(
        &mut self,
        user: &UserName,
        startup: StartupMessage,
        negotiation: Negotiation,
    ) -> Option<(StartupMessage, Negotiation, AuthenticatedClient)> {
        let mut first = Vec::new();
        negotiation.write(&mut first);
        let login = BackendLogin {
            startup,
            negotiation,
            user: user.clone(),
            tag: None,
            context: &self.context,
            services: &self.services,
        };
        let proof = timeout_at(self.deadline, authenticate(self.client.as_mut()?, &login, first)).await;
        let BackendLogin { startup, negotiation, .. } = login;
        let proved = match proof {
            Err(_) => return self.too_late().await,
            Ok(Err(AuthenticateError::Greet(error))) => return self.turn_away(error).await,
            Ok(Err(AuthenticateError::Unjudged(failed))) => return self.not_opened(failed).await,
            Ok(Err(AuthenticateError::Failed(why, client_error))) => {
                self.context.metrics.authentication_failed(why);
                self.refuse_because(client_error, Some(why.as_str())).await;
                return None;
            }
            Ok(Ok(proved)) => proved,
        };
        let authenticated = Record::SessionAuthenticated(Arc::clone(&self.facts));
        if self.services.observers.audit.submit(authenticated).await.is_err() {
            self.refuse(ClientError::audit()).await;
            return None;
        }
        Some((startup, negotiation, proved))
    }

    /// Authentication and a backend.
    pub(crate) async fn log_in(
        &mut self,
        startup: StartupMessage,
        negotiation: Negotiation,
        permit: &mut Permit,
    ) -> Option<LoginResult> {
        let user = self.facts.user.clone()?;
        let database = self.facts.database.clone()?;
        if let Err(client_error) = self.on_the_list(&user) {
            self.refuse(client_error).await;
            return None;
        }
        let login_result = if self.is_relayed() {
            let login = BackendLogin {
                startup,
                negotiation,
                user: user.clone(),
                tag: self.session_tag(),
                context: &self.context,
                services: &self.services,
            };
            Box::pin(relayed_login::log_in(login, self.client.as_mut()?, self.deadline)).await
        } else {
            let (startup, negotiation, proved) =
                self.authenticate_client(&user, startup, negotiation).await?;
            if let Err(client_error) = permit.claim(&user, &database, &self.context.settings) {
                self.refuse(client_error).await;
                return None;
            }
            let login = BackendLogin {
                startup,
                negotiation,
                user: user.clone(),
                tag: self.session_tag(),
                context: &self.context,
                services: &self.services,
            };
            login.ours(self.client.as_mut()?, proved, database.clone(), self.facts.id).await
        };
        match login_result {
            Ok(login_result) => {
                if self.context.settings.auth == Auth::Passthrough {
                    let authenticated = Record::SessionAuthenticated(Arc::clone(&self.facts));
                    if self.services.observers.audit.submit(authenticated).await.is_err() {
                        self.refuse(ClientError::audit()).await;
                        return None;
                    }
                    // After authentication only, so that strangers cannot exhaust a user's limit.
                    if let Err(client_error) = permit.claim(&user, &database, &self.context.settings) {
                        self.refuse(client_error).await;
                        return None;
                    }
                }
                Some(login_result)
            }
            Err(failed) => self.not_opened(failed).await,
        }
    }

    /// The session's id for `application_name`, if configured.
    fn session_tag(&self) -> Option<SessionTag> {
        let boot_id = self.services.observers.audit.boot_id();
        self.context.settings.tags_sessions.then(|| SessionTag::new(boot_id, self.facts.id))
    }

    /// Sends the error of a failed login to the client.
    async fn not_opened<T>(&mut self, failed: Failed) -> Option<T> {
        match failed {
            Failed::Late => self.too_late().await,
            Failed::Greet(error) => self.turn_away(error).await,
            Failed::Refused(client_error) => {
                self.reject_client(client_error).await;
                None
            }
            Failed::ByServer { words, sqlstate } => {
                if sqlstate.is_some_and(|state| state.class() == "28") {
                    self.context.metrics.authentication_failed(AuthFailure::Endpoint);
                } else {
                    self.context.metrics.record_rejection(RefusalReason::NoEndpoint);
                }
                if let Some(client) = &mut self.client {
                    client.say(&words).await.ok();
                }
                self.log_rejection(
                    ("endpoint", None),
                    sqlstate.as_ref().map(SqlState::as_str),
                    "the server refused the login",
                );
                self.rejected("endpoint", sqlstate.and_then(|state| Sqlstate::new(state.as_str())));
                None
            }
        }
    }

    /// Checks the access list for methods without authentication by Gatekeeper, which cannot fail otherwise.
    pub(crate) fn on_the_list(&self, user: &UserName) -> Result<(), ClientError> {
        let settings = &self.context.settings;
        match settings.auth {
            Auth::Passthrough | Auth::Trust if !settings.access.has_user(user) => {
                Err(ClientError::user_not_allowed(user.as_str()))
            }
            _ => Ok(()),
        }
    }

    /// Starts the session.
    pub(crate) async fn into_relay(
        self,
        login_result: LoginResult,
        presence: ClientPresence,
    ) -> Option<Relay> {
        let ClientHandshake { client, mut facts, arrived, context, services, .. } = self;
        let mut client = client?;
        // Known only now, because an endpoint may have one user for all clients.
        Arc::make_mut(&mut facts).database_user = Some(login_result.user.clone());
        let server = login_result.current_backend.as_ref().map(CurrentBackend::record);
        let owns_backend = matches!(login_result.current_backend, Some(CurrentBackend::Own(_)));
        let LoginResult { client_key, current_backend, reason, .. } = login_result;
        let entry = SessionEntry::new(Arc::clone(&facts), client_key, current_backend, reason);
        let entry = entry.with_client(&client.stream, context.settings.limits.hold);
        let registered = register_session(&services, entry, server.as_ref());
        // After the registration, because a client may cancel as soon as its key arrives.
        if let Err(error) = client.say(&login_result.greeting).await {
            tracing::debug!(session = facts.id, %error, "client gone");
            context.metrics.record_rejection(RefusalReason::ClientGone);
            let reason = RefusalReason::ClientGone.as_str();
            let rejected = SessionRejected { session: facts, reason, sqlstate: None };
            services.observers.audit.submit_now(Record::SessionRejected(Box::new(rejected)));
            return None;
        }
        let client_unread = client.unread().to_vec();
        // Pools report the events of their own backends.
        if owns_backend && let Some(server) = server.clone() {
            let backend = record::BackendRecord {
                server,
                session: Some(Arc::clone(&facts)),
                user: login_result.user.clone(),
                duration: login_result.took,
                reason: None,
            };
            services.observers.audit.submit_now(Record::BackendOpened(Box::new(backend)));
        }
        let recorder = Recorder::new(RecorderConfig {
            traced: Traced::connected(&services.observers.traces, &facts, arrived),
            facts,
            user: login_result.user,
            server,
            owns_backend,
            route: Route {
                decision: login_result.endpoint.endpoint().role.as_str(),
                reason: reason.as_str(),
            },
            path: context.path(&services.observers.metrics, &login_result.endpoint),
            presence,
            backend_presence: login_result.presence,
            observers: Arc::clone(&services.observers),
            routing: Arc::clone(&services.routing),
            arrived,
        });
        let options = session_options(&services.observers, &context.settings.limits);
        let SessionStart { backend, acquirer, session, unread } =
            login_result.backend.into_session(&context, registered.key.pid(), options);
        let client = (client.stream, client_unread);
        let relay = Relay::new(client, (backend, unread), acquirer, session, registered, recorder);
        Some(relay.with_timeouts(context.settings.limits.timeouts))
    }

    async fn too_late<T>(&mut self) -> Option<T> {
        self.refuse(ClientError::login_timeout()).await;
        None
    }

    async fn turn_away<T>(&mut self, error: GreetError) -> Option<T> {
        let reason = error.reason();
        match error {
            GreetError::Refused(client_error) => {
                self.refuse(client_error).await;
                return None;
            }
            GreetError::Gone(error) => tracing::debug!(session = self.facts.id, %error, "client gone"),
            GreetError::Foreign(error) => {
                tracing::debug!(session = self.facts.id, %error, "not a PostgreSQL client")
            }
            GreetError::Tls(error) => {
                let error = Chain(&error).to_string();
                self.services.observers.client_log.tls_handshake_failed(&self.facts, &error);
            }
        }
        self.context.metrics.record_rejection(reason);
        self.rejected(reason.as_str(), None);
        None
    }

    /// Rejects an authenticated client.
    pub(crate) async fn reject_client(&mut self, client_error: ClientError) {
        if client_error.reason == ClientErrorReason::UserNotListed {
            self.context.metrics.authentication_failed(AuthFailure::UserNotListed);
        }
        self.refuse(client_error).await;
    }

    /// Rejects the client; counts and records the rejection.
    pub(crate) async fn refuse(&mut self, client_error: ClientError) {
        self.refuse_because(client_error, None).await;
    }

    /// Rejects the client; `cause` is for the log alone.
    async fn refuse_because(&mut self, client_error: ClientError, cause: Option<&'static str>) {
        self.log_rejection(
            (client_error.reason.as_str(), cause),
            Some(client_error.sqlstate.as_str()),
            &client_error.message,
        );
        self.rejected(client_error.reason.as_str(), Sqlstate::new(client_error.sqlstate.as_str()));
        self.turn_down(&client_error).await;
    }

    /// Rejects the client and counts the rejection.
    async fn turn_down(&mut self, client_error: &ClientError) {
        if let Some(reason) = refusal_label(client_error.reason) {
            self.context.metrics.record_rejection(reason);
        }
        if let Some(client) = &mut self.client {
            last_words(&mut client.stream, client_error).await.ok();
        }
    }

    fn log_rejection(
        &self,
        because: (&'static str, Option<&'static str>),
        sqlstate: Option<&str>,
        message: &str,
    ) {
        self.services.observers.client_log.client_rejected(&self.facts, because, sqlstate, message);
    }

    fn rejected(&self, reason: &'static str, sqlstate: Option<Sqlstate>) {
        let listener = self.facts.listener.clone();
        self.services.observers.events.record_event(EventKind::Refused { listener, reason });
        let rejected = SessionRejected { session: Arc::clone(&self.facts), reason, sqlstate };
        self.services.observers.audit.submit_now(Record::SessionRejected(Box::new(rejected)));
    }
}

/// Registers a session. Ends the session if its endpoint was the writer at the login and is not any more: the sessions on
/// the endpoint may have been ended before the registration.
fn register_session(
    services: &ClientServices,
    entry: SessionEntry,
    server: Option<&record::ServerRecord>,
) -> Registered {
    let registered = services.sessions.register(entry);
    let Some(endpoint) = server.map(|server| &server.endpoint.name) else { return registered };
    let snapshot = services.routing.topology.load();
    let has_changed = snapshot.control.is_held || snapshot.control.fence_of(endpoint).is_some();
    if has_changed && registered.reason().is_for_writer() && snapshot.writer.as_ref() != Some(endpoint) {
        registered.send_command(SessionCommand::Expel);
    }
    registered
}

/// Options of a session: the text that audit log and traces need of a statement, and the listener's choice for a lost backend.
fn session_options(observers: &Observers, limits: &ListenerLimits) -> SessionOptions {
    let audited = observers.audit.wants_statements().then(|| observers.audit.text_limit());
    let text_limit = audited.max(observers.traces.is_on().then_some(session_tracer::MAX_TEXT_BYTES));
    SessionOptions { text_limit, on_backend_loss: limits.on_backend_loss }
}

/// The label a refusal before the session is counted under; failed authentication has a metric of its own.
fn refusal_label(reason: ClientErrorReason) -> Option<RefusalReason> {
    Some(match reason {
        ClientErrorReason::Protocol => RefusalReason::Protocol,
        ClientErrorReason::LoginTimeout => RefusalReason::LoginTimeout,
        ClientErrorReason::MaxClients => RefusalReason::MaxClients,
        ClientErrorReason::MaxClientsPerAddress => RefusalReason::MaxClientsPerAddress,
        ClientErrorReason::MaxClientsPerUser => RefusalReason::MaxClientsPerUser,
        ClientErrorReason::MaxClientsPerDatabase => RefusalReason::MaxClientsPerDatabase,
        ClientErrorReason::NotAllowed => RefusalReason::NotOnGuestList,
        ClientErrorReason::NoDescriptors => RefusalReason::NoDescriptors,
        ClientErrorReason::TlsRequired => RefusalReason::TlsRequired,
        ClientErrorReason::NoEndpoint | ClientErrorReason::Endpoint | ClientErrorReason::BackendLost => {
            RefusalReason::NoEndpoint
        }
        ClientErrorReason::Shutdown | ClientErrorReason::Killed | ClientErrorReason::Withdrawn => {
            RefusalReason::Draining
        }
        ClientErrorReason::Authentication | ClientErrorReason::UserNotListed => return None,
        ClientErrorReason::PoolTimeout | ClientErrorReason::PoolOverloaded => RefusalReason::NoEndpoint,
        ClientErrorReason::Audit
        | ClientErrorReason::SettingsLost
        | ClientErrorReason::Cancelled
        | ClientErrorReason::QueryTimeout
        | ClientErrorReason::IdleTransactionTimeout
        | ClientErrorReason::ClientIdleTimeout
        | ClientErrorReason::ClientWriteTimeout
        | ClientErrorReason::Internal => RefusalReason::Internal,
    })
}
