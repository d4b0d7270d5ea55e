//! Reads from the catalog which names leave session state, and the schema of a database, over an otherwise unused
//! backend.
//!
//! Promises: the backend's state is restored, or an error reports the backend as unusable. Asynchronous messages of the
//! server, mainly notifications, are kept in `unasked`. Refuses to know: the caller and the moment.
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-ASYNC>

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    backend::{QueryClient, QueryError, QueryLimits, Strictness},
    pool::Lease,
    sql::{EPOCH_SQL, STATEFUL_SQL, SchemaInfoBuilder, StatefulNamesBuilder, UnknownRow, schema_info_sql},
    wire::{DecodeError, Reader, TransactionStatus},
};

/// Limit on asynchronous messages during a catalog query, in bytes. A full notification queue arrives within one query.
const MAX_ASYNC_MESSAGE_BYTES: usize = 8 << 20;
/// Limits of a response. The time for a large schema is about half a second; the server gives up before Gatekeeper does.
const RESPONSE_LIMITS: QueryLimits =
    QueryLimits { max_bytes: usize::MAX, max_rows: 500_000, time: Some(Duration::from_secs(20)) };
const UNREADABLE: QueryError = QueryError::Answer(DecodeError::Invalid("row of a catalog query"));

/// Reads the names needed to predict session state left by a text. The backend's session settings do not matter and
/// stay.
///
/// Cancel safety: dropped half-way, the backend is of no more use.
///
/// # Errors
/// [`QueryError`]; the backend is of no more use.
pub(crate) async fn read_stateful_names(
    lease: &mut Lease,
    unasked: &mut Vec<u8>,
) -> Result<StatefulNamesBuilder, QueryError> {
    if let Some(tracked_state) = &mut lease.tracked_state {
        tracked_state.queried();
    }
    let mut builder = StatefulNamesBuilder::new();
    let each = |row: &[u8]| {
        let columns: [&[u8]; 4] = row_columns(row).ok_or(UNREADABLE)?;
        builder.row(&columns).map_err(|UnknownRow| UNREADABLE)
    };
    query_rows(&mut lease.stream, STATEFUL_SQL, each, unasked).await?;
    Ok(builder)
}

/// The server's answer to [`EPOCH_SQL`].
///
/// Cancel safety: dropped half-way, the backend is of no more use.
///
/// # Errors
/// [`QueryError`]; the backend is of no more use.
pub(crate) async fn read_epoch(lease: &mut Lease, unasked: &mut Vec<u8>) -> Result<Vec<u8>, QueryError> {
    if let Some(tracked_state) = &mut lease.tracked_state {
        tracked_state.queried();
    }
    let mut epoch = Vec::new();
    let each = |row: &[u8]| {
        let [text] = row_columns(row).ok_or(UNREADABLE)?;
        epoch = text.to_vec();
        Ok(())
    };
    query_rows(&mut lease.stream, EPOCH_SQL, each, unasked).await?;
    Ok(epoch)
}

/// Reads the objects of the database for the classifier; `primary_only` extends to all readers of the listed relations.
/// The backend's session settings do not matter and stay.
///
/// Cancel safety: dropped half-way, the backend is of no more use.
///
/// # Errors
/// [`QueryError`]; the backend is of no more use.
pub(crate) async fn read_schema(
    lease: &mut Lease,
    primary_only: &[(Option<String>, String)],
    unasked: &mut Vec<u8>,
) -> Result<SchemaInfoBuilder, QueryError> {
    if let Some(tracked_state) = &mut lease.tracked_state {
        tracked_state.queried();
    }
    read_knowledge(&mut lease.stream, primary_only, unasked).await
}

/// Reads the objects of the connection's database for the classifier; `primary_only` extends to all readers of the
/// listed relations.
///
/// Cancel safety: dropped half-way, the connection is of no more use.
///
/// # Errors
/// [`QueryError`]; the connection is of no more use.
pub async fn read_schema_of_connection(
    connection: &mut (impl AsyncRead + AsyncWrite + Unpin),
    primary_only: &[(Option<String>, String)],
) -> Result<SchemaInfoBuilder, QueryError> {
    read_knowledge(connection, primary_only, &mut Vec::new()).await
}

