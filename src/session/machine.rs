//! The machine: octets of both sides in, how many may be forwarded out.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    cluster_commands::ClusterCommands,
    common::Common,
    ledger::{Closed, Described, Ledger, Made, Owed},
    memory::Memory,
    pin::{Pin, Pins},
    refusal::Refusal,
    report::{Report, StatementKind, Text},
    reported::Reported,
    settings::Settings,
    sharing::{HeldBegin, Sharing, Untold},
    split::{Asked, Assignment, Split, WRITER},
    take::Take,
    texts::Texts,
};
use crate::route::{Need, SplitSettings};
use crate::sql::{self, Catalogue, Effects};
use crate::wire::{
    self, Fault, Frame, FrameError, Header, Piece, Speaker, SqlState, TransactionStatus, Walker, backend,
    fault::{self, Severity},
    frontend, tag,
};

/// One client's conversation, from the first ReadyForQuery on: with one backend for life, or with whichever one it leases
/// for a transaction.
pub struct Session {
    pub(super) client: Walker,
    pub(super) server: Walker,
    pub(super) ledger: Ledger,
    /// What the client was told last.
    pub(super) status: TransactionStatus,
    /// Statements begun so far.
    pub(super) begun: u64,
    /// Transactions ended so far.
    pub(super) transactions: u64,
    /// The client has begun a batch of extended messages and not said Sync: its transaction is open, whatever the status.
    pub(super) in_batch: bool,
    /// The client said Terminate.
    pub(super) farewell: bool,
    /// Terminate was also sent to the backend: the backend sends all pending responses, and closes.
    pub(super) farewell_passed: bool,
    /// The server said that it ends the session.
    pub(super) fatal: Option<SqlState>,
    /// The session cannot go on.
    pub(super) broken: Option<Refusal>,
    pub(super) reports: VecDeque<Report>,
    pub(super) keeper: Option<Box<Keeper>>,
    pub(super) cluster_commands: ClusterCommands,
    /// The backend may hold session state not cleared by `DISCARD ALL`.
    pub(super) spoils_backend: bool,
    /// Names able to spoil the backend of a dedicated session when used.
    spoiling: Option<Arc<Catalogue>>,
    /// The backend is not to hear the client's farewell: others will use it.
    returning: bool,
    /// `None` when the session has one backend for life.
    pub(super) sharing: Option<Box<Sharing>>,
}

/// What a session is to keep beside its state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SessionOptions {
    /// Octets of each statement's text to keep for reports; `None` keeps none.
    pub text_limit: Option<usize>,
}

/// Texts, when they are wanted.
pub(super) struct Keeper {
    pub(super) limit: usize,
    pub(super) texts: Texts,
}

impl Session {
    /// A session with a backend for life, which has just said ReadyForQuery with `status`.
    #[must_use]
    pub fn new(status: TransactionStatus, options: SessionOptions) -> Self {
        Self {
            client: Walker::new(Speaker::Client),
            server: Walker::new(Speaker::Server),
            ledger: Ledger::default(),
            status,
            begun: 0,
            transactions: 0,
            in_batch: false,
            farewell: false,
            farewell_passed: false,
            fatal: None,
            reports: VecDeque::new(),
            keeper: options.text_limit.map(|limit| Box::new(Keeper { limit, texts: Texts::default() })),
            cluster_commands: ClusterCommands::default(),
            spoils_backend: false,
            spoiling: None,
            broken: None,
            returning: false,
            sharing: None,
        }
    }

    /// A session with an idle backend for life, which others will use afterwards: it does not hear the client's farewell.
    #[must_use]
    pub fn returning(options: SessionOptions) -> Self {
        Self { returning: true, ..Self::new(TransactionStatus::Idle, options) }
    }

    /// Sets the functions able to spoil the backend of a dedicated session when used.
    pub fn spoil_by(&mut self, functions: Arc<Catalogue>) {
        self.spoiling = Some(functions);
    }

    /// True if the backend may hold session state not cleared by `DISCARD ALL`: the backend must be closed.
    #[must_use]
    pub const fn spoils_backend(&self) -> bool {
        self.spoils_backend
    }

