//! Runs commands: checks rights and records commands.

use std::{pin::Pin, sync::Arc};

use super::{
    Averages, ConsoleSettings, act,
    command::Command,
    response::CommandResponse,
    settings::ConsoleAccess,
    show::{self, ShowContext},
    visit,
};
use crate::{
    admin::{ProgramControl, ServiceMonitor},
    audit::{Record, record},
    client_error::ClientError,
    events::EventKind,
    frontend::{self, ConsoleClient, ListenerContext, Observers, Routing, SessionRegistry},
    live::Live,
    names::{DatabaseName, UserName},
    telemetry::{AdminMetrics, labels::AdminOutcome},
    wire::{ErrorResponse, Severity, SqlState},
    writer_move::WriterMover,
};

/// The console.
pub struct Console {
    context: ConsoleContext,
}

/// The parts of the program that the console shows and controls.
pub struct ConsoleContext {
    /// Endpoints and pools.
    pub routing: Arc<Routing>,
    /// Receivers of reports.
    pub observers: Arc<Observers>,
    /// Logged-in sessions.
    pub sessions: Arc<SessionRegistry>,
    /// Current users and rights.
    pub settings: Live<ConsoleSettings>,
    /// The configuration.
    pub config: Live<Vec<ConfigLine>>,
    /// The current listeners.
    pub listeners: Live<Vec<Live<ListenerContext>>>,
    /// Averages of the last minute.
    pub averages: Live<Averages>,
    /// Reload and stop.
    pub control: ProgramControl,
    /// Moves the writer.
    pub mover: Arc<WriterMover>,
    /// Metrics shared with the admin API.
    pub metrics: AdminMetrics,
    /// The faults, as in the admin API.
    pub monitor: Arc<ServiceMonitor>,
}

/// One setting of `SHOW CONFIG`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigLine {
    /// Name such as `listener.app.max_clients`.
    pub key: String,
    /// Value in configuration syntax, without secrets.
    pub value: String,
    /// True for a default value.
    pub is_default: bool,
    /// True if a reload can change the value.
    pub changeable: bool,
}

// === impl Console ===

impl Console {
    /// The console over `context`.
    #[must_use]
    pub fn new(context: ConsoleContext) -> Self {
        Self { context }
    }

    /// Receivers of reports.
    pub(super) fn observers(&self) -> &Observers {
        &self.context.observers
    }

    /// Runs one command for `who` if permitted, and records it.
    pub(super) async fn run(
        &self,
        command: &Command,
        who: &Arc<record::Session>,
    ) -> Result<CommandResponse, ErrorResponse<'static>> {
        let access = who.user.as_ref().and_then(|user| self.context.settings.load().access(user));
        let denied = access.is_none_or(|access| access < command.needs());
        let done = match denied {
            true => Err(permission_denied(command)),
            false => self.answer(command, who).await,
        };
        self.record(command, who, denied, done.as_ref().err()).await;
        done
    }

    async fn answer(
        &self,
        command: &Command,
        who: &record::Session,
    ) -> Result<CommandResponse, ErrorResponse<'static>> {
        match command {
            Command::Show(target) => Ok(show::show_table(*target, ShowContext { context: &self.context })),
            Command::Set => Ok(CommandResponse::done()),
            order => act::run_command(order, &self.context, who).await,
        }
    }

    /// Undoes a command whose client no longer waits.
    pub(super) async fn cancelled(
        &self,
        command: &Command,
        who: &Arc<record::Session>,
    ) -> ErrorResponse<'static> {
        act::take_back(command, &self.context);
        let report = ErrorResponse::new(
            Severity::Error,
            SqlState::QUERY_CANCELED,
            "canceling command due to user request",
        );
        self.record(command, who, false, Some(&report)).await;
        report
    }

    async fn record(
        &self,
        command: &Command,
        who: &Arc<record::Session>,
        denied: bool,
        error: Option<&ErrorResponse<'static>>,
    ) {
        self.context.metrics.record_request(match (denied, error) {
            (true, _) => AdminOutcome::Denied,
            (false, None) => AdminOutcome::Ok,
            (false, Some(_)) => AdminOutcome::Error,
        });
        let text = command.text();
        let error_code = error.map(|report| report.sqlstate.to_string());
        let user = who.user.as_ref().map(UserName::as_str);
        match command.needs() {
            ConsoleAccess::Stats => {
                tracing::debug!(session = who.id, user, command = text, error = error_code, "console")
            }
            ConsoleAccess::Admin => {
                tracing::info!(session = who.id, user, command = text, error = error_code, "console");
                if error.is_none() {
                    self.context
                        .observers
                        .events
                        .record_event(EventKind::Operated { through: "console", what: text.to_string() });
                }
            }
        }
        let sqlstate = error.and_then(|report| record::Sqlstate::new(report.sqlstate.as_str()));
        let command = record::ConsoleCommand { session: Arc::clone(who), command: text.into(), sqlstate };
        // The command has run, so the record waits for room in the log.
        self.context.observers.audit.submit(Record::ConsoleCommand(Box::new(command))).await.ok();
    }
}

impl frontend::Console for Console {
    fn is_called(&self, database: &DatabaseName) -> bool {
        let settings = self.context.settings.load();
        settings.is_open() && settings.database == *database
    }

    fn serves_unproved_users(&self) -> bool {
        self.context.settings.load().insecure_trust
    }

    fn admit(&self, user: &UserName) -> Result<(), ClientError> {
        match self.context.settings.load().access(user) {
            Some(_) => Ok(()),
            None => Err(ClientError::console_denied(user.as_str())),
        }
    }

    fn serve<'a>(&'a self, client: ConsoleClient) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
        Box::pin(visit::serve_client(self, client))
    }
}

fn permission_denied(command: &Command) -> ErrorResponse<'static> {
    let message = format!("permission denied for {}", command.tag());
    let report = ErrorResponse::new(Severity::Error, SqlState::new(*b"42501"), message);
    ErrorResponse { hint: Some("It is for the console's admin_users.".into()), ..report }
}
