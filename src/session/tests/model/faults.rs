//! Faults of a dedicated server: what the client of the pooled session has been told of a lost backend, of a canceled
//! statement or of a missing backend happens there, too, at the same message of the output.

use std::collections::BTreeMap;

use super::{
    execute::Failure,
    server::{Event, Server, Step},
    state::Block,
};

/// Faults of a server, by the count of messages written before.
#[derive(Default)]
pub(super) struct Faults {
    by_position: BTreeMap<usize, Fault>,
    /// Count of messages written.
    written: usize,
    /// Count of ReadyForQuery written.
    readies: usize,
    /// Fault that has cut the running message short.
    cut: Option<Fault>,
}

#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) kind: FaultKind,
    /// Body of the ErrorResponse.
    pub(super) error: Vec<u8>,
}

#[derive(Clone, Debug)]
pub(super) enum FaultKind {
    /// The statement fails.
    Statement(Failure),
    /// The request fails, whatever it is.
    Request,
    /// The server sends no warning.
    NoWarning,
    /// The running unit and the open transaction are lost; `block` is the client's transaction behind the unit. `is_early`:
    /// the client was told ahead of its next message.
    Loss { block: Block, fate: Option<LossFate>, is_early: bool },
}

/// Rows of a table behind a loss.
#[derive(Clone, Debug)]
pub(super) struct LossFate {
    pub(super) table: String,
    pub(super) rows: i64,
    /// Values of sequences, which no rollback takes back.
    pub(super) sequences: BTreeMap<String, i64>,
    /// The client was told that nothing took effect.
    pub(super) is_rolled_back: bool,
}

// === impl Faults ===

impl Faults {
    pub(super) fn new(by_position: BTreeMap<usize, Fault>) -> Self {
        Self { by_position, ..Self::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_position.is_empty()
    }

    /// Count of messages written.
    pub(super) fn written(&self) -> usize {
        self.written
    }

    /// Count of ReadyForQuery written.
    pub(super) fn readies(&self) -> usize {
        self.readies
    }

    /// Notes a message about to be written; false for a message that a loss takes away.
    pub(super) fn note_message(&mut self, tag: u8) -> bool {
        if self.cut.is_none() {
            self.cut = self.take(|kind| matches!(kind, FaultKind::Loss { .. }));
        }
        if self.cut.is_some() {
            return false;
        }
        self.written += 1;
        self.readies += usize::from(tag == b'Z');
        true
    }

    /// Takes the fault of the next message, if `is_meant`.
    fn take(&mut self, is_meant: impl Fn(&FaultKind) -> bool) -> Option<Fault> {
        let fault = self.by_position.get(&self.written).filter(|fault| is_meant(&fault.kind));
        fault.is_some().then(|| self.by_position.remove(&self.written)).flatten()
    }
}

impl Server {
    /// Error of the statement about to run, if any.
    pub(super) fn next_interrupt(&mut self) -> Option<Failure> {
        if let Some(failure) = self.interrupt.take() {
            return Some(failure);
        }
        match self.faults.take(|kind| matches!(kind, FaultKind::Statement(_)))?.kind {
            FaultKind::Statement(failure) => Some(failure),
            _ => None,
        }
    }

    /// True if the next warning is left out.
    pub(super) fn skips_warning(&mut self) -> bool {
        self.faults.take(|kind| matches!(kind, FaultKind::NoWarning)).is_some()
    }

    /// Fails if the statement about to run is canceled.
    pub(super) fn take_interrupt(&mut self) -> Step {
        self.next_interrupt().map_or(Ok(()), Err)
    }

    /// As [`Self::message`], for a server with faults.
    pub(super) fn message_with_faults(&mut self, tag: u8, body: &[u8]) {
        self.lose_early();
        let before = (self.state.clone(), self.cluster.borrow().clone());
        let is_copying = self.copying.is_some();
        let is_query = tag == b'Q' || self.copying.as_ref().is_some_and(|copy| copy.by_query);
        let is_request = match tag {
            b'X' => false,
            b'H' | b'd' | b'c' | b'f' => is_copying,
            b'S' => is_copying || !self.is_skipping,
            _ => !self.is_skipping,
        };
        if is_request
            && tag != b'S'
            && !is_copying
            && let Some(fault) = self.faults.take(|kind| matches!(kind, FaultKind::Request))
        {
            return self.refuse(is_query, &fault.error);
        }
        let fault =
            if is_request { self.faults.take(|kind| matches!(kind, FaultKind::Loss { .. })) } else { None };
        let is_sync = tag == b'S' && !is_copying;
        if let Some(fault) = fault {
            return self.lose(is_query, is_sync, fault);
        }
        self.message(tag, body);
        if let Some(fault) = self.faults.cut.take() {
            self.state = before.0;
            *self.cluster.borrow_mut() = before.1;
            self.lose(is_query, is_sync, fault);
        }
    }

    /// Loses an unfinished unit, ahead of the client's next message.
    pub(super) fn lose_early(&mut self) {
        let early = |kind: &FaultKind| matches!(kind, FaultKind::Loss { is_early: true, .. });
        if let Some(fault) = self.faults.take(early) {
            let is_query = self.copying.as_ref().is_some_and(|copy| copy.by_query);
            self.lose(is_query, false, fault);
        }
    }

    fn refuse(&mut self, is_query: bool, error: &[u8]) {
        self.abort();
        self.write(b'E', error);
        self.flush();
        if is_query { self.ready() } else { self.is_skipping = true }
    }

    /// Loses the running unit, and the open transaction.
    fn lose(&mut self, is_query: bool, is_sync: bool, Fault { kind, error }: Fault) {
        let FaultKind::Loss { block, fate, .. } = kind else { unreachable!("a loss") };
        self.state.roll_back();
        self.state.forget_untracked();
        self.portals.clear();
        self.copying = None;
        if is_query {
            self.state.unnamed = None;
        }
        if let Some(fate) = fate {
            let mut cluster = self.cluster.borrow_mut();
            let rows = cluster.rows.entry(fate.table).or_default();
            assert!(
                !fate.is_rolled_back || *rows == fate.rows,
                "{} rows after a rollback to {rows}",
                fate.rows
            );
            *rows = fate.rows;
            cluster.sequences.extend(fate.sequences);
        }
        self.events.push(Event::Lost);
        self.state.block = block;
        if block == Block::Failed {
            self.state.start();
        }
        if !error.is_empty() {
            self.write(b'E', &error);
        }
        self.flush();
        self.is_skipping = !(is_query || is_sync);
        if !self.is_skipping {
            self.ready();
        }
    }
}
