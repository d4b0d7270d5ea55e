//! The hash that ties a line to the one before it.
//!
//! Promises: changing or removing a line requires rewriting every later line. Refuses to know: file permissions. An
//! attacker with write access can rewrite all lines, so the chain proves something only against a later hash that is
//! stored elsewhere.

use std::fmt;

use aws_lc_rs::digest;

/// SHA-256 of a line without its line break.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct LineHash([u8; 32]);

impl LineHash {
    /// Predecessor hash of the first line of a boot.
    pub(super) const NONE: Self = Self([0; 32]);

    pub(super) fn of(line: &[u8]) -> Self {
        let hash = digest::digest(&digest::SHA256, line);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(hash.as_ref());
        Self(bytes)
    }
}

impl fmt::Display for LineHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_sha256sum_prints() {
        assert_eq!(
            LineHash::of(b"abc").to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(LineHash::NONE.to_string(), "0".repeat(64));
    }
}
