//! Teardown of a session: last error, cancel of an abandoned statement, Terminate.

use std::{
    future::poll_fn,
    io,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Notify,
    time::{sleep, timeout},
};

use super::{Relay, backend_side::SessionBackend, forward::ForwardBuffer, session_end::SessionEnd};
use crate::{
    client_error::ClientError,
    frontend::{
        observe::recorder::Recorder,
        registry::{
            cancel::{max_tries, retry_pause},
            entry::SessionEntry,
        },
    },
    pool::{Disposition, Lease},
    session::Session,
    tls::Stream,
    wire::frontend::write_terminate,
};

/// Time limit for a peer to receive the last messages.
const LAST_MESSAGE_TIMEOUT: Duration = Duration::from_secs(2);

/// Time limit for an abandoned statement to end after its cancellation.
const CANCELED_STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum number of cancel requests for an abandoned statement.
const MAX_CANCEL_TRIES: u32 = 20;

/// Closes both sides in order.
///
/// Cancel safety: if dropped, both connections break off.
pub(crate) async fn tear_down(end: &SessionEnd, relay: Relay) {
    let Relay { client, backend, mut session, registered, mut recorder, .. } = relay;
    let (mut client, from_client) = (client.stream, client.received);
    let (backend, from_backend) = (backend.connection, backend.received);
    let entry: &SessionEntry = &registered;
    let abandoned = !session.is_settled() && matches!(end, SessionEnd::Vanished | SessionEnd::Refused(_));
    if let Some(client_error) = end.last_words()
        && session.may_speak_to_client()
        && !from_backend.has_cleared()
    {
        last_words(&mut client, &client_error).await.ok();
    }
    drop(client);
    match backend {
        SessionBackend::None => {}
        SessionBackend::Own(backend) => {
            cut_short(&mut session, &mut recorder);
            // Boxed, because the future is large and rarely needed.
            Box::pin(leave_dedicated(end, backend, abandoned, &session, entry)).await;
        }
        SessionBackend::Leased(lease) => {
            let lost = matches!(
                end,
                SessionEnd::ServerClosed(_) | SessionEnd::BackendLost { .. } | SessionEnd::ServerNonsense(_)
            );
            if !lost && session.broken().is_none() && session.fatal().is_none() {
                let unsent = from_client.has_cleared();
                let recovery =
                    recover_lease(end, lease, from_backend, unsent, &mut session, &mut recorder, entry);
                Box::pin(recovery).await;
            }
            cut_short(&mut session, &mut recorder);
        }
    }
    recorder.record_end(end, entry).await;
}

/// Reports the running statement as interrupted.
fn cut_short(session: &mut Session, recorder: &mut Recorder) {
    session.on_break(Instant::now());
    while let Some(report) = session.poll_report() {
        recorder.record_statement(report);
    }
}

/// Closes the backend of a dedicated session.
async fn leave_dedicated(
    end: &SessionEnd,
    mut backend: Stream,
    abandoned: bool,
    session: &Session,
    entry: &SessionEntry,
) {
    let mut delivered = abandoned && cancel_statement(entry).await;
    if session.may_speak_to_backend()
        && !session.terminate_received()
        && !matches!(end, SessionEnd::BackendLost { .. })
    {
        let mut bytes = Vec::new();
        write_terminate(&mut bytes);
        timeout(LAST_MESSAGE_TIMEOUT, write_all(&mut backend, &bytes)).await.ok();
    }
    // The request may have reached another node behind the same address.
    for attempt in 1..entry.current_backend().as_ref().map_or(1, max_tries) {
        if !delivered || timeout(retry_pause(attempt), hear_out(&mut backend)).await.is_ok() {
            break;
        }
        delivered = cancel_statement(entry).await;
    }
}

