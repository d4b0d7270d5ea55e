//! The SQL client over a scripted connection, with a paused clock.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use crate::{
    backend::{Columns, QueryClient, QueryError, QueryLimits, Strictness, query},
    handshake::Parameters,
    wire::{ErrorResponse, Severity, SqlState, TransactionStatus, backend, tag::backend as b, write_frame},
};

const LIMITS: QueryLimits =
    QueryLimits { max_bytes: 1 << 10, max_rows: 2, time: Some(Duration::from_secs(5)) };

fn ready(out: &mut Vec<u8>, status: TransactionStatus) {
    backend::write_ready_for_query(out, status);
}

fn row(out: &mut Vec<u8>, text: &str) {
    write_frame(out, b::DATA_ROW, |body| {
        body.extend_from_slice(&1_i16.to_be_bytes());
        body.extend_from_slice(&i32::try_from(text.len()).unwrap().to_be_bytes());
        body.extend_from_slice(text.as_bytes());
    });
}

fn status(out: &mut Vec<u8>, name: &str, value: &str) {
    write_frame(out, b::PARAMETER_STATUS, |body| {
        for text in [name, value] {
            body.extend_from_slice(text.as_bytes());
            body.push(0);
        }
    });
}

fn refusal(out: &mut Vec<u8>) {
    ErrorResponse::new(Severity::Error, SqlState::new(*b"42501"), "not for you").write(out);
}

/// Connection to a server that has sent `response`; the server's end is kept open.
async fn server(response: &[u8]) -> (DuplexStream, DuplexStream) {
    let (ours, mut theirs) = duplex(64 << 10);
    theirs.write_all(response).await.unwrap();
    (ours, theirs)
}

/// Result of a query with `strictness`, and the status afterwards.
async fn run(response: &[u8], strictness: Strictness<'_>) -> Result<usize, QueryError> {
    let (mut ours, _theirs) = server(response).await;
    let mut rows = 0;
    let mut client = QueryClient::new(&mut ours, LIMITS, strictness);
    client
        .query("SELECT", |_| {
            rows += 1;
            Ok(())
        })
        .await?;
    client.finish()?;
    Ok(rows)
}

#[tokio::test]
async fn the_last_row_is_the_answer() {
    let mut response = Vec::new();
    status(&mut response, "TimeZone", "UTC");
    row(&mut response, "one");
    row(&mut response, "two");
    ready(&mut response, TransactionStatus::Idle);
    let (mut ours, mut theirs) = server(&response).await;
    let read = |row: &[u8]| Ok(Columns::of(row)?.next()?.map(str::to_owned));
    assert_eq!(query(&mut ours, "SELECT 'two'", read).await.unwrap().as_deref(), Some("two"));
    let mut request = vec![0; 18];
    theirs.read_exact(&mut request).await.unwrap();
    assert_eq!(request, b"Q\0\0\0\x11SELECT 'two'\0");
}

#[tokio::test]
async fn a_refusal_leaves_the_connection_usable() {
    let mut response = Vec::new();
    refusal(&mut response);
    ready(&mut response, TransactionStatus::Failed);
    ready(&mut response, TransactionStatus::Idle);
    let (mut ours, _theirs) = server(&response).await;
    let mut client = QueryClient::new(&mut ours, LIMITS, Strictness::Unchanged(&PARAMETERS));
    let refused = client.query("SELECT", |_| Ok(())).await.unwrap_err();
    assert!(refused.is_about_the_question(), "{refused}");
    assert_eq!(client.status(), TransactionStatus::Failed);
    client.query("ROLLBACK", |_| Ok(())).await.unwrap();
    assert_eq!(client.status(), TransactionStatus::Idle);
    client.finish().unwrap();
}

#[tokio::test]
async fn a_refusal_explains_the_end_of_a_connection() {
    let mut response = Vec::new();
    refusal(&mut response);
    for (strictness, explained) in
        [(Strictness::Ignore, true), (Strictness::Keep { kept: &mut Vec::new(), max_bytes: 64 }, false)]
    {
        let (mut ours, theirs) = server(&response).await;
        drop(theirs);
        let mut client = QueryClient::new(&mut ours, LIMITS, strictness);
        let error = client.send(b"", |_| Ok(())).await.unwrap_err();
        assert_eq!(matches!(error, QueryError::Refused { .. }), explained, "{error}");
    }
}

