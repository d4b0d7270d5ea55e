//! A client's first packets: encryption, then a login or a cancel request.

use std::io;

use super::unauthenticated_client::UnauthenticatedClient;
use crate::{
    client_error::ClientError,
    frontend::context::ListenerContext,
    handshake::{Accept, AcceptError, Accepted, Negotiation},
    telemetry::labels::RefusalReason,
    tls::{self, Stream, TlsError},
    wire::{BackendKey, StartupMessage},
};

/// Request in the first packets of a client.
pub(crate) enum StartupRequest {
    /// Login. A required negotiation message precedes all responses.
    Login(StartupMessage, Negotiation),
    /// Cancel request for a statement.
    Cancel(BackendKey),
}

/// Reason to reject a client before login.
pub(crate) enum GreetError {
    /// The client left, or its socket broke.
    Gone(io::Error),
    /// The client uses another protocol; no error is sent.
    Foreign(AcceptError),
    /// The client's TLS handshake failed.
    Tls(TlsError),
    /// An error is sent to the client.
    Refused(ClientError),
}

/// Reads the first packets and sets up TLS. `client` then holds the stream to continue with, except after
/// [`GreetError::Tls`].
///
/// Cancel safety: dropped half-way, `client` may be without a stream; close it.
///
/// # Errors
/// [`GreetError`]
pub(crate) async fn read_first_packets(
    client: &mut Option<UnauthenticatedClient>,
    context: &ListenerContext,
) -> Result<StartupRequest, GreetError> {
    let tls =
        context.tls.as_ref().filter(|_| client.as_ref().is_some_and(|client| client.stream.tcp().is_some()));
    let mut accept = Accept::new(tls.is_some());
    loop {
        let current = client.as_mut().ok_or_else(|| GreetError::Gone(io::ErrorKind::NotConnected.into()))?;
        if current.unread().is_empty()
            && !current.stream.is_tls()
            && tls.is_some()
            && let Stream::Tcp(tcp) = &current.stream
        {
            // The TLS layer must read a direct ClientHello, so only peek.
            let mut first = [0];
            if tcp.peek(&mut first).await.map_err(GreetError::Gone)? == 0 {
                return Err(GreetError::Gone(io::ErrorKind::UnexpectedEof.into()));
            }
            if first[0] == CLIENT_HELLO && accept.on_bytes(&first).is_ok() {
                Box::pin(start_tls(client, context, tls::Negotiation::Direct)).await?;
                continue;
            }
        }
        current.read_more().await.map_err(GreetError::Gone)?;
        loop {
            let taken = accept.on_bytes(current.unread()).map_err(greet_error)?;
            current.take(taken.bytes);
            let output = accept.poll_output();
            if let Some(byte) = output {
                current.say(&[byte]).await.map_err(GreetError::Gone)?;
            }
            match taken.outcome {
                None if taken.bytes > 0 && !current.unread().is_empty() => {}
                None => break,
                Some(Accepted::Tls { .. }) => {
                    Box::pin(start_tls(client, context, tls::Negotiation::Postgres)).await?;
                    break;
                }
                Some(Accepted::Startup(startup, negotiation)) => {
                    return Ok(StartupRequest::Login(startup, negotiation));
                }
                Some(Accepted::Cancel(key)) => return Ok(StartupRequest::Cancel(key)),
            }
        }
    }
}

/// First byte of a TLS handshake record.
const CLIENT_HELLO: u8 = 0x16;

async fn start_tls(
    client: &mut Option<UnauthenticatedClient>,
    context: &ListenerContext,
    negotiation: tls::Negotiation,
) -> Result<(), GreetError> {
    let (Some(UnauthenticatedClient { stream: Stream::Tcp(tcp), .. }), Some(tls)) =
        (client.take(), &context.tls)
    else {
        return Err(GreetError::Gone(io::ErrorKind::NotConnected.into()));
    };
    let stream = tls.accept(tcp, negotiation).await.map_err(GreetError::Tls)?;
    *client = Some(UnauthenticatedClient::new(stream));
    Ok(())
}

fn greet_error(error: AcceptError) -> GreetError {
    match error.sqlstate() {
        None => GreetError::Foreign(error),
        Some(sqlstate) => {
            GreetError::Refused(ClientError { sqlstate, ..ClientError::protocol(error.to_string()) })
        }
    }
}

// === impl GreetError ===

impl GreetError {
    /// Label in metrics.
    pub(crate) fn reason(&self) -> RefusalReason {
        match self {
            Self::Gone(_) => RefusalReason::ClientGone,
            Self::Tls(_) => RefusalReason::Tls,
            Self::Foreign(_) | Self::Refused(_) => RefusalReason::Protocol,
        }
    }
}
