//! Looks up which names of a database leave session state, over a backend that nobody else uses just now.
//!
//! Promises: the backend is as it was before, or an error says that it is of no more use. Refuses to know: who asks, and
//! when.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use crate::{
    handshake::FRAME_MAX,
    pool::Lease,
    sql::STATEFUL_SQL,
    wire::{
        Frame, Header, Reader, Speaker, TransactionStatus, backend::Message, frontend, tag::backend as b,
    },
};

/// Why the names are not known.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unlisted {
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[source] std::io::Error),
    /// The server said something that was not asked for.
    #[error("the server said something unexpected")]
    Unexpected,
    /// The server refused.
    #[error("the server refused: {0}")]
    Refused(String),
    /// There are more than anybody would look through.
    #[error("more than {NAMES_MAX} names")]
    TooMany,
    /// It took too long.
    #[error("no answer within {} s", LIMIT.as_secs())]
    Late,
}

/// Half a second is much for a large schema; the server gives up before we do.
const LIMIT: Duration = Duration::from_secs(20);
const NAMES_MAX: usize = 100_000;

/// The names, in lower case, in UTF-8. The backend's session settings do not matter and stay.
///
/// Cancel safety: dropped half-way, the backend is of no more use.
///
/// # Errors
/// [`Unlisted`]; the backend is of no more use.
pub(super) async fn list(lease: &mut Lease) -> Result<Vec<String>, Unlisted> {
    if let Some(memory) = &mut lease.memory {
        memory.queried();
    }
    timeout(LIMIT, ask(lease)).await.unwrap_or(Err(Unlisted::Late))
}

async fn ask(lease: &mut Lease) -> Result<Vec<String>, Unlisted> {
    let mut say = Vec::with_capacity(16 * 1024);
    let text = format!(
        "BEGIN READ ONLY; SET LOCAL jit = off; SET LOCAL client_encoding = 'UTF8'; SET LOCAL statement_timeout = '15s'; \
         {STATEFUL_SQL}; COMMIT"
    );
    frontend::write_query(&mut say, &text);
    let stream = &mut lease.stream;
    stream.write_all(&say).await.map_err(Unlisted::Broken)?;
    stream.flush().await.map_err(Unlisted::Broken)?;
    let mut names = Vec::new();
    let mut refused = None;
    let mut unread = Vec::with_capacity(8 * 1024);
    loop {
        let mut taken = 0;
        while let Some(frame) = frame(&unread[taken..])? {
            taken += frame.octets().len();
            if frame.tag() == b::DATA_ROW {
                names.push(first_column(frame.body()).ok_or(Unlisted::Unexpected)?);
                if names.len() > NAMES_MAX {
                    return Err(Unlisted::TooMany);
                }
                continue;
            }
            match Message::decode(&frame).map_err(|_| Unlisted::Unexpected)? {
                // Of the encoding: there and back.
                Message::ParameterStatus(_) | Message::NoticeResponse(_) => {}
                Message::ErrorResponse(fault) => refused = Some(fault.message().into_owned()),
                Message::ReadyForQuery(status) => {
                    let rest = &unread[taken..];
                    return match refused {
                        Some(words) => Err(Unlisted::Refused(words)),
                        None if status != TransactionStatus::Idle || !rest.is_empty() => {
                            Err(Unlisted::Unexpected)
                        }
                        None => Ok(names),
                    };
                }
                Message::CommandComplete(_) => {}
                _ if frame.tag() == b::ROW_DESCRIPTION => {}
                _ => return Err(Unlisted::Unexpected),
            }
        }
        unread.drain(..taken);
        if stream.read_buf(&mut unread).await.map_err(Unlisted::Broken)? == 0 {
            return Err(Unlisted::Broken(std::io::ErrorKind::UnexpectedEof.into()));
        }
    }
}

fn frame(unread: &[u8]) -> Result<Option<Frame<'_>>, Unlisted> {
    match Header::read(Speaker::Server, unread).map_err(|_| Unlisted::Unexpected)? {
        Some(header) if header.total() > FRAME_MAX => Err(Unlisted::Unexpected),
        _ => Frame::read(Speaker::Server, unread).map_err(|_| Unlisted::Unexpected),
    }
}

fn first_column(row: &[u8]) -> Option<String> {
    let mut reader = Reader::new(row);
    reader.i16().ok()?;
    let length = usize::try_from(reader.i32().ok()?).ok()?;
    Some(String::from_utf8_lossy(reader.octets(length).ok()?).into_owned())
}
