//! Server connections: dialing, TLS, login, cancelling.
//!
//! Promises: a [`Backend`] has finished its startup; a token travels only over verified TLS. Refuses to know: clients,
//! routes, pools.

mod settings;

pub use settings::{EndpointSettings, ProbeLogin};
