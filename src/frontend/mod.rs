//! Client connections: listeners, greeting, authentication, and the relay that drives a session.

mod settings;

pub use settings::{Auth, Bind, ListenerLimits, ListenerSettings};
