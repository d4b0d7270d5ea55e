//! What a session that shares backends asks of its backend itself: what a transaction has left behind, and whether a read
//! pool's backend can go on.

use std::time::Instant;

use super::{
    BackendEvent, BackendLossPolicy, Pooled, SettleContext, SettleStep, ShapeCheck,
    client_input::ClientInput,
    commit_resolution::CommitResolution,
    commits::DoubtStep,
    internal_error::InternalError,
    interrupted_units::InterruptedUnit,
    interruption::{self, Interruption},
    requests::{CommitRequests, EffectNotes, Requests},
    unit_classifier::UnitClassifier,
};
use crate::{
    client_error::ClientError,
    route::{RerunCause, RouteReason, RouteSide},
    session::{
        Fate,
        batch_writer::{self, SESSION_AUTHORIZATION},
        pin::Pin,
        proxy_batch::ProxyBatch,
        setting_values::SettingValues,
        state_check::{StateCheck, StateReport},
        tracked_backend_state::TrackedBackendState,
    },
    sql::Effects,
    wire::{Frame, FrameError, SqlState, TransactionStatus, backend, tag::backend as b},
};

const LOST: RouteReason = RouteReason::Rerun(RerunCause::NodeLost);

impl Pooled {
    /// A message that answers an internal request.
    pub(super) fn on_own_answer(&mut self, now: Instant, frame: &Frame<'_>) -> Result<(), InternalError> {
        let is_ready = frame.tag() == b::READY_FOR_QUERY;
        let is_over = self.conversation.queue_mut().own().is_some_and(|own| {
            if !is_ready {
                own.on_answer(frame);
            }
            is_ready || own.is_over()
        });
        if is_over {
            self.on_proxy_batch_ready(now)?;
        }
        if is_ready {
            self.undo_what_was_begun(frame.body())?;
        }
        Ok(())
    }

    /// A batch of our own is over.
    fn on_proxy_batch_ready(&mut self, now: Instant) -> Result<(), InternalError> {
        let held = self.backend.held_mut().ok_or(InternalError::NoBackend)?;
        match self.conversation.queue_mut().take_own() {
            Some(own) => {
                own.settle(self.database.internal_statements(), held.statements_mut());
                self.on_own_batch(now, own)
            }
            None => Ok(()),
        }
    }

    /// Handles the result of a batch of our own.
    fn on_own_batch(&mut self, now: Instant, own: ProxyBatch) -> Result<(), InternalError> {
        match own {
            ProxyBatch::Apply { wanted, failed } => self.on_settings_applied(wanted, failed)?,
            ProxyBatch::Again { .. } => {
                self.backend.on(BackendEvent::Answered)?;
                if !self.send_withheld_reports() {
                    backend::write_ready_for_query(self.outgoing.client(), self.conversation.status());
                }
            }
            ProxyBatch::StateCheck(check) => self.on_state_check(*check)?,
            // Without it the client's statements would each be a transaction of their own.
            ProxyBatch::Begin { failed: Some(_) } => {
                self.conversation.end_with(ClientError::transaction_lost());
            }
            ProxyBatch::Position { required, replayed } => self.on_position(required, replayed),
            ProxyBatch::CommitId { id } | ProxyBatch::CommitIdWithin { id, .. } => {
                if let Some(commits) = &mut self.commits {
                    commits.note_id(id);
                }
            }
            ProxyBatch::CommitStatus { status } => {
                let step = self.commits.as_mut().and_then(|commits| commits.on_status(status));
                self.take_doubt_step(now, step)?;
            }
            ProxyBatch::AgainWithin { .. }
            | ProxyBatch::Begin { failed: None }
            | ProxyBatch::Sequences
            | ProxyBatch::SequencesWithin { .. }
            | ProxyBatch::Aside
            | ProxyBatch::Dropped => {}
        }
        Ok(())
    }

    /// The backend was given the `wanted` settings, or has refused them.
    fn on_settings_applied(
        &mut self,
        wanted: SettingValues,
        failed: Option<SqlState>,
    ) -> Result<(), InternalError> {
        self.backend.on(BackendEvent::Answered)?;
        match failed {
            None => {
                if let Some(held) = self.backend.held_mut() {
                    held.note_settings(wanted);
                }
            }
            // All of it is undone, and the backend has what it had. A standby may not know the role yet.
            Some(_) if self.is_on_reader() => {
                self.repeat(RouteReason::Rerun(RerunCause::StandbyRefused));
            }
            Some(state) => self.conversation.end_with(ClientError::settings_lost(state)),
        }
        Ok(())
    }

