//! One client's conversation with the server, without sockets.
//!
//! Promises: bytes of both directions are walked over once and forwarded as they are; pending responses are known from
//! the server's own messages. Refuses to know: sockets, clocks, TLS, endpoints.
//!
//! A [`Dedicated`] session has one backend for life: every message is forwarded, and observed for metrics, audit, drain
//! and cancel. A [`Pooled`] session leases a backend per transaction. State that must exist on whichever backend serves
//! the session (prepared statements, settings, a deferred BEGIN) is sent ahead of the session's statements in the same
//! write. State possibly left behind is looked up in the server's catalogs before the backend is returned; while some of
//! it exists, [`Pin`]s tie the session to the backend.
//!
//! # Call order
//!
//! The driver calls, in this order:
//!
//! 1. Input: [`Session::on_client`] and [`Session::on_backend`] with the bytes read and not yet taken, again after each
//!    call that has taken some.
//! 2. Output: [`Session::to_backend`] and [`Session::to_client`], sent before any bytes that the input call forwards.
//! 3. Commands: [`Session::attach`] or [`Session::assign`] while [`Session::wants_backend`] is true, or
//!    [`Session::fail`]; [`Session::detach`] after each input call, which returns the backend's state once the backend
//!    can be returned.
//! 4. Events: every `poll_*` method, until it returns nothing.

mod backend_statements;
mod batch_facts;
mod batch_writer;
mod captured_texts;
mod cluster_commands;
mod commit_id;
mod consumed_input;
mod conversation;
mod database_state;
mod dedicated;
mod fate;
mod internal_statements;
mod parsed;
mod pending_request;
mod pin;
mod pooled;
mod proxy_batch;
mod reported_parameters;
mod request_counts;
mod response_queue;
mod result_shape;
mod session_tag;
mod setting_values;
mod shared_statement;
mod side_effects;
mod split;
mod state_check;
mod statement_name;
mod statement_report;
#[cfg(test)]
mod tests;
mod tracked_backend_state;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

pub use cluster_commands::ClusterEvent;
pub use commit_id::{CommitOutcome, ResolvedCommit, ServerIdentity};
pub use consumed_input::ConsumedInput;
pub use conversation::{BackendLossPolicy, SessionOptions};
pub use database_state::{CatalogInstant, DatabaseState};
pub use dedicated::Dedicated;
pub use fate::Fate;
pub use pin::{Pin, Pins};
pub use pooled::Pooled;
pub use reported_parameters::ReportedParameters;
pub use session_tag::SessionTag;
pub use setting_values::SettingValues;
pub use split::{AssignedBackend, FreshnessCheck, RouteOptions};
pub use statement_report::StatementReport;
pub use tracked_backend_state::TrackedBackendState;

use self::{conversation::Conversation, split::WRITER};
use crate::{
    client_error::ClientError,
    route::{RouteNeed, RouteReason, SplitSettings},
    sql::StatefulNames,
    wire::{FrameError, SqlState, TransactionStatus},
};

/// Protocol state of one client, from the first ReadyForQuery on.
pub enum Session {
    /// One backend for life.
    Dedicated(Box<Dedicated>),
    /// A backend leased per transaction.
    Pooled(Box<Pooled>),
}

/// Calls the same method of either variant.
macro_rules! either {
    ($session:expr, $inner:ident => $call:expr) => {
        match $session {
            Session::Dedicated($inner) => $call,
            Session::Pooled($inner) => $call,
        }
    };
}

// === impl Session ===

impl Session {
    /// Creates a session with a backend for life, whose last ReadyForQuery had `status`.
    #[must_use]
    pub fn new(status: TransactionStatus, options: SessionOptions) -> Self {
        Self::Dedicated(Box::new(Dedicated::new(status, options)))
    }

    /// Creates a session with an idle backend for life, used by other sessions afterwards: the backend does not receive
    /// the client's Terminate. Use of a function in `spoiling` makes the backend unfit for other sessions.
    #[must_use]
    pub fn returning(spoiling: Option<Arc<StatefulNames>>, options: SessionOptions) -> Self {
        Self::Dedicated(Box::new(Dedicated::returning(spoiling, options)))
    }

