//! Recent events in memory, for the status page and `/v1/events`.
//!
//! Promises: recording never waits and takes one short lock; the number of events and of writer periods is bounded; a
//! flood of rejected clients takes one entry for each reason, so that other events are kept. Refuses to know: the
//! sources and readers of events. Unlike the audit log, events are dropped when old and end with the process.

mod event;
mod event_kind;
#[expect(clippy::module_inception, reason = "the type has the folder's name, and its file has the type's")]
mod events;
mod failover;
mod refusals;
mod ring;
mod writer_period;

pub use event::Event;
pub use event_kind::EventKind;
pub use events::{Events, FailedReload};
pub use failover::FailoverChange;
pub use refusals::{RecentRefusals, RefusalKind};
pub use writer_period::{WriterPeriod, WriterPeriods};