    /// The backend was asked what the transaction has left behind.
    fn on_state_check(&mut self, check: StateCheck) -> Result<(), InternalError> {
        if check.is_too_large() {
            self.conversation.end_with(ClientError::settings_too_large());
            return Ok(());
        }
        self.backend.on(BackendEvent::Answered)?;
        if check.is_answered() {
            self.on_state_report(check.into_report());
        } else {
            self.cleanup.on_check_failed(&check);
        }
        Ok(())
    }

    /// The backend is given up, and has begun a transaction by what is said again elsewhere: whoever has it next is not to
    /// find itself in it.
    fn undo_what_was_begun(&mut self, ready: &[u8]) -> Result<(), InternalError> {
        if self.backend.is_leaving()
            && self.conversation.queue().is_settled()
            && ready.first() != Some(&TransactionStatus::Idle.as_byte())
        {
            Requests::of(self)?.send_query(b"ROLLBACK", ProxyBatch::Aside);
        }
        Ok(())
    }

    /// A node has said how much it has replayed. One that is none (any more) says nothing, and counts as behind.
    fn on_position(&mut self, required: u64, replayed: Option<u64>) {
        if let Some(split) = self.router.as_deref_mut() {
            split.note_position(replayed);
        }
        if replayed.is_none_or(|replayed| replayed < required) {
            self.repeat(RouteReason::AnswerTooOld);
        }
    }

    // --- after a transaction

    /// Once nothing is under way, finds out what the transaction has left behind, if there is reason to.
    pub(super) fn settle(&mut self) {
        let settled = self.settle_by(false);
        self.end_on(settled);
    }

    /// Settles the transaction. `is_compared`: the catalog was compared after the transaction.
    fn settle_by(&mut self, is_compared: bool) -> Result<(), InternalError> {
        if self.conversation.has_received_terminate() || !self.conversation.is_at_rest() {
            return Ok(());
        }
        if !self.backend.is_held()
            || self.begin.exists()
            || self.backend.is_leaving()
            || self.cleanup.is_comparison_due()
        {
            return Ok(());
        }
        let held = self.backend.held().ok_or(InternalError::NoBackend)?;
        self.settings.on_settled();
        self.startup.forget_portals();
        let side = self.router.as_ref().map_or(RouteSide::Writer, |split| split.side());
        let (settings, startup) = (self.settings.values(), self.startup.values());
        let context = SettleContext::new(&self.database, settings, startup, held.settings())
            .with_client_named(self.statements.is_on_backend())
            .on_side(side)
            .compared(is_compared);
        let step = self.cleanup.settle(&context);
        match step {
            SettleStep::Clean if self.statements.is_on_backend() && self.cleanup.pins().is_empty() => {
                Requests::of(self)?.own_names().close_all();
            }
            SettleStep::Clean | SettleStep::Compare => {}
            SettleStep::Check(queries, is_awaited) => {
                if is_awaited {
                    self.backend.on(BackendEvent::CheckStarted)?;
                }
                self.cleanup.on_check_started();
                Requests::of(self)?.send_batch(|_, writer| batch_writer::write_state_check(queries, writer));
            }
        }
        Ok(())
    }

    /// True if the catalog must be compared with the server's, over the session's backend, before the backend is
    /// returned, and nothing is under way there. Until then the client keeps using the backend.
    pub(in crate::session) fn wants_catalogue(&self) -> bool {
        self.cleanup.is_comparison_due()
            && !self.outgoing.has_backend_bytes()
            && !self.request.is_gathering()
            && self.conversation.is_at_rest()
    }

    /// True if no client request in the meantime depends on the state check after the comparison.
    pub(in crate::session) fn may_defer_catalogue(&self) -> bool {
        let settles = Effects::SETTINGS_ALL | Effects::PREPARE;
        !self.cleanup.may_have_left(settles)
    }