    /// Creates a pooled session without a backend. The client was sent the settings in `known` and the status idle.
    /// `startup` holds the client's start-up settings, absent from backend logins.
    #[must_use]
    pub fn shared(
        database: Arc<DatabaseState>,
        known: ReportedParameters,
        startup: SettingValues,
        options: SessionOptions,
    ) -> Self {
        Self::Pooled(Box::new(Pooled::new(database, known, startup, options)))
    }

    fn conversation(&self) -> &Conversation {
        match self {
            Self::Dedicated(session) => session.conversation(),
            Self::Pooled(session) => session.conversation(),
        }
    }

    fn conversation_mut(&mut self) -> &mut Conversation {
        match self {
            Self::Dedicated(session) => session.conversation_mut(),
            Self::Pooled(session) => session.conversation_mut(),
        }
    }

    fn pooled(&self) -> Option<&Pooled> {
        match self {
            Self::Dedicated(_) => None,
            Self::Pooled(pooled) => Some(pooled),
        }
    }

    fn pooled_mut(&mut self) -> Option<&mut Pooled> {
        match self {
            Self::Dedicated(_) => None,
            Self::Pooled(pooled) => Some(pooled),
        }
    }

    // --- input

    /// Processes the client's next bytes, read at `now`. Returns how many bytes are taken from the start; forwarded bytes go
    /// to the backend, behind [`Self::to_backend`]. `full` means that the buffer has no room for more.
    ///
    /// # Errors
    /// [`FrameError`]: the client is out of step. The client gets [`ClientError::protocol`].
    pub fn on_client(
        &mut self,
        now: Instant,
        unread: &[u8],
        full: bool,
    ) -> Result<ConsumedInput, FrameError> {
        either!(self, session => session.on_client(now, unread, full))
    }

    /// Processes the backend's next bytes, read at `now`. Returns how many bytes are taken from the start; forwarded bytes go
    /// to the client, behind [`Self::to_client`]. `full` means that the buffer has no room for more.
    ///
    /// # Errors
    /// [`FrameError`]: the server is out of step, and the session is over.
    pub fn on_backend(
        &mut self,
        now: Instant,
        unread: &[u8],
        full: bool,
    ) -> Result<ConsumedInput, FrameError> {
        either!(self, session => session.on_backend(now, unread, full))
    }

    /// Ends the conversation at `now`, in the middle of work: a running statement is reported as cut short.
    pub fn on_break(&mut self, now: Instant) {
        self.conversation_mut().on_break(now);
    }

    /// Ends the session: appends messages to `out` that end all work started by the client, to bring the backend to rest.
    /// False if no message can: the Sync missing in a batch would commit work that the client has not committed.
    pub fn wind_up(&mut self, now: Instant, out: &mut Vec<u8>) -> bool {
        if let Some(own) = self.to_backend() {
            out.append(own);
        }
        self.conversation_mut().wind_up(now, out)
    }

    // --- commands of the driver

    /// True if the session needs a backend: lease one and [`Self::attach`] it, or [`Self::fail`].
    #[must_use]
    pub fn wants_backend(&self) -> bool {
        self.pooled().is_some_and(Pooled::wants_backend)
    }

    /// The [`SettingValues::mark`] of the settings that the backend will need.
    #[must_use]
    pub fn settings_mark(&self) -> u64 {
        self.pooled().map_or(0, Pooled::settings_mark)
    }

    /// True if the session's backends must have logged in with the client's options.
    #[must_use]
    pub fn is_apart(&self) -> bool {
        self.pooled().is_some_and(Pooled::is_apart)
    }

    /// Requirement for the next backend; irrelevant without a split route.
    #[must_use]
    pub fn need(&self) -> RouteNeed {
        self.pooled().map_or(WRITER, Pooled::need)
    }

