//! A client connection before login: the socket, and bytes read ahead of the parsed messages.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use zeroize::Zeroize;

use crate::{frontend::relay::buffer::BUFFER_BYTES, handshake::MAX_FRAME_BYTES, tls::Stream};

/// A client connection before its session.
pub(crate) struct UnauthenticatedClient {
    pub(crate) stream: Stream,
    unread: Vec<u8>,
}

/// Size of a read in bytes: a login has a few short messages.
const READ_BYTES: usize = 1024;

impl UnauthenticatedClient {
    pub(crate) const fn new(stream: Stream) -> Self {
        Self { stream, unread: Vec::new() }
    }

    /// The socket and the unread bytes.
    pub(crate) fn into_parts(self) -> (Stream, Vec<u8>) {
        (self.stream, self.unread)
    }

    /// Bytes read but not consumed.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.unread
    }

    /// Drops the first `count` unread bytes.
    pub(crate) fn take(&mut self, count: usize) {
        self.unread.drain(..count.min(self.unread.len()));
    }

    /// Drops and overwrites the first `count` unread bytes, which contain a secret.
    pub(crate) fn wipe_bytes(&mut self, count: usize) {
        let count = count.min(self.unread.len());
        let rest = self.unread.split_off(count);
        self.unread.zeroize();
        self.unread = rest;
    }

    /// Reads more.
    ///
    /// Cancel safe: read bytes are kept.
    ///
    /// # Errors
    /// The error of the operating system; `UnexpectedEof` if the client has closed, `InvalidData` beyond the size of
    /// any login.
    pub(crate) async fn read_more(&mut self) -> io::Result<()> {
        if self.unread.len() > MAX_FRAME_BYTES {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.unread.reserve(READ_BYTES);
        // At most the capacity of a session's first buffer.
        let mut chunk = (&mut self.stream).take(READ_BYTES as u64);
        match chunk.read_buf(&mut self.unread).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Waits until the client leaves. Pipelined bytes are kept up to the capacity of a session's first buffer; with
    /// more bytes in the socket, the end is noticed later.
    ///
    /// Cancel safe.
    pub(crate) async fn gone(&mut self) -> io::Error {
        while self.unread.len() + READ_BYTES <= BUFFER_BYTES {
            if let Err(error) = self.read_more().await {
                return error;
            }
        }
        std::future::pending().await
    }

    /// Writes `bytes`.
    ///
    /// # Errors
    /// The error of the operating system.
    pub(crate) async fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }
}
