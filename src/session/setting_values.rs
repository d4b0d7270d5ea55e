//! Settings that differ from a fresh backend's: what a session has set, and what a backend has been given.

use std::{cmp::Ordering, collections::BTreeMap, hash::BuildHasher, sync::Arc};

use foldhash::fast::FixedState;

/// Settings by lower-case name, immutable and cheap to share: a session and the backends that were given its settings
/// hold the same ones.
#[derive(Debug, Clone, Default)]
pub struct SettingValues(Option<Arc<Set>>);

#[derive(Debug)]
struct Set {
    /// In the order of their names.
    entries: Vec<Entry>,
    mark: u64,
}

/// Setting as shown by `current_setting`, in the database encoding: sessions of all encodings share backends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Name in lower case.
    pub name: Arc<[u8]>,
    /// Value in the database encoding.
    pub value: Arc<[u8]>,
}

/// Maximum size of a session's settings, by [`SettingValues::bytes`]: equal to the limit of a statement read whole.
pub(super) const SETTINGS_MAX_BYTES: usize = 1 << 20;
/// Size of an entry in bytes besides the name and value.
const ENTRY_BYTES: usize = 64;

// === impl SettingValues ===

impl SettingValues {
    /// The value of `name`, if it is set.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        let entries = self.entries();
        let at = entries.binary_search_by(|entry| (*entry.name).cmp(name)).ok()?;
        entries.get(at).map(|entry| &*entry.value)
    }

    /// With `name` set to `value`, or no longer set.
    #[must_use]
    pub fn with(&self, name: &[u8], value: Option<&[u8]>) -> Self {
        let mut entries = self.entries().to_vec();
        match (entries.binary_search_by(|entry| (*entry.name).cmp(name)), value) {
            (Ok(at), Some(value)) => entries[at].value = value.into(),
            (Ok(at), None) => {
                entries.remove(at);
            }
            (Err(at), Some(value)) => entries.insert(at, Entry { name: name.into(), value: value.into() }),
            (Err(_), None) => {}
        }
        Self::from_sorted(entries)
    }

    /// Returns a copy with each name set to the value, or unset.
    pub(super) fn with_all<'a>(&self, changes: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>) -> Self {
        let changes: BTreeMap<_, _> = changes.collect();
        let kept = self.entries().iter().filter(|entry| !changes.contains_key(&*entry.name)).cloned();
        let new = changes.iter().filter_map(|(name, value)| {
            value.map(|value| Entry { name: (*name).into(), value: value.into() })
        });
        let mut entries: Vec<_> = kept.chain(new).collect();
        entries.sort_unstable_by(|one, two| one.name.cmp(&two.name));
        Self::from_sorted(entries)
    }

    /// Approximate memory size in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.entries().iter().map(|entry| entry.name.len() + entry.value.len() + ENTRY_BYTES).sum()
    }

    /// A number that equal settings share; 0 when nothing is set.
    #[must_use]
    pub fn mark(&self) -> u64 {
        self.0.as_ref().map_or(0, |set| set.mark)
    }

    /// Lets equal settings be the very same ones: whoever compares them next has it easy. Of the two those are kept that all
    /// who meet will agree on.
    pub(super) fn unite(&mut self, other: &mut Self) {
        if let (Some(one), Some(two)) = (&self.0, &other.0) {
            match Arc::as_ptr(one).cmp(&Arc::as_ptr(two)) {
                Ordering::Less => other.0 = Some(Arc::clone(one)),
                Ordering::Greater => self.0 = Some(Arc::clone(two)),
                Ordering::Equal => {}
            }
        }
    }

    pub(super) fn entries(&self) -> &[Entry] {
        self.0.as_ref().map_or(&[], |set| &set.entries)
    }

    /// What turns `self` into `wanted`: settings to forget (`None`) and to give.
    pub(super) fn difference<'a>(
        &'a self,
        wanted: &'a Self,
    ) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> {
        let gone = self.entries().iter().filter(|entry| wanted.get(&entry.name).is_none());
        let new = wanted.entries().iter().filter(|entry| self.get(&entry.name) != Some(&entry.value));
        gone.map(|entry| (&*entry.name, None)).chain(new.map(|entry| (&*entry.name, Some(&*entry.value))))
    }

    fn from_sorted(entries: Vec<Entry>) -> Self {
        if entries.is_empty() {
            return Self(None);
        }
        let mark =
            entries.iter().fold(1, |mark: u64, entry| mark.wrapping_add(mark_of(&entry.name, &entry.value)));
        Self(Some(Arc::new(Set { entries, mark: mark.max(1) })))
    }
}

/// A number for one setting; those of several are added up.
pub(super) fn mark_of(name: &[u8], value: &[u8]) -> u64 {
    FixedState::default().hash_one((name, value))
}

impl PartialEq for SettingValues {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (None, None) => true,
            (Some(one), Some(two)) => {
                Arc::ptr_eq(one, two) || (one.mark == two.mark && one.entries == two.entries)
            }
            _ => false,
        }
    }
}

impl Eq for SettingValues {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_forgets_what_is_gone_and_gives_what_is_new() {
        let before = SettingValues::default().with(b"work_mem", Some(b"1MB")).with(b"role", Some(b"joe"));
        let after = before.with(b"role", None).with(b"work_mem", Some(b"2MB")).with(b"a.b", Some(b""));
        let difference: Vec<_> = before.difference(&after).collect();
        let expected: [(&[u8], Option<&[u8]>); 3] =
            [(b"role", None), (b"a.b", Some(b"")), (b"work_mem", Some(b"2MB"))];
        assert_eq!(difference, expected);
        assert_eq!(before.difference(&before).count(), 0);
    }

    #[test]
    fn equal_settings_are_equal_however_they_came_about() {
        let one = SettingValues::default().with(b"a", Some(b"1")).with(b"b", Some(b"2"));
        let two =
            SettingValues::default().with(b"b", Some(b"3")).with(b"a", Some(b"1")).with(b"b", Some(b"2"));
        assert!(one == two && one.mark() == two.mark() && one.mark() != 0);
        let none = one.with(b"a", None).with(b"b", None);
        assert!(none == SettingValues::default() && none.mark() == 0);
        assert!(one != one.with(b"a", Some(b"2")));
    }

    #[test]
    fn changes_together_are_changes_one_by_one() {
        let before = SettingValues::default().with(b"a", Some(b"1")).with(b"b", Some(b"2"));
        let changes = [(&b"c"[..], Some(&b"3"[..])), (b"a", None), (b"b", Some(b"4")), (b"d", None)];
        let one_by_one = changes.iter().fold(before.clone(), |all, (name, value)| all.with(name, *value));
        assert!(before.with_all(changes.into_iter()) == one_by_one);
        assert_eq!(one_by_one.bytes(), 2 * (1 + 1 + ENTRY_BYTES));
    }
}