async fn read_knowledge(
    connection: &mut (impl AsyncRead + AsyncWrite + Unpin),
    primary_only: &[(Option<String>, String)],
    unasked: &mut Vec<u8>,
) -> Result<SchemaInfoBuilder, QueryError> {
    let mut builder = SchemaInfoBuilder::new();
    let each = |row: &[u8]| {
        let columns: [&[u8]; 7] = row_columns(row).ok_or(UNREADABLE)?;
        builder.row(&columns).map_err(|UnknownRow| UNREADABLE)
    };
    query_rows(connection, &schema_info_sql(primary_only), each, unasked).await?;
    Ok(builder)
}

/// Sets `application_name` of the backend's session; the server's reports are appended to `reports`.
///
/// Cancel safety: dropped half-way, the backend is of no more use.
///
/// # Errors
/// [`QueryError`]; the backend is of no more use.
pub(crate) async fn set_application_name(
    lease: &mut Lease,
    name: &[u8],
    reports: &mut Vec<u8>,
) -> Result<(), QueryError> {
    let digits: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
    let text = format!(
        "SELECT pg_catalog.set_config('application_name', pg_catalog.convert_from(pg_catalog.decode('{digits}', 'hex'), \
         pg_catalog.getdatabaseencoding()), false)"
    );
    run_script(&mut lease.stream, &text, |_| Ok(()), reports).await
}

/// Passes each row of `sql` to `each`.
async fn query_rows(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    sql: &str,
    each: impl FnMut(&[u8]) -> Result<(), QueryError>,
    unasked: &mut Vec<u8>,
) -> Result<(), QueryError> {
    let text = format!(
        "BEGIN READ ONLY; SET LOCAL jit = off; SET LOCAL client_encoding = 'UTF8'; SET LOCAL statement_timeout = '15s'; \
         {sql}; COMMIT"
    );
    run_script(stream, &text, each, unasked).await
}

/// Sends `text`, a complete transaction, and passes each row of the answer to `each`. Asynchronous messages are
/// appended to `unasked`.
///
/// Cancel safety: dropped half-way, the connection is of no more use.
///
/// # Errors
/// [`QueryError`]; unless the server refused, the connection is of no more use.
pub(crate) async fn run_script(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    text: &str,
    each: impl FnMut(&[u8]) -> Result<(), QueryError>,
    unasked: &mut Vec<u8>,
) -> Result<(), QueryError> {
    let strictness = Strictness::Keep { kept: unasked, max_bytes: MAX_ASYNC_MESSAGE_BYTES };
    let mut client = QueryClient::new(stream, RESPONSE_LIMITS, strictness);
    let mut result = client.query(text, each).await;
    if matches!(result, Err(QueryError::Refused { .. })) && client.status() != TransactionStatus::Idle {
        // The connection is unusable then, unlike after the refusal of the query.
        client.query("ROLLBACK", |_| Ok(())).await.map_err(|_| QueryError::Unexpected)?;
    }
    if matches!(result, Ok(()) | Err(QueryError::Refused { .. })) {
        if client.status() != TransactionStatus::Idle {
            result = Err(QueryError::Unexpected);
        }
        client.finish()?;
    }
    result
}

/// The columns of a row with `N` columns; NULL is empty.
pub(crate) fn row_columns<const N: usize>(row: &[u8]) -> Option<[&[u8]; N]> {
    let mut reader = Reader::new(row);
    if usize::try_from(reader.i16().ok()?) != Ok(N) {
        return None;
    }
    let mut columns: [&[u8]; N] = [b""; N];
    for column in &mut columns {
        if let Ok(length) = usize::try_from(reader.i32().ok()?) {
            *column = reader.bytes(length).ok()?;
        }
    }
    Some(columns)
}
