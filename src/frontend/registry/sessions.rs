//! All sessions of the process: found by cancel key, listed, and terminated.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Instant, SystemTime},
};

use tokio::sync::Notify;

use super::{
    console_session::{ConsoleSessionEntry, ConsoleSessionGuard},
    current_backend::CurrentBackend,
    entry::{SessionCommand, SessionEntry},
    open_transactions::OpenTransactions,
};
use crate::{
    audit::record,
    names::EndpointName,
    topology::{NodeId, TopologySnapshot},
    wire::BackendKey,
};

/// Logged-in sessions and console clients.
#[derive(Default)]
pub struct SessionRegistry {
    registry: Mutex<RegisteredSessions>,
    last_id: AtomicU64,
    count: AtomicUsize,
    emptied: Notify,
    /// As of the watchdog's last tick.
    open_transactions: Mutex<Arc<[OpenTransactions]>>,
}

#[derive(Default)]
struct RegisteredSessions {
    /// By process id of the cancel key, and by number.
    by_pid: BTreeMap<(i32, u64), Arc<SessionEntry>>,
    on_endpoint: HashMap<EndpointName, usize>,
    console_sessions: Vec<Arc<ConsoleSessionEntry>>,
    /// By endpoint, the last other server that was found at the address.
    replaced: HashMap<EndpointName, ReplacedServer>,
    /// Command to all sessions, later sessions included.
    standing: Option<SessionCommand>,
}

/// Another server found at the address of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReplacedServer {
    /// Time at which the new server was found.
    at: SystemTime,
    /// The new server.
    pub(in crate::frontend) by: NodeId,
}

/// Membership of one session; dropping it removes the session.
pub struct Registered {
    sessions: Arc<SessionRegistry>,
    entry: Arc<SessionEntry>,
    /// Endpoint of a dedicated session.
    own: Option<EndpointName>,
}

/// Time of the login of a session's backend.
pub(in crate::frontend) fn login_time(entry: &SessionEntry, backend: &CurrentBackend) -> SystemTime {
    match backend {
        // The login of a dedicated session includes that of its backend.
        CurrentBackend::Own(_) => entry.started_at,
        CurrentBackend::Leased(running) => running.opened(),
    }
}

// === impl SessionRegistry ===

