//! The classifier's answer.

use super::{ClassifyReason, Hint, StatementAccess, TransactionControl};

/// What a text may do, and why that is said of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Classification {
    /// What it may do to the database.
    pub access: StatementAccess,
    /// Why.
    pub reason: ClassifyReason,
    /// What it says about transactions.
    pub control: TransactionControl,
    /// What a comment in front of it asks for. It changes nothing of the rest: whoever routes weighs it.
    pub hint: Option<Hint>,
}

impl Classification {
    /// Judged on `ground` alone, without a word about transactions.
    #[must_use]
    pub const fn on(reason: ClassifyReason) -> Self {
        Self { access: reason.access(), reason, control: TransactionControl::None, hint: None }
    }

    /// Whether it may be sent to another node than the primary.
    #[must_use]
    pub fn may_leave_primary(&self) -> bool {
        self.access == StatementAccess::Read && self.reason.leaves_primary()
    }
}
