//! Session that leases a backend connection per transaction: the components of its state, and the commands of the driver.
//!
//! Components have private fields and tests of their own; they never see a message:
//!
//! | component | state |
//! | --- | --- |
//! | [`backend_state`] | the backend: wanted, held, awaited, given up; a table of all transitions |
//! | [`request_state`] | treatment of the client's next message |
//! | [`client_statements`], [`unnamed_statement`] | prepared statements of the client |
//! | [`analyzed_texts`] | what the texts of the client's next messages tell |
//! | [`session_settings`], [`startup_settings`] | settings of the session, and of its start-up packet |
//! | [`cleanup`], [`outdated_texts`], [`sequences`] | state possibly left on the backend: side effects, state checks, pins |
//! | [`deferred_begin`] | a BEGIN answered and not yet sent |
//! | [`commits`] | the transaction that is being committed, and a COMMIT in doubt |
//! | [`outgoing`] | bytes that Gatekeeper itself sends |
//! | [`super::split`] | a split route: lookahead, replay, freshness |
//!
//! Messages are read by [`client_input`] and [`client_message`], and processed in this order:
//!
//! | file | messages |
//! | --- | --- |
//! | [`client_messages`] | each message of the client: who answers it, and when |
//! | [`local_replies`] | without a backend |
//! | [`unit_classifier`], [`unit_routing`] | a split route: which backend |
//! | [`requests`] | requests to the held backend: ahead of a message, and for it; what a statement means for the session |
//! | [`server_messages`], [`response_opening`] | each message of the server |
//! | [`backend_release`] | requests of the session itself: state checks, and replays |
//! | [`interruption`], [`commit_resolution`] | the loss of the backend, and the outcome of a COMMIT in doubt |
//!
//! [`requests`] and the other types named by a role (`LocalReplies`, `UnitRouting`, …) borrow the components that they work
//! with, for one message.

mod analyzed_texts;
mod backend_release;
mod backend_state;
mod batch_tracker;
mod cleanup;
mod client_input;
mod client_message;
mod client_messages;
mod client_statements;
mod commit_resolution;
mod commits;
mod deferred_begin;
mod internal_error;
mod interrupted_units;
mod interruption;
mod local_replies;
mod message_action;
mod outdated_texts;
mod outgoing;
mod partial_message;
mod request_state;
mod requests;
mod response_opening;
mod sequences;
mod server_messages;
mod session_settings;
mod startup_settings;
mod statement_errors;
#[cfg(test)]
mod tests;
mod unit_classifier;
mod unit_routing;
mod unnamed_statement;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use self::{
    analyzed_texts::AnalyzedTexts, backend_state::BackendSlot, batch_tracker::BatchTracker, cleanup::Cleanup,
    client_statements::ClientStatements, commits::CommitTracker, internal_error::InternalError,
    outgoing::Outgoing, request_state::RequestState, sequences::SequenceTracker,
    session_settings::SessionSettings, startup_settings::StartupSettings,
};
pub(super) use self::{
    backend_state::BackendEvent,
    cleanup::{SettleContext, SettleStep},
    client_statements::ShapeCheck,
    deferred_begin::DeferredBegin,
    interrupted_units::{InterruptedUnit, UnitEnd},
    outdated_texts::OutdatedTexts,
    session_settings::SettingReport,
    unnamed_statement::UnnamedStatement,
};
use super::{
    commit_id::ResolvedCommit,
    conversation::{BackendLossPolicy, Conversation, SessionOptions},
    database_state::DatabaseState,
    fate::Fate,
    pin::{Pin, Pins},
    reported_parameters::ReportedParameters,
    session_tag::SessionTag,
    setting_values::SettingValues,
    shared_statement::Reading,
    split::{AssignedBackend, RouteOptions, Router, WRITER},
    tracked_backend_state::TrackedBackendState,
};
use crate::{
    client_error::ClientError,
    route::{RouteNeed, RouteReason, RouteSide, RoutingUnit, SplitSettings},
    wire::{
        SqlState, TransactionStatus,
        backend::ParameterStatus,
        error_response::{self, Severity},
    },
};

/// State of a pooled session.
pub struct Pooled {
    conversation: Conversation,
    /// State shared by all sessions of the database and user.
    database: Arc<DatabaseState>,
    backend: BackendSlot,
    process_ids: ProcessIds,
    request: RequestState,
    statements: ClientStatements,
    texts: AnalyzedTexts,
    settings: SessionSettings,
    startup: StartupSettings,
    cleanup: Cleanup,
    sequences: SequenceTracker,
    batch: BatchTracker,
    begin: DeferredBegin,
    outgoing: Outgoing,
    on_backend_loss: BackendLossPolicy,
    /// Fate of the transaction whose backend was lost, not reported to the driver yet.
    fate: Option<Fate>,
    /// `None` if commits in doubt are not resolved.
    commits: Option<Box<CommitTracker>>,
    /// `None` for a listener with a single endpoint.
    router: Option<Box<Router>>,
}

