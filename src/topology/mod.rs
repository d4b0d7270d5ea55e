//! What exists and what is known of it.
//!
//! Promises: a [`Snapshot`] is one consistent picture; every value in it comes from configuration or from an
//! observation that says when it was made. Refuses to know: sockets, clocks, how an observation was obtained.

mod endpoint;
mod snapshot;

pub use endpoint::{Address, AddressError, Cluster, DeclaredRole, Endpoint};
pub use snapshot::{EndpointStatus, Health, ObservedRole, Position, Snapshot};
