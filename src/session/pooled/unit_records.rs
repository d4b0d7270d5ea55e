//! What a session that sends reads to the read pools notes of each unit: what it would have to say again, and whether it
//! may write.

use std::time::Instant;

use crate::{
    route::RouteSide,
    session::{
        conversation::until_nul,
        pooled::Pooled,
        proxy_batch::{self, ProxyBatch},
        response_queue::PendingRequest,
        split::{Freshness, LAST_ROUTE},
    },
    wire::{FrameError, TransactionStatus, frontend, tag::frontend as f},
};

use super::client_messages::ClientInput;

impl Pooled {
    /// Notes that a message is about to be sent on.
    pub(super) fn begin_unit(&mut self, tag: u8, body: &[u8]) {
        let (status, begun, in_batch) =
            (self.conversation.status, self.conversation.statements_started, self.conversation.in_batch);
        let Some(split) = self.router.as_deref_mut() else { return };
        split.trace.said();
        if split.side == RouteSide::Writer {
            // The writer's response is final.
            split.replay.on_answered();
            if !split.writing && self.may_write(tag, body) {
                self.writes();
            }
            return;
        }
        if !in_batch && tag == f::SYNC && status == TransactionStatus::Idle {
            // Outside a batch the Sync is a separate unit: the ReadyForQuery does not end later messages.
            if let Some(held) = self.backend.held_mut() {
                held.attempt.begin(begun, true, None);
            }
        }
        if !in_batch && !matches!(tag, f::SYNC | f::FLUSH) {
            // The session said BEGIN a moment ago, for a client that had its answer before.
            let before = self.begin.take_sent();
            let outside = status == TransactionStatus::Idle || before.is_some();
            let begins = split.lookahead.take_unit();
            let opens = split.lookahead.take_opens_transaction();
            if before.is_some() || !outside || opens || begins.is_none_or(|proved| !proved) {
                split.lookahead.note_txn_state_unknown();
            }
            if outside
                && let Some(proved) = begins
                && let Some(held) = self.backend.held_mut()
            {
                held.attempt.begin(begun, proved, before);
            }
        }
        split.lookahead.on_sent();
        if split.lookahead.is_txn_state_unknown() {
            self.note_opening(tag, body, status);
        }
    }

    /// Keeps client messages for a possible replay: a message with `tag`, `whole` or only the beginning. Continuations
    /// have no tag.
    pub(super) fn note_said(&mut self, tag: Option<u8>, whole: bool, bytes: &[u8]) {
        if self.router.is_none() {
            return;
        }
        let Some(held) = self.backend.held_mut().filter(|held| held.attempt.is_open()) else {
            return;
        };
        held.attempt.say(bytes);
        if matches!(tag, Some(f::QUERY | f::SYNC | f::FUNCTION_CALL)) {
            held.attempt.end(whole);
        }
    }

    /// Says again what a read pool did not answer, where the session is now.
    pub(super) fn replay_next(&mut self, now: Instant) -> Result<(), FrameError> {
        let Some(split) = self.router.as_deref_mut() else {
            return Ok(());
        };
        if !split.replay.is_pending() || self.backend.is_leaving() {
            return Ok(());
        }
        let mut again = split.replay.take_pending();
        // All that the client will say of it is here.
        let mut shown = ClientInput { bytes: &again, at: 0, staged: true, full: true, gathered: false };
        let taken = self.process_client_input(now, &mut shown);
        let said = shown.at;
        again.drain(..said);
        if said > 0 {
            self.backend.note_use();
        }
        if let Some(split) = self.router.as_deref_mut() {
            split.replay.put_back(again);
        }
        taken
    }

    /// Whether something has to be said again before anything else.
    pub(in crate::session) fn has_more_to_say_again(&self) -> bool {
        let split = self.router.as_deref();
        split.is_some_and(|split| split.replay.is_pending())
    }

    /// A Sync of ours, for a batch that goes on elsewhere.
    pub(in crate::session) fn sync_aside(&mut self) {
        frontend::write_sync(self.outgoing.backend());
        self.owe(PendingRequest::Own(ProxyBatch::Aside));
    }

    /// Asks a read pool's node for its replay position, ahead of a read that must not be older than the session's last write.
    pub(super) fn ask_position(&mut self, shown: &mut ClientInput<'_>) {
        let Some(Freshness::Ask { lsn }) =
            self.router.as_deref_mut().and_then(|split| split.freshness.take())
        else {
            return;
        };
        self.stage(shown);
        let Some((_, pen)) = self.pen() else { return self.miss_backend() };
        let own = proxy_batch::write_position(lsn, pen);
        self.owe(PendingRequest::Own(own));
    }

    /// The client asks where its last statement went: the server is to know.
    pub(super) fn tell_last_route(&mut self, tag: u8, body: &[u8], shown: &mut ClientInput<'_>) {
        /// A question that means this is short.
        const LONGEST: usize = 256;
        let text = match tag {
            _ if self.router.is_none() => return,
            f::QUERY => until_nul(body).0,
            f::PARSE => until_nul(until_nul(body).1).0,
            f::BIND => match self.statements.get(until_nul(until_nul(body).1).0) {
                Some(statement) => statement.text(),
                None => return,
            },
            _ => return,
        };
        if text.len() > LONGEST
            || memchr::memmem::find(text, LAST_ROUTE).is_none()
            || self.conversation.in_batch
            || !self.conversation.queue.owes_client_nothing()
            || self.conversation.status == TransactionStatus::Failed
        {
            return;
        }
        let Some(split) = self.router.as_deref() else { return };
        let answer = match split.trace.last() {
            Some((endpoint, reason)) => format!("{endpoint} ({})", reason.as_str()),
            None => String::new(),
        };
        self.stage(shown);
        let Some((held, pen)) = self.pen() else { return self.miss_backend() };
        let own = proxy_batch::write_last_route(&held, answer.as_bytes(), pen);
        self.owe(PendingRequest::Own(own));
    }
}

impl Pooled {
    /// What is said now to the writer may write.
    fn writes(&mut self) {
        if let Some(split) = &mut self.router {
            split.writing = true;
        }
    }
}
