//! The names of one database whose use may leave session state.

use foldhash::fast::FixedState;
use std::collections::HashSet;

/// `NAMEDATALEN - 1`: what PostgreSQL keeps of an identifier, in octets.
pub(super) const NAME_LENGTH: usize = 63;

/// Functions, relations and operators of one database that may leave session state, by name without schema: those that
/// [`super::STATEFUL_SQL`] lists, those that [`super::stateful_names`] found since, and `pin_on_functions`.
///
/// Empty by default. Meant to be shared in an `Arc` and swapped whole.
#[derive(Clone, Default)]
pub struct Catalogue {
    names: HashSet<Box<[u8]>, FixedState>,
    operators: Vec<Box<[u8]>>,
    /// For each first octet the lengths of the names, as bits, with both cases of letters.
    lengths: Vec<u64>,
    /// Some name holds an octet outside ASCII: the client may spell it in another encoding.
    beyond_ascii: bool,
    /// Some name holds what can only stand in a quoted identifier.
    quoted_only: bool,
}

impl Catalogue {
    /// Adds a name; its case does not count. `schema.name` adds `name` too.
    pub fn insert(&mut self, name: &str) {
        if let Some((_, last)) = name.rsplit_once('.') {
            self.insert_one(last);
        }
        self.insert_one(name);
    }

    fn insert_one(&mut self, name: &str) {
        let name = name.as_bytes().to_ascii_lowercase();
        let Some(&first) = name.first() else { return };
        if name.iter().all(|octet| OPERATOR.contains(octet)) {
            if !self.operators.iter().any(|known| **known == *name) {
                self.operators.push(name.into());
            }
            return;
        }
        self.beyond_ascii |= !name.is_ascii();
        self.quoted_only |= !name.iter().all(|octet| octet.is_ascii_alphanumeric() || b"_$".contains(octet));
        self.lengths.resize(256, 0);
        let bit = 1 << name.len().min(NAME_LENGTH);
        self.lengths[usize::from(first)] |= bit;
        self.lengths[usize::from(first.to_ascii_uppercase())] |= bit;
        self.names.insert(name.into());
    }

    /// Whether it has no name at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.operators.is_empty()
    }

    /// Whether the identifier `name`, as it stands in a text, may be one of these.
    #[must_use]
    pub fn contains(&self, name: &[u8]) -> bool {
        // PostgreSQL cuts identifiers; two names that agree so far are one.
        let name = &name[..name.len().min(NAME_LENGTH)];
        let Some(&first) = name.first() else { return false };
        if self.beyond_ascii && !name.is_ascii() {
            return true;
        }
        let lengths = self.lengths.get(usize::from(first)).copied().unwrap_or(0);
        if lengths & (1 << name.len()) == 0 {
            return false;
        }
        let mut folded = [0; NAME_LENGTH];
        let folded = &mut folded[..name.len()];
        folded.copy_from_slice(name);
        folded.make_ascii_lowercase();
        self.names.contains(&*folded)
    }

    /// Whether some operator of these may stand in `text`.
    pub(super) fn operator_in(&self, text: &[u8]) -> bool {
        self.operators.iter().any(|operator| memchr::memmem::find(text, operator).is_some())
    }

    /// Whether a name can only be written in double quotes.
    pub(super) fn has_quoted_only(&self) -> bool {
        self.quoted_only
    }
}

/// What operators are made of: <https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-OPERATORS>.
const OPERATOR: &[u8] = b"+-*/<>=~!@#%^&|`?";
