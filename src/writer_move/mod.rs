//! Moves the writer to another endpoint by an operator's command, and keeps sessions off fenced endpoints.
//!
//! Promises: a move has the order hold, wait, end, check, switch, release; an error before the switch releases the held
//! clients and leaves the writer; one move at a time; once an endpoint is fenced, no session of a route to the writer
//! uses it, and the uses that were under way end. Refuses to know: who may move the writer (`admin`, `console`), how a
//! server is promoted, the rules of the election (`topology`).

mod error;
mod mover;
mod progress;
mod request;
mod retire;

pub use error::MoveError;
pub use mover::{MoverParts, WriterMover};
pub use progress::{MovePhase, MoveProgress};
pub use request::{MoveOrigin, MoveReport, MoveRequest};
