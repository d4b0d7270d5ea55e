//! A record as one line of JSON: a flat object with dotted keys, readable and searchable line by line.
//!
//! Keys are defined in `schema.json`: OpenTelemetry's stable `db.*` names, ECS `event.*`, and Gatekeeper's own.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use jiff::Timestamp;

use super::{
    chain::LineHash,
    record::{
        AdminRequest, BackendRecord, Cancelled, ConsoleCommand, FailoverRecord, Mint, Record,
        RefusedStatement, Reload, Route, ServerRecord, Session, Sqlstate, StatementRecord, WriterMove,
    },
    text::TextRenderer,
};
use crate::{closed_set::closed_set, names::EndpointName, topology::Endpoint};

/// The version of `schema.json`. Incompatible changes increase the number.
pub(super) const SCHEMA_VERSION: u64 = 1;

/// A line being written.
pub(super) struct LineWriter<'a> {
    out: &'a mut Vec<u8>,
}

/// Fields at the beginning of every record.
pub(super) struct Head<'a> {
    pub(super) seq: u64,
    pub(super) time: Timestamp,
    pub(super) boot_id: &'a str,
    pub(super) prev_hash: Option<&'a LineHash>,
    pub(super) action: &'a str,
    pub(super) severity: RecordSeverity,
}

closed_set! {
    /// Severity in the terms of Cloud Logging.
    pub(super) enum RecordSeverity {
        Info = "INFO",
        Warning = "WARNING",
        Error = "ERROR",
    }
}

impl<'a> LineWriter<'a> {
    /// Begins a line with the fields of every record.
    pub(super) fn begin(out: &'a mut Vec<u8>, head: &Head<'_>) -> Self {
        out.extend_from_slice(b"{\"schema_version\":");
        let mut line = Self { out };
        line.value(SCHEMA_VERSION);
        line.put_field("seq", head.seq);
        line.put_field("time", format_args!("{:.6}", head.time));
        line.put_field("boot_id", head.boot_id);
        if let Some(hash) = head.prev_hash {
            line.put_field("prev_hash", format_args!("{hash}"));
        }
        line.put_field("severity", head.severity.as_str());
        line.put_field("event.action", head.action);
        line
    }

    /// Adds a key and its value.
    pub(super) fn put_field(&mut self, key: &'static str, value: impl serde::Serialize) {
        self.out.extend_from_slice(b",\"");
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.value(value);
    }

    fn put_some(&mut self, key: &'static str, value: Option<impl serde::Serialize>) {
        if let Some(value) = value {
            self.put_field(key, value);
        }
    }

    fn value(&mut self, value: impl serde::Serialize) {
        serde_json::to_writer(&mut *self.out, &value).expect("plain values can be written to memory");
    }

    pub(super) fn end(self) {
        self.out.extend_from_slice(b"}\n");
    }

    /// Adds the fields of `record`.
    pub(super) fn record(&mut self, record: &Record, shower: &mut TextRenderer) {
        match record {
            Record::SessionOpened(session) | Record::SessionAuthenticated(session) => {
                self.put_outcome(true);
                self.put_session(session);
            }
            Record::SessionRejected(rejected) => {
                self.put_outcome(false);
                self.put_field("event.reason", rejected.reason);
                self.put_sqlstate(rejected.sqlstate);
                self.put_session(&rejected.session);
            }
            Record::SessionClosed(closed) => {
                self.put_outcome(closed.reason.is_none());
                self.put_some("event.reason", closed.reason);
                self.put_session(&closed.session);
                self.put_duration(closed.duration);
                self.put_field("session.statements", closed.statements);
                self.put_field("session.bytes_to_endpoint", closed.traffic.0);
                self.put_field("session.bytes_to_client", closed.traffic.1);
            }
            Record::SessionPinned(pinned) => {
                self.put_outcome(true);
                self.put_field("event.reason", pinned.reason);
                self.put_session(&pinned.session);
                self.put_server(&pinned.server);
            }
            Record::StatementExecuted(statement) => self.put_statement(statement, shower),
            Record::CommitResolved(resolved) => {
                self.put_outcome(resolved.outcome == "committed");
                self.put_field("event.reason", resolved.outcome);
                self.put_session(&resolved.session);
                self.put_server(&resolved.server);
                self.put_field("db.transaction.id", resolved.xid.to_string());
            }
            Record::StatementRefused(refused) => self.put_refused(refused),
            Record::StatementCancelled(cancelled) => self.put_cancelled(cancelled),
            Record::BackendOpened(backend) | Record::BackendClosed(backend) => self.put_backend(backend),
            Record::TopologyChanged(change) => {
                self.put_field("change.what", change.what);
                self.put_some("change.from", change.from.as_deref());
                self.put_some("change.to", change.to.as_deref());
                if let Some(endpoint) = &change.endpoint {
                    self.endpoint(endpoint);
                }
            }
            Record::FailoverBegan(failover) | Record::FailoverEnded(failover) => self.put_failover(failover),
            Record::TokenMinted(mint) | Record::TokenFailed(mint) => self.put_mint(mint),
            Record::ConfigReloaded(reload) => self.put_reload(reload),
            Record::AdminRequest(request) => self.put_admin_request(request),
            Record::ConsoleCommand(command) => self.put_console_command(command),
            Record::WriterMoved(step) => self.put_writer_move(step),
        }
    }

