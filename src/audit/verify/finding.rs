//! Findings in a log, with clear messages.

use std::{fmt, rc::Rc};

/// A finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Position.
    pub place: LinePosition,
    /// Kind.
    pub kind: FindingKind,
}

/// A line of a file; line 0 is the file itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinePosition {
    /// The file, as given on the command line.
    pub file: Rc<str>,
    /// The line, from 1.
    pub line: u64,
}

/// The kind of a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FindingKind {
    /// An unreadable file.
    Unreadable(Box<str>),
    /// A line that is not a record.
    Damaged(Box<str>),
    /// An unknown version of the schema.
    Version(u64),
    /// A record without number, time or boot.
    Unnumbered,
    /// Missing records.
    Missing {
        /// Their boot.
        boot: Box<str>,
        /// The first number.
        first: u64,
        /// The last number.
        last: u64,
    },
    /// A record after one with a higher number.
    Misplaced {
        /// The boot.
        boot: Box<str>,
        /// The number of the record.
        seq: u64,
        /// The expected number.
        expected: u64,
    },
    /// A record without the hash of the record before.
    Changed {
        /// The number of the record.
        seq: u64,
    },
    /// The last line of a process is incomplete.
    CutOff,
    /// A process ended without `audit.stopped`.
    Killed {
        /// The boot.
        boot: Box<str>,
        /// The number of the last record.
        last: u64,
    },
    /// Records reported as lost by the log.
    Lost {
        /// Number of records.
        count: u64,
        /// Number of the record before the loss.
        after: u64,
        /// Number of the record after the loss.
        before: u64,
    },
    /// The files begin after the first record of a process.
    BeginsInside {
        /// The boot.
        boot: Box<str>,
        /// The first number in the files.
        first: u64,
    },
    /// The last process has not written `audit.stopped`.
    Open {
        /// The boot.
        boot: Box<str>,
        /// The number of the last record.
        last: u64,
    },
}

/// Severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// The log was changed or damaged.
    Fault,
    /// The log is intact, and records are known to be missing.
    Gap,
    /// For information.
    Remark,
}

impl FindingKind {
    /// Severity of the finding.
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
