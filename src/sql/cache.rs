//! Cache of classifications: bounded in bytes, with whole texts as keys.

use std::hash::{Hash, Hasher};

use foldhash::fast::RandomState;
use quick_cache::{Equivalent, Weighter, sync::Cache as Shared};

use super::{Classification, LexicalSettings};

/// Classifications by text, or by template, shared by all workers.
///
/// A lookup takes a shared lock on one of several shards, without allocation. Entries used once make room for frequent
/// entries.
pub(super) struct Cache {
    known: Shared<CacheKey, Classification, EntryBytes, RandomState>,
}

/// All that a classification depends on.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct CacheInputs {
    pub(super) lexical: LexicalSettings,
    pub(super) epoch: u64,
}

/// A text with the inputs of the classification.
#[derive(Clone, PartialEq, Eq)]
struct CacheKey {
    circumstances: CacheInputs,
    text: Box<[u8]>,
}

/// A borrowed key.
struct CacheLookup<'a> {
    circumstances: CacheInputs,
    text: &'a [u8],
}

#[derive(Clone)]
struct EntryBytes;

/// Approximate size of an entry without the text.
const ENTRY: u64 = 96;
/// A text of ordinary length, for the first size of the table.
const ORDINARY: u64 = 256;

// === impl Cache ===

impl Cache {
    /// Holds about so many bytes.
    pub(super) fn new(bytes: u64) -> Self {
        let entries = usize::try_from(bytes / (ENTRY + ORDINARY)).unwrap_or(usize::MAX);
        Self { known: Shared::with(entries, bytes, EntryBytes, RandomState::default(), Default::default()) }
    }

    pub(super) fn get(&self, text: &[u8], circumstances: CacheInputs) -> Option<Classification> {
        self.known.get(&CacheLookup { circumstances, text })
    }

    pub(super) fn insert(&self, text: &[u8], circumstances: CacheInputs, classification: Classification) {
        self.known.insert(CacheKey { circumstances, text: text.into() }, classification);
    }

    /// Removes every entry of `text`.
    pub(super) fn forget(&self, text: &[u8]) {
        self.known.retain(|key, _| *key.text != *text);
    }

    /// Size of the entries, in bytes.
    pub(super) fn weight(&self) -> u64 {
        self.known.weight()
    }
}

impl Weighter<CacheKey, Classification> for EntryBytes {
    fn weight(&self, key: &CacheKey, _: &Classification) -> u64 {
        key.text.len() as u64 + ENTRY
    }
}

impl Hash for CacheKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        CacheLookup { circumstances: self.circumstances, text: &self.text }.hash(state);
    }
}

impl Hash for CacheLookup<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let CacheInputs { lexical, epoch } = self.circumstances;
        let bits = epoch << 2 | u64::from(lexical.standard_strings) << 1 | u64::from(lexical.utf8);
        state.write_u64(bits);
        state.write(self.text);
    }
}

impl Equivalent<CacheKey> for CacheLookup<'_> {
    fn equivalent(&self, key: &CacheKey) -> bool {
        self.circumstances == key.circumstances && *self.text == *key.text
    }
}
