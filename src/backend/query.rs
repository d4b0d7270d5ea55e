//! The SQL client: a request and the response on a logged-in connection.
//!
//! Promises: a single client for probe, pools, catalogs and startup settings; the caller chooses limits and strictness;
//! an error reports if the connection is still usable. Refuses to know: the meaning of a row.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use super::{Questions, fault_words};
use crate::{
    handshake::{MAX_FRAME_BYTES, Parameters},
    topology::ProbeAnswer,
    wire::{
        DecodeError, Frame, FrameError, Header, Speaker, SqlState, TransactionStatus,
        backend::{BackendMessage, ParameterStatus},
        frontend,
        tag::backend as b,
    },
};

/// Reason for a request without a usable response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QueryError {
    /// The server refused the request; the connection is as usable as before.
    #[error("the server refused the query: {words}")]
    Refused {
        /// SQLSTATE of the server.
        sqlstate: Option<SqlState>,
        /// Message of the server.
        words: String,
    },
    /// The connection broke.
    #[error("the connection broke during a query")]
    Broken(#[source] io::Error),
    /// The response has an invalid frame.
    #[error("the response to a query is not PostgreSQL's protocol")]
    Frame(#[source] FrameError),
    /// The response has an invalid message or row.
    #[error("the response to a query cannot be read")]
    Answer(#[source] DecodeError),
    /// The server sent a message that does not belong to the response.
    #[error("the server sent an unexpected message")]
    Unexpected,
    /// A reported setting differs from the value at login: the server has reloaded the configuration.
    #[error("a reported setting differs from its value at the login")]
    Changed,
    /// The response is longer than the limit.
    #[error("the response to a query is longer than {max_bytes} bytes")]
    TooLong {
        /// The limit.
        max_bytes: usize,
    },
    /// The response has more rows than the limit.
    #[error("the response to a query has more than {max_rows} rows")]
    TooManyRows {
        /// The limit.
        max_rows: usize,
    },
    /// The server sent more asynchronous messages than the limit.
    #[error("more than {max_bytes} bytes of notifications")]
    Flooded {
        /// The limit.
        max_bytes: usize,
    },
    /// The response did not come in time.
    #[error("no response to a query within {limit:?}")]
    Late {
        /// The limit.
        limit: Duration,
    },
    /// The response has no row.
    #[error("the query was not answered")]
    Nothing,
}

/// Limits of a response.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueryLimits {
    /// Maximum bytes of a response.
    pub(crate) max_bytes: usize,
    /// Maximum rows of a response.
    pub(crate) max_rows: usize,
    /// `None`: the caller has a time limit.
    pub(crate) time: Option<Duration>,
}

/// Handling of messages that do not belong to the response: reported settings, notifications and notices.
pub(crate) enum Strictness<'q> {
    /// All messages are ignored: the connection is Gatekeeper's own.
    Ignore,
    /// Reported settings and notifications are kept for the session of the connection. Unknown messages are an error.
    Keep {
        /// Buffer that receives the messages.
        kept: &'q mut Vec<u8>,
        /// Bytes that the buffer may hold.
        max_bytes: usize,
    },
    /// Reported settings must equal those of the login; notifications are dropped, because no session listens. Unknown
    /// messages are an error.
    Unchanged(&'q Parameters),
}

/// Sends requests over a connection, one at a time.
///
/// Cancel safety: after a request that was dropped half-way, the connection is unusable.
pub(crate) struct QueryClient<'q, S> {
    stream: &'q mut S,
    /// Bytes read and not processed.
    unread: Vec<u8>,
    limits: QueryLimits,
    strictness: Strictness<'q>,
    /// Transaction status of the last ReadyForQuery.
    status: TransactionStatus,
}

/// Limits of the response to [`query`]: few short rows.
const SHORT_RESPONSE: QueryLimits = QueryLimits { max_bytes: 64 << 10, max_rows: usize::MAX, time: None };

/// Queries the state of a server.
///
/// Cancel safety: as [`query`].
///
/// # Errors
/// As [`query`].
pub(crate) async fn query_state(
    connection: &mut (impl AsyncRead + AsyncWrite + Unpin),
    questions: Questions,
) -> Result<ProbeAnswer, QueryError> {
    query(connection, questions.sql(), |row| questions.read(row)).await
}

