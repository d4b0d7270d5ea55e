//! Effects of a text on session state, as a bit set.

use std::{
    fmt,
    ops::{BitOr, BitOrAssign},
};

/// Session state that a text may change or read and that outlives the transaction. An empty set proves that nothing
/// remains.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Effects(u32);

impl Effects {
    /// No effect outlives the transaction.
    pub const NONE: Self = Self(0);
    /// Changes settings named in the text; [`super::find_setting_names`] lists the names. `SET` and `RESET` of all
    /// kinds except `SET LOCAL`, `SET TRANSACTION` and `SET CONSTRAINTS`, and `set_config` with a literal name.
    pub const SETTINGS: Self = Self(1);
    /// Resets settings to the defaults: `RESET`, `DISCARD ALL`, `SET … TO DEFAULT`.
    pub const SETTINGS_ALL: Self = Self(1 << 1);
    /// `set_config($n, …)`: the setting's name is among the Bind parameters.
    pub const SETTINGS_BOUND: Self = Self(1 << 2);
    /// Changes a setting whose name is not in the text.
    pub const SETTINGS_HIDDEN: Self = Self(1 << 3);
    /// May create a temporary relation (or another object in `pg_temp`). Every `CREATE` and `SELECT … INTO`, because
    /// `search_path` may begin with `pg_temp`.
    pub const TEMPORARY: Self = Self(1 << 4);
    /// `DROP`: may remove the cause of a pin.
    pub const DROPS: Self = Self(1 << 5);
    /// `LISTEN`, `UNLISTEN`.
    pub const LISTEN: Self = Self(1 << 6);
    /// Advisory locks of the session are taken or given back.
    pub const ADVISORY: Self = Self(1 << 7);
    /// A cursor `WITH HOLD` is declared, or some cursor closed.
    pub const CURSOR: Self = Self(1 << 8);
    /// SQL `PREPARE` or `DEALLOCATE`.
    pub const PREPARE: Self = Self(1 << 9);
    /// SQL `EXECUTE`: the effects of the named statement.
    pub const EXECUTE: Self = Self(1 << 10);
    /// `DISCARD` of any kind.
    pub const DISCARD: Self = Self(1 << 11);
    /// `LOAD` of a library, which stays in the server process.
    pub const LOAD: Self = Self(1 << 12);
    /// `currval`, `lastval`: reads the result of an earlier statement of the session.
    pub const SEQUENCE_READ: Self = Self(1 << 13);
    /// A sequence may move: `nextval`, `setval`, and statements that fill in defaults (`INSERT`, `MERGE`, `COPY`, …).
    pub const SEQUENCE_MOVE: Self = Self(1 << 14);
    /// Calls a function whose state no catalog shows, or uses a name of the [`super::StatefulNames`].
    pub const FUNCTION: Self = Self(1 << 15);
    /// `DO`, `CALL`, `CREATE FUNCTION`, `CREATE PROCEDURE`.
    pub const BLOCK: Self = Self(1 << 16);
    /// Definitions change, so plans and result descriptions may.
    pub const DDL: Self = Self(1 << 17);
    /// All effects: the text cannot be analyzed.
    pub const ALL: Self = Self((1 << 18) - 1);
    /// Uses a function, relation, type or operator without proof of leaving no state: a state check follows.
    pub const UNPROVED: Self = Self(1 << 18);
    /// Calls a function unknown to PostgreSQL and to the [`super::StatefulNames`]: the catalog may be out of date.
    pub const UNKNOWN: Self = Self(1 << 19);
    /// Settings return to defaults until the end of the transaction: `SET LOCAL … TO DEFAULT`.
    pub const SETTINGS_LOCAL: Self = Self(1 << 20);
    const DEFINED: u32 = (1 << NAMES.len()) - 1;

    /// True if the set has all bits of `other`.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// True if the sets have a common bit.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// True if the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Both sets together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The set without the bits of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The bits as a number, for an atomic.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// From [`Effects::bits`].
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits & Self::DEFINED)
    }

    /// Names of the bits.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        NAMES.iter().enumerate().filter(move |(bit, _)| self.0 & (1 << bit) != 0).map(|(_, name)| *name)
    }

    /// Adds the bits of `other`.
    pub const fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// The names of the bits, for `Debug` and for tables in tests.
const NAMES: [&str; 21] = [
    "SETTINGS",
    "SETTINGS_ALL",
    "SETTINGS_BOUND",
    "SETTINGS_HIDDEN",
    "TEMPORARY",
    "DROPS",
    "LISTEN",
    "ADVISORY",
    "CURSOR",
    "PREPARE",
    "EXECUTE",
    "DISCARD",
    "LOAD",
    "SEQUENCE_READ",
    "SEQUENCE_MOVE",
    "FUNCTION",
    "BLOCK",
    "DDL",
    "UNPROVED",
    "UNKNOWN",
    "SETTINGS_LOCAL",
];

impl BitOr for Effects {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

impl BitOrAssign for Effects {
    fn bitor_assign(&mut self, other: Self) {
        self.insert(other);
    }
}

/// Prints `SETTINGS|LISTEN`; `NONE` when empty, `ALL` for all possible effects of a text on the session.
impl fmt::Debug for Effects {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return out.write_str("NONE");
        }
        let all = self.contains(Self::ALL).then_some("ALL");
        let rest = if all.is_some() { self.without(Self::ALL) } else { *self };
        for (count, name) in all.into_iter().chain(rest.names()).enumerate() {
            out.write_str(if count == 0 { "" } else { "|" })?;
            out.write_str(name)?;
        }
        Ok(())
    }
}
