//! A minted token, and the right to send it.

use std::sync::Arc;

use super::Secret;
use crate::tls::VerifiedTls;

/// A short-lived password. Cheap to clone; no `Debug`; its text is wiped with the last clone.
#[derive(Clone)]
pub struct Token {
    pub(super) secret: Arc<Secret>,
    /// Grows with every mint of a source.
    pub(super) id: u64,
    pub(super) kept: bool,
}

/// A token that may be sent: the server on the other side was verified, or somebody insisted in so many words.
pub struct TokenLogin {
    token: Token,
}

// === impl Token ===

impl Token {
    /// Whether it was minted for an earlier login. When such a token is refused, a fresh one may do:
    /// [`super::TokenSource::fresh`].
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.kept
    }

    /// Length of the token in bytes, the only property that may be shown.
    #[must_use]
    pub fn byte_count(&self) -> usize {
        self.secret.reveal().len()
    }
}

// === impl TokenLogin ===

impl TokenLogin {
    /// A login with `token` over a connection whose server was verified.
    #[must_use]
    pub fn new(token: Token, _evidence: &VerifiedTls) -> Self {
        Self { token }
    }

    /// A login with `token` to whoever answered. Only for `insecure_token_without_verification = true`.
    #[must_use]
    pub fn without_verification(token: Token) -> Self {
        Self { token }
    }

    /// The text to send as the password.
    #[must_use]
    pub fn reveal(&self) -> &str {
        self.token.secret.reveal()
    }

    /// The token itself, to ask for a fresh one when it was refused.
    #[must_use]
    pub fn token(&self) -> &Token {
        &self.token
    }
}
