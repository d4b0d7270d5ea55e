//! Records of a session: metrics, audit log and traces.

pub(crate) mod recorder;
pub(crate) mod session_tracer;
