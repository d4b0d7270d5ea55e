//! A client: its pooled session, and the same bytes on a server of its own.

use super::{
    direct::Direct,
    excuses::{Excuses, LossExcuse},
    expected::Expected,
    faults::{Fault, LossFate},
    language::Sql,
    server::{Event, HEADER_BYTES},
    state::{SharedCluster, Startup},
};
use crate::{
    session::Session,
    wire::{Frame, Speaker},
};

/// Client of the pooled session, with everything known about it.
pub(super) struct Client {
    pub(super) id: u64,
    pub(super) session: Session,
    /// Bytes sent by the client, and not read.
    pub(super) socket: Vec<u8>,
    /// Bytes held by the client until the next action.
    pub(super) held: Vec<u8>,
    /// Bytes read and not taken.
    pub(super) buffer: Vec<u8>,
    /// Number of the leased backend.
    pub(super) backend: Option<usize>,
    /// Number of the backend leased last.
    pub(super) last_backend: Option<usize>,
    /// Bytes of the backend read and not taken.
    pub(super) from_server: Vec<u8>,
    /// Bytes received by the client.
    pub(super) received: Vec<u8>,
    /// Settings of the client's start-up packet.
    pub(super) startup: Startup,
    pub(super) expected: Expected,
    /// Dedicated server that receives the same bytes.
    pub(super) direct: Direct,
    /// Servers of the pool.
    cluster: SharedCluster,
    /// Errors in place of answers of the dedicated server.
    pub(super) excuses: Excuses,
    /// The client has closed the socket.
    pub(super) is_closing: bool,
    /// The backend is kept for a read of the sequence.
    pub(super) keeps_sequence: bool,
    /// Cancel requests wait until the client's own statement runs.
    pub(super) is_sheltered: bool,
    /// Count of cancel requests that wait.
    pub(super) sheltered_cancels: usize,
    /// The client was told that state of the session is lost: nothing is compared any more.
    pub(super) has_lost_state: bool,
}

// === impl Client ===

impl Client {
    pub(super) fn new(id: u64, session: Session, cluster: &SharedCluster, startup: Startup) -> Self {
        Self {
            id,
            session,
            socket: Vec::new(),
            held: Vec::new(),
            buffer: Vec::new(),
            backend: None,
            last_backend: None,
            from_server: Vec::new(),
            received: Vec::new(),
            startup,
            expected: Expected::new(startup),
            direct: Direct::new(startup),
            cluster: SharedCluster::clone(cluster),
            excuses: Excuses::default(),
            is_closing: false,
            keeps_sequence: false,
            is_sheltered: false,
            sheltered_cancels: 0,
            has_lost_state: false,
        }
    }

    /// Sends `bytes`, behind bytes held before; the last `held` bytes wait for the next action.
    pub(super) fn send(&mut self, bytes: &[u8], held: usize) {
        self.held.extend_from_slice(bytes);
        let sent: Vec<_> = self.held.drain(..self.held.len().saturating_sub(held)).collect();
        self.socket.extend_from_slice(&sent);
        self.direct.receive(&sent);
    }

    /// Compares a step of a pooled backend with the reference model.
    pub(super) fn note(&mut self, event: Event) {
        if self.excuses.loss != LossExcuse::None {
            self.compare(false);
        }
        if self.has_lost_state {
            return;
        }
        check(&mut self.expected, event, &format!("the backend of client {}", self.id));
    }

    /// Table of the client.
    pub(super) fn table(&self) -> String {
        format!("rows_{}", self.id)
    }

    /// Count of committed rows of the client's table on the servers of the pool.
    pub(super) fn rows(&self) -> i64 {
        self.cluster.borrow().rows.get(&self.table()).copied().unwrap_or(0)
    }

    /// Compares the answers with those of the dedicated server: no other bytes, and all bytes if `complete`.
    pub(super) fn compare(&mut self, complete: bool) {
        if self.has_lost_state {
            return;
        }
        while let Some(at) = self.first_difference() {
            if self.excuses.explains_lost_state(frames(&self.received)[at]) {
                self.has_lost_state = true;
                return;
            }
            let fault = if self.direct.has_fault(at) { None } else { self.excused_fault(at) };
            let fault = fault.unwrap_or_else(|| self.report_difference(at));
            self.direct.add_fault(at, fault);
        }
        let (received, direct) = (frames(&self.received).len(), self.direct.output());
        let direct = frames(&direct);
        let due = frames(self.direct.sent()).len();
        assert!(
            !complete || received >= due,
            "client {}: {received} messages of {due}; missing {:?}",
            self.id,
            direct[received..due].iter().map(|frame| shown(frame)).collect::<Vec<_>>()
        );
    }

