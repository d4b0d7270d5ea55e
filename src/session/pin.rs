//! Reasons why a session may not give its backend back.

/// Something of the session that lives in its backend and cannot be carried to another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pin {
    /// It listens to a channel.
    Listen,
    /// It holds a session-level advisory lock.
    AdvisoryLock,
    /// It has a temporary table, view, sequence, function or type.
    TemporaryObject,
    /// It has a cursor `WITH HOLD`.
    HoldCursor,
    /// It has a statement prepared by SQL `PREPARE`.
    SqlPrepared,
    /// It executes a protocol-level prepared statement by SQL `EXECUTE`.
    SqlExecute,
    /// It relies on `currval` or `lastval`.
    Sequence,
    /// It loaded a library.
    Load,
    /// It called a function that leaves state behind.
    Function,
    /// It made a setting that cannot be followed, such as one with a computed name.
    HiddenSetting,
    /// It said a statement too long to be looked through.
    LongStatement,
    /// What it left behind could not be looked up.
    Unproved,
}

/// A set of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pins(u16);

// === impl Pin ===

impl Pin {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Listen,
        Self::AdvisoryLock,
        Self::TemporaryObject,
        Self::HoldCursor,
        Self::SqlPrepared,
        Self::SqlExecute,
        Self::Sequence,
        Self::Load,
        Self::Function,
        Self::HiddenSetting,
        Self::LongStatement,
        Self::Unproved,
    ];

    /// The word in metrics, logs, the audit log and the admin API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Listen => "listen",
            Self::AdvisoryLock => "advisory_lock",
            Self::TemporaryObject => "temporary_object",
            Self::HoldCursor => "hold_cursor",
            Self::SqlPrepared => "sql_prepare",
            Self::SqlExecute => "sql_execute",
            Self::Sequence => "sequence",
            Self::Load => "load",
            Self::Function => "function",
            Self::HiddenSetting => "hidden_setting",
            Self::LongStatement => "long_statement",
            Self::Unproved => "unproved",
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

// === impl Pins ===

impl Pins {
    /// None.
    pub const NONE: Self = Self(0);
    /// Those that the server's catalogues show: each look at them says afresh which there are.
    pub const VISIBLE: Self = Self(
        Pin::Listen.bit()
            | Pin::AdvisoryLock.bit()
            | Pin::TemporaryObject.bit()
            | Pin::HoldCursor.bit()
            | Pin::SqlPrepared.bit(),
    );

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
