//! Drives one session: moves octets between its sockets as the machine says.
//!
//! One future for both directions, on the client's worker. It reads a side only when what it read before has been written
//! to the other: a slow reader stops the reads from its own backend and nothing else. An idle session holds no buffer.
//! A session that shares backends gives its backend back as soon as the end of an answer is read, before a slow client
//! has taken it.
//!
//! <https://www.postgresql.org/docs/current/protocol-flow.html>

pub(crate) mod buffer;
pub(crate) mod forward;
pub(crate) mod poll_write;
pub(crate) mod session_backend;
pub(crate) mod session_end;
pub(crate) mod teardown;

use std::{
    future::{Future, poll_fn},
    io,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::time::{Sleep, sleep};

use self::{
    forward::ForwardBuffer,
    poll_write::{poll_flush, poll_send_all},
    session_backend::SessionBackend,
    session_end::SessionEnd,
};
use crate::{
    frontend::{
        acquire::{AcquireRequest, BackendAcquirer, Step, catalog::Unlisted},
        observe::recorder::Recorder,
        registry::{
            entry::{Activity, SessionCommand},
            sessions::Registered,
        },
    },
    pool::{Disposition, Lease},
    route::Reason,
    session::{Refusal, Session},
    telemetry::labels::Direction,
    tls::Stream,
};

/// One session and its sockets.
pub(crate) struct Relay {
    pub(crate) client: Stream,
    client_unflushed: bool,
    pub(crate) from_client: ForwardBuffer,
    pub(crate) backend: SessionBackend,
    backend_unflushed: bool,
    pub(crate) from_backend: ForwardBuffer,
    /// Where backends come from, when they are shared.
    pub(crate) acquirer: Option<Box<BackendAcquirer>>,
    pub(crate) session: Session,
    pub(crate) registered: Registered,
    pub(crate) recorder: Recorder,
    /// The backend takes no more; what it still has to say is read.
    backend_deaf: bool,
    /// What the backend has said goes on behind what the machine says.
    interrupted: bool,
    /// What the client has said can be understood now, once what it said before is written.
    unheard: bool,
    /// A backend is being waited for.
    waiting: bool,
    /// Cancel requests wait until what the session itself has said ahead of a statement is answered.
    sheltered: bool,
    /// Running catalog comparison over the session's backend, with exclusive use of the backend.
    renewal: Option<Renewal>,
    /// Until the next comparison may begin.
    renewal_pause: Option<Pin<Box<Sleep>>>,
    /// Delay until a session with a moved and unread sequence returns the backend.
    sequence_pause: Option<Pin<Box<Sleep>>>,
    /// When the backend was leased.
    leased_at: Option<Instant>,
    /// Time limit of the wait for more client messages; kept from wait to wait.
    patience: Option<Pin<Box<Sleep>>>,
    is_patient: bool,
    /// The time of this turn, once somebody has asked for it.
    now: Option<Instant>,
    /// Since when octets are in our hands, if that is being measured.
    held_since: Option<Instant>,
    turns: u8,
    /// Remaining steps of the turn.
    steps: u8,
    activity: Activity,
}

/// Running catalog comparison: returns the backend, the server's messages for the session, and the result.
type Renewal = Pin<Box<dyn Future<Output = (Lease, Vec<u8>, Result<(), Unlisted>)> + Send>>;

/// Time limit of the wait for the end of a batch: clients send a batch at once. A BEGIN also waits up to the limit for
/// the next message, so `now()` is at most 20 ms later than the client's BEGIN.
const PATIENCE: Duration = Duration::from_millis(20);

/// Least time a backend is kept for `lastval` after a possible sequence move; then the backend is kept until a session waits.
const SEQUENCE_READ_TIMEOUT: Duration = Duration::from_secs(1);

/// One turn in so many is timed for the time spent in the proxy: two clock reads.
const TIMED: u8 = 16;

/// Steps of a turn, each with a possible buffer move. Then the worker's remaining sessions run, even with work left
/// here.
const MAX_STEPS: u8 = 200;

impl Relay {
    pub(crate) fn new(
        client: Stream,
        backend: SessionBackend,
        acquirer: Option<Box<BackendAcquirer>>,
        session: Session,
        registered: Registered,
        recorder: Recorder,
    ) -> Self {
        Self {
            client,
            client_unflushed: false,
            from_client: ForwardBuffer::default(),
            backend,
            backend_unflushed: false,
            from_backend: ForwardBuffer::default(),
            acquirer,
            session,
            registered,
            recorder,
            backend_deaf: false,
            interrupted: false,
            unheard: false,
            waiting: false,
            sheltered: false,
            renewal: None,
            renewal_pause: None,
            sequence_pause: None,
            leased_at: None,
            patience: None,
            is_patient: false,
            now: None,
            held_since: None,
            turns: 0,
            steps: 0,
            activity: Activity::default(),
        }
    }

    /// Relays until one of the two, or somebody else, ends it.
    ///
    /// Cancel safety: dropped half-way, both connections break off; a running statement is not cancelled.
    pub(crate) async fn run(&mut self) -> SessionEnd {
        // What was read along with the login counts as read now.
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
            match self.poll(cx).and_then(|()| self.obey()) {
                Ok(()) => Poll::Pending,
                Err(end) => Poll::Ready(end),
            }
        })
        .await
    }

    /// Moves available data; returns when both directions wait for a socket, or when the turn is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Result<(), SessionEnd> {
        self.now = None;
        self.steps = MAX_STEPS;
        loop {
            self.poll_renewal(cx)?;
            if self.recorder.poll_ready(cx)?.is_pending() {
                return Ok(());
            }
            self.pump_client(cx)?;
            let slow = self.owes_client();
            let held_back = self.session.is_backlogged();
            let awaiting = self.session.is_awaiting_answers();
            let over = self.steps == 0;
            if over {
                // The backend direction gets steps of the turn, too.
                self.steps = MAX_STEPS;
            }
            self.pump_backend(cx)?;
            // Each has waited for its socket, but for what only the other, or the audit log, could give it.
            let freed = (held_back && !self.session.is_backlogged()) || (slow && !self.owes_client());
            let answered = awaiting && !self.session.is_awaiting_answers();
            self.unheard |= answered;
            let own = self.session.to_backend().is_some() && !self.backend_unwritable(cx)?;
            // What another backend is to be told is not in any socket.
            self.unheard |= self.session.has_something_to_say();
            let more = freed || answered || own || self.unheard || self.recorder.is_waiting();
            if !more || over || self.is_turn_over(cx) {
                break;
            }
        }
        if self.session.said_farewell() && self.session.may_leave() && !self.owes_client() {
            return Err(SessionEnd::Farewell);
        }
        self.poll_pauses(cx)?;
        self.from_client.rest();
        self.from_backend.rest();
        self.show_activity();
        self.wait_for_more(cx)
    }

    /// Counts a step. True if no steps are left; the task is then woken at once for the next turn.
    fn is_turn_over(&mut self, cx: &Context<'_>) -> bool {
        self.steps = self.steps.saturating_sub(1);
        if self.steps == 0 {
            cx.waker().wake_by_ref();
        }
        self.steps == 0
    }

    /// Executes a pending stop, kill or drain command; a drain waits for an idle session.
    fn obey(&self) -> Result<(), SessionEnd> {
        match self.registered.pending_command() {
            None => Ok(()),
            Some(SessionCommand::Drain) if !self.session.is_idle() => Ok(()),
            Some(SessionCommand::Drain | SessionCommand::Stop) => {
                Err(SessionEnd::Refused(Refusal::shutdown()))
            }
            Some(SessionCommand::Kill) => Err(SessionEnd::Refused(Refusal::killed())),
        }
    }

    /// Waits a limited time for more client messages: the end of a batch, or the message after a BEGIN.
    fn wait_for_more(&mut self, cx: &mut Context<'_>) -> Result<(), SessionEnd> {
        if !self.session.is_waiting_for_more() {
            self.is_patient = false;
            return Ok(());
        }
        let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(PATIENCE)));
        if !std::mem::replace(&mut self.is_patient, true) {
            patience.as_mut().reset(tokio::time::Instant::now() + PATIENCE);
        }
        if patience.as_mut().poll(cx).is_ready() {
            self.is_patient = false;
            self.session.on_impatience();
            self.unheard = true;
            cx.waker().wake_by_ref();
        }
        Ok(())
    }

    /// Writes what the machine says to the backend on its own; whether the backend takes no more of it now.
    fn backend_unwritable(&mut self, cx: &mut Context<'_>) -> Result<bool, SessionEnd> {
        match self.send_to_backend(cx) {
            Poll::Pending => Ok(true),
            Poll::Ready(Ok(_)) => Ok(false),
            Poll::Ready(Err(_)) => {
                self.backend_deaf = true;
                Ok(false)
            }
        }
    }

    /// Writes to the backend: first what the machine says, then what the client said. Answers how many octets went.
    fn send_to_backend(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let unflushed = &mut self.backend_unflushed;
        let mut sent = 0;
        loop {
            let own = self.session.to_backend();
            if own.is_none() && !self.from_client.has_cleared() {
                break;
            }
            let Some(stream) = self.backend.stream() else { break };
            let went = match own {
                Some(own) => poll_send_all(stream, unflushed, own, cx)?,
                None => self.from_client.poll_forward(stream, unflushed, cx)?,
            };
            match went {
                Poll::Ready(count) => sent += count,
                Poll::Pending if sent > 0 => return Poll::Ready(Ok(sent)),
                Poll::Pending => return Poll::Pending,
            }
        }
        if let Some(stream) = self.backend.stream()
            && poll_flush(stream, unflushed, cx)?.is_pending()
            && sent == 0
        {
            return Poll::Pending;
        }
        Poll::Ready(Ok(sent))
    }

    /// Writes to the client: first what the backend said, then what the machine says.
    fn send_to_client(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let unflushed = &mut self.client_unflushed;
        let mut sent = 0;
        loop {
            let went = if self.from_backend.has_cleared() {
                self.from_backend.poll_forward(&mut self.client, unflushed, cx)?
            } else if let Some(own) = self.session.to_client() {
                poll_send_all(&mut self.client, unflushed, own, cx)?
            } else {
                break;
            };
            match went {
                Poll::Ready(count) => sent += count,
                Poll::Pending if sent > 0 => return Poll::Ready(Ok(sent)),
                Poll::Pending => return Poll::Pending,
            }
        }
        if poll_flush(&mut self.client, unflushed, cx)?.is_pending() && sent == 0 {
            return Poll::Pending;
        }
        Poll::Ready(Ok(sent))
    }

    fn owes_backend(&mut self) -> bool {
        self.from_client.has_cleared() || self.session.to_backend().is_some()
    }

    fn owes_client(&mut self) -> bool {
        self.from_backend.has_cleared() || self.session.to_client().is_some()
    }

    /// Client to backend, until a socket has to be waited for.
    fn pump_client(&mut self, cx: &mut Context<'_>) -> Result<(), SessionEnd> {
        while !self.is_turn_over(cx) {
            if self.backend_deaf {
                self.from_client.discard_cleared();
                if let Some(own) = self.session.to_backend() {
                    own.clear();
                }
            }
            let held = self.owes_backend();
            match self.send_to_backend(cx) {
                Poll::Ready(Ok(0)) => {}
                Poll::Ready(Ok(count)) => {
                    self.recorder.traffic(Direction::ToEndpoint, count);
                    if self.owes_backend() {
                        continue;
                    }
                }
                // Its last words may still be on their way.
                Poll::Ready(Err(_)) => self.backend_deaf = true,
                Poll::Pending => return Ok(()),
            }
            if held {
                self.released();
            }
            if self.session.to_client().is_some() {
                self.answer(cx)?;
            }
            if std::mem::take(&mut self.unheard) {
                let now = self.now();
                self.judge_client(now)?;
                continue;
            }
            // Whoever has not taken its last answer yet could not take the next: a backend is not kept waiting for it.
            if self.session.wants_backend()
                && (self.waiting || !self.owes_client())
                && self.poll_lease(cx)?.is_ready()
            {
                let now = self.now();
                self.judge_client(now)?;
                continue;
            }
            // What it was answered comes before what it asks next.
            let deaf = self.session.to_client().is_some();
            if deaf || self.from_client.has_ended() || self.session.is_backlogged() {
                return Ok(());
            }
            if self.from_client.is_full() {
                // Nothing more fits before a backend has come.
                return Ok(());
            }
            match self.from_client.poll_fill(&mut self.client, cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(count)) if count > 0 => {
                    let now = self.now();
                    self.held(now);
                    // What cannot be recorded is not begun; what is under way may go on.
                    if self.session.is_settled() && self.recorder.holds_statements() {
                        self.unheard = true;
                        return Ok(());
                    }
                    self.judge_client(now)?;
                }
                Poll::Ready(gone) => self.client_gone(gone.err())?,
            }
        }
        Ok(())
    }

    /// Says to the client what the machine has answered by itself.
    fn answer(&mut self, cx: &mut Context<'_>) -> Result<(), SessionEnd> {
        match self.send_to_client(cx) {
            Poll::Ready(Ok(count)) => {
                self.recorder.traffic(Direction::ToClient, count);
                Ok(())
            }
            Poll::Ready(Err(error)) => self.client_gone(Some(error)),
            Poll::Pending => Ok(()),
        }
    }

    /// Shows the machine what the client said; whether there is something to do now.
    fn judge_client(&mut self, now: Instant) -> Result<bool, SessionEnd> {
        let mut taken = false;
        loop {
            let take = self
                .session
                .on_client(now, self.from_client.unjudged(), self.from_client.is_full())
                .map_err(|error| SessionEnd::Refused(Refusal::protocol(error.to_string())))?;
            self.from_client.take(take);
            taken |= take.octets() > 0;
            let over = self.session.said_farewell() || self.from_client.unjudged().is_empty();
            if take.octets() == 0 || over {
                break;
            }
            if take.pass > 0 {
                // Forwarded bytes are sent before further parsing: additions by the session machine would overtake the
                // bytes.
                self.unheard = true;
                break;
            }
        }
        self.told();
        self.give_back(now);
        if self.session.said_farewell() {
            // Whatever it says after that, PostgreSQL would not read either.
            self.from_client.end();
        }
        Ok(taken || self.session.wants_backend())
    }

    /// Handles the end of the client connection: no more messages in either direction. Messages before Terminate are
    /// still executed, unless responses cannot be written.
    fn client_gone(&mut self, error: Option<io::Error>) -> Result<(), SessionEnd> {
        if error.is_none() && self.session.finds_farewell(self.from_client.unjudged()) {
            return Ok(());
        }
        if self.session.said_farewell() && self.session.may_leave() {
            Err(SessionEnd::Farewell)
        } else if self.session.is_idle() && !self.session.wants_backend() {
            Err(SessionEnd::Left)
        } else {
            Err(SessionEnd::Vanished)
        }
    }

    /// A backend, if one is to be had now.
    fn poll_lease(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, SessionEnd> {
        let Some(acquirer) = &mut self.acquirer else { return Ok(Poll::Pending) };
        if !self.waiting {
            self.waiting = true;
            self.registered.take_wait_cancelled();
        } else if self.registered.take_wait_cancelled() {
            acquirer.leave();
            return Ok(self.unleased(Refusal::cancelled()));
        }
        let request = AcquireRequest {
            settings: self.session.settings_mark(),
            need: self.session.need(),
            floor: self.session.floor(*self.now.get_or_insert_with(Instant::now)),
            apart: self.session.is_apart(),
        };
        match acquirer.poll_lease(&request, cx) {
            Poll::Pending => Ok(Poll::Pending),
            Poll::Ready(Ok(Step::Leased(lease))) => {
                self.leased(lease);
                Ok(Poll::Ready(()))
            }
            Poll::Ready(Ok(Step::Notice(waited))) => {
                self.session.notice_wait(waited);
                self.answer(cx)?;
                self.poll_lease(cx)
            }
            Poll::Ready(Err(why)) => Ok(self.unleased(why.refusal())),
        }
    }

    /// There is no backend: the statement fails, and the session goes on.
    fn unleased(&mut self, refusal: Refusal) -> Poll<()> {
        self.waiting = false;
        tracing::debug!(
            session = self.registered.id,
            reason = refusal.cause.as_str(),
            "no backend for a statement"
        );
        self.session.fail(refusal);
        Poll::Ready(())
    }

    fn leased(&mut self, mut lease: Lease) {
        self.waiting = false;
        let now = self.now();
        let Some(acquirer) = &mut self.acquirer else { return };
        acquirer.note_lease(now);
        self.recorder.leased(lease.running(), acquirer.reason(), acquirer.path());
        let untouched = acquirer.follows(&lease);
        if let Some(memory) = lease.memory.take() {
            match acquirer.assignment(&lease) {
                Some(assignment) => self.session.assign(memory, untouched, assignment),
                None => self.session.attach(memory, untouched),
            }
        }
        self.session.serves_as(lease.running().pid());
        self.sheltered = self.session.is_preparing();
        self.registered.leased(lease.running(), acquirer.reason(), self.sheltered);
        self.leased_at = Some(self.now());
        self.backend = SessionBackend::Leased(lease);
        self.backend_unflushed = false;
        self.backend_deaf = false;
        self.from_backend.reopen();
    }

    /// Gives the backend back, if nothing of the session is left on it.
    fn give_back(&mut self, now: Instant) {
        // What it has said and is not understood yet is the session's.
        if self.from_backend.has_unjudged() || self.from_backend.has_ended() {
            return;
        }
        if self.session.wants_catalogue() {
            return self.begin_renewal(now);
        }
        if self.session.poll_sequence_moved() {
            let sleep = || Box::pin(sleep(SEQUENCE_READ_TIMEOUT));
            let pause = self.sequence_pause.get_or_insert_with(sleep);
            pause.as_mut().reset(tokio::time::Instant::now() + SEQUENCE_READ_TIMEOUT);
        } else if self.sequence_pause.is_none() {
            self.session.release_sequences();
        }
        let spoiled = self.session.spoils_backend();
        let Some(memory) = self.session.detach() else { return };
        self.registered.released();
        if let SessionBackend::Leased(mut lease) = std::mem::replace(&mut self.backend, SessionBackend::None)
        {
            // A backend without `memory` is closed.
            lease.memory = memory.is_reusable().then_some(memory);
            if spoiled {
                lease.release(Disposition::Discard);
            } else if let Some(acquirer) = &mut self.acquirer {
                acquirer.release(now, lease);
            }
            // What could not be said to this backend may be said to another.
            self.unheard |= !self.from_client.unjudged().is_empty() || self.session.has_gathered();
        }
    }

    /// Compares the names of the database with the server's, over the session's own backend.
    fn begin_renewal(&mut self, now: Instant) {
        if self.renewal.is_some() || self.owes_backend() {
            return;
        }
        let Some(acquirer) = &self.acquirer else { return };
        let pause = acquirer.renewal_pause(now);
        if !pause.is_zero() && self.session.may_defer_catalogue() {
            if self.renewal_pause.is_none() {
                self.renewal_pause = Some(Box::pin(sleep(pause)));
            }
            return;
        }
        self.session.begin_catalogue();
        let backend = std::mem::replace(&mut self.backend, SessionBackend::None);
        let SessionBackend::Leased(mut lease) = backend else {
            self.backend = backend;
            return;
        };
        // A cancel request of the client must not reach the catalog queries.
        self.registered.leased(lease.running(), acquirer.reason(), true);
        let shared = acquirer.shared();
        self.renewal = Some(Box::pin(async move {
            let mut unasked = Vec::new();
            let renewed = match &shared {
                Some(shared) => shared.renew(&mut lease, &mut unasked).await,
                None => Ok(()),
            };
            (lease, unasked, renewed)
        }));
        self.unheard = true;
    }

    /// Polls the backend's pauses after the turn moved all available data. An expired pause may let the session return
    /// the backend.
    fn poll_pauses(&mut self, cx: &mut Context<'_>) -> Result<(), SessionEnd> {
        let mut is_over = false;
        if let Some(sleep) = &mut self.renewal_pause
            && sleep.as_mut().poll(cx).is_ready()
        {
            self.renewal_pause = None;
            is_over = true;
        }
        while let Some(sleep) = &mut self.sequence_pause
            && sleep.as_mut().poll(cx).is_ready()
        {
            if matches!(&self.backend, SessionBackend::Leased(lease) if !lease.is_wanted()) {
                // No session waits for the backend: `lastval` may still come.
                sleep.as_mut().reset(tokio::time::Instant::now() + SEQUENCE_READ_TIMEOUT);
            } else {
                self.sequence_pause = None;
                is_over = true;
            }
        }
        if is_over {
            let now = self.now();
            self.give_back(now);
        }
        let renews = self.renewal.is_some();
        self.poll_renewal(cx)?;
        if is_over || (renews && self.renewal.is_none()) {
            // Work started or left undone here belongs to the next turn.
            cx.waker().wake_by_ref();
        }
        Ok(())
    }

    /// Takes the backend back once the names are compared.
    fn poll_renewal(&mut self, cx: &mut Context<'_>) -> Result<(), SessionEnd> {
        let Some(renewal) = &mut self.renewal else { return Ok(()) };
        let Poll::Ready((lease, unasked, renewed)) = renewal.as_mut().poll(cx) else { return Ok(()) };
        self.renewal = None;
        self.registered.expose();
        self.backend = SessionBackend::Leased(lease);
        let is_new = match renewed {
            Ok(()) => true,
            Err(Unlisted::Refused(words)) => {
                tracing::warn!(session = self.registered.id, error = %words, "could not compare the catalogue");
                false
            }
            Err(_) => return Err(SessionEnd::BackendLost { mid_statement: false }),
        };
        self.session.on_catalogue(is_new);
        self.from_backend.read_before(unasked);
        self.unheard = true;
        let now = self.now();
        self.judge_backend(now)
    }

    /// Backend to client, until a socket or the audit log has to be waited for.
    fn pump_backend(&mut self, cx: &mut Context<'_>) -> Result<(), SessionEnd> {
        while !self.is_turn_over(cx) {
            let held = self.owes_client();
            match self.send_to_client(cx) {
                Poll::Ready(Ok(0)) => {}
                Poll::Ready(Ok(count)) => {
                    self.recorder.traffic(Direction::ToClient, count);
                    if self.owes_client() {
                        continue;
                    }
                }
                Poll::Ready(Err(error)) => self.client_gone(Some(error))?,
                // What fits the buffer is read all the same: the backend comes free the sooner.
                Poll::Pending if self.from_backend.is_full() || self.from_backend.has_ended() => {
                    return Ok(());
                }
                Poll::Pending => {}
            }
            if held && !self.owes_client() {
                self.released();
            }
            if std::mem::take(&mut self.interrupted) {
                self.judge_backend(Instant::now())?;
                continue;
            }
            if self.from_backend.has_ended() {
                if !self.session.on_backend_lost() {
                    return Err(self.backend_gone());
                }
                self.lost_reader();
                return Ok(());
            }
            if self.recorder.is_waiting() {
                return Ok(());
            }
            let Some(stream) = self.backend.stream() else { return Ok(()) };
            match self.from_backend.poll_fill(stream, cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(count)) if count > 0 => {
                    // Not the time at which the client was heard in this turn: what the server has committed since would
                    // count as older than it is, and a read pool as fresh enough that lacks it.
                    let now = *self.now.insert(Instant::now());
                    self.held(now);
                    self.judge_backend(now)?;
                }
                Poll::Ready(_) => self.from_backend.end(),
            }
        }
        Ok(())
    }

    /// Shows the machine what the backend said, and tells what it makes of it.
    fn judge_backend(&mut self, now: Instant) -> Result<(), SessionEnd> {
        let before = self.session.transactions();
        loop {
            let take = self
                .session
                .on_backend(now, self.from_backend.unjudged(), self.from_backend.is_stuck())
                .map_err(|error| SessionEnd::ServerNonsense(error.to_string().into()))?;
            self.from_backend.take(take);
            if take.drop == 0 || self.from_backend.unjudged().is_empty() {
                break;
            }
            if self.session.to_client().is_some() {
                self.interrupted = true;
                break;
            }
        }
        for _ in before..self.session.transactions() {
            self.recorder.path().transaction();
        }
        if self.sheltered && !self.session.is_preparing() {
            self.sheltered = false;
            self.registered.expose();
        }
        self.told();
        if let Some(refusal) = self.session.broken() {
            return Err(SessionEnd::Refused(refusal.clone()));
        }
        if self.acquirer.is_some() {
            self.give_back(now);
        }
        Ok(())
    }

    /// A read pool's backend is gone, and the session goes on without it.
    fn lost_reader(&mut self) {
        self.told();
        self.registered.released();
        if let SessionBackend::Leased(lease) = std::mem::replace(&mut self.backend, SessionBackend::None)
            && let Some(acquirer) = &mut self.acquirer
        {
            acquirer.node_failed(&lease);
        }
        self.from_backend = ForwardBuffer::default();
        // Messages no longer wait for the lost node's responses.
        self.unheard = true;
    }

    /// Passes on what the machine has to tell.
    fn told(&mut self) {
        if let Some(replayed) = self.session.poll_position()
            && let (SessionBackend::Leased(lease), Some(acquirer), Some(asked_at)) =
                (&self.backend, &self.acquirer, self.leased_at)
        {
            acquirer.replayed(lease, replayed, asked_at);
        }
        if self.session.poll_wrote()
            && let Some(acquirer) = &self.acquirer
        {
            acquirer.wrote();
        }
        if let Some(reason) = self.session.poll_rerun() {
            self.recorder.rerun(reason);
            if let (Reason::Rerun(cause), SessionBackend::Leased(lease)) = (reason, &self.backend) {
                lease.running().endpoint().metrics().rerun(cause);
            }
        }
        while let Some(report) = self.session.poll_report() {
            self.recorder.statement(report);
        }
        if self.session.poll_database_command() {
            self.recorder.clear_databases();
        }
        if self.session.poll_login_change() {
            self.recorder.logins_changed();
        }
        for _ in 0..self.session.poll_state_checks() {
            self.recorder.path().state_check();
        }
        while let Some(pin) = self.session.poll_pin() {
            self.recorder.pinned(pin);
        }
    }

    fn backend_gone(&self) -> SessionEnd {
        match self.session.fatal() {
            _ if self.session.said_farewell() => SessionEnd::Farewell,
            Some(state) => SessionEnd::ServerClosed(state),
            None => SessionEnd::BackendLost { mid_statement: !self.session.is_settled() },
        }
    }

    /// The time, read once a turn: what happens in one turn happens at one time.
    fn now(&mut self) -> Instant {
        *self.now.get_or_insert_with(Instant::now)
    }

    fn held(&mut self, now: Instant) {
        self.turns = self.turns.wrapping_add(1);
        if self.turns.is_multiple_of(TIMED) {
            self.held_since = Some(now);
        }
    }

    fn released(&mut self) {
        if let Some(since) = self.held_since.take() {
            self.recorder.path().overhead(since.elapsed());
        }
    }

    fn show_activity(&mut self) {
        let activity = Activity {
            begun: self.session.begun(),
            busy: !self.session.is_settled() || self.session.wants_backend(),
            status: self.session.status(),
        };
        if activity != self.activity {
            self.activity = activity;
            self.registered.set_activity(activity);
        }
        let pins = self.session.pins();
        if pins != self.registered.pins() {
            self.registered.set_pins(pins);
        }
        self.recorder.active(!self.session.is_idle() || self.session.wants_backend());
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_session_is_small() {
        let octets = size_of::<super::Relay>();
        assert!(octets <= 1024, "{octets} octets for each client");
    }
}
