//! The keys that a password becomes.

use std::num::NonZeroU32;

use aws_lc_rs::{digest, hmac, pbkdf2};
use zeroize::Zeroizing;

use super::{error::ScramError, password::prepare_password};

/// Bytes of SHA-256, and so of all keys and signatures.
pub(super) const KEY_BYTES: usize = 32;
/// PostgreSQL's default number of iterations, `scram_iterations`.
pub const DEFAULT_ITERATIONS: u32 = 4096;
/// Limit on iterations, about an eighth of a second of computing.
pub const MAX_ITERATIONS: u32 = 1_000_000;

/// Derived client secrets, valid for a login with the same salt and iterations.
///
/// As sensitive as the password: no `Debug`, wiped when dropped.
#[derive(Clone)]
pub struct Keys {
    salt: Vec<u8>,
    iterations: u32,
    client: Zeroizing<[u8; KEY_BYTES]>,
    server: Zeroizing<[u8; KEY_BYTES]>,
}

// === impl Keys ===

impl Keys {
    /// Derives the keys. Takes about 0.13 ms for each thousand `iterations`.
    ///
    /// # Errors
    /// [`ScramError::Iterations`] for zero iterations or more than [`MAX_ITERATIONS`].
    pub fn derive(password: &[u8], salt: &[u8], iterations: u32) -> Result<Self, ScramError> {
        let rounds = NonZeroU32::new(iterations)
            .filter(|rounds| rounds.get() <= MAX_ITERATIONS)
            .ok_or(ScramError::Iterations(iterations.into()))?;
        let mut salted = Zeroizing::new([0; KEY_BYTES]);
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, salt, &prepare_password(password), &mut *salted);
        Ok(Self {
            salt: salt.to_vec(),
            iterations,
            client: Zeroizing::new(hmac_sha256(&*salted, &[b"Client Key"])),
            server: Zeroizing::new(hmac_sha256(&*salted, &[b"Server Key"])),
        })
    }

    /// True if the keys were derived with the given salt and iterations.
    #[must_use]
    pub fn were_derived_with(&self, salt: &[u8], iterations: u32) -> bool {
        self.salt == salt && self.iterations == iterations
    }

    pub(super) fn salt(&self) -> &[u8] {
        &self.salt
    }

    pub(super) const fn iterations(&self) -> u32 {
        self.iterations
    }

    pub(super) fn client(&self) -> &[u8; KEY_BYTES] {
        &self.client
    }

    pub(super) fn server(&self) -> &[u8; KEY_BYTES] {
        &self.server
    }
}

/// HMAC-SHA-256 over the concatenated `parts`.
pub(super) fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; KEY_BYTES] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    parts.iter().for_each(|part| context.update(part));
    context.sign().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// SHA-256.
pub(super) fn hash(bytes: &[u8]) -> [u8; KEY_BYTES] {
    digest::digest(&digest::SHA256, bytes).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// Byte by byte.
pub(super) fn xor_bytes(a: &[u8; KEY_BYTES], b: &[u8; KEY_BYTES]) -> [u8; KEY_BYTES] {
    let mut out = *a;
    out.iter_mut().zip(b).for_each(|(out, b)| *out ^= b);
    out
}
