//! Errors that a client may receive in place of the answers of a dedicated server.

use super::{
    execute::Failure,
    faults::{Fault, FaultKind, LossFate},
    server::HEADER_BYTES,
    state::Block,
};
use crate::wire::ErrorFields;

/// Message of a server whose statement is canceled.
pub(super) const CANCELED: &str = "canceling statement due to user request";
/// Message of a standby whose statement is in the way of the replay.
pub(super) const CONFLICT: &str = "canceling statement due to conflict with recovery";

/// Errors that a client may receive.
#[derive(Default)]
pub(super) struct Excuses {
    /// Count of cancel requests that may have reached a statement.
    pub(super) cancels: usize,
    /// Count of canceled waits for a backend.
    pub(super) refusals: usize,
    /// Count of statements failed by a standby.
    pub(super) conflicts: usize,
    pub(super) loss: LossExcuse,
}

/// Statements that fail for a lost backend.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) enum LossExcuse {
    #[default]
    None,
    /// The next statement, for the open transaction.
    Transaction,
    /// The next statement, for possible state of the session.
    State,
    /// All statements without a response.
    Running,
}

// === impl LossExcuse ===

impl LossExcuse {
    /// Excuse left behind an error with this SQLSTATE.
    fn behind(self, code: &str) -> Self {
        match self {
            Self::Running => self,
            Self::Transaction if code == "40001" => Self::State,
            _ => Self::None,
        }
    }

    /// True if the loss explains an error with this SQLSTATE.
    fn explains(self, code: &str) -> bool {
        match self {
            Self::None | Self::State => false,
            Self::Transaction => code == "40001",
            Self::Running => matches!(code, "40001" | "08007" | "08006"),
        }
    }
}

// === impl Excuses ===

impl Excuses {
    /// True for an `error` message about lost state of the session.
    pub(super) fn explains_lost_state(&self, error: &[u8]) -> bool {
        let is_lost = matches!(self.loss, LossExcuse::Transaction | LossExcuse::State);
        let state = || ErrorFields::new(&error[HEADER_BYTES..]).sqlstate();
        is_lost && error[0] == b'E' && state().is_some_and(|state| state.as_str() == "08006")
    }

    /// Fault of the dedicated server that explains the `error` message; `None` without an excuse. The client's transaction
    /// has `status` behind the error, and the servers have the state `fate`. `is_early`: all messages of the client have
    /// their responses.
    pub(super) fn fault(
        &mut self,
        error: &[u8],
        status: u8,
        fate: Option<LossFate>,
        is_early: bool,
    ) -> Option<Fault> {
        if error[0] == b'C' && error[HEADER_BYTES..] == *b"ROLLBACK\0" && self.loss == LossExcuse::Running {
            // The end of a transaction that there is not: Gatekeeper does not warn.
            return Some(Fault { kind: FaultKind::NoWarning, error: Vec::new() });
        }
        if *error == *b"Z\0\0\0\x05E" && self.loss == LossExcuse::Transaction {
            // The status alone tells that the transaction is lost.
            let kind = FaultKind::Loss { block: Block::Failed, fate: None, is_early: false };
            return Some(Fault { kind, error: Vec::new() });
        }
        if error[0] != b'E' {
            return None;
        }
        let error = error[HEADER_BYTES..].to_vec();
        let state = ErrorFields::new(&error).sqlstate()?;
        let says = |text: &str| error.windows(text.len()).any(|part| part == text.as_bytes());
        let kind = match state.as_str() {
            "57014" if says(CANCELED) && self.refusals > 0 => {
                self.refusals -= 1;
                FaultKind::Request
            }
            "57014" if says(CANCELED) && self.cancels > 0 => {
                self.cancels -= 1;
                FaultKind::Statement(Failure("57014", CANCELED.into()))
            }
            "40001" if says(CONFLICT) && self.conflicts > 0 => {
                self.conflicts -= 1;
                FaultKind::Statement(Failure("40001", CONFLICT.into()))
            }
            code @ ("40001" | "08007" | "08006") if self.loss.explains(code) => {
                // Later units may have committed before the comparison.
                let is_told_at_once = self.loss == LossExcuse::Running;
                self.loss = self.loss.behind(code);
                let block = if status == b'I' { Block::None } else { Block::Failed };
                let fate = fate.filter(|_| is_told_at_once);
                let fate = fate.map(|fate| LossFate { is_rolled_back: code != "08007", ..fate });
                FaultKind::Loss { block, fate, is_early }
            }
            _ => return None,
        };
        Some(Fault { kind, error })
    }
}