impl SessionRegistry {
    /// A number unique in this process.
    pub fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Adds a session.
    #[must_use]
    pub fn register(self: &Arc<Self>, entry: SessionEntry) -> Registered {
        let entry = Arc::new(entry);
        let mut registry = self.lock();
        registry.by_pid.insert((entry.key.pid(), entry.id), Arc::clone(&entry));
        let own = entry.own_endpoint();
        if let Some(name) = &own {
            *registry.on_endpoint.entry(name.clone()).or_default() += 1;
        }
        let standing = registry.standing;
        drop(registry);
        if let Some(command) = standing {
            entry.send_command(command);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        Registered { sessions: Arc::clone(self), entry, own }
    }

    /// Adds a console client, with a cancel key of `secret_bytes` secret bytes.
    ///
    /// # Errors
    /// The system provides no random numbers.
    pub fn register_console_session(
        self: &Arc<Self>,
        facts: Arc<record::Session>,
        secret_bytes: usize,
    ) -> Result<ConsoleSessionGuard, aws_lc_rs::error::Unspecified> {
        let mut secret = vec![0; secret_bytes];
        aws_lc_rs::rand::fill(&mut secret)?;
        // Not a server's process id: any number works, because the secret decides.
        let key = BackendKey::new(0, &secret).map_err(|_| aws_lc_rs::error::Unspecified)?;
        let entry = Arc::new(ConsoleSessionEntry::new(facts, key));
        let mut registry = self.lock();
        registry.console_sessions.push(Arc::clone(&entry));
        let standing = registry.standing;
        drop(registry);
        if let Some(command) = standing {
            entry.send_command(command);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        Ok(ConsoleSessionGuard { sessions: Arc::clone(self), entry })
    }

    /// Console clients, oldest first.
    #[must_use]
    pub fn console_sessions(&self) -> Vec<Arc<ConsoleSessionEntry>> {
        self.lock().console_sessions.clone()
    }

    /// The console client with this cancel key.
    #[must_use]
    pub(crate) fn find_console_session(&self, key: &BackendKey) -> Option<Arc<ConsoleSessionEntry>> {
        self.lock().console_sessions.iter().find(|entry| entry.key == *key).cloned()
    }

    /// The session with this cancel key. Process ids repeat across servers, so the secret decides.
    #[must_use]
    pub fn find(&self, key: &BackendKey) -> Option<Arc<SessionEntry>> {
        let registry = self.lock();
        let mut entries = registry.by_pid.range((key.pid(), 0)..=(key.pid(), u64::MAX));
        entries.find(|(_, entry)| entry.key == *key).map(|(_, entry)| Arc::clone(entry))
    }

    /// The session with this number.
    #[must_use]
    pub fn get(&self, id: u64) -> Option<Arc<SessionEntry>> {
        self.lock().by_pid.values().find(|entry| entry.id == id).cloned()
    }

    /// All sessions, in no particular order.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<SessionEntry>> {
        self.lock().by_pid.values().cloned().collect()
    }

    /// Number of dedicated sessions on an endpoint.
    #[must_use]
    pub fn on_endpoint(&self, name: &EndpointName) -> usize {
        self.lock().on_endpoint.get(name).copied().unwrap_or(0)
    }

    /// Number of sessions, including console clients.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Sends a command to every session; sessions that still log in get the command, too.
    pub fn send_command_to_all(&self, command: SessionCommand) {
        self.lock().standing = Some(command);
        for entry in self.list() {
            entry.send_command(command);
        }
        for entry in self.console_sessions() {
            entry.send_command(command);
        }
    }

    /// Ends the use of all backends at `endpoint` that logged in before `then`: their server is gone, even if the connections
    /// have not ended. The server `by` answers at the address now. Returns their number.
    pub fn lose_backends(&self, endpoint: &EndpointName, then: Instant, by: NodeId) -> usize {
        let then = wall_clock(then);
        self.lock().replaced.insert(endpoint.clone(), ReplacedServer { at: SystemTime::now(), by });
        let is_older = |entry: &SessionEntry, backend: &CurrentBackend| {
            backend.endpoint().name() == endpoint && login_time(entry, backend) < then
        };
        self.list().iter().filter(|entry| entry.lose_backend(|backend| is_older(entry, backend))).count()
    }

    /// By endpoint, the last other server that was found at the address.
    pub(crate) fn replaced_servers(&self) -> HashMap<EndpointName, ReplacedServer> {
        self.lock().replaced.clone()
    }

    /// Ends the use of backends at endpoints that have lost the role of writer, see [`SessionEntry::follow_writer_role`].
    pub fn end_writer_roles(&self, topology: &TopologySnapshot, now: Instant) {
        for entry in self.with_backends() {
            entry.follow_writer_role(topology, now);
        }
    }

    /// Sessions that may have a backend.
    pub(crate) fn with_backends(&self) -> Vec<Arc<SessionEntry>> {
        self.lock().by_pid.values().filter(|entry| entry.may_hold_backend()).cloned().collect()
    }

    /// Open transactions by listener and endpoint, as published each second.
    #[must_use]
    pub fn open_transactions(&self) -> Arc<[OpenTransactions]> {
        Arc::clone(&self.open_transactions.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Publishes `open`, and returns what was published before.
    pub(crate) fn publish_transactions(&self, open: Arc<[OpenTransactions]>) -> Arc<[OpenTransactions]> {
        let mut published = self.open_transactions.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *published, open)
    }

    /// Returns when no session remains.
    ///
    /// Cancel safe.
    pub async fn wait_until_empty(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.count() == 0 {
                return;
            }
            emptied.await;
        }
    }

    fn remove(&self, entry: &SessionEntry, own: Option<&EndpointName>) {
        let mut registry = self.lock();
        registry.by_pid.remove(&(entry.key.pid(), entry.id));
        if let Some(name) = own
            && let Some(count) = registry.on_endpoint.get_mut(name)
        {
            *count -= 1;
            if *count == 0 {
                registry.on_endpoint.remove(name);
            }
        }
        drop(registry);
        self.one_less();
    }

    /// Removes the entry of a console client.
    pub(crate) fn leave(&self, entry: &Arc<ConsoleSessionEntry>) {
        self.lock().console_sessions.retain(|other| !Arc::ptr_eq(other, entry));
        self.one_less();
    }

    fn one_less(&self) {
        if self.count.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.emptied.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, RegisteredSessions> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl ReplacedServer ===

impl ReplacedServer {
    /// True if the server was found after the login of `backend`, which may belong to either server.
    pub(crate) fn came_after_login(&self, entry: &SessionEntry, backend: &CurrentBackend) -> bool {
        login_time(entry, backend) < self.at
    }
}

// === impl Registered ===

impl std::ops::Deref for Registered {
    type Target = Arc<SessionEntry>;

    fn deref(&self) -> &Self::Target {
        &self.entry
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.sessions.remove(&self.entry, self.own.as_ref());
    }
}

/// Time of day at `then`, which is not in the future.
pub(in crate::frontend) fn wall_clock(then: Instant) -> SystemTime {
    SystemTime::now().checked_sub(then.elapsed()).unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        frontend::testing::{Stand, snapshot},
        route::RouteReason,
    };

    #[tokio::test]
    async fn a_lost_role_withdraws_the_sessions_of_the_route() {
        let now = Instant::now();
        for (topology, is_lost) in [
            ("p primary up primary", false),
            ("p primary down primary", false),
            ("p primary up standby", true),
            ("p primary down primary\nq primary up primary", true),
        ] {
            let stand = Stand::new("p primary up primary");
            let [written, named] = [(1, RouteReason::Writer), (2, RouteReason::Named)]
                .map(|(id, why)| stand.dedicated_session(id, why));
            stand.services.sessions.end_writer_roles(&snapshot(topology), now);
            let withdrawn = is_lost.then_some(SessionCommand::Withdraw);
            assert_eq!(written.pending_command(), withdrawn, "{topology}");
            assert_eq!(named.pending_command(), None, "{topology}");
            written.expel_late(now + Duration::from_secs(89));
            assert_eq!(written.pending_command(), withdrawn, "{topology}");
            written.expel_late(now + Duration::from_secs(90));
            assert_eq!(written.pending_command(), is_lost.then_some(SessionCommand::Expel), "{topology}");
        }
    }

    #[tokio::test]
    async fn a_replaced_server_is_remembered_for_later_logins() {
        let stand = Stand::new("p primary up primary");
        let session = stand.dedicated_session(1, RouteReason::Named);
        let sessions = &stand.services.sessions;
        let backend = session.current_backend().unwrap();
        assert!(sessions.replaced_servers().is_empty());
        let before = Instant::now() - Duration::from_secs(1);
        let (name, by) = (backend.endpoint().name(), NodeId { started_us: 7, address: None, port: None });
        assert_eq!(sessions.lose_backends(name, before, by), 0, "it logged in later");
        let replaced = sessions.replaced_servers()[name];
        assert!(replaced.came_after_login(&session, &backend) && replaced.by == by);
    }
}
