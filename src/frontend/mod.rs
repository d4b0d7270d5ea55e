//! Client connections: listeners, greeting, authentication, and the relay that drives a session.

mod settings;
mod users;

pub use settings::{Auth, Bind, ListenerLimits, ListenerSettings};
pub use users::{Users, UsersFile, UsersFileError, UsersFileMistake};
