//! SCRAM verifier, stored by a server in place of a password.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};

use subtle::ConstantTimeEq;

use super::{
    SALT_BYTES,
    error::ScramError,
    keys::{KEY_BYTES, Keys, MAX_ITERATIONS, hash, hmac_sha256},
};

/// Enough to verify a client, not enough to log in anywhere: PostgreSQL's
/// `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`.
///
/// <https://www.postgresql.org/docs/current/catalog-pg-authid.html>
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    pub(super) iterations: u32,
    pub(super) salt: Vec<u8>,
    pub(super) stored_key: [u8; KEY_BYTES],
    pub(super) server_key: [u8; KEY_BYTES],
}

/// The text is not a verifier. The error omits the text, which may be a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a SCRAM verifier of the form SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey")]
pub struct VerifierError;

impl Verifier {
    /// Derives the verifier of a password, with the cost of [`Keys::derive`].
    ///
    /// # Errors
    /// [`ScramError::Iterations`] for zero iterations or more than the limit.
    pub fn derive(password: &[u8], salt: &[u8], iterations: u32) -> Result<Self, ScramError> {
        Keys::derive(password, salt, iterations).map(|keys| Self::from_keys(&keys))
    }

    fn from_keys(keys: &Keys) -> Self {
        Self {
            iterations: keys.iterations(),
            salt: keys.salt().to_vec(),
            stored_key: hash(keys.client()),
            server_key: *keys.server(),
        }
    }

    /// Verifier for an unknown user. No password fits, and the salt is constant per name, so that clients cannot tell a
    /// mock from a real verifier. `secret` must be private and constant for the life of the process (better: longer);
    /// `iterations` should equal those of real users.
    #[must_use]
    pub fn mock_for(secret: &[u8], user: &[u8], iterations: u32) -> Self {
        let salt = hmac_sha256(secret, &[b"salt\0", user]);
        Self {
            iterations,
            salt: salt.iter().copied().take(SALT_BYTES).collect(),
            // No known input hashes to the value.
            stored_key: hmac_sha256(secret, &[b"stored key\0", user]),
            server_key: hmac_sha256(secret, &[b"server key\0", user]),
        }
    }

    /// True if the verifier was derived from `password`. The time is constant: the cost of [`Keys::derive`].
    #[must_use]
    pub fn matches_password(&self, password: &[u8]) -> bool {
        let Ok(keys) = Keys::derive(password, &self.salt, self.iterations) else { return false };
        hash(keys.client()).ct_eq(&self.stored_key).into()
    }

    /// Hash iterations; mock verifiers should use the same number.
    #[must_use]
    pub const fn iterations(&self) -> u32 {
        self.iterations
    }

    fn parse(text: &str) -> Option<Self> {
        let (parameters, keys) = text.strip_prefix("SCRAM-SHA-256$")?.split_once('$')?;
        let (iterations, salt) = parameters.split_once(':')?;
        let (stored_key, server_key) = keys.split_once(':')?;
        let key = |text| BASE64.decode(text).ok()?.try_into().ok();
        let plain = !iterations.is_empty() && iterations.bytes().all(|digit| digit.is_ascii_digit());
        let iterations = iterations.parse().ok().filter(|few| plain && (1..=MAX_ITERATIONS).contains(few))?;
        Some(Self {
            iterations,
            salt: BASE64.decode(salt).ok()?,
            stored_key: key(stored_key)?,
            server_key: key(server_key)?,
        })
    }
}

impl FromStr for Verifier {
    type Err = VerifierError;

    fn from_str(text: &str) -> Result<Self, VerifierError> {
        Self::parse(text).ok_or(VerifierError)
    }
}

impl fmt::Display for Verifier {
    /// For a users file; never for a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [salt, stored, server] =
            [self.salt.as_slice(), &self.stored_key, &self.server_key].map(|part| BASE64.encode(part));
        write!(f, "SCRAM-SHA-256${}:{salt}${stored}:{server}", self.iterations)
    }
}
