//! Watches the sessions that have a backend, once a second: silent servers, vanished clients, late withdrawals, and the
//! ages of transactions.
//!
//! Linux sends no keepalive probes while data is unacknowledged, and gives a connection up after a quarter of an hour. The
//! watchdog reads the kernel's state of such connections instead.
//!
//! Promises: a suspicion alone changes no client, and only wakes the probe; no timer and no system call for a statement
//! that is shorter than 5 s. Refuses to know: messages, and the fate of a transaction.

mod replaced_servers;
mod watched_session;

use std::{
    collections::HashMap,
    future::poll_fn,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use foldhash::fast::RandomState;
use tokio::time::{MissedTickBehavior, interval};

use self::{
    replaced_servers::ReplacedServerChecks,
    watched_session::{BackendEvidence, PeerState, WatchedSession},
};
use super::{
    context::{Observers, Routing},
    registry::{
        current_backend::CurrentBackend,
        entry::{SessionCommand, SessionEntry},
        open_transactions::OpenTransactions,
        sessions::{ReplacedServer, SessionRegistry},
    },
};
use crate::{
    backend::{SocketDiag, TcpPath, TcpState},
    names::EndpointName,
    probe::Evidence,
    telemetry::labels::TerminationReason,
    topology::{Health, TopologySnapshot},
};

/// Watches all sessions of the process.
pub struct Watchdog {
    sessions: Arc<SessionRegistry>,
    routing: Arc<Routing>,
    observers: Arc<Observers>,
    sockets: SocketStates,
    /// By the number of the session.
    watched: HashMap<u64, WatchedSession, RandomState>,
    replaced_servers: ReplacedServerChecks,
    ticks: u64,
}

/// Source of the kernel's states.
struct SocketStates {
    diag: Option<SocketDiag>,
}

/// Interval of checks.
const TICK: Duration = Duration::from_secs(1);

/// Ticks between two checks of a client.
const CLIENT_TICKS: u64 = 5;

/// Sessions that are checked before other tasks of the thread run.
const SESSIONS_PER_TURN: usize = 256;

// === impl Watchdog ===

impl Watchdog {
    /// A watchdog of `sessions`.
    #[must_use]
    pub fn new(sessions: Arc<SessionRegistry>, routing: Arc<Routing>, observers: Arc<Observers>) -> Self {
        Self {
            sessions,
            routing,
            observers,
            sockets: SocketStates::open(),
            watched: HashMap::default(),
            replaced_servers: ReplacedServerChecks::default(),
            ticks: 0,
        }
    }

    /// Watches forever.
    ///
    /// Cancel safe.
    pub async fn run(mut self) {
        let mut due = interval(TICK);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = due.tick() => self.tick(Instant::now()).await,
                lost = poll_fn(|cx| self.replaced_servers.poll_lost(cx)) => {
                    for connection in lost {
                        give_up(&connection.entry, &connection.backend, TerminationReason::Node);
                    }
                }
            }
        }
    }

    async fn tick(&mut self, now: Instant) {
        let topology = self.routing.topology.load();
        let entries = self.sessions.with_backends();
        let replaced = self.sessions.replaced_servers();
        let mut before = std::mem::take(&mut self.watched);
        let mut open = Vec::new();
        for turn in entries.chunks(SESSIONS_PER_TURN) {
            for entry in turn {
                let mut session = before.remove(&entry.id).unwrap_or_default();
                entry.follow_writer_role(&topology, now);
                entry.expel_late(now);
                OpenTransactions::add(&mut open, entry, now);
                let replaced = self.note_replaced_server(entry, &replaced);
                self.check_backend(entry, &mut session, &topology, (replaced, now));
                // Spreads the clients over the ticks.
                if entry.id.wrapping_add(self.ticks).is_multiple_of(CLIENT_TICKS) {
                    self.check_client(entry, &mut session, now);
                }
                self.watched.insert(entry.id, session);
            }
            tokio::task::yield_now().await;
        }
        self.replaced_servers.begin(now);
        self.publish_transactions(open.into());
        self.ticks = self.ticks.wrapping_add(1);
    }

    /// Publishes the ages of open transactions; paths without any show zero.
    fn publish_transactions(&self, open: Arc<[OpenTransactions]>) {
        let metrics = &self.observers.metrics;
        let before = self.sessions.publish_transactions(Arc::clone(&open));
        let is_gone = |before: &&OpenTransactions| {
            !open.iter().any(|now| now.is_of(&before.listener, &before.endpoint))
        };
        for gone in before.iter().filter(is_gone) {
            let path = metrics.path(&gone.listener, &gone.endpoint);
            path.set_oldest_transaction(Duration::ZERO, Duration::ZERO);
        }
        for transactions in &*open {
            let idle = transactions.longest_idle.map_or(Duration::ZERO, |longest| longest.age);
            let path = metrics.path(&transactions.listener, &transactions.endpoint);
            path.set_oldest_transaction(transactions.oldest.age, idle);
        }
    }

    /// Notes the backend of a session whose server may be gone; true if so.
    fn note_replaced_server(
        &mut self,
        entry: &Arc<SessionEntry>,
        replaced: &HashMap<EndpointName, ReplacedServer>,
    ) -> bool {
        if replaced.is_empty() {
            return false;
        }
        let Some(backend) = entry.current_backend() else { return false };
        let replaced = replaced.get(backend.endpoint().name());
        let Some(replaced) = replaced.filter(|replaced| replaced.came_after_login(entry, &backend)) else {
            return false;
        };
        self.replaced_servers.add(entry, backend, replaced);
        true
    }

    /// Gives up the backend of a session whose server is silent for too long; `is_replaced`: another server was found at the
    /// address since the login.
    fn check_backend(
        &mut self,
        entry: &SessionEntry,
        session: &mut WatchedSession,
        topology: &TopologySnapshot,
        (is_replaced, now): (bool, Instant),
    ) {
        if !session.is_long_at_work(entry.activity(), now) {
            return;
        }
        let Some(backend) = entry.current_backend() else { return };
        let endpoint = backend.endpoint();
        let evidence = BackendEvidence {
            tcp: backend.tcp_path().and_then(|path| self.sockets.read_state(&path)),
            endpoint_silence: endpoint_silence(topology, endpoint.name(), now),
        };
        let state = session.judge_backend(evidence, entry.loss_limit(), now);
        if state == PeerState::Suspect {
            tracing::debug!(session = entry.id, endpoint = %endpoint.name(), "a server acknowledges nothing");
            self.observers.evidence.submit(endpoint.name(), Evidence::Silent);
        }
        let reason = match state {
            PeerState::Fine => return,
            PeerState::Suspect | PeerState::Silent if is_replaced => TerminationReason::Node,
            PeerState::Suspect | PeerState::Silent => return,
            PeerState::Lost => TerminationReason::Silence,
        };
        give_up(entry, &backend, reason);
    }

    /// Ends a session whose client is gone.
    fn check_client(&mut self, entry: &SessionEntry, session: &mut WatchedSession, now: Instant) {
        let state = entry.client_path().and_then(|path| self.sockets.read_state(&path));
        if state.is_some_and(|state| session.judge_client(state, now) == PeerState::Lost) {
            tracing::info!(session = entry.id, listener = %entry.facts.listener, "session ends: its client is gone");
            entry.send_command(SessionCommand::GiveUp);
        }
    }
}

