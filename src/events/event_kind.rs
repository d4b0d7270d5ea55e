//! What can happen that is worth a line on the status page.

use std::fmt;

use crate::{
    closed_set::closed_set,
    names::{EndpointName, ListenerName, UserName},
    topology::{Health, SnapshotChange},
};

/// One thing that happened. Two that are equal are the same thing happening again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// What is known of the topology changed.
    Topology(SnapshotChange),
    /// A listener turned a client away.
    Refused {
        /// Which one.
        listener: ListenerName,
        /// A word of a closed set: why.
        reason: &'static str,
    },
    /// The configuration was read again and is in use.
    Reloaded {
        /// Who asked: `signal`, `admin`, `console`.
        trigger: &'static str,
        /// What is different now, a sentence each.
        changed: Vec<String>,
    },
    /// The configuration was read again, and nothing changed.
    ReloadFailed {
        /// Who asked.
        trigger: &'static str,
        /// The first mistake.
        error: String,
    },
    /// Files that changed were read again and are in use.
    FilesReloaded {
        /// What is in them.
        what: String,
    },
    /// Files that changed cannot be used.
    FilesUnusable {
        /// What should be in them.
        what: String,
        /// Why not.
        error: String,
    },
    /// A token could not be minted.
    TokenFailed {
        /// For which endpoint.
        endpoint: EndpointName,
        /// For whom.
        user: UserName,
        /// Why.
        error: String,
    },
    /// An operator had something done.
    Operated {
        /// Through what: `admin`, `console`.
        through: &'static str,
        /// What, in a few words.
        what: String,
    },
    /// The program was told to end.
    Draining,
}

closed_set! {
    /// How much an event wants to be seen.
    pub enum EventSeverity {
        /// It is good to know.
        Info = "info",
        /// Somebody may want to look.
        Warning = "warning",
        /// Somebody must look.
        Alarm = "alarm",
    }
}

/// Characters of a text that comes from elsewhere: one event must not take the place of hundreds.
const TEXT: usize = 300;

// === impl EventKind ===

impl EventKind {
    /// A word of a closed set.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Topology(_) => "topology",
            Self::Refused { .. } => "refused",
            Self::Reloaded { .. } => "reloaded",
            Self::ReloadFailed { .. } => "reload_failed",
            Self::FilesReloaded { .. } => "files_reloaded",
            Self::FilesUnusable { .. } => "files_unusable",
            Self::TokenFailed { .. } => "token_failed",
            Self::Operated { .. } => "operated",
            Self::Draining => "draining",
        }
    }

    /// How much it wants to be seen.
    #[must_use]
    pub const fn severity(&self) -> EventSeverity {
        match self {
            Self::Topology(change) if change.is_alarm() => EventSeverity::Alarm,
            Self::TokenFailed { .. } => EventSeverity::Alarm,
            Self::ReloadFailed { .. } | Self::FilesUnusable { .. } => EventSeverity::Warning,
            Self::Refused { .. } | Self::Draining => EventSeverity::Warning,
            Self::Topology(
                SnapshotChange::Node { .. } | SnapshotChange::Health { to: Health::Unknown, .. },
            ) =>
                EventSeverity::Warning,
            Self::Topology(_)
            | Self::Reloaded { .. }
            | Self::FilesReloaded { .. }
            | Self::Operated { .. } => EventSeverity::Info,
        }
    }

    /// The endpoint it is about.
    #[must_use]
    pub const fn endpoint(&self) -> Option<&EndpointName> {
        match self {
            Self::Topology(change) => change.endpoint(),
            Self::TokenFailed { endpoint, .. } => Some(endpoint),
            _ => None,
        }
    }

    /// The listener it is about.
    #[must_use]
    pub const fn listener(&self) -> Option<&ListenerName> {
        match self {
            Self::Refused { listener, .. } => Some(listener),
            _ => None,
        }
    }

    /// Whether it comes in floods: then it is one event that happened many times. What changes the picture never is.
    pub(super) const fn comes_in_floods(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::TokenFailed { .. } | Self::FilesUnusable { .. })
    }

    /// The same with no text longer than it may be.
    pub(super) fn bounded(mut self) -> Self {
        match &mut self {
            Self::Reloaded { changed, .. } => {
                changed.truncate(16);
                changed.iter_mut().for_each(cut);
            }
            Self::ReloadFailed { error, .. } | Self::TokenFailed { error, .. } => cut(error),
            Self::FilesUnusable { what, error } => {
                cut(what);
                cut(error);
            }
            Self::FilesReloaded { what } | Self::Operated { what, .. } => cut(what),
            Self::Topology(SnapshotChange::Health { reason: Some(reason), .. }) if reason.len() > TEXT => {
                let mut short = reason.to_string();
                cut(&mut short);
                *reason = short.into();
            }
            Self::Topology(_) | Self::Refused { .. } | Self::Draining => {}
        }
        self
    }
}

fn cut(text: &mut String) {
    if let Some((end, _)) = text.char_indices().nth(TEXT) {
        text.truncate(end);
        text.push('…');
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topology(change) => change.fmt(f),
            Self::Refused { listener, reason } => {
                write!(f, "listener `{listener}` refused a client: {}", reason.replace('_', " "))
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
            Self::Operated { through, what } => write!(f, "an operator ({through}): {what}"),
            Self::Draining => f.write_str("shutdown requested: draining sessions"),
        }
    }
}
