//! Login method of an endpoint: built from the settings, with caches that live as long as the settings.

use std::sync::{Arc, Mutex, PoisonError};

use super::{ConnectFailure, EndpointSettings, accepted::AcceptedPasswords};
use crate::{
    credentials::{Login, PasswordLogin, Secret, TokenKeeper, TokenSource, TokenUsers},
    names::UserName,
    scram::Keys,
    wire::StartupMessage,
};

/// Login method of an endpoint.
pub(super) enum LoginMethod {
    /// No credentials besides passwords accepted from clients; a server that requests authentication of another user
    /// rejects the login.
    Passthrough(Arc<AcceptedPasswords>),
    /// With a configured password.
    Password(Arc<PasswordMethod>),
    /// With tokens.
    Token(TokenMethod),
}

/// A login with a configured password.
pub(super) struct PasswordMethod {
    login: PasswordLogin,
    /// SCRAM keys of the password from the last login: saves half a millisecond per login.
    keys: Mutex<Option<Arc<Keys>>>,
}

/// A login with tokens.
pub(super) struct TokenMethod {
    pub(super) source: TokenSource,
    users: TokenUsers,
    verifies: bool,
    pub(super) insecure_without_verification: bool,
}

// === impl LoginMethod ===

impl LoginMethod {
    /// The login method of the settings, with the token minter, which must run. `accepted` are passwords accepted from
    /// clients; the tokens of `before` are kept.
    pub(super) fn new(
        settings: &EndpointSettings,
        accepted: &Arc<AcceptedPasswords>,
        before: Option<&TokenSource>,
    ) -> (Self, Option<TokenKeeper>) {
        match &settings.login {
            Login::Passthrough => (Self::Passthrough(Arc::clone(accepted)), None),
            Login::Password(login) => {
                let login_method = PasswordMethod { login: login.clone(), keys: Mutex::default() };
                (Self::Password(Arc::new(login_method)), None)
            }
            Login::Token(login) => {
                let (source, keeper) = TokenSource::new(login, &settings.endpoint, before);
                let login_method = TokenMethod {
                    source,
                    users: login.users.clone(),
                    verifies: settings.tls.mode.verifies(),
                    insecure_without_verification: login.insecure_without_verification,
                };
                (Self::Token(login_method), Some(keeper))
            }
        }
    }

    /// The client's StartupMessage, for the login user.
    pub(super) fn startup(&self, mut startup: StartupMessage, user: &UserName) -> StartupMessage {
        let mut shown = user;
        if let Self::Password(login_method) = self
            && let Some(ours) = &login_method.login.user
        {
            // Without a database a client means the database named like the client's user, not the login user.
            if startup.get("database").is_none_or(<[u8]>::is_empty) {
                startup.set("database", user.as_str());
            }
            shown = ours;
        }
        startup.set("user", shown.as_str());
        startup
    }

    pub(super) fn tokens(&self) -> Option<&TokenSource> {
        match self {
            Self::Token(login_method) => Some(&login_method.source),
            Self::Passthrough(_) | Self::Password(_) => None,
        }
    }
}

// === impl PasswordMethod ===

impl PasswordMethod {
    /// Login with a client's password, as the requested user.
    pub(super) fn of_client(password: Secret) -> Self {
        Self { login: PasswordLogin { user: None, password }, keys: Mutex::default() }
    }

    pub(super) fn password(&self) -> &str {
        self.login.password.reveal()
    }

    pub(super) fn keys(&self) -> Option<Arc<Keys>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn keep(&self, keys: Keys) {
        *self.keys.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(keys));
    }
}

// === impl TokenMethod ===

impl TokenMethod {
    /// Checks the list of users for tokens, so that no client can act as an arbitrary principal. Checks also that the
    /// token could be sent.
    pub(super) fn check_permitted(&self, user: &UserName) -> Result<(), ConnectFailure> {
        if !self.users.permits(user) {
            return Err(ConnectFailure::UnlistedUser { user: user.clone() });
        }
        if !(self.verifies || self.insecure_without_verification) {
            return Err(ConnectFailure::Unverified);
        }
        Ok(())
    }
}
