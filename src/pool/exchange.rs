//! A short conversation of the pool's own with a backend that no session has.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    backend::QueryError,
    handshake::{FRAME_MAX, Parameters},
    tls::Stream,
    wire::{Frame, Header, Speaker, TransactionStatus, backend::Message},
};

/// The conversation.
pub(super) struct Exchange<'a> {
    stream: &'a mut Stream,
    unread: Vec<u8>,
    /// What the backend reported when it logged in: it must not say anything else now.
    parameters: &'a Parameters,
}

/// Why the backend is of no more use.
#[derive(Debug, thiserror::Error)]
pub(super) enum Surprise {
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[source] std::io::Error),
    /// It said something that was not asked for.
    #[error("the server said something unexpected")]
    Unexpected,
    /// It could not do what was asked.
    #[error("the server refused: {0}")]
    Refused(String),
    /// A setting is another one than at the login: the configuration was read again there.
    #[error("a reported setting differs from what it was at the login")]
    Changed,
    /// Functions of the database may leave state that no statement removes.
    #[error("functions of its database may have left state that DISCARD ALL leaves")]
    KeepsState,
    /// The query for leftover state failed.
    #[error("it could not be asked what it keeps")]
    Unasked(#[source] QueryError),
    /// It did not answer in time.
    #[error("the server did not answer in time")]
    Late,
}

impl<'a> Exchange<'a> {
    /// With a backend that has said `unread` already.
    pub(super) fn new(stream: &'a mut Stream, unread: Vec<u8>, parameters: &'a Parameters) -> Self {
        Self { stream, unread, parameters }
    }

    /// Says something that is answered with one ReadyForQuery and no rows; where the backend stands then.
    pub(super) async fn ask(&mut self, octets: &[u8]) -> Result<TransactionStatus, Surprise> {
        self.stream.write_all(octets).await.map_err(Surprise::Broken)?;
        self.stream.flush().await.map_err(Surprise::Broken)?;
        let mut refused = None;
        loop {
            let mut taken = 0;
            while let Some(frame) = frame(&self.unread[taken..])? {
                taken += frame.octets().len();
                match Message::decode(&frame).map_err(|_| Surprise::Unexpected)? {
                    Message::CommandComplete(_)
                    | Message::EmptyQueryResponse
                    | Message::NoticeResponse(_)
                    | Message::NotificationResponse { .. } => {}
                    Message::ParameterStatus(status) => {
                        let known = std::str::from_utf8(status.name).ok();
                        if known.and_then(|name| self.parameters.get(name)) != Some(status.value) {
                            return Err(Surprise::Changed);
                        }
                    }
                    Message::ErrorResponse(fault) => refused = Some(fault.message().into_owned()),
                    Message::ReadyForQuery(status) => {
                        self.unread.drain(..taken);
                        return refused.map_or(Ok(status), |words| Err(Surprise::Refused(words)));
                    }
                    _ => return Err(Surprise::Unexpected),
                }
            }
            self.unread.drain(..taken);
            if self.stream.read_buf(&mut self.unread).await.map_err(Surprise::Broken)? == 0 {
                return match refused {
                    Some(words) => Err(Surprise::Refused(words)),
                    None => Err(Surprise::Broken(std::io::ErrorKind::UnexpectedEof.into())),
                };
            }
        }
    }

    /// Ends it; the backend must have nothing left to say.
    pub(super) fn end(self) -> Result<(), Surprise> {
        if self.unread.is_empty() { Ok(()) } else { Err(Surprise::Unexpected) }
    }
}

fn frame(unread: &[u8]) -> Result<Option<Frame<'_>>, Surprise> {
    match Header::read(Speaker::Server, unread).map_err(|_| Surprise::Unexpected)? {
        Some(header) if header.total() > FRAME_MAX => Err(Surprise::Unexpected),
        _ => Frame::read(Speaker::Server, unread).map_err(|_| Surprise::Unexpected),
    }
}
