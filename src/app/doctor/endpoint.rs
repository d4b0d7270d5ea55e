//! Examines one endpoint: from name resolution to the privileges of its users.

use std::{future::Future, io, net::SocketAddr};

use jiff::Timestamp;
use tokio::time::timeout;

use super::{
    certificates,
    finding::{Examination, Opinion, Stage},
    questions, verdicts,
};
use crate::{
    backend::{
        Backend, ConnectError, ConnectRequest, EndpointHandle, EndpointSettings, ProbeLogin, QueryError,
        Questions, Resolved, query_state, reach, reach_unix, resolve,
    },
    blame::Chain,
    credentials::{Login, TokenOrigin},
    handshake::Method,
    names::UserName,
    tasks::Tasks,
    telemetry::Metrics,
    topology::{Address, ObservedRole, ProbeAnswer},
    wire::{ProtocolVersion, StartupMessage},
};

/// Number of further users whose authentication method is checked if the first user's is unexpected.
const MAX_FURTHER_USERS: usize = 5;
/// User of a login attempt without credentials. The user need not exist.
const STRANGER: &str = "gatekeeper";

/// Examines the endpoint of `settings`; background work runs in tasks of `tasks`. `has_peer`: another endpoint is
/// declared primary, too.
///
/// Takes at most the sum of the endpoint's time limits of all stages.
///
/// Cancel safe: connections are closed and commands killed.
pub(super) async fn examine_endpoint(
    settings: &EndpointSettings,
    has_peer: bool,
    tasks: &Tasks,
) -> Examination {
    let endpoint = &settings.endpoint;
    let about = format!("{} of cluster {}, {}", endpoint.role, endpoint.cluster, endpoint.address);
    let mut examination = Examination::new(endpoint.name.to_string(), about);
    go_through(settings, has_peer, tasks, &mut examination).await;
    examination.skip_rest(&Stage::OF_ENDPOINT);
    examination
}

/// Runs the stages until one fails.
async fn go_through(
    settings: &EndpointSettings,
    has_peer: bool,
    tasks: &Tasks,
    examination: &mut Examination,
) -> Option<()> {
    let resolved = examination.stage(Stage::Name, check_name(settings)).await?;
    examination.stage(Stage::Route, check_route(settings, resolved)).await?;
    let handle = examination.stage(Stage::Tls, check_tls(settings, tasks)).await?;
    let Some(login) = &settings.probe_login else {
        examination.add(Stage::Token, Opinion::skipped(no_token(settings)));
        examination.stage(Stage::Login, try_startup(&handle)).await?;
        return None;
    };
    examination.stage(Stage::Token, check_token(&handle, &login.user)).await?;
    let mut backend = examination.stage(Stage::Login, log_in(&handle, login)).await?;
    let (answer, reduced) =
        examination.stage(Stage::Role, check_role(settings, has_peer, &mut backend)).await?;
    examination.stage(Stage::Lag, check_lag(settings, &mut backend, &answer)).await?;
    examination.stage(Stage::Privileges, check_privileges(settings, login, &mut backend, reduced)).await
}

async fn check_name(settings: &EndpointSettings) -> (Opinion, Option<Resolved<'_>>) {
    match resolve(&settings.endpoint, settings.connect_timeout).await {
        Err(error) => (verdicts::assess_failure(&error), None),
        Ok(Resolved::Unix(path)) => {
            (Opinion::skipped("a Unix-domain socket has no name to resolve"), Some(Resolved::Unix(path)))
        }
        Ok(Resolved::Tcp(addresses)) => {
            let found: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
            let detail = match &settings.endpoint.address {
                Address::Tcp { host, .. } if found != [host.as_str()] => {
                    format!("{host} is {}", found.join(", "))
                }
                _ => format!("{} is an address", found.join(", ")),
            };
            (Opinion::ok(detail), Some(Resolved::Tcp(addresses)))
        }
    }
}

async fn check_route(settings: &EndpointSettings, resolved: Resolved<'_>) -> (Opinion, Option<()>) {
    let endpoint = &settings.endpoint;
    let opinion = match resolved {
        Resolved::Unix(path) => match reach_unix(endpoint, path).await {
            Ok(()) => Opinion::ok(format!("{} takes connections", path.display())),
            Err(error) => verdicts::assess_failure(&error),
        },
        Resolved::Tcp(addresses) => {
            let share = settings.connect_timeout / u32::try_from(addresses.len()).unwrap_or(u32::MAX);
            let mut tried: Vec<(SocketAddr, Result<SocketAddr, ConnectError>)> = Vec::new();
            for address in addresses {
                tried.push((address, reach(endpoint, address, share).await));
            }
            verdicts::assess_route(&tried)
        }
    };
    (opinion, Some(()))
}

async fn check_tls(settings: &EndpointSettings, tasks: &Tasks) -> (Opinion, Option<EndpointHandle>) {
    // Metrics are required to build a handle; nothing reads them here.
    let metrics = Metrics::new().endpoint(&settings.endpoint);
    let (handle, keeper) = match EndpointHandle::new(settings.clone(), metrics) {
        Ok(made) => made,
        Err(error) => {
            return (Opinion::failed(Chain(&error).to_string(), "name files that can be used"), None);
        }
    };
    if let Some(keeper) = keeper {
        tasks.spawn("token keeper", keeper.run(|_mint| {}));
    }
    match handle.dial().await {
        Err(error) => (verdicts::assess_failure(&error), None),
        Ok(dialed) => {
            let stays_here = settings.endpoint.address.is_loopback();
            let facts = dialed.stream.facts();
            let name = handle.tls().server_name();
            let mut opinion = verdicts::assess_tls(settings.tls.mode, facts.as_ref(), &name, stays_here);
            certificates::assess_certificates(&mut opinion, &handle.tls().certificates(), Timestamp::now());
            (opinion, Some(handle))
        }
    }
}

