//! The statements of a text, as far as transactions are concerned, put together.

use super::{TransactionControl, TransactionModes};

/// What one statement says about transactions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// Nothing.
    Plain,
    /// Nothing, and what it makes ends with the transaction: `SET LOCAL`, a cursor without HOLD.
    Local,
    Begin(TransactionModes),
    SetTransaction(TransactionModes),
    Commit {
        chain: bool,
    },
    Rollback {
        chain: bool,
    },
    Savepoint,
    /// Something that is not followed.
    Other,
}

impl Step {
    /// The modes that it names.
    pub(super) fn modes(self) -> Option<TransactionModes> {
        match self {
            Self::Begin(modes) | Self::SetTransaction(modes) => Some(modes),
            _ => None,
        }
    }

    /// What all of a text's statements say together.
    pub(super) fn together(steps: &[Self]) -> TransactionControl {
        match steps {
            [] => return TransactionControl::None,
            [Self::Begin(modes)] => return TransactionControl::Begin(*modes),
            [Self::Commit { chain }] => return TransactionControl::Commit { chain: *chain },
            [Self::Rollback { chain }] => return TransactionControl::Rollback { chain: *chain },
            [
                Self::Begin(modes),
                inner @ ..,
                Self::Commit { chain: false } | Self::Rollback { chain: false },
            ] => {
                if let Some(modes) = inside(*modes, inner) {
                    return TransactionControl::Whole(modes);
                }
            }
            _ => {}
        }
        if steps.iter().all(|step| matches!(step, Self::Plain | Self::Local)) {
            return TransactionControl::None;
        }
        if steps.iter().all(|step| *step == Self::Savepoint) {
            return TransactionControl::Savepoint;
        }
        if steps.iter().all(|step| matches!(step, Self::SetTransaction(_))) {
            let modes = steps.iter().filter_map(|step| step.modes());
            return TransactionControl::SetTransaction(
                modes.fold(TransactionModes::default(), |before, modes| modes.over(before)),
            );
        }
        TransactionControl::Mixed
    }
}

/// The modes of a transaction that goes through these statements without an end, if it does.
fn inside(mut modes: TransactionModes, steps: &[Step]) -> Option<TransactionModes> {
    let mut begun = false;
    for step in steps {
        match step {
            Step::Plain | Step::Local | Step::Savepoint => begun = true,
            // Behind a first query the server refuses most of it.
            Step::SetTransaction(set) if !begun => modes = set.over(modes),
            _ => return None,
        }
    }
    Some(modes)
}
