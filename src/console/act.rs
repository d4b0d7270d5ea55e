//! The commands that change state.

use std::time::Duration;

use tokio::time::sleep;

use super::{
    ConsoleContext,
    client::Client,
    command::{Command, KillTarget, PoolScope},
    response::CommandResponse,
};
use crate::{
    admin::{ReloadFailure, ReloadReport},
    frontend::SessionCommand,
    pool::Filter,
    wire::{ErrorResponse, Severity, SqlState},
};

/// Poll interval of WAIT_CLOSE.
const CLOSE_POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Runs `command`.
///
/// Cancel safety: if dropped, the command may or may not take effect; [`take_back`] undoes PAUSE and DRAIN.
pub(super) async fn run_command(
    command: &Command,
    context: &ConsoleContext,
) -> Result<CommandResponse, ErrorResponse<'static>> {
    let pools = &context.routing.pools;
    match command {
        Command::Show(_) | Command::Set => Ok(CommandResponse::done()),
        Command::Reload => reload_response(context.control.reload("console").await),
        Command::Shutdown => {
            context.control.stop().await;
            Ok(CommandResponse::done())
        }
        Command::Pause(scope) => {
            let filter = pool_filter(scope, context)?;
            let found = pools.pause(&filter);
            pools.quiet(&filter).await;
            Ok(scope_response(scope, found))
        }
        Command::Drain(scope) => {
            let filter = pool_filter(scope, context)?;
            let found = pools.drain(&filter);
            pools.quiet(&filter).await;
            Ok(scope_response(scope, found))
        }
        Command::Resume(scope) => Ok(scope_response(scope, pools.resume(&pool_filter(scope, context)?))),
        Command::Reconnect(scope) => {
            Ok(scope_response(scope, pools.reconnect(&pool_filter(scope, context)?)))
        }
        Command::WaitClose(scope) => {
            let filter = pool_filter(scope, context)?;
            while context
                .routing
                .pools
                .list()
                .iter()
                .filter(|pool| filter.matches(pool.target()))
                .any(|pool| pool.status().backends.iter().any(|backend| backend.close_needed))
            {
                sleep(CLOSE_POLL_INTERVAL).await;
            }
            Ok(CommandResponse::done())
        }
        Command::Kill(KillTarget::Session(id)) => kill_session(*id, context),
        Command::Kill(KillTarget::PoolScope(scope)) => {
            let filter = pool_filter(scope, context)?;
            pools.pause(&filter);
            let victims = Client::all(&context.sessions).filter(|client| is_at(client, scope));
            let ended = victims.inspect(|client| client.entry.send_command(SessionCommand::Kill)).count();
            let words = format!("{ended} sessions are ended; RESUME lets others in");
            Ok(CommandResponse::done().with_notice(words, None))
        }
    }
}

/// Undoes the effect of a canceled `command`.
pub(super) fn take_back(command: &Command, context: &ConsoleContext) {
    if let Command::Pause(scope) | Command::Drain(scope) = command
        && let Ok(filter) = pool_filter(scope, context)
    {
        context.routing.pools.resume(&filter);
    }
}

fn reload_response(
    done: Result<ReloadReport, ReloadFailure>,
) -> Result<CommandResponse, ErrorResponse<'static>> {
    match done {
        Ok(ReloadReport { changed, needs_restart, warnings }) => {
            let notices = changed.into_iter().chain(needs_restart).chain(warnings);
            Ok(notices.fold(CommandResponse::done(), |answer, line| answer.with_notice(line, None)))
        }
        Err(failure) => {
            let sqlstate = match failure {
                ReloadFailure::Ending => SqlState::ADMIN_SHUTDOWN,
                // `config_file_error`
                ReloadFailure::Config(_) | ReloadFailure::Unusable(_) => SqlState::new(*b"F0000"),
            };
            let lines = failure.detail_lines();
            let report = ErrorResponse::new(Severity::Error, sqlstate, format!("{failure}; nothing changed"));
            Err(ErrorResponse { detail: (!lines.is_empty()).then(|| lines.join("\n").into()), ..report })
        }
    }
}

fn kill_session(id: u64, context: &ConsoleContext) -> Result<CommandResponse, ErrorResponse<'static>> {
    if let Some(entry) = context.sessions.get(id) {
        entry.send_command(SessionCommand::Kill);
    } else if let Some(entry) = context.sessions.console_sessions().iter().find(|entry| entry.facts.id == id)
    {
        entry.send_command(SessionCommand::Kill);
    } else {
        let message = format!("session {id} does not exist");
        return Err(undefined_object(message, "SHOW CLIENTS shows the numbers as \"id\"."));
    }
    Ok(CommandResponse::done())
}

/// The pools of `scope`. Endpoints are known from the configuration; databases become known with their first use.
fn pool_filter(scope: &PoolScope, context: &ConsoleContext) -> Result<Filter, ErrorResponse<'static>> {
    if let Some(endpoint) = &scope.endpoint
        && context.routing.endpoints.load().get(endpoint).is_none()
    {
        let message = format!("endpoint \"{endpoint}\" does not exist");
        return Err(undefined_object(message, "SHOW ENDPOINTS lists them."));
    }
    Ok(Filter { endpoint: scope.endpoint.clone(), database: scope.database.clone(), ..Filter::all() })
}

/// A scope without pools causes a notice, because the name may be misspelled.
fn scope_response(scope: &PoolScope, found: usize) -> CommandResponse {
    match found {
        0 if *scope != PoolScope::default() => {
            CommandResponse::done().with_notice(format!("{scope} has no pools now"), None)
        }
        _ => CommandResponse::done(),
    }
}

fn is_at(client: &Client, scope: &PoolScope) -> bool {
    let endpoint = client.backend.as_ref().map(|backend| &backend.endpoint);
    scope.database.as_ref().is_none_or(|wanted| client.database() == Some(wanted))
        && scope.endpoint.as_ref().is_none_or(|wanted| endpoint == Some(wanted))
}

/// `42704`: the object does not exist.
fn undefined_object(message: String, hint: &'static str) -> ErrorResponse<'static> {
    let report = ErrorResponse::new(Severity::Error, SqlState::new(*b"42704"), message);
    ErrorResponse { hint: Some(hint.into()), ..report }
}
