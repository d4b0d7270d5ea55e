//! All that comes before the first ReadyForQuery, on both legs and for both ways of logging in.
//!
//! - [`Accept`]: server side, up to the StartupMessage.
//! - [`Challenge`]: server side, authentication by SCRAM.
//! - [`AwaitPassword`]: server side, password in clear text.
//! - [`ServerLogin`]: client side, towards an endpoint.
//! - [`Relay`]: a client and an endpoint exchange messages, observed by Gatekeeper (`passthrough`).
//!
//! The machines have no sockets. A driver presents unread bytes (`on_…`), removes the consumed bytes ([`Taken`]) from
//! the buffer, and sends the output of `poll_output`, until there is an outcome. Bytes not consumed stay in the
//! driver's buffer for the next machine.
//!
//! ```
//! # use gatekeeper::testing::{handshake::{Credential, ServerLogin, LoginError}, scram::NONCE_BYTES, wire::{ProtocolVersion, StartupMessage}};
//! # let mut server = vec![b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I".to_vec()].into_iter();
//! let mut startup = StartupMessage::new(ProtocolVersion::V3_0);
//! startup.set("user", "alice");
//! let nonce = [0; NONCE_BYTES]; // from a generator that nobody can predict
//! let mut login = ServerLogin::new(&startup, Credential::None, None, nonce);
//! let mut unread: Vec<u8> = Vec::new();
//! let logged_in = loop {
//!     if let Some(_bytes) = login.poll_output() { /* write them */ }
//!     unread.extend(server.next().unwrap_or_default()); // read
//!     let taken = login.on_bytes(&unread)?;
//!     unread.drain(..taken.bytes);
//!     if let Some(logged_in) = taken.outcome {
//!         break logged_in;
//!     }
//! };
//! # assert!(logged_in.key.is_none() && unread.is_empty());
//! # Ok::<(), LoginError>(())
//! ```
//!
//! Promises: a machine awaits no message longer, and keeps no message larger, than a handshake needs; a password is
//! sent only once, and only to a request in turn. Refuses to know: sockets, TLS, access rules and the source of
//! credentials.

mod accept;
mod await_password;
mod challenge;
mod error;
mod login;
mod md5;
mod method;
mod negotiation;
mod parameters;
mod relay;

pub use accept::{Accept, AcceptError, Accepted};
pub use await_password::AwaitPassword;
pub use challenge::{Challenge, ChallengeError};
pub use error::{LoginError, Refused, Violation};
pub use login::{Credential, LoggedIn, ServerLogin};
pub use method::Method;
pub use negotiation::Negotiation;
pub use parameters::Parameters;
pub use relay::{Relay, RelayError, Relayed};

use crate::wire::{Frame, Header, Speaker};

/// Consumed bytes, and the outcome of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken<T> {
    /// Number of bytes consumed, from the start.
    pub bytes: usize,
    /// Outcome, once there is one.
    pub outcome: Option<T>,
}

/// Bytes of the largest frame in a handshake: a driver's buffer never has to be larger. Access tokens, Kerberos tickets
/// and long error messages fit.
pub const MAX_FRAME_BYTES: usize = 128 * 1024;

/// The frame at the start of `unread`; `None` while bytes are missing.
fn frame_within(speaker: Speaker, unread: &[u8]) -> Result<Option<Frame<'_>>, Violation> {
    match Header::read(speaker, unread).map_err(Violation::Frame)? {
        Some(header) if header.total() > MAX_FRAME_BYTES => Err(Violation::TooMuch),
        Some(_) => Frame::read(speaker, unread).map_err(Violation::Frame),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests;