    fn put_statement(&mut self, statement: &StatementRecord, shower: &mut TextRenderer) {
        self.put_outcome(statement.sqlstate.is_none());
        self.put_session(&statement.session);
        self.put_server(&statement.server);
        if let Some(Route { decision, reason }) = statement.route {
            self.put_field("route.decision", decision);
            self.put_field("route.reason", reason);
        }
        self.put_some("db.operation.name", statement.operation.as_deref());
        if let Some(text) = &statement.text {
            let shown = shower.show(text);
            self.put_some("db.query.text", shown.text.as_deref());
            self.put_some("db.query.fingerprint", shown.fingerprint.as_deref());
            self.put_some("db.query.truncated", shown.truncated.then_some(true));
            self.put_some("db.query.redacted", shown.redacted.then_some(true));
            self.put_some("db.query.withheld", shown.withheld.map(super::text::Withheld::as_str));
        }
        self.put_duration(statement.duration);
        self.put_sqlstate(statement.sqlstate);
        self.put_some("db.response.rows", statement.rows);
    }

    fn put_failover(&mut self, failover: &FailoverRecord) {
        if let Some(endpoint) = &failover.endpoint {
            self.endpoint(endpoint);
        }
        if let Some(duration) = failover.duration {
            self.put_duration(duration);
        }
        self.put_field("failover.rolled_back", failover.rolled_back);
        self.put_field("failover.unknown", failover.unknown);
        self.put_field("failover.committed", failover.committed);
        self.put_field("failover.not_started", failover.not_started);
        self.put_field("failover.reads_interrupted", failover.reads_interrupted);
        self.put_field("failover.sessions_lost", failover.sessions_lost);
    }

    fn put_refused(&mut self, refused: &RefusedStatement) {
        self.put_outcome(false);
        self.put_field("event.reason", refused.reason);
        self.put_sqlstate(refused.sqlstate);
        self.put_session(&refused.session);
        if let Some(endpoint) = &refused.endpoint {
            self.endpoint(endpoint);
        }
    }

    fn put_cancelled(&mut self, cancelled: &Cancelled) {
        self.put_outcome(cancelled.delivered);
        self.put_session(&cancelled.session);
        if let Some(server) = &cancelled.server {
            self.put_server(server);
        }
        self.put_some("cancel.address", cancelled.client.map(|client| client.ip()));
    }

    fn put_backend(&mut self, backend: &BackendRecord) {
        self.put_some("event.reason", backend.reason);
        match &backend.session {
            Some(session) => self.put_session(session),
            None => self.put_field("user.effective.name", backend.user.as_str()),
        }
        self.put_server(&backend.server);
        self.put_duration(backend.duration);
    }

    fn put_mint(&mut self, mint: &Mint) {
        self.put_outcome(mint.error.is_none());
        self.put_some("event.reason", mint.error.as_deref());
        self.endpoint(&mint.endpoint);
        self.put_some("user.effective.name", mint.user.as_ref().map(|user| user.as_str()));
        self.put_duration(mint.duration);
    }

