//! Dedicated server of a client: the reference for all answers.

use std::collections::BTreeMap;

use super::{
    client::check,
    expected::Expected,
    faults::{Fault, Faults},
    server::{Event, Server},
    state::{SharedCluster, Startup},
};
use crate::wire::{Frame, Speaker};

/// Dedicated server that receives all bytes of a client.
pub(super) struct Direct {
    server: Server,
    expected: Expected,
    startup: Startup,
    /// All bytes of the client.
    log: Vec<u8>,
    /// Count of bytes that the server has.
    fed: usize,
    faults: BTreeMap<usize, Fault>,
    /// Model after each ReadyForQuery, by the count of messages written.
    history: Vec<(usize, Expected)>,
}

// === impl Direct ===

impl Direct {
    pub(super) fn new(startup: Startup) -> Self {
        let server = Server::new(&SharedCluster::default(), startup);
        let expected = Expected::new(startup);
        let (log, faults, history) = (Vec::new(), BTreeMap::new(), vec![(0, expected.clone())]);
        Self { server, expected, startup, log, fed: 0, faults, history }
    }

    /// Receives bytes of the client.
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        self.log.extend_from_slice(bytes);
        self.feed();
    }

    /// Adds a fault ahead of the message `at` of the output, and begins anew.
    pub(super) fn add_fault(&mut self, at: usize, fault: Fault) {
        self.faults.insert(at, fault);
        let fresh = Self::new(self.startup);
        let (log, faults) = (std::mem::take(&mut self.log), std::mem::take(&mut self.faults));
        *self = Self { log, faults, ..fresh };
        self.server.faults = Faults::new(self.faults.clone());
        self.feed();
    }

    /// True for a fault ahead of the message `at` of the output.
    pub(super) fn has_fault(&self, at: usize) -> bool {
        self.faults.contains_key(&at)
    }

    fn feed(&mut self) {
        while let Some(frame) =
            Frame::read(Speaker::Client, &self.log[self.fed..]).expect("messages of the protocol")
        {
            let message = frame.as_bytes();
            self.fed += message.len();
            let readies = self.server.faults.readies();
            self.server.receive(message);
            self.note_events(readies);
        }
        let readies = self.server.faults.readies();
        self.server.lose_early();
        self.note_events(readies);
    }

    /// Compares the server with the model; `readies` is the count of ReadyForQuery before.
    fn note_events(&mut self, readies: usize) {
        for event in std::mem::take(&mut self.server.events) {
            if matches!(event, Event::Lost) {
                self.expected = self.history.last().expect("the first model").1.clone();
                self.expected.lost();
            } else {
                check(&mut self.expected, event, "the dedicated server");
            }
        }
        if self.server.faults.readies() > readies {
            self.history.push((self.server.faults.written(), self.expected.clone()));
        }
    }

    /// Model behind the last ReadyForQuery among the first `count` messages of the output.
    pub(super) fn expected_at(&self, count: usize) -> Expected {
        let known = self.history.iter().rfind(|(written, _)| *written <= count);
        known.expect("the first model").1.clone()
    }

    /// Output with bytes not sent yet.
    pub(super) fn output(&self) -> Vec<u8> {
        self.server.output()
    }

    /// Output that the client must have.
    pub(super) fn sent(&self) -> &[u8] {
        &self.server.sent
    }

    /// Ends the connection.
    pub(super) fn close(&mut self) {
        self.server.close();
    }

    /// Count of committed rows of a table.
    pub(super) fn rows(&self, table: &str) -> i64 {
        self.server.cluster.borrow().rows.get(table).copied().unwrap_or(0)
    }
}
