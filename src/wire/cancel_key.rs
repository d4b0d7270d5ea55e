//! Key that authorizes a client to cancel a statement.

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{
    reader::{DecodeError, Reader},
    startup::CANCEL_REQUEST,
    tag, writer,
};

/// A process ID with a secret: 4 bytes in protocol 3.0, up to 256 since 3.2.
///
/// <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-CANCELING-REQUESTS>
#[derive(Clone)]
pub struct BackendKey {
    pid: i32,
    secret: Zeroizing<Vec<u8>>,
}

impl BackendKey {
    /// The longest secret there is, in bytes.
    pub const MAX_SECRET_BYTES: usize = 256;
    /// The shortest secret there is, and the only length in protocol 3.0.
    pub const MIN_SECRET_BYTES: usize = 4;

    /// A key.
    ///
    /// # Errors
    /// [`DecodeError::Invalid`] when the secret has not between 4 and 256 bytes.
    pub fn new(pid: i32, secret: &[u8]) -> Result<Self, DecodeError> {
        if !(Self::MIN_SECRET_BYTES..=Self::MAX_SECRET_BYTES).contains(&secret.len()) {
            return Err(DecodeError::Invalid("length of the cancel key"));
        }
        Ok(Self { pid, secret: Zeroizing::new(secret.to_vec()) })
    }

    /// Reads process ID and secret from the body of BackendKeyData, or from a CancelRequest behind the request code.
    ///
    /// # Errors
    /// [`DecodeError`] if the key is too short or too long.
    pub fn read(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let pid = reader.i32()?;
        Self::new(pid, reader.rest())
    }

    /// The process id, which is no secret.
    #[must_use]
    pub const fn pid(&self) -> i32 {
        self.pid
    }

    /// The secret: for messages only.
    #[must_use]
    pub fn secret(&self) -> &[u8] {
        &self.secret
    }

    /// Appends BackendKeyData.
    pub fn write_key_data(&self, out: &mut Vec<u8>) {
        writer::write_frame(out, tag::backend::BACKEND_KEY_DATA, |body| self.write(body));
    }

    /// Appends a CancelRequest, the only message on a cancel connection.
    pub fn write_cancel_request(&self, out: &mut Vec<u8>) {
        writer::write_packet(out, |body| {
            body.extend_from_slice(&CANCEL_REQUEST.to_be_bytes());
            self.write(body);
        });
    }

    fn write(&self, body: &mut Vec<u8>) {
        body.extend_from_slice(&self.pid.to_be_bytes());
        body.extend_from_slice(&self.secret);
    }
}

impl PartialEq for BackendKey {
    /// Compares secrets of equal length in constant time, against timing attacks.
    fn eq(&self, other: &Self) -> bool {
        self.pid == other.pid && self.secret.ct_eq(&other.secret).into()
    }
}

impl Eq for BackendKey {}

impl std::fmt::Debug for BackendKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BackendKey").field("pid", &self.pid).finish_non_exhaustive()
    }
}
