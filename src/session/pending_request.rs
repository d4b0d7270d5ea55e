//! A request that the server still has to answer.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use super::{
    batch_facts::BatchFacts,
    captured_texts::CapturedTexts,
    parsed::ParsedStatement,
    pooled::UnnamedStatement,
    proxy_batch::ProxyBatch,
    shared_statement::SharedStatement,
    statement_report::{CapturedText, StatementKind, StatementReport},
};
use crate::{
    sql::{Effects, SettingReset, TransactionCommands},
    wire::{SqlState, error_response, tag::backend as b},
};

/// Request that the server still has to answer.
pub(super) enum PendingRequest {
    /// A Query or FunctionCall: ends with ReadyForQuery.
    Whole {
        kind: StatementKind,
        started: Instant,
        text: Option<CapturedText>,
        rows: u64,
        operation: Option<Box<str>>,
        error: Option<SqlState>,
        /// State possibly left or removed by the text.
        effects: Effects,
        /// Commands of the text that begin or end a transaction.
        commands: TransactionCommands,
        /// Changes by name; few texts have any.
        changes: Option<Box<NamedChanges>>,
        /// Unnamed statement destroyed by a Query, unless the server skips the Query.
        unnamed: Option<Box<UnnamedStatement>>,
    },
    /// An Execute of the portal: ends with its own answer.
    Execute {
        started: Instant,
        portal: Box<[u8]>,
        /// Start-up settings reset by the portal's statement; `None` if the statement removes no session state.
        resets: Option<Vec<SettingReset>>,
        /// Client statement deallocated by SQL, unless the Execute fails.
        forgets: Option<Box<Forgotten>>,
    },
    /// A Parse: the statement exists once the server says so.
    Parse { name: Box<[u8]>, text: Option<CapturedText>, made: ParseOrigin },
    /// A Bind; names are kept when texts are, and when the client has two names for a statement.
    Bind { portal: Box<[u8]>, statement: Box<[u8]> },
    /// Provoked server error for a message rejected by Gatekeeper: the client gets the contained report.
    Refused(Box<error_response::ErrorResponse<'static>>),
    /// A Describe: ends with RowDescription or NoData.
    Describe(Described),
    /// A Close.
    Close { name: Box<[u8]>, closed: CloseOrigin },
    /// All that a batch of our own, up to its Sync, is answered with.
    Own(ProxyBatch),
    /// A CopyDone or CopyFail: has no answer of its own, but ends the stretch in which Sync is ignored.
    CopyEnd,
    /// A Sync: ends with ReadyForQuery.
    Sync { started: Instant, batch: BatchFacts },
}

/// Settings and statements changed by name in the text of a Query.
#[derive(Default)]
pub(super) struct NamedChanges {
    /// Start-up settings reset by the request.
    pub leads_back: Vec<SettingReset>,
    /// Client statements that the text deallocates, in order: each is gone with its CommandComplete.
    pub deallocates: VecDeque<Box<[u8]>>,
}

/// A client's statement, with the client's name.
pub(super) struct Forgotten {
    /// Name of the client.
    pub name: Box<[u8]>,
    /// The statement.
    pub statement: ClosedStatement,
}

/// A closed or deallocated statement of a client: restored if the server skips the request.
pub(super) struct ClosedStatement {
    /// The statement.
    pub statement: Arc<SharedStatement>,
    /// The client's expectations before the Close.
    pub expectations: ParsedStatement,
    /// The statement under the client's own name.
    pub own_name: OwnName,
}

/// Presence of a statement on the backend under the client's own name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OwnName {
    /// The backend has the statement.
    OnBackend,
    /// The backend has at most a shared statement.
    Absent,
}

/// Origin of a Parse.
pub(super) enum ParseOrigin {
    /// The client, under the client's own name.
    Client,
    /// A shared statement, known to the client by its own name.
    Named(Arc<SharedStatement>),
    /// The client's unnamed statement. Contains the previous unnamed statement, valid again if the server skips the
    /// Parse.
    Unnamed(Option<Box<UnnamedStatement>>),
    /// Gatekeeper, for a shared statement missing on the backend: the client gets no response.
    Proxy(Arc<SharedStatement>),
    /// Gatekeeper, for the client's unnamed statement missing on the backend: the client gets no response.
    ProxyUnnamed,
    /// Gatekeeper, for a statement under the client's own name: the client gets no response.
    Rename,
}

