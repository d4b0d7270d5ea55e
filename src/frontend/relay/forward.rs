//! Bytes read from one side and not yet written to the other side.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, ReadBuf};

use super::{buffer::Buffer, poll_write::poll_send};
use crate::{session::ConsumedInput, tls::Stream};

/// What was read from one side and not yet written to the other.
#[derive(Default)]
pub(crate) struct ForwardBuffer {
    buffer: Buffer,
    /// Bytes read earlier without room in the buffer; processed before bytes from the stream.
    ahead: Vec<u8>,
    /// How many bytes of it, from its start, may be written to the other side.
    cleared: usize,
    /// Nothing more will be read here.
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
        self.buffer.filled(count);
        count
    }

    /// Reads what there is into the free room. `Ok(0)` is the end.
    pub(crate) fn poll_fill(&mut self, from: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if !self.ahead.is_empty() {
            return Poll::Ready(Ok(self.fill_from_ahead()));
        }
        let mut room = ReadBuf::new(self.buffer.room());
        ready!(Pin::new(from).poll_read(cx, &mut room))?;
        let count = room.filled().len();
        self.buffer.filled(count);
        self.ended = count == 0;
        Poll::Ready(Ok(count))
    }

    /// Writes what is cleared to `to`, all of it, and sets `unflushed`. Answers how many bytes went.
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
                // What went is told now; the rest is asked for again.
                Poll::Pending if forwarded > 0 => break,
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(forwarded))
    }

    /// Bytes that are not cleared yet.
    pub(crate) fn unjudged(&self) -> &[u8] {
        &self.buffer.unread()[self.cleared..]
    }

    /// True if bytes were read and are not cleared yet.
    pub(crate) fn has_unjudged(&self) -> bool {
        !self.ahead.is_empty() || !self.unjudged().is_empty()
    }

    /// Whether the unjudged bytes will not grow until something is forwarded.
    pub(crate) fn is_full(&self) -> bool {
        self.buffer.is_full()
    }

    /// Whether the unjudged bytes will not grow, whatever is forwarded.
    pub(crate) fn is_stuck(&self) -> bool {
        self.is_full() && !self.has_cleared()
    }

    /// Clears for the other side what passes, and forgets what does not.
    pub(crate) fn take(&mut self, taken: ConsumedInput) {
        let unjudged = self.unjudged().len();
        self.cleared += taken.forward.min(unjudged);
        let discard = taken.discard.min(unjudged - taken.forward.min(unjudged));
        self.buffer.cut(self.cleared, discard);
    }

    /// Whether cleared bytes wait to be written to the other side.
    pub(crate) fn has_cleared(&self) -> bool {
        self.cleared > 0
    }

    /// Drops what is cleared: the other side is gone and will not miss it.
    pub(crate) fn discard_cleared(&mut self) {
        self.buffer.consume(self.cleared);
        self.cleared = 0;
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Nothing more is wanted from here.
    pub(crate) fn end(&mut self) {
        self.ended = true;
    }

    /// Another stream is read from now on.
    pub(crate) fn reopen(&mut self) {
        self.ended = false;
    }

    /// Gives back the memory of an empty buffer.
    pub(crate) fn rest(&mut self) {
        self.buffer.rest();
    }
}