    /// Creates a pooled session without a backend. The client was sent the settings in `known` and the status idle.
    /// `startup` holds the client's start-up settings, absent from backend logins.
    #[must_use]
    pub fn shared(common: Arc<Common>, known: Reported, startup: Settings, options: SessionOptions) -> Self {
        let mut session = Self::new(TransactionStatus::Idle, options);
        session.sharing = Some(Box::new(Sharing::new(common, known, startup)));
        session
    }

    /// The client's next octets, read at `now`. Answers how many of them, from the start, are taken; those that pass go to
    /// the backend, behind what [`Self::to_backend`] gives. `full` says that the buffer cannot take more.
    ///
    /// # Errors
    /// [`FrameError`]: the client is out of step; what it hears is [`super::Refusal::protocol`].
    pub fn on_client(&mut self, now: Instant, unread: &[u8], full: bool) -> Result<Take, FrameError> {
        if self.sharing.is_some() {
            return self.on_client_shared(now, unread, full);
        }
        if self.farewell {
            // PostgreSQL would not read further input either.
            return Ok(Take::default());
        }
        let mut at = 0;
        loop {
            if self.client.at_boundary() {
                at += wire::run(Speaker::Client, tag::frontend::COPY_DATA, &unread[at..]).octets;
            }
            let Some(piece) = self.client.next(&unread[at..])? else { return Ok(Take { pass: at, drop: 0 }) };
            match &piece {
                Piece::Whole(frame) if frame.tag() == tag::frontend::TERMINATE => {
                    self.farewell = true;
                    self.farewell_passed = !self.returning || self.breaks_off();
                    let octets = self.client.pass(&piece);
                    return Ok(match self.farewell_passed {
                        true => Take { pass: at + octets, drop: 0 },
                        false => Take { pass: at, drop: octets },
                    });
                }
                Piece::Whole(frame) => self.on_request(now, frame.tag(), frame.body(), false),
                Piece::Part(part) => {
                    if self.wants_whole(part.tag()) && !(full && at == 0) {
                        return Ok(Take { pass: at, drop: 0 });
                    }
                    let body = unread[at..].get(Header::OCTETS..).unwrap_or_default();
                    self.on_request(now, part.tag(), body, true);
                }
                Piece::Rest(_) => {}
            }
            at += self.client.pass(&piece);
        }
    }

    /// The backend's next octets, read at `now`. Answers how many of them, from the start, are taken; those that pass go to
    /// the client. `full` says that the buffer cannot take more.
    ///
    /// # Errors
    /// [`FrameError`]: the server is out of step, and the session is over.
    pub fn on_backend(&mut self, now: Instant, unread: &[u8], full: bool) -> Result<Take, FrameError> {
        if self.sharing.is_some() {
            return self.on_backend_shared(now, unread, full);
        }
        let mut at = 0;
        loop {
            if self.server.at_boundary() {
                at += wire::run(Speaker::Server, tag::backend::DATA_ROW, &unread[at..]).octets;
                at += wire::run(Speaker::Server, tag::backend::COPY_DATA, &unread[at..]).octets;
            }
            let Some(piece) = self.server.next(&unread[at..])? else { return Ok(Take { pass: at, drop: 0 }) };
            match &piece {
                Piece::Whole(frame) => self.on_answer(now, frame),
                // What is understood is waited for. Of these only an error can be larger than a buffer, and it begins with
                // all that is looked at; other long ones are rows and notices, which pass in parts.
                Piece::Part(part) if understood(part.tag()) => {
                    if !(full && at == 0) {
                        return Ok(Take { pass: at, drop: 0 });
                    }
                    if part.tag() == tag::backend::ERROR_RESPONSE {
                        self.on_error(now, unread.get(Header::OCTETS..).unwrap_or_default());
                    }
                }
                // A RowDescription with more columns than any buffer holds.
                Piece::Part(part) if part.tag() == tag::backend::ROW_DESCRIPTION => {
                    self.on_step_complete(part.tag());
                }
                Piece::Part(_) | Piece::Rest(_) => {}
            }
            at += self.server.pass(&piece);
        }
    }

