//! Client side: proves a password to a server, and verifies the server's proof.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use subtle::ConstantTimeEq;

use super::{
    NONCE_BYTES, SCRAM_SHA_256, SCRAM_SHA_256_PLUS,
    channel_binding::ChannelBinding,
    error::ScramError,
    keys::{KEY_BYTES, Keys, hash, hmac_sha256, xor_bytes},
    message::{ServerFirst, parse_server_final},
};

/// The first message is sent; the server's first message is awaited.
pub struct AwaitServerFirst {
    binding: ChannelBinding,
    nonce: String,
}

/// The proof was given; the server's is awaited.
pub struct AwaitServerFinal {
    signature: [u8; KEY_BYTES],
}

// === impl AwaitServerFirst ===

impl AwaitServerFirst {
    /// Begins an exchange.
    #[must_use]
    pub fn new(binding: ChannelBinding, nonce: [u8; NONCE_BYTES]) -> Self {
        Self::with_nonce(binding, BASE64.encode(nonce))
    }

    /// Begins an exchange with a nonce that is text already.
    pub(super) const fn with_nonce(binding: ChannelBinding, nonce: String) -> Self {
        Self { binding, nonce }
    }

    /// The mechanism that goes with the binding.
    #[must_use]
    pub const fn mechanism(&self) -> &'static str {
        match self.binding {
            ChannelBinding::EndPoint(_) => SCRAM_SHA_256_PLUS,
            ChannelBinding::Unavailable | ChannelBinding::NotOffered => SCRAM_SHA_256,
        }
    }

    /// The first message. The user name is empty: PostgreSQL uses the name in the StartupMessage.
    #[must_use]
    pub fn first_message(&self) -> String {
        format!("{}{}", self.binding.gs2_flag().header(), self.first_bare())
    }

    fn first_bare(&self) -> String {
        format!("n=,r={}", self.nonce)
    }

    /// Processes the server's first message; returns the next message and the used keys, which a later login may reuse.
    ///
    /// `kept` are keys of the same password from an earlier login. The call uses them if salt and iterations match, and
    /// otherwise derives new keys, which takes time.
    ///
    /// # Errors
    /// [`ScramError`] when the message is malformed or asks for too much.
    pub fn on_server_first<'k>(
        self,
        message: &[u8],
        password: &[u8],
        kept: Option<&'k Keys>,
    ) -> Result<(String, AwaitServerFinal, Cow<'k, Keys>), ScramError> {
        let first = ServerFirst::parse(message)?;
        if first.nonce.len() <= self.nonce.len() || !first.nonce.starts_with(&self.nonce) {
            return Err(ScramError::Nonce);
        }
        let keys = match kept.filter(|keys| keys.were_derived_with(&first.salt, first.iterations)) {
            Some(keys) => Cow::Borrowed(keys),
            None => Cow::Owned(Keys::derive(password, &first.salt, first.iterations)?),
        };
        let binding = self.binding.gs2_flag().input(self.binding.data());
        let without_proof = format!("c={binding},r={}", first.nonce);
        let bare = self.first_bare();
        let dialog: [&[u8]; 5] = [bare.as_bytes(), b",", message, b",", without_proof.as_bytes()];
        let proof = xor_bytes(keys.client(), &hmac_sha256(&hash(keys.client()), &dialog));
        let signature = hmac_sha256(keys.server(), &dialog);
        Ok((format!("{without_proof},p={}", BASE64.encode(proof)), AwaitServerFinal { signature }, keys))
    }
}

// === impl AwaitServerFinal ===

impl AwaitServerFinal {
    /// Processes the server's final message: the server's proof.
    ///
    /// # Errors
    /// [`ScramError::WrongServer`] if the server does not know the password, [`ScramError::Server`] for an error
    /// reported by the server, [`ScramError::Malformed`].
    pub fn on_server_final(self, message: &[u8]) -> Result<(), ScramError> {
        match parse_server_final(message)?.ct_eq(&self.signature).into() {
            true => Ok(()),
            false => Err(ScramError::WrongServer),
        }
    }
}