/// Purpose of a Describe response.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Described {
    /// For the client, of a portal.
    AsIs,
    /// For the client, of a statement.
    Statement,
    /// For the client, of a statement, and kept as its known result.
    Learned(u64),
    /// For the client, of a portal, and kept as the known result of its statement.
    LearnedByPortal(u64),
    /// For comparison of the statement's result with the client's description; not sent to the client.
    Ours(u64),
}

/// Origin of a Close.
pub(super) enum CloseOrigin {
    /// The client, for a portal.
    Portal,
    /// The client, for a statement that the session has not prepared by message.
    Client,
    /// The client's name for this statement; the statement itself stays.
    Name(ClosedStatement),
    /// The client's unnamed statement, contained here.
    Unnamed(Option<Box<UnnamedStatement>>),
    /// Gatekeeper, for a shared statement that makes room or is parsed anew, or, with 0, another session's unnamed
    /// statement: the client gets no response.
    Proxy(u64),
    /// Gatekeeper, for a client's own name about to be parsed: the client gets no response.
    Rename,
}

/// Effects of texts able to run `DISCARD ALL`, `DISCARD SEQUENCES` or `DEALLOCATE ALL`, directly or through an executed
/// statement.
pub(super) const MAY_RESET: Effects = Effects::DISCARD.union(Effects::PREPARE);

// === impl NamedChanges ===

impl NamedChanges {
    /// The changes, if there are any.
    pub(super) fn of(leads_back: Vec<SettingReset>, deallocates: VecDeque<Box<[u8]>>) -> Option<Box<Self>> {
        let is_empty = leads_back.is_empty() && deallocates.is_empty();
        (!is_empty).then(|| Box::new(Self { leads_back, deallocates }))
    }
}

// === impl PendingRequest ===

impl PendingRequest {
    /// Creates a Query or FunctionCall without effects.
    pub(super) const fn whole(kind: StatementKind, started: Instant, text: Option<CapturedText>) -> Self {
        Self::Whole {
            kind,
            started,
            text,
            rows: 0,
            operation: None,
            error: None,
            effects: Effects::NONE,
            commands: TransactionCommands::NONE,
            changes: None,
            unnamed: None,
        }
    }

    /// True if the request may remove state left by earlier requests.
    pub(super) fn may_reset(&self) -> bool {
        match self {
            Self::Whole { effects, changes, .. } => {
                let leads_back = changes.as_ref().is_some_and(|changes| !changes.leads_back.is_empty());
                effects.intersects(MAY_RESET) || leads_back
            }
            Self::Execute { resets, .. } => resets.is_some(),
            _ => false,
        }
    }

    /// True if Gatekeeper makes or closes the unnamed statement for a later request of the client.
    pub(super) fn is_own_unnamed(&self) -> bool {
        matches!(
            self,
            Self::Parse { made: ParseOrigin::ProxyUnnamed, .. }
                | Self::Close { closed: CloseOrigin::Proxy(0), .. }
        )
    }

    /// Previous unnamed statement, if the request replaces or destroys the unnamed statement.
    pub(super) fn unnamed_before(&mut self) -> Option<&mut Option<Box<UnnamedStatement>>> {
        match self {
            Self::Parse { made: ParseOrigin::Unnamed(before), .. }
            | Self::Close { closed: CloseOrigin::Unnamed(before), .. }
            | Self::Whole { kind: StatementKind::Query, unnamed: before, .. } => Some(before),
            _ => None,
        }
    }

    /// Name of the client's statement that the request makes or closes.
    pub(super) fn statement(&self) -> Option<&[u8]> {
        match self {
            Self::Parse {
                name,
                made: ParseOrigin::Client | ParseOrigin::Named(_) | ParseOrigin::Unnamed(_),
                ..
            }
            | Self::Close {
                name,
                closed: CloseOrigin::Client | CloseOrigin::Name(..) | CloseOrigin::Unnamed(_),
            } => Some(name),
            // Unless skipped, a Query destroys the unnamed statement.
            Self::Whole { kind: StatementKind::Query, .. } => Some(b""),
            _ => None,
        }
    }

