//! Login of a pooled session: the client is greeted with the messages of the newest login of its pool.

use std::{sync::Arc, time::Instant};

use super::{
    application_name::application_name,
    authenticate::AuthenticatedClient,
    backend_login::{
        BackendLogin, Failed, LoginResult, classifier_options, lease_while_connected, tagged_name,
    },
    backend_source::BackendSource,
    greet::GreetError,
    initial_parameter_status::InitialParameterStatus,
    route_options::read_route_options,
    startup_options::StartupOptions,
    startup_values::StartupValues,
    unauthenticated_client::UnauthenticatedClient,
};
use crate::{
    frontend::{
        acquire::{PooledAcquirer, shared_state::SharedState},
        context::{ClientServices, ListenerContext},
    },
    names::DatabaseName,
    pool::{Disposition, Pool, StartupResponse},
    session::SessionTag,
    wire::{BackendKey, ProtocolVersion, StartupMessage, TransactionStatus, authentication, backend},
};

/// Startup parameters that are no part of a pooled backend's login.
const OWN_PARAMETERS: [&str; 4] = ["user", "database", "application_name", "replication"];

/// Greeting of a pooled session.
struct Greeting {
    startup_response: Arc<StartupResponse>,
    /// `application_name` of the client, as sent.
    application: Option<Vec<u8>>,
    /// Startup settings as interpreted by the server.
    values: Option<Arc<StartupValues>>,
}

/// Logs a client in to a session without a backend. `session` is the session's number.
///
/// Cancel safety: dropped half-way, a leased backend is closed or goes back.
pub(super) async fn log_in(
    login: BackendLogin<'_>,
    client: &mut UnauthenticatedClient,
    proved: AuthenticatedClient,
    database: DatabaseName,
    session: u64,
) -> Result<LoginResult, Failed> {
    let began = Instant::now();
    let BackendLogin { mut startup, user, tag, context, services, .. } = login;
    let version = startup.version();
    let application = startup.get("application_name").map(<[u8]>::to_vec);
    let route_options = read_route_options(&startup);
    for own in OWN_PARAMETERS {
        startup.remove(own);
    }
    let startup_options = StartupOptions::read(&startup);
    let shared_startup = without_options(&startup, startup_options.as_ref());
    let mut acquirer = PooledAcquirer::pooled(services, context, user, database.clone(), shared_startup);
    acquirer.may_move_apart(startup);
    let pool = Box::pin(pool_while_connected(&mut acquirer, client, context)).await?;
    let shared = shared_state(services, context, &database, &pool);
    if !shared.database_state.knows_database() {
        Box::pin(shared.introduce(lease_while_connected(&mut acquirer, client, context))).await?;
    }
    let greeting =
        build_greeting(&shared, &mut acquirer, client, context, (startup_options, application)).await?;
    let pool = Box::pin(pool_while_connected(&mut acquirer, client, context)).await?;
    let initial_status = greeting.initial_status(&shared, tag.as_ref());
    let startup_response = greeting.startup_response;
    let client_key = session_key(session, version)?;
    let database = Arc::clone(&shared.database_state);
    acquirer.share(shared);
    Ok(LoginResult {
        greeting: write_greeting(proved.output, &initial_status, &client_key, &startup_response),
        endpoint: pool.endpoint().clone(),
        reason: acquirer.reason(),
        user: pool.target().user.clone(),
        client_key,
        current_backend: None,
        took: began.elapsed(),
        presence: None,
        backend: BackendSource::Shared {
            acquirer: Box::new(acquirer),
            database,
            initial_status,
            tag,
            route_options,
        },
    })
}

impl Greeting {
    /// ParameterStatus messages for the client. Only this client has a name with the session's `tag`.
    fn initial_status(&self, shared: &SharedState, tag: Option<&SessionTag>) -> Arc<InitialParameterStatus> {
        let Self { startup_response, application, values } = self;
        let version = startup_response.parameters.get("server_version");
        match tag {
            Some(tag) => {
                let name = tagged_name(tag, application.as_deref(), version);
                Arc::new(InitialParameterStatus::new(startup_response, Some(&name), values.as_ref()))
            }
            None => {
                let name = application.as_ref().map(|requested| application_name(requested, version));
                shared.initial_status(startup_response, name.as_deref(), values.as_ref())
            }
        }
    }
}

