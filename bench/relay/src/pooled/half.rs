//! One direction of a relay: bytes that were read and not yet written.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much is read at once.
const SIZE: usize = 64 << 10;

thread_local! {
    /// Buffers that hold nothing. A direction has one only while it has bytes.
    static SPARE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// Bytes under way; empty most of the time.
#[derive(Default)]
pub struct Half {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Half {
    /// The bytes that were read last.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Reads once, and tells the first byte; `None` at the end of the stream.
    pub fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin),
    ) -> Poll<io::Result<Option<u8>>> {
        let mut buffer = SPARE.take_one();
        let mut free = ReadBuf::new(&mut buffer);
        let read = Pin::new(from).poll_read(cx, &mut free);
        let length = free.filled().len();
        if length == 0 {
            SPARE.give_back(buffer);
            return read.map_ok(|()| None);
        }
        (self.buffer, self.start, self.end) = (buffer, 0, length);
        Poll::Ready(Ok(Some(self.buffer[0])))
    }

    /// Writes until nothing is left, and gives the buffer back.
    pub fn poll_drain(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        while self.start < self.end {
            self.start += ready!(Pin::new(&mut *to).poll_write(cx, &self.buffer[self.start..self.end]))?;
        }
        if !self.buffer.is_empty() {
            // Nothing to do for TCP; TLS may hold records that the socket did not take.
            ready!(Pin::new(to).poll_flush(cx))?;
            SPARE.give_back(std::mem::take(&mut self.buffer));
            (self.start, self.end) = (0, 0);
        }
        Poll::Ready(Ok(()))
    }
}

/// The free list of a thread.
trait FreeList {
    fn take_one(&'static self) -> Box<[u8]>;
    fn give_back(&'static self, buffer: Box<[u8]>);
}

impl FreeList for std::thread::LocalKey<RefCell<Vec<Box<[u8]>>>> {
    fn take_one(&'static self) -> Box<[u8]> {
        self.with_borrow_mut(Vec::pop).unwrap_or_else(|| vec![0; SIZE].into_boxed_slice())
    }

    fn give_back(&'static self, buffer: Box<[u8]>) {
        self.with_borrow_mut(|list| list.push(buffer));
    }
}