static PARAMETERS: std::sync::LazyLock<Parameters> = std::sync::LazyLock::new(|| {
    let mut parameters = Parameters::default();
    parameters.report(b"TimeZone", b"UTC");
    parameters
});

#[tokio::test]
async fn reported_settings_are_handled_by_strictness() {
    let response = |value| {
        let mut response = Vec::new();
        status(&mut response, "TimeZone", value);
        ready(&mut response, TransactionStatus::Idle);
        response
    };
    assert!(matches!(run(&response("UTC"), Strictness::Unchanged(&PARAMETERS)).await, Ok(0)));
    let changed = run(&response("PRC"), Strictness::Unchanged(&PARAMETERS)).await;
    assert!(matches!(changed, Err(QueryError::Changed)));
    assert!(matches!(run(&response("PRC"), Strictness::Ignore).await, Ok(0)));
    let mut kept = Vec::new();
    run(&response("PRC"), Strictness::Keep { kept: &mut kept, max_bytes: 64 }).await.unwrap();
    let mut expected = Vec::new();
    status(&mut expected, "TimeZone", "PRC");
    assert_eq!(kept, expected);
    let flooded = run(&response("PRC"), Strictness::Keep { kept: &mut kept, max_bytes: 20 }).await;
    assert!(matches!(flooded, Err(QueryError::Flooded { max_bytes: 20 })));
}

#[tokio::test]
async fn unknown_messages_are_refused_unless_ignored() {
    let mut response = Vec::new();
    write_frame(&mut response, b::COPY_DATA, |_| {});
    ready(&mut response, TransactionStatus::Idle);
    let strict = run(&response, Strictness::Unchanged(&PARAMETERS)).await;
    assert!(matches!(strict, Err(QueryError::Unexpected)));
    let kept = run(&response, Strictness::Keep { kept: &mut Vec::new(), max_bytes: 64 }).await;
    assert!(matches!(kept, Err(QueryError::Unexpected)));
    assert!(matches!(run(&response, Strictness::Ignore).await, Ok(0)));
}

#[tokio::test]
async fn bytes_behind_the_response_are_not_lost() {
    let mut response = Vec::new();
    ready(&mut response, TransactionStatus::Idle);
    let mut behind = Vec::new();
    status(&mut behind, "TimeZone", "PRC");
    response.extend_from_slice(&behind);
    let unchanged = run(&response, Strictness::Unchanged(&PARAMETERS)).await;
    assert!(matches!(unchanged, Err(QueryError::Unexpected)));
    let mut kept = Vec::new();
    run(&response, Strictness::Keep { kept: &mut kept, max_bytes: 64 }).await.unwrap();
    assert_eq!(kept, behind);
}

#[tokio::test]
async fn a_response_has_limits() {
    let mut response = Vec::new();
    (0..3).for_each(|_| row(&mut response, "one"));
    let rows = run(&response, Strictness::Ignore).await;
    assert!(matches!(rows, Err(QueryError::TooManyRows { max_rows: 2 })));
    let mut long = Vec::new();
    status(&mut long, "x", &"y".repeat(LIMITS.max_bytes));
    status(&mut long, "x", &"y".repeat(LIMITS.max_bytes));
    let bytes = run(&long, Strictness::Ignore).await;
    assert!(matches!(bytes, Err(QueryError::TooLong { max_bytes }) if max_bytes == LIMITS.max_bytes));
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_not_waited_for() {
    let silent = run(b"", Strictness::Ignore).await;
    assert!(matches!(silent, Err(QueryError::Late { limit }) if Some(limit) == LIMITS.time));
    let (mut ours, theirs) = server(b"").await;
    drop(theirs);
    let none = |_: &[u8]| Ok(());
    let broken = query(&mut ours, "SELECT", none).await;
    assert!(matches!(broken, Err(QueryError::Broken(_))));
    let mut response = Vec::new();
    ready(&mut response, TransactionStatus::Idle);
    let (mut ours, _theirs) = server(&response).await;
    assert!(matches!(query(&mut ours, "SELECT", none).await, Err(QueryError::Nothing)));
}
