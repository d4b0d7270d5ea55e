//! Moves the writer.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep},
};

use super::{
    MoveError, MovePhase, MoveProgress, MoveReport, MoveRequest,
    request::MoveOrigin,
    retire::{CHECK_INTERVAL, EndpointRetirer},
};
use crate::{
    audit::{Record, record},
    backend::EndpointHandle,
    events::EventKind,
    frontend::{EndedUses, EndpointSessions, Observers, Routing, SessionRegistry},
    names::EndpointName,
    probe::{FreshAnswer, WriterDecisions},
    tasks::{Tasks, Workers},
    topology::{DecisionError, OperatorDecision},
};

/// Moves the writer, one move at a time.
pub struct WriterMover {
    decisions: WriterDecisions,
    retirer: EndpointRetirer,
    observers: Arc<Observers>,
    running: Mutex<Option<RunningMove>>,
    requests: mpsc::UnboundedSender<OrderedMove>,
}

/// Parts of the program that a move uses.
pub struct MoverParts {
    /// Endpoints and pools.
    pub routing: Arc<Routing>,
    /// Logged-in sessions.
    pub sessions: Arc<SessionRegistry>,
    /// Receivers of reports.
    pub observers: Arc<Observers>,
    /// Way to the publisher of the topology.
    pub decisions: WriterDecisions,
    /// Threads of the sessions.
    pub workers: Workers,
}

/// The current move.
struct RunningMove {
    progress: MoveProgress,
    cancel: watch::Sender<bool>,
}

/// A move that the mover's task executes.
struct OrderedMove {
    request: MoveRequest,
    canceled: watch::Receiver<bool>,
    result: watch::Sender<Option<MoveResult>>,
}

/// A move that was begun. Dropping the value does not end the move.
pub struct PendingMove {
    result: watch::Receiver<Option<MoveResult>>,
}

type MoveResult = Result<MoveReport, MoveError>;

/// A hold of new transactions; dropping the value ends the hold.
struct WriterHold {
    decisions: WriterDecisions,
    began: Instant,
    is_over: bool,
}

/// Time limit of a login to the new endpoint.
const LOGIN_LIMIT: Duration = Duration::from_secs(5);
/// Interval of logins while the move waits for a promotion.
const LOGIN_INTERVAL: Duration = Duration::from_millis(250);

// === impl WriterMover ===

