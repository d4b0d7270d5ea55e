//! Why a SCRAM exchange fails.

use super::MAX_ITERATIONS;

/// Reason why an exchange ended without proof. No text holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    /// A malformed message; names the invalid attribute.
    #[error("malformed SCRAM message: {0}")]
    Malformed(&'static str),
    /// An extension that must be understood and is not, or acting in another user's name.
    #[error("unsupported SCRAM feature: {0}")]
    Unsupported(&'static str),
    /// A nonce of another exchange.
    #[error("the nonce of the SCRAM exchange does not match")]
    Nonce,
    /// Zero iterations, or more than the limit.
    #[error("the server requests {0} SCRAM iterations; the limit is {MAX_ITERATIONS}")]
    Iterations(u64),
    /// The client binds to another TLS channel than the connection's: a man in the middle.
    #[error("the SCRAM exchange is bound to another TLS channel")]
    Binding,
    /// The client could bind to the channel and was made to think that the server cannot.
    #[error("the offer of channel binding was removed on the way to the client")]
    Downgrade,
    /// The client does not know the password (or there is no such user).
    #[error("the SCRAM proof does not match")]
    WrongProof,
    /// The server does not know the password: the server is not authentic.
    #[error("the server did not prove that it knows the password")]
    WrongServer,
    /// The server ended the exchange with an error of RFC 5802, section 7.
    #[error("the server ended the SCRAM exchange: {0}")]
    Server(String),
}