    /// Starts the comparison: nothing is sent to the backend before [`Self::on_catalogue`].
    pub(in crate::session) fn begin_catalogue(&mut self) {
        self.on_backend_event(BackendEvent::CheckStarted);
    }

    /// Notes a catalog comparison or read by simple queries on the session's backend; `is_new` is false if the server
    /// refused the queries.
    pub(in crate::session) fn on_catalogue(&mut self, is_new: bool) {
        let settled = self.on_compared(is_new);
        self.end_on(settled);
    }

    fn on_compared(&mut self, is_new: bool) -> Result<(), InternalError> {
        self.backend.on(BackendEvent::Answered)?;
        let (texts, complete) = self.cleanup.on_compared(self.database.edition());
        if let Some(held) = self.backend.held_mut() {
            held.queried();
            // Texts not kept may have left state hidden from state checks: the backend serves no further session.
            if !complete {
                held.note_unread();
            }
        }
        let mut effects = EffectNotes::of(self)?;
        for text in texts {
            let left = effects.apparent(&text).without(Effects::UNKNOWN | Effects::SETTINGS_BOUND);
            effects.note(left, &text, None);
        }
        let noted = self.cleanup.take_noted();
        self.cleanup.on_response(noted);
        if !is_new {
            self.cleanup.pin(Pin::Unproved);
        }
        self.settle_by(true)
    }

    /// What the server says of the session's state.
    fn on_state_report(&mut self, seen: StateReport) {
        self.cleanup.on_check_answered(seen.pins);
        if let Some(there) = &seen.statements {
            // `DEALLOCATE` has found those that are gone.
            self.statements.retain_found(there);
        }
        if !seen.all && seen.settings.is_empty() {
            return;
        }
        let login = self.backend.held().and_then(|held| held.reported().at_login(SESSION_AUTHORIZATION));
        match self.settings.on_state_report(&seen, login, self.startup.values()) {
            Some(settings) => {
                if let Some(held) = self.backend.held_mut() {
                    held.note_settings(settings);
                }
            }
            None => self.conversation.end_with(ClientError::settings_too_large()),
        }
    }

    /// Whether the held backend can be given back: nothing is under way, and nothing of the session is left on it.
    pub(in crate::session) fn is_done_with_backend(&self) -> bool {
        if self.backend.is_leaving() {
            return self.backend.is_held()
                && self.conversation.queue().is_settled()
                && self.conversation.is_server_at_boundary()
                && !self.outgoing.has_backend_bytes()
                && self.conversation.fatal().is_none();
        }
        self.backend.is_held()
            && !self.backend.is_unused()
            && self.conversation.is_at_rest()
            && self.cleanup.is_clean()
            && !self.statements.is_on_backend()
            && !self.outgoing.has_backend_bytes()
            && !self.request.is_gathering()
            && !self.begin.exists()
            && self.conversation.fatal().is_none()
            && self.conversation.broken().is_none()
    }

    // --- a unit that a read pool cannot serve

    /// Gives up the read pool's backend, and says again elsewhere what it has not answered.
    pub(super) fn repeat(&mut self, why: RouteReason) {
        let repeated = self.give_up_unit(why);
        self.end_on(repeated);
    }

    fn give_up_unit(&mut self, why: RouteReason) -> Result<(), InternalError> {
        // The server may still execute a Parse that is undone.
        self.leave_own_names()?;
        let given_up = self.conversation.queue_mut().drop_answers();
        self.undo(given_up)?;
        let open = self.conversation.is_in_batch();
        self.rewind(why)?;
        if open {
            Requests::of(self)?.sync_aside();
        }
        Ok(())
    }

    /// True if the session continues without its backend, and the client does not notice: nothing is in progress there that
    /// cannot run again elsewhere.
    pub(in crate::session) fn can_lose_backend(&self) -> bool {
        if self.is_on_reader() { self.can_lose_reader() } else { self.can_replay_writer_reads() }
    }

    /// True if all units without a response on the writer are proved to read, and can run again elsewhere.
    pub(super) fn can_replay_writer_reads(&self) -> bool {
        let is_proved = || self.backend.held().is_some_and(|held| held.replay_buffer().is_proved());
        let may_go_on =
            self.backend.is_leaving() || (self.conversation.is_client_at_boundary() && is_proved());
        self.router.is_some()
            && self.backend.is_held()
            && self.survives_loss()
            && may_go_on
            && self.cleanup.has_left_nothing()
            && !self.conversation.queue().has_state_check()
            && self.conversation.status() == TransactionStatus::Idle
            && self.conversation.fatal().is_none_or(interruption::is_shutdown)
            && self.conversation.broken().is_none()
            && !self.request.is_gathering()
            && !self.conversation.has_received_terminate()
    }

