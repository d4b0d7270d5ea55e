//! What can be found in a log, in words for somebody who is tired.

use std::{fmt, rc::Rc};

/// Something to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where.
    pub place: LinePosition,
    /// What.
    pub kind: FindingKind,
}

/// A line of a file; line 0 is the file itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinePosition {
    /// The file, as it was named.
    pub file: Rc<str>,
    /// The line, from 1.
    pub line: u64,
}

/// What a finding is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FindingKind {
    /// A file that cannot be read.
    Unreadable(Box<str>),
    /// A line that is no record.
    Damaged(Box<str>),
    /// A version of the schema that is not known here.
    Version(u64),
    /// A record without number, time or boot.
    Unnumbered,
    /// Records that are not there.
    Missing {
        /// Whose.
        boot: Box<str>,
        /// The first of them.
        first: u64,
        /// The last of them.
        last: u64,
    },
    /// A record behind one with a higher number.
    Misplaced {
        /// Whose.
        boot: Box<str>,
        /// Its number.
        seq: u64,
        /// The number that should stand there.
        expected: u64,
    },
    /// A record that does not carry the hash of the one before it.
    Changed {
        /// Its number.
        seq: u64,
    },
    /// The last line of a process ends in the middle.
    CutOff,
    /// A process ended without saying so.
    Killed {
        /// Which.
        boot: Box<str>,
        /// The number of its last record.
        last: u64,
    },
    /// Records that the log itself says were lost.
    Lost {
        /// How many.
        count: u64,
        /// The number they would stand behind.
        after: u64,
        /// The number they would stand before.
        before: u64,
    },
    /// The files do not reach back to where the first process started.
    BeginsInside {
        /// Which.
        boot: Box<str>,
        /// Its first record here.
        first: u64,
    },
    /// The last process has not said that it ended.
    Open {
        /// Which.
        boot: Box<str>,
        /// The number of its last record.
        last: u64,
    },
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// The log is not as it was written.
    Fault,
    /// It is as it was written, and records are known to be missing.
    Gap,
    /// Good to know.
    Remark,
}

impl FindingKind {
    /// How bad it is.
    #[must_use]
    pub const fn weight(&self) -> Weight {
        match self {
            Self::Unreadable(_)
            | Self::Damaged(_)
            | Self::Version(_)
            | Self::Unnumbered
            | Self::Missing { .. }
            | Self::Misplaced { .. }
            | Self::Changed { .. } => Weight::Fault,
            Self::CutOff | Self::Killed { .. } | Self::Lost { .. } => Weight::Gap,
            Self::BeginsInside { .. } | Self::Open { .. } => Weight::Remark,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place.line {
            0 => write!(f, "{}: {}", self.place.file, self.kind),
            line => write!(f, "{}:{line}: {}", self.place.file, self.kind),
        }
    }
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(why) => write!(f, "cannot be read: {why}"),
            Self::Damaged(why) => write!(f, "damaged: this line is not a record ({why})"),
            Self::Version(version) => {
                write!(f, "has schema version {version}, which this gatekeeper does not know: use a newer one")
            }
            Self::Unnumbered => f.write_str("damaged: this record has no seq, time or boot_id"),
            Self::Missing { boot, first, last } if first == last => {
                write!(f, "record {first} of boot {boot} is missing before this line")
            }
            Self::Missing { boot, first, last } => {
                let count = last - first + 1;
                write!(f, "{count} records of boot {boot} are missing before this line: {first} to {last}")
            }
            Self::Misplaced { boot, seq, expected } => write!(
                f,
                "record {seq} of boot {boot} stands here, where {expected} should: it was copied, or moved"
            ),
            Self::Changed { seq } => {
                write!(f, "the record before this one ({seq}) was changed or replaced: its hash is another")
            }
            Self::CutOff => f.write_str(
                "the last line of this process is cut off, as by a kill or a power failure (or it is being written now)",
            ),
            Self::Killed { boot, last } => write!(
                f,
                "boot {boot} ends here, at record {last}, without `audit.stopped`: it was killed, and what it had not \
                 written yet is missing"
            ),
            Self::Lost { count, after, before } => write!(
                f,
                "{count} records were lost here, as recorded in the log: between records {after} and {before}"
            ),
            Self::BeginsInside { boot, first } => write!(
                f,
                "boot {boot} begins with record {first} here: earlier records are in files that were not given"
            ),
            Self::Open { boot, last } => write!(
                f,
                "boot {boot} has not ended (its last record is {last}): it is running, or it was killed"
            ),
        }
    }
}
