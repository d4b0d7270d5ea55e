//! Driver of the sessions: buffers, leases and returns, as in the relay.

use std::time::Instant;

use super::{
    client::Client,
    pool::Backend,
    script::Setup,
    world::{EPOCH, World},
};

impl World {
    /// Runs a turn of a client's driver; true if anything moved.
    pub(super) fn turn(&mut self, at: usize) -> bool {
        let now = Instant::now();
        let setup = self.setup;
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
                server.receive(&bytes);
                std::mem::take(&mut server.events).into_iter().for_each(|event| client.note(event));
                moved_bytes += hear(client, &mut self.backends[backend], setup);
            }
            None => assert!(bytes.is_empty(), "client {}: bytes for no backend", client.id),
        }
        client.received.extend(client.session.to_client().map(std::mem::take).unwrap_or_default());
        while client.session.poll_report().is_some() || client.session.poll_pin().is_some() {}
        assert!(client.session.broken().is_none(), "client {}: {:?}", client.id, client.session.broken());
        assert!(client.session.fatal().is_none(), "client {}", client.id);
        self.moved_bytes += moved_bytes;
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
        if !self.waiting.contains(&client.id) {
            self.waiting.push(client.id);
        }
        let free: Vec<_> =
            (0..self.backends.len()).filter(|at| self.backends[*at].is_free_for(None)).collect();
        if self.waiting[0] != client.id || free.is_empty() {
            return false;
        }
        self.waiting.remove(0);
        let number = free[self.leases % free.len()];
        self.attach(at, number);
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
        self.attach(at, number);
        true
    }

    fn attach(&mut self, at: usize, number: usize) {
        self.leases += 1;
        let client = &mut self.clients[at];
        let backend = &mut self.backends[number];
        let untouched = client.last_backend == Some(number) && backend.last_user == Some(client.id);
        (backend.user, backend.last_user) = (Some(client.id), Some(client.id));
        (client.backend, client.last_backend) = (Some(number), Some(number));
        client.session.attach(backend.tracked_state.take().expect("a free backend has its state"), untouched);
    }

    fn give_back(&mut self, at: usize) -> bool {
        let client = &mut self.clients[at];
        let Some(number) = client.backend else { return false };
        let backend = &mut self.backends[number];
        if !client.from_server.is_empty() || !backend.server.sent.is_empty() {
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
        backend.check_returned(client.id);
        if is_spoiled || !tracked_state.is_reusable() {
            *backend = match backend.reserved_for {
                Some(_) => Backend::apart(number, &self.cluster, client),
                None => Backend::new(number, &self.cluster),
            };
        } else {
            (backend.tracked_state, backend.user) = (Some(tracked_state), None);
        }
        true
    }
}

/// Presents the server's messages to the session; returns the count of bytes moved.
pub(super) fn hear(client: &mut Client, backend: &mut Backend, setup: Setup) -> usize {
    let sent = &mut backend.server.sent;
    let read = (setup.server_buffer - client.from_server.len()).min(setup.step).min(sent.len());
    client.from_server.extend(sent.drain(..read));
    let is_full = client.from_server.len() == setup.server_buffer;
    let consumed = client.session.on_backend(Instant::now(), &client.from_server, is_full);
    let consumed = consumed.expect("messages of the protocol");
    client.received.extend(client.from_server.drain(..consumed.forward));
    client.from_server.drain(..consumed.discard);
    read + consumed.forward + consumed.discard
}