    /// True if nothing of a lost read pool's backend is needed that cannot be sent again.
    fn can_lose_reader(&self) -> bool {
        let is_proved = self.backend.held().map(|held| held.replay_buffer().is_proved());
        let idle = self.conversation.status() == TransactionStatus::Idle || self.begin.is_pending();
        let nothing_said =
            idle && self.conversation.queue().owes_client_nothing() && !self.conversation.is_in_batch();
        let may_go_on = self.backend.is_leaving()
            || (self.conversation.is_client_at_boundary() && (is_proved == Some(true) || nothing_said));
        is_proved.is_some()
            && may_go_on
            && self.cleanup.pins().is_empty()
            && !self.request.is_gathering()
            && !self.conversation.has_received_terminate()
    }

    /// True if the session continues without the backend: the client loses its transaction at most, and no other state that
    /// it relies on.
    pub(super) fn can_be_interrupted(&self) -> bool {
        self.backend.is_held()
            && self.survives_loss()
            && self.conversation.is_server_at_boundary()
            && !interruption::ends_session(self.cleanup.pins())
            && self.conversation.fatal().is_none_or(interruption::is_shutdown)
            && self.conversation.broken().is_none()
            && !self.conversation.has_received_terminate()
    }

    /// True for a server error that ends the connection, and that the client does not see: it gets the fate of its
    /// transaction, or the error that ends the session.
    pub(in crate::session) fn hides_fatal(&self, state: SqlState) -> bool {
        self.survives_loss()
            && interruption::is_shutdown(state)
            && !self.conversation.has_received_terminate()
    }

    /// True if the session does not end with its backend as a matter of course.
    fn survives_loss(&self) -> bool {
        self.on_backend_loss != BackendLossPolicy::Disconnect
    }

    /// The backend is gone at `now`; whether the session can go on without it.
    pub(in crate::session) fn on_backend_lost(&mut self, now: Instant) -> bool {
        let is_repeated = self.can_lose_backend();
        let goes_on = is_repeated || self.can_be_interrupted();
        if goes_on {
            let lost = if is_repeated { self.lose_backend() } else { self.interrupt(now) };
            self.end_on(lost);
        }
        goes_on
    }

    // --- a COMMIT in doubt

    /// True if the outcome of a COMMIT is not known yet: no further message of the client is processed.
    pub(in crate::session) fn is_in_doubt(&self) -> bool {
        self.commits.as_ref().is_some_and(|commits| commits.is_in_doubt())
    }

    /// Asks a newly leased backend for the outcome of the COMMIT in doubt.
    pub(super) fn resolve_commit(&mut self, now: Instant) -> Result<(), InternalError> {
        if !self.conversation.is_settled() {
            return Ok(());
        }
        let leased = self.backend.held().map(TrackedBackendState::server);
        let step = self.commits.as_mut().and_then(|commits| commits.next_step(leased));
        self.backend.note_use();
        self.take_doubt_step(now, step)
    }

    fn take_doubt_step(&mut self, now: Instant, step: Option<DoubtStep>) -> Result<(), InternalError> {
        match step {
            Some(DoubtStep::Decided(outcome)) => {
                if let Some(mut resolution) = CommitResolution::of(self) {
                    resolution.answer(now, outcome);
                }
            }
            Some(DoubtStep::Ask { query, terminates }) => {
                if let Some(mut commits) = CommitRequests::of(self)? {
                    commits.ask_status(query, terminates);
                }
            }
            None => {}
        }
        Ok(())
    }