/// Sends `sql`, a single statement, on a connection of Gatekeeper; `read` decodes the last row.
///
/// Cancel safety: dropped half-way, the connection is unusable.
///
/// # Errors
/// [`QueryError`]; only after [`QueryError::Refused`] and [`QueryError::Nothing`] the connection is usable.
pub(crate) async fn query<T>(
    connection: &mut (impl AsyncRead + AsyncWrite + Unpin),
    sql: &str,
    read: impl Fn(&[u8]) -> Result<T, DecodeError>,
) -> Result<T, QueryError> {
    let mut last = None;
    let mut client = QueryClient::new(connection, SHORT_RESPONSE, Strictness::Ignore);
    let each = |row: &[u8]| {
        last = Some(read(row).map_err(QueryError::Answer)?);
        Ok(())
    };
    client.query(sql, each).await?;
    last.ok_or(QueryError::Nothing)
}

// === impl QueryClient ===

impl<'q, S: AsyncRead + AsyncWrite + Unpin> QueryClient<'q, S> {
    /// A client on an idle connection.
    pub(crate) fn new(stream: &'q mut S, limits: QueryLimits, strictness: Strictness<'q>) -> Self {
        Self { stream, unread: Vec::new(), limits, strictness, status: TransactionStatus::Idle }
    }

    /// With bytes that were read before.
    pub(crate) fn with_unread(mut self, unread: Vec<u8>) -> Self {
        self.unread = unread;
        self
    }

    /// Transaction status after the last request.
    pub(crate) const fn status(&self) -> TransactionStatus {
        self.status
    }

    /// Ends the use of the client. Bytes behind the last ReadyForQuery belong to the session of the connection; without
    /// a session they are an error.
    ///
    /// # Errors
    /// [`QueryError::Flooded`], [`QueryError::Unexpected`]; the connection is unusable.
    pub(crate) fn finish(self) -> Result<(), QueryError> {
        match self.strictness {
            Strictness::Ignore => Ok(()),
            Strictness::Keep { kept, max_bytes } => keep_bounded(kept, max_bytes, &self.unread),
            Strictness::Unchanged(_) if self.unread.is_empty() => Ok(()),
            Strictness::Unchanged(_) => Err(QueryError::Unexpected),
        }
    }

    /// Sends `sql` as a simple query, and passes each row to `each`.
    ///
    /// Cancel safety: dropped half-way, the connection is unusable.
    ///
    /// # Errors
    /// [`QueryError`]; after [`QueryError::Refused`] the connection is usable, and [`Self::status`] has the transaction
    /// status.
    pub(crate) async fn query(
        &mut self,
        sql: &str,
        each: impl FnMut(&[u8]) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        let mut request = Vec::with_capacity(sql.len() + 8);
        frontend::write_query(&mut request, sql);
        self.send(&request, each).await
    }