/// Ends the use of `backend` by a session, if the session still uses it.
fn give_up(entry: &SessionEntry, backend: &CurrentBackend, reason: TerminationReason) {
    if entry.lose_backend(|current| current.is_same_connection(backend)) {
        let endpoint = backend.endpoint();
        tracing::warn!(
            session = entry.id, endpoint = %endpoint.name(), reason = reason.as_str(),
            "connection given up: the server is silent, or another one answers at the address"
        );
        endpoint.metrics().backends_terminated(reason, 1);
    }
}

// === impl SocketStates ===

impl SocketStates {
    fn open() -> Self {
        let mut states = Self { diag: None };
        match SocketDiag::open() {
            Ok(diag) => states.diag = Some(diag),
            Err(error) => report_unreadable(&error),
        }
        states
    }

    /// State of a connection; `None` if the kernel does not tell.
    fn read_state(&mut self, path: &TcpPath) -> Option<TcpState> {
        match self.diag.as_mut()?.read_state(path) {
            Ok(state) => Some(state),
            Err(error) => {
                report_unreadable(&error);
                self.diag = None;
                None
            }
        }
    }
}

fn report_unreadable(error: &io::Error) {
    tracing::warn!(
        %error,
        "cannot read the state of TCP connections: a silent peer is detected by keepalive and by the probe only"
    );
}

