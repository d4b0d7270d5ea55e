//! One end of a conversation: its socket, and the octets read from it that are on their way to the other end.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::buffer::Buffer;
use crate::tls::Stream;

/// One end of a conversation.
pub(super) struct Side {
    pub(super) stream: Stream,
    /// Read here and not yet written to the other side.
    inbound: Buffer,
    /// How many octets of `inbound`, from its start, may be written to the other side.
    cleared: usize,
    /// What was written here may still sit in the TLS layer.
    unflushed: bool,
    /// Nothing more will be read here.
    ended: bool,
}

impl Side {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream, inbound: Buffer::default(), cleared: 0, unflushed: false, ended: false }
    }

    /// Octets that were read already, by whoever had the stream before; they have to fit one buffer.
    pub(super) fn read_before(&mut self, octets: &[u8]) {
        let room = self.inbound.room();
        debug_assert!(octets.len() <= room.len(), "{} octets were read ahead", octets.len());
        let count = octets.len().min(room.len());
        room[..count].copy_from_slice(&octets[..count]);
        self.inbound.filled(count);
    }

    /// Reads what there is into the free room. `Ok(0)` is the end.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut room = ReadBuf::new(self.inbound.room());
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut room))?;
        let count = room.filled().len();
        self.inbound.filled(count);
        self.ended = count == 0;
        Poll::Ready(Ok(count))
    }

    /// Writes `octets` here.
    pub(super) fn poll_take(&mut self, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_write(cx, octets))?;
        self.unflushed = true;
        if count == 0 { Poll::Ready(Err(io::ErrorKind::WriteZero.into())) } else { Poll::Ready(Ok(count)) }
    }

    /// Sees to it that everything written here is on its way.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what is cleared here to `other`, all of it, and flushes. Answers how many octets went.
    pub(super) fn poll_forward(&mut self, other: &mut Self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut forwarded = 0;
        while self.cleared > 0 {
            let octets = &self.inbound.unread()[..self.cleared];
            match other.poll_take(cx, octets)? {
                Poll::Ready(count) => {
                    self.inbound.consume(count);
                    self.cleared -= count;
                    forwarded += count;
                }
                // What went is told now; the rest is asked for again.
                Poll::Pending if forwarded > 0 => return Poll::Ready(Ok(forwarded)),
                Poll::Pending => return Poll::Pending,
            }
        }
        match other.poll_flush(cx)? {
            Poll::Pending if forwarded == 0 => Poll::Pending,
            _ => Poll::Ready(Ok(forwarded)),
        }
    }

    /// Octets that are not cleared yet.
    pub(super) fn unjudged(&self) -> &[u8] {
        &self.inbound.unread()[self.cleared..]
    }

    /// Whether the unjudged octets will not grow until something is forwarded.
    pub(super) fn is_full(&self) -> bool {
        self.inbound.is_full()
    }

    /// Clears `count` more octets for the other side.
    pub(super) fn clear(&mut self, count: usize) {
        self.cleared = (self.cleared + count).min(self.inbound.unread().len());
    }

    /// Whether cleared octets wait to be written to the other side.
    pub(super) fn has_cleared(&self) -> bool {
        self.cleared > 0
    }

    /// Drops what is cleared: the other side is gone and will not miss it.
    pub(super) fn discard_cleared(&mut self) {
        self.inbound.consume(self.cleared);
        self.cleared = 0;
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Nothing more is wanted from here.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    /// Gives back the memory of an empty buffer.
    pub(super) fn rest(&mut self) {
        self.inbound.rest();
    }
}
