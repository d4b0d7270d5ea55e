//! Bytes read from one side and not yet written to the other side.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, ReadBuf};

use super::{buffer::Buffer, poll_write::poll_send};
use crate::{session::ConsumedInput, tls::Stream};

/// Bytes read from one side and not yet written to the other.
#[derive(Default)]
pub(crate) struct ForwardBuffer {
    buffer: Buffer,
    /// Bytes read earlier without room in the buffer; processed before bytes from the stream.
    ahead: Vec<u8>,
    /// Number of leading bytes that may be written to the other side.
    cleared: usize,
    /// No more bytes will be read.
    ended: bool,
}

impl ForwardBuffer {
    /// Adds bytes read by the previous owner of the stream.
    pub(crate) fn read_before(&mut self, bytes: Vec<u8>) {
        debug_assert!(self.ahead.is_empty(), "{} bytes of before were not taken in yet", self.ahead.len());
        if !bytes.is_empty() {
            self.ahead = bytes;
            self.fill_from_ahead();
        }
    }

    fn fill_from_ahead(&mut self) -> usize {
        let room = self.buffer.room();
        let count = self.ahead.len().min(room.len());
        room[..count].copy_from_slice(&self.ahead[..count]);
        self.ahead.drain(..count);
        self.buffer.note_filled(count);
        count
    }

    /// Reads available bytes into the free room. `Ok(0)` is the end.
    pub(crate) fn poll_fill(&mut self, from: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if !self.ahead.is_empty() {
            return Poll::Ready(Ok(self.fill_from_ahead()));
        }
        let mut room = ReadBuf::new(self.buffer.room());
        ready!(Pin::new(from).poll_read(cx, &mut room))?;
        let count = room.filled().len();
        self.buffer.note_filled(count);
        self.ended = count == 0;
        Poll::Ready(Ok(count))
    }

    /// Writes all cleared bytes to `to` and sets `unflushed`. Returns the number of bytes written.
    pub(crate) fn poll_forward(
        &mut self,
        to: &mut Stream,
        unflushed: &mut bool,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut forwarded = 0;
        while self.cleared > 0 {
            let bytes = &self.buffer.unread()[..self.cleared];
            match poll_send(to, unflushed, bytes, cx)? {
                Poll::Ready(count) => {
                    self.buffer.consume(count);
                    self.cleared -= count;
                    forwarded += count;
                }
                // Report the written bytes now; the rest is polled again.
                Poll::Pending if forwarded > 0 => break,
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(forwarded))
    }

    /// Bytes not yet cleared.
    pub(crate) fn unprocessed(&self) -> &[u8] {
        &self.buffer.unread()[self.cleared..]
    }

    /// True if bytes were read and are not cleared yet.
    pub(crate) fn has_unjudged(&self) -> bool {
        !self.ahead.is_empty() || !self.unprocessed().is_empty()
    }

    /// True if no more bytes can be read until bytes are forwarded.
    pub(crate) fn is_full(&self) -> bool {
        self.buffer.is_full()
    }

    /// True if no more bytes can be read, even after forwarding.
    pub(crate) fn is_stuck(&self) -> bool {
        self.is_full() && !self.has_cleared()
    }

    /// Clears the bytes to forward and drops the bytes to discard.
    pub(crate) fn take(&mut self, taken: ConsumedInput) {
        let unjudged = self.unprocessed().len();
        self.cleared += taken.forward.min(unjudged);
        let discard = taken.discard.min(unjudged - taken.forward.min(unjudged));
        self.buffer.cut(self.cleared, discard);
    }

    /// True if cleared bytes wait to be written.
    pub(crate) fn has_cleared(&self) -> bool {
        self.cleared > 0
    }

    /// Drops cleared bytes: the other side is closed.
    pub(crate) fn discard_cleared(&mut self) {
        self.buffer.consume(self.cleared);
        self.cleared = 0;
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Stops reading.
    pub(crate) fn end(&mut self) {
        self.ended = true;
    }

    /// Starts reading from another stream.
    pub(crate) fn reopen(&mut self) {
        self.ended = false;
    }

    /// Returns the memory of an empty buffer.
    pub(crate) fn rest(&mut self) {
        self.buffer.rest();
    }
}