impl WriterMover {
    /// A mover whose work runs as tasks of `tasks`.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn start(parts: MoverParts, tasks: &Tasks) -> Arc<Self> {
        let MoverParts { routing, sessions, observers, decisions, workers } = parts;
        let retirer = EndpointRetirer { routing, sessions, workers };
        tasks.spawn("fenced endpoints", retirer.clone().follow_fences());
        let (requests, mut ordered) = mpsc::unbounded_channel::<OrderedMove>();
        let mover = Arc::new(Self { decisions, retirer, observers, running: Mutex::new(None), requests });
        let weak = Arc::downgrade(&mover);
        tasks.spawn("writer mover", async move {
            while let Some(ordered) = ordered.recv().await {
                let Some(mover) = weak.upgrade() else { return };
                mover.execute(ordered).await;
            }
        });
        mover
    }

    /// Begins a move.
    ///
    /// # Errors
    /// [`MoveError`] if the endpoint does not exist or serves reads, or if another move is under way.
    pub fn begin_move(&self, request: MoveRequest) -> Result<PendingMove, MoveError> {
        match self.retirer.routing.endpoints.load().get(&request.to) {
            None => return Err(MoveError::UnknownEndpoint(request.to)),
            Some(target) if target.endpoint().role.serves_reads() => {
                return Err(MoveError::ServesReads(request.to, target.endpoint().role));
            }
            Some(_) => {}
        }
        let from = self.retirer.routing.topology.load().control.incumbent.clone();
        let mut running = self.lock();
        if let Some(other) = &*running {
            return Err(MoveError::InProgress(other.progress.to.clone()));
        }
        let (cancel, canceled) = watch::channel(false);
        let (result, pending) = watch::channel(None);
        let progress = MoveProgress {
            from: from.filter(|from| *from != request.to),
            to: request.to.clone(),
            phase: MovePhase::Check,
            since: std::time::Instant::now(),
        };
        self.requests.send(OrderedMove { request, canceled, result }).map_err(|_| MoveError::ShuttingDown)?;
        *running = Some(RunningMove { progress, cancel });
        Ok(PendingMove { result: pending })
    }

    /// The current move, if any.
    #[must_use]
    pub fn progress(&self) -> Option<MoveProgress> {
        self.lock().as_ref().map(|running| running.progress.clone())
    }

    /// Cancels the current move, unless the writer has moved already. Returns the canceled move.
    #[must_use]
    pub fn cancel_move(&self) -> Option<MoveProgress> {
        let running = self.lock();
        let running = running.as_ref()?;
        running.cancel.send_replace(true);
        Some(running.progress.clone())
    }

    /// Ends the fence of `endpoint`, by a command of `origin`.
    ///
    /// # Errors
    /// [`DecisionError`]: nothing has changed.
    pub async fn end_fence(&self, endpoint: &EndpointName, origin: &MoveOrigin) -> Result<(), DecisionError> {
        self.decisions.decide(OperatorDecision::EndFence(endpoint.clone()), None).await?;
        let what = format!("ends the fence of endpoint `{endpoint}`");
        self.observers.events.record_event(EventKind::Operated { through: origin.through, what });
        Ok(())
    }

    async fn execute(&self, ordered: OrderedMove) {
        let OrderedMove { request, canceled, result } = ordered;
        let done = self.move_writer(&request, canceled).await;
        if let Err(error) = &done {
            self.report_phase(&request, MovePhase::Failed, Some(error), error.to_string());
        }
        *self.lock() = None;
        result.send_replace(Some(done));
    }

    /// The steps of a move, in order.
    async fn move_writer(&self, request: &MoveRequest, mut canceled: watch::Receiver<bool>) -> MoveResult {
        let MoveRequest { to, .. } = request;
        let routing = &self.retirer.routing;
        let target = routing.endpoints.load().get(to).cloned();
        let target = target.ok_or_else(|| MoveError::UnknownEndpoint(to.clone()))?;
        let snapshot = routing.topology.load();
        if snapshot.writer.as_ref() == Some(to) {
            let (to, held) = (to.clone(), Duration::ZERO);
            return Ok(MoveReport { from: None, to, ended_leases: 0, ended_sessions: 0, held });
        }
        let from = snapshot.control.incumbent.clone().filter(|from| from != to);
        match self.ask_target(&target).await {
            Ok(_) => {}
            Err(error @ MoveError::NoLogin(_)) => return Err(error),
            Err(error) if request.promotion_wait.is_zero() => return Err(error),
            Err(_) => {}
        }
        let hold = self.hold_transactions(request, from.as_ref()).await?;
        let ended = match &from {
            Some(from) => self.quiet_writer(from, request.wait, &mut canceled).await?,
            None => EndedUses::default(),
        };
        self.report_quiet(request, ended);
        let seen = self.wait_for_target(&target, request.promotion_wait, &mut canceled).await?;
        let decided = self.decisions.decide(OperatorDecision::Move(to.clone()), Some(seen)).await;
        decided.map_err(|error| MoveError::from_decision(error, to))?;
        let held = hold.end_after_move();
        if let Some(from) = &from {
            routing.pools.withdraw(from);
        }
        self.report_moved(request, from.as_ref(), held);
        let (to, EndedUses { leases, sessions, .. }) = (to.clone(), ended);
        Ok(MoveReport { from, to, ended_leases: leases, ended_sessions: sessions, held })
    }

    async fn hold_transactions(
        &self,
        request: &MoveRequest,
        from: Option<&EndpointName>,
    ) -> Result<WriterHold, MoveError> {
        let decided = self.decisions.decide(OperatorDecision::Hold, None).await;
        decided.map_err(|error| MoveError::from_decision(error, &request.to))?;
        let hold = WriterHold { decisions: self.decisions.clone(), began: Instant::now(), is_over: false };
        let from = from.map_or_else(String::new, |from| format!(" from endpoint `{from}`"));
        let text = format!("the writer moves{from} to endpoint `{}`: new transactions wait", request.to);
        self.report_phase(request, MovePhase::Hold, None, text);
        Ok(hold)
    }

    /// Waits up to `limit` for the transactions on `from`, then ends them, and all other uses.
    async fn quiet_writer(
        &self,
        from: &EndpointName,
        limit: Duration,
        canceled: &mut watch::Receiver<bool>,
    ) -> Result<EndedUses, MoveError> {
        let EndpointRetirer { routing, sessions, workers } = &self.retirer;
        let deadline = Instant::now() + limit;
        workers.pass_barrier().await;
        routing.pools.turn_waiters_away(from);
        EndpointSessions::find(sessions, from, true).retire();
        while EndpointSessions::find(sessions, from, true).busy() > 0 && Instant::now() < deadline {
            pause_unless_canceled(CHECK_INTERVAL, canceled).await?;
        }
        Ok(self.retirer.end_uses(from, true).await)
    }

    /// The answer of the new writer to a new login, once the server accepts writes.
    async fn wait_for_target(
        &self,
        target: &EndpointHandle,
        limit: Duration,
        canceled: &mut watch::Receiver<bool>,
    ) -> Result<FreshAnswer, MoveError> {
        let deadline = Instant::now() + limit;
        loop {
            match self.ask_target(target).await {
                Err(_) if Instant::now() < deadline => {}
                answer => return answer,
            }
            pause_unless_canceled(LOGIN_INTERVAL, canceled).await?;
        }
    }

    async fn ask_target(&self, target: &EndpointHandle) -> Result<FreshAnswer, MoveError> {
        MoveError::of_answer(self.decisions.ask_server(target, LOGIN_LIMIT).await, target.name())
    }

    fn report_quiet(&self, request: &MoveRequest, ended: EndedUses) {
        let EndedUses { leases, sessions, .. } = ended;
        let mut text =
            format!("no session uses the previous writer ({leases} leases and {sessions} sessions ended)");
        if !request.promotion_wait.is_zero() {
            let seconds = request.promotion_wait.as_secs();
            text += &format!("; endpoint `{}` has {seconds} s to accept writes", request.to);
        }
        self.report_phase(request, MovePhase::Quiet, None, text);
    }

    fn report_moved(&self, request: &MoveRequest, from: Option<&EndpointName>, held: Duration) {
        let fenced = from.map_or_else(String::new, |from| format!(", endpoint `{from}` is fenced"));
        let seconds = held.as_secs_f64();
        let text =
            format!("the writer is endpoint `{}`{fenced}; transactions waited {seconds:.1} s", request.to);
        self.report_phase(request, MovePhase::Moved, None, text);
    }

    /// Notes the phase, and reports it to log, events and audit log.
    fn report_phase(&self, request: &MoveRequest, phase: MovePhase, error: Option<&MoveError>, text: String) {
        let mut from = None;
        if let Some(running) = &mut *self.lock() {
            running.progress.phase = phase;
            from.clone_from(&running.progress.from);
        }
        let MoveRequest { to, origin, .. } = request;
        let user = origin.user.as_ref().map(ToString::to_string);
        tracing::info!(endpoint = %to, phase = phase.as_str(), through = origin.through, user, "writer move: {text}");
        let is_failure = error.is_some();
        let event = EventKind::WriterMove { endpoint: to.clone(), phase: phase.as_str(), text, is_failure };
        self.observers.events.record_event(event);
        let record = record::WriterMove {
            phase: phase.as_str(),
            from,
            to: to.clone(),
            through: origin.through,
            client: origin.client,
            user: origin.user.clone(),
            error: error.map(|error| error.to_string().into()),
        };
        self.observers.audit.submit_now(Record::WriterMoved(Box::new(record)));
    }

    fn lock(&self) -> MutexGuard<'_, Option<RunningMove>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for `pause`, unless the move is canceled before.
async fn pause_unless_canceled(
    pause: Duration,
    canceled: &mut watch::Receiver<bool>,
) -> Result<(), MoveError> {
    tokio::select! {
        biased;
        _ = canceled.wait_for(|canceled| *canceled) => Err(MoveError::Canceled),
        () = sleep(pause) => Ok(()),
    }
}

// === impl PendingMove ===

impl PendingMove {
    /// Waits for the end of the move.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// [`MoveError`]: the writer is the same as before.
    pub async fn wait_for_end(mut self) -> Result<MoveReport, MoveError> {
        let ended = self.result.wait_for(Option::is_some).await;
        ended.ok().and_then(|result| result.clone()).unwrap_or(Err(MoveError::ShuttingDown))
    }
}

// === impl WriterHold ===

impl WriterHold {
    /// The decision for the move has ended the hold. Returns the duration of the hold.
    fn end_after_move(mut self) -> Duration {
        self.is_over = true;
        self.began.elapsed()
    }
}

impl Drop for WriterHold {
    fn drop(&mut self) {
        if !self.is_over && !self.decisions.end_hold() {
            tracing::error!("hold of new transactions could not be ended: cancel the move again");
        }
    }
}
