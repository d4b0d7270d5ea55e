//! The commands that change state.

use std::time::Duration;

use tokio::time::sleep;

use super::{
    ConsoleContext,
    client::Client,
    command::{Command, KillTarget, PoolScope, WriterTarget},
    response::CommandResponse,
};
use crate::{
    admin::{ReloadFailure, ReloadReport},
    audit::record,
    frontend::SessionCommand,
    names::EndpointName,
    pool::Filter,
    topology::DecisionError,
    wire::{ErrorResponse, Severity, SqlState},
    writer_move::{MoveOrigin, MoveReport, MoveRequest},
};

/// Poll interval of WAIT_CLOSE.
const CLOSE_POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Runs `command`.
///
/// Cancel safety: if dropped, the command may or may not take effect; [`take_back`] undoes PAUSE, DRAIN and MOVE.
pub(super) async fn run_command(
    command: &Command,
    context: &ConsoleContext,
    who: &record::Session,
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
        Command::MoveWriter(target) => move_writer(target, context, who).await,
        Command::EndFence(endpoint) => end_fence(endpoint, context, who).await,
    }
}

async fn move_writer(
    target: &WriterTarget,
    context: &ConsoleContext,
    who: &record::Session,
) -> Result<CommandResponse, ErrorResponse<'static>> {
    let seconds =
        |given: Option<u32>, default| given.map_or(default, |given| Duration::from_secs(given.into()));
    let request = MoveRequest {
        to: target.endpoint.clone(),
        wait: seconds(target.wait, MoveRequest::DEFAULT_WAIT),
        promotion_wait: seconds(target.promotion_wait, Duration::ZERO),
        origin: origin_of(who),
    };
    let moved = async { context.mover.begin_move(request)?.wait_for_end().await };
    match moved.await {
        Ok(MoveReport { from: None, to, .. }) => {
            Ok(CommandResponse::done().with_notice(format!("the writer is endpoint {to}"), None))
        }
        Ok(MoveReport { from: Some(from), to, ended_leases, ended_sessions, held }) => {
            let held = held.as_secs_f64();
            let detail = format!(
                "Transactions waited {held:.1} s; {ended_leases} leases and {ended_sessions} sessions were ended."
            );
            let words =
                format!("the writer is endpoint {to}; endpoint {from} is fenced until UNFENCE {from}");
            Ok(CommandResponse::done().with_notice(words, Some(detail)))
        }
        Err(error) => {
            let message = format!("{error}; the writer is the same as before");
            Err(ErrorResponse::new(Severity::Error, SqlState::new(*error.sqlstate()), message))
        }
    }
}

async fn end_fence(
    endpoint: &EndpointName,
    context: &ConsoleContext,
    who: &record::Session,
) -> Result<CommandResponse, ErrorResponse<'static>> {
    match context.mover.end_fence(endpoint, &origin_of(who)).await {
        Ok(()) => Ok(CommandResponse::done()),
        Err(DecisionError::Ended) => {
            let message = DecisionError::Ended.to_string();
            Err(ErrorResponse::new(Severity::Error, SqlState::ADMIN_SHUTDOWN, message))
        }
        Err(error @ DecisionError::StillWritable) => {
            let message = format!("endpoint \"{endpoint}\" stays fenced: {error}");
            let report = ErrorResponse::new(Severity::Error, SqlState::new(*b"55006"), message);
            let hint = "Stop or demote it first, or move the writer to it.";
            Err(ErrorResponse { hint: Some(hint.into()), ..report })
        }
        Err(_) => {
            let message = format!("endpoint \"{endpoint}\" is not fenced");
            Err(undefined_object(message, "SHOW ENDPOINTS shows those that are."))
        }
    }
}

fn origin_of(who: &record::Session) -> MoveOrigin {
    MoveOrigin { through: "console", client: who.client, user: who.user.clone() }
}

/// Undoes the effect of a canceled `command`.
pub(super) fn take_back(command: &Command, context: &ConsoleContext) {
    if let Command::Pause(scope) | Command::Drain(scope) = command
        && let Ok(filter) = pool_filter(scope, context)
    {
        context.routing.pools.resume(&filter);
    }
    if matches!(command, Command::MoveWriter(_)) {
        drop(context.mover.cancel_move());
    }
}

fn reload_response(
    done: Result<ReloadReport, ReloadFailure>,
) -> Result<CommandResponse, ErrorResponse<'static>> {
    match done {
        Ok(report) => {
            let notices = report.lines().chain(report.warnings.iter().cloned());
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
