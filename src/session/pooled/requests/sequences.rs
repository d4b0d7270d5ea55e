//! Sequence state (`currval`, `lastval`) on the held backend.

use super::Requests;
use crate::{
    session::{batch_writer, pin::Pin, pooled::client_input::ClientInput, proxy_batch::ProxyBatch},
    wire::{TransactionStatus, tag::frontend as f},
};

/// Requests that keep the sequence state of other sessions from the client.
pub(super) struct SequenceRequests<'r, 'a> {
    requests: &'r mut Requests<'a>,
}

// === impl SequenceRequests ===

impl<'r, 'a> SequenceRequests<'r, 'a> {
    /// Sequence state on the backend of `requests`.
    pub(super) const fn of(requests: &'r mut Requests<'a>) -> Self {
        Self { requests }
    }

    /// Notes a read, now or soon, of sequence state left by an earlier statement.
    pub(super) fn note_read(&mut self) {
        self.requests.database.sequences_are_read();
        self.requests.sequences.note_read();
    }

    /// Minds a message `tag` that may move a sequence: the state left by other sessions is cleared first, and the session
    /// keeps its backend.
    pub(super) fn note_move(&mut self, tag: u8, shown: &mut ClientInput<'_>) {
        self.requests.sequences.note_move();
        let is_first = self.requests.begins_work();
        match tag {
            f::BIND => self.clear_by_portal(shown, false),
            // Unlike a Query, a FunctionCall leaves the unnamed portal alone.
            f::FUNCTION_CALL if is_first => self.clear_by_portal(shown, true),
            _ => self.clear(shown),
        }
        self.requests.cleanup.note_pin(Pin::Sequence);
    }

    /// Clears the sequence state left by other sessions, ahead of a first message of the client. The Query destroys the
    /// unnamed portal.
    pub(super) fn clear(&mut self, shown: &mut ClientInput<'_>) {
        if self.are_foreign() && self.requests.begins_work() {
            self.requests.sequences.note_own();
            self.requests.stage(shown);
            self.requests.send_query(b"DISCARD SEQUENCES", ProxyBatch::Sequences);
        }
    }

    /// Clears the sequence state left by other sessions, within a client's batch or, if `synced`, ahead of a first message.
    /// The client's unnamed portal stays.
    fn clear_by_portal(&mut self, shown: &mut ClientInput<'_>, synced: bool) {
        if !self.are_foreign() || self.requests.conversation.queue().is_skipping() {
            return;
        }
        self.requests.sequences.note_own();
        self.requests.stage(shown);
        if synced {
            self.requests.send_batch(|_, writer| batch_writer::write_sequences(true, writer));
        } else {
            self.requests.send_within_batch(|writer| Some(batch_writer::write_sequences(false, writer)));
        }
    }

    fn are_foreign(&self) -> bool {
        !self.requests.sequences.is_own()
            && !self.requests.cleanup.pins().contains(Pin::Sequence)
            && !self.requests.conversation.queue().may_pin(Pin::Sequence)
            && self.requests.conversation.status() != TransactionStatus::Failed
    }
}
