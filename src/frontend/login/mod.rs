//! From the first packet to a session: TLS, startup message, authentication, access list, and the login to a backend.

pub(crate) mod access_list;
pub(crate) mod application_name;
pub(crate) mod authenticate;
pub(crate) mod backend_login;
pub(crate) mod backend_source;
pub(crate) mod console;
pub(crate) mod greet;
pub(crate) mod handshake;
pub(crate) mod identity_map;
pub(crate) mod initial_parameter_status;
mod pooled_login;
mod relayed_login;
pub(crate) mod route_options;
pub(crate) mod startup_options;
pub(crate) mod startup_values;
#[cfg(test)]
mod tests;
pub(crate) mod unauthenticated_client;
pub(crate) mod users;