    /// The conversation breaks off at `now`: the statement under way, if any, is reported as cut short.
    pub fn on_break(&mut self, now: Instant) {
        let report = self.ledger.cut_short(now, texts(self.keeper.as_deref()));
        self.reports.extend(report);
    }

    /// The next statement that is over.
    pub fn poll_report(&mut self) -> Option<Report> {
        self.reports.pop_front()
    }

    /// Whether the session cannot go on without a backend: lease one and [`Self::attach`] it, or [`Self::fail`].
    #[must_use]
    pub fn wants_backend(&self) -> bool {
        self.sharing.as_ref().is_some_and(|sharing| sharing.wants)
    }

    /// The [`super::Settings::mark`] of the settings that its backend will have to hold.
    #[must_use]
    pub fn settings_mark(&self) -> u64 {
        self.sharing.as_ref().map_or(0, |sharing| sharing.settings.mark())
    }

    /// True if the session's backends must have logged in with the client's options.
    #[must_use]
    pub fn is_apart(&self) -> bool {
        self.sharing.as_ref().is_some_and(|sharing| sharing.startup.is_apart())
    }

    /// A backend was leased. `untouched` says that it is the one the session gave back last, and that nobody has used it
    /// since.
    pub fn attach(&mut self, memory: Box<Memory>, untouched: bool) {
        self.spoils_backend = false;
        if let Some(sharing) = &mut self.sharing {
            sharing.attach(memory, untouched, None);
        }
    }

    /// The same for a session that [splits](Self::split) what it says.
    pub fn assign(&mut self, memory: Box<Memory>, untouched: bool, assignment: Assignment<'_>) {
        self.spoils_backend = false;
        if let Some(sharing) = &mut self.sharing {
            sharing.attach(memory, untouched, Some(assignment));
        }
    }

    /// Reads go to the read pools from now on, everything else to the writer.
    pub fn split(&mut self, settings: Arc<SplitSettings>, asked: Asked) {
        if let Some(sharing) = &mut self.sharing {
            let mut split = Split::new(settings, asked);
            split.learn(&sharing.known);
            sharing.split = Some(Box::new(split));
        }
    }

    /// What the backend is wanted for; anything will do for a session that does not split.
    #[must_use]
    pub fn need(&self) -> Need {
        let split = self.sharing.as_ref().and_then(|sharing| sharing.split.as_ref());
        split.map_or(WRITER, |split| split.need)
    }

    /// What a read must not be older than, at `now`: by the session's own writes, or by what it asks for.
    #[must_use]
    pub fn floor(&self, now: Instant) -> Option<Instant> {
        let sharing = self.sharing.as_ref()?;
        sharing.split.as_ref()?.floor(now, &sharing.settings)
    }

    /// Whether something is to be said that the driver has no octets of: [`Self::on_client`] is to be called, whatever the
    /// client has said.
    #[must_use]
    pub fn has_something_to_say(&self) -> bool {
        let Some(sharing) = &self.sharing else { return false };
        // Until a backend has come, or has answered what was asked of it first, it is not to be said.
        sharing.split.as_ref().is_some_and(|split| !split.again.is_empty() && !split.leaving)
            && !(sharing.wants || sharing.confirming || sharing.awaiting)
    }

    /// True if the session has received all of a message larger than any buffer, and not sent the message yet.
    #[must_use]
    pub fn has_gathered(&self) -> bool {
        let gathered = self.sharing.as_ref().and_then(|sharing| sharing.gathered.as_ref());
        gathered.is_some_and(|gathered| gathered.missing == 0)
    }

    /// True if the session waits for more client input, for classification or to send a deferred BEGIN with the next
    /// statement. [`Self::on_impatience`] ends the wait soon.
    #[must_use]
    pub fn is_waiting_for_more(&self) -> bool {
        let Some(sharing) = &self.sharing else { return false };
        sharing.holds_begin_back() || sharing.split.as_ref().is_some_and(|split| split.unfinished)
    }

    /// Ends the wait for more client input: present input is classified as is, and the client's transaction begins.
    pub fn on_impatience(&mut self) {
        if let Some(sharing) = &mut self.sharing
            && sharing.holds_begin_back()
        {
            sharing.want_for_begin();
        }
        if let Some(split) = self.sharing.as_mut().and_then(|sharing| sharing.split.as_mut()) {
            split.impatient = true;
        }
    }

