//! Backends of the pool, and the end of sessions.

use std::time::Instant;

use super::{
    client::Client,
    driver::hear,
    script::query,
    server::Server,
    state::{Block, SharedCluster, Startup, View},
    world::{World, parameters},
};
use crate::session::TrackedBackendState;

/// Backend of the pool.
pub(super) struct Backend {
    pub(super) server: Server,
    /// State known of a free backend.
    pub(super) tracked_state: Option<Box<TrackedBackendState>>,
    /// Client that has leased the backend.
    pub(super) user: Option<u64>,
    pub(super) last_user: Option<u64>,
    /// Client whose start-up settings the login had: no other client may lease the backend.
    pub(super) reserved_for: Option<u64>,
    number: usize,
    /// A standby shows all commits before.
    pub(super) fresh_as_of: Option<Instant>,
}

/// Common beginning of internal statement names.
const INTERNAL: &str = "__gatekeeper_";

// === impl Backend ===

impl Backend {
    /// Creates a backend. Names of internal statements of the backend 0 are known to the scripts.
    pub(super) fn new(number: usize, cluster: &SharedCluster) -> Self {
        let key = [u8::try_from(number).expect("few"); 16];
        let tracked_state = Box::new(TrackedBackendState::new(parameters(), key));
        Self {
            server: Server::new(cluster, &[]),
            tracked_state: Some(tracked_state),
            user: None,
            last_user: None,
            reserved_for: None,
            number,
            fresh_as_of: None,
        }
    }

    /// Creates a backend with the start-up settings of the `client`.
    pub(super) fn apart(number: usize, cluster: &SharedCluster, client: &Client) -> Self {
        let server = Server::new(cluster, client.startup);
        Self { server, reserved_for: Some(client.id), ..Self::new(number, cluster) }
    }

    /// Creates a backend of a read pool.
    pub(super) fn reader(number: usize, cluster: &SharedCluster) -> Self {
        let mut new = Self::new(number, cluster);
        new.server.state.replayed = Some(cluster.borrow().log.len());
        new
    }

    /// Puts a new connection to the same server in place of the backend, with the settings `startup` for a client apart.
    pub(super) fn replace(&mut self, cluster: &SharedCluster, startup: Startup) {
        let startup = if self.reserved_for.is_some() { startup } else { &[] };
        let mut server = Server::new(cluster, startup);
        server.state.replayed = self.server.state.replayed;
        let (reserved_for, fresh_as_of) = (self.reserved_for, self.fresh_as_of);
        *self = Self { server, reserved_for, fresh_as_of, ..Self::new(self.number, cluster) };
    }

    /// True for a backend of a read pool.
    pub(super) fn is_reader(&self) -> bool {
        self.server.state.replayed.is_some()
    }

    /// Checks that a returned backend holds settings and shared statements alone.
    pub(super) fn check_returned(&self, client: u64) {
        let (server, name) = (&self.server, format!("the backend returned by client {client}"));
        assert!(server.is_at_rest() && !server.is_closed, "{name} is at rest");
        let left = View { settings: self.server.state.view().settings, ..View::default() };
        assert_eq!(server.state.view(), left, "{name}");
        assert!(server.portals.is_empty(), "{name} has portals");
        let names = server.state.prepared.keys();
        let strays: Vec<_> = names.filter(|name| !name.starts_with(INTERNAL)).collect();
        assert!(strays.is_empty(), "{name} has statements under names of the client: {strays:?}");
    }

    /// True if a client may lease the backend; `apart` is a client that needs its own start-up settings there.
    pub(super) fn is_free_for(&self, apart: Option<u64>) -> bool {
        self.user.is_none() && self.reserved_for == apart
    }

    /// Resets the backend, as the pool does.
    fn reset(&mut self) {
        if self.server.state.block != Block::None {
            self.server.receive(&query("ROLLBACK"));
        }
        self.server.receive(&query("DISCARD ALL"));
        self.server.sent.clear();
        self.server.events.clear();
        assert_eq!(self.server.state.view(), View::default(), "after a reset");
        assert!(self.server.is_at_rest(), "after a reset");
        (self.user, self.last_user) = (None, None);
    }
}

// === sessions that end ===

impl World {
    /// True if the session of a client is over.
    pub(super) fn is_over(&self, at: usize) -> bool {
        let client = &self.clients[at];
        let is_server_closed = client.backend.is_some_and(|number| {
            let server = &self.backends[number].server;
            server.is_closed && !server.is_lost && server.sent.is_empty() && client.from_server.is_empty()
        });
        if client.session.terminate_received() {
            return client.session.may_leave() || is_server_closed;
        }
        assert!(!is_server_closed, "client {}: the server has closed the connection", client.id);
        let is_read = client.socket.is_empty() && client.buffer.len() < self.setup.client_buffer;
        client.is_closing && is_read && !client.session.contains_terminate(&client.buffer)
    }

    /// Ends the session of a client: the backend is reset or closed.
    pub(super) fn finish(&mut self, at: usize) {
        let mut client = self.clients.remove(at);
        self.waiting.retain(|id| *id != client.id);
        let is_farewell = client.session.terminate_received();
        client.compare(is_farewell);
        if let Some(number) = client.backend {
            let is_reusable = !self.backends[number].server.is_closed && self.recover(&mut client, number);
            let tracked_state = client.session.abandon().filter(|tracked_state| tracked_state.is_reusable());
            let backend = &mut self.backends[number];
            match tracked_state {
                Some(mut tracked_state)
                    if is_reusable && !client.session.spoils_backend() && backend.reserved_for.is_none() =>
                {
                    backend.reset();
                    tracked_state.forget(parameters());
                    backend.tracked_state = Some(tracked_state);
                }
                _ => {
                    backend.server.close();
                    backend.replace(&self.cluster, client.startup);
                }
            }
        }
        client.direct.close();
        Self::check_rows(&client, is_farewell);
    }

    /// Brings the backend of an ended session to rest; false if the backend must be closed.
    fn recover(&mut self, client: &mut Client, number: usize) -> bool {
        let backend = &mut self.backends[number];
        let may_speak = client.session.may_speak_to_backend();
        let mut last = Vec::new();
        if !(client.session.wind_up(self.now, &mut last) && may_speak) {
            return false;
        }
        backend.server.receive(&last);
        loop {
            let (read, consumed) = hear(client, backend, self.setup, self.now, usize::MAX);
            let mut more = Vec::new();
            let can_end = client.session.wind_up(self.now, &mut more);
            if client.session.is_settled() && more.is_empty() && backend.server.sent.is_empty() {
                backend.server.events.clear();
                return can_end && client.from_server.is_empty();
            }
            backend.server.receive(&more);
            if read + consumed == 0 && more.is_empty() {
                backend.server.events.clear();
                return false;
            }
        }
    }

    /// Compares the rows committed by a client with those of the dedicated server: no work is committed that the client
    /// has not committed.
    fn check_rows(client: &Client, is_farewell: bool) {
        let table = client.table();
        let pooled = client.rows();
        let direct = client.direct.rows(&table);
        let is_same = if is_farewell { pooled == direct } else { pooled <= direct };
        let is_right = client.has_lost_state || is_same;
        assert!(is_right, "client {} has committed {pooled} rows instead of {direct}", client.id);
    }
}
