//! Looks up which names of a database leave session state, and what it has, over a backend that nobody else uses just now.
//!
//! Promises: the backend's state is restored, or an error reports the backend as unusable. Asynchronous messages of the
//! server, mainly notifications, are kept in `unasked`. Refuses to know: the caller and the moment.
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-ASYNC>

use std::time::Duration;

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use crate::{
    handshake::FRAME_MAX,
    pool::Lease,
    sql::{CatalogueBuilder, EPOCH_SQL, KnowledgeBuilder, STATEFUL_SQL, UnknownRow, knowledge_sql},
    wire::{
        Frame, Header, Reader, Speaker, TransactionStatus, backend::Message, frontend, tag::backend as b,
    },
};

/// Why the names are not known.
#[derive(Debug, thiserror::Error)]
pub enum Unlisted {
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[source] std::io::Error),
    /// The server said something that was not asked for.
    #[error("the server said something unexpected")]
    Unexpected,
    /// The server refused. The backend is idle.
    #[error("the server refused: {0}")]
    Refused(String),
    /// The server sent more asynchronous messages than the limit.
    #[error("more than {MAX_UNASKED_BYTES} bytes of notifications")]
    Flooded,
    /// There are more than anybody would look through.
    #[error("more than {ROWS_MAX} names")]
    TooMany,
    /// It took too long.
    #[error("no answer within {} s", LIMIT.as_secs())]
    Late,
}

/// Limit on asynchronous messages during a catalog query, in bytes: a full notification queue arrives within a single
/// query; no session keeps more.
const MAX_UNASKED_BYTES: usize = 8 << 20;
/// Half a second is much for a large schema; the server gives up before we do.
const LIMIT: Duration = Duration::from_secs(20);
const ROWS_MAX: usize = 500_000;

/// Reads the names needed to predict session state left by a text. The backend's session settings do not matter and
/// stay.
///
/// Cancel safety: dropped half-way, the backend is of no more use.
///
/// # Errors
/// [`Unlisted`]; the backend is of no more use.
pub(crate) async fn list(lease: &mut Lease, unasked: &mut Vec<u8>) -> Result<CatalogueBuilder, Unlisted> {
    if let Some(memory) = &mut lease.memory {
        memory.queried();
    }
    let mut builder = CatalogueBuilder::new();
    let each = |row: &[u8]| {
        let columns: [&[u8]; 4] = columns(row).ok_or(Unlisted::Unexpected)?;
        builder.row(&columns).map_err(|UnknownRow| Unlisted::Unexpected)
    };
    ask(&mut lease.stream, STATEFUL_SQL, each, unasked).await?;
    Ok(builder)
}

/// The server's answer to [`EPOCH_SQL`].
///
/// Cancel safety: dropped half-way, the backend is of no more use.
///
/// # Errors
/// [`Unlisted`]; the backend is of no more use.
pub(crate) async fn epoch(lease: &mut Lease, unasked: &mut Vec<u8>) -> Result<Vec<u8>, Unlisted> {
    if let Some(memory) = &mut lease.memory {
        memory.queried();
    }
    let mut epoch = Vec::new();
    let each = |row: &[u8]| {
        let [text] = columns(row).ok_or(Unlisted::Unexpected)?;
        epoch = text.to_vec();
        Ok(())
    };
    ask(&mut lease.stream, EPOCH_SQL, each, unasked).await?;
    Ok(epoch)
}

/// Reads the objects of the database for the classifier; `primary_only` extends to all readers of the listed relations.
/// The backend's session settings do not matter and stay.
///
/// Cancel safety: dropped half-way, the backend is of no more use.
///
/// # Errors
/// [`Unlisted`]; the backend is of no more use.
pub(crate) async fn know(
    lease: &mut Lease,
    primary_only: &[(Option<String>, String)],
    unasked: &mut Vec<u8>,
) -> Result<KnowledgeBuilder, Unlisted> {
    if let Some(memory) = &mut lease.memory {
        memory.queried();
    }
    read_knowledge(&mut lease.stream, primary_only, unasked).await
}

/// Reads the objects of the connection's database for the classifier; `primary_only` extends to all readers of the
/// listed relations.
///
/// Cancel safety: dropped half-way, the connection is of no more use.
///
/// # Errors
/// [`Unlisted`]; the connection is of no more use.
pub async fn knowledge(
    connection: &mut (impl AsyncRead + AsyncWrite + Unpin),
    primary_only: &[(Option<String>, String)],
) -> Result<KnowledgeBuilder, Unlisted> {
    read_knowledge(connection, primary_only, &mut Vec::new()).await
}