    /// True if a message with `tag` is the response to this step of a batch.
    pub(super) fn is_answered_by(&self, tag: u8) -> bool {
        match self {
            Self::Parse { .. } => tag == b::PARSE_COMPLETE,
            Self::Bind { .. } => tag == b::BIND_COMPLETE,
            Self::Close { .. } => tag == b::CLOSE_COMPLETE,
            Self::Describe(_) => matches!(tag, b::ROW_DESCRIPTION | b::NO_DATA),
            _ => false,
        }
    }

    /// Tags of the messages that answer this step of a batch if it succeeds, and the statement has neither parameters nor a
    /// result. None are for the client if the step is Gatekeeper's own.
    pub(super) const fn success_tags(&self) -> &'static [u8] {
        match self {
            Self::Parse {
                made: ParseOrigin::Client | ParseOrigin::Named(_) | ParseOrigin::Unnamed(_),
                ..
            } => &[b::PARSE_COMPLETE],
            Self::Bind { .. } => &[b::BIND_COMPLETE],
            Self::Describe(Described::AsIs | Described::LearnedByPortal(_)) => &[b::NO_DATA],
            Self::Describe(Described::Statement | Described::Learned(_)) => {
                &[b::PARAMETER_DESCRIPTION, b::NO_DATA]
            }
            Self::Close {
                closed:
                    CloseOrigin::Portal | CloseOrigin::Client | CloseOrigin::Name(_) | CloseOrigin::Unnamed(_),
                ..
            } => &[b::CLOSE_COMPLETE],
            // The client has the CommandComplete.
            Self::Whole { operation: Some(_), .. } => &[],
            Self::Execute { .. } | Self::Whole { .. } => &[b::COMMAND_COMPLETE],
            _ => &[],
        }
    }

    /// Notes in `texts` the statement or portal that the completed step has made or closed.
    pub(super) fn note_names(&self, texts: &mut CapturedTexts) {
        match self {
            Self::Parse { name, text: Some(text), .. } => texts.parsed(name, text.clone()),
            Self::Bind { portal, statement } => texts.bound(portal, statement),
            Self::Close { name, closed: CloseOrigin::Portal } => texts.closed_portal(name),
            Self::Close {
                name,
                closed: CloseOrigin::Client | CloseOrigin::Name(..) | CloseOrigin::Unnamed(_),
            } => texts.closed_statement(name),
            _ => {}
        }
    }

    /// Report of a statement that ended at `now` without a response of the server; `None` for other requests.
    pub(super) fn report_interruption(
        &self,
        now: Instant,
        error: Option<SqlState>,
        texts: Option<&CapturedTexts>,
    ) -> Option<StatementReport> {
        let (kind, started, text) = match self {
            Self::Whole { kind, started, text, .. } => (*kind, *started, text.clone()),
            Self::Execute { started, portal, .. } => {
                (StatementKind::Execute, *started, texts.and_then(|texts| texts.of_portal(portal)))
            }
            _ => return None,
        };
        Some(StatementReport { kind, started, ended: now, rows: 0, operation: None, error, text })
    }

    /// Report of the request, failed at `now` with `state`. A Query is reported with its ReadyForQuery instead.
    pub(super) fn report_failure(
        &self,
        now: Instant,
        state: SqlState,
        texts: Option<&CapturedTexts>,
    ) -> StatementReport {
        let (kind, started, text) = match self {
            Self::Execute { started, portal, .. } => {
                (StatementKind::Execute, *started, texts.and_then(|texts| texts.of_portal(portal)))
            }
            Self::Parse { text, .. } => (StatementKind::Prepare, now, text.clone()),
            Self::Bind { statement, .. } => {
                (StatementKind::Prepare, now, texts.and_then(|texts| texts.of_statement(statement)))
            }
            Self::Sync { started, .. } => (StatementKind::Prepare, *started, None),
            Self::Refused(_)
            | Self::Describe(_)
            | Self::Close { .. }
            | Self::CopyEnd
            | Self::Whole { .. }
            | Self::Own(_) => (StatementKind::Prepare, now, None),
        };
        StatementReport { kind, started, ended: now, rows: 0, operation: None, error: Some(state), text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pending_request_is_small() {
        // A request is moved several times; beyond 128 bytes, with its side effects, each move is a call of `memcpy`.
        let bytes = size_of::<PendingRequest>();
        assert!(bytes <= 112, "{bytes} bytes");
    }
}
