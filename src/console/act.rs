//! The commands that change something.

use super::{
    Office,
    answer::Answer,
    command::{Command, Victims},
};
use crate::{
    admin::{ReloadFailure, ReloadReport},
    frontend::{Order, World},
    wire::{Report, Severity, SqlState},
};

/// Does what `command` says.
///
/// Cancel safety: dropped half-way, it may or may not take effect; [`take_back`] undoes what can be undone.
pub(super) async fn act(
    command: &Command,
    office: &Office,
    world: &World,
) -> Result<Answer, Report<'static>> {
    match command {
        Command::Reload => reload(office.control.reload("console").await),
        Command::Shutdown => {
            office.control.stop().await;
            Ok(Answer::done())
        }
        Command::Kill(Victims::Session(id)) => kill(*id, world),
        _ => Err(Report::new(Severity::Error, SqlState::FEATURE_NOT_SUPPORTED, "there are no pools")),
    }
}

/// Undoes what `command` has begun, when its client no longer wants it.
pub(super) fn take_back(_command: &Command, _world: &World) {}

fn reload(done: Result<ReloadReport, ReloadFailure>) -> Result<Answer, Report<'static>> {
    match done {
        Ok(ReloadReport { changed, needs_restart, warnings }) => {
            let said = changed.into_iter().chain(needs_restart).chain(warnings);
            Ok(said.fold(Answer::done(), |answer, line| answer.notice(line, None)))
        }
        Err(failure) => {
            // `config_file_error`
            let sqlstate = match failure {
                ReloadFailure::Ending => SqlState::ADMIN_SHUTDOWN,
                ReloadFailure::Config(_) | ReloadFailure::Unusable(_) => SqlState::new(*b"F0000"),
            };
            let lines = failure.details();
            let report = Report::new(Severity::Error, sqlstate, format!("{failure}; nothing changed"));
            Err(Report { detail: (!lines.is_empty()).then(|| lines.join("\n").into()), ..report })
        }
    }
}

fn kill(id: u64, world: &World) -> Result<Answer, Report<'static>> {
    if let Some(entry) = world.sessions.get(id) {
        entry.order(Order::Kill);
    } else if let Some(visitor) = world.sessions.visitors().iter().find(|visitor| visitor.facts.id == id) {
        visitor.order(Order::Kill);
    } else {
        let message = format!("there is no session {id}, or no more");
        let report = Report::new(Severity::Error, SqlState::new(*b"42704"), message);
        return Err(Report { hint: Some("SHOW CLIENTS shows the numbers as \"id\".".into()), ..report });
    }
    Ok(Answer::done())
}