    /// Position of the first message that is not the dedicated server's.
    fn first_difference(&self) -> Option<usize> {
        let direct = self.direct.output();
        let (received, direct) = (frames(&self.received), frames(&direct));
        let is_same = |(received, direct): (&&[u8], &&[u8])| {
            received == direct || is_known_difference(&shown(received), &shown(direct))
        };
        let same = received.iter().zip(&direct).take_while(|pair| is_same(*pair)).count();
        (same < received.len()).then_some(same)
    }

    /// Fault that explains the difference at the message `at`.
    fn excused_fault(&mut self, at: usize) -> Option<Fault> {
        let received = frames(&self.received);
        let error = received[at];
        let ready =
            received.get(at + 1).filter(|frame| frame[0] == b'Z').and_then(|frame| frame.last().copied());
        let status = ready.unwrap_or_else(|| self.session.status().as_byte());
        let (table, rows) = (self.table(), self.rows());
        let sequences = self.cluster.borrow().sequences.clone();
        let fate = LossFate { table, rows, sequences, is_rolled_back: true };
        // A later unit may have committed.
        let is_last =
            !received[at + 1..].iter().any(|frame| frame[0] == b'E' && shown(frame).contains("C08007"));
        let is_early = at >= frames(&self.direct.output()).len();
        self.excuses.fault(error, status, is_last.then_some(fate), is_early)
    }

    fn report_difference(&self, at: usize) -> ! {
        let output = self.direct.output();
        let (received, direct) = (frames(&self.received), frames(&output));
        let before: Vec<_> = received[at.saturating_sub(6)..at].iter().map(|frame| shown(frame)).collect();
        panic!(
            "client {}, message {at}: {}\ninstead of {}\nbehind {before:?}",
            self.id,
            shown(received[at]),
            direct
                .get(at)
                .map_or_else(|| "none: more messages than of a server".into(), |frame| shown(frame)),
        );
    }

    /// Notes that the writer's backend is lost, and compares the errors.
    pub(super) fn note_loss(&mut self) {
        self.compare(false);
        let count = frames(&self.received).len();
        self.expected = self.direct.expected_at(count);
        self.expected.lost();
    }
}

pub(super) fn check(expected: &mut Expected, event: Event, place: &str) {
    match event {
        Event::Before(statement, view) => {
            let mut wanted = expected.view();
            if matches!(statement, Sql::Set { .. } | Sql::Reset(_)) {
                // The statement reads no setting: one reset right ahead may lack its start-up value.
                wanted.settings.clone_from(&view.settings);
            }
            assert_eq!(view, wanted, "{place} before {statement:?}");
        }
        Event::Executed(statement) => expected.executed(&statement),
        Event::RolledBackToSavepoint => expected.rolled_back_to_savepoint(),
        Event::Ended { is_committed } => expected.ended(is_committed),
        Event::Lost => unreachable!("a fault of the dedicated server"),
    }
}

/// Complete messages of a server.
fn frames(bytes: &[u8]) -> Vec<&[u8]> {
    let mut rest = bytes;
    let mut frames = Vec::new();
    while let Ok(Some(frame)) = Frame::read(Speaker::Server, rest) {
        let (message, behind) = rest.split_at(HEADER_BYTES + frame.body().len());
        frames.push(message);
        rest = behind;
    }
    frames
}

/// A message in readable form.
fn shown(message: &[u8]) -> String {
    let (tag, body) = (char::from(message[0]), &message[HEADER_BYTES..]);
    let readable = |byte: &u8| {
        if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' }
    };
    let text: String = body.iter().take(300).map(readable).collect();
    let rest_of_it = if body.len() > 300 {
        let sum = body.iter().fold(0_u64, |sum, byte| sum.wrapping_mul(31) + u64::from(*byte));
        format!(" and so on: {} bytes, sum {sum}", body.len())
    } else {
        String::new()
    };
    format!("{tag}{text}{rest_of_it}")
}

/// True for a difference that stands.
fn is_known_difference(received: &str, direct: &str) -> bool {
    /// Bytes up to the SQLSTATE.
    const PREFIX_BYTES: usize = "ESERROR.VERROR.C".len();
    let code = |message: &str| message.get(PREFIX_BYTES..PREFIX_BYTES + 5).map(str::to_owned);
    let is_error = received.starts_with('E') && direct.starts_with('E');
    let (received_code, direct_code) = (code(received), code(direct));
    // No client reads an internal name.
    let names_internal = direct.contains("__gatekeeper") && received_code == direct_code;
    // A statement prepared ahead of the client's message fails first in a failed transaction.
    let tries_name = received_code.as_deref() == Some("25P02")
        && matches!(direct_code.as_deref(), Some("42601" | "42P05" | "08P01"));
    is_error && (names_internal || tries_name)
}
