//! The machines of the handshake against scripts, against each other, and against arbitrary bytes.

mod accept;
mod fuzz;
mod login;
mod relay;

use super::*;
use crate::{
    scram::{NONCE_BYTES, Verifier},
    wire::{
        BackendKey, ErrorResponse, ProtocolVersion, Severity, SqlState, StartupMessage, TransactionStatus,
        authentication,
        backend::{ParameterStatus, write_ready_for_query},
    },
};

fn startup(version: ProtocolVersion) -> StartupMessage {
    let mut startup = StartupMessage::new(version);
    startup.set("user", "alice");
    startup.set("database", "db");
    startup
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

/// Messages of a server behind AuthenticationOk.
fn ready(out: &mut Vec<u8>) {
    authentication::write_ok(out);
    ParameterStatus { name: b"server_version", value: b"15.14" }.write(out);
    ParameterStatus { name: b"in_hot_standby", value: b"off" }.write(out);
    ErrorResponse::new(Severity::Notice, SqlState::SUCCESSFUL_COMPLETION, "welcome").write(out);
    server_key().write_key_data(out);
    write_ready_for_query(out, TransactionStatus::Idle);
}

fn server_key() -> BackendKey {
    BackendKey::new(4711, b"key!").unwrap()
}

fn refusal() -> Vec<u8> {
    written(|out| {
        ErrorResponse::new(
            Severity::Fatal,
            SqlState::INVALID_PASSWORD,
            "password authentication failed for user \"alice\"",
        )
        .write(out);
    })
}

fn verifier() -> Verifier {
    Verifier::derive(b"pencil", b"0123456789abcdef", 5).unwrap()
}

fn challenge(end_point: Option<&[u8]>) -> Challenge {
    Challenge::new(verifier(), [2; NONCE_BYTES], end_point.map(<[u8]>::to_vec))
}

/// A connection's buffer on the side that reads: bytes arrive a few at a time.
#[derive(Default)]
struct Inbox {
    coming: std::collections::VecDeque<u8>,
    unread: Vec<u8>,
}

impl Inbox {
    fn send(&mut self, bytes: Option<Vec<u8>>) {
        self.coming.extend(bytes.unwrap_or_default());
    }

    /// Lets `count` more bytes arrive; returns true if there were any.
    fn arrive(&mut self, count: usize) -> bool {
        let count = count.min(self.coming.len());
        self.unread.extend(self.coming.drain(..count));
        count > 0
    }

    fn take(&mut self, bytes: usize) {
        self.unread.drain(..bytes);
    }
}
