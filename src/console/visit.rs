//! Serves one console client, from the greeting to the end.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::yield_now,
    time::timeout,
};

use super::{
    Console,
    command::Command,
    protocol::{Ask, ConsoleProtocol},
};
use crate::{
    audit::{Record, record::SessionClosed},
    client_error::ClientError,
    frontend::{ConsoleClient, ConsoleSessionGuard, SessionCommand},
    telemetry::{ClientPresence, labels::ClientState},
    tls::Stream,
    wire::{
        Deframer, ErrorResponse, FramePiece, Severity, Speaker, SqlState, TransactionStatus, authentication,
        backend::{self, ParameterStatus},
    },
};

/// A client's connection.
struct ConsoleConnection {
    stream: Stream,
    unread: Vec<u8>,
    /// Output ends at a message boundary, so another message may follow.
    whole: bool,
    bytes_received: u64,
    bytes_sent: u64,
}

/// Reason for the end of a console session.
enum ConsoleEnd {
    /// The client left.
    Left,
    /// Gatekeeper ends the session with an error.
    Refused(ClientError),
    /// The client violated the protocol.
    Nonsense(ErrorResponse<'static>),
}

/// Maximum length of a message in bytes; commands are short.
const MAX_MESSAGE_BYTES: usize = 64 << 10;
/// Size of a read in bytes.
const READ_BYTES: usize = 4096;
/// Time limit for the last message to the client.
const LAST_MESSAGE_TIMEOUT: Duration = Duration::from_secs(2);

/// Serves a client until it leaves or a command ends its session.
///
/// Cancel safety: if dropped, the connection breaks off; a running command may or may not take effect.
pub(super) async fn serve_client(console: &Console, client: ConsoleClient) {
    let ConsoleClient { stream, unread, output, visit, mut presence } = client;
    let began = Instant::now();
    let mut line = ConsoleConnection { stream, unread, whole: true, bytes_received: 0, bytes_sent: 0 };
    let mut commands = 0;
    let end = tokio::select! {
        biased;
        command = visit.wait_for_command() => ConsoleEnd::Refused(match command {
            SessionCommand::Kill => ClientError::killed(),
            // Not sent to consoles, which have no backend.
            SessionCommand::Retire | SessionCommand::Evict => ClientError::writer_moved(),
            SessionCommand::Drain | SessionCommand::Stop => ClientError::shutdown(),
        }),
        end = serve_messages(console, &mut line, output, &visit, &mut presence, &mut commands) => end,
    };
    let mut words = Vec::new();
    let reason = match &end {
        ConsoleEnd::Left => None,
        ConsoleEnd::Refused(client_error) => {
            client_error.write(&mut words);
            Some(client_error.reason.as_str())
        }
        ConsoleEnd::Nonsense(report) => {
            report.write(&mut words);
            Some("protocol")
        }
    };
    if line.whole {
        timeout(LAST_MESSAGE_TIMEOUT, line.close(&words)).await.ok();
    }
    console.observers().audit.submit_now(Record::SessionClosed(Box::new(SessionClosed {
        session: Arc::clone(&visit.facts),
        reason,
        duration: began.elapsed(),
        statements: commands,
        traffic: (line.bytes_received, line.bytes_sent),
    })));
}

async fn serve_messages(
    console: &Console,
    line: &mut ConsoleConnection,
    greeting: Vec<u8>,
    visit: &ConsoleSessionGuard,
    presence: &mut ClientPresence,
    commands: &mut u64,
) -> ConsoleEnd {
    if line.say(&write_greeting(greeting, visit)).await.is_err() {
        return ConsoleEnd::Left;
    }
    let mut protocol = ConsoleProtocol::default();
    let mut walker = Deframer::new(Speaker::Client);
    loop {
        match take_message(&mut line.unread, &mut walker, &mut protocol) {
            Err(end) => return end,
            Ok(None) => {
                presence.enter(ClientState::Idle);
                if line.hear().await.is_err() {
                    return ConsoleEnd::Left;
                }
                continue;
            }
            Ok(Some(Ask::Nothing)) => {}
            Ok(Some(Ask::Farewell)) => return ConsoleEnd::Left,
            Ok(Some(Ask::Run(command))) => {
                presence.enter(ClientState::Active);
                *commands += 1;
                match run_while_connected(console, line, visit, &command).await {
                    Some(done) => protocol.on_answer(done),
                    None => return ConsoleEnd::Left,
                }
            }
        }
        while let Some(output) = protocol.poll_output() {
            if line.say(&output).await.is_err() {
                return ConsoleEnd::Left;
            }
            // Lets other clients of this worker run before the next part of a long table.
            yield_now().await;
        }
    }
}

/// Takes the next message from `unread`; `None` if more input is needed.
fn take_message(
    unread: &mut Vec<u8>,
    walker: &mut Deframer,
    protocol: &mut ConsoleProtocol,
) -> Result<Option<Ask>, ConsoleEnd> {
    match walker.next(unread) {
        Ok(Some(piece @ FramePiece::Whole(frame))) => {
            let ask = protocol.on_frame(&frame);
            let bytes = walker.pass(&piece);
            unread.drain(..bytes);
            ask.map(Some).map_err(ConsoleEnd::Nonsense)
        }
        Ok(Some(FramePiece::Partial(part))) if part.total() > MAX_MESSAGE_BYTES => {
            let message = format!("a command has at most {MAX_MESSAGE_BYTES} bytes");
            let report = ErrorResponse::new(Severity::Fatal, SqlState::new(*b"54000"), message);
            Err(ConsoleEnd::Nonsense(report))
        }
        Ok(_) => Ok(None),
        Err(error) => Err(ConsoleEnd::Refused(ClientError::protocol(error.to_string()))),
    }
}

/// Runs a command while its client is connected; `None` if the client left.
async fn run_while_connected(
    console: &Console,
    line: &mut ConsoleConnection,
    visit: &ConsoleSessionGuard,
    command: &Command,
) -> Option<Result<super::response::CommandResponse, ErrorResponse<'static>>> {
    tokio::select! {
        biased;
        done = console.run(command, &visit.facts) => Some(done),
        () = visit.cancelled() => Some(Err(console.cancelled(command, &visit.facts).await)),
        _ = line.gone() => None,
    }
}

