//! What we show to log in to an endpoint: passwords and short-lived tokens.
//!
//! Promises: a secret has no `Debug` and is wiped when dropped; one mint at a time per source and user, however many
//! logins wait; a failed renewal keeps a token that is still good. Refuses to know: connections and messages.

mod secret;
mod settings;

pub use secret::Secret;
pub use settings::{Login, PasswordLogin, TokenCommand, TokenLoginSettings};
