//! Records of a session: metrics, audit log and traces.

pub(crate) mod client_log;
pub(crate) mod pool_load;
pub(crate) mod recorder;
pub(crate) mod session_tracer;
