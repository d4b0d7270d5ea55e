//! Reasons why a session may not give its backend back.

use crate::closed_set::closed_set;

closed_set! {
    /// Something of the session that lives in its backend and cannot be carried to another one.
    pub enum Pin(
        /// True if the catalogs of the server show the state: each state check finds the pin again.
        is_visible: bool,
    ) {
        /// It listens to a channel.
        Listen = "listen" { is_visible: true },
        /// It holds a session-level advisory lock.
        AdvisoryLock = "advisory_lock" { is_visible: true },
        /// It has a temporary table, view, sequence, function or type.
        TemporaryObject = "temporary_object" { is_visible: true },
        /// It has a cursor `WITH HOLD`.
        HoldCursor = "hold_cursor" { is_visible: true },
        /// It has a statement prepared by SQL `PREPARE`.
        SqlPrepared = "sql_prepare" { is_visible: true },
        /// It executes a protocol-level prepared statement by SQL `EXECUTE`.
        SqlExecute = "sql_execute" { is_visible: false },
        /// It relies on `currval` or `lastval`.
        Sequence = "sequence" { is_visible: false },
        /// It loaded a library.
        Load = "load" { is_visible: false },
        /// It called a function that leaves state behind.
        Function = "function" { is_visible: false },
        /// It made a setting that cannot be followed, such as one with a computed name.
        HiddenSetting = "hidden_setting" { is_visible: false },
        /// It said a statement too long to be looked through.
        LongStatement = "long_statement" { is_visible: false },
        /// What it left behind could not be looked up.
        Unproved = "unproved" { is_visible: false },
    }
}

/// A set of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pins(u16);

// === impl Pin ===

impl Pin {
    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

// === impl Pins ===

impl Pins {
    /// None.
    pub const NONE: Self = Self(0);
    /// Those that the server's catalogues show: each look at them says afresh which there are.
    pub const VISIBLE: Self = {
        let (mut visible, mut at) = (Self::NONE, 0);
        while at < Pin::ALL.len() {
            if Pin::ALL[at].is_visible() {
                visible = visible.with(Pin::ALL[at]);
            }
            at += 1;
        }
        visible
    };

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `pin` is among them.
    #[must_use]
    pub const fn contains(self, pin: Pin) -> bool {
        self.0 & pin.bit() != 0
    }

    /// With `pin` too.
    #[must_use]
    pub const fn with(self, pin: Pin) -> Self {
        Self(self.0 | pin.bit())
    }

    /// Without `pin`.
    #[must_use]
    pub const fn without(self, pin: Pin) -> Self {
        Self(self.0 & !pin.bit())
    }

    /// Those of either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those that are not in `other`.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Pin> {
        Pin::ALL.into_iter().filter(move |pin| self.contains(*pin))
    }

    /// As a number, to be kept in an atomic one.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// From [`Pins::bits`].
    #[must_use]
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }
}
