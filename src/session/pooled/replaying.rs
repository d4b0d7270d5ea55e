//! What becomes of a unit that a read pool cannot serve: it is said again elsewhere, as long as the client has heard nothing
//! of its answer.
//!
//! Messages that promise an answer without being one (ParseComplete, RowDescription, …) are held back until the next one
//! tells whether it is an error. Errors that the server's being a standby may explain are never the last word: the writer
//! has it.

use crate::session::{
    conversation::until_nul,
    pooled::{BackendEvent, Pooled, ShapeCheck},
    split::rerun_on,
    statement::text_of,
};
use crate::{
    route::{Consistency, RerunCause, RouteReason, RouteSide},
    wire::{
        Deframer, ErrorFields, Frame, Header, Speaker, TransactionStatus,
        tag::{backend as b, frontend as f},
    },
};

/// What the answer begins with.
pub(in crate::session) enum Opening {
    /// An answer: it passes.
    Answer,
    /// Nothing that tells yet.
    Unknown,
    /// All that was asked so far is answered, and it was to prepare statements.
    Prepared,
    /// A refusal that another server might not give.
    Refused(RerunCause),
}

const LOST: RouteReason = RouteReason::Rerun(RerunCause::NodeLost);

impl Pooled {
    /// Whether answers are held back until it is known what they are.
    pub(in crate::session) fn holds_back(&self) -> bool {
        let held = self.backend.held().filter(|_| self.router.is_some());
        held.is_some_and(|held| held.attempt.is_repeatable())
            && self.conversation.server.at_boundary()
            && !self.conversation.queue.is_own()
            && self.conversation.client.at_boundary()
    }

    /// True if the client messages of the current unit can be replayed on another backend.
    pub(in crate::session) fn may_repeat(&self) -> bool {
        let held = self.backend.held().filter(|_| self.router.is_some());
        held.is_some_and(|held| held.attempt.is_open() && held.attempt.is_repeatable())
    }

    /// Looks at the next answers. `stuck` says that no more of them will be shown.
    pub(in crate::session) fn opening(&self, unread: &[u8], stuck: bool) -> Opening {
        let mut rest = unread;
        while let Ok(Some(header)) = Header::read(Speaker::Server, rest) {
            match header.tag() {
                b::PARSE_COMPLETE
                | b::BIND_COMPLETE
                | b::CLOSE_COMPLETE
                | b::NO_DATA
                | b::ROW_DESCRIPTION
                | b::PARAMETER_DESCRIPTION
                | b::PARAMETER_STATUS
                | b::NOTICE_RESPONSE => {}
                b::ERROR_RESPONSE => {
                    let Some(body) = rest.get(Header::BYTES..header.total()) else { break };
                    return match rerun_on(&ErrorFields::new(body)) {
                        // Nobody knows how far it got.
                        Some(RerunCause::NodeLost) if !self.is_proved() => Opening::Answer,
                        Some(cause) => Opening::Refused(cause),
                        None => Opening::Answer,
                    };
                }
                _ => return Opening::Answer,
            }
            let Some(behind) = rest.get(header.total()..) else { break };
            rest = behind;
        }
        if stuck {
            return Opening::Answer;
        }
        let open = self.backend.held();
        // Nobody flushes half of an answer that an end was asked for.
        if rest.is_empty()
            && !unread.is_empty()
            && let Some(held) = open.filter(|held| held.attempt.is_open())
        {
            return if held.attempt.keeps_portal() { Opening::Answer } else { Opening::Prepared };
        }
        Opening::Unknown
    }

    /// Whether what the read pool was sent is proved to read.
    fn is_proved(&self) -> bool {
        let held = self.backend.held();
        held.is_some_and(|held| held.attempt.is_proved())
    }

    /// Gives up the read pool's backend, and says again elsewhere what it has not answered.
    pub(in crate::session) fn repeat(&mut self, why: RouteReason) {
        let given_up = self.conversation.queue.drop_answers();
        for request in given_up.into_iter().rev() {
            self.undo(request);
        }
        let open = self.conversation.in_batch;
        self.rewind(why);
        if open {
            self.sync_aside();
        }
    }

