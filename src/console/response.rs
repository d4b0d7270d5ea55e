//! The response to a command.

use super::table::Row;
use crate::wire::{ErrorResponse, Severity, SqlState};

/// The response to a command: notices, then rows, built while they are sent.
pub(super) struct CommandResponse {
    pub(super) notices: Vec<ErrorResponse<'static>>,
    pub(super) rows: Rows,
}

/// Rows of a response. Building them lazily keeps a long table from delaying other clients of the worker.
pub(super) type Rows = Box<dyn Iterator<Item = Row>>;

impl CommandResponse {
    /// A response without rows.
    pub(super) fn done() -> Self {
        Self::rows(std::iter::empty())
    }

    /// A table.
    pub(super) fn rows(rows: impl IntoIterator<Item = Row, IntoIter: 'static>) -> Self {
        Self { notices: Vec::new(), rows: Box::new(rows.into_iter()) }
    }

    /// Adds a notice.
    pub(super) fn with_notice(mut self, message: impl Into<String>, detail: Option<String>) -> Self {
        let notice = ErrorResponse::new(Severity::Notice, SqlState::SUCCESSFUL_COMPLETION, message.into());
        self.notices.push(ErrorResponse { detail: detail.map(Into::into), ..notice });
        self
    }
}
