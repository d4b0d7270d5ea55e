//! Clients and backends of one pool, and the actions of a script.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    client::Client,
    disturbance::Limit,
    pool::Backend,
    script::{Action, End, Script, Setup, query},
    state::{SharedCluster, Startup},
};
use crate::{
    handshake::Parameters,
    route::SplitSettings,
    session::{
        CatalogInstant, DatabaseState, ReportedParameters, RouteOptions, Session, SessionOptions,
        SettingValues, TrackedBackendState,
    },
    sql::{StatefulNames, StatefulNamesBuilder},
};

/// Rounds without a byte moved; a driver with more rounds spins.
const MAX_IDLE_ROUNDS: usize = 50;
/// Epoch of the catalog.
pub(super) const EPOCH: &[u8] = b"1";

/// Pool with its backends and clients.
pub(super) struct World {
    pub(super) database: Arc<DatabaseState>,
    pub(super) cluster: SharedCluster,
    pub(super) backends: Vec<Backend>,
    pub(super) clients: Vec<Client>,
    pub(super) setup: Setup,
    /// Clients that wait for a backend, in order.
    pub(super) waiting: Vec<u64>,
    pub(super) leases: usize,
    clients_so_far: u64,
    /// Bytes moved so far.
    pub(super) moved_bytes: usize,
    /// A session without a sequence read gives up the backend for other clients.
    releases_sequences: bool,
    /// Time of the driver.
    pub(super) now: Instant,
    /// Limit on the progress of a client.
    pub(super) limit: Option<Limit>,
}

/// Parameters reported by each backend at the login.
pub(super) fn parameters() -> Arc<Parameters> {
    let mut parameters = Parameters::default();
    parameters.report(b"application_name", b"");
    parameters.report(b"client_encoding", b"UTF8");
    parameters.report(b"standard_conforming_strings", b"on");
    Arc::new(parameters)
}

// === impl World ===

impl World {
    /// Runs a script; panics at the first difference.
    pub(super) fn run(script: &Script) {
        let mut world = Self::new(script.setup, reads_sequences(&script.actions));
        for action in &script.actions {
            world.act(action);
        }
        world.end();
    }

    pub(super) fn new(setup: Setup, reads_sequences: bool) -> Self {
        let database = DatabaseState::new(StatefulNames::default());
        database.set_catalogue(StatefulNamesBuilder::new(), EPOCH, CatalogInstant::default());
        database.set_strict_isolation(setup.is_strict);
        let cluster = SharedCluster::default();
        let writers = (0..setup.backends).map(|number| Backend::new(number, &cluster));
        let readers = (setup.backends..).take(setup.readers);
        let backends = writers.chain(readers.map(|number| Backend::reader(number, &cluster))).collect();
        let mut world = Self {
            database: Arc::new(database),
            cluster,
            backends,
            clients: Vec::new(),
            setup,
            waiting: Vec::new(),
            leases: 0,
            clients_so_far: 0,
            moved_bytes: 0,
            releases_sequences: !reads_sequences,
            now: Instant::now(),
            limit: None,
        };
        if reads_sequences {
            world.read_sequences();
        }
        for _ in 0..setup.clients {
            let client = world.new_client();
            world.clients.push(client);
        }
        world
    }

    /// An earlier session has read a sequence: from then on every session keeps its backend for sequences.
    fn read_sequences(&self) {
        let mut session = self.new_session(&[]);
        let text = query("SELECT lastval()");
        session.on_client(Instant::now(), &text, false).expect("a message");
        session.attach(Box::new(TrackedBackendState::new(parameters(), [9; 16])), false);
        session.on_client(Instant::now(), &text, false).expect("a message");
    }

    fn new_session(&self, startup: Startup) -> Session {
        let known = ReportedParameters::new(parameters());
        let set = |values: SettingValues, (name, value): &(&str, &str)| {
            values.with(name.as_bytes(), Some(value.as_bytes()))
        };
        let values = startup.iter().fold(SettingValues::default(), set);
        let mut session =
            Session::shared(Arc::clone(&self.database), known, values, SessionOptions::default());
        if self.setup.readers > 0 {
            session.split(Arc::new(SplitSettings::default()), RouteOptions::default());
        }
        session
    }

    pub(super) fn new_client(&mut self) -> Client {
        self.clients_so_far += 1;
        // Every other client has start-up settings.
        let startup = if self.clients_so_far.is_multiple_of(2) { self.setup.startup } else { &[] };
        let session = self.new_session(startup);
        Client::new(self.clients_so_far, session, &self.cluster, startup)
    }

