//! A logged-in client that sends exactly the given bytes, and the messages for it.

use std::{net::SocketAddr, time::Duration};

use gatekeeper::testing::{
    handshake::{Credential, ServerLogin},
    sandbox::NativeUser,
    wire::{self, BackendKey, ProtocolVersion, StartupMessage, backend::ParameterStatus, tag},
};
use tokio::time::timeout;

use super::raw::{Message, Raw};

/// How long an answer may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// A logged-in client that sends and receives messages in plaintext.
pub struct Frames {
    pub raw: Raw,
    pub key: Option<BackendKey>,
    pub version: ProtocolVersion,
    /// The ParameterStatus messages of the login, in the order of their names.
    pub reported: Vec<Message>,
}

impl Frames {
    /// Logs in to `address` as `user`. `parameters` are further startup parameters, including the database.
    pub async fn log_in(address: SocketAddr, user: NativeUser, parameters: &[(&str, &str)]) -> Self {
        Self::log_in_with(address, user, parameters, ProtocolVersion::V3_0).await
    }

    /// The same, asking for a version of the protocol.
    pub async fn log_in_with(
        address: SocketAddr,
        user: NativeUser,
        parameters: &[(&str, &str)],
        version: ProtocolVersion,
    ) -> Self {
        let mut startup = StartupMessage::new(version);
        startup.set("user", user.name);
        for (name, value) in parameters {
            startup.set(name, *value);
        }
        let mut raw = Raw::connect(address).await;
        // No secret is at stake: any nonce will do.
        let mut login = ServerLogin::new(&startup, Credential::Password(user.password), None, [7; _]);
        loop {
            if let Some(bytes) = login.poll_output() {
                raw.send(&bytes).await;
            }
            let message = timeout(PATIENCE, raw.read()).await.expect("an answer in time");
            let message = message.expect("the login goes on");
            if let Some(logged_in) = login.on_bytes(&message.to_bytes()).unwrap().outcome {
                let mut reported: Vec<_> = logged_in.parameters.iter().map(reported).collect();
                reported.sort_by(|one, two| one.body.cmp(&two.body));
                return Self { raw, key: logged_in.key, version: logged_in.version, reported };
            }
        }
    }

    /// Says `bytes`.
    pub async fn send(&mut self, bytes: &[u8]) {
        timeout(PATIENCE, self.raw.send(bytes)).await.expect("taken in time");
    }

    /// The next message; `None` at the end of the connection, which may come abruptly.
    pub async fn hear(&mut self) -> Option<Message> {
        timeout(PATIENCE, self.raw.read()).await.expect("an answer in time")
    }

    /// All messages up to and including one with the tag `tag`.
    ///
    /// # Panics
    /// If the connection ends first.
    pub async fn read_until(&mut self, tag: u8) -> Vec<Message> {
        let mut received = Vec::new();
        while received.last().is_none_or(|message: &Message| message.tag != tag) {
            match self.hear().await {
                Some(message) => received.push(message),
                None => panic!("the connection ended without {:?}, after {received:?}", char::from(tag)),
            }
        }
        received
    }

    /// All messages up to the end of the connection.
    pub async fn read_to_close(&mut self) -> Vec<Message> {
        let mut received = Vec::new();
        while let Some(message) = self.hear().await {
            received.push(message);
        }
        received
    }

    /// Runs `sql` and returns the first column of the last row, or the SQLSTATE of the error.
    pub async fn ask(&mut self, sql: &str) -> Result<String, String> {
        self.send(&query(sql)).await;
        let received = self.read_until(tag::backend::READY_FOR_QUERY).await;
        if let Some(error) = received.iter().find(|message| message.tag == tag::backend::ERROR_RESPONSE) {
            return Err(error.field(b'C'));
        }
        let row = received.iter().rfind(|message| message.tag == tag::backend::DATA_ROW);
        Ok(row.map(|row| String::from_utf8_lossy(&row.body[6..]).into_owned()).unwrap_or_default())
    }
}