/// The messages after authentication.
fn write_greeting(mut out: Vec<u8>, visit: &ConsoleSessionGuard) -> Vec<u8> {
    authentication::write_ok(&mut out);
    let version = concat!(env!("CARGO_PKG_VERSION"), "/gatekeeper");
    for (name, value) in [
        ("server_version", version),
        ("server_encoding", "UTF8"),
        ("client_encoding", "UTF8"),
        ("DateStyle", "ISO"),
        ("TimeZone", "GMT"),
        ("integer_datetimes", "on"),
        ("standard_conforming_strings", "on"),
        ("is_superuser", "off"),
    ] {
        ParameterStatus { name: name.as_bytes(), value: value.as_bytes() }.write(&mut out);
    }
    visit.key.write_key_data(&mut out);
    backend::write_ready_for_query(&mut out, TransactionStatus::Idle);
    out
}

// === impl ConsoleConnection ===

impl ConsoleConnection {
    /// Reads more input. Cancel safe.
    async fn hear(&mut self) -> io::Result<()> {
        self.unread.reserve(READ_BYTES);
        match self.stream.read_buf(&mut self.unread).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            bytes => {
                self.bytes_received += bytes as u64;
                Ok(())
            }
        }
    }

    /// Returns when the client leaves, as far as visible behind pipelined input. Cancel safe.
    async fn gone(&mut self) -> io::Error {
        while self.unread.len() < MAX_MESSAGE_BYTES {
            if let Err(error) = self.hear().await {
                return error;
            }
        }
        std::future::pending().await
    }

    /// Writes whole messages.
    ///
    /// Cancel safety: if dropped, `whole` is false and no message may follow.
    async fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.whole = false;
        self.stream.write_all(bytes).await?;
        self.stream.flush().await?;
        self.bytes_sent += bytes.len() as u64;
        self.whole = true;
        Ok(())
    }

    async fn close(&mut self, words: &[u8]) -> io::Result<()> {
        self.say(words).await?;
        self.stream.shutdown().await
    }
}