    /// Notes the process id sent to the client at login.
    pub fn told_pid(&mut self, pid: i32) {
        if let Some(sharing) = &mut self.sharing {
            sharing.told_pid = pid;
        }
    }

    /// Notes the process id of the leased backend.
    pub fn serves_as(&mut self, pid: i32) {
        if let Some(sharing) = &mut self.sharing {
            sharing.backend_pid = pid;
        }
    }

    /// What is known of the backend, when it can be given back: nothing is under way on it, and nothing of the session
    /// is left there.
    pub fn detach(&mut self) -> Option<Box<Memory>> {
        if !self.is_done_with_backend() {
            return None;
        }
        let sharing = self.sharing.as_mut()?;
        if let Some(split) = &mut sharing.split {
            split.left();
        }
        if let Some(settings) = sharing.startup.moved(&sharing.settings) {
            sharing.settings = settings;
        }
        sharing.held.take()
    }

    /// Whether the client's next message can only be understood once more answers have come.
    #[must_use]
    pub fn is_awaiting_answers(&self) -> bool {
        self.sharing.as_ref().is_some_and(|sharing| sharing.confirming || sharing.awaiting)
    }

    /// True if the session may end after the client's Terminate: the client has every response PostgreSQL would have
    /// sent. After Terminate the backend sends all pending responses, and ends the session by closing.
    #[must_use]
    pub fn may_leave(&self) -> bool {
        self.ledger.copies_in().is_some()
            || (self.is_settled() && !self.farewell_passed && !self.has_more_to_say_again())
    }

    /// True if Terminate would reach the backend in the middle of a batch. No internal message ends a batch without a
    /// commit, and responses may be pending. The backend must receive Terminate itself, and closes.
    pub(super) fn breaks_off(&self) -> bool {
        (self.in_batch || self.ledger.is_skipping()) && self.ledger.copies_in().is_none()
    }

    /// True if `unread` contains Terminate: all earlier messages must still be processed, though the client has closed
    /// the socket.
    #[must_use]
    pub fn finds_farewell(&self, unread: &[u8]) -> bool {
        let mut rest = unread;
        while self.client.at_boundary()
            && let Ok(Some(frame)) = Frame::read(Speaker::Client, rest)
        {
            if frame.tag() == tag::frontend::TERMINATE {
                return true;
            }
            rest = rest.get(frame.octets().len()..).unwrap_or_default();
        }
        false
    }

    /// The client is told that it has waited for a backend for so long.
    pub fn notice_wait(&mut self, waited: Duration) {
        if let Some(sharing) = &mut self.sharing
            && sharing.begin != HeldBegin::Wants
        {
            let message = format!("waiting for a server connection for {} s", waited.as_secs());
            fault::Report::new(Severity::Notice, SqlState::SUCCESSFUL_COMPLETION, message)
                .write(&mut sharing.to_client);
        }
    }

    /// The session is over: appends what ends that which the client has begun, so that the backend comes to rest. False when
    /// nothing can: the Sync that a batch lacks would commit what the client has not said to commit.
    pub fn wind_up(&mut self, now: Instant, out: &mut Vec<u8>) -> bool {
        self.farewell = true;
        if let Some(own) = self.to_backend() {
            out.append(own);
        }
        let copying = self.ledger.copies_in();
        if copying.is_some() {
            frontend::write_copy_fail(out, "the client is gone");
        }
        if copying == Some(StatementKind::Execute) {
            // The batch has failed with its COPY.
            self.in_batch = false;
            frontend::write_sync(out);
            self.owe(Owed::CopyEnd);
            self.owe(Owed::Sync { started: now });
        }
        !(self.in_batch || self.farewell_passed || self.ledger.is_skipping())
    }

    /// What is known of the backend, when the session ends, whatever is left on it.
    pub fn abandon(&mut self) -> Option<Box<Memory>> {
        self.sharing.as_mut()?.held.take()
    }

