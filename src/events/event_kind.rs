//! Kinds of events that the status page lists.

use std::fmt;

use super::FailoverChange;
use crate::{
    closed_set::closed_set,
    names::{EndpointName, ListenerName, UserName},
    topology::{Health, SnapshotChange},
};

/// One event. Equal values are repetitions of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// The observed topology changed.
    Topology(SnapshotChange),
    /// A listener rejected a client.
    Refused {
        /// The listener.
        listener: ListenerName,
        /// Reason from a closed set.
        reason: &'static str,
    },
    /// A listener answered a statement with an error of its own, because no backend was available.
    StatementRefused {
        /// The listener.
        listener: ListenerName,
        /// Reason from a closed set.
        reason: &'static str,
    },
    /// The configuration was reloaded.
    Reloaded {
        /// Trigger: `signal`, `admin`, `console`.
        trigger: &'static str,
        /// One sentence for each change.
        changed: Vec<String>,
    },
    /// A configuration reload failed and changed nothing.
    ReloadFailed {
        /// Trigger of the reload.
        trigger: &'static str,
        /// The first mistake.
        error: String,
    },
    /// Changed files were reloaded.
    FilesReloaded {
        /// Content of the files.
        what: String,
    },
    /// Changed files are invalid.
    FilesUnusable {
        /// Expected content of the files.
        what: String,
        /// Reason.
        error: String,
    },
    /// A token could not be minted.
    TokenFailed {
        /// Endpoint of the login.
        endpoint: EndpointName,
        /// Database user of the login.
        user: UserName,
        /// Reason.
        error: String,
    },
    /// A failover began or ended.
    Failover(FailoverChange),
    /// A COMMIT whose backend was lost has an outcome.
    CommitResolved {
        /// Listener of the session.
        listener: ListenerName,
        /// Id of the transaction.
        xid: u64,
        /// Outcome from a closed set.
        outcome: &'static str,
    },
    /// An operator ran a command.
    Operated {
        /// Interface: `admin`, `console`.
        through: &'static str,
        /// Short description of the command.
        what: String,
    },
    /// A phase of a move of the writer.
    WriterMove {
        /// The new writer.
        endpoint: EndpointName,
        /// Phase from a closed set.
        phase: &'static str,
        /// Description of the phase.
        text: String,
        /// The move ended without effect.
        is_failure: bool,
    },
    /// A shutdown was requested.
    Draining,
}

closed_set! {
    /// Importance of an event.
    pub enum EventSeverity {
        /// For information.
        Info = "info",
        /// May need attention.
        Warning = "warning",
        /// Needs action.
        Alarm = "alarm",
    }
}

/// Maximum length of a foreign text in characters, which bounds the memory of one event.
const MAX_TEXT_CHARACTERS: usize = 300;

// === impl EventKind ===