    /// Sends a request that ends with a single ReadyForQuery.
    ///
    /// Cancel safety: dropped half-way, the connection is unusable.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub(crate) async fn send(
        &mut self,
        request: &[u8],
        each: impl FnMut(&[u8]) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        match self.limits.time {
            None => self.exchange(request, each).await,
            Some(limit) => {
                timeout(limit, self.exchange(request, each)).await.unwrap_or(Err(QueryError::Late { limit }))
            }
        }
    }

    async fn exchange(
        &mut self,
        request: &[u8],
        mut each: impl FnMut(&[u8]) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        self.stream.write_all(request).await.map_err(QueryError::Broken)?;
        self.stream.flush().await.map_err(QueryError::Broken)?;
        let (mut bytes, mut rows, mut refused) = (0, 0, None);
        loop {
            let mut taken = 0;
            while let Some(frame) = read_frame(&self.unread[taken..])? {
                taken += frame.as_bytes().len();
                if frame.tag() == b::DATA_ROW {
                    rows += 1;
                    if rows > self.limits.max_rows {
                        return Err(QueryError::TooManyRows { max_rows: self.limits.max_rows });
                    }
                    each(frame.body())?;
                    continue;
                }
                match BackendMessage::decode(&frame).map_err(QueryError::Answer)? {
                    BackendMessage::ErrorResponse(fault) => {
                        let (sqlstate, words) = (fault.sqlstate(), fault_words(&fault));
                        refused = Some(QueryError::Refused { sqlstate, words });
                    }
                    BackendMessage::ReadyForQuery(status) => {
                        self.status = status;
                        self.unread.drain(..taken);
                        return refused.map_or(Ok(()), Err);
                    }
                    BackendMessage::CommandComplete(_) | BackendMessage::EmptyQueryResponse => {}
                    _ if frame.tag() == b::ROW_DESCRIPTION => {}
                    aside => self.strictness.take(&aside, frame.as_bytes())?,
                }
            }
            self.unread.drain(..taken);
            match self.stream.read_buf(&mut self.unread).await.map_err(QueryError::Broken)? {
                0 => return Err(self.connection_lost(refused)),
                read => bytes += read,
            }
            if bytes > self.limits.max_bytes {
                return Err(QueryError::TooLong { max_bytes: self.limits.max_bytes });
            }
        }
    }

    /// The connection has ended. A server mostly sends the reason first; a session's backend counts as broken in any
    /// case.
    fn connection_lost(&self, refused: Option<QueryError>) -> QueryError {
        let broken = || QueryError::Broken(io::ErrorKind::UnexpectedEof.into());
        match self.strictness {
            Strictness::Keep { .. } => broken(),
            Strictness::Ignore | Strictness::Unchanged(_) => refused.unwrap_or_else(broken),
        }
    }
}

// === impl Strictness ===

impl Strictness<'_> {
    /// Handles a message that does not belong to the response.
    fn take(&mut self, message: &BackendMessage<'_>, bytes: &[u8]) -> Result<(), QueryError> {
        match (self, message) {
            (Self::Ignore, _) | (_, BackendMessage::NoticeResponse(_)) => Ok(()),
            // The query may set and reset the encoding.
            (
                Self::Keep { .. },
                BackendMessage::ParameterStatus(ParameterStatus { name: b"client_encoding", .. }),
            ) => Ok(()),
            (
                Self::Keep { kept, max_bytes },
                BackendMessage::ParameterStatus(_) | BackendMessage::NotificationResponse { .. },
            ) => keep_bounded(kept, *max_bytes, bytes),
            (Self::Unchanged(parameters), BackendMessage::ParameterStatus(status)) => {
                let known = std::str::from_utf8(status.name).ok();
                match known.and_then(|name| parameters.get(name)) == Some(status.value) {
                    true => Ok(()),
                    false => Err(QueryError::Changed),
                }
            }
            (Self::Unchanged(_), BackendMessage::NotificationResponse { .. }) => Ok(()),
            (Self::Keep { .. } | Self::Unchanged(_), _) => Err(QueryError::Unexpected),
        }
    }
}

fn keep_bounded(kept: &mut Vec<u8>, max_bytes: usize, bytes: &[u8]) -> Result<(), QueryError> {
    if kept.len() + bytes.len() > max_bytes {
        return Err(QueryError::Flooded { max_bytes });
    }
    kept.extend_from_slice(bytes);
    Ok(())
}

fn read_frame(unread: &[u8]) -> Result<Option<Frame<'_>>, QueryError> {
    match Header::read(Speaker::Server, unread).map_err(QueryError::Frame)? {
        Some(header) if header.total() > MAX_FRAME_BYTES => {
            Err(QueryError::TooLong { max_bytes: MAX_FRAME_BYTES })
        }
        _ => Frame::read(Speaker::Server, unread).map_err(QueryError::Frame),
    }
}

// === impl QueryError ===

impl QueryError {
    /// True if the server refuses a function or setting of the query, so that a smaller query may succeed.
    pub(crate) fn is_about_the_question(&self) -> bool {
        let Self::Refused { sqlstate: Some(state), .. } = self else { return false };
        // Insufficient privilege or missing function, not supported, object in the wrong state.
        matches!(state.class(), "42" | "0A" | "55")
    }
}
