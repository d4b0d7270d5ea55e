//! Reports the events of a session to metrics and audit log.
//!
//! Counting never waits. Auditing may wait with `on_full = "block"`: the relay then stops until the log has room, or
//! ends with an error.

use std::{
    collections::VecDeque,
    future::Future,
    pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use super::{pool_load::PoolLoad, session_tracer::Traced};
use crate::{
    audit::{
        Record, Submit,
        record::{
            self, BackendRecord, CommitResolved, Route, ServerRecord, SessionClosed, Sqlstate,
            StatementRecord,
        },
    },
    blame::Blame,
    client_error::{ClientError, ClientErrorReason},
    events::EventKind,
    frontend::{
        acquire::AwaitedPool,
        context::{Observers, Routing},
        registry::entry::SessionEntry,
        relay::session_end::SessionEnd,
    },
    names::UserName,
    pool::BackendHandle,
    probe::Evidence,
    route::RouteReason,
    session::{Fate, Pin, ResolvedCommit, StatementReport},
    telemetry::{
        BackendPresence, ClientPresence, PathCounts,
        labels::{ClientState, Direction, SessionOutcome, StatementOutcome},
    },
    topology::{DeclaredRole, Endpoint},
    wire::SqlState,
};

/// Records and metrics of one session.
pub(crate) struct Recorder {
    facts: Arc<record::Session>,
    /// Database user of the backend.
    user: UserName,
    /// `None` before the first lease of a pooled session.
    server: Option<ServerRecord>,
    route: Route,
    path: Arc<PathCounts>,
    presence: ClientPresence,
    /// True for a dedicated session.
    owns_backend: bool,
    /// Counts the backend as open.
    _backend_presence: Option<BackendPresence>,
    observers: Arc<Observers>,
    routing: Arc<Routing>,
    traced: Traced,
    arrived: Instant,
    connected: Instant,
    traffic: (u64, u64),
    /// Records waiting for room in the audit log.
    waiting: VecDeque<Submit>,
}

/// Parts of a new recorder.
pub(crate) struct RecorderConfig {
    pub(crate) facts: Arc<record::Session>,
    pub(crate) user: UserName,
    pub(crate) server: Option<ServerRecord>,
    /// True for a dedicated session.
    pub(crate) owns_backend: bool,
    pub(crate) route: Route,
    pub(crate) path: Arc<PathCounts>,
    pub(crate) presence: ClientPresence,
    pub(crate) backend_presence: Option<BackendPresence>,
    pub(crate) observers: Arc<Observers>,
    pub(crate) routing: Arc<Routing>,
    pub(crate) traced: Traced,
    pub(crate) arrived: Instant,
}

impl Recorder {
    /// Recorder of a session with its backend.
    pub(crate) fn new(of: RecorderConfig) -> Self {
        let RecorderConfig {
            facts,
            user,
            server,
            owns_backend,
            route,
            path,
            mut presence,
            backend_presence,
            observers,
            routing,
            traced,
            arrived,
        } = of;
        presence.enter(ClientState::Idle);
        observers.client_log.session_opened(&facts);
        Self {
            facts,
            user,
            owns_backend,
            server,
            route,
            path,
            presence,
            _backend_presence: backend_presence,
            observers,
            routing,
            traced,
            arrived,
            connected: Instant::now(),
            traffic: (0, 0),
            waiting: VecDeque::new(),
        }
    }

    /// Metrics of the data path.
    pub(crate) fn path(&self) -> &PathCounts {
        &self.path
    }

    /// Records a lease.
    pub(crate) fn record_lease(
        &mut self,
        backend: &BackendHandle,
        reason: RouteReason,
        path: Option<&Arc<PathCounts>>,
    ) {
        self.traced.note_lease();
        let endpoint = backend.endpoint().endpoint();
        if let Some(path) = path
            && !Arc::ptr_eq(path, &self.path)
        {
            self.path = Arc::clone(path);
        }
        match &mut self.server {
            Some(server) if Arc::ptr_eq(&server.endpoint, endpoint) => {
                server.backend_pid = Some(backend.pid());
            }
            server => {
                *server =
                    Some(ServerRecord { endpoint: Arc::clone(endpoint), backend_pid: Some(backend.pid()) });
            }
        }
        self.route = Route { decision: endpoint.role.as_str(), reason: reason.as_str() };
    }

    /// Records a transaction whose backend was lost.
    pub(crate) fn record_fate(&self, fate: Fate) {
        self.presence.listener().transaction_interrupted(fate);
        self.observers.events.record_fate(fate);
        // The client does not notice a read that runs again.
        if fate != Fate::NotStarted {
            let endpoint = self.server.as_ref().map(|server| &server.endpoint.name);
            self.observers.client_log.transaction_interrupted(&self.facts, endpoint, fate);
        }
    }

    /// Records a statement that Gatekeeper has answered with an error of its own, for want of a backend of `awaited`.
    pub(crate) fn record_refusal(
        &mut self,
        error: &ClientError,
        awaited: Option<&AwaitedPool>,
        load: impl FnOnce() -> Option<PoolLoad>,
    ) {
        let path = awaited.map_or(&self.path, |awaited| &awaited.path);
        path.record_refusal(error.sqlstate.as_str());
        // A client that cancels its own statement needs no line.
        if error.blame != Blame::Client {
            let (listener, reason) = (self.facts.listener.clone(), error.reason.as_str());
            self.observers.events.record_event(EventKind::StatementRefused { listener, reason });
            let pool = awaited.map(|awaited| awaited.pool.target().to_string());
            self.observers.client_log.statement_refused(&self.facts, error, pool.as_deref(), load);
        }
        self.submit(Record::StatementRefused(Box::new(record::RefusedStatement {
            session: Arc::clone(&self.facts),
            endpoint: awaited.map(|awaited| Arc::clone(awaited.pool.endpoint().endpoint())),
            reason: error.reason.as_str(),
            sqlstate: Sqlstate::new(error.sqlstate.as_str()),
        })));
    }

    /// Records the outcome of a COMMIT in doubt.
    pub(crate) fn record_resolved_commit(&mut self, resolved: ResolvedCommit) {
        let ResolvedCommit { xid, outcome } = resolved;
        self.presence.listener().commit_resolved(outcome);
        let listener = self.facts.listener.clone();
        let outcome = outcome.as_str();
        tracing::info!(session = self.facts.id, %listener, xid, outcome, "commit in doubt resolved");
        self.observers.events.record_event(EventKind::CommitResolved { listener, xid, outcome });
        if let Some(server) = self.server.clone() {
            let session = Arc::clone(&self.facts);
            self.submit(Record::CommitResolved(Box::new(CommitResolved { session, server, outcome, xid })));
        }
    }

    /// Records a read that is rerun on another endpoint.
    pub(crate) fn record_rerun(&mut self, reason: RouteReason) {
        tracing::debug!(
            session = self.facts.id,
            endpoint = self.server.as_ref().map(|server| server.endpoint.name.as_str()),
            reason = reason.as_str(),
            "read rerun on another endpoint"
        );
    }

    /// Closes idle backends before a statement about databases, so idle backends do not block the statement. Leased
    /// backends are closed on return.
    pub(crate) fn clear_databases(&self) {
        if let Some(server) = &self.server {
            self.routing.pools.renew_cluster(&server.endpoint.cluster);
        }
    }

    /// Handles a possible change of login permissions or login settings by a transaction.
    pub(crate) fn logins_changed(&self) {
        let Some(server) = &self.server else { return };
        let cluster = &server.endpoint.cluster;
        for endpoint in self.routing.endpoints.load().iter().filter(|it| it.endpoint().cluster == *cluster) {
            endpoint.judge_passwords_again();
        }
        self.routing.pools.renew_cluster(cluster);
    }

    /// Records a pin.
    pub(crate) fn record_pin(&mut self, pin: Pin) {
        self.path.record_pin(pin);
        tracing::debug!(
            session = self.facts.id,
            listener = %self.facts.listener,
            pin = pin.as_str(),
            "session pinned to its backend"
        );
        if let Some(server) = self.server.clone() {
            self.submit(Record::SessionPinned(Box::new(record::Pinned {
                session: Arc::clone(&self.facts),
                server,
                reason: pin.as_str(),
            })));
        }
    }

    /// Records relayed bytes.
    pub(crate) fn record_traffic(&mut self, direction: Direction, bytes: usize) {
        let bytes = bytes as u64;
        self.path.record_traffic(direction, bytes);
        match direction {
            Direction::ToEndpoint => self.traffic.0 += bytes,
            Direction::ToClient => self.traffic.1 += bytes,
        }
    }

    /// Records the start or the end of activity.
    pub(crate) fn set_active(&mut self, active: bool) {
        self.presence.enter(if active { ClientState::Active } else { ClientState::Idle });
    }

    /// True for the writer, and for every endpoint declared primary.
    fn is_writer(&self, endpoint: &Endpoint) -> bool {
        endpoint.role == DeclaredRole::Primary
            || self.routing.topology.load().writer.as_ref() == Some(&endpoint.name)
    }

    /// Records the end of a statement.
    pub(crate) fn record_statement(&mut self, report: StatementReport) {
        let duration = report.ended.saturating_duration_since(report.started);
        match &report.error {
            None => self.path.record_statement(StatementOutcome::Ok, duration),
            Some(state) => {
                self.path.record_statement(StatementOutcome::Error, duration);
                self.path.record_error(state.as_str());
                if *state == SqlState::READ_ONLY_TRANSACTION
                    && let Some(server) = &self.server
                    && self.is_writer(&server.endpoint)
                {
                    self.observers.evidence.submit(&server.endpoint.name, Evidence::ReadOnlyRefused);
                }
            }
        }
        self.traced.trace_statement(&report, &self.facts, self.server.as_ref(), self.route);
        let text = report.text.as_ref().map(|text| (&*text.bytes, text.is_cut));
        if self.observers.audit.wants_statement(text)
            && let Some(server) = self.server.clone()
        {
            let statement = StatementRecord {
                session: Arc::clone(&self.facts),
                server,
                route: Some(self.route),
                text: report.text.and_then(|text| self.observers.audit.text(&text.bytes, text.is_cut)),
                operation: report.operation,
                duration,
                sqlstate: report.error.and_then(|state| Sqlstate::new(state.as_str())),
                rows: report.error.is_none().then_some(report.rows),
            };
            self.submit(Record::StatementExecuted(Box::new(statement)));
        }
    }

    /// True if the client's next request must wait for the audit log; see [`Recorder::poll_ready`].
    pub(crate) fn holds_statements(&mut self) -> bool {
        self.waiting.extend(self.observers.audit.holds_statements());
        !self.waiting.is_empty()
    }

    /// True if a submitted record waits.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Ready once all submitted records are accepted.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, SessionEnd> {
        while let Some(submit) = self.waiting.front_mut() {
            match pin::Pin::new(submit).poll(cx) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(taken) => {
                    self.waiting.pop_front();
                    taken.map_err(|_| SessionEnd::Refused(ClientError::audit()))?;
                }
            }
        }
        Ok(Poll::Ready(()))
    }

    /// Records the end of the session.
    ///
    /// Cancel safety: if dropped, the last records may be missing, which the audit log counts.
    pub(crate) async fn record_end(&mut self, end: &SessionEnd, entry: &SessionEntry) {
        let outcome = end.blame().map_or(SessionOutcome::Ok, SessionOutcome::Failed);
        self.presence.listener().session_ended(outcome);
        if matches!(end, SessionEnd::ServerClosed(_) | SessionEnd::BackendLost { .. })
            && let Some(server) = &self.server
        {
            self.observers.evidence.submit(&server.endpoint.name, Evidence::ConnectionLost);
        }
        if matches!(end, SessionEnd::BackendLost { .. }) {
            self.record_fate(Fate::SessionLost);
        }
        let reason = end.blame().is_some().then(|| end.as_str());
        let client_log = &self.observers.client_log;
        if let Some(error) = end.last_words() {
            self.path.record_error(error.sqlstate.as_str());
            // An orderly shutdown ends all sessions.
            if error.reason != ClientErrorReason::Shutdown {
                client_log.session_failed(&self.facts, end.as_str(), &error);
            }
        }
        client_log.session_closed(&self.facts, end.as_str(), self.arrived);
        if self.owns_backend
            && let Some(server) = self.server.clone()
        {
            self.submit(Record::BackendClosed(Box::new(BackendRecord {
                server,
                session: Some(Arc::clone(&self.facts)),
                user: self.user.clone(),
                duration: self.connected.elapsed(),
                reason,
            })));
        }
        self.submit(Record::SessionClosed(Box::new(SessionClosed {
            session: Arc::clone(&self.facts),
            reason,
            duration: self.arrived.elapsed(),
            statements: entry.activity().begun,
            traffic: self.traffic,
        })));
        while let Some(submit) = self.waiting.pop_front() {
            submit.await.ok();
        }
    }

    fn submit(&mut self, record: Record) {
        let submit = self.observers.audit.submit(record);
        if self.waiting.is_empty() && submit.taken_at_once() {
            return;
        }
        self.waiting.push_back(submit);
    }
}
