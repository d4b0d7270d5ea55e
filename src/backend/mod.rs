//! Server connections: dialing, TLS, login, cancelling.
//!
//! Promises: a [`Backend`] has completed startup; a token travels only over verified TLS, and for listed users; a
//! connect ends within the time limit and reports the phase. Refuses to know: clients, routes, pools.

mod accepted;
mod cancel;
mod connection;
mod connector;
mod dial;
mod endpoint;
mod error;
mod failure_point;
mod login;
mod login_method;
mod phase;
mod query;
mod questions;
mod reach;
mod refusal_before_tls;
mod refused;
mod server_processes;
mod settings;
mod socket;
mod socket_diag;
mod tcp_state;

pub use accepted::AcceptedPassword;
pub(crate) use connection::RoleReport;
pub use connection::{Backend, reported_role};
pub use connector::ConnectRequest;
pub use dial::Dialed;
pub use endpoint::EndpointHandle;
pub use error::{ConnectError, ConnectFailure};
pub(crate) use query::{QueryClient, QueryError, QueryLimits, Strictness, query, query_state};
pub(crate) use questions::{Columns, Questions};
pub use reach::{Resolved, reach, reach_unix, resolve};
pub(crate) use refused::log_text as fault_words;
pub use refused::{CredentialKind, Refused};
pub use server_processes::ServerProcesses;
pub use settings::{EndpointSettings, ProbeLogin};
pub use socket::KEEPALIVE;
pub use socket_diag::SocketDiag;
pub use tcp_state::{TcpPath, TcpProgress, TcpState};

#[cfg(test)]
mod tests;
