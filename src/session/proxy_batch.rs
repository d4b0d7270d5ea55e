//! Internal batches, invisible to the client: a deferred BEGIN, settings for a backend, and state checks.

use super::{
    backend_statements::BackendStatements,
    commit_id::{CommitId, CommitStatus},
    internal_statements::InternalStatements,
    setting_values::SettingValues,
    state_check::{StateCheck, next_value},
};
use crate::wire::{Frame, Reader, SqlState, tag::backend as b};

/// Internal batch, from its first message to its Sync, with the response so far.
pub(super) enum ProxyBatch {
    /// A deferred BEGIN. `failed` once the server refused the command.
    Begin { failed: Option<SqlState> },
    /// `DISCARD SEQUENCES`: what other sessions left of theirs.
    Sequences,
    /// `DISCARD SEQUENCES` within a client's batch. `left` CloseComplete messages are pending.
    SequencesWithin { left: usize },
    /// Settings that the backend is given. `failed` once the server refused one.
    Apply { wanted: SettingValues, failed: Option<SqlState> },
    /// Start-up settings applied again after a reset: the client's request ends with the ReadyForQuery of the batch.
    Again { failed: Option<SqlState> },
    /// Start-up settings applied again within a client's batch. `left` CloseComplete messages are pending.
    AgainWithin { left: usize, failed: Option<SqlState> },
    /// A state check.
    StateCheck(Box<StateCheck>),
    /// Statements made or closed under a client's own names.
    Aside,
    /// A node's replay position, which has to be `required` at least.
    Position { required: u64, replayed: Option<u64> },
    /// The id of the transaction that the client is about to commit.
    CommitId { id: Option<CommitId> },
    /// The same within a client's batch. `left` CloseComplete messages are pending.
    CommitIdWithin { left: usize, id: Option<CommitId> },
    /// Status of a transaction whose COMMIT is in doubt.
    CommitStatus { status: Option<CommitStatus> },
    /// What the client has said, and will not hear the answer to: it is said again elsewhere.
    Dropped,
}

// === impl ProxyBatch ===

impl ProxyBatch {
    /// A message of the answer that is neither an error nor its end.
    pub(super) fn on_answer(&mut self, frame: &Frame<'_>) {
        match self {
            Self::StateCheck(check) => check.on_answer(frame),
            // Each applied setting ends with a Close of the portal.
            Self::AgainWithin { left, .. }
            | Self::SequencesWithin { left }
            | Self::CommitIdWithin { left, .. }
                if frame.tag() == b::CLOSE_COMPLETE =>
            {
                *left = left.saturating_sub(1);
            }
            Self::Position { replayed, .. } if frame.tag() == b::DATA_ROW => {
                *replayed = first_column(frame).and_then(|text| text.parse().ok());
            }
            Self::CommitId { id } | Self::CommitIdWithin { id, .. } if frame.tag() == b::DATA_ROW => {
                *id = first_column(frame).and_then(CommitId::parse);
            }
            Self::CommitStatus { status } if frame.tag() == b::DATA_ROW => {
                *status = first_column(frame).and_then(CommitStatus::parse);
            }
            _ => {}
        }
    }

    /// The server refused it.
    pub(super) fn on_error(&mut self, state: SqlState) {
        match self {
            Self::StateCheck(check) => check.on_error(),
            Self::Begin { failed }
            | Self::Apply { failed, .. }
            | Self::Again { failed }
            | Self::AgainWithin { failed, .. } => *failed = Some(state),
            Self::Position { replayed, .. } => *replayed = None,
            Self::CommitId { id } | Self::CommitIdWithin { id, .. } => *id = None,
            Self::CommitStatus { status } => *status = None,
            Self::Sequences | Self::SequencesWithin { .. } | Self::Aside | Self::Dropped => {}
        }
    }

    /// Notes a response message too large to be read.
    pub(super) fn on_too_large(&mut self, tag: u8) {
        match self {
            Self::StateCheck(check) if tag == b::DATA_ROW => check.on_too_large(),
            // No expected error is so large; any ErrorResponse counts as an error.
            _ if tag == b::ERROR_RESPONSE => self.on_error(SqlState::INTERNAL_ERROR),
            _ => {}
        }
    }

    /// True if the batch is over before a ReadyForQuery.
    pub(super) fn is_over(&self) -> bool {
        matches!(
            self,
            Self::AgainWithin { left: 0, .. }
                | Self::SequencesWithin { left: 0 }
                | Self::CommitIdWithin { left: 0, .. }
        )
    }

    /// Whether the server refused it.
    fn has_failed(&self) -> bool {
        match self {
            Self::StateCheck(check) => check.has_failed(),
            Self::Begin { failed }
            | Self::Apply { failed, .. }
            | Self::Again { failed }
            | Self::AgainWithin { failed, .. } => failed.is_some(),
            Self::Position { replayed, .. } => replayed.is_none(),
            Self::CommitId { id } | Self::CommitIdWithin { id, .. } => id.is_none(),
            Self::CommitStatus { status } => status.is_none(),
            Self::Sequences | Self::SequencesWithin { .. } | Self::Aside | Self::Dropped => false,
        }
    }

    /// It is over: what it has parsed is there, or, when it was refused, may be there or not.
    pub(super) fn settle(&self, internal_statements: &InternalStatements, prepared: &mut BackendStatements) {
        for statement in internal_statements.all() {
            if self.has_failed() {
                prepared.doubt(statement.id());
            } else {
                prepared.made(statement.id());
            }
        }
    }
}

/// Text of the first column of a DataRow; `None` for NULL.
fn first_column<'a>(frame: &Frame<'a>) -> Option<&'a str> {
    let mut row = Reader::new(frame.body());
    row.i16().ok()?;
    std::str::from_utf8(next_value(&mut row)?).ok()
}