impl EventKind {
    /// The kind, from a closed set.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Topology(_) => "topology",
            Self::Refused { .. } => "refused",
            Self::StatementRefused { .. } => "statement_refused",
            Self::Reloaded { .. } => "reloaded",
            Self::ReloadFailed { .. } => "reload_failed",
            Self::FilesReloaded { .. } => "files_reloaded",
            Self::FilesUnusable { .. } => "files_unusable",
            Self::TokenFailed { .. } => "token_failed",
            Self::Failover(FailoverChange { duration: None, .. }) => "failover_began",
            Self::Failover(_) => "failover_ended",
            Self::CommitResolved { .. } => "commit_resolved",
            Self::Operated { .. } => "operated",
            Self::WriterMove { .. } => "writer_move",
            Self::Draining => "draining",
        }
    }

    /// Importance of the event.
    #[must_use]
    pub const fn severity(&self) -> EventSeverity {
        match self {
            Self::Topology(change) if change.is_alarm() => EventSeverity::Alarm,
            Self::TokenFailed { .. } => EventSeverity::Alarm,
            Self::Failover(FailoverChange { duration: None, .. }) => EventSeverity::Warning,
            Self::ReloadFailed { .. } | Self::FilesUnusable { .. } => EventSeverity::Warning,
            Self::Refused { .. } | Self::StatementRefused { .. } | Self::Draining => EventSeverity::Warning,
            Self::WriterMove { is_failure: true, .. } => EventSeverity::Warning,
            Self::Topology(
                SnapshotChange::Node { .. } | SnapshotChange::Health { to: Health::Unknown, .. },
            ) => EventSeverity::Warning,
            Self::Topology(change) if change.is_warning() => EventSeverity::Warning,
            Self::Topology(_)
            | Self::Failover(_)
            | Self::CommitResolved { .. }
            | Self::Reloaded { .. }
            | Self::FilesReloaded { .. }
            | Self::WriterMove { .. }
            | Self::Operated { .. } => EventSeverity::Info,
        }
    }

    /// The endpoint concerned.
    #[must_use]
    pub const fn endpoint(&self) -> Option<&EndpointName> {
        match self {
            Self::Topology(change) => change.endpoint(),
            Self::TokenFailed { endpoint, .. } | Self::WriterMove { endpoint, .. } => Some(endpoint),
            Self::Failover(change) => change.writer.as_ref(),
            _ => None,
        }
    }

    /// The listener concerned.
    #[must_use]
    pub const fn listener(&self) -> Option<&ListenerName> {
        match self {
            Self::Refused { listener, .. }
            | Self::StatementRefused { listener, .. }
            | Self::CommitResolved { listener, .. } => Some(listener),
            _ => None,
        }
    }

    /// True for events that repeat often and are counted as one event. False for topology changes.
    pub(super) const fn comes_in_floods(&self) -> bool {
        matches!(
            self,
            Self::Refused { .. }
                | Self::StatementRefused { .. }
                | Self::TokenFailed { .. }
                | Self::FilesUnusable { .. }
                | Self::CommitResolved { .. }
        )
    }

    /// Truncates long texts.
    pub(super) fn with_bounded_texts(mut self) -> Self {
        match &mut self {
            Self::Reloaded { changed, .. } => {
                changed.truncate(16);
                changed.iter_mut().for_each(cut_text);
            }
            Self::ReloadFailed { error, .. } | Self::TokenFailed { error, .. } => cut_text(error),
            Self::FilesUnusable { what, error } => {
                cut_text(what);
                cut_text(error);
            }
            Self::FilesReloaded { what: text }
            | Self::Operated { what: text, .. }
            | Self::WriterMove { text, .. } => cut_text(text),
            Self::Topology(SnapshotChange::Health { reason: Some(reason), .. })
                if reason.len() > MAX_TEXT_CHARACTERS =>
            {
                let mut short = reason.to_string();
                cut_text(&mut short);
                *reason = short.into();
            }
            Self::Topology(_)
            | Self::Refused { .. }
            | Self::StatementRefused { .. }
            | Self::Failover(_)
            | Self::CommitResolved { .. }
            | Self::Draining => {}
        }
        self
    }
}

fn cut_text(text: &mut String) {
    if let Some((end, _)) = text.char_indices().nth(MAX_TEXT_CHARACTERS) {
        text.truncate(end);
        text.push('…');
    }
}

fn describe_failover(change: &FailoverChange, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let FailoverChange { writer, duration, fates } = change;
    match (writer, duration) {
        (Some(writer), None) => write!(f, "failover began: the writer `{writer}` was lost ({fates})"),
        (None, None) => write!(f, "failover began: no server accepts writes ({fates})"),
        (writer, Some(duration)) => {
            let writer = writer.as_ref().map_or("none", EndpointName::as_str);
            let seconds = duration.as_secs_f64();
            write!(f, "failover ended after {seconds:.1} s: the writer is `{writer}` ({fates})")
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topology(change) => change.fmt(f),
            Self::Refused { listener, reason } => {
                write!(f, "listener `{listener}` refused a client: {}", reason.replace('_', " "))
            }
            Self::StatementRefused { listener, reason } => {
                write!(f, "listener `{listener}` refused a statement: {}", reason.replace('_', " "))
            }
            Self::Reloaded { trigger, changed } if changed.is_empty() => {
                write!(f, "configuration reloaded ({trigger}): no change")
            }
            Self::Reloaded { trigger, changed } => {
                write!(f, "configuration reloaded ({trigger}): {}", changed.join("; "))
            }
            Self::ReloadFailed { trigger, error } => {
                write!(f, "configuration reload failed ({trigger}), nothing changed: {error}")
            }
            Self::FilesReloaded { what } => write!(f, "changed files reloaded: {what}"),
            Self::FilesUnusable { what, error } => {
                write!(f, "changed files cannot be used, the old ones stay: {what}: {error}")
            }
            Self::TokenFailed { endpoint, user, error } => {
                write!(f, "no token for user `{user}` of endpoint `{endpoint}`: {error}")
            }
            Self::Failover(change) => describe_failover(change, f),
            Self::CommitResolved { listener, xid, outcome } => {
                let outcome = outcome.replace('_', " ");
                write!(f, "transaction {xid} through listener `{listener}`, whose server was lost: {outcome}")
            }
            Self::Operated { through, what } => write!(f, "an operator ({through}): {what}"),
            Self::WriterMove { text, is_failure: true, .. } => write!(f, "the writer was not moved: {text}"),
            Self::WriterMove { text, .. } => f.write_str(text),
            Self::Draining => f.write_str("shutdown requested: draining sessions"),
        }
    }
}
