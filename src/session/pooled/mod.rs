//! Session that leases a backend connection per transaction: the components of its state, and the commands of the driver.
//!
//! Components have private fields and tests of their own; they never see a message:
//!
//! | component | state |
//! | --- | --- |
//! | [`backend_state`] | the backend: wanted, held, awaited, given up; a table of all transitions |
//! | [`request_state`] | treatment of the client's next message |
//! | [`client_statements`], [`unnamed_statement`] | prepared statements of the client |
//! | [`session_settings`], [`startup_settings`] | settings of the session, and of its start-up packet |
//! | [`cleanup`], [`outdated_texts`], [`sequences`] | state possibly left on the backend: side effects, state checks, pins |
//! | [`deferred_begin`] | a BEGIN answered and not yet sent |
//! | [`outgoing`] | bytes that Gatekeeper itself sends |
//! | [`super::split`] | a split route: lookahead, replay, freshness |
//!
//! The other files process messages, in this order: [`client_messages`] (each message of the client),
//! [`local_replies`] (without a backend), [`unit_routing`] (which backend), [`prelude`] (what goes ahead), [`messages`]
//! (Query, Parse, Bind, Describe, Close), [`sql_prepare`] and [`effect_notes`] (what a statement means for the session),
//! [`unit_records`] (for a replay), [`rollback`] (requests that the server skips), [`server_messages`] (responses, and
//! the end of a transaction), [`replaying`] and [`startup_messages`].

mod backend_state;
mod cleanup;
mod client_messages;
mod client_statements;
mod deferred_begin;
mod effect_notes;
mod local_replies;
mod messages;
mod outdated_texts;
mod outgoing;
mod prelude;
mod replaying;
mod request_state;
mod rollback;
mod sequences;
mod server_messages;
mod session_settings;
mod sql_prepare;
mod startup_messages;
mod startup_settings;
mod unit_records;
mod unit_routing;
mod unnamed_statement;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

pub(super) use self::{
    backend_state::BackendEvent,
    cleanup::{SettleContext, SettleStep},
    client_statements::ShapeCheck,
    deferred_begin::{DeferredBegin, OpenTransaction},
    request_state::PartialMessage,
    session_settings::SettingReport,
    startup_settings::reset_midway,
    unnamed_statement::UnnamedStatement,
};
use self::{
    backend_state::{BackendSlot, IllegalTransition},
    cleanup::Cleanup,
    client_statements::ClientStatements,
    outgoing::Outgoing,
    request_state::RequestState,
    session_settings::SessionSettings,
};
use super::{
    common::Common,
    conversation::{Conversation, SessionOptions},
    memory::Memory,
    pin::{Pin, Pins},
    refusal::Refusal,
    reported::Reported,
    settings::Settings,
    split::{Asked, Assignment, Router, WRITER},
    statement::Reading,
};
use crate::{
    route::{RouteNeed, RouteSide, SplitSettings},
    wire::{
        SqlState, TransactionStatus,
        backend::ParameterStatus,
        error_response::{self, Severity},
    },
};

/// State of a pooled session.
pub struct Pooled {
    pub(super) conversation: Conversation,
    /// State shared by all sessions of the database and user.
    pub(super) common: Arc<Common>,
    pub(super) backend: BackendSlot,
    pub(super) process_ids: ProcessIds,
    pub(super) request: RequestState,
    pub(super) statements: ClientStatements,
    pub(super) settings: SessionSettings,
    pub(super) cleanup: Cleanup,
    pub(super) begin: DeferredBegin,
    pub(super) outgoing: Outgoing,
    /// `None` for a listener with a single endpoint.
    pub(super) router: Option<Box<Router>>,
}

/// Process ids in notifications: a session's own notification has the process id known to the client.
#[derive(Default)]
pub(super) struct ProcessIds {
    /// Process id sent to the client at login.
    pub(super) told_pid: i32,
    /// Process id of the held backend.
    pub(super) backend_pid: i32,
}

/// A backend that may hold some unnamed statement, nobody knows which.
pub(super) const SOME_UNNAMED: u64 = u64::MAX;

// === impl Pooled ===

impl Pooled {
    /// Creates a session without a backend, as [`super::Session::pooled`].
    pub(super) fn new(
        common: Arc<Common>,
        known: Reported,
        startup: Settings,
        options: SessionOptions,
    ) -> Self {
        let statements = ClientStatements::new(&common, Reading::of(&known));
        let mut new = Self {
            conversation: Conversation::new(TransactionStatus::Idle, options),
            common,
            backend: BackendSlot::default(),
            process_ids: ProcessIds::default(),
            request: RequestState::default(),
            statements,
            settings: SessionSettings::new(startup, known),
            cleanup: Cleanup::default(),
            begin: DeferredBegin::default(),
            outgoing: Outgoing::default(),
            router: None,
        };
        new.learn();
        new
    }

