//! PostgreSQL's protocol, 3.0 and 3.2: bytes ⇄ messages.
//!
//! An established connection carries *frames*: a tag, a length, a body. [`Deframer`] finds frames in the read buffer.
//! [`frontend::FrontendMessage`] and [`backend::BackendMessage`] are borrowed views of bodies that Gatekeeper decodes;
//! other frames pass unchanged. [`startup`] has the packets before the first frame: encryption requests, cancel
//! requests and the StartupMessage.
//!
//! Promises: lengths are checked before addition, allocation or use as a position; no bytes of a peer cause a panic;
//! views borrow and never allocate; an unchanged message is written as read. Refuses to know: sockets, and the valid
//! order of messages (see `handshake` and `session`).
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
