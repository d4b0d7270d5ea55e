//! Reason for a move without effect.

use std::sync::Arc;

use crate::{
    names::EndpointName,
    probe::{FreshAnswer, NoAnswer},
    topology::{DecisionError, DeclaredRole, ObservedRole},
};

/// Reason for a move without effect: the writer is the same as before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoveError {
    /// The endpoint is not in the configuration.
    #[error("endpoint `{0}` does not exist")]
    UnknownEndpoint(EndpointName),
    /// The endpoint serves reads: its backends are read-only, and its address may stand for several servers.
    #[error(
        "endpoint `{0}` is declared {1}: only an endpoint declared primary or secondary can be the writer"
    )]
    ServesReads(EndpointName, DeclaredRole),
    /// Another move is under way.
    #[error("the writer is being moved to endpoint `{0}`")]
    InProgress(EndpointName),
    /// The server is in recovery.
    #[error(
        "the server of endpoint `{0}` is in recovery: promote it first, or move with a wait for its promotion"
    )]
    InRecovery(EndpointName),
    /// New transactions of the server are read-only.
    #[error("the server of endpoint `{0}` is read-only")]
    ReadOnly(EndpointName),
    /// A new login failed. The reason holds no secret.
    #[error("endpoint `{0}` does not answer: {1}")]
    NoAnswer(EndpointName, Arc<str>),
    /// The endpoint has no login for the probe, so that its role cannot be read.
    #[error("endpoint `{0}` has no login of its own, so its role cannot be read")]
    NoLogin(EndpointName),
    /// An operator canceled the move.
    #[error("the move was canceled")]
    Canceled,
    /// The program is shutting down.
    #[error("the program is shutting down")]
    ShuttingDown,
}

// === impl MoveError ===

impl MoveError {
    /// Code in the admin API.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownEndpoint(_) => "not_found",
            Self::ServesReads(..) => "serves_reads",
            Self::InProgress(_) => "move_in_progress",
            Self::InRecovery(_) => "in_recovery",
            Self::ReadOnly(_) => "read_only",
            Self::NoAnswer(..) => "no_answer",
            Self::NoLogin(_) => "no_login",
            Self::Canceled => "canceled",
            Self::ShuttingDown => "draining",
        }
    }

    /// SQLSTATE in the console.
    #[must_use]
    pub const fn sqlstate(&self) -> &'static [u8; 5] {
        match self {
            Self::UnknownEndpoint(_) => b"42704",
            Self::InProgress(_) => b"55006",
            Self::InRecovery(_) | Self::ReadOnly(_) => b"25006",
            Self::NoAnswer(..) => b"08001",
            Self::NoLogin(_) | Self::ServesReads(..) => b"55000",
            Self::Canceled => b"57014",
            Self::ShuttingDown => b"57P01",
        }
    }

    pub(super) fn from_decision(error: DecisionError, to: &EndpointName) -> Self {
        match error {
            DecisionError::UnknownEndpoint | DecisionError::NotFenced => Self::UnknownEndpoint(to.clone()),
            DecisionError::NotWritable | DecisionError::StillWritable => Self::InRecovery(to.clone()),
            DecisionError::Held => Self::InProgress(to.clone()),
            DecisionError::Ended => Self::ShuttingDown,
        }
    }

    /// Reason why the endpoint `to` cannot be the writer, by its answer.
    pub(super) fn of_answer(
        answer: Result<FreshAnswer, NoAnswer>,
        to: &EndpointName,
    ) -> Result<FreshAnswer, Self> {
        match answer {
            Ok(fresh) if fresh.answer.role == ObservedRole::Standby => Err(Self::InRecovery(to.clone())),
            Ok(fresh) if fresh.answer.read_only => Err(Self::ReadOnly(to.clone())),
            Ok(fresh) => Ok(fresh),
            Err(NoAnswer::NoLogin) => Err(Self::NoLogin(to.clone())),
            Err(NoAnswer::Failed(reason)) => Err(Self::NoAnswer(to.clone(), reason)),
        }
    }
}