    /// Freshness floor of the next read at `now`: by the session's own writes, or by the session's settings.
    #[must_use]
    pub fn floor(&self, now: Instant) -> Option<Instant> {
        self.pooled()?.floor(now)
    }

    /// Sends reads to the read pools from now on, everything else to the writer.
    pub fn split(&mut self, settings: Arc<SplitSettings>, route_options: RouteOptions) {
        if let Some(session) = self.pooled_mut() {
            session.split(settings, route_options);
        }
    }

    /// Hands over a leased backend. `untouched`: the session returned this backend last, and no other session has used it since.
    pub fn attach(&mut self, tracked_state: Box<TrackedBackendState>, untouched: bool) {
        if let Some(session) = self.pooled_mut() {
            session.attach(tracked_state, untouched);
        }
    }

    /// As [`Self::attach`], for a session with a [split](Self::split) route.
    pub fn assign(
        &mut self,
        tracked_state: Box<TrackedBackendState>,
        untouched: bool,
        assigned: AssignedBackend<'_>,
    ) {
        if let Some(session) = self.pooled_mut() {
            session.assign(tracked_state, untouched, assigned);
        }
    }

    /// Notes the process id sent to the client at login.
    pub fn set_client_pid(&mut self, pid: i32) {
        if let Some(session) = self.pooled_mut() {
            session.set_client_pid(pid);
        }
    }

    /// Keeps `tag` in the `application_name` of a pooled session.
    pub fn set_tag(&mut self, tag: SessionTag) {
        if let Some(session) = self.pooled_mut() {
            session.set_tag(tag);
        }
    }

    /// Notes the process id of the leased backend.
    pub fn serves_as(&mut self, pid: i32) {
        if let Some(session) = self.pooled_mut() {
            session.serves_as(pid);
        }
    }

    /// No backend is available: the client's next request gets `client_error`, and the session continues. A transaction known to
    /// the client and to no backend has failed.
    pub fn fail(&mut self, client_error: ClientError) -> bool {
        self.pooled_mut().is_some_and(|session| session.fail(client_error))
    }

    /// Takes the state of the backend, if the backend can be returned: nothing is in progress there, and no state of the
    /// session is left there.
    pub fn detach(&mut self) -> Option<Box<TrackedBackendState>> {
        self.pooled_mut()?.detach()
    }

    /// Takes the state of the backend at the end of the session, whatever is left there.
    pub fn abandon(&mut self) -> Option<Box<TrackedBackendState>> {
        self.pooled_mut()?.abandon()
    }

    /// The backend is lost at `now`; true if the session can continue without the backend.
    pub fn on_backend_lost(&mut self, now: Instant) -> bool {
        self.pooled_mut().is_some_and(|session| session.on_backend_lost(now))
    }

    /// Ends the wait for more client input: present input is classified as is, and the client's transaction begins.
    pub fn on_batch_timeout(&mut self) {
        if let Some(session) = self.pooled_mut() {
            session.on_batch_timeout();
        }
    }

    /// Tells the client in a notice how long the client has waited for a backend.
    pub fn notice_wait(&mut self, waited: Duration) {
        if let Some(session) = self.pooled_mut() {
            session.notice_wait(waited);
        }
    }

    /// True if the catalog must be compared with the server's, over the session's backend, before the backend is returned,
    /// and nothing is in progress there.
    #[must_use]
    pub fn wants_catalogue(&self) -> bool {
        self.pooled().is_some_and(Pooled::wants_catalogue)
    }

    /// True if no client request in the meantime depends on the state check after the comparison.
    #[must_use]
    pub fn may_defer_catalogue(&self) -> bool {
        self.pooled().is_some_and(Pooled::may_defer_catalogue)
    }

    /// Starts the comparison: nothing is sent to the backend before [`Self::on_catalogue`].
    pub fn begin_catalogue(&mut self) {
        if let Some(session) = self.pooled_mut() {
            session.begin_catalogue();
        }
    }

    /// Notes a catalog comparison or read by simple queries on the session's backend; `is_new` is false if the server refused
    /// the queries.
    pub fn on_catalogue(&mut self, is_new: bool) {
        if let Some(session) = self.pooled_mut() {
            session.on_catalogue(is_new);
        }
    }