    fn act(&mut self, action: &Action) {
        match action {
            Action::Say { client, request, held, is_impatient } => {
                self.say(*client, |me| request.encode(me), *held);
                if *is_impatient {
                    self.be_impatient();
                }
            }
            Action::Leave { client, request, end } => {
                let number = *client;
                let client = &mut self.clients[number];
                let bytes = request.as_ref().map(|request| request.encode(client.id)).unwrap_or_default();
                match end {
                    End::Terminate => client.send(&[bytes, super::super::frame(b'X', b"")].concat(), 0),
                    End::Close { unsent } => client.send(&bytes, *unsent),
                }
                client.is_closing = true;
                let id = client.id;
                let new = self.new_client();
                self.clients.push(new);
                let last = self.clients.len() - 1;
                self.clients.swap(number, last);
                self.settle();
                self.pass_time();
                // A client that waits for a backend leaves later.
                debug_assert!(id <= self.clients_so_far);
            }
            Action::Expire => self.database.expire_catalogue(),
            Action::Disturb { client, request, held, progress, disturbance } => {
                let bytes = request.encode(self.clients[*client].id);
                self.disturb(*client, &bytes, *held, *progress, *disturbance);
            }
            Action::Replay => self.replay(),
            Action::Probe => self.probe(),
        }
    }

    /// The read pools replay all commits.
    fn replay(&mut self) {
        let end = self.cluster.borrow().log.len();
        for backend in self.backends.iter_mut().filter(|backend| backend.is_reader()) {
            backend.server.state.replayed = Some(end);
        }
    }

    /// Samples the writer, and finds the read pools that have replayed all of the sample.
    fn probe(&mut self) {
        let end = self.cluster.borrow().log.len();
        for backend in self.backends.iter_mut().filter(|backend| backend.is_reader()) {
            if backend.server.state.replayed == Some(end) {
                backend.fresh_as_of = Some(self.now);
            }
        }
        self.now += Duration::from_millis(1);
    }

    /// The client `client` sends bytes, and holds the last ones.
    pub(super) fn say(&mut self, client: usize, bytes: impl FnOnce(u64) -> Vec<u8>, held: usize) {
        let client = &mut self.clients[client];
        client.send(&bytes(client.id), held);
        self.settle();
        self.pass_time();
    }

    /// Ends all waits of a limited time.
    pub(super) fn be_impatient(&mut self) {
        for client in &mut self.clients {
            if client.session.is_waiting_for_more() {
                client.session.on_batch_timeout();
            }
        }
        self.settle();
    }

    /// The pause of sessions that have moved a sequence ends, if other sessions wait.
    pub(super) fn pass_time(&mut self) {
        if self.releases_sequences && !self.waiting.is_empty() {
            self.clients.iter_mut().for_each(|client| client.keeps_sequence = false);
            self.settle();
        }
    }

    /// Ends all sessions; every session has all answers before.
    pub(super) fn end(&mut self) {
        for client in &mut self.clients {
            client.send(&[], 0);
        }
        self.settle();
        while !self.clients.is_empty() {
            self.be_impatient();
            self.pass_time();
            if self.clients.is_empty() {
                break;
            }
            let served = self.clients.iter().position(|client| !client.session.wants_backend());
            let at = served.expect("a session that does not wait holds every backend");
            let client = &mut self.clients[at];
            assert!(!client.is_closing, "client {} has left, and its session stays", client.id);
            client.send(&super::super::frame(b'X', b""), 0);
            client.is_closing = true;
            self.settle();
        }
        assert!(
            self.backends.iter().all(|backend| backend.user.is_none()),
            "every backend is free or closed"
        );
    }

    /// Does what the driver does until nothing moves.
    pub(super) fn settle(&mut self) {
        let (mut idle_rounds, mut before) = (0, self.moved_bytes);
        loop {
            let mut moved = false;
            let mut at = 0;
            while at < self.clients.len() {
                moved |= self.turn(at);
                if self.is_over(at) {
                    self.finish(at);
                    moved = true;
                } else {
                    at += 1;
                }
            }
            if !moved {
                break;
            }
            idle_rounds = if self.moved_bytes == before { idle_rounds + 1 } else { 0 };
            before = self.moved_bytes;
            assert!(idle_rounds < MAX_IDLE_ROUNDS, "the session spins, with {} leases so far", self.leases);
        }
        let limited = self.limit.map(|limit| limit.client);
        for client in &mut self.clients {
            let may_wait = client.session.wants_backend()
                || !client.socket.is_empty()
                || client.session.is_waiting_for_more()
                || limited == Some(client.id);
            client.compare(!may_wait);
        }
    }
}

/// True if a request reads a sequence.
fn reads_sequences(actions: &[Action]) -> bool {
    actions.iter().any(|action| match action {
        Action::Say { request, .. }
        | Action::Leave { request: Some(request), .. }
        | Action::Disturb { request, .. } => request.contains("lastval"),
        _ => false,
    })
}