/// Reason for a missing token.
fn no_token(settings: &EndpointSettings) -> &'static str {
    match settings.login {
        Login::Passthrough => "the login is the clients' own",
        Login::Password(_) => "the login is a password",
        Login::Token(_) => "no user to mint one for",
    }
}

async fn check_token(handle: &EndpointHandle, user: &UserName) -> (Opinion, Option<()>) {
    let opinion = match handle.token(user).await {
        Ok(Some(token)) => {
            let mut opinion = verdicts::assess_token(&handle.settings().login, user, token.byte_count());
            if let (Some(source), Login::Token(login)) = (handle.tokens(), &handle.settings().login)
                && matches!(login.origin, TokenOrigin::Google(_))
            {
                verdicts::assess_principal(&mut opinion, &source.principal().await, &login.users);
            }
            opinion
        }
        Ok(None) => Opinion::skipped(no_token(handle.settings())),
        Err(error) => verdicts::assess_failure(&error),
    };
    (opinion, Some(()))
}

async fn log_in(handle: &EndpointHandle, login: &ProbeLogin) -> (Opinion, Option<Backend>) {
    let request = ConnectRequest {
        user: login.user.clone(),
        startup: startup_message(login.user.as_str(), login.database.as_str()),
        token_wait: None,
    };
    match handle.connect(request).await {
        Ok(backend) => {
            let version = backend.logged_in.parameters.get("server_version").unwrap_or(b"?");
            let detail = format!(
                "as {} to database {}; the server asked for {} and is PostgreSQL {}",
                login.user,
                login.database,
                backend.logged_in.method,
                String::from_utf8_lossy(version),
            );
            (Opinion::ok(detail), Some(backend))
        }
        Err(error) => {
            let others = match verdicts::is_asked_for_a_stored_password(&error) {
                true => asked_of_others(handle, login).await,
                false => Vec::new(),
            };
            (verdicts::login_failed(&error, &others), None)
        }
    }
}

/// Authentication methods that the server requests for other listed users; users without a result are left out.
async fn asked_of_others(handle: &EndpointHandle, login: &ProbeLogin) -> Vec<(UserName, Method)> {
    let Login::Token(settings) = &handle.settings().login else { return Vec::new() };
    let mut asked = Vec::new();
    for user in settings.users.listed().iter().filter(|user| **user != login.user).take(MAX_FURTHER_USERS) {
        if let Ok(method) = handle.method(&startup_message(user.as_str(), login.database.as_str())).await {
            asked.push((user.clone(), method));
        }
    }
    asked
}

/// Assesses the login of an endpoint without credentials.
async fn try_startup(handle: &EndpointHandle) -> (Opinion, Option<()>) {
    let asked = handle.method(&startup_message(STRANGER, "postgres")).await;
    (verdicts::assess_startup(&handle.settings().login, asked.as_ref().copied()), Some(()))
}

async fn check_role(
    settings: &EndpointSettings,
    has_peer: bool,
    backend: &mut Backend,
) -> (Opinion, Option<(ProbeAnswer, Option<QueryError>)>) {
    let (answer, reduced) = match in_time(settings, query_state(&mut backend.stream, Questions::All)).await {
        Err(error) if error.is_about_the_question() => {
            (in_time(settings, query_state(&mut backend.stream, Questions::Role)).await, Some(error))
        }
        answer => (answer, None),
    };
    match answer {
        Ok(answer) => {
            (verdicts::assess_role(settings.endpoint.role, has_peer, &answer), Some((answer, reduced)))
        }
        Err(error) => (verdicts::assess_query_error(&error), None),
    }
}

async fn check_lag(
    settings: &EndpointSettings,
    backend: &mut Backend,
    answer: &ProbeAnswer,
) -> (Opinion, Option<()>) {
    let replay = match answer.role {
        ObservedRole::Primary => None,
        ObservedRole::Standby => {
            Some(in_time(settings, questions::read_replay_progress(&mut backend.stream)).await)
        }
    };
    (verdicts::assess_lag(answer, replay.as_ref()), Some(()))
}

async fn check_privileges(
    settings: &EndpointSettings,
    login: &ProbeLogin,
    backend: &mut Backend,
    reduced: Option<QueryError>,
) -> (Opinion, Option<()>) {
    let users: &[UserName] = match &settings.login {
        Login::Token(token) => token.users.listed(),
        Login::Password(_) | Login::Passthrough => &[],
    };
    let asked = questions::read_grants(&mut backend.stream, users);
    let grants = in_time(settings, asked).await;
    (verdicts::assess_privileges(login, reduced.as_ref(), &grants), Some(()))
}

/// Limits a future to the connect timeout.
async fn in_time<T>(
    settings: &EndpointSettings,
    asked: impl Future<Output = Result<T, QueryError>>,
) -> Result<T, QueryError> {
    let late = |_elapsed| QueryError::Broken(io::ErrorKind::TimedOut.into());
    timeout(settings.connect_timeout, asked).await.map_err(late)?
}

fn startup_message(user: &str, database: &str) -> StartupMessage {
    let mut startup = StartupMessage::new(ProtocolVersion::V3_0);
    startup.set("user", user);
    startup.set("database", database);
    startup.set("application_name", "gatekeeper doctor");
    startup.set("client_encoding", "UTF8");
    startup
}
