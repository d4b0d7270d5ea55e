//! One question and its answer, on a connection that is logged in.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{Questions, fault_words};
use crate::{
    topology::Answer,
    wire::{self, DecodeError, Frame, FrameError, Speaker, SqlState, backend::Message, tag},
};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QueryError {
    /// The server would not answer; the connection is as good as before.
    #[error("the question was refused: {words}")]
    Refused {
        /// The server's SQLSTATE.
        sqlstate: Option<SqlState>,
        /// Its words.
        words: String,
    },
    /// The connection broke.
    #[error("the connection broke over a question")]
    Broken(#[source] io::Error),
    /// The server sent no frame.
    #[error("the answer to a question is not PostgreSQL's protocol")]
    Frame(#[source] FrameError),
    /// The server sent something else than was asked for.
    #[error("the answer to a question cannot be read")]
    Answer(#[source] DecodeError),
    /// The server had nothing to say.
    #[error("the question was not answered")]
    Nothing,
}

/// Octets of an answer at most: it is one short row, or a few.
const ANSWER_MAX: usize = 64 << 10;

/// Asks what a server is.
///
/// Cancel safety: as [`query`].
///
/// # Errors
/// As [`query`].
pub(crate) async fn ask(
    connection: &mut (impl AsyncRead + AsyncWrite + Unpin),
    questions: Questions,
) -> Result<Answer, QueryError> {
    query(connection, questions.sql(), |row| questions.read(row)).await
}

/// Sends `sql`, one statement, and reads up to ReadyForQuery; `read` understands its last row.
///
/// Cancel safety: a connection on which it was dropped is of no further use.
///
/// # Errors
/// [`QueryError`] says whether the connection is still good.
pub(crate) async fn query<T>(
    connection: &mut (impl AsyncRead + AsyncWrite + Unpin),
    sql: &str,
    read: impl Fn(&[u8]) -> Result<T, DecodeError>,
) -> Result<T, QueryError> {
    let mut query = Vec::new();
    wire::frame(&mut query, tag::frontend::QUERY, |body| {
        body.extend_from_slice(sql.as_bytes());
        body.push(0);
    });
    connection.write_all(&query).await.map_err(QueryError::Broken)?;
    connection.flush().await.map_err(QueryError::Broken)?;

    let mut unread = Vec::with_capacity(1024);
    let mut result = Err(QueryError::Nothing);
    let mut octets_read = 0;
    loop {
        let mut taken = 0;
        while let Some(frame) = Frame::read(Speaker::Server, unread.get(taken..).unwrap_or_default())
            .map_err(QueryError::Frame)?
        {
            taken += frame.octets().len();
            match Message::decode(&frame).map_err(QueryError::Answer)? {
                Message::DataRow => result = read(frame.body()).map_err(QueryError::Answer),
                Message::ErrorResponse(fault) => {
                    result =
                        Err(QueryError::Refused { sqlstate: fault.sqlstate(), words: fault_words(&fault) });
                }
                Message::ReadyForQuery(_) => return result,
                _ => {}
            }
        }
        unread.drain(..taken);
        match connection.read_buf(&mut unread).await.map_err(QueryError::Broken)? {
            // A server that ends says why first: that is worth more than the end.
            0 if matches!(result, Err(QueryError::Refused { .. })) => return result,
            0 => return Err(QueryError::Broken(io::ErrorKind::UnexpectedEof.into())),
            octets => octets_read += octets,
        }
        if octets_read > ANSWER_MAX {
            return Err(QueryError::Answer(DecodeError::Trailing(octets_read - ANSWER_MAX)));
        }
    }
}

// === impl QueryError ===

impl QueryError {
    /// Whether the server took offence at a function or setting, so that a smaller question may do.
    pub(crate) fn is_about_the_question(&self) -> bool {
        let Self::Refused { sqlstate: Some(state), .. } = self else { return false };
        // Access rule or missing function, not supported, object not in the state for it.
        matches!(state.class(), "42" | "0A" | "55")
    }
}
