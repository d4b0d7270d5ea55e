//! The classifier's answer.

use super::{Access, Control, Ground, Hint};

/// What a text may do, and why that is said of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Classification {
    /// What it may do to the database.
    pub access: Access,
    /// Why.
    pub ground: Ground,
    /// What it says about transactions.
    pub control: Control,
    /// What a comment in front of it asks for. It changes nothing of the rest: whoever routes weighs it.
    pub hint: Option<Hint>,
}

impl Classification {
    /// Judged on `ground` alone, without a word about transactions.
    #[must_use]
    pub const fn on(ground: Ground) -> Self {
        Self { access: ground.access(), ground, control: Control::None, hint: None }
    }

    /// Whether it may be sent to another node than the primary.
    #[must_use]
    pub fn may_leave_primary(&self) -> bool {
        self.access == Access::Read && self.ground.leaves_primary()
    }
}
