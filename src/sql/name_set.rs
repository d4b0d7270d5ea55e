//! Set of names of a database, with a filter for most unrelated words.

use std::collections::HashSet;

use foldhash::fast::FixedState;

/// `NAMEDATALEN - 1`: PostgreSQL's length limit of an identifier, in bytes.
pub(super) const NAME_LENGTH: usize = 63;

/// Names of functions, relations, types and operators, without schema and without regard to case.
#[derive(Clone, Default)]
pub(super) struct NameSet {
    names: HashSet<Box<[u8]>, FixedState>,
    operators: Vec<Box<[u8]>>,
    /// For each first byte the lengths of the names, as bits, with both cases of letters.
    lengths: Vec<u64>,
    /// A name has a byte outside ASCII: the client may use a different encoding.
    beyond_ascii: bool,
    /// Some name can only be written as a quoted identifier.
    quoted_only: bool,
}

// === impl NameSet ===

impl NameSet {
    /// Adds a name, regardless of case.
    pub(super) fn insert(&mut self, name: &str) {
        let name = name.as_bytes().to_ascii_lowercase();
        let Some(&first) = name.first() else { return };
        if is_operator(&name) {
            if !self.operators.iter().any(|known| **known == *name) {
                self.operators.push(name.into());
            }
            return;
        }
        self.beyond_ascii |= !name.is_ascii();
        self.quoted_only |= !name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_$".contains(byte));
        self.lengths.resize(256, 0);
        let bit = 1 << name.len().min(NAME_LENGTH);
        self.lengths[usize::from(first)] |= bit;
        self.lengths[usize::from(first.to_ascii_uppercase())] |= bit;
        self.names.insert(name.into());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty() && self.operators.is_empty()
    }

    /// True if the identifier `name`, as written in a text, may be in the set.
    #[inline]
    pub(super) fn contains(&self, name: &[u8]) -> bool {
        // PostgreSQL truncates identifiers: names equal up to the limit are identical.
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

    /// True if an operator of the set may be in `text`.
    pub(super) fn operator_in(&self, text: &[u8]) -> bool {
        self.operators.iter().any(|operator| memchr::memmem::find(text, operator).is_some())
    }

    /// True if a name can only be written in double quotes.
    pub(super) fn has_quoted_only(&self) -> bool {
        self.quoted_only
    }
}

/// True for names of operator characters only:
/// <https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-OPERATORS>.
pub(super) fn is_operator(name: &[u8]) -> bool {
    name.iter().all(|byte| b"+-*/<>=~!@#%^&|`?".contains(byte))
}
