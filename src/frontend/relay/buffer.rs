//! Bytes on their way through, and the free list they are stored in.
//!
//! A buffer is taken from its worker's free list when there is something to read and goes back when it is empty: an idle
//! client holds none. Bytes are written out from where they were read into; only the unfinished tail of a frame is
//! moved, to the front, when the room behind it runs out.

use std::cell::RefCell;

/// Bytes of one buffer: a TLS record's worth, so that one read takes a whole record.
pub(crate) const BUFFER_SIZE: usize = 16 * 1024;
/// Buffers a worker keeps for reuse; what is beyond goes back to the allocator.
const FREE_MAX: usize = 256;

thread_local! {
    static FREE: RefCell<Vec<Box<[u8; BUFFER_SIZE]>>> = const { RefCell::new(Vec::new()) };
}

/// Bytes that were read and not yet written; holds memory only while there are any.
#[derive(Default)]
pub(crate) struct Buffer {
    bytes: Option<Box<[u8; BUFFER_SIZE]>>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// What was read and not yet consumed.
    pub(crate) fn unread(&self) -> &[u8] {
        self.bytes.as_ref().map_or(&[], |bytes| &bytes[self.start..self.end])
    }

    /// Whether nothing more fits.
    pub(crate) fn is_full(&self) -> bool {
        self.end - self.start == BUFFER_SIZE
    }

    /// Room to read into, never empty unless the buffer is full; follow with [`Self::filled`].
    pub(crate) fn room(&mut self) -> &mut [u8] {
        let bytes = self.bytes.get_or_insert_with(take);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == BUFFER_SIZE && self.start > 0 {
            bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        &mut bytes[self.end..]
    }

    /// Says that `count` bytes were read into [`Self::room`].
    pub(crate) fn filled(&mut self, count: usize) {
        self.end = (self.end + count).min(BUFFER_SIZE);
    }

    /// Drops the first `count` bytes.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
    }

    /// Drops `count` bytes behind the first `kept` ones, which move up.
    pub(crate) fn cut(&mut self, kept: usize, count: usize) {
        if count == 0 {
            return;
        }
        if kept > 0
            && let Some(bytes) = &mut self.bytes
        {
            bytes.copy_within(self.start..self.start + kept, self.start + count);
        }
        self.consume(count);
    }

    /// Gives the memory back when nothing is unread.
    pub(crate) fn rest(&mut self) {
        if self.start == self.end
            && let Some(bytes) = self.bytes.take()
        {
            (self.start, self.end) = (0, 0);
            give(bytes);
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(bytes) = self.bytes.take() {
            give(bytes);
        }
    }
}

fn take() -> Box<[u8; BUFFER_SIZE]> {
    FREE.with_borrow_mut(Vec::pop).unwrap_or_else(|| Box::new([0; BUFFER_SIZE]))
}

fn give(bytes: Box<[u8; BUFFER_SIZE]>) {
    // The list is gone when the thread ends; then the memory just goes back to the allocator.
    FREE.try_with(|free| {
        let mut free = free.borrow_mut();
        if free.len() < FREE_MAX {
            free.push(bytes);
        }
    })
    .ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_in(buffer: &mut Buffer, bytes: &[u8]) {
        buffer.room()[..bytes.len()].copy_from_slice(bytes);
        buffer.filled(bytes.len());
    }

    #[test]
    fn an_unfinished_tail_moves_to_the_front_when_room_runs_out() {
        let mut buffer = Buffer::default();
        read_in(&mut buffer, &vec![1; BUFFER_SIZE - 1]);
        read_in(&mut buffer, &[2]);
        assert!(buffer.is_full() && buffer.room().is_empty());
        buffer.consume(BUFFER_SIZE - 2);
        assert_eq!(buffer.room().len(), BUFFER_SIZE - 2);
        assert_eq!(buffer.unread(), [1, 2]);
    }

    #[test]
    fn bytes_cut_out_leave_those_before_and_behind_them() {
        let mut buffer = Buffer::default();
        read_in(&mut buffer, b"abcdef");
        buffer.cut(2, 3);
        assert_eq!(buffer.unread(), b"abf");
        buffer.cut(0, 2);
        assert_eq!(buffer.unread(), b"f");
    }

    #[test]
    fn an_idle_buffer_holds_no_memory_and_the_next_one_reuses_it() {
        let mut buffer = Buffer::default();
        read_in(&mut buffer, b"abc");
        buffer.rest();
        assert_eq!(buffer.unread(), b"abc", "resting drops nothing");
        buffer.consume(3);
        let place = buffer.bytes.as_ref().map(|bytes| bytes.as_ptr());
        buffer.rest();
        assert!(buffer.bytes.is_none());
        let mut next = Buffer::default();
        next.room();
        assert_eq!(next.bytes.as_ref().map(|bytes| bytes.as_ptr()), place);
    }
}
