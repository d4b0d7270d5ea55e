//! What happened lately, kept in memory for whoever looks: the status page and `/v1/events`.
//!
//! Promises: telling never waits and costs a short lock; however much is told, the last events and the history of the
//! writer stay within bounds, and a flood of refusals takes one place for each kind, so that it drives nothing else out.
//! Refuses to know: who told it, and who reads. It is no audit log: it forgets, and it ends with the process.

mod event;
mod event_kind;
#[expect(clippy::module_inception, reason = "the type has the folder's name, and its file has the type's")]
mod events;
mod ring;
mod writer_period;

pub use event::Event;
pub use event_kind::EventKind;
pub use events::Events;
pub use writer_period::{WriterPeriod, WriterPeriods};
