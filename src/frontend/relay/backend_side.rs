//! Backend side of a relay: the connection, and the bytes read from the server.

use std::{
    io,
    task::{Context, Poll},
};

use super::{
    forward::ForwardBuffer,
    poll_write::{poll_flush, poll_send_all},
};
use crate::{pool::Lease, session::Session, tls::Stream};

/// Backend connection of a session.
pub(crate) enum SessionBackend {
    /// Backend connection of a dedicated session.
    Own(Stream),
    /// Leased backend connection.
    Leased(Lease),
    /// No backend: a pooled session between transactions.
    None,
}

/// Backend connection of a session, with the bytes read from the server.
pub(super) struct BackendSide {
    pub(super) connection: SessionBackend,
    /// Bytes read from the server and not yet written to the client.
    pub(super) received: ForwardBuffer,
    is_unflushed: bool,
    /// The server accepts no more bytes; further messages from the server are still read.
    is_closed_for_writing: bool,
}

// === impl SessionBackend ===

impl SessionBackend {
    /// The connection, if there is one.
    pub(super) fn stream(&mut self) -> Option<&mut Stream> {
        match self {
            Self::Own(stream) => Some(stream),
            Self::Leased(lease) => Some(&mut lease.stream),
            Self::None => None,
        }
    }
}

// === impl BackendSide ===

impl BackendSide {
    pub(super) fn new(connection: SessionBackend) -> Self {
        Self {
            connection,
            received: ForwardBuffer::default(),
            is_unflushed: false,
            is_closed_for_writing: false,
        }
    }

    /// Installs a newly leased backend.
    pub(super) fn attach(&mut self, lease: Lease) {
        self.connection = SessionBackend::Leased(lease);
        self.is_unflushed = false;
        self.is_closed_for_writing = false;
        self.received.reopen();
    }

    /// Removes and returns the leased backend, if any.
    pub(super) fn detach(&mut self) -> Option<Lease> {
        match std::mem::replace(&mut self.connection, SessionBackend::None) {
            SessionBackend::Leased(lease) => Some(lease),
            other => {
                self.connection = other;
                None
            }
        }
    }

    /// The leased backend, if any.
    pub(super) fn lease(&self) -> Option<&Lease> {
        match &self.connection {
            SessionBackend::Leased(lease) => Some(lease),
            SessionBackend::Own(_) | SessionBackend::None => None,
        }
    }

    /// Treats the connection as ended: the server is gone. Bytes read so far are still sent to the client.
    pub(super) fn abandon(&mut self) {
        self.is_closed_for_writing = true;
        self.received.end();
    }

    /// The server accepts no more bytes.
    pub(super) const fn close_for_writing(&mut self) {
        self.is_closed_for_writing = true;
    }

    /// Drops all bytes for a server that accepts no more.
    pub(super) fn discard_unsendable(&self, session: &mut Session, from_client: &mut ForwardBuffer) {
        if !self.is_closed_for_writing {
            return;
        }
        from_client.discard_cleared();
        if let Some(own) = session.to_backend() {
            own.clear();
        }
    }

    /// Writes to the server: first the session's own messages, then the client's bytes. Returns the number of bytes
    /// written.
    pub(super) fn poll_send(
        &mut self,
        session: &mut Session,
        from_client: &mut ForwardBuffer,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let unflushed = &mut self.is_unflushed;
        let mut sent = 0;
        loop {
            let own = session.to_backend();
            if own.is_none() && !from_client.has_cleared() {
                break;
            }
            let Some(stream) = self.connection.stream() else { break };
            let went = match own {
                Some(own) => poll_send_all(stream, unflushed, own, cx)?,
                None => from_client.poll_forward(stream, unflushed, cx)?,
            };
            match went {
                Poll::Ready(count) => sent += count,
                Poll::Pending if sent > 0 => return Poll::Ready(Ok(sent)),
                Poll::Pending => return Poll::Pending,
            }
        }
        if let Some(stream) = self.connection.stream()
            && poll_flush(stream, unflushed, cx)?.is_pending()
            && sent == 0
        {
            return Poll::Pending;
        }
        Poll::Ready(Ok(sent))
    }

    /// Writes the session's own messages; true if the server accepts no bytes now.
    pub(super) fn is_unwritable(
        &mut self,
        session: &mut Session,
        from_client: &mut ForwardBuffer,
        cx: &mut Context<'_>,
    ) -> bool {
        match self.poll_send(session, from_client, cx) {
            Poll::Pending => true,
            Poll::Ready(Ok(_)) => false,
            Poll::Ready(Err(_)) => {
                self.close_for_writing();
                false
            }
        }
    }
}
