//! The statements of a text, as far as transactions are concerned, put together.

use super::{TransactionControl, TransactionModes};

/// Transaction control of a single statement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// None.
    Plain,
    /// None, with effects that end with the transaction: `SET LOCAL`, a cursor without HOLD.
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
    /// A statement that is not tracked.
    Other,
}

impl Step {
    /// Modes named by the statement.
    pub(super) fn modes(self) -> Option<TransactionModes> {
        match self {
            Self::Begin(modes) | Self::SetTransaction(modes) => Some(modes),
            _ => None,
        }
    }

    /// Transaction control of the whole text.
    pub(super) fn combine_steps(steps: &[Self]) -> TransactionControl {
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
                if let Some(modes) = modes_inside(*modes, inner) {
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

/// Modes of a transaction with the given statements; `None` if the statements end the transaction.
fn modes_inside(mut modes: TransactionModes, steps: &[Step]) -> Option<TransactionModes> {
    let mut begun = false;
    for step in steps {
        match step {
            Step::Plain | Step::Local | Step::Savepoint => begun = true,
            // After the first query the server rejects most modes.
            Step::SetTransaction(set) if !begun => modes = set.over(modes),
            _ => return None,
        }
    }
    Some(modes)
}
