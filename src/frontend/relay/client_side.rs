//! Client side of a relay: the connection, and the bytes read from the client.

use std::{
    io,
    task::{Context, Poll},
};

use super::{
    forward::ForwardBuffer,
    poll_write::{poll_flush, poll_send_all},
};
use crate::{session::Session, tls::Stream};

/// Client connection of a session, with the bytes read from the client.
pub(super) struct ClientSide {
    pub(super) stream: Stream,
    /// Bytes read from the client and not yet written to the server.
    pub(super) received: ForwardBuffer,
    is_unflushed: bool,
    /// Count of bytes written to the client.
    sent_bytes: u64,
}

// === impl ClientSide ===

impl ClientSide {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream, received: ForwardBuffer::default(), is_unflushed: false, sent_bytes: 0 }
    }

    /// Count of bytes written to the client.
    pub(super) const fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }

    /// Reads available bytes into the free room. `Ok(0)` is the end of the stream.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.received.poll_fill(&mut self.stream, cx)
    }

    /// Writes to the client: first the server's bytes, then the session's own messages. Returns the number of bytes
    /// written.
    pub(super) fn poll_send(
        &mut self,
        session: &mut Session,
        from_backend: &mut ForwardBuffer,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let unflushed = &mut self.is_unflushed;
        let mut sent = 0;
        loop {
            let went = if from_backend.has_cleared() {
                from_backend.poll_forward(&mut self.stream, unflushed, cx)?
            } else if let Some(own) = session.to_client() {
                poll_send_all(&mut self.stream, unflushed, own, cx)?
            } else {
                break;
            };
            match went {
                Poll::Ready(count) => {
                    sent += count;
                    self.sent_bytes += count as u64;
                }
                Poll::Pending if sent > 0 => return Poll::Ready(Ok(sent)),
                Poll::Pending => return Poll::Pending,
            }
        }
        if poll_flush(&mut self.stream, unflushed, cx)?.is_pending() && sent == 0 {
            return Poll::Pending;
        }
        Poll::Ready(Ok(sent))
    }
}