    /// A backend is held from now on.
    fn hold(&mut self, mut memory: Box<Memory>, untouched: bool, assignment: Option<Assignment<'_>>) {
        self.cleanup.on_lease(self.common.edition(), untouched);
        self.statements.note_portal_of(0);
        if let (Some(split), Some(assignment)) = (&mut self.router, assignment) {
            split.assigned(assignment);
        }
        let is_standby = self.router.as_ref().is_some_and(|split| split.side == RouteSide::Reader);
        let Memory { settings, reported, .. } = &mut *memory;
        let news = self.settings.on_lease(settings, reported, is_standby);
        for (name, value) in &news {
            ParameterStatus { name, value }.write(self.outgoing.client());
        }
        if !news.is_empty() {
            self.learn();
        }
        if let Err(illegal) = self.backend.lease(memory) {
            self.break_off(illegal);
        }
    }

    /// Forgets state of the session that concerns its backend: the backend is returned, or lost.
    pub(super) fn on_backend_returned(&mut self) {
        self.begin.on_return();
        if let Some(split) = &mut self.router {
            split.left();
        }
    }

    /// Changes the backend's stage. An impossible change is an error of Gatekeeper: the session ends, and the backend is
    /// closed.
    pub(super) fn on_backend_event(&mut self, event: BackendEvent) {
        if let Err(illegal) = self.backend.on(event) {
            self.break_off(illegal);
        }
    }

    /// Handles work for a backend that the session does not hold: an error of Gatekeeper, which ends the session.
    pub(super) fn miss_backend(&mut self) {
        let refusal = || Refusal::internal("a message needs a backend, and the session holds none");
        self.conversation.broken.get_or_insert_with(refusal);
    }

    fn break_off(&mut self, illegal: IllegalTransition) {
        self.conversation.broken.get_or_insert_with(|| Refusal::internal(illegal.to_string()));
    }

    /// Updates derived state after a settings report to the client.
    pub(super) fn learn(&mut self) {
        self.statements.set_reading(Reading::of(self.settings.reported()));
        if let Some(split) = &mut self.router {
            split.learn(self.settings.reported());
        }
    }

    /// Whether something has to go to the held backend ahead of what the client says first.
    pub(super) fn has_prelude(&self, status: TransactionStatus) -> bool {
        self.begin.exists() || self.has_settings_to_apply(status)
    }

    /// Whether the held backend has to be given the client's settings, outside of a transaction.
    pub(super) fn has_settings_to_apply(&self, status: TransactionStatus) -> bool {
        let outside = status == TransactionStatus::Idle || self.begin.exists();
        outside && self.backend.held().is_some_and(|held| held.settings != *self.settings.values())
    }
}

impl Pooled {
    /// Whether the session cannot go on without a backend: lease one and [`Self::attach`] it, or [`Self::fail`].
    pub(super) fn wants_backend(&self) -> bool {
        self.backend.is_wanted()
    }

    /// The [`super::Settings::mark`] of the settings that its backend will have to hold.
    pub(super) fn settings_mark(&self) -> u64 {
        self.settings.values().mark()
    }

    /// True if the session's backends must have logged in with the client's options.
    pub(super) fn is_apart(&self) -> bool {
        self.settings.startup.is_apart()
    }

    /// A backend was leased. `untouched` says that it is the one the session gave back last, and that nobody has used it
    /// since.
    pub(super) fn attach(&mut self, memory: Box<Memory>, untouched: bool) {
        self.conversation.spoils_backend = false;
        self.hold(memory, untouched, None);
    }

    /// The same for a session that [splits](Self::split) what it says.
    pub(super) fn assign(&mut self, memory: Box<Memory>, untouched: bool, assignment: Assignment<'_>) {
        self.conversation.spoils_backend = false;
        self.hold(memory, untouched, Some(assignment));
    }

    /// Reads go to the read pools from now on, everything else to the writer.
    pub(super) fn split(&mut self, settings: Arc<SplitSettings>, asked: Asked) {
        let mut split = Router::new(settings, asked);
        split.learn(self.settings.reported());
        self.router = Some(Box::new(split));
    }

    /// What the backend is wanted for; anything will do for a session that does not split.
    pub(super) fn need(&self) -> RouteNeed {
        let split = self.router.as_ref();
        split.map_or(WRITER, |split| split.need)
    }

    /// What a read must not be older than, at `now`: by the session's own writes, or by what it asks for.
    pub(super) fn floor(&self, now: Instant) -> Option<Instant> {
        self.router.as_ref()?.floor(now, self.settings.values())
    }

    /// Whether something is to be said that the driver has no bytes of: [`Self::on_client`] is to be called, whatever the
    /// client has said.
    pub(super) fn has_something_to_say(&self) -> bool {
        // Until a backend has come, or has answered what was asked of it first, it is not to be said.
        self.router.as_ref().is_some_and(|split| split.replay.is_pending() && !self.backend.is_leaving())
            && !(self.backend.is_wanted()
                || self.backend.awaits_response()
                || self.request.awaits_responses())
    }

