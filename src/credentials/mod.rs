//! What we show to log in to an endpoint: passwords and short-lived tokens.
//!
//! Promises: a secret has no `Debug` and is wiped when dropped; one mint at a time per source and user, however many logins
//! wait; while mints fail, a token is used until the server refuses it. Refuses to know: connections and messages.

mod cached;
mod command;
mod error;
mod redact;
mod secret;
mod settings;
mod source;
mod token;

pub use cached::MintCause;
pub use error::TokenError;
pub use secret::Secret;
pub use settings::{Login, PasswordLogin, TokenCommand, TokenLoginSettings, TokenUsers};
pub use source::{KeptToken, Mint, TokenKeeper, TokenSource, TokenStatus};
pub use token::{Token, TokenLogin};