    fn put_reload(&mut self, reload: &Reload) {
        self.put_outcome(reload.error.is_none());
        self.put_field("config.trigger", reload.trigger);
        self.put_some("event.reason", reload.error.as_deref());
        self.put_some("config.changes", Some(&reload.settings).filter(|changes| !changes.is_empty()));
    }

    fn put_admin_request(&mut self, request: &AdminRequest) {
        self.put_outcome(request.status < 400);
        self.put_client(request.client);
        self.put_field("admin.authenticated", request.authenticated);
        self.put_field("http.request.method", &request.method);
        self.put_field("url.path", &request.path);
        self.put_field("http.response.status_code", request.status);
    }

    fn put_console_command(&mut self, command: &ConsoleCommand) {
        self.put_outcome(command.sqlstate.is_none());
        self.put_session(&command.session);
        self.put_field("admin.command", &command.command);
        self.put_sqlstate(command.sqlstate);
    }

    fn put_writer_move(&mut self, step: &WriterMove) {
        self.put_outcome(step.error.is_none());
        self.put_some("event.reason", step.error.as_deref());
        self.put_field("move.phase", step.phase);
        self.put_some("move.from", step.from.as_ref().map(EndpointName::as_str));
        self.put_field("move.to", step.to.as_str());
        self.put_field("admin.through", step.through);
        self.put_client(step.client);
        self.put_some("user.name", step.user.as_ref().map(|user| user.as_str()));
    }

    fn put_session(&mut self, session: &Session) {
        self.put_field("session.id", format_args!("{}", session.id));
        self.put_field("listener", session.listener.as_str());
        self.put_client(session.client);
        self.put_some("client.tls", session.tls);
        self.put_some("client.application_name", session.application.as_deref());
        self.put_some("user.name", session.user.as_ref().map(|user| user.as_str()));
        self.put_some("user.effective.name", session.database_user.as_ref().map(|user| user.as_str()));
        self.put_some("user.method", session.method);
        if let Some(database) = &session.database {
            self.put_field("db.system.name", "postgresql");
            self.put_field("db.namespace", database.as_str());
        }
    }

    /// A client without an address came through a Unix-domain socket.
    fn put_client(&mut self, client: Option<SocketAddr>) {
        match client {
            Some(client) => {
                self.put_field("client.address", client.ip());
                self.put_field("client.port", client.port());
            }
            None => self.put_field("client.address", "local"),
        }
    }

    fn put_server(&mut self, server: &ServerRecord) {
        self.endpoint(&server.endpoint);
        self.put_some("server.backend_pid", server.backend_pid);
    }

    fn endpoint(&mut self, endpoint: &Arc<Endpoint>) {
        self.put_field("server.endpoint", endpoint.name.as_str());
        self.put_field("server.backend_role", endpoint.role.as_str());
    }

    fn put_outcome(&mut self, success: bool) {
        self.put_field("event.outcome", if success { "success" } else { "failure" });
    }

    /// Milliseconds, to the microsecond.
    fn put_duration(&mut self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        #[expect(clippy::cast_precision_loss, reason = "2^53 microseconds are 285 years")]
        self.put_field("duration_ms", micros as f64 / 1e3);
    }

    fn put_sqlstate(&mut self, sqlstate: Option<Sqlstate>) {
        self.put_some("db.response.status_code", sqlstate.as_ref().map(Sqlstate::as_str));
    }
}

impl RecordSeverity {
    /// Severity of a record.
    pub(super) const fn of(record: &Record) -> Self {
        match record {
            Record::SessionRejected(_)
            | Record::StatementRefused(_)
            | Record::TokenFailed(_)
            | Record::TopologyChanged(_)
            | Record::FailoverBegan(_)
            | Record::FailoverEnded(_)
            | Record::WriterMoved(_) => Self::Warning,
            Record::ConfigReloaded(reload) if reload.error.is_some() => Self::Warning,
            _ => Self::Info,
        }
    }
}
