//! What is still to be done when a session has ended: last words, a cancel for a statement nobody waits for, Terminate.

use std::{
    io,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::{
    cancel::{pause, tries},
    end::End,
    recorder::Recorder,
    session_entry::SessionEntry,
    side::Side,
};
use crate::{
    session::{Refusal, Session},
    tls::Stream,
    wire::frontend::write_terminate,
};

/// How long a peer may take to hear our last words.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Says goodbye to both sides.
///
/// Cancel safety: dropped half-way, both connections just break off.
pub(super) async fn conclude(
    end: &End,
    mut client: Side,
    mut backend: Side,
    mut session: Session,
    entry: &SessionEntry,
    mut recorder: Recorder,
) {
    let abandoned = !session.is_settled() && matches!(end, End::Vanished | End::Refused(_));
    session.on_break(Instant::now());
    while let Some(report) = session.poll_report() {
        recorder.statement(report);
    }
    if let Some(refusal) = end.last_words()
        && session.may_speak_to_client()
        && !client.has_cleared()
    {
        last_words(&mut client.stream, &refusal).await.ok();
    }
    drop(client);
    let mut delivered = abandoned && cancel(entry).await;
    if session.may_speak_to_backend() && !session.said_farewell() && !matches!(end, End::BackendLost { .. }) {
        let mut octets = Vec::new();
        write_terminate(&mut octets);
        timeout(LAST_WORDS, say(&mut backend.stream, &octets)).await.ok();
    }
    // The request may have reached another node behind the same address.
    for _ in 1..tries(entry) {
        if !delivered || timeout(pause(), hear_out(&mut backend.stream)).await.is_ok() {
            break;
        }
        delivered = cancel(entry).await;
    }
    drop(backend);
    recorder.closed(end, entry).await;
}

/// Tells a client why it is not served, and closes. A client that does not listen is not waited for.
pub(super) async fn last_words(client: &mut Stream, refusal: &Refusal) -> io::Result<()> {
    let mut octets = Vec::new();
    refusal.write(&mut octets);
    timeout(LAST_WORDS, say(client, &octets)).await.unwrap_or_else(|late| Err(late.into()))
}

async fn say(to: &mut Stream, octets: &[u8]) -> io::Result<()> {
    to.write_all(octets).await?;
    to.flush().await?;
    to.shutdown().await
}

/// Reads until the other side closes, and keeps nothing.
async fn hear_out(from: &mut Stream) {
    let mut chunk = [0; 1024];
    while matches!(from.read(&mut chunk).await, Ok(count) if count > 0) {}
}

/// Cancels the statement that a session left behind, and answers whether the request was delivered. The statement may be
/// over by then: nobody is waiting either way.
async fn cancel(entry: &SessionEntry) -> bool {
    let Some(key) = &entry.server_key else { return false };
    let sent = entry.endpoint.cancel(key, entry.peer).await;
    if let Err(error) = &sent {
        tracing::debug!(session = entry.id, endpoint = %entry.endpoint.name(), %error, "the abandoned statement could not be cancelled");
    }
    sent.is_ok()
}