    /// Ends what is under way on the lost backend, and answers it in the server's place.
    fn interrupt(&mut self, now: Instant) -> Result<(), InternalError> {
        self.conversation.forget_server();
        if self.conversation.queue().has_state_check() {
            self.cleanup.on_check_lost();
        }
        let is_open = self.conversation.is_in_batch() || self.conversation.queue().is_skipping();
        let open = is_open.then(|| self.batch.end());
        let sends_rows = self.router.as_ref().is_some_and(|split| split.sends_rows());
        let units = self.conversation.queue_mut().interrupt(open, sends_rows);
        let may_have_written = self.router.as_ref().is_none_or(|split| split.may_have_written());
        let is_in_doubt = CommitResolution::of(self).is_some_and(|mut it| it.begin(now, &units));
        if !is_in_doubt {
            self.fate = Interruption::of(self).answer(now, &units, may_have_written);
        }
        if (is_in_doubt || self.fate == Some(Fate::Unknown))
            && let Some(split) = &mut self.router
        {
            // Later reads must see what may have been written.
            split.on_unit_over(now, TransactionStatus::Idle, true);
        }
        self.undo(units.into_iter().flat_map(InterruptedUnit::into_requests).collect())?;
        self.leave_lost_backend()?;
        if is_in_doubt {
            if let Some(split) = &mut self.router {
                split.want_writer();
            }
            self.backend.on(BackendEvent::Needed)?;
        }
        Ok(())
    }

    /// Forgets the lost backend.
    fn leave_lost_backend(&mut self) -> Result<(), InternalError> {
        self.statements.take_on_backend();
        self.outgoing.forget_backend();
        self.statements.set_shape_check(ShapeCheck::None);
        self.request.end_await();
        self.backend.on(BackendEvent::Lost)?;
        self.on_backend_returned();
        Ok(())
    }

    fn lose_backend(&mut self) -> Result<(), InternalError> {
        let left = self.backend.is_leaving();
        if !self.is_on_reader() {
            self.cleanup.on_backend_lost();
            self.fate = Some(Fate::NotStarted);
        }
        self.conversation.forget_server();
        let dropped = self.conversation.queue_mut().drop_answers();
        self.undo(dropped)?;
        self.conversation.queue_mut().clear();
        if !left {
            self.rewind(LOST)?;
        }
        self.leave_lost_backend()
    }

    /// Sends messages again that a read pool did not answer, to the backend held now.
    pub(super) fn replay_next(&mut self, now: Instant) -> Result<(), FrameError> {
        if !self.has_more_to_say_again() || self.backend.is_leaving() {
            return Ok(());
        }
        let mut again =
            self.router.as_deref_mut().map(|split| split.replay_mut().take_pending()).unwrap_or_default();
        // All that the client will say of it is here.
        let mut shown = ClientInput::replayed(&again);
        let taken = self.process_client_input(now, &mut shown);
        let byte_count = shown.taken();
        again.drain(..byte_count);
        if byte_count > 0 {
            self.backend.note_use();
        }
        if let Some(split) = self.router.as_deref_mut() {
            split.replay_mut().put_back(again);
        }
        taken
    }

    /// Leaves statements under the client's own names on a backend that is given up. Nothing closes them: the backend serves
    /// no further session.
    fn leave_own_names(&mut self) -> Result<(), InternalError> {
        if self.statements.is_on_backend() {
            self.backend.held_mut().ok_or(InternalError::NoBackend)?.note_unread();
            self.statements.take_on_backend();
        }
        Ok(())
    }

    /// The session is where it was before it said what was not answered.
    fn rewind(&mut self, why: RouteReason) -> Result<(), InternalError> {
        self.conversation.leave_batch();
        self.leave_own_names()?;
        let held = self.backend.held_mut().ok_or(InternalError::NoBackend)?;
        if let Some(split) = self.router.as_deref_mut() {
            let first = held.replay_buffer_mut().take(split.replay_mut().pending_mut());
            if let Some((begun, _)) = first {
                self.conversation.rewind_statements(begun);
            }
            self.begin.restore(first.and_then(|(_, before)| before));
            split.replay_mut().begin(why);
        }
        self.cleanup.forget_transaction();
        self.statements.set_shape_check(ShapeCheck::None);
        self.request.end_await();
        self.backend.on(BackendEvent::GivenUp)?;
        if why == RouteReason::Rerun(RerunCause::ReadOnlyRefused)
            && let Some(split) = self.router.as_deref()
        {
            let classifier = UnitClassifier::new(&self.database, &self.statements, &self.texts);
            classifier.learn_write(split.replay().pending());
        }
        Ok(())
    }
}
