//! A client that sends the protocol byte by byte, for behavior that drivers hide.

use std::{fmt, net::SocketAddr};

use gatekeeper::testing::wire::{self, Frame, ProtocolVersion, Speaker, StartupMessage, tag};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};

/// A connection with its read-ahead bytes.
pub struct Raw<S = TcpStream> {
    pub stream: S,
    unread: Vec<u8>,
}

/// A message of the server.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    pub tag: u8,
    pub body: Vec<u8>,
}

/// Bytes read in one go, at least.
const CHUNK: usize = 16 * 1024;

impl Raw {
    /// Connects in the clear.
    pub async fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Raw<S> {
    /// Speaks over `stream`.
    pub fn over(stream: S) -> Self {
        Self { stream, unread: Vec::new() }
    }

    /// Sends `bytes` as they are.
    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Sends a message.
    pub async fn say(&mut self, tag: u8, body: &[u8]) {
        let mut bytes = Vec::new();
        wire::write_frame(&mut bytes, tag, |to| to.extend_from_slice(body));
        self.send(&bytes).await;
    }

    /// Sends a StartupMessage for `user` and `database`.
    pub async fn startup(&mut self, user: &str, database: &str) {
        let mut startup = StartupMessage::new(ProtocolVersion::V3_0);
        startup.set("user", user);
        startup.set("database", database);
        let mut bytes = Vec::new();
        startup.write(&mut bytes);
        self.send(&bytes).await;
    }

    /// The next message; `None` when the server has closed.
    pub async fn read(&mut self) -> Option<Message> {
        loop {
            if let Some(frame) = Frame::read(Speaker::Server, &self.unread).unwrap() {
                let message = Message { tag: frame.tag(), body: frame.body().to_vec() };
                let length = frame.as_bytes().len();
                self.unread.drain(..length);
                return Some(message);
            }
            self.unread.reserve(CHUNK);
            // A close without `close_notify` is an end, too.
            match self.stream.read_buf(&mut self.unread).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// All messages up to the first ReadyForQuery or ErrorResponse, which is the last.
    pub async fn until_settled(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        while let Some(message) = self.read().await {
            let last = matches!(message.tag, tag::backend::READY_FOR_QUERY | tag::backend::ERROR_RESPONSE);
            messages.push(message);
            if last {
                break;
            }
        }
        messages
    }
}

impl Message {
    /// The whole message, as received.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        wire::write_frame(&mut bytes, self.tag, |to| to.extend_from_slice(&self.body));
        bytes
    }

    /// The field of an ErrorResponse that `kind` stands for: `C` the SQLSTATE, `M` the message, `H` the hint.
    pub fn field(&self, kind: u8) -> String {
        let field = self.body.split(|byte| *byte == 0).find(|field| field.first() == Some(&kind));
        field.map(|field| String::from_utf8_lossy(&field[1..]).into_owned()).unwrap_or_default()
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = String::from_utf8_lossy(&self.body[..self.body.len().min(200)]);
        write!(f, "{}[{}] {shown:?}", char::from(self.tag), self.body.len())
    }
}
