//! Driver of the sessions: buffers, leases and returns, as in the relay.

use std::time::{Duration, Instant};

use super::{
    client::Client,
    disturbance::cancel_statement,
    pool::Backend,
    script::{ReplayMode, Setup},
    world::{EPOCH, World},
};
use crate::{
    names::EndpointName,
    route::{RouteNeed, RouteReason, RouteSide},
    session::{AssignedBackend, FreshnessCheck},
};

impl World {
    /// Runs a turn of a client's driver; true if anything moved.
    pub(super) fn turn(&mut self, at: usize) -> bool {
        self.now += Duration::from_millis(1);
        let (now, setup) = (self.now, self.setup);
        let mut limit = self.limit.filter(|limit| limit.client == self.clients[at].id);
        let client = &mut self.clients[at];
        let room = setup.client_buffer - client.buffer.len();
        let read = if client.session.terminate_received() {
            0
        } else {
            room.min(setup.step).min(client.socket.len())
        };
        client.buffer.extend(client.socket.drain(..read));
        let mut moved_bytes = read;
        let is_full = client.buffer.len() == setup.client_buffer;
        let consumed =
            client.session.on_client(now, &client.buffer, is_full).expect("messages of the protocol");
        let mut bytes = client.session.to_backend().map(std::mem::take).unwrap_or_default();
        bytes.extend(client.buffer.drain(..consumed.forward));
        client.buffer.drain(..consumed.discard);
        moved_bytes += consumed.forward + consumed.discard + bytes.len();
        match client.backend {
            Some(backend) => {
                let server = &mut self.backends[backend].server;
                if server.state.replayed.is_some() && setup.replay == ReplayMode::AtOnce {
                    server.state.replayed = Some(self.cluster.borrow().log.len());
                }
                server.budget = limit.map(|limit| limit.messages);
                server.receive(&bytes);
                std::mem::take(&mut server.events).into_iter().for_each(|event| client.note(event));
                if let (Some(limit), Some(rest)) = (&mut limit, server.budget) {
                    limit.messages = rest;
                }
                let max = limit.map_or(usize::MAX, |limit| limit.bytes);
                let (read, consumed) = hear(client, &mut self.backends[backend], setup, now, max);
                if let Some(limit) = &mut limit {
                    limit.bytes -= read;
                }
                moved_bytes += read + consumed;
                if client.is_sheltered && !client.session.is_preparing() {
                    client.is_sheltered = false;
                    if std::mem::take(&mut client.sheltered_cancels) > 0 {
                        cancel_statement(client, &mut self.backends[backend]);
                    }
                }
            }
            None => assert!(bytes.is_empty(), "client {}: bytes for no backend: {bytes:?}", client.id),
        }
        client.received.extend(client.session.to_client().map(std::mem::take).unwrap_or_default());
        while client.session.poll_report().is_some() || client.session.poll_pin().is_some() {}
        client.session.poll_position();
        client.session.poll_wrote();
        client.session.poll_rerun();
        client.session.poll_fate();
        assert!(client.session.broken().is_none(), "client {}: {:?}", client.id, client.session.broken());
        self.moved_bytes += moved_bytes;
        if limit.is_some() {
            self.limit = limit;
        } else if moved_bytes == 0 && self.lose_closed_backend(at) {
            return true;
        }
        let leased = self.lease(at);
        let returned = self.give_back(at);
        moved_bytes > 0 || leased || returned
    }

    fn lease(&mut self, at: usize) -> bool {
        let client = &mut self.clients[at];
        if !client.session.wants_backend() {
            return false;
        }
        assert!(client.backend.is_none(), "client {} has a backend", client.id);
        if client.session.is_apart() {
            return self.lease_apart(at);
        }
        let id = client.id;
        if !self.waiting.contains(&id) {
            self.waiting.push(id);
        }
        let (side, reason, freshness) = self.decide(at);
        let is_on_side = |backend: &Backend| backend.is_reader() == (side == RouteSide::Reader);
        let free = |at: &usize| self.backends[*at].is_free_for(None) && is_on_side(&self.backends[*at]);
        let free: Vec<_> = (0..self.backends.len()).filter(free).collect();
        let is_next = self.waiting.iter().find(|id| self.waits_for(**id) == side) == Some(&id);
        if !is_next || free.is_empty() {
            return false;
        }
        self.waiting.retain(|waiting| *waiting != id);
        let number = free[self.leases % free.len()];
        self.attach(at, number, reason, freshness);
        true
    }

    /// Leases a backend with the start-up settings of the client.
    fn lease_apart(&mut self, at: usize) -> bool {
        let client = &self.clients[at];
        let id = client.id;
        let free = (0..self.backends.len()).find(|at| self.backends[*at].is_free_for(Some(id)));
        let number = free.unwrap_or_else(|| {
            let number = self.backends.len();
            self.backends.push(Backend::apart(number, &self.cluster, client));
            number
        });
        self.waiting.retain(|waiting| *waiting != id);
        self.attach(at, number, RouteReason::Writer, FreshnessCheck::Enough);
        true
    }

