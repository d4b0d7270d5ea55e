//! One fault, with its remedy.

use serde::Serialize;
use utoipa::ToSchema;

use crate::{admin::moment::Moment, closed_set::closed_set};

/// A fault that an operator should know.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Fault {
    /// Kind, from a closed set: `draining`, `writer_move`, `two_writers`, `role_mismatch`, `fenced`, `endpoint_down`,
    /// `listener_unready`, `pool_waits`, `pool_paused`, `statements_refused`, `clients_refused`, `clients_near_limit`,
    /// `errors`, `replication_lag`, `replay_stopped`, `stuck_transaction`, `certificate_ends`, `certificate_ended`, `token_not_renewed`,
    /// `token_missing`, `audit_failing`, `audit_lost`, `reload_failed`, `file_unusable`, `descriptors_near_limit`, `panicked`.
    pub kind: &'static str,
    /// `info`, `warning`, `alarm`.
    pub severity: &'static str,
    /// The listener concerned.
    pub listener: Option<String>,
    /// The endpoint concerned.
    pub endpoint: Option<String>,
    /// The session concerned most.
    pub session: Option<u64>,
    /// One sentence for people; may change.
    pub text: String,
    /// Remedy of the fault, for people; may change.
    pub remedy: String,
    /// Begin of the fault; absent while unknown.
    pub since: Option<Moment>,
}

/// Kind, listener and endpoint: a fault with other words is the same fault.
pub(super) type FaultKey = (&'static str, Option<String>, Option<String>);

closed_set! {
    /// Kind of a fault.
    pub(super) enum FaultKind(
        severity: FaultSeverity,
    ) {
        /// The program is shutting down.
        Draining = "draining" { severity: FaultSeverity::Info },
        /// An operator moves the writer.
        WriterMove = "writer_move" { severity: FaultSeverity::Info },
        /// Several servers accept writes.
        TwoWriters = "two_writers" { severity: FaultSeverity::Alarm },
        /// Declared and observed role differ.
        RoleMismatch = "role_mismatch" { severity: FaultSeverity::Alarm },
        /// A fence keeps writes from an endpoint.
        Fenced = "fenced" { severity: FaultSeverity::Warning },
        /// Logins to an endpoint fail.
        EndpointDown = "endpoint_down" { severity: FaultSeverity::Alarm },
        /// No session of a listener can begin.
        ListenerUnready = "listener_unready" { severity: FaultSeverity::Alarm },
        /// Sessions wait for a backend.
        PoolWaits = "pool_waits" { severity: FaultSeverity::Alarm },
        /// An operator has paused a pool, and sessions wait.
        PoolPaused = "pool_paused" { severity: FaultSeverity::Warning },
        /// Statements got an error of Gatekeeper.
        StatementsRefused = "statements_refused" { severity: FaultSeverity::Alarm },
        /// Clients were refused before the begin of a session.
        ClientsRefused = "clients_refused" { severity: FaultSeverity::Warning },
        /// A listener has nearly its maximum number of clients.
        ClientsNearLimit = "clients_near_limit" { severity: FaultSeverity::Warning },
        /// Many statements fail for reasons outside of the text.
        Errors = "errors" { severity: FaultSeverity::Alarm },
        /// A standby is behind the writer.
        ReplicationLag = "replication_lag" { severity: FaultSeverity::Warning },
        /// The WAL replay of a standby does not go on.
        ReplayStopped = "replay_stopped" { severity: FaultSeverity::Alarm },
        /// A transaction is idle, or has been open for long.
        StuckTransaction = "stuck_transaction" { severity: FaultSeverity::Warning },
        /// A certificate ends soon.
        CertificateEnds = "certificate_ends" { severity: FaultSeverity::Warning },
        /// A certificate has ended.
        CertificateEnded = "certificate_ended" { severity: FaultSeverity::Alarm },
        /// A token cannot be renewed; the last one is still in use.
        TokenNotRenewed = "token_not_renewed" { severity: FaultSeverity::Warning },
        /// No token is left.
        TokenMissing = "token_missing" { severity: FaultSeverity::Alarm },
        /// The audit log cannot be written.
        AuditFailing = "audit_failing" { severity: FaultSeverity::Alarm },
        /// The audit log has lost records.
        AuditLost = "audit_lost" { severity: FaultSeverity::Alarm },
        /// The configuration could not be reloaded.
        ReloadFailed = "reload_failed" { severity: FaultSeverity::Warning },
        /// A changed file cannot be used.
        FileUnusable = "file_unusable" { severity: FaultSeverity::Warning },
        /// The process has nearly its maximum number of file descriptors.
        DescriptorsNearLimit = "descriptors_near_limit" { severity: FaultSeverity::Warning },
        /// A bug has ended a task.
        Panicked = "panicked" { severity: FaultSeverity::Warning },
    }
}

closed_set! {
    /// Importance of a fault.
    pub(super) enum FaultSeverity {
        /// For information: planned by an operator.
        Info = "info",
        /// Needs action soon.
        Warning = "warning",
        /// Clients suffer, or data or records are at risk.
        Alarm = "alarm",
    }
}

// === impl Fault ===

impl Fault {
    pub(super) const fn new(kind: FaultKind, text: String, remedy: String, since: Option<Moment>) -> Self {
        Self {
            kind: kind.as_str(),
            severity: kind.severity().as_str(),
            listener: None,
            endpoint: None,
            session: None,
            text,
            remedy,
            since,
        }
    }

    pub(super) fn key(&self) -> FaultKey {
        (self.kind, self.listener.clone(), self.endpoint.clone())
    }

    pub(super) fn of_listener(self, name: impl ToString) -> Self {
        Self { listener: Some(name.to_string()), ..self }
    }

    pub(super) fn of_endpoint(self, name: impl ToString) -> Self {
        Self { endpoint: Some(name.to_string()), ..self }
    }

    pub(super) fn of_session(self, id: Option<u64>) -> Self {
        Self { session: id, ..self }
    }
}
