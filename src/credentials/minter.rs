//! Mints tokens by whatever an endpoint's settings say.

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

/// Users that commands are run for at one time: each is a process, and one that hangs holds up no other user.
const MAX_CONCURRENT_COMMANDS: usize = 4;
/// Users that Google is asked for at one time: each is a connection.
const MAX_CONCURRENT_REQUESTS: usize = 16;

/// Finds out whose tokens `login` yields, within `limit`, with the environment of this process.
///
/// Cancel safe: connections are closed, programs killed.
///
/// # Errors
/// [`TokenError`] when the credentials cannot be found, or a server does not say.
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

    /// Whose tokens they are; a command does not say.
    pub(super) async fn principal(&self) -> Result<TokenPrincipal, TokenError> {
        match self {
            Self::Command(_) => Ok(TokenPrincipal::Unknown),
            Self::Google(minter) => minter.principal().await.map_err(TokenError::Google),
        }
    }

    /// Users that are minted for at one time.
    pub(super) const fn concurrency(&self) -> usize {
        match self {
            Self::Command(_) => MAX_CONCURRENT_COMMANDS,
            Self::Google(_) => MAX_CONCURRENT_REQUESTS,
        }
    }
}
