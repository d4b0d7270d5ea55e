//! The classifier's answer.

use super::{ClassifyReason, Hint, StatementAccess, TransactionControl};

/// Effect of a text on the database, with the reason.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Classification {
    /// Access to the database.
    pub access: StatementAccess,
    /// Why.
    pub reason: ClassifyReason,
    /// Transaction control statements of the text.
    pub control: TransactionControl,
    /// Hint in a leading comment. Independent of the other fields: the router weighs the hint.
    pub hint: Option<Hint>,
}

impl Classification {
    /// Judged on `ground` alone, without a word about transactions.
    #[must_use]
    pub const fn on(reason: ClassifyReason) -> Self {
        Self { access: reason.access(), reason, control: TransactionControl::None, hint: None }
    }

    /// True if the text may run on a node other than the primary.
    #[must_use]
    pub fn may_leave_primary(&self) -> bool {
        self.access == StatementAccess::Read && self.reason.leaves_primary()
    }
}