/// Process ids in notifications: a session's own notification has the process id known to the client.
#[derive(Default)]
struct ProcessIds {
    /// Process id sent to the client at login.
    client_pid: i32,
    /// Process id of the held backend.
    backend_pid: i32,
}

// === impl Pooled ===

impl Drop for Pooled {
    /// The session ends, perhaps within a transaction. What the server still commits is found by the catalog's epoch.
    fn drop(&mut self) {
        self.cleanup.end_learning(&self.database);
    }
}

impl Pooled {
    /// Creates a session without a backend, as [`super::Session::pooled`].
    pub(super) fn new(
        database: Arc<DatabaseState>,
        known: ReportedParameters,
        startup: SettingValues,
        options: SessionOptions,
    ) -> Self {
        let statements = ClientStatements::new(&database, Reading::of(&known));
        let resolves = options.on_backend_loss == BackendLossPolicy::ResolveCommits;
        let mut new = Self {
            conversation: Conversation::new(TransactionStatus::Idle, options),
            database,
            backend: BackendSlot::default(),
            process_ids: ProcessIds::default(),
            request: RequestState::default(),
            statements,
            texts: AnalyzedTexts::default(),
            settings: SessionSettings::new(startup.clone(), known),
            startup: StartupSettings::new(startup),
            cleanup: Cleanup::default(),
            sequences: SequenceTracker::default(),
            batch: BatchTracker::new(resolves),
            begin: DeferredBegin::default(),
            outgoing: Outgoing::default(),
            on_backend_loss: options.on_backend_loss,
            fate: None,
            commits: resolves.then(Box::default),
            router: None,
        };
        new.learn();
        new
    }

    /// A backend is held from now on.
    fn hold(
        &mut self,
        mut tracked_state: Box<TrackedBackendState>,
        untouched: bool,
        assigned: Option<AssignedBackend<'_>>,
    ) {
        self.cleanup.on_lease(self.database.edition());
        self.sequences.on_lease(untouched);
        self.statements.note_portal_of(0);
        if let (Some(split), Some(assigned)) = (&mut self.router, assigned) {
            split.on_assigned(assigned);
        }
        let is_standby = self.is_on_reader();
        let news = self.settings.on_lease(&mut tracked_state, is_standby);
        for (name, value) in &news {
            ParameterStatus { name, value }.write(self.outgoing.client());
        }
        if !news.is_empty() {
            self.learn();
        }
        let leased = self.backend.lease(tracked_state);
        self.end_on(leased);
    }

    /// Forgets state of the session that concerns its backend: the backend is returned, or lost.
    fn on_backend_returned(&mut self) {
        self.batch.forget_portals();
        self.begin.on_return();
        if let Some(split) = &mut self.router {
            split.left();
        }
    }

    /// Changes the backend's stage.
    fn on_backend_event(&mut self, event: BackendEvent) {
        let changed = self.backend.on(event);
        self.end_on(changed);
    }

    /// The value of `result`; an error ends the session.
    fn end_on<T>(&mut self, result: Result<T, impl Into<InternalError>>) -> Option<T> {
        result.map_err(|error| self.break_off(error.into())).ok()
    }

    /// Ends the session for an error of Gatekeeper.
    fn break_off(&mut self, error: InternalError) {
        if self.conversation.broken().is_none() {
            self.conversation.end_with(ClientError::internal(error.to_string()));
        }
    }

    /// Updates derived state after a settings report to the client.
    fn learn(&mut self) {
        self.statements.set_reading(Reading::of(self.settings.reported()));
        if let Some(split) = &mut self.router {
            split.learn(self.settings.reported());
            self.texts.set_lexical(self.settings.reported().lexical());
        }
    }

    /// True if a read pool's backend serves the session.
    fn is_on_reader(&self) -> bool {
        self.router.as_deref().is_some_and(Router::is_on_reader)
    }

    /// Whether something has to go to the held backend ahead of what the client says first.
    fn has_prelude(&self, status: TransactionStatus) -> bool {
        self.begin.exists() || self.has_settings_to_apply(status)
    }

    /// Whether the held backend has to be given the client's settings, outside of a transaction.
    fn has_settings_to_apply(&self, status: TransactionStatus) -> bool {
        let outside = status == TransactionStatus::Idle || self.begin.exists();
        outside && self.backend.held().is_some_and(|held| held.settings() != self.settings.values())
    }
}

