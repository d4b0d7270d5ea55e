//! Tells the metrics and the audit log what a session does.
//!
//! Counting never waits. Auditing may, when the log is full and clients are to wait for it: then the relay stops until
//! the log has room, or refuses.

use std::{
    collections::VecDeque,
    future::Future,
    pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use super::session_tracer::Traced;
use crate::{
    audit::{
        Record, Submit,
        record::{self, Backend, Route, Server, SessionClosed, Sqlstate, Statement},
    },
    frontend::{
        context::{Observers, Routing},
        registry::entry::SessionEntry,
        relay::session_end::SessionEnd,
    },
    names::UserName,
    pool::BackendHandle,
    probe::Evidence,
    route::RouteReason,
    session::{Pin, Refusal, Report},
    telemetry::{
        BackendPresence, ClientPresence, PathCounts,
        labels::{ClientState, Direction, Outcome, SessionOutcome},
    },
    topology::DeclaredRole,
    wire::SqlState,
};

/// One session's records and numbers.
pub(crate) struct Recorder {
    facts: Arc<record::Session>,
    /// The database user that the backend is logged in as.
    user: UserName,
    /// `None` before the first lease of a session that shares backends.
    server: Option<Server>,
    route: Route,
    path: Arc<PathCounts>,
    presence: ClientPresence,
    /// Whether its backend is its own, for life.
    owns_backend: bool,
    /// Counts the backend as open.
    _backend_presence: Option<BackendPresence>,
    observers: Arc<Observers>,
    routing: Arc<Routing>,
    traced: Traced,
    arrived: Instant,
    connected: Instant,
    traffic: (u64, u64),
    /// Records that wait for room in the audit log.
    waiting: VecDeque<Submit>,
}

/// Parts of a new recorder.
pub(crate) struct RecorderConfig {
    pub(crate) facts: Arc<record::Session>,
    pub(crate) user: UserName,
    pub(crate) server: Option<Server>,
    /// Its backend is its own, for life.
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
    /// A session has its backend.
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

    /// The numbers of the data path.
    pub(crate) fn path(&self) -> &PathCounts {
        &self.path
    }

    /// The session has leased a backend.
    pub(crate) fn leased(
        &mut self,
        running: &BackendHandle,
        reason: RouteReason,
        path: Option<&Arc<PathCounts>>,
    ) {
        self.traced.leased();
        let endpoint = running.endpoint().endpoint();
        if let Some(path) = path
            && !Arc::ptr_eq(path, &self.path)
        {
            self.path = Arc::clone(path);
        }
        match &mut self.server {
            Some(server) if Arc::ptr_eq(&server.endpoint, endpoint) => {
                server.backend_pid = Some(running.pid());
            }
            server => {
                *server = Some(Server { endpoint: Arc::clone(endpoint), backend_pid: Some(running.pid()) });
            }
        }
        self.route = Route { decision: endpoint.role.as_str(), reason: reason.as_str() };
    }

    /// What a read pool was asked is asked again elsewhere.
    pub(crate) fn rerun(&mut self, reason: RouteReason) {
        tracing::debug!(
            session = self.facts.id,
            endpoint = self.server.as_ref().map(|server| server.endpoint.name.as_str()),
            reason = reason.as_str(),
            "a read runs again elsewhere"
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

    /// The session is held to its backend.
    pub(crate) fn pinned(&mut self, pin: Pin) {
        self.path.pinned(pin);
        tracing::debug!(
            session = self.facts.id,
            listener = %self.facts.listener,
            pin = pin.as_str(),
            "a session is held to its backend"
        );
        if let Some(server) = self.server.clone() {
            self.submit(Record::SessionPinned(Box::new(record::Pinned {
                session: Arc::clone(&self.facts),
                server,
                reason: pin.as_str(),
            })));
        }
    }

    /// Bytes went through.
    pub(crate) fn traffic(&mut self, direction: Direction, bytes: usize) {
        let bytes = bytes as u64;
        self.path.traffic(direction, bytes);
        match direction {
            Direction::ToEndpoint => self.traffic.0 += bytes,
            Direction::ToClient => self.traffic.1 += bytes,
        }
    }

    /// The session is in a statement or transaction, or is not.
    pub(crate) fn active(&mut self, active: bool) {
        self.presence.enter(if active { ClientState::Active } else { ClientState::Idle });
    }

    /// A statement is over.
    pub(crate) fn statement(&mut self, report: Report) {
        let duration = report.ended.saturating_duration_since(report.started);
        match &report.error {
            None => self.path.statement(Outcome::Ok, duration),
            Some(state) => {
                self.path.statement(Outcome::Error, duration);
                self.path.error(state.as_str());
                if *state == SqlState::READ_ONLY_TRANSACTION
                    && let Some(server) = &self.server
                    && server.endpoint.role == DeclaredRole::Primary
                {
                    self.observers.evidence.submit(&server.endpoint.name, Evidence::ReadOnlyRefused);
                }
            }
        }
        self.traced.statement(&report, &self.facts, self.server.as_ref(), self.route);
        let text = report.text.as_ref().map(|text| (&*text.bytes, text.cut));
        if self.observers.audit.wants_statement(text)
            && let Some(server) = self.server.clone()
        {
            let statement = Statement {
                session: Arc::clone(&self.facts),
                server,
                route: Some(self.route),
                text: report.text.and_then(|text| self.observers.audit.text(&text.bytes, text.cut)),
                operation: report.operation,
                duration,
                sqlstate: report.error.and_then(|state| Sqlstate::new(state.as_str())),
                rows: report.error.is_none().then_some(report.rows),
            };
            self.submit(Record::StatementExecuted(Box::new(statement)));
        }
    }

    /// Whether what the client asks next has to wait for the audit log, which is looked at by [`Recorder::poll_ready`].
    pub(crate) fn holds_statements(&mut self) -> bool {
        self.waiting.extend(self.observers.audit.holds_statements());
        !self.waiting.is_empty()
    }

    /// Whether something submitted was not taken yet.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether the relay may go on: everything submitted was taken.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, SessionEnd> {
        while let Some(submit) = self.waiting.front_mut() {
            match pin::Pin::new(submit).poll(cx) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(taken) => {
                    self.waiting.pop_front();
                    taken.map_err(|_| SessionEnd::Refused(Refusal::audit()))?;
                }
            }
        }
        Ok(Poll::Ready(()))
    }

    /// The session is over.
    ///
    /// Cancel safety: dropped half-way, the last records may be missing, which the audit log counts.
    pub(crate) async fn closed(&mut self, end: &SessionEnd, entry: &SessionEntry) {
        let outcome = end.blame().map_or(SessionOutcome::Ok, SessionOutcome::Failed);
        self.presence.listener().session_ended(outcome);
        if matches!(end, SessionEnd::ServerClosed(_) | SessionEnd::BackendLost { .. })
            && let Some(server) = &self.server
        {
            self.observers.evidence.submit(&server.endpoint.name, Evidence::ConnectionLost);
        }
        let reason = end.blame().is_some().then(|| end.as_str());
        tracing::debug!(
            session = entry.id,
            endpoint = self.server.as_ref().map(|server| server.endpoint.name.as_str()),
            end = end.as_str(),
            "session closed"
        );
        if self.owns_backend
            && let Some(server) = self.server.clone()
        {
            self.submit(Record::BackendClosed(Box::new(Backend {
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