    /// No backend is to be had: the client's next request is answered with `refusal`, and the session goes on. A transaction
    /// that the client was told of, and no backend, has failed.
    pub fn fail(&mut self, refusal: Refusal) {
        let Some(sharing) = &mut self.sharing else { return };
        sharing.wants = false;
        if sharing.begin == HeldBegin::Wants {
            // The client has requested nothing able to fail.
            sharing.begin = HeldBegin::Stays;
            return;
        }
        sharing.failing = Some(refusal);
        if sharing.untold != Untold::Nothing {
            sharing.untold = Untold::Failed;
            self.status = TransactionStatus::Failed;
        }
    }

    /// Whether what is under way on the held backend, or has to go ahead of what the client says, is the session's own: a
    /// cancel request that came now would not end the client's statement, but what the statement relies on.
    #[must_use]
    pub fn is_preparing(&self) -> bool {
        let Some(sharing) = &self.sharing else { return false };
        sharing.held.is_some() && (self.ledger.is_own() || sharing.has_prelude(self.status))
    }

    /// What goes to the backend before anything of the client's.
    pub fn to_backend(&mut self) -> Option<&mut Vec<u8>> {
        self.sharing.as_mut().map(|sharing| &mut sharing.to_backend).filter(|octets| !octets.is_empty())
    }

    /// What goes to the client behind everything of the backend's so far.
    pub fn to_client(&mut self) -> Option<&mut Vec<u8>> {
        self.sharing.as_mut().map(|sharing| &mut sharing.to_client).filter(|octets| !octets.is_empty())
    }

    /// The next pin that nobody was told of.
    pub fn poll_pin(&mut self) -> Option<Pin> {
        self.sharing.as_mut()?.new_pins.pop_front()
    }

    /// Returns the number of state checks started since the last poll.
    pub fn poll_state_checks(&mut self) -> u32 {
        self.sharing.as_mut().map_or(0, |sharing| std::mem::take(&mut sharing.state_checks))
    }

    /// Whether the client has said something about whole databases since this was asked last: PostgreSQL refuses some of it
    /// while anybody is connected to them, and idle backends are.
    pub fn poll_database_command(&mut self) -> bool {
        self.cluster_commands.take_database()
    }

    /// True once per transaction with a possible change of login permissions or login settings: server responses to
    /// earlier backend logins are out of date.
    pub fn poll_login_change(&mut self) -> bool {
        self.cluster_commands.take_committed()
    }

    /// Why the session may not give its backend back.
    #[must_use]
    pub fn pins(&self) -> Pins {
        self.sharing.as_ref().map_or(Pins::NONE, |sharing| sharing.pins)
    }

    /// Why the session cannot go on, if it cannot.
    #[must_use]
    pub const fn broken(&self) -> Option<&Refusal> {
        self.broken.as_ref()
    }

