//! Random numbers for choices and jitter.

use std::hash::{BuildHasher, RandomState};

/// A number for choices between equals, and for jitter.
pub(crate) fn random_number() -> u64 {
    // Predictability has no effect here: each new state has its own keys, without a system call.
    RandomState::new().hash_one(())
}