/// Makes a leased backend reusable: cancels its running statement and reads the responses to the end. Discards the
/// backend if that fails.
async fn recover_lease(
    end: &SessionEnd,
    mut lease: Lease,
    mut said: ForwardBuffer,
    unsent: bool,
    session: &mut Session,
    recorder: &mut Recorder,
    entry: &SessionEntry,
) {
    let mut last = Vec::new();
    // After Terminate, the statement should finish; after a disconnect, it is canceled.
    let cancels = match session.is_settled() || matches!(end, SessionEnd::Farewell) {
        true => 0,
        false => entry.current_backend().as_ref().map_or(1, max_tries).max(MAX_CANCEL_TRIES),
    };
    // A partly sent message of the client cannot be completed.
    let can_speak = session.may_speak_to_backend() && !unsent;
    let can_end = session.wind_up(Instant::now(), &mut last) && can_speak;
    let over = Notify::new();
    let heard = async {
        let heard = timeout(
            CANCELED_STATEMENT_TIMEOUT,
            hear_end(&mut lease.stream, &last, &mut said, session, recorder),
        )
        .await;
        over.notify_one();
        matches!(heard, Ok(true))
    };
    // A cancel request sent too early, before the statement reaches the server, has no effect. The request may also
    // reach another node behind the same address. A started request is sent completely: a late request would hit the
    // next session's statement.
    let cancelled = async {
        for attempt in 1..=cancels {
            if !cancel_statement(entry).await {
                break;
            }
            tokio::select! {
                biased;
                () = over.notified() => break,
                () = sleep(retry_pause(attempt)) => {}
            }
        }
    };
    let recovered = if can_end {
        tokio::join!(heard, cancelled).0
    } else {
        drop(heard);
        cancelled.await;
        false
    };
    let reusable = recovered && !session.spoils_backend();
    let disposition = if reusable { Disposition::Reset } else { Disposition::Discard };
    give_back(lease, session, entry, disposition);
}

fn give_back(mut lease: Lease, session: &mut Session, entry: &SessionEntry, disposition: Disposition) {
    entry.clear_backend();
    // A dedicated session leaves the backend's tracked state in the lease.
    if let Some(tracked_state) = session.abandon() {
        lease.tracked_state = tracked_state.is_reusable().then_some(tracked_state);
    }
    lease.release(disposition);
}

/// Writes `last` and reads until all responses have arrived; false on failure.
async fn hear_end(
    backend: &mut Stream,
    last: &[u8],
    said: &mut ForwardBuffer,
    session: &mut Session,
    recorder: &mut Recorder,
) -> bool {
    if backend.write_all(last).await.is_err() || backend.flush().await.is_err() {
        return false;
    }
    loop {
        loop {
            let Ok(consumed) = session.on_backend(Instant::now(), said.unprocessed(), said.is_full()) else {
                return false;
            };
            said.take(consumed);
            said.discard_cleared();
            if consumed.byte_count() == 0 {
                break;
            }
        }
        while let Some(report) = session.poll_report() {
            recorder.record_statement(report);
        }
        // A COPY that starts only now waits for data, where the cancel request has no effect.
        let mut more = Vec::new();
        let can_end = session.wind_up(Instant::now(), &mut more);
        if session.is_settled() && more.is_empty() {
            // After an error the server may ignore all messages up to a Sync that the client has not sent.
            return can_end && !said.has_unjudged();
        }
        if !more.is_empty() && (backend.write_all(&more).await.is_err() || backend.flush().await.is_err()) {
            return false;
        }
        match poll_fn(|cx| said.poll_fill(backend, cx)).await {
            Ok(count) if count > 0 => {}
            _ => return false,
        }
    }
}

/// Tells a client why it is not served, and closes. A client that does not listen is not waited for.
pub(crate) async fn last_words(client: &mut Stream, client_error: &ClientError) -> io::Result<()> {
    let mut bytes = Vec::new();
    client_error.write(&mut bytes);
    timeout(LAST_MESSAGE_TIMEOUT, write_all(client, &bytes)).await.unwrap_or_else(|late| Err(late.into()))
}

async fn write_all(to: &mut Stream, bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes).await?;
    to.flush().await?;
    to.shutdown().await
}

/// Reads and discards until the other side closes.
async fn hear_out(from: &mut Stream) {
    let mut chunk = [0; 1024];
    while matches!(from.read(&mut chunk).await, Ok(count) if count > 0) {}
}

/// Cancels an abandoned statement; true if the request was delivered. The statement may have ended by then.
async fn cancel_statement(entry: &SessionEntry) -> bool {
    let Some(cancel) = entry.begin_cancel() else { return false };
    let sent = cancel.send().await;
    if let Err(error) = &sent {
        tracing::debug!(session = entry.id, %error, "cannot cancel the statement of a disconnected client");
    }
    sent.is_ok()
}
