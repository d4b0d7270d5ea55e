//! What a command comes to.

use super::table::Row;
use crate::wire::{ErrorResponse, Severity, SqlState};

/// What a command comes to: its notices, then its rows, made as they are sent.
pub(super) struct CommandResponse {
    pub(super) notices: Vec<ErrorResponse<'static>>,
    pub(super) rows: Rows,
}

/// Rows to come. Making them lazily keeps a long table from holding up the clients of this worker.
pub(super) type Rows = Box<dyn Iterator<Item = Row>>;

impl CommandResponse {
    /// It is done, and there is nothing to say.
    pub(super) fn done() -> Self {
        Self::rows(std::iter::empty())
    }

    /// A table.
    pub(super) fn rows(rows: impl IntoIterator<Item = Row, IntoIter: 'static>) -> Self {
        Self { notices: Vec::new(), rows: Box::new(rows.into_iter()) }
    }

    /// With something to know.
    pub(super) fn notice(mut self, message: impl Into<String>, detail: Option<String>) -> Self {
        let notice = ErrorResponse::new(Severity::Notice, SqlState::SUCCESSFUL_COMPLETION, message.into());
        self.notices.push(ErrorResponse { detail: detail.map(Into::into), ..notice });
        self
    }
}
