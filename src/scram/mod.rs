//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, both sides, compatible with PostgreSQL.
//!
//! Promises: each awaited message is a struct, consumed by the response, so no message is sent twice or out of turn;
//! secrets are wiped and have no `Debug`; comparisons of secrets take constant time. Refuses to know: frames, sockets
//! and randomness. Nonces and salts are arguments: unpredictable, and a nonce is used once.
//!
//! Key derivation takes time in proportion to the iterations (about 0.5 ms for 4,096). The server side therefore stores
//! a [`Verifier`], and the client side may keep [`Keys`] for the next login to the same server.
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
pub use keys::{DEFAULT_ITERATIONS, Keys, MAX_ITERATIONS};
pub use server::{AwaitClientFinal, AwaitClientFirst};
pub use verifier::Verifier;

/// Mechanism without channel binding.
pub const SCRAM_SHA_256: &str = "SCRAM-SHA-256";
/// Mechanism with channel binding.
pub const SCRAM_SHA_256_PLUS: &str = "SCRAM-SHA-256-PLUS";
/// Bytes of randomness in a nonce: as many as PostgreSQL's `SCRAM_RAW_NONCE_LEN`.
pub const NONCE_BYTES: usize = 18;
/// Bytes of a salt: as many as PostgreSQL's `SCRAM_DEFAULT_SALT_LEN`.
pub const SALT_BYTES: usize = 16;

#[cfg(test)]
mod tests;
