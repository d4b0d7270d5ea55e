//! What a server keeps instead of a password.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};

use subtle::ConstantTimeEq;

use super::{
    SALT_BYTES,
    error::ScramError,
    keys::{ITERATIONS_MAX, KEY_BYTES, Keys, hash, mac},
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

/// A text that is no verifier. Says nothing of the text, which may be a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a SCRAM verifier of the form SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey")]
pub struct VerifierError;

impl Verifier {
    /// Derives the verifier of a password. Costs what [`Keys::derive`] costs.
    ///
    /// # Errors
    /// [`ScramError::Iterations`] when there are none or too many.
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

    /// The verifier of a user who does not exist: it fits no password, and its salt is always the same for a name, so
    /// that it cannot be told from a real one. `secret` must not be known outside and stay the same while the process runs
    /// (better: longer); `iterations` are those that real users have.
    #[must_use]
    pub fn mock(secret: &[u8], user: &[u8], iterations: u32) -> Self {
        let salt = mac(secret, &[b"salt\0", user]);
        Self {
            iterations,
            salt: salt.iter().copied().take(SALT_BYTES).collect(),
            // Nobody knows what hashes to this.
            stored_key: mac(secret, &[b"stored key\0", user]),
            server_key: mac(secret, &[b"server key\0", user]),
        }
    }

    /// Whether it was derived from `password`. Takes as long whether it was or not: what [`Keys::derive`] costs.
    #[must_use]
    pub fn fits(&self, password: &[u8]) -> bool {
        let Ok(keys) = Keys::derive(password, &self.salt, self.iterations) else { return false };
        hash(keys.client()).ct_eq(&self.stored_key).into()
    }

    /// How often the password is hashed: what a mock verifier should say too.
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
        let iterations = iterations.parse().ok().filter(|few| plain && (1..=ITERATIONS_MAX).contains(few))?;
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
