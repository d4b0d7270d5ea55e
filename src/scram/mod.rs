//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, both sides, as PostgreSQL speaks them.
//!
//! Promises: each message that is awaited is a struct of its own, consumed by what answers it, so nothing can be said
//! twice or out of turn; secrets are wiped and have no `Debug`; comparisons of secrets take the same time.
//! Refuses to know: frames, sockets and randomness. Nonces and salts are arguments; they come from a generator that
//! nobody can predict, and a nonce is used once.
//!
//! Deriving keys from a password costs the time of its iterations (about 0.5 ms for 4,096): a [`Verifier`] is stored
//! rather than derived for each client, and [`Keys`] can be kept for the next login to the same server.
//!
//! RFC 5802, RFC 7677, <https://www.postgresql.org/docs/current/sasl-authentication.html>

mod channel_binding;
mod client;
mod error;
mod keys;
mod message;
mod password;
mod server;
mod verifier;

pub use channel_binding::ChannelBinding;
pub use client::{AwaitServerFinal, AwaitServerFirst};
pub use error::ScramError;
pub use keys::{ITERATIONS, ITERATIONS_MAX, Keys};
pub use server::{AwaitClientFinal, AwaitClientFirst};
pub use verifier::Verifier;

/// The mechanism that anybody can use.
pub const SCRAM_SHA_256: &str = "SCRAM-SHA-256";
/// The mechanism that proves both ends of the TLS channel to be the same.
pub const SCRAM_SHA_256_PLUS: &str = "SCRAM-SHA-256-PLUS";
/// Bytes of randomness in a nonce: as many as PostgreSQL's `SCRAM_RAW_NONCE_LEN`.
pub const NONCE_BYTES: usize = 18;
/// Bytes of a salt: as many as PostgreSQL's `SCRAM_DEFAULT_SALT_LEN`.
pub const SALT_BYTES: usize = 16;

#[cfg(test)]
mod tests;
