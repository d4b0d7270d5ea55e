//! A buffer for relayed bytes, from a free list per worker.
//!
//! A buffer is taken from the worker's free list before a read and returned when empty, so an idle client holds none.
//! Bytes are written from where they were read; only an incomplete frame at the end is moved to the front when room
//! runs out.

use std::cell::RefCell;

/// Size of a buffer in bytes: one read takes a whole TLS record.
pub(crate) const BUFFER_BYTES: usize = 16 * 1024;
/// Bytes that are moved to the front ahead of a full buffer, to keep the next read large.
const SMALL_TAIL_BYTES: usize = 512;
/// Maximum number of free buffers per worker; further ones are deallocated.
const MAX_FREE_BUFFERS: usize = 256;

thread_local! {
    static FREE: RefCell<Vec<Box<[u8; BUFFER_BYTES]>>> = const { RefCell::new(Vec::new()) };
}

/// Bytes read but not written; holds memory only while not empty.
#[derive(Default)]
pub(crate) struct Buffer {
    bytes: Option<Box<[u8; BUFFER_BYTES]>>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// Bytes read but not consumed.
    pub(crate) fn unread(&self) -> &[u8] {
        self.bytes.as_ref().map_or(&[], |bytes| &bytes[self.start..self.end])
    }

    /// True if no room is left.
    pub(crate) fn is_full(&self) -> bool {
        self.end - self.start == BUFFER_BYTES
    }

    /// Room for a read, not empty unless the buffer is full; then call [`Self::note_filled`].
    pub(crate) fn room(&mut self) -> &mut [u8] {
        let has_small_tail = self.has_small_tail();
        let bytes = self.bytes.get_or_insert_with(take_free);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.start > 0 && (self.end == BUFFER_BYTES || has_small_tail) {
            bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        &mut bytes[self.end..]
    }

    /// True if the bytes fill little, and less than half of the room is left.
    const fn has_small_tail(&self) -> bool {
        self.end - self.start <= SMALL_TAIL_BYTES && self.end > BUFFER_BYTES / 2
    }

    /// Records a read of `count` bytes into [`Self::room`].
    pub(crate) fn note_filled(&mut self, count: usize) {
        self.end = (self.end + count).min(BUFFER_BYTES);
    }

    /// Drops the first `count` bytes.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
    }

    /// Drops `count` bytes after the first `kept` ones, which move up.
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

    /// Returns the memory of an empty buffer.
    pub(crate) fn rest(&mut self) {
        if self.start == self.end
            && let Some(bytes) = self.bytes.take()
        {
            (self.start, self.end) = (0, 0);
            return_free(bytes);
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(bytes) = self.bytes.take() {
            return_free(bytes);
        }
    }
}

fn take_free() -> Box<[u8; BUFFER_BYTES]> {
    FREE.with_borrow_mut(Vec::pop).unwrap_or_else(|| Box::new([0; BUFFER_BYTES]))
}

fn return_free(bytes: Box<[u8; BUFFER_BYTES]>) {
    // Without the list, at the end of the thread, the memory is deallocated.
    FREE.try_with(|free| {
        let mut free = free.borrow_mut();
        if free.len() < MAX_FREE_BUFFERS {
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
        buffer.note_filled(bytes.len());
    }

    #[test]
    fn an_unfinished_tail_moves_to_the_front_when_room_runs_out() {
        let mut buffer = Buffer::default();
        read_in(&mut buffer, &vec![1; BUFFER_BYTES - 1]);
        read_in(&mut buffer, &[2]);
        assert!(buffer.is_full() && buffer.room().is_empty());
        buffer.consume(BUFFER_BYTES - 2);
        assert_eq!(buffer.room().len(), BUFFER_BYTES - 2);
        assert_eq!(buffer.unread(), [1, 2]);
    }

    #[test]
    fn a_small_tail_leaves_room_for_a_large_read() {
        let mut buffer = Buffer::default();
        read_in(&mut buffer, &vec![1; BUFFER_BYTES - 10]);
        buffer.consume(BUFFER_BYTES - 110);
        assert_eq!(buffer.room().len(), BUFFER_BYTES - 100);
        assert_eq!(buffer.unread(), [1; 100]);
        read_in(&mut buffer, &[2; 100]);
        buffer.consume(100);
        assert_eq!(buffer.room().len(), BUFFER_BYTES - 200, "half of the room is left");
        assert_eq!(buffer.unread(), [2; 100]);
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