/// Startup message of backends shared by sessions with and without startup options.
fn without_options(startup: &StartupMessage, options: Option<&StartupOptions>) -> StartupMessage {
    let mut shared = startup.clone();
    if options.is_some() {
        StartupOptions::remove_from(&mut shared);
    }
    shared
}

/// The pool of a first decision, unless the client leaves during the wait for a writer.
async fn pool_while_connected(
    acquirer: &mut PooledAcquirer,
    client: &mut UnauthenticatedClient,
    context: &ListenerContext,
) -> Result<Arc<Pool>, Failed> {
    tokio::select! {
        biased;
        pool = acquirer.wait_for_pool() => pool.map_err(|error| Failed::without_backend(context, &error)),
        gone = client.gone() => Err(Failed::Greet(GreetError::Gone(gone))),
    }
}

/// State shared by the sessions of the listener, the database and the pool's user.
fn shared_state(
    services: &ClientServices,
    context: &ListenerContext,
    database: &DatabaseName,
    pool: &Pool,
) -> Arc<SharedState> {
    let settings = &context.settings;
    let options = classifier_options(&settings.route);
    let (user, functions) = (&pool.target().user, &settings.pool.pin_on_functions);
    let shared = services.shared_states.get(&settings.name, database, user, functions, options.as_ref());
    shared.database_state.set_strict_isolation(settings.pool.strict_isolation);
    shared
}

/// Parts of the greeting. Startup options that only a login can set get backends of their own.
async fn build_greeting(
    shared: &Arc<SharedState>,
    acquirer: &mut PooledAcquirer,
    client: &mut UnauthenticatedClient,
    context: &ListenerContext,
    (options, mut application): (Option<StartupOptions>, Option<Vec<u8>>),
) -> Result<Greeting, Failed> {
    let mut startup_response = newest_startup_response(acquirer, client, context).await?;
    let mut values = None;
    if let Some(StartupOptions { settings, application: of_options }) = options {
        if !settings.is_empty() {
            let lease = lease_while_connected(acquirer, client, context);
            values = Box::pin(shared.startup_values(&settings, &startup_response, lease)).await?;
        }
        if values.is_some() || settings.is_empty() {
            application = application.or(of_options);
        } else {
            acquirer.move_apart();
            startup_response = newest_startup_response(acquirer, client, context).await?;
        }
    }
    Ok(Greeting { startup_response, application, values })
}

/// Messages up to ReadyForQuery, behind `output`.
fn write_greeting(
    mut output: Vec<u8>,
    initial_status: &InitialParameterStatus,
    client_key: &BackendKey,
    startup_response: &StartupResponse,
) -> Vec<u8> {
    // Room for AuthenticationOk, a key with a secret of up to 32 bytes, and ReadyForQuery.
    output.reserve_exact(initial_status.bytes.len() + startup_response.notices.len() + 64);
    authentication::write_ok(&mut output);
    output.extend_from_slice(&initial_status.bytes);
    client_key.write_key_data(&mut output);
    output.extend_from_slice(&startup_response.notices);
    backend::write_ready_for_query(&mut output, TransactionStatus::Idle);
    output
}

/// Returns the `StartupResponse` of the newest login in the client's pool.
async fn newest_startup_response(
    acquirer: &mut PooledAcquirer,
    client: &mut UnauthenticatedClient,
    context: &ListenerContext,
) -> Result<Arc<StartupResponse>, Failed> {
    if let Some(startup_response) = acquirer.pool().ok().and_then(|pool| pool.startup_response()) {
        return Ok(startup_response);
    }
    let lease = Box::pin(lease_while_connected(acquirer, client, context)).await?;
    let startup_response = Arc::clone(lease.login());
    lease.release(Disposition::Clean);
    Ok(startup_response)
}

/// First process id of pooled sessions, beyond the ids of any server. A client that passes its id to
/// `pg_terminate_backend`
/// therefore hits no process.
const FIRST_PID: u64 = 1 << 30;

/// Cancel key of a pooled session, with a number of its own instead of a server's process id.
fn session_key(session: u64, version: ProtocolVersion) -> Result<BackendKey, Failed> {
    let mut secret = [0; 32];
    aws_lc_rs::rand::fill(&mut secret).map_err(|_| Failed::no_entropy())?;
    let pid = i32::try_from(FIRST_PID + session % FIRST_PID).unwrap_or(i32::MAX);
    BackendKey::new(pid, &secret[..version.secret_bytes()]).map_err(|_| Failed::no_entropy())
}
