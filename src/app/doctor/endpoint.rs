//! Goes through one endpoint, from its name to what its users may do there.

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

/// Users whose way of logging in is asked about when the first one's is odd.
const OTHERS: usize = 5;
/// Whom a server is asked to let in where no login is ours. Nobody needs to have made that user.
const STRANGER: &str = "gatekeeper";

/// Examines the endpoint of `settings`; what has to run meanwhile runs as tasks of `tasks`.
///
/// It takes as long as the time limits of the endpoint allow, stage by stage.
///
/// Cancel safe: connections are closed and commands killed.
pub(super) async fn examine(settings: &EndpointSettings, tasks: &Tasks) -> Examination {
    let endpoint = &settings.endpoint;
    let about = format!("{} of cluster {}, {}", endpoint.role, endpoint.cluster, endpoint.address);
    let mut examination = Examination::new(endpoint.name.to_string(), about);
    go_through(settings, tasks, &mut examination).await;
    examination.skip_rest(&Stage::OF_ENDPOINT);
    examination
}

/// Goes from stage to stage until one fails.
async fn go_through(settings: &EndpointSettings, tasks: &Tasks, examination: &mut Examination) -> Option<()> {
    let resolved = examination.stage(Stage::Name, name(settings)).await?;
    examination.stage(Stage::Route, route(settings, resolved)).await?;
    let handle = examination.stage(Stage::Tls, tls(settings, tasks)).await?;
    let Some(login) = &settings.probe_login else {
        examination.add(Stage::Token, Opinion::skipped(no_token(settings)));
        examination.stage(Stage::Login, knock(&handle)).await?;
        return None;
    };
    examination.stage(Stage::Token, token(&handle, &login.user)).await?;
    let mut backend = examination.stage(Stage::Login, log_in(&handle, login)).await?;
    let (answer, reduced) = examination.stage(Stage::Role, role(settings, &mut backend)).await?;
    examination.stage(Stage::Lag, lag(settings, &mut backend, &answer)).await?;
    examination.stage(Stage::Privileges, privileges(settings, login, &mut backend, reduced)).await
}

async fn name(settings: &EndpointSettings) -> (Opinion, Option<Resolved<'_>>) {
    match resolve(&settings.endpoint, settings.connect_timeout).await {
        Err(error) => (verdicts::failed(&error), None),
        Ok(Resolved::Unix(path)) => {
            (Opinion::skipped("a Unix-domain socket has no name to resolve"), Some(Resolved::Unix(path)))
        }
        Ok(Resolved::Tcp(addresses)) => {
            let found: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
            let said = match &settings.endpoint.address {
                Address::Tcp { host, .. } if found != [host.as_str()] => {
                    format!("{host} is {}", found.join(", "))
                }
                _ => format!("{} is an address", found.join(", ")),
            };
            (Opinion::ok(said), Some(Resolved::Tcp(addresses)))
        }
    }
}

async fn route(settings: &EndpointSettings, resolved: Resolved<'_>) -> (Opinion, Option<()>) {
    let endpoint = &settings.endpoint;
    let opinion = match resolved {
        Resolved::Unix(path) => match reach_unix(endpoint, path).await {
            Ok(()) => Opinion::ok(format!("{} takes connections", path.display())),
            Err(error) => verdicts::failed(&error),
        },
        Resolved::Tcp(addresses) => {
            let share = settings.connect_timeout / u32::try_from(addresses.len()).unwrap_or(u32::MAX);
            let mut tried: Vec<(SocketAddr, Result<SocketAddr, ConnectError>)> = Vec::new();
            for address in addresses {
                tried.push((address, reach(endpoint, address, share).await));
            }
            verdicts::route(&tried)
        }
    };
    (opinion, Some(()))
}

async fn tls(settings: &EndpointSettings, tasks: &Tasks) -> (Opinion, Option<EndpointHandle>) {
    // Nobody looks at these metrics; the way to an endpoint has them all the same.
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
        Err(error) => (verdicts::failed(&error), None),
        Ok(dialed) => {
            let stays_here = settings.endpoint.address.is_loopback();
            let facts = dialed.stream.facts();
            let name = handle.tls().server_name();
            let mut opinion = verdicts::tls(settings.tls.mode, facts.as_ref(), &name, stays_here);
            certificates::judge(&mut opinion, &handle.tls().certificates(), Timestamp::now());
            (opinion, Some(handle))
        }
    }
}

/// Why there is no token to try.
fn no_token(settings: &EndpointSettings) -> &'static str {
    match settings.login {
        Login::Passthrough => "the login is the clients' own",
        Login::Password(_) => "the login is a password",
        Login::Token(_) => "no user to mint one for",
    }
}

