//! TLS on both legs: towards endpoints and towards clients.
//!
//! Promises: a [`VerifiedTls`] exists only for a server whose chain was verified; a bad new file keeps the old one.
//! Refuses to know: PostgreSQL's messages (who asks for TLS, and when, is the business of `backend` and `frontend`).

mod settings;

pub use settings::{ClientCertificates, EndpointTls, IdentityFiles, ListenerTls, Negotiation, TlsMode};