    /// Whether the session can go on if its backend is gone: a read pool's, of which nothing is needed that cannot be said
    /// again.
    pub(in crate::session) fn can_lose_backend(&self) -> bool {
        let (Some(split), Some(held)) = (self.router.as_deref(), self.backend.held()) else {
            return false;
        };
        let idle = self.conversation.status == TransactionStatus::Idle || self.begin.is_pending();
        let nothing_said =
            idle && self.conversation.queue.owes_client_nothing() && !self.conversation.in_batch;
        let may_go_on = self.backend.is_leaving()
            || (self.conversation.client.at_boundary() && (held.attempt.is_proved() || nothing_said));
        split.side == RouteSide::Reader
            && may_go_on
            && self.cleanup.pins().is_empty()
            && self.request.gathered().is_none()
            && !self.conversation.terminate_received
    }

    /// The read pool's backend is gone; whether the session can go on without it.
    pub(in crate::session) fn on_backend_lost(&mut self) -> bool {
        if !self.can_lose_backend() {
            return false;
        }
        let left = self.backend.is_leaving();
        self.conversation.fatal = None;
        let dropped = self.conversation.queue.drop_answers();
        for request in dropped.into_iter().rev() {
            self.undo(request);
        }
        self.conversation.queue.clear();
        if !left {
            self.rewind(LOST);
        }
        self.statements.take_on_backend();
        self.outgoing.forget_backend();
        self.statements.set_shape_check(ShapeCheck::None);
        self.request.set_awaits_responses(false);
        self.on_backend_event(BackendEvent::Lost);
        self.on_backend_returned();
        self.conversation.server = Deframer::new(Speaker::Server);
        true
    }

    /// A standby refused to write: what is said again first is remembered as a write. What was executed before it in its unit
    /// would have been answered.
    fn learn_write(&self) {
        let Some(split) = self.router.as_deref() else { return };
        let learn = |text: &[u8]| self.common.learn_write(text, &split.meaning);
        let mut rest = split.replay.pending();
        let mut parsed: Option<(&[u8], &[u8])> = None;
        while let Ok(Some(frame)) = Frame::read(Speaker::Client, rest) {
            let body = frame.body();
            match frame.tag() {
                f::QUERY => return learn(until_nul(body).0),
                f::PARSE => {
                    let (name, definition) = until_nul(body);
                    parsed = Some((name, text_of(definition)));
                }
                f::BIND => {
                    let name = until_nul(until_nul(body).1).0;
                    let here = parsed.filter(|(known, _)| *known == name).map(|(_, text)| text);
                    if let Some(text) = here.or_else(|| self.statements.text(name)) {
                        learn(text);
                    }
                    return;
                }
                _ => {}
            }
            rest = rest.get(frame.as_bytes().len()..).unwrap_or_default();
        }
    }

    /// The session is where it was before it said what was not answered.
    fn rewind(&mut self, why: RouteReason) {
        self.conversation.in_batch = false;
        let (Some(split), Some(held)) = (self.router.as_deref_mut(), self.backend.held_mut()) else {
            return;
        };
        let first = held.attempt.take(split.replay.pending_mut());
        if let Some((begun, _)) = first {
            self.conversation.statements_started = begun;
        }
        self.begin.restore(first.and_then(|(_, before)| before));
        split.replay.begin(why);
        self.cleanup.forget_transaction();
        self.statements.set_shape_check(ShapeCheck::None);
        self.request.set_awaits_responses(false);
        self.on_backend_event(BackendEvent::GivenUp);
        if why == RouteReason::Rerun(RerunCause::ReadOnlyRefused) {
            self.learn_write();
        }
    }

    /// What a node has just said of how far it has replayed, in bytes of WAL; `None` within when it would not say, or is no
    /// standby.
    pub(in crate::session) fn poll_position(&mut self) -> Option<Option<u64>> {
        self.router.as_deref_mut()?.news.position.take()
    }

    /// Whether the session has committed what its next reads must show, and nobody was told.
    pub(in crate::session) fn poll_wrote(&mut self) -> bool {
        let Some(split) = self.router.as_deref_mut() else { return false };
        std::mem::take(&mut split.news.wrote)
            && split.consistency(self.settings.values()) == Consistency::Session
    }

    /// Why the last unit is said again elsewhere, if it is and nobody was told.
    pub(in crate::session) fn poll_rerun(&mut self) -> Option<RouteReason> {
        self.router.as_deref_mut()?.replay.poll_reason()
    }
}
