//! From the listening socket to a worker: accepts clients, counts them against the limits of the listener, and starts
//! their tasks.

pub(crate) mod admission;
pub(crate) mod client;
pub(crate) mod listener;
