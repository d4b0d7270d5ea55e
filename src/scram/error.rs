//! Why a SCRAM exchange fails.

use super::ITERATIONS_MAX;

/// Why an exchange ended without proof. None of its texts holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    /// A message that is none; names the attribute in which it goes wrong.
    #[error("malformed SCRAM message: {0}")]
    Malformed(&'static str),
    /// An extension that must be understood and is not, or acting in another user's name.
    #[error("unsupported SCRAM feature: {0}")]
    Unsupported(&'static str),
    /// A nonce that does not belong to this exchange.
    #[error("the nonce of the SCRAM exchange was changed on the way")]
    Nonce,
    /// A number of iterations that would keep us busy, or none.
    #[error("the server asks for {0} SCRAM iterations, allowed are 1 to {ITERATIONS_MAX}")]
    Iterations(u64),
    /// The client binds to another TLS channel than the one it is connected by: somebody is in between.
    #[error("the SCRAM exchange is bound to another TLS channel")]
    Binding,
    /// The client could bind to the channel and was made to think that the server cannot.
    #[error("the offer of channel binding was taken away on the way to the client")]
    Downgrade,
    /// The client does not know the password (or there is no such user).
    #[error("the SCRAM proof does not match")]
    WrongProof,
    /// The server does not know the password: it is not the server it claims to be.
    #[error("the server did not prove that it knows the password")]
    WrongServer,
    /// The server ended the exchange with an error of RFC 5802, section 7.
    #[error("the server ended the SCRAM exchange: {0}")]
    Server(String),
}
