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
    /// With nothing of ours but the passwords that the server has accepted from clients; a server that asks anybody else for
    /// a proof refuses.
    Passthrough(Arc<AcceptedPasswords>),
    /// With a configured password.
    Password(Arc<PasswordMethod>),
    /// With tokens.
    Token(TokenMethod),
}

/// A login with a configured password.
pub(super) struct PasswordMethod {
    login: PasswordLogin,
    /// What SCRAM derived from the password the last time: half a millisecond of computing saved for each login.
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
    /// The way that the settings describe, and the keeper of its tokens, which has to be run. `accepted` is what the server
    /// accepts from clients; the tokens of `before` are kept.
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

    /// The client's message, for the user who is logged in.
    pub(super) fn startup(&self, mut startup: StartupMessage, user: &UserName) -> StartupMessage {
        let mut shown = user;
        if let Self::Password(login_method) = self
            && let Some(ours) = &login_method.login.user
        {
            // Without a database the client means the one of its own name, not of ours.
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
    /// With the password that a client said, as the user that it asked for.
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
    /// Tokens are spent for listed users alone: nobody whom a listener lets in may become just any principal. And none is
    /// spent when it could not be sent.
    pub(super) fn permit(&self, user: &UserName) -> Result<(), ConnectFailure> {
        if !self.users.permits(user) {
            return Err(ConnectFailure::UnlistedUser { user: user.clone() });
        }
        if !(self.verifies || self.insecure_without_verification) {
            return Err(ConnectFailure::Unverified);
        }
        Ok(())
    }
}