impl Pooled {
    /// Protocol state that both kinds of sessions keep.
    pub(super) const fn conversation(&self) -> &Conversation {
        &self.conversation
    }

    /// Protocol state that both kinds of sessions keep.
    pub(super) const fn conversation_mut(&mut self) -> &mut Conversation {
        &mut self.conversation
    }

    /// State shared by all sessions of the database and user.
    #[cfg(test)]
    pub(super) fn database(&self) -> &DatabaseState {
        &self.database
    }

    /// Whether the session cannot go on without a backend: lease one and [`Self::attach`] it, or [`Self::fail`].
    pub(super) fn wants_backend(&self) -> bool {
        self.backend.is_wanted()
    }

    /// The [`super::SettingValues::mark`] of the settings that its backend will have to hold.
    pub(super) fn settings_mark(&self) -> u64 {
        self.settings.values().mark()
    }

    /// True if the session's backends must have logged in with the client's options.
    pub(super) fn is_apart(&self) -> bool {
        self.startup.is_apart()
    }

    /// A backend was leased. `untouched` says that it is the one the session gave back last, and that nobody has used it
    /// since.
    pub(super) fn attach(&mut self, tracked_state: Box<TrackedBackendState>, untouched: bool) {
        self.hold(tracked_state, untouched, None);
    }

    /// The same for a session that [splits](Self::split) what it says.
    pub(super) fn assign(
        &mut self,
        tracked_state: Box<TrackedBackendState>,
        untouched: bool,
        assigned: AssignedBackend<'_>,
    ) {
        self.hold(tracked_state, untouched, Some(assigned));
    }

    /// Reads go to the read pools from now on, everything else to the writer.
    pub(super) fn split(&mut self, settings: Arc<SplitSettings>, route_options: RouteOptions) {
        self.router = Some(Box::new(Router::new(settings, route_options)));
        self.learn();
    }

    /// What the backend is wanted for; anything will do for a session that does not split.
    pub(super) fn need(&self) -> RouteNeed {
        let split = self.router.as_ref();
        split.map_or(WRITER, |split| split.need())
    }

    /// What a read must not be older than, at `now`: by the session's own writes, or by what it asks for.
    pub(super) fn floor(&self, now: Instant) -> Option<Instant> {
        self.router.as_ref()?.floor(now, self.settings.values())
    }

    /// Whether something is to be said that the driver has no bytes of: [`Self::on_client`] is to be called, whatever the
    /// client has said.
    pub(super) fn has_pending_replay(&self) -> bool {
        // Until a backend has come, or has answered what was asked of it first, it is not to be said.
        self.router.as_ref().is_some_and(|split| split.replay().is_pending() && !self.backend.is_leaving())
            && !(self.backend.is_wanted()
                || self.backend.awaits_response()
                || self.request.awaits_responses())
    }

    /// True if the session has received all of a message larger than any buffer, and not sent the message yet.
    pub(super) fn has_gathered(&self) -> bool {
        self.request.has_gathered()
    }

    /// True if the session waits for more client input, for classification or to send a deferred BEGIN with the next
    /// statement. [`Self::on_batch_timeout`] ends the wait soon.
    pub(super) fn is_waiting_for_more(&self) -> bool {
        self.holds_begin_back() || self.router.as_ref().is_some_and(|split| split.lookahead().is_waiting())
    }

    /// Ends the wait for more client input: present input is classified as is, and the client's transaction begins.
    pub(super) fn on_batch_timeout(&mut self) {
        if self.holds_begin_back() {
            self.want_for_begin();
        }
        if let Some(split) = self.router.as_mut() {
            split.lookahead_mut().on_timeout();
        }
    }

    /// Notes the process id sent to the client at login.
    pub(super) fn set_client_pid(&mut self, pid: i32) {
        self.process_ids.client_pid = pid;
    }

    /// Keeps `tag` in the session's `application_name`.
    pub(super) fn set_tag(&mut self, tag: SessionTag) {
        self.settings.set_tag(tag);
    }

    /// Notes the process id of the leased backend.
    pub(super) fn serves_as(&mut self, pid: i32) {
        self.process_ids.backend_pid = pid;
    }

    /// What is known of the backend, when it can be given back: nothing is under way on it, and nothing of the session
    /// is left there.
    pub(super) fn detach(&mut self) -> Option<Box<TrackedBackendState>> {
        if !self.is_done_with_backend() {
            return None;
        }
        if let Some(held) = self.backend.held_mut() {
            held.replay_buffer_mut().forget();
        }
        self.on_backend_returned();
        if let Some(values) = self.startup.on_return(self.settings.values()) {
            self.settings.set_values(values);
        }
        let tracked_state = self.backend.give_back();
        self.end_on(tracked_state).flatten()
    }

