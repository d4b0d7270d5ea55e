//! Names of shared statements on a backend.
//!
//! Names are unguessable: a client with a known name could execute or close another session's statement by SQL.

/// Common beginning of the names on a backend: different for each backend.
#[derive(Clone, Copy)]
pub(super) struct NameStem([u8; STEM_BYTES]);

/// Name of a statement on a backend.
#[derive(Clone, Copy)]
pub(super) struct StatementName([u8; NAME_BYTES]);

/// Common beginning of all internal names, for readers of a server's log.
const PREFIX: &[u8; PREFIX_BYTES] = b"__gatekeeper_";
const PREFIX_BYTES: usize = 13;
/// In hexadecimal digits: no guess succeeds within a backend's life.
const KEY_DIGITS: usize = 32;
const STEM_BYTES: usize = PREFIX_BYTES + KEY_DIGITS;
const ID_DIGITS: usize = 16;
/// A server keeps 63 bytes of a name (`NAMEDATALEN`).
const NAME_BYTES: usize = STEM_BYTES + ID_DIGITS;
const _: () = assert!(NAME_BYTES < 64);

// === impl NameStem ===

impl NameStem {
    /// Creates the stem of a backend with the random `key`.
    pub(super) fn new(key: [u8; 16]) -> Self {
        let mut stem = [0; STEM_BYTES];
        let (prefix, digits) = stem.split_at_mut(PREFIX_BYTES);
        prefix.copy_from_slice(PREFIX);
        for (pair, byte) in digits.chunks_exact_mut(2).zip(key) {
            pair.copy_from_slice(&[digit(byte >> 4), digit(byte)]);
        }
        Self(stem)
    }

    /// Name of the statement `id`.
    #[inline]
    pub(super) fn name(&self, id: u64) -> StatementName {
        let mut name = [0; NAME_BYTES];
        let (stem, digits) = name.split_at_mut(STEM_BYTES);
        stem.copy_from_slice(&self.0);
        for (pair, byte) in digits.chunks_exact_mut(2).zip(id.to_be_bytes()) {
            pair.copy_from_slice(&[digit(byte >> 4), digit(byte)]);
        }
        StatementName(name)
    }

    /// Id of the statement named `name`.
    pub(super) fn id_of(&self, name: &[u8]) -> Option<u64> {
        let digits = name.strip_prefix(&self.0)?.first_chunk::<ID_DIGITS>()?;
        if name.len() != NAME_BYTES {
            return None;
        }
        u64::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
    }

    /// True if `text` may contain a name of the backend.
    pub(super) fn is_in(&self, text: &[u8]) -> bool {
        memchr::memmem::find(text, &self.0).is_some()
    }

    /// Replaces each name in `text` by the result of `shown` for the statement; `None` without a replacement.
    pub(super) fn replace<'a>(
        &self,
        text: &[u8],
        shown: impl Fn(u64) -> Option<&'a [u8]>,
    ) -> Option<Vec<u8>> {
        let mut replaced = Vec::new();
        let mut rest = text;
        while let Some(at) = memchr::memmem::find(rest, &self.0) {
            let (before, from) = rest.split_at(at);
            let (name, behind) = from.split_at(from.len().min(NAME_BYTES));
            replaced.extend_from_slice(before);
            replaced.extend_from_slice(self.id_of(name).and_then(&shown).unwrap_or_default());
            rest = behind;
        }
        if rest.len() == text.len() {
            return None;
        }
        replaced.extend_from_slice(rest);
        Some(replaced)
    }
}

const fn digit(nibble: u8) -> u8 {
    b"0123456789abcdef"[(nibble & 15) as usize]
}

// === impl StatementName ===

impl std::ops::Deref for StatementName {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_its_statement_on_its_own_backend_alone() {
        let (one, two) = (NameStem::new([7; 16]), NameStem::new([8; 16]));
        let name = one.name(0x1234_5678_9abc_def0);
        assert_eq!(&*name, b"__gatekeeper_07070707070707070707070707070707123456789abcdef0");
        assert_eq!((one.id_of(&name), two.id_of(&name)), (Some(0x1234_5678_9abc_def0), None));
        assert_eq!(one.id_of(&name[..name.len() - 1]), None);
        assert_eq!(one.id_of(&[&*name, b"0"].concat()), None);
    }

    #[test]
    fn names_are_replaced_wherever_they_stand() {
        let stem = NameStem::new([7; 16]);
        let (one, two) = (stem.name(1), stem.name(2));
        let text = [b"a ", &*one, b", ", &*two, b" and ", &one[..50]].concat();
        let shown = |id| (id == 1).then_some(&b"s"[..]);
        assert_eq!(stem.replace(&text, shown).as_deref(), Some(&b"a s,  and "[..]));
        assert_eq!(stem.replace(b"nothing", shown), None);
    }
}
