//! A client connection before login: the socket, and bytes read ahead of the parsed messages.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use zeroize::Zeroize;

use crate::{frontend::relay::buffer::BUFFER_SIZE, handshake::FRAME_MAX, tls::Stream};

/// A client connection before its session.
pub(crate) struct UnauthenticatedClient {
    pub(crate) stream: Stream,
    unread: Vec<u8>,
}

/// What is read at a time: a login is a few short messages.
const CHUNK: usize = 1024;

impl UnauthenticatedClient {
    pub(crate) const fn new(stream: Stream) -> Self {
        Self { stream, unread: Vec::new() }
    }

    /// Its socket and what was read and not yet taken.
    pub(crate) fn into_parts(self) -> (Stream, Vec<u8>) {
        (self.stream, self.unread)
    }

    /// What was read and not yet taken.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.unread
    }

    /// Drops the first `count` bytes of it.
    pub(crate) fn take(&mut self, count: usize) {
        self.unread.drain(..count.min(self.unread.len()));
    }

    /// Drops the first `count` bytes, and leaves no trace of them in the buffer: a secret stands there.
    pub(crate) fn wipe(&mut self, count: usize) {
        let count = count.min(self.unread.len());
        let rest = self.unread.split_off(count);
        self.unread.zeroize();
        self.unread = rest;
    }

    /// Reads more.
    ///
    /// Cancel safe: what was read is kept.
    ///
    /// # Errors
    /// The system's; `UnexpectedEof` when the client has closed, `InvalidData` when it sends more than any login needs.
    pub(crate) async fn read_more(&mut self) -> io::Result<()> {
        if self.unread.len() > FRAME_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.unread.reserve(CHUNK);
        // Never more than a session's first buffer can take over.
        let mut chunk = (&mut self.stream).take(CHUNK as u64);
        match chunk.read_buf(&mut self.unread).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Waits until the client leaves. What it says ahead is kept, up to what a session's first buffer can take over; the
    /// rest waits in its socket, and its leaving is then noticed later.
    ///
    /// Cancel safe.
    pub(crate) async fn gone(&mut self) -> io::Error {
        while self.unread.len() + CHUNK <= BUFFER_SIZE {
            if let Err(error) = self.read_more().await {
                return error;
            }
        }
        std::future::pending().await
    }

    /// Writes `bytes`.
    ///
    /// # Errors
    /// The system's.
    pub(crate) async fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }
}