    /// Gives up the session's possible sequence state, if the session has no further pins and has read no sequence so far.
    pub fn release_sequences(&mut self) {
        if let Some(session) = self.pooled_mut() {
            session.release_sequences();
        }
    }

    // --- output

    /// Bytes to send to the backend before any bytes of the client.
    #[expect(clippy::wrong_self_convention, reason = "output by its direction, no conversion")]
    pub fn to_backend(&mut self) -> Option<&mut Vec<u8>> {
        self.pooled_mut()?.backend_output()
    }

    /// Bytes to send to the client behind all earlier bytes of the backend.
    #[expect(clippy::wrong_self_convention, reason = "output by its direction, no conversion")]
    pub fn to_client(&mut self) -> Option<&mut Vec<u8>> {
        self.pooled_mut()?.client_output()
    }

    /// Next finished statement.
    pub fn poll_report(&mut self) -> Option<StatementReport> {
        self.conversation_mut().poll_report()
    }

    /// Next new pin.
    pub fn poll_pin(&mut self) -> Option<Pin> {
        self.pooled_mut()?.poll_pin()
    }

    /// Count of state checks started since the last poll.
    pub fn poll_state_checks(&mut self) -> u32 {
        self.pooled_mut().map_or(0, Pooled::poll_state_checks)
    }

    /// Next client statement with an effect on backends of all sessions.
    pub fn poll_cluster_event(&mut self) -> Option<ClusterEvent> {
        self.conversation_mut().poll_cluster_event()
    }

    /// True once per finished transaction with a possible sequence move, in a session without sequence reads so far.
    pub fn poll_sequence_moved(&mut self) -> bool {
        self.pooled_mut().is_some_and(Pooled::poll_sequence_moved)
    }

    /// Replay position last reported by a node, in bytes of WAL; the inner `None` is a node without one.
    pub fn poll_position(&mut self) -> Option<Option<u64>> {
        self.pooled_mut()?.poll_position()
    }

    /// True once per commit that the session's next reads must see.
    pub fn poll_wrote(&mut self) -> bool {
        self.pooled_mut().is_some_and(Pooled::poll_wrote)
    }

    /// Fate of a transaction whose backend was lost, once.
    pub fn poll_fate(&mut self) -> Option<Fate> {
        self.pooled_mut()?.poll_fate()
    }

    /// A COMMIT in doubt whose outcome is decided, once.
    pub fn poll_resolved_commit(&mut self) -> Option<ResolvedCommit> {
        self.pooled_mut()?.poll_resolved_commit()
    }

    /// Reason of the last replay on another backend, once.
    pub fn poll_rerun(&mut self) -> Option<RouteReason> {
        self.pooled_mut()?.poll_rerun()
    }

    // --- getters

    /// True if the driver must call [`Self::on_client`] for a pending replay, even without new client bytes.
    #[must_use]
    pub fn has_pending_replay(&self) -> bool {
        self.pooled().is_some_and(Pooled::has_pending_replay)
    }

    /// True if the session has received all of a message larger than any buffer, and not sent the message yet.
    #[must_use]
    pub fn has_gathered(&self) -> bool {
        self.pooled().is_some_and(Pooled::has_gathered)
    }

    /// True if the session waits for more client input, for classification or to send a deferred BEGIN with the next
    /// statement. [`Self::on_batch_timeout`] ends the wait.
    #[must_use]
    pub fn is_waiting_for_more(&self) -> bool {
        self.pooled().is_some_and(Pooled::is_waiting_for_more)
    }

    /// True if the client's next message can only be processed after further responses.
    #[must_use]
    pub fn is_awaiting_answers(&self) -> bool {
        self.pooled().is_some_and(Pooled::is_awaiting_answers)
    }

    /// True if work in progress on the backend, or required ahead of the client's message, is Gatekeeper's own: a cancel
    /// request would not cancel the client's statement, but a prerequisite.
    #[must_use]
    pub fn is_preparing(&self) -> bool {
        self.pooled().is_some_and(Pooled::is_preparing)
    }