    /// Side that a waiting client waits for.
    fn waits_for(&self, id: u64) -> RouteSide {
        let at = self.clients.iter().position(|client| client.id == id).expect("a client that waits");
        self.decide(at).0
    }

    /// Decides on the side of the backend for the client, as the router of the listener does.
    fn decide(&self, at: usize) -> (RouteSide, RouteReason, FreshnessCheck) {
        let session = &self.clients[at].session;
        let RouteNeed { side, reason } = session.need();
        let floor = session.floor(self.now).filter(|_| side == RouteSide::Reader);
        let Some(floor) = floor else { return (side, reason, FreshnessCheck::Enough) };
        let fresh = |backend: &Backend| backend.fresh_as_of.is_some_and(|fresh| fresh >= floor);
        let mut readers = self.backends.iter().filter(|backend| backend.is_reader());
        match self.setup.replay {
            ReplayMode::Probed if readers.all(fresh) => (side, reason, FreshnessCheck::Enough),
            ReplayMode::Probed => (RouteSide::Writer, RouteReason::NotFresh, FreshnessCheck::Enough),
            ReplayMode::Asked | ReplayMode::AtOnce => {
                let lsn = u64::try_from(self.cluster.borrow().log.len()).expect("few");
                (side, reason, FreshnessCheck::Ask { lsn })
            }
        }
    }

    fn attach(&mut self, at: usize, number: usize, reason: RouteReason, freshness: FreshnessCheck) {
        self.leases += 1;
        let client = &mut self.clients[at];
        let backend = &mut self.backends[number];
        let untouched = client.last_backend == Some(number) && backend.last_user == Some(client.id);
        (backend.user, backend.last_user) = (Some(client.id), Some(client.id));
        (client.backend, client.last_backend) = (Some(number), Some(number));
        let tracked_state = backend.tracked_state.take().expect("a free backend has its state");
        if self.setup.readers == 0 {
            client.session.attach(tracked_state, untouched);
        } else {
            let side = if backend.is_reader() { RouteSide::Reader } else { RouteSide::Writer };
            let endpoint = &EndpointName::new("some").expect("a name");
            let assigned = AssignedBackend { side, reason, endpoint, freshness };
            client.session.assign(tracked_state, untouched, assigned);
        }
        client.is_sheltered = client.session.is_preparing();
    }

    fn give_back(&mut self, at: usize) -> bool {
        let client = &mut self.clients[at];
        let Some(number) = client.backend else { return false };
        let backend = &mut self.backends[number];
        if client.session.is_settled() && !backend.server.is_closed {
            // Nothing is left but a Flush.
            backend.server.budget = None;
            backend.server.receive(&[]);
        }
        if !client.from_server.is_empty() || !backend.server.sent.is_empty() || backend.server.is_lost {
            return false;
        }
        let compares = client.session.wants_catalogue();
        if compares {
            client.session.begin_catalogue();
            assert!(backend.server.is_at_rest(), "client {}: the catalog is compared in between", client.id);
            // The comparison is a Query.
            backend.server.state.unnamed = None;
            assert!(self.database.is_epoch(EPOCH, self.database.instant()));
            client.session.on_catalogue(true);
        }
        if client.session.poll_sequence_moved() {
            client.keeps_sequence = true;
        } else if !client.keeps_sequence {
            client.session.release_sequences();
        }
        let is_spoiled = client.session.spoils_backend();
        let Some(tracked_state) = client.session.detach() else { return compares };
        client.backend = None;
        if is_spoiled || !tracked_state.is_reusable() {
            backend.replace(&self.cluster, client.startup);
        } else {
            backend.check_returned(client.id);
            (backend.tracked_state, backend.user) = (Some(tracked_state), None);
        }
        true
    }
}

/// Presents the server's messages to the session, at most `max` further bytes; returns the counts of bytes read and of bytes
/// consumed.
pub(super) fn hear(
    client: &mut Client,
    backend: &mut Backend,
    setup: Setup,
    now: Instant,
    max: usize,
) -> (usize, usize) {
    let sent = &mut backend.server.sent;
    let read = (setup.server_buffer - client.from_server.len()).min(setup.step).min(sent.len()).min(max);
    client.from_server.extend(sent.drain(..read));
    let is_full = client.from_server.len() == setup.server_buffer;
    let consumed = client.session.on_backend(now, &client.from_server, is_full);
    let consumed = consumed.expect("messages of the protocol");
    client.received.extend(client.from_server.drain(..consumed.forward));
    client.from_server.drain(..consumed.discard);
    (read, consumed.forward + consumed.discard)
}