async fn read_knowledge(
    connection: &mut (impl AsyncRead + AsyncWrite + Unpin),
    primary_only: &[(Option<String>, String)],
    unasked: &mut Vec<u8>,
) -> Result<KnowledgeBuilder, Unlisted> {
    let mut builder = KnowledgeBuilder::new();
    let each = |row: &[u8]| {
        let columns: [&[u8]; 7] = columns(row).ok_or(Unlisted::Unexpected)?;
        builder.row(&columns).map_err(|UnknownRow| Unlisted::Unexpected)
    };
    ask(connection, &knowledge_sql(primary_only), each, unasked).await?;
    Ok(builder)
}

/// Tells `each` the rows that `sql` lists.
async fn ask(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    sql: &str,
    each: impl FnMut(&[u8]) -> Result<(), Unlisted>,
    unasked: &mut Vec<u8>,
) -> Result<(), Unlisted> {
    let text = format!(
        "BEGIN READ ONLY; SET LOCAL jit = off; SET LOCAL client_encoding = 'UTF8'; SET LOCAL statement_timeout = '15s'; \
         {sql}; COMMIT"
    );
    converse(stream, &text, each, unasked).await
}

/// Sends `text`, a complete transaction, and passes each row of the answer to `each`. Asynchronous messages are
/// appended to `unasked`.
///
/// Cancel safety: dropped half-way, the connection is of no more use.
///
/// # Errors
/// [`Unlisted`]; unless the server refused, the connection is of no more use.
pub(crate) async fn converse(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    text: &str,
    each: impl FnMut(&[u8]) -> Result<(), Unlisted>,
    unasked: &mut Vec<u8>,
) -> Result<(), Unlisted> {
    timeout(LIMIT, read_rows(stream, text, each, unasked)).await.unwrap_or(Err(Unlisted::Late))
}

async fn read_rows(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    text: &str,
    mut each: impl FnMut(&[u8]) -> Result<(), Unlisted>,
    unasked: &mut Vec<u8>,
) -> Result<(), Unlisted> {
    let mut say = Vec::with_capacity(16 * 1024);
    frontend::write_query(&mut say, text);
    stream.write_all(&say).await.map_err(Unlisted::Broken)?;
    stream.flush().await.map_err(Unlisted::Broken)?;
    let mut rows = 0;
    let mut refused = None;
    let mut unread = Vec::with_capacity(8 * 1024);
    loop {
        let mut taken = 0;
        while let Some(frame) = frame(&unread[taken..])? {
            taken += frame.octets().len();
            if frame.tag() == b::DATA_ROW {
                each(frame.body())?;
                rows += 1;
                if rows > ROWS_MAX {
                    return Err(Unlisted::TooMany);
                }
                continue;
            }
            match Message::decode(&frame).map_err(|_| Unlisted::Unexpected)? {
                // The question sets the encoding, there and back.
                Message::ParameterStatus(status) if status.name == b"client_encoding" => {}
                Message::ParameterStatus(_) | Message::NotificationResponse { .. } => {
                    keep(frame.octets(), unasked)?;
                }
                Message::NoticeResponse(_) => {}
                Message::ErrorResponse(fault) => refused = Some(fault.message().into_owned()),
                Message::ReadyForQuery(status) => {
                    if refused.is_some() && status != TransactionStatus::Idle {
                        say.clear();
                        frontend::write_query(&mut say, "ROLLBACK");
                        stream.write_all(&say).await.map_err(Unlisted::Broken)?;
                        stream.flush().await.map_err(Unlisted::Broken)?;
                        continue;
                    }
                    keep(&unread[taken..], unasked)?;
                    return match refused {
                        Some(words) => Err(Unlisted::Refused(words)),
                        None if status != TransactionStatus::Idle => Err(Unlisted::Unexpected),
                        None => Ok(()),
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

fn keep(bytes: &[u8], unasked: &mut Vec<u8>) -> Result<(), Unlisted> {
    if unasked.len() + bytes.len() > MAX_UNASKED_BYTES {
        return Err(Unlisted::Flooded);
    }
    unasked.extend_from_slice(bytes);
    Ok(())
}

fn frame(unread: &[u8]) -> Result<Option<Frame<'_>>, Unlisted> {
    match Header::read(Speaker::Server, unread).map_err(|_| Unlisted::Unexpected)? {
        Some(header) if header.total() > FRAME_MAX => Err(Unlisted::Unexpected),
        _ => Frame::read(Speaker::Server, unread).map_err(|_| Unlisted::Unexpected),
    }
}

/// The columns of a row that has so many; NULL is empty.
pub(crate) fn columns<const N: usize>(row: &[u8]) -> Option<[&[u8]; N]> {
    let mut reader = Reader::new(row);
    if usize::try_from(reader.i16().ok()?) != Ok(N) {
        return None;
    }
    let mut columns: [&[u8]; N] = [b""; N];
    for column in &mut columns {
        if let Ok(length) = usize::try_from(reader.i32().ok()?) {
            *column = reader.octets(length).ok()?;
        }
    }
    Some(columns)
}