/// Cancels the statement of the session with the given key at `address`; returns when the connection is closed.
pub async fn cancel(address: SocketAddr, key: &BackendKey) {
    let mut request = Vec::new();
    key.write_cancel_request(&mut request);
    let mut raw = Raw::connect(address).await;
    raw.send(&request).await;
    let answer = timeout(PATIENCE, raw.read()).await.expect("closed in time");
    assert_eq!(answer, None, "a cancel request has no answer");
}

fn reported(status: ParameterStatus<'_>) -> Message {
    let body = [status.name, b"\0", status.value, b"\0"].concat();
    Message { tag: tag::backend::PARAMETER_STATUS, body }
}

fn message(tag: u8, body: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    wire::write_frame(&mut bytes, tag, body);
    bytes
}

fn string(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
    out.push(0);
}

fn count(out: &mut Vec<u8>, length: usize) {
    out.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
}

fn values(out: &mut Vec<u8>, values: &[&[u8]]) {
    count(out, values.len());
    for value in values {
        out.extend_from_slice(&u32::try_from(value.len()).unwrap().to_be_bytes());
        out.extend_from_slice(value);
    }
}

/// Query.
pub fn query(sql: &str) -> Vec<u8> {
    message(tag::frontend::QUERY, |body| string(body, sql))
}

/// Parse, without parameter types.
pub fn parse(statement: &str, sql: &str) -> Vec<u8> {
    message(tag::frontend::PARSE, |body| {
        string(body, statement);
        string(body, sql);
        count(body, 0);
    })
}

/// Bind, everything in text form.
pub fn bind(portal: &str, statement: &str, parameters: &[&[u8]]) -> Vec<u8> {
    message(tag::frontend::BIND, |body| {
        string(body, portal);
        string(body, statement);
        count(body, 0);
        values(body, parameters);
        count(body, 0);
    })
}

/// Describe: `S` for a statement, `P` for a portal.
pub fn describe(which: u8, name: &str) -> Vec<u8> {
    message(tag::frontend::DESCRIBE, |body| {
        body.push(which);
        string(body, name);
    })
}

/// Execute with at most `rows` rows; 0 means all rows.
pub fn execute(portal: &str, rows: u32) -> Vec<u8> {
    message(tag::frontend::EXECUTE, |body| {
        string(body, portal);
        body.extend_from_slice(&rows.to_be_bytes());
    })
}

/// Close: `S` for a statement, `P` for a portal.
pub fn close(which: u8, name: &str) -> Vec<u8> {
    message(tag::frontend::CLOSE, |body| {
        body.push(which);
        string(body, name);
    })
}

/// Parse, Bind, Describe and Execute of the unnamed statement.
pub fn statement(sql: &str, parameters: &[&[u8]]) -> Vec<u8> {
    [parse("", sql), bind("", "", parameters), describe(b'P', ""), execute("", 0)].concat()
}

/// FunctionCall, in text form.
pub fn function_call(oid: u32, arguments: &[&[u8]]) -> Vec<u8> {
    message(tag::frontend::FUNCTION_CALL, |body| {
        body.extend_from_slice(&oid.to_be_bytes());
        count(body, 0);
        values(body, arguments);
        count(body, 0);
    })
}

/// CopyData.
pub fn copy_data(data: &[u8]) -> Vec<u8> {
    message(tag::frontend::COPY_DATA, |body| body.extend_from_slice(data))
}

/// CopyFail.
pub fn copy_fail(reason: &str) -> Vec<u8> {
    message(tag::frontend::COPY_FAIL, |body| string(body, reason))
}

/// Sync.
pub fn sync() -> Vec<u8> {
    message(tag::frontend::SYNC, |_| {})
}

/// Flush.
pub fn flush() -> Vec<u8> {
    message(tag::frontend::FLUSH, |_| {})
}

/// CopyDone.
pub fn copy_done() -> Vec<u8> {
    message(tag::frontend::COPY_DONE, |_| {})
}

/// Terminate.
pub fn terminate() -> Vec<u8> {
    message(tag::frontend::TERMINATE, |_| {})
}