    /// True if a Sync of Gatekeeper may precede the client's next message: no request is in progress.
    #[must_use]
    pub fn may_ping(&self) -> bool {
        self.pooled().is_some() && self.conversation().is_between_units() && !self.is_preparing()
    }

    /// True if a read pool has not begun to answer a read that can run again elsewhere.
    #[must_use]
    pub fn has_unanswered_read(&self) -> bool {
        self.pooled().is_some_and(Pooled::has_unanswered_read)
    }

    /// Gives up the read pool, which has not begun to answer in time: the read runs again on the writer. The backend must be
    /// given up next.
    pub fn leave_readers(&mut self) {
        if let Some(session) = self.pooled_mut() {
            session.leave_readers();
        }
    }

    /// True if the session may end after the client's Terminate: the client has every response PostgreSQL would have sent.
    #[must_use]
    pub fn may_leave(&self) -> bool {
        match self {
            Self::Dedicated(session) => session.conversation().may_leave(),
            Self::Pooled(session) => session.may_leave(),
        }
    }

    /// True if `unread` contains Terminate: all earlier messages must still be processed, though the client has closed the
    /// socket.
    #[must_use]
    pub fn contains_terminate(&self, unread: &[u8]) -> bool {
        self.conversation().contains_terminate(unread)
    }

    /// Session state that prevents the return of the backend.
    #[must_use]
    pub fn pins(&self) -> Pins {
        self.pooled().map_or(Pins::NONE, Pooled::pins)
    }

    /// True if the backend may hold session state not cleared by `DISCARD ALL`: the backend must be closed.
    #[must_use]
    pub fn spoils_backend(&self) -> bool {
        match self {
            Self::Dedicated(session) => session.spoils_backend(),
            Self::Pooled(session) => session.spoils_backend(),
        }
    }

    /// Error that ends the session, raised by Gatekeeper.
    #[must_use]
    pub fn broken(&self) -> Option<&ClientError> {
        self.conversation().broken()
    }

    /// True if nothing is in progress: no transaction, no batch without Sync, no pending response, no partial client message.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.conversation().is_idle() && !self.pooled().is_some_and(Pooled::is_in_doubt)
    }

    /// True if no response is pending.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.conversation().is_settled()
    }

    /// True if so many responses are pending that no client input may be read.
    #[must_use]
    pub fn is_backlogged(&self) -> bool {
        self.conversation().queue().is_full()
    }

    /// True if an internal message may follow the bytes already sent to the client.
    #[must_use]
    pub fn may_speak_to_client(&self) -> bool {
        self.conversation().is_server_at_boundary()
    }

    /// True if an internal message may follow the bytes already sent to the backend.
    #[must_use]
    pub fn may_speak_to_backend(&self) -> bool {
        self.conversation().is_client_at_boundary()
    }

    /// Transaction status last reported to the client.
    #[must_use]
    pub fn status(&self) -> TransactionStatus {
        self.conversation().status()
    }

    /// Count of statements started: with [`Self::is_settled`] the count tells one statement from the next.
    #[must_use]
    pub fn statements_started(&self) -> u64 {
        self.conversation().statements_started()
    }

    /// Count of finished transactions.
    #[must_use]
    pub fn transactions(&self) -> u64 {
        self.conversation().transactions()
    }

    /// True if the client has sent Terminate.
    #[must_use]
    pub fn terminate_received(&self) -> bool {
        self.conversation().has_received_terminate()
    }

    /// SQLSTATE of the server's last error, if the client has seen the error.
    #[must_use]
    pub fn visible_fatal(&self) -> Option<SqlState> {
        self.fatal().filter(|state| !self.pooled().is_some_and(|session| session.hides_fatal(*state)))
    }

    /// SQLSTATE of a server error that ends the session.
    #[must_use]
    pub fn fatal(&self) -> Option<SqlState> {
        self.conversation().fatal()
    }
}
