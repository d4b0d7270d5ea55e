//! What we show to log in to an endpoint: passwords and short-lived tokens.
//!
//! Promises: a secret has no `Debug` and is wiped when dropped; one mint at a time per source and user, however many
//! logins wait. While mints fail, a token is used until the server refuses the token. Refuses to know: connections and
//! messages.

mod adc;
mod aws;
mod command;
mod error;
mod exchange;
mod google;
mod google_environment;
mod google_error;
mod http;
mod metadata;
mod minter;
mod principal;
mod printed_token;
mod redact;
mod requester;
mod secret;
mod settings;
mod source;
mod subject;
mod token;
mod token_cache;

pub use adc::check_credentials_file;
pub use error::TokenError;
pub use google_error::GoogleError;
pub use minter::find_principal;
pub use principal::{TokenPrincipal, is_service_account};
pub use secret::Secret;
pub use settings::{
    GoogleCredentials, GoogleLogin, Impersonate, Login, PasswordLogin, TokenCommand, TokenLoginSettings,
    TokenOrigin, TokenUsers,
};
#[cfg(test)]
pub use source::KeptToken;
pub use source::{Mint, TokenKeeper, TokenSource, TokenStatus};
pub use token::{Token, TokenLogin};