    /// Whether nothing is under way: no transaction, no batch without its Sync, no answer owed, no frame half-way in either
    /// direction.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.status == TransactionStatus::Idle
            && !self.in_batch
            && self.is_settled()
            && !self.ledger.is_skipping()
            && self.client.at_boundary()
    }

    /// Whether the server owes no answer.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.ledger.is_settled()
    }

    /// Whether the server owes so many answers that the client is not to be read until some of them have come.
    #[must_use]
    pub fn is_backlogged(&self) -> bool {
        self.ledger.is_full()
    }

    /// Whether a message of ours may follow what the client was sent so far.
    #[must_use]
    pub fn may_speak_to_client(&self) -> bool {
        self.server.at_boundary()
    }

    /// Whether a message of ours may follow what the backend was sent so far.
    #[must_use]
    pub fn may_speak_to_backend(&self) -> bool {
        self.client.at_boundary()
    }

    /// The transaction status that the server said last.
    #[must_use]
    pub const fn status(&self) -> TransactionStatus {
        self.status
    }

    /// Statements begun so far: with [`Self::is_settled`] it tells one statement from the next.
    #[must_use]
    pub const fn begun(&self) -> u64 {
        self.begun
    }

    /// Transactions ended so far.
    #[must_use]
    pub const fn transactions(&self) -> u64 {
        self.transactions
    }

    /// Whether the client said Terminate.
    #[must_use]
    pub const fn said_farewell(&self) -> bool {
        self.farewell
    }

    /// The SQLSTATE with which the server ended the session, if it said so.
    #[must_use]
    pub const fn fatal(&self) -> Option<SqlState> {
        self.fatal
    }

    /// Whether a message of the client is understood, and so waited for, rather than let go in parts.
    fn wants_whole(&self, tag: u8) -> bool {
        use tag::frontend::{BIND, CLOSE, EXECUTE, PARSE, QUERY, TERMINATE};
        tag == TERMINATE || self.keeper.is_some() && matches!(tag, QUERY | PARSE | BIND | EXECUTE | CLOSE)
    }

    fn on_request(&mut self, now: Instant, tag: u8, body: &[u8], partial: bool) {
        use tag::frontend as f;
        self.in_batch = match tag {
            f::PARSE | f::BIND | f::DESCRIBE | f::EXECUTE | f::CLOSE => true,
            // A Query or FunctionCall ends the transaction of a batch as Sync does.
            f::SYNC | f::QUERY | f::FUNCTION_CALL => false,
            _ => self.in_batch,
        };
        match tag {
            f::QUERY => self.note_text(until_nul(body).0, partial),
            f::PARSE => self.note_text(until_nul(until_nul(body).1).0, partial),
            f::FUNCTION_CALL => self.spoils_backend |= self.spoiling.is_some(),
            _ => {}
        }
        let request = match tag {
            f::QUERY | f::FUNCTION_CALL => {
                self.begun += 1;
                let kind = if tag == f::QUERY { StatementKind::Query } else { StatementKind::FunctionCall };
                let text = match &self.keeper {
                    Some(keeper) if tag == f::QUERY => Some(text(until_nul(body).0, keeper.limit, partial)),
                    _ => None,
                };
                Owed::Whole {
                    kind,
                    started: now,
                    text,
                    rows: 0,
                    operation: None,
                    error: None,
                    effects: Effects::NONE,
                    leads_back: Vec::new(),
                    unnamed: None,
                }
            }
            f::EXECUTE => {
                self.begun += 1;
                let portal = if self.keeper.is_some() { until_nul(body).0.into() } else { Box::default() };
                Owed::Execute { started: now, portal, resets: false, leads_back: Vec::new(), forgets: None }
            }
            f::SYNC => Owed::Sync { started: now },
            f::COPY_DONE | f::COPY_FAIL => Owed::CopyEnd,
            f::DESCRIBE => Owed::Describe(Described::AsIs),
            f::PARSE | f::BIND | f::CLOSE => {
                let step = match &self.keeper {
                    Some(keeper) => step(tag, body, keeper.limit, partial),
                    None => Some(nameless(tag)),
                };
                match step {
                    Some(step) => step,
                    None => return,
                }
            }
            _ => return,
        };
        self.ledger.owe(request);
    }

    /// Notes effects of a dedicated session's statement on backends of all sessions, and on the session's own backend.
    fn note_text(&mut self, statement: &[u8], partial: bool) {
        self.cluster_commands.note_statement(statement);
        if let Some(functions) = &self.spoiling {
            self.spoils_backend |= partial || sql::effects(statement, functions).contains(Effects::FUNCTION);
        }
    }

    pub(super) fn on_answer(&mut self, now: Instant, frame: &Frame<'_>) {
        use tag::backend as b;
        match frame.tag() {
            b::READY_FOR_QUERY => self.on_ready(now, frame.body()),
            b::COMMAND_COMPLETE => {
                let (rows, command) = match backend::Message::decode(frame) {
                    Ok(backend::Message::CommandComplete(tag)) => (tag.rows().unwrap_or(0), tag.command()),
                    _ => (0, &[][..]),
                };
                self.cluster_commands.note_command(command);
                self.spoils_backend |= command == b"LOAD";
                // Only who keeps texts wants to hear of it.
                let wanted = self.keeper.is_some() && !command.is_empty();
                let command = wanted.then(|| String::from_utf8_lossy(command).into());
                self.on_statement_complete(now, rows, command);
            }
            b::EMPTY_QUERY_RESPONSE | b::PORTAL_SUSPENDED => self.on_statement_complete(now, 0, None),
            b::ERROR_RESPONSE => self.on_error(now, frame.body()),
            b::COPY_IN_RESPONSE => {
                self.ledger.on_copy_in();
                // A server in COPY treats Terminate as a data error, and forgets the message.
                self.farewell_passed = false;
            }
            b::PARSE_COMPLETE | b::BIND_COMPLETE | b::CLOSE_COMPLETE | b::ROW_DESCRIPTION | b::NO_DATA => {
                self.on_step_complete(frame.tag());
            }
            _ => {}
        }
    }

    /// Handles the response with `tag` to a batch step. Returns the answered request, if noted.
    pub(super) fn on_step_complete(&mut self, tag: u8) -> Option<Owed> {
        let texts = self.keeper.as_deref_mut().map(|keeper| &mut keeper.texts);
        self.ledger.on_step_complete(tag, texts)
    }

    fn on_ready(&mut self, now: Instant, body: &[u8]) {
        if let Some(status) = body.first().copied().and_then(TransactionStatus::from_octet) {
            self.status = status;
        }
        if self.status == TransactionStatus::Idle {
            self.transactions += 1;
        }
        self.cluster_commands.note_ready(self.status);
        self.reports.extend(self.ledger.on_ready(now));
    }

    fn on_statement_complete(&mut self, now: Instant, rows: u64, command: Option<Box<str>>) {
        let report = self.ledger.on_statement_complete(now, rows, command, texts(self.keeper.as_deref()));
        self.reports.extend(report);
    }

    fn on_error(&mut self, now: Instant, body: &[u8]) {
        let fault = Fault::new(body);
        let state = fault.sqlstate().unwrap_or(SqlState::INTERNAL_ERROR);
        if fault.is_fatal() {
            self.fatal = Some(state);
        }
        // With one backend for life nothing was noted that would have to be undone.
        self.reports.extend(self.ledger.on_error(now, state, texts(self.keeper.as_deref()), &mut Vec::new()));
    }
}

