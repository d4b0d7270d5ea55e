//! One client twice: through Gatekeeper, and directly at the server in a database of its own.

use std::{net::SocketAddr, time::Duration};

use gatekeeper::testing::{sandbox::SUPERUSER, wire::tag::backend as b};
use tokio::{io::AsyncWriteExt as _, time::timeout};

use crate::harness::{
    Frames,
    frames::{statement, sync, terminate},
    raw::Message,
};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// One of the two connections.
pub(super) struct One {
    frames: Frames,
    /// Notifications so far, in order, without process ids.
    pub(super) notified: Vec<Vec<u8>>,
}

impl One {
    pub(super) async fn log_in(address: SocketAddr, database: &str) -> Self {
        let frames = Frames::log_in(address, SUPERUSER, &[("database", database)]).await;
        frames.raw.stream.set_nodelay(true).expect("a socket");
        Self { frames, notified: Vec::new() }
    }

    /// The process id of BackendKeyData.
    pub(super) fn pid(&self) -> i32 {
        self.frames.key.as_ref().map_or(0, |key| key.pid())
    }

    /// Sends `bytes` and reads up to the given number of ReadyForQuery.
    pub(super) async fn say(&mut self, bytes: &[u8], ready: usize) -> Result<Vec<Message>, String> {
        self.frames.send(bytes).await;
        let mut received = Vec::new();
        let mut missing = ready;
        while missing > 0 {
            let message = match timeout(PATIENCE, self.frames.raw.read()).await {
                Err(_) => return Err(format!("no answer in time behind {received:?}")),
                Ok(None) => return Err(format!("the connection ended behind {received:?}")),
                Ok(Some(message)) => message,
            };
            missing -= usize::from(message.tag == b::READY_FOR_QUERY);
            match message.tag {
                b::NOTIFICATION_RESPONSE => self.notified.push(message.body[4..].to_vec()),
                _ => received.push(comparable(message)),
            }
        }
        Ok(received)
    }

    /// Runs `sql`: the first column of the last row, or the SQLSTATE of the error.
    pub(super) async fn ask(&mut self, sql: &str) -> Result<String, String> {
        self.frames.ask(sql).await
    }

    /// The same by the extended protocol.
    pub(super) async fn ask_extended(&mut self, sql: &str) -> Result<String, String> {
        let received = self.say(&[statement(sql, &[]), sync()].concat(), 1).await?;
        match received.iter().find(|message| message.tag == b::ERROR_RESPONSE) {
            Some(error) => Err(error.field(b'C')),
            None => Ok(format!("{received:?}")),
        }
    }

    pub(super) async fn end(mut self, farewell: bool) {
        if farewell {
            // The connection may have ended already.
            let _ = self.frames.raw.stream.write_all(&terminate()).await;
        }
    }

    /// Says `bytes` and goes.
    pub(super) async fn break_off(mut self, bytes: &[u8]) {
        self.frames.send(bytes).await;
    }
}

/// Removes differences between two databases: object ids in row descriptions, numbers of temporary schemas.
fn comparable(mut message: Message) -> Message {
    match message.tag {
        b::ROW_DESCRIPTION => forget_oids(&mut message.body),
        b::ERROR_RESPONSE | b::NOTICE_RESPONSE => {
            forget_number(&mut message.body, b"pg_temp_");
            if message.field(b'C') == "25P02" {
                // Whether a Parse had to go ahead decides where in the server the failed transaction is noticed.
                forget_number(&mut message.body, b"\0L");
                forget_word(&mut message.body, b"\0R");
            }
        }
        _ => {}
    }
    message
}

/// Fields: name, then table oid (4), column (2), type oid (4), length (2), modifier (4), format (2).
fn forget_oids(body: &mut [u8]) {
    let mut at = 2;
    while at < body.len() {
        at += body[at..].iter().position(|byte| *byte == 0).expect("a name's end") + 1;
        body[at..at + 4].fill(0);
        let kind = &mut body[at + 6..at + 10];
        if u32::from_be_bytes(kind.try_into().expect("4 bytes")) >= 16384 {
            kind.fill(0);
        }
        at += 18;
    }
}

/// Replaces `prefix` and the digits behind with `#`.
fn forget_number(body: &mut Vec<u8>, prefix: &[u8]) {
    let mut out = Vec::with_capacity(body.len());
    let mut rest = &body[..];
    while let Some(&byte) = rest.first() {
        if let Some(behind) = rest.strip_prefix(prefix) {
            out.push(b'#');
            rest = &behind[behind.iter().take_while(|byte| byte.is_ascii_digit()).count()..];
        } else {
            out.push(byte);
            rest = &rest[1..];
        }
    }
    *body = out;
}

/// The same for the rest of a field.
fn forget_word(body: &mut Vec<u8>, prefix: &[u8]) {
    if let Some(at) = body.windows(prefix.len()).position(|bytes| bytes == prefix) {
        let end = body[at + 1..].iter().position(|byte| *byte == 0).map_or(body.len(), |end| at + 1 + end);
        body.drain(at + prefix.len()..end);
    }
}