/// How long an endpoint that is down has not answered the probe, not even by an error.
fn endpoint_silence(topology: &TopologySnapshot, endpoint: &EndpointName, now: Instant) -> Option<Duration> {
    let status = topology.get(endpoint).filter(|status| status.health == Health::Down)?;
    status.last_answer.map(|answered| now.saturating_duration_since(answered))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        frontend::{
            registry::entry::{Activity, SessionWait},
            testing::Stand,
        },
        route::RouteReason,
        wire::TransactionStatus,
    };

    const SECOND: Duration = Duration::from_secs(1);

    /// To a millisecond: entries keep microseconds.
    fn shown(stand: &Stand, metric: &str) -> f64 {
        let series = format!("{metric}{{listener=\"app\",endpoint=\"p\",backend_role=\"primary\"}} ");
        let page = stand.services.observers.metrics.render();
        let value = page.lines().find_map(|line| line.strip_prefix(series.as_str()));
        let seconds: f64 = value.expect("the series exists").parse().expect("a number");
        (seconds * 1e3).round() / 1e3
    }

    #[tokio::test]
    async fn the_metrics_show_the_oldest_transaction() {
        let stand = Stand::new("p primary up primary");
        let services = &stand.services;
        let mut watchdog = Watchdog::new(
            Arc::clone(&services.sessions),
            Arc::clone(&services.routing),
            Arc::clone(&services.observers),
        );
        let [idle, busy] = [1, 2].map(|id| stand.dedicated_session(id, RouteReason::Writer));
        let start = Instant::now() + SECOND;
        let in_transaction =
            Activity { begun: 1, busy: false, wait: SessionWait::Nothing, status: TransactionStatus::Open };
        idle.set_transaction(Some(start));
        idle.set_activity(in_transaction, start + SECOND * 2);
        busy.set_transaction(Some(start + SECOND));
        busy.set_activity(Activity { busy: true, ..in_transaction }, start + SECOND);
        let now = start + SECOND * 7;
        watchdog.tick(now).await;
        assert_eq!(shown(&stand, "gatekeeper_oldest_transaction_seconds"), 7.0);
        assert_eq!(shown(&stand, "gatekeeper_longest_idle_in_transaction_seconds"), 5.0);
        let open = services.sessions.open_transactions();
        assert_eq!(open.len(), 1);
        assert_eq!((open[0].oldest.session, open[0].longest_idle.unwrap().session), (1, 1));

        idle.set_transaction(None);
        idle.set_activity(Activity { status: TransactionStatus::Idle, ..in_transaction }, now);
        watchdog.tick(now).await;
        assert_eq!(shown(&stand, "gatekeeper_oldest_transaction_seconds"), 6.0, "the busy one is left");
        assert_eq!(shown(&stand, "gatekeeper_longest_idle_in_transaction_seconds"), 0.0);
        drop(busy);
        watchdog.tick(now).await;
        assert_eq!(shown(&stand, "gatekeeper_oldest_transaction_seconds"), 0.0);
    }
}
