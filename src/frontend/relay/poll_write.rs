//! Writing to a stream from within a poll.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::AsyncWrite;

use crate::tls::Stream;

/// Writes some of `bytes`; sets `unflushed` if bytes may remain in the TLS layer.
pub(crate) fn poll_send(
    to: &mut Stream,
    unflushed: &mut bool,
    bytes: &[u8],
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let count = ready!(Pin::new(to).poll_write(cx, bytes))?;
    *unflushed = true;
    if count == 0 { Poll::Ready(Err(io::ErrorKind::WriteZero.into())) } else { Poll::Ready(Ok(count)) }
}

/// Writes all of `bytes`, and keeps the unwritten rest.
pub(crate) fn poll_send_all(
    to: &mut Stream,
    unflushed: &mut bool,
    bytes: &mut Vec<u8>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut sent = 0;
    let outcome = loop {
        if sent == bytes.len() {
            break Poll::Ready(Ok(sent));
        }
        match poll_send(to, unflushed, &bytes[sent..], cx) {
            Poll::Ready(Ok(count)) => sent += count,
            Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
            Poll::Pending if sent > 0 => break Poll::Ready(Ok(sent)),
            Poll::Pending => break Poll::Pending,
        }
    };
    bytes.drain(..sent);
    if bytes.is_empty() && bytes.capacity() > MAX_KEPT_CAPACITY_BYTES {
        *bytes = Vec::new();
    }
    outcome
}

/// Maximum capacity in bytes up to which a session's own buffer is kept for the next transaction.
const MAX_KEPT_CAPACITY_BYTES: usize = 1024;

/// Flushes all written bytes.
pub(crate) fn poll_flush(
    to: &mut Stream,
    unflushed: &mut bool,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    if *unflushed {
        ready!(Pin::new(to).poll_flush(cx))?;
        *unflushed = false;
    }
    Poll::Ready(Ok(()))
}
