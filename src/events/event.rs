//! One event, as it is kept.

use jiff::Timestamp;

use super::EventKind;

/// Something that happened, once or many times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Greater than that of every event before. An event that happens again gets a new one.
    pub seq: u64,
    /// What happened.
    pub what: EventKind,
    /// When it happened first.
    pub first: Timestamp,
    /// When it happened last.
    pub last: Timestamp,
    /// How many times.
    pub times: u64,
}
