//! Mints tokens with the origin configured for an endpoint.

use std::time::Duration;

use super::{
    GoogleLogin, TokenError, TokenLoginSettings, TokenOrigin, TokenPrincipal, command, exchange::MintedToken,
    google::GoogleMinter, google_environment::GoogleEnvironment,
};
use crate::{names::UserName, topology::Endpoint};

/// Mints the tokens of one endpoint.
pub(super) enum TokenMinter {
    Command(command::Minter),
    Google(Box<GoogleMinter>),
}

/// Maximum number of users with running commands: each is a process, and a hung command delays no other user.
const MAX_CONCURRENT_COMMANDS: usize = 4;
/// Maximum number of users with running requests to Google: each is a connection.
const MAX_CONCURRENT_REQUESTS: usize = 16;

/// Finds the principal of the tokens of `login`, within `limit`, with the environment of the process.
///
/// Cancel safe: connections are closed, programs killed.
///
/// # Errors
/// [`TokenError`] when credentials are not found, or a server does not name the principal.
pub async fn find_principal(login: &GoogleLogin, limit: Duration) -> Result<TokenPrincipal, TokenError> {
    let minter = GoogleMinter::new(login.clone(), limit, GoogleEnvironment::of_process());
    minter.principal().await.map_err(TokenError::Google)
}

impl TokenMinter {
    pub(super) fn new(settings: &TokenLoginSettings, endpoint: &Endpoint) -> Self {
        match &settings.origin {
            TokenOrigin::Command(command) => {
                Self::Command(command::Minter::new(command, settings.timeout, endpoint))
            }
            TokenOrigin::Google(login) => {
                let environment = GoogleEnvironment::of_process();
                Self::Google(Box::new(GoogleMinter::new(login.clone(), settings.timeout, environment)))
            }
        }
    }

    /// Mints a token for `user`.
    ///
    /// Cancel safe: commands are killed, connections closed.
    pub(super) async fn mint(&self, user: &UserName) -> Result<MintedToken, TokenError> {
        match self {
            Self::Command(minter) => minter.mint(user).await,
            Self::Google(minter) => minter.mint(user).await.map_err(TokenError::Google),
        }
    }

    /// Returns the principal of the tokens; unknown for a command.
    pub(super) async fn principal(&self) -> Result<TokenPrincipal, TokenError> {
        match self {
            Self::Command(_) => Ok(TokenPrincipal::Unknown),
            Self::Google(minter) => minter.principal().await.map_err(TokenError::Google),
        }
    }

    /// Maximum number of users with running mints.
    pub(super) const fn concurrency(&self) -> usize {
        match self {
            Self::Command(_) => MAX_CONCURRENT_COMMANDS,
            Self::Google(_) => MAX_CONCURRENT_REQUESTS,
        }
    }
}