/// Whether a message of the server that has a body means something here.
pub(super) const fn understood(tag: u8) -> bool {
    use tag::backend::{COMMAND_COMPLETE, COPY_IN_RESPONSE, ERROR_RESPONSE, READY_FOR_QUERY};
    matches!(tag, COMMAND_COMPLETE | COPY_IN_RESPONSE | ERROR_RESPONSE | READY_FOR_QUERY)
}

/// The texts kept, or none.
fn texts(keeper: Option<&Keeper>) -> Option<&Texts> {
    keeper.map(|keeper| &keeper.texts)
}

/// What a Parse, Bind or Close is going to change about the texts, once the server agrees.
fn step(tag: u8, body: &[u8], limit: usize, partial: bool) -> Option<Owed> {
    let (first, rest) = until_nul(body);
    Some(match tag {
        tag::frontend::PARSE => {
            let text = Some(text(until_nul(rest).0, limit, partial));
            Owed::Parse { name: first.into(), text, made: Made::AsIs }
        }
        tag::frontend::BIND => Owed::Bind { portal: first.into(), statement: until_nul(rest).0.into() },
        _ => {
            let (&which, name) = body.split_first()?;
            Owed::Close { portal: which == b'P', name: until_nul(name).0.into(), closed: Closed::AsIs }
        }
    })
}

/// Creates a request without texts: an error is attributed to the request, not to a later Query.
fn nameless(tag: u8) -> Owed {
    let name = Box::default();
    match tag {
        tag::frontend::PARSE => Owed::Parse { name, text: None, made: Made::AsIs },
        tag::frontend::BIND => Owed::Bind { portal: name, statement: Box::default() },
        _ => Owed::Close { portal: true, name, closed: Closed::AsIs },
    }
}

/// What stands before the first NUL and what behind it; all of it when there is none, as in a message cut short.
pub(super) fn until_nul(octets: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(0, octets) {
        Some(at) => (&octets[..at], &octets[at + 1..]),
        None => (octets, &[]),
    }
}

pub(super) fn text(octets: &[u8], limit: usize, partial: bool) -> Text {
    let kept = &octets[..octets.len().min(limit)];
    Text { octets: kept.into(), cut: partial || kept.len() < octets.len() }
}
