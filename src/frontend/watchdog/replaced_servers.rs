//! Connections whose server may be gone, because another server answers at the address since: the server that answers now
//! tells if it has their processes.
//!
//! The probe shows that a server was replaced, and when the old one has answered last. A connection that was logged in
//! later may lead to either server, and so may one that waited in a pool. A frozen server whose kernel acknowledges shows
//! no other sign of its absence.
//!
//! Promises: a connection is given up only if the server at the address lacks its process; each connection is asked about
//! once after each replacement; nothing is asked while no server is replaced. Refuses to know: the fate of a transaction.

use std::{
    collections::{HashMap, HashSet},
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant, SystemTime},
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::time::timeout;

use crate::{
    backend::{ConnectError, EndpointHandle, ServerProcesses},
    frontend::registry::{
        current_backend::CurrentBackend,
        entry::SessionEntry,
        sessions::{ReplacedServer, login_time},
    },
    names::EndpointName,
    probe::connect_request,
    wire::BackendKey,
};

/// Checks of connections to replaced servers.
#[derive(Default)]
pub(super) struct ReplacedServerChecks {
    endpoints: HashMap<EndpointName, EndpointCheck>,
    running: FuturesUnordered<Pin<Box<dyn Future<Output = ServerAnswer> + Send>>>,
}

/// Connections of an endpoint whose server was replaced.
struct EndpointCheck {
    replaced: ReplacedServer,
    /// Processes that were asked about, with the time of the login.
    asked: HashSet<(i32, SystemTime)>,
    /// Connections to ask about next.
    suspects: Vec<SuspectConnection>,
    is_running: bool,
    /// Time of the next query after a failed one.
    due: Option<Instant>,
}

/// A session's connection that may lead to a server that is gone.
pub(super) struct SuspectConnection {
    pub(super) entry: Arc<SessionEntry>,
    pub(super) backend: CurrentBackend,
    process: (i32, SystemTime),
}

/// Answer of the server at an endpoint's address.
struct ServerAnswer {
    endpoint: EndpointName,
    suspects: Vec<SuspectConnection>,
    /// `None` if the server does not tell, or has failed.
    processes: Option<ServerProcesses>,
    asked_at: SystemTime,
}

/// Limit of a login and a query.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// Time between a failed query and the next one.
const FAILED_QUERY_PAUSE: Duration = Duration::from_secs(5);
/// Connections that one query asks about.
const MAX_SUSPECTS: usize = 1000;

// === impl ReplacedServerChecks ===

impl ReplacedServerChecks {
    /// Notes the connection of a session to an endpoint with a replaced server.
    pub(super) fn add(
        &mut self,
        entry: &Arc<SessionEntry>,
        backend: CurrentBackend,
        replaced: &ReplacedServer,
    ) {
        let Some(pid) = backend.server_key().map(BackendKey::pid) else { return };
        let process = (pid, login_time(entry, &backend));
        let check =
            self.endpoints.entry(backend.endpoint().name().clone()).or_insert_with(|| EndpointCheck {
                replaced: *replaced,
                asked: HashSet::new(),
                suspects: Vec::new(),
                is_running: false,
                due: None,
            });
        if check.replaced != *replaced {
            (check.replaced, check.due) = (*replaced, None);
            check.asked.clear();
        }
        if check.is_running || check.suspects.len() >= MAX_SUSPECTS || check.asked.contains(&process) {
            return;
        }
        check.suspects.push(SuspectConnection { entry: Arc::clone(entry), backend, process });
    }

    /// Asks the servers about the connections noted since the last call, at `now`.
    pub(super) fn begin(&mut self, now: Instant) {
        for (name, check) in &mut self.endpoints {
            let suspects = std::mem::take(&mut check.suspects);
            let Some(first) = suspects.first() else { continue };
            if check.due.is_some_and(|due| now < due) {
                continue;
            }
            check.is_running = true;
            let handle = first.backend.endpoint().clone();
            self.running.push(Box::pin(ask_server(handle, name.clone(), suspects)));
        }
    }