async fn token(handle: &EndpointHandle, user: &UserName) -> (Opinion, Option<()>) {
    let opinion = match handle.token(user).await {
        Ok(Some(token)) => {
            let mut opinion = verdicts::token(&handle.settings().login, user, token.byte_count());
            if let (Some(source), Login::Token(login)) = (handle.tokens(), &handle.settings().login)
                && matches!(login.origin, TokenOrigin::Google(_))
            {
                verdicts::principal(&mut opinion, &source.principal().await, &login.users);
            }
            opinion
        }
        Ok(None) => Opinion::skipped(no_token(handle.settings())),
        Err(error) => verdicts::failed(&error),
    };
    (opinion, Some(()))
}

async fn log_in(handle: &EndpointHandle, login: &ProbeLogin) -> (Opinion, Option<Backend>) {
    let request = ConnectRequest {
        user: login.user.clone(),
        startup: startup(login.user.as_str(), login.database.as_str()),
        token_wait: None,
    };
    match handle.connect(request).await {
        Ok(backend) => {
            let version = backend.logged_in.parameters.get("server_version").unwrap_or(b"?");
            let said = format!(
                "as {} to database {}; the server asked for {} and is PostgreSQL {}",
                login.user,
                login.database,
                backend.logged_in.method,
                String::from_utf8_lossy(version),
            );
            (Opinion::ok(said), Some(backend))
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

/// What the server asks of the other listed users; those of whom it does not say it are left out.
async fn asked_of_others(handle: &EndpointHandle, login: &ProbeLogin) -> Vec<(UserName, Method)> {
    let Login::Token(settings) = &handle.settings().login else { return Vec::new() };
    let mut asked = Vec::new();
    for user in settings.users.listed().iter().filter(|user| **user != login.user).take(OTHERS) {
        if let Ok(method) = handle.method(&startup(user.as_str(), login.database.as_str())).await {
            asked.push((user.clone(), method));
        }
    }
    asked
}

/// What can be said of a login where none is ours.
async fn knock(handle: &EndpointHandle) -> (Opinion, Option<()>) {
    let asked = handle.method(&startup(STRANGER, "postgres")).await;
    (verdicts::knocked(&handle.settings().login, asked.as_ref().copied()), Some(()))
}

async fn role(
    settings: &EndpointSettings,
    backend: &mut Backend,
) -> (Opinion, Option<(ProbeAnswer, Option<QueryError>)>) {
    let (answer, reduced) = match in_time(settings, query_state(&mut backend.stream, Questions::All)).await {
        Err(error) if error.is_about_the_question() => {
            (in_time(settings, query_state(&mut backend.stream, Questions::Role)).await, Some(error))
        }
        answer => (answer, None),
    };
    match answer {
        Ok(answer) => (verdicts::role(settings.endpoint.role, &answer), Some((answer, reduced))),
        Err(error) => (verdicts::unanswered(&error), None),
    }
}

async fn lag(
    settings: &EndpointSettings,
    backend: &mut Backend,
    answer: &ProbeAnswer,
) -> (Opinion, Option<()>) {
    let replay = match answer.role {
        ObservedRole::Primary => None,
        ObservedRole::Standby => Some(in_time(settings, questions::replay(&mut backend.stream)).await),
    };
    (verdicts::lag(answer, replay.as_ref()), Some(()))
}

async fn privileges(
    settings: &EndpointSettings,
    login: &ProbeLogin,
    backend: &mut Backend,
    reduced: Option<QueryError>,
) -> (Opinion, Option<()>) {
    let users: &[UserName] = match &settings.login {
        Login::Token(token) => token.users.listed(),
        Login::Password(_) | Login::Passthrough => &[],
    };
    let asked = questions::grants(&mut backend.stream, users);
    let grants = in_time(settings, asked).await;
    (verdicts::privileges(login, reduced.as_ref(), &grants), Some(()))
}

/// An answer within the time that a connect may take.
async fn in_time<T>(
    settings: &EndpointSettings,
    asked: impl Future<Output = Result<T, QueryError>>,
) -> Result<T, QueryError> {
    let late = |_elapsed| QueryError::Broken(io::ErrorKind::TimedOut.into());
    timeout(settings.connect_timeout, asked).await.map_err(late)?
}

fn startup(user: &str, database: &str) -> StartupMessage {
    let mut startup = StartupMessage::new(ProtocolVersion::V3_0);
    startup.set("user", user);
    startup.set("database", database);
    startup.set("application_name", "gatekeeper doctor");
    startup.set("client_encoding", "UTF8");
    startup
}
