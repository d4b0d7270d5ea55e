//! One recorded event.

use jiff::Timestamp;

use super::EventKind;

/// An event, with the number of its occurrences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Sequence number, greater than of all earlier events. A repeated event gets a new number.
    pub seq: u64,
    /// Kind of the event.
    pub what: EventKind,
    /// Time of the first occurrence.
    pub first: Timestamp,
    /// Time of the last occurrence.
    pub last: Timestamp,
    /// Number of occurrences.
    pub times: u64,
}
