//! A client: its pooled session, and the same bytes on a server of its own.

use super::{
    expected::Expected,
    language::Sql,
    server::{Event, HEADER_BYTES, Server},
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
    pub(super) direct: Server,
    direct_expected: Expected,
    /// The client has closed the socket.
    pub(super) is_closing: bool,
    /// The backend is kept for a read of the sequence.
    pub(super) keeps_sequence: bool,
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
            direct: Server::new(cluster, startup),
            direct_expected: Expected::new(startup),
            is_closing: false,
            keeps_sequence: false,
        }
    }

    /// Sends `bytes`, behind bytes held before; the last `held` bytes wait for the next action.
    pub(super) fn send(&mut self, bytes: &[u8], held: usize) {
        self.held.extend_from_slice(bytes);
        let sent: Vec<_> = self.held.drain(..self.held.len().saturating_sub(held)).collect();
        self.socket.extend_from_slice(&sent);
        self.direct.receive(&sent);
        for event in std::mem::take(&mut self.direct.events) {
            check(&mut self.direct_expected, event, "the dedicated server");
        }
    }

    /// Compares a step of a pooled backend with the reference model.
    pub(super) fn note(&mut self, event: Event) {
        check(&mut self.expected, event, &format!("the backend of client {}", self.id));
    }

    /// Compares the answers with those of the dedicated server: no other bytes, and all bytes if `complete`.
    pub(super) fn compare(&self, complete: bool) {
        let (received, direct) = (frames(&self.received), frames(&self.direct.output()));
        for (at, (received, direct)) in received.iter().zip(&direct).enumerate() {
            let is_same = received == direct || is_known_difference(received, direct);
            assert!(
                is_same,
                "client {}, message {at}: {received}\ninstead of {direct}\nbehind {:?}",
                self.id,
                &direct_frames_before(&self.direct.output(), at)
            );
        }
        assert!(
            received.len() <= direct.len(),
            "client {}: more messages than of a server: {:?}",
            self.id,
            &received[direct.len()..]
        );
        let due = frames(&self.direct.sent).len();
        assert!(
            !complete || received.len() >= due,
            "client {}: {} messages of {due}; missing {:?}",
            self.id,
            received.len(),
            &direct[received.len()..due]
        );
    }
}

fn check(expected: &mut Expected, event: Event, place: &str) {
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
    }
}

/// Complete messages of a server, in readable form.
fn frames(bytes: &[u8]) -> Vec<String> {
    let mut rest = bytes;
    let mut frames = Vec::new();
    while let Ok(Some(frame)) = Frame::read(Speaker::Server, rest) {
        let body: String = frame
            .body()
            .iter()
            .map(|byte| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' })
            .collect();
        let sum = frame.body().iter().fold(0_u64, |sum, byte| sum.wrapping_mul(31) + u64::from(*byte));
        let rest_of_it = if body.len() > 300 {
            format!(" and so on: {} bytes, sum {sum}", body.len())
        } else {
            String::new()
        };
        frames.push(format!("{}{}{rest_of_it}", char::from(frame.tag()), &body[..body.len().min(300)]));
        rest = &rest[HEADER_BYTES + frame.body().len()..];
    }
    frames
}

/// The last messages ahead of the message `at`.
fn direct_frames_before(bytes: &[u8], at: usize) -> Vec<String> {
    let frames = frames(bytes);
    frames[at.saturating_sub(6)..at].to_vec()
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
