//! What a statement may leave behind: noted when it is said, looked up once its transaction is over.

use super::client_messages::ClientInput;
use crate::{
    route::RouteSide,
    session::{
        pin::{Pin, Pins},
        pooled::Pooled,
        proxy_batch::{self, ProxyBatch},
        response_queue::PendingRequest,
    },
    sql::{ClassifyReason, Effects},
    wire::{TransactionStatus, tag::frontend as f},
};

/// `currval` and `lastval`, as FunctionCall knows them.
const SEQUENCE_READERS: [u32; 2] = [1575, 2559];
/// `setseed`.
const SETSEED: u32 = 1599;
/// State neither visible in the catalogs nor in settings.
const HIDDEN: Effects = Effects::SETTINGS_HIDDEN.union(Effects::LOAD).union(Effects::FUNCTION);

impl Pooled {
    /// Minds statements that move sequences, and those that read what an earlier one has left, ahead of the message `tag`
    /// that has them executed.
    pub(super) fn sequences(&mut self, effects: Effects, tag: u8, shown: &mut ClientInput<'_>) {
        if !effects.intersects(Effects::SEQUENCE_MOVE | Effects::SEQUENCE_READ) {
            return;
        }
        if effects.contains(Effects::SEQUENCE_READ) {
            self.read_sequences();
        }
        if self.router.as_ref().is_some_and(|router| router.side == RouteSide::Reader) {
            // A standby refuses to move a sequence.
            return;
        }
        if self.common.reads_sequences() {
            self.cleanup.sequences.note_move();
            let is_first = !self.conversation.in_batch && self.conversation.queue.owes_client_nothing();
            match tag {
                f::BIND => self.clear_sequences_by_portal(shown, false),
                // Unlike a Query, a FunctionCall leaves the unnamed portal alone.
                f::FUNCTION_CALL if is_first => self.clear_sequences_by_portal(shown, true),
                _ => self.clear_sequences(shown),
            }
            self.pin(Pin::Sequence);
        } else {
            self.cleanup.sequences.note_own();
        }
    }

    /// The client prepares a statement that reads what an earlier one has left.
    pub(super) fn sequences_are_read(&mut self, shown: &mut ClientInput<'_>) {
        self.read_sequences();
        if self.conversation.status == TransactionStatus::Idle {
            self.clear_sequences(shown);
        }
    }

    /// True once per finished transaction with a possible sequence move, in a session without sequence reads so far.
    pub(in crate::session) fn poll_sequence_moved(&mut self) -> bool {
        self.conversation.is_idle() && self.cleanup.sequences.take_moved()
    }

    /// Gives up the session's possible sequence state, if the session has no further pins and has read no sequence so
    /// far.
    pub(in crate::session) fn release_sequences(&mut self) {
        if self.cleanup.pins() == Pins::NONE.with(Pin::Sequence) && self.cleanup.sequences.is_unread() {
            self.cleanup.unpin(Pin::Sequence);
        }
    }

    /// Takes away what other sessions have left of their sequences, ahead of what the client is about to say first. The
    /// Query destroys the unnamed portal.
    pub(super) fn clear_sequences(&mut self, shown: &mut ClientInput<'_>) {
        if !self.has_sequences_to_clear()
            || self.conversation.in_batch
            || !self.conversation.queue.owes_client_nothing()
        {
            return;
        }
        self.cleanup.sequences.note_own();
        self.stage(shown);
        self.say_ahead(b"DISCARD SEQUENCES", ProxyBatch::Sequences);
    }

    /// Takes away what other sessions have left of their sequences, within a client's batch or, if `synced`, ahead of a first
    /// message. The client's unnamed portal stays.
    fn clear_sequences_by_portal(&mut self, shown: &mut ClientInput<'_>, synced: bool) {
        if !self.has_sequences_to_clear() || self.conversation.queue.is_skipping() {
            return;
        }
        self.cleanup.sequences.note_own();
        self.stage(shown);
        let pen = if synced { self.pen().map(|(_, pen)| pen) } else { self.pen_within_batch() };
        if let Some(pen) = pen {
            let own = proxy_batch::write_sequences(synced, pen);
            self.owe(PendingRequest::Own(own));
        }
    }

    fn has_sequences_to_clear(&self) -> bool {
        !self.cleanup.sequences.is_own()
            && !self.cleanup.pins().contains(Pin::Sequence)
            && !self.conversation.queue.may_pin(Pin::Sequence)
            && self.conversation.status != TransactionStatus::Failed
    }

    /// Notes the possible side effects of a statement. `parameters` are those of a Bind, from the formats on.
    pub(in crate::session) fn note_side_effects(
        &mut self,
        effects: Effects,
        statement: &[u8],
        parameters: Option<&[u8]>,
    ) {
        // `GRANT` leaves nothing in a session.
        self.conversation.cluster_commands.note_statement(statement);
        let refused = if self.is_refused_by_standby(statement) { HIDDEN } else { Effects::NONE };
        self.settings.note(effects);
        self.cleanup.note(effects.without(refused), statement, parameters, &self.common);
    }

    /// True for one DDL statement on a read pool: the standby executes no part of the statement.
    fn is_refused_by_standby(&self, statement: &[u8]) -> bool {
        let router = self.router.as_ref().filter(|router| router.side == RouteSide::Reader);
        router.is_some_and(|router| {
            memchr::memchr(b';', statement).is_none()
                && self.common.classify(statement, &router.meaning).reason == ClassifyReason::Ddl
        })
    }

    /// Returns the possible effects of a Query too long to be read. State visible in the catalogs is checked; because
    /// of the remaining state the backend serves no further session.
    pub(super) fn passes_unread(&mut self) -> Effects {
        if let Some(held) = self.backend.held_mut() {
            held.unread = true;
        }
        let definitions = Effects::DDL | Effects::DROPS;
        proxy_batch::VISIBLE
            | Effects::UNPROVED
            | Effects::SETTINGS_ALL
            | Effects::SEQUENCE_MOVE
            | definitions
    }

    /// Notes what a FunctionCall may leave behind: whatever it calls.
    pub(super) fn suspect_function(&mut self, body: &[u8], shown: &mut ClientInput<'_>) {
        let (oid, arguments) = body.split_at(body.len().min(4));
        let oid = oid.try_into().map_or(0, u32::from_be_bytes);
        let read = if SEQUENCE_READERS.contains(&oid) { Effects::SEQUENCE_READ } else { Effects::NONE };
        self.sequences(Effects::SEQUENCE_MOVE | read, f::FUNCTION_CALL, shown);
        let settings = Effects::SETTINGS_ALL | Effects::SETTINGS_BOUND;
        let hidden = if oid == SETSEED { Effects::FUNCTION } else { Effects::NONE };
        self.note_side_effects(
            proxy_batch::VISIBLE | settings | hidden | Effects::UNPROVED,
            b"",
            Some(arguments),
        );
    }

    pub(in crate::session) fn pin(&mut self, pin: Pin) {
        self.cleanup.note_pin(pin);
    }

    /// Notes a read, now or soon, of sequence state left by an earlier statement.
    fn read_sequences(&mut self) {
        self.common.sequences_are_read();
        self.cleanup.sequences.note_read();
    }
}