    /// True if the session has received all of a message larger than any buffer, and not sent the message yet.
    pub(super) fn has_gathered(&self) -> bool {
        let gathered = self.request.gathered();
        gathered.is_some_and(|gathered| gathered.missing == 0)
    }

    /// True if the session waits for more client input, for classification or to send a deferred BEGIN with the next
    /// statement. [`Self::on_impatience`] ends the wait soon.
    pub(super) fn is_waiting_for_more(&self) -> bool {
        self.holds_begin_back() || self.router.as_ref().is_some_and(|split| split.lookahead.is_waiting())
    }

    /// Ends the wait for more client input: present input is classified as is, and the client's transaction begins.
    pub(super) fn on_impatience(&mut self) {
        if self.holds_begin_back() {
            self.want_for_begin();
        }
        if let Some(split) = self.router.as_mut() {
            split.lookahead.on_timeout();
        }
    }

    /// Notes the process id sent to the client at login.
    pub(super) fn told_pid(&mut self, pid: i32) {
        self.process_ids.told_pid = pid;
    }

    /// Notes the process id of the leased backend.
    pub(super) fn serves_as(&mut self, pid: i32) {
        self.process_ids.backend_pid = pid;
    }

    /// What is known of the backend, when it can be given back: nothing is under way on it, and nothing of the session
    /// is left there.
    pub(super) fn detach(&mut self) -> Option<Box<Memory>> {
        if !self.is_done_with_backend() {
            return None;
        }
        self.on_backend_returned();
        self.settings.on_return();
        match self.backend.give_back() {
            Ok(memory) => memory,
            Err(illegal) => {
                self.break_off(illegal);
                None
            }
        }
    }

    /// Whether the client's next message can only be understood once more answers have come.
    pub(super) fn is_awaiting_answers(&self) -> bool {
        self.backend.awaits_response() || self.request.awaits_responses()
    }

    /// True if the session may end after the client's Terminate: the client has every response PostgreSQL would have
    /// sent. After Terminate the backend sends all pending responses, and ends the session by closing.
    pub(super) fn may_leave(&self) -> bool {
        self.conversation.may_leave() && !self.has_more_to_say_again()
    }

    /// The client is told that it has waited for a backend for so long.
    pub(super) fn notice_wait(&mut self, waited: Duration) {
        if !self.begin.wants_backend() {
            let message = format!("waiting for a server connection for {} s", waited.as_secs());
            error_response::ErrorResponse::new(Severity::Notice, SqlState::SUCCESSFUL_COMPLETION, message)
                .write(self.outgoing.client());
        }
    }

    /// What is known of the backend, when the session ends, whatever is left on it.
    pub(super) fn abandon(&mut self) -> Option<Box<Memory>> {
        self.backend.abandon()
    }

    /// No backend is to be had: the client's next request is answered with `refusal`, and the session goes on. A transaction
    /// that the client was told of, and no backend, has failed.
    pub(super) fn fail(&mut self, refusal: Refusal) {
        self.on_backend_event(BackendEvent::Refused);
        if self.begin.wants_backend() {
            // The client has requested nothing able to fail.
            self.begin.wait_for_statement();
            return;
        }
        self.request.refuse_next(refusal);
        if self.begin.fail() {
            self.conversation.status = TransactionStatus::Failed;
        }
    }

    /// Whether what is under way on the held backend, or has to go ahead of what the client says, is the session's own: a
    /// cancel request that came now would not end the client's statement, but what the statement relies on.
    pub(super) fn is_preparing(&self) -> bool {
        self.backend.is_held()
            && (self.conversation.queue.is_own() || self.has_prelude(self.conversation.status))
    }

    /// What goes to the backend before anything of the client's.
    pub(super) fn backend_output(&mut self) -> Option<&mut Vec<u8>> {
        Some(self.outgoing.backend()).filter(|bytes| !bytes.is_empty())
    }

    /// What goes to the client behind everything of the backend's so far.
    pub(super) fn client_output(&mut self) -> Option<&mut Vec<u8>> {
        Some(self.outgoing.client()).filter(|bytes| !bytes.is_empty())
    }

    /// The next pin that nobody was told of.
    pub(super) fn poll_pin(&mut self) -> Option<Pin> {
        self.cleanup.poll_pin()
    }

    /// Returns the number of state checks started since the last poll.
    pub(super) fn poll_state_checks(&mut self) -> u32 {
        self.cleanup.poll_started_checks()
    }

    /// True if the backend may hold session state not cleared by `DISCARD ALL`.
    pub(super) fn spoils_backend(&self) -> bool {
        self.conversation.spoils_backend || self.cleanup.spoils_backend()
    }

    /// Why the session may not give its backend back.
    pub(super) fn pins(&self) -> Pins {
        self.cleanup.pins()
    }
}
