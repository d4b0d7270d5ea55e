//! Server side: verifies a client's proof, and proves knowledge of the verifier.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use subtle::ConstantTimeEq;

use super::{
    NONCE_BYTES, SCRAM_SHA_256, SCRAM_SHA_256_PLUS,
    channel_binding::Flag,
    error::ScramError,
    keys::{KEY_BYTES, hash, hmac_sha256, xor_bytes},
    message::{ClientFinal, ClientFirst},
    verifier::Verifier,
};

/// The mechanisms were offered; the client's first message is awaited.
pub struct AwaitClientFirst {
    verifier: Verifier,
    nonce: String,
    /// Hash of Gatekeeper's certificate, if the client uses TLS.
    end_point: Option<Vec<u8>>,
}

/// The salt was given; the client's proof is awaited.
pub struct AwaitClientFinal {
    stored_key: [u8; KEY_BYTES],
    server_key: [u8; KEY_BYTES],
    nonce: String,
    binding: String,
    /// Both first messages and a comma, as covered by the proofs.
    dialog: String,
}

// === impl AwaitClientFirst ===

impl AwaitClientFirst {
    /// Begins an exchange with a client that must know the password behind `verifier`.
    #[must_use]
    pub fn new(verifier: Verifier, nonce: [u8; NONCE_BYTES], end_point: Option<Vec<u8>>) -> Self {
        Self::with_nonce(verifier, BASE64.encode(nonce), end_point)
    }

    /// Begins an exchange with a nonce that is text already.
    pub(super) const fn with_nonce(verifier: Verifier, nonce: String, end_point: Option<Vec<u8>>) -> Self {
        Self { verifier, nonce, end_point }
    }

    /// Offered mechanisms, preferred mechanism first.
    #[must_use]
    pub const fn mechanisms(&self) -> &'static [&'static str] {
        match self.end_point {
            Some(_) => &[SCRAM_SHA_256_PLUS, SCRAM_SHA_256],
            None => &[SCRAM_SHA_256],
        }
    }

    /// Processes the client's choice and first message; returns the next message.
    ///
    /// # Errors
    /// [`ScramError`] when the message is malformed, or the binding does not go with the mechanism.
    pub fn on_client_first(
        self,
        mechanism: &[u8],
        message: &[u8],
    ) -> Result<(String, AwaitClientFinal), ScramError> {
        let offered = self.mechanisms().iter().find(|offered| offered.as_bytes() == mechanism);
        let &mechanism = offered.ok_or(ScramError::Unsupported("mechanism"))?;
        let first = ClientFirst::parse(message)?;
        let data = match (mechanism, first.flag, &self.end_point) {
            (SCRAM_SHA_256_PLUS, Flag::EndPoint, Some(hash)) => hash.as_slice(),
            (SCRAM_SHA_256, Flag::Unavailable, _) | (SCRAM_SHA_256, Flag::NotOffered, None) => &[],
            (SCRAM_SHA_256, Flag::NotOffered, Some(_)) => return Err(ScramError::Downgrade),
            _ => return Err(ScramError::Malformed("channel binding flag")),
        };
        let Verifier { iterations, salt, stored_key, server_key } = &self.verifier;
        let nonce = format!("{}{}", first.nonce, self.nonce);
        let answer = format!("r={nonce},s={},i={iterations}", BASE64.encode(salt));
        let next = AwaitClientFinal {
            stored_key: *stored_key,
            server_key: *server_key,
            binding: first.flag.input(data),
            dialog: format!("{},{answer},", first.bare),
            nonce,
        };
        Ok((answer, next))
    }
}

// === impl AwaitClientFinal ===

impl AwaitClientFinal {
    /// Verifies the client's proof; returns the server's signature, which completes the exchange.
    ///
    /// # Errors
    /// [`ScramError::WrongProof`] if the client does not know the password, [`ScramError::Binding`] if the client is
    /// connected to another server, [`ScramError::Nonce`], [`ScramError::Malformed`].
    pub fn on_client_final(self, message: &[u8]) -> Result<String, ScramError> {
        let last = ClientFinal::parse(message)?;
        if last.nonce != self.nonce {
            return Err(ScramError::Nonce);
        }
        if last.binding != self.binding {
            return Err(ScramError::Binding);
        }
        let dialog = [self.dialog.as_bytes(), last.without_proof.as_bytes()];
        let client_key = xor_bytes(&last.proof, &hmac_sha256(&self.stored_key, &dialog));
        match hash(&client_key).ct_eq(&self.stored_key).into() {
            true => Ok(format!("v={}", BASE64.encode(hmac_sha256(&self.server_key, &dialog)))),
            false => Err(ScramError::WrongProof),
        }
    }
}
