//! TLS on both legs: towards endpoints and towards clients.
//!
//! Promises: a [`VerifiedTls`] exists only for a server with a verified chain; an invalid new file changes nothing.
//! Refuses to know: PostgreSQL's messages (`backend` and `frontend` negotiate TLS).

mod certificate;
mod client;
mod client_name;
mod error;
mod lenient;
mod pem;
mod pinned;
mod provider;
mod server;
mod settings;
mod stream;
#[cfg(test)]
mod tests;
mod verifier;

pub use certificate::{CertificateFacts, CertificateUse};
pub use client::{ClientTls, VerifiedTls};
pub use client_name::CertificateName;
pub use error::{TlsError, TlsFileError};
pub use pinned::{PinnedTls, PinnedTlsError};
pub use server::ServerTls;
pub use settings::{ClientCertificates, EndpointTls, IdentityFiles, ListenerTls, Negotiation, TlsMode};
pub use stream::{Quiet, Stream, TlsFacts};

/// PostgreSQL's name in ALPN.
///
/// <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL>
const PROTOCOL: &[u8] = b"postgresql";
