//! Treatment of a client message.

use crate::{route::RerunCause, wire::tag::frontend as f};

/// Treatment of a client message.
pub(super) enum MessageAction {
    /// The message is forwarded unchanged.
    Forward,
    /// Gatekeeper has answered or rewritten the message.
    Consumed,
    /// Rejected by Gatekeeper: no part of the message is forwarded.
    Refused,
    /// The message is processed later.
    Wait,
    /// The message is processed later: further responses decide about it.
    AwaitResponses,
    /// The message is processed later, with its unit on another backend.
    Replay(RerunCause),
}

/// True for messages that begin no work.
pub(super) const fn is_end(tag: u8) -> bool {
    matches!(tag, f::SYNC | f::FLUSH | f::COPY_DATA | f::COPY_DONE | f::COPY_FAIL)
}

// === impl MessageAction ===

impl MessageAction {
    /// True if the message is processed later.
    pub(super) const fn is_wait(&self) -> bool {
        matches!(self, Self::Wait | Self::AwaitResponses | Self::Replay(_))
    }
}
