//! Server side: asks a client for a password in clear text.

use zeroize::Zeroizing;

use super::{Taken, error::Violation, frame_within};
use crate::wire::{DecodeError, Speaker, authentication};

/// AuthenticationCleartextPassword is sent; the client's password is awaited.
///
/// For encrypted connections only. The caller verifies the password.
///
/// <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP>
pub struct AwaitPassword(());

// === impl AwaitPassword ===

impl AwaitPassword {
    /// Appends the request to `out`.
    #[must_use]
    pub fn ask(out: &mut Vec<u8>) -> Self {
        authentication::write_cleartext_password(out);
        Self(())
    }

    /// Processes read bytes; the outcome is the password. The caller wipes the consumed bytes, which contain the
    /// password.
    ///
    /// # Errors
    /// [`Violation`] for any other message, and for a password that is not UTF-8.
    pub fn on_bytes(&mut self, unread: &[u8]) -> Result<Taken<Zeroizing<String>>, Violation> {
        let Some(frame) = frame_within(Speaker::StrangeClient, unread)? else {
            return Ok(Taken { bytes: 0, outcome: None });
        };
        let password = authentication::decode_password(frame.body()).map_err(Violation::Body)?;
        let text =
            std::str::from_utf8(password).map_err(|_| Violation::Body(DecodeError::Invalid("password")))?;
        Ok(Taken { bytes: frame.as_bytes().len(), outcome: Some(Zeroizing::new(text.to_owned())) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_asked_for_and_taken_once_it_is_whole() {
        let mut out = Vec::new();
        let mut awaited = AwaitPassword::ask(&mut out);
        assert_eq!(out, [b'R', 0, 0, 0, 8, 0, 0, 0, 3]);
        let mut bytes = Vec::new();
        authentication::write_password(&mut bytes, "pässword".as_bytes());
        let whole = bytes.len();
        bytes.extend_from_slice(b"more");
        for cut in 0..whole {
            let taken = awaited.on_bytes(&bytes[..cut]).unwrap();
            assert!(taken.bytes == 0 && taken.outcome.is_none(), "{cut}");
        }
        let taken = awaited.on_bytes(&bytes).unwrap();
        assert_eq!((taken.bytes, taken.outcome.unwrap().as_str()), (whole, "pässword"));
    }

    #[test]
    fn anything_else_breaks_the_dialog() {
        let mut awaited = AwaitPassword::ask(&mut Vec::new());
        for bytes in [&b"p\0\0\0\x06\xff\0"[..], b"p\0\0\0\x05a", b"p\0\0\0\x07a\0b", b"Q\0\0\0\x05\0"] {
            assert!(awaited.on_bytes(bytes).is_err(), "{bytes:?}");
        }
    }
}
