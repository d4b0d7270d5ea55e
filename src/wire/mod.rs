//! PostgreSQL's protocol, 3.0 and 3.2: bytes ⇄ messages.
//!
//! What crosses a connection once it is up is a sequence of *frames*: a tag, a length, a body. [`Deframer`] finds them in
//! the buffer they were read into. [`frontend::FrontendMessage`] and [`backend::BackendMessage`] are borrowed views of the bodies that
//! somebody must understand; everything else is passed on as it came. What precedes the first frame (encryption
//! requests, cancel requests, the StartupMessage) is in [`startup`].
//!
//! Promises: a length is checked before it is added, allocated or followed; no bytes from a peer cause a panic; views
//! borrow and never allocate; what is written is what was read, when nothing was changed.
//! Refuses to know: sockets, and what may follow what (that is `handshake` and `session`).
//!
//! <https://www.postgresql.org/docs/current/protocol-message-formats.html>

pub mod authentication;
pub mod backend;
mod bulk;
pub mod cancel_key;
mod deframer;
pub mod error_response;
mod frame;
pub mod frontend;
mod reader;
pub mod startup;
pub mod tag;
mod transaction;
mod writer;

pub use bulk::leading_run;
pub use cancel_key::BackendKey;
pub use deframer::{Deframer, FramePiece, PartialFrame, Speaker};
pub use error_response::{ErrorFields, ErrorResponse, Severity, SqlState};
pub use frame::{Frame, FrameError, Header};
pub use reader::{DecodeError, Reader};
pub use startup::{FirstPacket, ProtocolVersion, StartupError, StartupMessage};
pub use transaction::TransactionStatus;
pub use writer::{write_frame, write_packet};

#[cfg(test)]
mod tests;
