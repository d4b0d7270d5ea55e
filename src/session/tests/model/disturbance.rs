//! Disturbances in the middle of a client's requests: cancel requests, errors of a standby, and lost backends.

use super::{
    client::Client,
    excuses::{CANCELED, CONFLICT, LossExcuse},
    execute::Failure,
    pool::Backend,
    script::{Disturbance, Progress},
    world::World,
};
use crate::{client_error::ClientError, session::Pins, wire::TransactionStatus};

/// Limit on the progress of a client's requests.
#[derive(Clone, Copy)]
pub(super) struct Limit {
    pub(super) client: u64,
    /// Count of messages that servers process yet.
    pub(super) messages: usize,
    /// Count of bytes of responses read yet.
    pub(super) bytes: usize,
}

impl World {
    /// The client `at` sends bytes, and its requests stop at `progress`; then a disturbance happens.
    pub(super) fn disturb(
        &mut self,
        at: usize,
        bytes: &[u8],
        held: usize,
        progress: Progress,
        disturbance: Disturbance,
    ) {
        let client = &mut self.clients[at];
        let id = client.id;
        client.send(bytes, held);
        self.limit = Some(Limit { client: id, messages: progress.messages, bytes: progress.bytes });
        self.settle();
        self.limit = None;
        if let Some(at) = self.clients.iter().position(|client| client.id == id) {
            match disturbance {
                Disturbance::Cancel => self.cancel(at),
                Disturbance::Lose { goes_on } => self.break_connection(at, goes_on),
                Disturbance::Shutdown => self.shut_down(at),
                Disturbance::Refuse(code) => self.refuse_on_standby(at, code),
            }
        }
        self.settle();
        for client in &mut self.clients {
            if client.excuses.loss == LossExcuse::Running {
                client.excuses.loss = LossExcuse::None;
            }
        }
        self.pass_time();
    }

    // --- cancel requests

    /// A cancel request of the client, as the registry of sessions handles it.
    fn cancel(&mut self, at: usize) {
        let client = &mut self.clients[at];
        match client.backend {
            None if client.session.wants_backend() => {
                self.waiting.retain(|id| *id != client.id);
                let is_told = client.session.fail(ClientError::cancelled());
                client.excuses.refusals += usize::from(is_told);
            }
            None => {}
            Some(_) if client.is_sheltered => client.sheltered_cancels += 1,
            Some(number) => cancel_statement(client, &mut self.backends[number]),
        }
    }

    // --- errors of a standby

    fn refuse_on_standby(&mut self, at: usize, code: &'static str) {
        let client = &mut self.clients[at];
        let Some(number) = client.backend else { return };
        let server = &mut self.backends[number].server;
        if server.state.replayed.is_none() || !server.is_running() {
            return;
        }
        let message = if code == "40001" { CONFLICT } else { "a standby refuses the statement" };
        server.interrupt = Some(Failure(code, message.into()));
        // Within a transaction the client sees the error.
        client.excuses.conflicts += usize::from(client.session.status() != TransactionStatus::Idle);
    }

    // --- lost backends

    /// Breaks the connection of the client's backend. If the server `goes_on`, it executes what it has received.
    fn break_connection(&mut self, at: usize, goes_on: bool) {
        let Some(number) = self.clients[at].backend else { return };
        let server = &mut self.backends[number].server;
        if goes_on {
            server.budget = None;
            server.receive(&[]);
        }
        self.lose_backend(at);
    }

    /// The server of the client's backend shuts down.
    fn shut_down(&mut self, at: usize) {
        let Some(number) = self.clients[at].backend else { return };
        self.backends[number].server.shut_down();
    }

    /// Ends the use of a backend whose server has said its last.
    pub(super) fn lose_closed_backend(&mut self, at: usize) -> bool {
        let Some(number) = self.clients[at].backend else { return false };
        let server = &self.backends[number].server;
        let is_lost = server.is_lost && server.sent.is_empty();
        if is_lost {
            self.lose_backend(at);
        }
        is_lost
    }

    /// The connection to the client's backend is lost.
    fn lose_backend(&mut self, at: usize) {
        let client = &mut self.clients[at];
        let number = client.backend.take().expect("a backend");
        let backend = &mut self.backends[number];
        backend.server.sent.clear();
        backend.server.close();
        std::mem::take(&mut backend.server.events).into_iter().for_each(|event| client.note(event));
        let is_standby = backend.server.state.replayed.is_some();
        backend.replace(&self.cluster, client.startup);
        client.from_server.clear();
        (client.is_sheltered, client.sheltered_cancels, client.keeps_sequence) = (false, 0, false);
        let must_go_on = must_go_on(client, is_standby);
        let is_open = client.session.status() == TransactionStatus::Open;
        let goes_on = client.session.on_backend_lost(self.now);
        assert!(goes_on || !must_go_on, "client {}: the session ends with its backend", client.id);
        client.received.extend(client.session.to_client().map(std::mem::take).unwrap_or_default());
        if !goes_on {
            return self.end_lost(at);
        }
        client.excuses.loss = LossExcuse::Running;
        client.note_loss();
        // Lost state is told behind all other errors.
        client.excuses.loss = if is_open { LossExcuse::Transaction } else { LossExcuse::State };
    }

    /// The session of a client ends with its backend; a new client takes its place.
    fn end_lost(&mut self, at: usize) {
        let new = self.new_client();
        let mut client = std::mem::replace(&mut self.clients[at], new);
        self.waiting.retain(|id| *id != client.id);
        client.compare(false);
        client.direct.close();
    }
}

/// True if the session of a client survives the loss of its backend.
fn must_go_on(client: &Client, is_standby: bool) -> bool {
    let session = &client.session;
    let is_free =
        session.pins() == Pins::NONE && session.may_speak_to_client() && !session.terminate_received();
    let is_at_rest = session.status() == TransactionStatus::Idle && session.is_settled();
    is_free && (!is_standby || (is_at_rest && session.is_idle()))
}

/// A cancel request reaches the backend of a client.
pub(super) fn cancel_statement(client: &mut Client, backend: &mut Backend) {
    assert_eq!(backend.user, Some(client.id), "a cancel request reaches another client's backend");
    if backend.server.is_running() {
        client.excuses.cancels += 1;
        backend.server.interrupt = Some(Failure("57014", CANCELED.into()));
    }
}