    /// Whether the client's next message can only be understood once more answers have come.
    pub(super) fn is_awaiting_answers(&self) -> bool {
        self.backend.awaits_response() || self.request.awaits_responses()
    }

    /// True if a read pool has not begun to answer a proved read.
    pub(super) fn has_unanswered_read(&self) -> bool {
        self.is_on_reader()
            && !self.conversation.is_settled()
            && self.backend.held().is_some_and(|held| held.replay_buffer().is_proved())
    }

    /// Gives up the read pool, which has not begun to answer in time: the read runs again on the writer, once the backend is
    /// lost.
    pub(super) fn leave_readers(&mut self) {
        if let Some(router) = self.router.as_deref_mut() {
            router.replay_mut().leave_readers();
        }
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
    pub(super) fn abandon(&mut self) -> Option<Box<TrackedBackendState>> {
        self.backend.abandon()
    }

    /// No backend is to be had: the client's next request is answered with `client_error`, and the session goes on. A transaction
    /// that the client was told of, and no backend, has failed. True if the client receives the error.
    pub(super) fn fail(&mut self, client_error: ClientError) -> bool {
        self.on_backend_event(BackendEvent::Refused);
        if self.is_in_doubt() {
            if let Some(commits) = &mut self.commits {
                commits.give_up();
            }
            return false;
        }
        if self.begin.wants_backend() {
            // The client has requested nothing able to fail.
            self.begin.wait_for_statement();
            return false;
        }
        self.request.refuse_next(client_error);
        if self.begin.fail() {
            self.conversation.fail_transaction();
        }
        true
    }

    /// Whether what is under way on the held backend, or has to go ahead of what the client says, is the session's own: a
    /// cancel request that came now would not end the client's statement, but what the statement relies on.
    pub(super) fn is_preparing(&self) -> bool {
        self.backend.is_held()
            && (self.is_in_doubt()
                || self.conversation.queue().is_own()
                || self.has_prelude(self.conversation.status()))
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
        self.cleanup.spoils_backend()
    }

    /// Why the session may not give its backend back.
    pub(super) fn pins(&self) -> Pins {
        self.cleanup.pins()
    }

    /// True if a BEGIN is deferred for a limited time.
    fn holds_begin_back(&self) -> bool {
        self.begin.is_delayed() && !self.backend.is_held() && !self.backend.is_wanted()
    }

    /// Ends the delay of a deferred BEGIN: `now()` must return the time of the client's BEGIN.
    fn want_for_begin(&mut self) {
        self.begin.wait_for_statement();
        if let Some(split) = &mut self.router {
            let situation = split.situation(self.begin.modes(), self.settings.values());
            if RoutingUnit::EMPTY.need(&situation).side == RouteSide::Reader {
                return;
            }
            split.want_writer();
        }
        self.begin.want_backend();
        self.on_backend_event(BackendEvent::Needed);
    }

    /// Whether something has to be sent again before anything else.
    fn has_more_to_say_again(&self) -> bool {
        self.router.as_deref().is_some_and(|split| split.replay().is_pending())
    }

    /// True once per finished transaction with a possible sequence move, in a session without sequence reads so far.
    pub(super) fn poll_sequence_moved(&mut self) -> bool {
        self.conversation.is_idle() && self.sequences.take_moved()
    }

    /// Gives up the session's possible sequence state, if the session has no further pins and has read no sequence so
    /// far.
    pub(super) fn release_sequences(&mut self) {
        if self.cleanup.pins() == Pins::NONE.with(Pin::Sequence) && self.sequences.is_unread() {
            self.cleanup.unpin(Pin::Sequence);
            // Statements under the client's own names are closed now.
            self.settle();
        }
    }

    /// Replay position last reported by a node, in bytes of WAL; the inner `None` is a node without one.
    pub(super) fn poll_position(&mut self) -> Option<Option<u64>> {
        self.router.as_deref_mut()?.poll_position()
    }

    /// True once per commit that the session's next reads must see.
    pub(super) fn poll_wrote(&mut self) -> bool {
        self.router.as_deref_mut().is_some_and(|split| split.poll_wrote(self.settings.values()))
    }

    /// Fate of a transaction whose backend was lost, once.
    pub(super) fn poll_fate(&mut self) -> Option<Fate> {
        self.fate.take()
    }

    /// A COMMIT in doubt whose outcome is decided, once.
    pub(super) fn poll_resolved_commit(&mut self) -> Option<ResolvedCommit> {
        self.commits.as_mut()?.poll_resolved()
    }

    /// Reason of the last replay on another backend, once.
    pub(super) fn poll_rerun(&mut self) -> Option<RouteReason> {
        self.router.as_deref_mut()?.replay_mut().poll_reason()
    }
}
