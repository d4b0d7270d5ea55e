//! Drives one session: moves bytes between its sockets as the session machine decides.
//!
//! One future for both directions, on the client's worker. A side is read only after earlier bytes have been written to
//! the other side: a slow reader stops the reads from its own backend alone. An idle session holds no buffer. A pooled
//! session returns its backend as soon as the end of the response is read, before a slow client has received it.
//!
//! <https://www.postgresql.org/docs/current/protocol-flow.html>

pub(crate) mod backend_side;
mod batch_timer;
pub(crate) mod buffer;
mod catalog_renewal;
mod client_side;
mod forward;
mod leasing;
mod overhead;
mod poll_write;
mod read_deadline;
mod report;
pub(crate) mod session_end;
mod session_timer;
pub(crate) mod teardown;
mod turn;

use std::{
    future::poll_fn,
    io,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use self::{
    backend_side::{BackendSide, SessionBackend},
    batch_timer::BatchTimer,
    catalog_renewal::{BackendWork, Renewed},
    client_side::ClientSide,
    leasing::{LeaseProgress, Leasing, LeasingParts},
    overhead::OverheadTimer,
    read_deadline::{DeadlineEvent, ReadDeadline},
    report::{ActivityReport, report_events},
    session_end::SessionEnd,
    session_timer::{SessionPhase, SessionTimer},
    turn::Turn,
};
use crate::{
    backend::QueryError,
    client_error::ClientError,
    frontend::{
        SessionTimeouts,
        acquire::PooledAcquirer,
        observe::recorder::Recorder,
        registry::{entry::SessionCommand, sessions::Registered},
    },
    session::Session,
    telemetry::labels::Direction,
    tls::Stream,
};

/// One session with its sockets.
pub(crate) struct Relay {
    client: ClientSide,
    backend: BackendSide,
    /// Lease state of a pooled session.
    leasing: Option<Leasing>,
    session: Session,
    registered: Registered,
    recorder: Recorder,
    /// The machine has messages for the client between processed and unprocessed server bytes.
    interrupted: bool,
    /// Client bytes can be processed now, once the bytes before them are written.
    unheard: bool,
    batch_timer: BatchTimer,
    read_deadline: ReadDeadline,
    /// `None` without time limits.
    timer: Option<SessionTimer>,
    turn: Turn,
    overhead: OverheadTimer,
    activity: ActivityReport,
}

impl Relay {
    /// `client_unread` and `backend_unread` are bytes read along with the login.
    pub(crate) fn new(
        (client, client_unread): (Stream, Vec<u8>),
        (backend, backend_unread): (SessionBackend, Vec<u8>),
        acquirer: Option<Box<PooledAcquirer>>,
        session: Session,
        registered: Registered,
        recorder: Recorder,
    ) -> Self {
        let mut relay = Self {
            client: ClientSide::new(client),
            backend: BackendSide::new(backend),
            leasing: acquirer.map(Leasing::new),
            session,
            registered,
            recorder,
            interrupted: false,
            unheard: false,
            batch_timer: BatchTimer::default(),
            read_deadline: ReadDeadline::default(),
            timer: None,
            turn: Turn::default(),
            overhead: OverheadTimer::default(),
            activity: ActivityReport::default(),
        };
        relay.client.received.read_before(client_unread);
        relay.backend.received.read_before(backend_unread);
        relay
    }

    /// Sets the time limits of the session.
    pub(crate) fn with_timeouts(self, timeouts: SessionTimeouts) -> Self {
        Self { timer: SessionTimer::new(timeouts), ..self }
    }

    /// Relays until a side, or a command, ends the session.
    ///
    /// Cancel safety: dropped half-way, both connections break off; a running statement is not cancelled.
    pub(crate) async fn run(&mut self) -> SessionEnd {
        // Bytes read along with the login count as read now.
        let now = Instant::now();
        let early = self.judge_client(now).and_then(|_| self.judge_backend(now));
        let mut waker_known = false;
        poll_fn(|cx| {
            if let Err(end) = &early {
                return Poll::Ready(end.clone());
            }
            if !waker_known {
                self.registered.wake_with(cx.waker());
                waker_known = true;
            }
            match self.poll(cx).and_then(|()| self.obey_command()) {
                Ok(()) => Poll::Pending,
                Err(end) => Poll::Ready(end),
            }
        })
        .await
    }

    /// Moves available data; returns when both directions wait for a socket, or when the turn is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Result<(), SessionEnd> {
        self.turn.begin();
        if self.registered.take_backend_lost() {
            self.backend.abandon();
        }
        loop {
            self.poll_renewal(cx)?;
            if self.recorder.poll_ready(cx)?.is_pending() {
                return Ok(());
            }
            self.pump_client(cx)?;
            let slow = self.owes_client();
            let held_back = self.session.is_backlogged();
            let awaiting = self.session.is_awaiting_answers();
            let over = self.turn.is_over();
            if over {
                self.turn.refill_steps();
            }
            self.pump_backend(cx)?;
            // Both directions wait for a socket, except for bytes that the other direction or the audit log held back.
            let freed = (held_back && !self.session.is_backlogged()) || (slow && !self.owes_client());
            let answered = awaiting && !self.session.is_awaiting_answers();
            self.unheard |= answered;
            let own = self.session.to_backend().is_some()
                && !self.backend.is_unwritable(&mut self.session, &mut self.client.received, cx);
            // Messages for another backend come from no socket.
            self.unheard |= self.session.has_pending_replay();
            let more = freed || answered || own || self.unheard || self.recorder.is_waiting();
            if !more || over || self.turn.count_step(cx) {
                break;
            }
        }
        if self.session.terminate_received() && self.session.may_leave() && !self.owes_client() {
            return Err(SessionEnd::Farewell);
        }
        self.poll_pauses(cx)?;
        self.client.received.rest();
        self.backend.received.rest();
        let Self { session, leasing, turn, registered, recorder, .. } = self;
        self.activity.update(session, leasing.as_ref(), turn, registered, recorder);
        self.wait_for_more(cx);
        self.watch_read(cx);
        self.poll_timer(cx)
    }

    /// Ends a session over one of its time limits.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Result<(), SessionEnd> {
        let owes_client = self.owes_client();
        let is_pinging = self.is_pinging();
        let Some(timer) = &mut self.timer else { return Ok(()) };
        let statements = self.session.statements_started();
        let (phase, progress) = if owes_client {
            (SessionPhase::Writing, self.client.sent_bytes())
        } else if self.session.wants_backend() || is_pinging {
            (SessionPhase::Waiting, statements)
        } else if !self.session.is_settled() {
            (SessionPhase::Statement, statements)
        } else if self.session.is_idle() {
            (SessionPhase::Idle, statements)
        } else {
            (SessionPhase::IdleInTransaction, statements)
        };
        match timer.poll(phase, progress, cx) {
            Poll::Ready(client_error) => Err(SessionEnd::Refused(client_error)),
            Poll::Pending => Ok(()),
        }
    }

    /// Executes a pending command; a drain and a withdrawal wait for an idle session.
    fn obey_command(&self) -> Result<(), SessionEnd> {
        match self.registered.pending_command() {
            None => Ok(()),
            Some(SessionCommand::Withdraw | SessionCommand::Drain) if !self.session.is_idle() => Ok(()),
            Some(SessionCommand::Withdraw | SessionCommand::Expel) => {
                Err(SessionEnd::Refused(ClientError::withdrawn()))
            }
            Some(SessionCommand::Drain | SessionCommand::Stop) => {
                Err(SessionEnd::Refused(ClientError::shutdown()))
            }
            Some(SessionCommand::Kill) => Err(SessionEnd::Refused(ClientError::killed())),
            Some(SessionCommand::GiveUp) => Err(SessionEnd::Vanished),
        }
    }

    /// Waits a limited time for more client messages: the end of a batch, or the message after a BEGIN.
    fn wait_for_more(&mut self, cx: &mut Context<'_>) {
        if !self.session.is_waiting_for_more() {
            self.batch_timer.stop();
        } else if self.batch_timer.poll(cx).is_ready() {
            self.session.on_batch_timeout();
            self.unheard = true;
            cx.waker().wake_by_ref();
        }
    }

    /// Gives up a read pool that has not begun to answer a read within its deadline, and does not answer the probe either. The
    /// read runs again on the writer.
    fn watch_read(&mut self, cx: &mut Context<'_>) {
        let deadline = self.leasing.as_ref().map_or(Duration::ZERO, Leasing::read_deadline);
        if deadline.is_zero() || !self.session.has_unanswered_read() {
            self.read_deadline.stop();
            return;
        }
        let Poll::Ready(event) = self.read_deadline.poll_event(deadline, cx) else { return };
        let Some(leasing) = &self.leasing else { return };
        match event {
            DeadlineEvent::Near => leasing.report_slow_reader(&self.backend),
            DeadlineEvent::Over if leasing.gives_up_reader(&self.backend) => {
                self.session.leave_readers();
                self.backend.abandon();
                cx.waker().wake_by_ref();
            }
            DeadlineEvent::Over => {}
        }
    }

    fn owes_backend(&mut self) -> bool {
        self.client.received.has_cleared() || self.session.to_backend().is_some()
    }

    fn owes_client(&mut self) -> bool {
        self.backend.received.has_cleared() || self.session.to_client().is_some()
    }

    /// Client to backend, until a socket must be waited for.
    fn pump_client(&mut self, cx: &mut Context<'_>) -> Result<(), SessionEnd> {
        while !self.turn.count_step(cx) {
            self.backend.discard_unsendable(&mut self.session, &mut self.client.received);
            let held = self.owes_backend();
            match self.backend.poll_send(&mut self.session, &mut self.client.received, cx) {
                Poll::Ready(Ok(0)) => {}
                Poll::Ready(Ok(count)) => {
                    self.recorder.record_traffic(Direction::ToEndpoint, count);
                    if self.owes_backend() {
                        continue;
                    }
                }
                // The server's last messages may still arrive.
                Poll::Ready(Err(_)) => self.backend.close_for_writing(),
                Poll::Pending => return Ok(()),
            }
            if held {
                self.overhead.note_written(self.recorder.path());
            }
            if self.session.to_client().is_some() {
                self.send_own_answers(cx)?;
            }
            if std::mem::take(&mut self.unheard) || self.poll_lease(cx)?.is_ready() {
                let now = self.turn.now();
                self.judge_client(now)?;
                continue;
            }
            if self.read_client(cx)?.is_pending() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Reads from the client and passes the bytes to the machine; pending if no bytes can be read or processed now.
    fn read_client(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, SessionEnd> {
        // Responses of the machine are sent before the next request is read.
        let deaf = self.session.to_client().is_some() || self.is_pinging();
        if deaf || self.client.received.has_ended() || self.session.is_backlogged() {
            return Ok(Poll::Pending);
        }
        if self.client.received.is_full() {
            // No room is left until a backend is available.
            return Ok(Poll::Pending);
        }
        match self.client.poll_fill(cx) {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(Ok(count)) if count > 0 => {
                let now = self.turn.now();
                self.overhead.note_read(now);
                // A statement that cannot be recorded must not start; a running one continues.
                if self.session.is_settled() && self.recorder.holds_statements() {
                    self.unheard = true;
                    return Ok(Poll::Pending);
                }
                if self.begins_ping(now) {
                    return Ok(Poll::Pending);
                }
                self.judge_client(now)?;
            }
            Poll::Ready(gone) => self.client_gone(gone.err())?,
        }
        Ok(Poll::Ready(()))
    }

    /// Holds the client's message back until a suspect server has answered a Sync; false without suspicion.
    fn begins_ping(&mut self, now: Instant) -> bool {
        let Some(leasing) = &mut self.leasing else { return false };
        leasing.begins_ping(&mut LeasingParts {
            session: &mut self.session,
            backend: &mut self.backend,
            from_client: &self.client.received,
            registered: &self.registered,
            recorder: &mut self.recorder,
            now,
        })
    }

    fn is_pinging(&self) -> bool {
        self.leasing.as_ref().is_some_and(Leasing::is_pinging)
    }

    /// Sends the machine's own responses to the client.
    fn send_own_answers(&mut self, cx: &mut Context<'_>) -> Result<(), SessionEnd> {
        match self.client.poll_send(&mut self.session, &mut self.backend.received, cx) {
            Poll::Ready(Ok(count)) => {
                self.recorder.record_traffic(Direction::ToClient, count);
                Ok(())
            }
            Poll::Ready(Err(error)) => self.client_gone(Some(error)),
            Poll::Pending => Ok(()),
        }
    }

    /// Passes the client's bytes to the machine.
    fn judge_client(&mut self, now: Instant) -> Result<(), SessionEnd> {
        self.expire_catalog(now);
        loop {
            let received = &mut self.client.received;
            let consumed = self
                .session
                .on_client(now, received.unprocessed(), received.is_full())
                .map_err(|error| SessionEnd::Refused(ClientError::protocol(error.to_string())))?;
            received.take(consumed);
            let over = self.session.terminate_received() || received.unprocessed().is_empty();
            if consumed.byte_count() == 0 || over {
                break;
            }
            if consumed.forward > 0 {
                // Forwarded bytes are sent before further parsing: additions by the session machine would overtake the
                // bytes.
                self.unheard = true;
                break;
            }
        }
        self.report_session_events();
        self.give_back(now);
        if self.session.terminate_received() {
            // PostgreSQL ignores bytes after Terminate too.
            self.client.received.end();
        }
        Ok(())
    }

    fn expire_catalog(&self, now: Instant) {
        if let Some(leasing) = &self.leasing {
            leasing.expire_catalog(now, &self.backend);
        }
    }

    /// Handles the end of the client connection: no more messages in either direction. Messages before Terminate are
    /// still executed, unless responses cannot be written.
    fn client_gone(&mut self, error: Option<io::Error>) -> Result<(), SessionEnd> {
        if error.is_none() && self.session.contains_terminate(self.client.received.unprocessed()) {
            return Ok(());
        }
        if self.session.terminate_received() && self.session.may_leave() {
            Err(SessionEnd::Farewell)
        } else if let Some(state) = self.session.fatal() {
            // The client closes after the server's last error, perhaps before the server does.
            Err(SessionEnd::ServerClosed(state))
        } else if self.session.is_idle() && !self.session.wants_backend() {
            Err(SessionEnd::Left)
        } else {
            Err(SessionEnd::Vanished)
        }
    }

    /// Leases a backend, if needed and available now.
    fn poll_lease(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, SessionEnd> {
        loop {
            // A client that has not read its last response must not occupy a backend.
            let owes_client = self.owes_client();
            let Some(leasing) = &mut self.leasing else { return Ok(Poll::Pending) };
            if !self.session.wants_backend() || (owes_client && !leasing.is_waiting()) {
                return Ok(Poll::Pending);
            }
            let mut parts = LeasingParts {
                session: &mut self.session,
                backend: &mut self.backend,
                from_client: &self.client.received,
                registered: &self.registered,
                recorder: &mut self.recorder,
                now: self.turn.now(),
            };
            match leasing.poll_lease(&mut parts, cx) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(LeaseProgress::Done) => return Ok(Poll::Ready(())),
                Poll::Ready(LeaseProgress::Notice(waited)) => {
                    self.session.notice_wait(waited);
                    self.send_own_answers(cx)?;
                }
            }
        }
    }

    /// Returns the backend of a pooled session, if no session state is left on the backend.
    fn give_back(&mut self, now: Instant) {
        let Some(leasing) = &mut self.leasing else { return };
        let mut parts = LeasingParts {
            session: &mut self.session,
            backend: &mut self.backend,
            from_client: &self.client.received,
            registered: &self.registered,
            recorder: &mut self.recorder,
            now,
        };
        self.unheard |= leasing.give_back(&mut parts);
    }

    /// Polls the backend's pauses after the turn moved all available data. An expired pause may let the session return
    /// the backend.
    fn poll_pauses(&mut self, cx: &mut Context<'_>) -> Result<(), SessionEnd> {
        let Some(leasing) = &mut self.leasing else { return Ok(()) };
        let is_over = leasing.is_pause_over(&self.backend, cx);
        if is_over {
            let now = self.turn.now();
            self.give_back(now);
        }
        let has_renewed = self.poll_renewal(cx)?;
        if is_over || has_renewed {
            // Work started or left over here belongs to the next turn.
            cx.waker().wake_by_ref();
        }
        Ok(())
    }

    /// Takes the backend back once the names are compared, or a ping is answered; true if so.
    fn poll_renewal(&mut self, cx: &mut Context<'_>) -> Result<bool, SessionEnd> {
        let running = self.leasing.as_mut().filter(|leasing| leasing.is_renewing());
        let renewed = running.and_then(|leasing| leasing.poll_renewal(cx));
        let Some(Renewed { work, lease, unasked, result }) = renewed else { return Ok(false) };
        self.registered.admit_cancels();
        self.backend.connection = SessionBackend::Leased(lease);
        let is_new = match result {
            Ok(()) => true,
            Err(QueryError::Refused { words, .. }) if work == BackendWork::Catalog => {
                tracing::warn!(session = self.registered.id, error = %words, "cannot compare the system catalog");
                false
            }
            Err(_) => return self.backend_ended().map(|()| true),
        };
        if work == BackendWork::Catalog {
            self.session.on_catalogue(is_new);
        }
        self.backend.received.read_before(unasked);
        self.unheard = true;
        let now = self.turn.now();
        self.judge_backend(now)?;
        Ok(true)
    }

    /// Backend to client, until a socket or the audit log must be waited for.
    fn pump_backend(&mut self, cx: &mut Context<'_>) -> Result<(), SessionEnd> {
        while !self.turn.count_step(cx) {
            let held = self.owes_client();
            match self.client.poll_send(&mut self.session, &mut self.backend.received, cx) {
                Poll::Ready(Ok(0)) => {}
                Poll::Ready(Ok(count)) => {
                    self.recorder.record_traffic(Direction::ToClient, count);
                    if self.owes_client() {
                        continue;
                    }
                }
                Poll::Ready(Err(error)) => self.client_gone(Some(error))?,
                // Reads what fits the buffer, so that the backend can be returned sooner.
                Poll::Pending if self.backend.received.is_full() || self.backend.received.has_ended() => {
                    return Ok(());
                }
                Poll::Pending => {}
            }
            if held && !self.owes_client() {
                self.overhead.note_written(self.recorder.path());
            }
            if std::mem::take(&mut self.interrupted) {
                self.judge_backend(Instant::now())?;
                continue;
            }
            if self.backend.received.has_ended() {
                return self.backend_ended();
            }
            if self.recorder.is_waiting() || self.read_backend(cx)?.is_pending() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Reads from the backend and passes the bytes to the machine; pending if no bytes can be read now.
    fn read_backend(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, SessionEnd> {
        let BackendSide { connection, received, .. } = &mut self.backend;
        let Some(stream) = connection.stream() else { return Ok(Poll::Pending) };
        match received.poll_fill(stream, cx) {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(Ok(count)) if count > 0 => {
                // A fresh clock value, not the time of the turn. With the older time, commits since then would count as
                // older, and a read pool without them as fresh enough.
                let now = self.turn.read_clock();
                self.overhead.note_read(now);
                self.judge_backend(now)?;
            }
            Poll::Ready(_) => self.backend.received.end(),
        }
        Ok(Poll::Ready(()))
    }

    /// Passes the backend's bytes to the machine and reports the results.
    fn judge_backend(&mut self, now: Instant) -> Result<(), SessionEnd> {
        self.expire_catalog(now);
        let before = self.session.transactions();
        loop {
            let received = &mut self.backend.received;
            let consumed = self
                .session
                .on_backend(now, received.unprocessed(), received.is_stuck())
                .map_err(|error| SessionEnd::ServerNonsense(error.to_string().into()))?;
            received.take(consumed);
            if consumed.discard == 0 || received.unprocessed().is_empty() {
                break;
            }
            if self.session.to_client().is_some() {
                self.interrupted = true;
                break;
            }
        }
        for _ in before..self.session.transactions() {
            self.recorder.path().record_transaction();
        }
        if let Some(leasing) = &mut self.leasing {
            leasing.expose_statement(&self.session, &self.registered);
        }
        self.report_session_events();
        if let Some(client_error) = self.session.broken() {
            return Err(SessionEnd::Refused(client_error.clone()));
        }
        self.give_back(now);
        Ok(())
    }

    /// Handles the end of the backend connection: the end of the session, unless the session can go on without it.
    fn backend_ended(&mut self) -> Result<(), SessionEnd> {
        if !self.session.on_backend_lost(Instant::now()) {
            return Err(match self.session.visible_fatal() {
                _ if self.session.terminate_received() => SessionEnd::Farewell,
                Some(state) => SessionEnd::ServerClosed(state),
                None => SessionEnd::BackendLost {
                    mid_statement: !self.session.is_settled(),
                    pins: self.session.pins(),
                },
            });
        }
        self.report_session_events();
        self.registered.clear_backend();
        if let Some(leasing) = &mut self.leasing {
            leasing.lose_backend(&mut self.backend);
        }
        self.client.received.discard_cleared();
        // Messages no longer wait for the lost node's responses.
        self.unheard = true;
        Ok(())
    }

    /// Reports the machine's events.
    fn report_session_events(&mut self) {
        if let Some(leasing) = &self.leasing {
            leasing.report_positions(&mut self.session, &self.backend);
        }
        report_events(&mut self.session, &self.backend, &mut self.recorder);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_session_is_small() {
        let bytes = size_of::<super::Relay>();
        assert!(bytes <= 1024, "{bytes} bytes for each client");
    }
}