    /// The next connection to a server that is gone.
    ///
    /// Cancel safe.
    pub(super) fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<Vec<SuspectConnection>> {
        loop {
            match self.running.poll_next_unpin(cx) {
                Poll::Ready(Some(answer)) => {
                    let lost = self.on_answer(answer);
                    if !lost.is_empty() {
                        return Poll::Ready(lost);
                    }
                }
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// The connections of `answer` that lead to a server that is gone.
    fn on_answer(&mut self, answer: ServerAnswer) -> Vec<SuspectConnection> {
        let ServerAnswer { endpoint, suspects, processes, asked_at } = answer;
        let Some(check) = self.endpoints.get_mut(&endpoint) else { return Vec::new() };
        check.is_running = false;
        let is_expected = |processes: &ServerProcesses| processes.is_of_server(check.replaced.by.started_us);
        let Some(processes) = processes.filter(is_expected) else {
            check.due = Some(Instant::now() + FAILED_QUERY_PAUSE);
            return Vec::new();
        };
        check.asked.extend(suspects.iter().map(|suspect| suspect.process));
        let is_lost = |suspect: &SuspectConnection| {
            let (pid, login) = suspect.process;
            asked_at.duration_since(login).is_ok_and(|age| processes.lacks(pid, age))
        };
        suspects.into_iter().filter(is_lost).collect()
    }
}

/// Asks the server at the address about `suspects`.
async fn ask_server(
    handle: EndpointHandle,
    endpoint: EndpointName,
    suspects: Vec<SuspectConnection>,
) -> ServerAnswer {
    let asked_at = SystemTime::now();
    let pids: Vec<_> = suspects.iter().map(|suspect| suspect.process.0).collect();
    let processes = match timeout(ANSWER_LIMIT, find_processes(&handle, &pids)).await {
        Ok(Ok(processes)) => processes,
        Ok(Err(error)) => {
            tracing::debug!(%endpoint, %error, "cannot ask the new server for its processes");
            None
        }
        Err(_elapsed) => None,
    };
    ServerAnswer { endpoint, suspects, processes, asked_at }
}

/// Processes of the server at the address; `None` without a login for the probe, or if the server does not tell.
async fn find_processes(
    handle: &EndpointHandle,
    pids: &[i32],
) -> Result<Option<ServerProcesses>, ConnectError> {
    let Some(login) = &handle.settings().probe_login else { return Ok(None) };
    let mut backend = handle.connect(connect_request(login)).await?;
    handle.find_processes(&mut backend, pids).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        frontend::{registry::sessions::Registered, testing::Stand},
        route::RouteReason,
        topology::NodeId,
    };

    const PID: i32 = 4711;

    /// Checks with one session, logged in before another server was found, and the suspects of its endpoint.
    fn checks(stand: &Stand) -> (ReplacedServerChecks, Registered, ReplacedServer) {
        let session = stand.dedicated_session_of(1, RouteReason::Writer, PID);
        let backend = session.current_backend().unwrap();
        let by = NodeId { started_us: 7, address: None, port: None };
        let name = backend.endpoint().name();
        let before = Instant::now() - Duration::from_secs(60);
        stand.services.sessions.lose_backends(name, before, by);
        let replaced = stand.services.sessions.replaced_servers()[name];
        let mut checks = ReplacedServerChecks::default();
        checks.add(&session, backend, &replaced);
        (checks, session, replaced)
    }

    /// Answers the query about the noted connections; returns the count of those that are lost.
    fn answer(checks: &mut ReplacedServerChecks, processes: Option<ServerProcesses>) -> usize {
        let (endpoint, check) = checks.endpoints.iter_mut().next().unwrap();
        check.is_running = true;
        let (endpoint, suspects) = (endpoint.clone(), std::mem::take(&mut check.suspects));
        let asked_at = SystemTime::now();
        checks.on_answer(ServerAnswer { endpoint, suspects, processes, asked_at }).len()
    }

    fn suspects(checks: &ReplacedServerChecks) -> usize {
        checks.endpoints.values().map(|check| check.suspects.len()).sum()
    }

    #[tokio::test]
    async fn a_connection_that_the_new_server_lacks_is_lost() {
        let stand = Stand::new("p primary up primary");
        for (processes, lost) in [
            (ServerProcesses::for_test(7, &[]), 1),
            (ServerProcesses::for_test(7, &[(PID, 3600)]), 1),
            (ServerProcesses::for_test(7, &[(PID, 0)]), 0),
        ] {
            let (mut checks, session, replaced) = checks(&stand);
            assert_eq!(suspects(&checks), 1);
            assert_eq!(answer(&mut checks, Some(processes)), lost);
            checks.add(&session, session.current_backend().unwrap(), &replaced);
            assert_eq!(suspects(&checks), 0, "asked about once");
        }
    }

    #[tokio::test]
    async fn an_answer_of_a_third_server_decides_nothing() {
        let stand = Stand::new("p primary up primary");
        for processes in [None, Some(ServerProcesses::for_test(8, &[]))] {
            let (mut checks, session, replaced) = checks(&stand);
            assert_eq!(answer(&mut checks, processes), 0);
            checks.add(&session, session.current_backend().unwrap(), &replaced);
            checks.begin(Instant::now());
            assert!(checks.running.is_empty(), "not at once");
            checks.add(&session, session.current_backend().unwrap(), &replaced);
            checks.begin(Instant::now() + FAILED_QUERY_PAUSE);
            assert_eq!(checks.running.len(), 1, "asked again");
        }
    }
}
