//! ErrorResponse messages that Gatekeeper writes in its own name.
//!
//! Promises: every message has a SQLSTATE and names the party to blame and the reason, and contains no address, path, token
//! or other user's name. Refuses to know: the place of the failure; the caller chooses the error.

#[expect(clippy::module_inception, reason = "the type has the folder's name, and its file has the type's")]
mod client_error;
mod reason;

pub use client_error::ClientError;
pub use reason::ClientErrorReason;
