//! Liveness check without login: does the server speak PostgreSQL's protocol?

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::{
    backend::fault_words,
    wire::{ErrorFields, Frame, FrameError, ProtocolVersion, Speaker, StartupMessage, tag},
};

/// Reason of a failed liveness check.
#[derive(Debug, thiserror::Error)]
pub(super) enum LivenessError {
    /// The server reports that it cannot serve.
    #[error("the server reports: {0}")]
    CannotServe(String),
    /// The connection broke.
    #[error("the connection broke before the first response")]
    Broken(#[source] io::Error),
    /// The peer is not a PostgreSQL server.
    #[error("the answer is not PostgreSQL's protocol")]
    Frame(#[source] FrameError),
    /// A message that no server begins with.
    #[error("the server began with message `{}`", .0.escape_ascii())]
    Odd(u8),
}

/// User name for the check. The user need not exist: a rejection is an answer.
const USER: &str = "gatekeeper";

/// Bytes of the first message at most.
const MAX_MESSAGE_BYTES: usize = 64 << 10;

/// Sends a StartupMessage and reads the first response.
pub(super) async fn liveness_check(
    connection: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> Result<(), LivenessError> {
    let mut startup = StartupMessage::new(ProtocolVersion::V3_0);
    startup.set("user", USER);
    startup.set("database", "postgres");
    let mut packet = Vec::new();
    startup.write(&mut packet);
    connection.write_all(&packet).await.map_err(LivenessError::Broken)?;
    connection.flush().await.map_err(LivenessError::Broken)?;
    let mut unread = Vec::with_capacity(1024);
    loop {
        if let Some(frame) = Frame::read(Speaker::Server, &unread).map_err(LivenessError::Frame)? {
            return match frame.tag() {
                tag::backend::AUTHENTICATION | tag::backend::NEGOTIATE_PROTOCOL_VERSION => Ok(()),
                tag::backend::ERROR_RESPONSE => check_error(&ErrorFields::new(frame.body())),
                other => Err(LivenessError::Odd(other)),
            };
        }
        let bytes = connection.read_buf(&mut unread).await.map_err(LivenessError::Broken)?;
        if bytes == 0 || unread.len() > MAX_MESSAGE_BYTES {
            return Err(LivenessError::Broken(io::ErrorKind::UnexpectedEof.into()));
        }
    }
}

/// A server that rejects the user, or has no free connections, is alive; a server that starts up or shuts down cannot
/// serve.
fn check_error(fault: &ErrorFields<'_>) -> Result<(), LivenessError> {
    let serves = fault.sqlstate().is_some_and(|state| matches!(state.class(), "28" | "3D" | "53" | "42"));
    if serves { Ok(()) } else { Err(LivenessError::CannotServe(fault_words(fault))) }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;
    use crate::wire::{ErrorResponse, FirstPacket, Severity, SqlState};

    async fn knock_at_one_that_says(words: &[u8]) -> Result<(), LivenessError> {
        let (mut ours, mut theirs) = duplex(1024);
        let server = async {
            let mut unread = Vec::new();
            while FirstPacket::read(&unread).unwrap().is_none() {
                theirs.read_buf(&mut unread).await.unwrap();
            }
            theirs.write_all(words).await.unwrap();
            drop(theirs);
        };
        tokio::join!(liveness_check(&mut ours), server).0
    }

    fn refusal(sqlstate: &[u8; 5]) -> Vec<u8> {
        let mut words = Vec::new();
        ErrorResponse::new(Severity::Fatal, SqlState::new(*sqlstate), "no").write(&mut words);
        words
    }

    #[tokio::test]
    async fn being_refused_is_a_sign_of_life() {
        for sqlstate in [b"28000", b"28P01", b"3D000", b"53300"] {
            assert!(knock_at_one_that_says(&refusal(sqlstate)).await.is_ok(), "{sqlstate:?}");
        }
        assert!(knock_at_one_that_says(b"R\0\0\0\x08\0\0\0\x03").await.is_ok());
    }

    #[tokio::test]
    async fn a_server_that_cannot_serve_is_not_up() {
        for sqlstate in [b"57P03", b"57P01", b"58000"] {
            let knocked = knock_at_one_that_says(&refusal(sqlstate)).await;
            assert!(matches!(knocked, Err(LivenessError::CannotServe(_))), "{sqlstate:?}");
        }
    }

    #[tokio::test]
    async fn silence_and_other_protocols_are_not_up() {
        assert!(matches!(knock_at_one_that_says(b"").await, Err(LivenessError::Broken(_))));
        assert!(matches!(knock_at_one_that_says(b"R\0\0").await, Err(LivenessError::Broken(_))));
        assert!(knock_at_one_that_says(b"HTTP/1.1 400 Bad Request\r\n").await.is_err());
    }
}
